import { describe, expect, it } from 'vitest';
import type { Member } from '../../core/wire/messages.ts';
import { decideClusterVersion, keepClusterVersion } from '../../server/cluster-version.ts';

describe('decideClusterVersion()', () => {
  it.each([
    ['', ['3.7.1'], '3.7.0'],
    ['', ['3.7.1', '3.6.9', '3.7.0'], '3.6.0'],
    // Nobody knows what an absent member can do.
    ['', ['3.7.1', undefined], '3.0.0'],
    ['3.6.0', ['3.7.1', undefined], undefined],
    ['3.0.0', ['3.7.1', '3.7.2'], '3.7.0'],
    // It never goes down, and patch levels are no matter.
    ['3.7.0', ['3.7.1', '3.6.0'], undefined],
    ['3.7.0', ['3.7.1', '3.7.9'], undefined],
    ['3.7.0', ['3.10.0', '4.0.0'], '3.10.0'],
    ['3.7.0', ['3.8.0', 'nonsense'], undefined],
    ['', [], undefined],
  ])('of %j and %j is %j', (current, versions, expected) => {
    expect(decideClusterVersion(current, versions)).toBe(expected);
  });
});

describe('keepClusterVersion()', () => {
  const member = (ID: bigint, url: string): Member => ({
    ID,
    name: '',
    peerURLs: ['http://dead:1', url],
    clientURLs: [],
    isLearner: false,
  });

  it('lets the leader propose what all members have, once', async () => {
    const membership = { members: [member(1n, 'http://a:1'), member(2n, 'http://b:1')], clusterVersion: '' };
    const stop = new AbortController();
    const proposed: string[] = [];
    let isLeader = false;
    const world = {
      node: {
        propose(request: { cluster_version?: { version: string } }, done: (result: object) => void) {
          proposed.push(request.cluster_version!.version);
          membership.clusterVersion = request.cluster_version!.version;
          done({});
          stop.abort();
        },
        status: () => ({ isLeader, id: 1n, leader: 1n, isLearner: false, term: 1, commitIndex: 0, appliedIndex: 0 }),
      },
      selfId: 1n,
      version: '3.7.1',
      membership: () => membership,
      async askVersion(url: string) {
        if (url === 'http://b:1') return '3.6.4';
        throw new Error('nobody there');
      },
    };
    const kept = keepClusterVersion(world, stop.signal);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(proposed).toEqual([]);
    isLeader = true;
    await kept;
    expect(proposed).toEqual(['3.6.0']);
  });
});
