import pino from 'pino';
import { describe, expect, it } from 'vitest';
import type { Member } from '../../core/wire/messages.ts';
import { type AskCluster, bootstrap, type RemoteCluster } from '../../server/bootstrap.ts';
import { UsageError } from '../../server/config/flag-table.ts';
import { clusterId, memberId } from '../../server/config/identity.ts';
import { readServeFlags } from '../../server/config/serve-flags.ts';

const log = pino({ level: 'silent' });
const urls = { a: 'http://a:1', b: 'http://b:1', c: 'http://c:1', d: 'http://d:1' } as const;
type Name = keyof typeof urls;
const id = (name: Name) => memberId([urls[name]], 'etcd-cluster');

function member(name: Name, more: Partial<Member> = {}): Member {
  return { ID: id(name), name, peerURLs: [urls[name]], clientURLs: [`http://${name}:2`], isLearner: false, ...more };
}

/** Added by member add, not started. */
const added = (name: Name, more: Partial<Member> = {}) => member(name, { ID: 77n, name: '', clientURLs: [], ...more });

const silence: AskCluster = (url) => Promise.reject(new Error(`${url} is silent`));
const answering = (answers: Partial<Record<Name, RemoteCluster>>): AskCluster => {
  const byUrl = new Map(Object.entries(answers).map(([name, answer]) => [urls[name as Name] as string, answer]));
  return (url, timeoutMs) => {
    const answer = byUrl.get(url);
    return answer === undefined ? silence(url, timeoutMs) : Promise.resolve(answer);
  };
};

function start(name: Name, names: readonly Name[], state: 'new' | 'existing', ask: AskCluster) {
  const flags = readServeFlags(
    [
      ...['--name', name, '--initial-advertise-peer-urls', urls[name], '--initial-cluster-state', state],
      ...['--initial-cluster', names.map((other) => `${other}=${urls[other]}`).join(',')],
    ],
    {},
  );
  return bootstrap(flags, ask, log);
}

describe('a new cluster', () => {
  it('is the same on every founder', async () => {
    const [a, b, c] = await Promise.all(
      (['a', 'b', 'c'] as const).map((name) => start(name, ['c', 'a', 'b'], 'new', silence)),
    );
    expect(a!.members).toEqual(b!.members);
    expect(a!.members).toEqual(c!.members);
    expect(a!.members.map(({ ID }) => ID)).toEqual(a!.voters);
    expect([...a!.voters].sort()).toEqual([id('a'), id('b'), id('c')].sort());
    expect(a!.identity).toEqual({ memberId: id('a'), clusterId: clusterId([id('a'), id('b'), id('c')]) });
    expect(b!.identity.memberId).toBe(id('b'));
    expect(a!.members.map(({ name }) => name).sort()).toEqual(['a', 'b', 'c']);
  });

  it('asks nobody when it has one member', async () => {
    const ask: AskCluster = () => {
      throw new Error('asked');
    };
    expect((await start('a', ['a'], 'new', ask)).voters).toEqual([id('a')]);
  });

  it('is refused to a member that was there before, whose data is gone', async () => {
    const running = {
      clusterId: clusterId([id('a'), id('b'), id('c')]),
      members: [member('a'), member('b'), member('c')],
    };
    await expect(start('a', ['a', 'b', 'c'], 'new', answering({ c: running }))).rejects.toThrow(
      /^member [0-9a-f]+ has already been bootstrapped/,
    );
    const founded = { ...running, members: [member('a', { clientURLs: [] }), member('b'), member('c')] };
    await expect(start('a', ['a', 'b', 'c'], 'new', answering({ c: founded }))).resolves.toBeDefined();
    const another = { ...running, clusterId: 5n };
    await expect(start('a', ['a', 'b', 'c'], 'new', answering({ c: another }))).resolves.toBeDefined();
  });

  it('is refused when the flags contradict each other', async () => {
    await expect(start('a', ['b', 'c'], 'new', silence)).rejects.toThrow(UsageError);
  });
});

describe('joining a cluster', () => {
  const three = [member('a'), member('b'), member('c')];

  it('takes ids from the cluster and starts without a vote', async () => {
    const remote = { clusterId: 9n, members: [...three, added('d', { isLearner: true })] };
    const joined = await start('d', ['a', 'b', 'c', 'd'], 'existing', answering({ b: remote }));
    expect(joined.identity).toEqual({ memberId: 77n, clusterId: 9n });
    expect(joined.voters).toEqual([]);
    expect(joined.members.map(({ ID }) => ID)).toEqual(
      remote.members.map(({ ID }) => ID).sort((x, y) => (x < y ? -1 : 1)),
    );
  });

  it('believes the member that knows of it, not one that is behind', async () => {
    const behind = { clusterId: 9n, members: three };
    const current = { clusterId: 9n, members: [...three, added('d')] };
    const ask = answering({ a: behind, b: behind, c: current });
    expect((await start('d', ['a', 'b', 'c', 'd'], 'existing', ask)).identity.memberId).toBe(77n);
  });

  it.each([
    ['was not added', three, 'd is not a member of the cluster: run member add d --peer-urls=http://d:1'],
    [
      'has another number of members',
      [member('a'), member('b'), added('d')],
      /^member count is unequal: the cluster has 3 .* names 4$/,
    ],
    [
      'has another member',
      [member('a'), member('b'), member('c', { peerURLs: ['http://x:1'] }), added('d')],
      'unmatched member while checking PeerURLs: the cluster has no member with http://c:1',
    ],
    ['has been started before', [...three, member('d')], /has been started before, but its data directory is empty/],
  ])('is refused when the member %s', async (_what, members, message) => {
    const ask = answering({ a: { clusterId: 9n, members } });
    await expect(start('d', ['a', 'b', 'c', 'd'], 'existing', ask)).rejects.toThrow(message);
  });

  it('says who did not answer', async () => {
    await expect(start('d', ['a', 'd'], 'existing', silence)).rejects.toThrow(
      'cannot fetch cluster info from peer urls: none of the members in --initial-cluster has answered (http://a:1: http://a:1 is silent)',
    );
    await expect(start('d', ['d'], 'existing', silence)).rejects.toThrow('needs the members of that cluster');
  });
});
