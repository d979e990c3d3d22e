import { describe, expect, it } from 'vitest';
import { UsageError } from '../../server/config/flag-table.ts';
import { memberId } from '../../server/config/identity.ts';
import { initialMembers, parseInitialCluster } from '../../server/config/initial-cluster.ts';
import { readServeFlags } from '../../server/config/serve-flags.ts';

const read = (...args: string[]) => initialMembers(readServeFlags(args, {}));

describe('parseInitialCluster()', () => {
  it('gathers the URLs of a repeated name', () => {
    expect([...parseInitialCluster('a=http://x:1,b=http://y:2,a=http://z:3')]).toEqual([
      ['a', ['http://x:1', 'http://z:3']],
      ['b', ['http://y:2']],
    ]);
  });
});

describe('initialMembers()', () => {
  it('is this one alone by default', () => {
    const { members, own } = read();
    expect(members).toEqual([own]);
    expect(own).toEqual({ id: 0x8e9e05c52164694dn, name: 'default', peerUrls: ['http://localhost:2380'] });
  });

  it('gives every member the id that it gives itself', () => {
    const cluster = ['--initial-cluster', 'a=http://a:1,b=http://b:2,b=http://b:1', '--initial-cluster-token', 't'];
    const a = read('--name', 'a', '--initial-advertise-peer-urls', 'http://a:1', ...cluster);
    const b = read('--name', 'b', '--initial-advertise-peer-urls', 'http://b:1,http://b:2', ...cluster);
    expect(a.members).toEqual(b.members);
    expect([a.own.name, b.own.name]).toEqual(['a', 'b']);
    expect(b.own.id).toBe(memberId(['http://b:1', 'http://b:2'], 't'));
  });

  it.each([
    [['--initial-cluster', 'other=http://a:1'], 'couldn\'t find local name "default" in the initial cluster'],
    [
      ['--initial-cluster', 'default=http://other:2380'],
      '--initial-cluster has default=http://other:2380 but missing from --initial-advertise-peer-urls=http://localhost:2380',
    ],
    [
      ['--initial-advertise-peer-urls', 'http://a:1,http://a:2', '--initial-cluster', 'default=http://a:1'],
      '--initial-advertise-peer-urls has default=http://a:2 but missing from --initial-cluster=default=http://a:1',
    ],
    [
      ['--initial-cluster', 'default=http://localhost:2380,b=http://localhost:2380'],
      'initial cluster default=http://localhost:2380,b=http://localhost:2380 has duplicate url',
    ],
  ])('%j is refused in the words of etcd', (args, message) => {
    expect(() => read(...args)).toThrow(UsageError);
    expect(() => read(...args)).toThrow(message);
  });
});
