import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type * as m from '../../core/wire/messages.ts';
import { Rig } from './rig.ts';

const path = (method: string) => `/etcdserverpb.Cluster/${method}`;
const NOW_MS = 1_700_000_123_456;

beforeEach(() => {
  vi.spyOn(Date, 'now').mockReturnValue(NOW_MS);
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe('MemberAdd', () => {
  it('answers with the member, its id made of URLs and time as etcd makes it', () => {
    const r = new Rig();
    const added = r.ok<m.MemberAddResponse>(path('MemberAdd'), {
      peerURLs: ['http://z:1', ' HTTP://a:2'],
      isLearner: true,
    });
    const ID = createHash('sha1').update('http://a:2http://z:11700000123').digest().readBigUInt64BE();
    const member = { ID, name: '', peerURLs: ['http://a:2', 'http://z:1'], clientURLs: [], isLearner: true };
    expect(added.member).toEqual(member);
    expect(added.members).toHaveLength(2);
    expect(added.members).toContainEqual(member);
    expect(added.header).toEqual({ cluster_id: 77n, member_id: 1n, revision: 0, raft_term: r.node.term });
  });

  it('refuses by the rules', () => {
    const r = new Rig();
    const add = (peerURLs: string[], isLearner = true) => r.code(path('MemberAdd'), { peerURLs, isLearner });
    expect(add([])).toBe('MemberBadURLs');
    expect(add(['http://a:1/'])).toBe('MemberBadURLs');
    expect(add(['http://m1:2380'])).toBe('PeerURLExist');
    expect(add(['http://a:1'])).toBe('ok');
    expect(add(['http://a:1'])).toBe('MemberExist');
    expect(add(['http://b:1'])).toBe('TooManyLearners');
  });
});

describe('MemberPromote and MemberRemove', () => {
  it('follow the rules and answer with the members', () => {
    const r = new Rig();
    const { member } = r.ok<m.MemberAddResponse>(path('MemberAdd'), { peerURLs: ['http://a:1'], isLearner: true });
    const { ID } = member!;
    expect(r.code(path('MemberPromote'), { ID: 5n })).toBe('MemberNotFound');
    expect(r.code(path('MemberPromote'), { ID: 1n })).toBe('MemberNotLearner');
    expect(r.code(path('MemberPromote'), { ID })).toBe('LearnerNotReady');
    expect(r.code(path('MemberRemove'), { ID: 1n })).toBe('MemberNotEnoughStarted');
    const removed = r.ok<m.MemberRemoveResponse>(path('MemberRemove'), { ID });
    expect(removed.members.map((each) => each.ID)).toEqual([1n]);
    expect(removed.header?.revision).toBe(0);
    expect(r.code(path('MemberRemove'), { ID })).toBe('MemberNotFound');
    expect(r.code(path('MemberAdd'), { peerURLs: ['http://a:1'], isLearner: true }), 'the same second').toBe(
      'MemberNotFound',
    );
  });
});

describe('MemberUpdate and MemberList', () => {
  it('change peer URLs, for everyone to read', () => {
    const r = new Rig();
    const update = (ID: bigint, peerURLs: string[]) => r.code(path('MemberUpdate'), { ID, peerURLs });
    expect(update(1n, [])).toBe('MemberBadURLs');
    expect(update(4n, ['http://x:1'])).toBe('MemberNotFound');
    const updated = r.ok<m.MemberUpdateResponse>(path('MemberUpdate'), { ID: 1n, peerURLs: ['http://x:1'] });
    expect(updated.members.map(({ peerURLs }) => peerURLs)).toEqual([['http://x:1']]);
    const list = r.ok<m.MemberListResponse>(path('MemberList'), { linearizable: true });
    expect(list).toEqual({
      header: { cluster_id: 77n, member_id: 1n, revision: 0, raft_term: r.node.term },
      members: updated.members,
    });
  });

  it('list at once without a leader, unless it must be linearizable', () => {
    const r = new Rig({ voters: [1n, 2n, 3n] });
    expect(r.ok<m.MemberListResponse>(path('MemberList')).members.map(({ ID }) => ID)).toEqual([1n, 2n, 3n]);
    expect(r.code(path('MemberList'), { linearizable: true })).toBe('waits');
  });
});
