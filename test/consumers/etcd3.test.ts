import {
  Etcd3,
  EtcdAuthenticationFailedError,
  EtcdLeaseInvalidError,
  EtcdLockFailedError,
  EtcdPermissionDeniedError,
  EtcdRoleExistsError,
  GRPCInvalidArgumentError,
  type IOptions,
  STMConflictError,
} from 'etcd3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { startRoster } from '../support/roster.ts';

/** The npm client `etcd3`, as it is, with everything it offers; the same on Debian's etcd, where that is installed. */
const etcd = findPeer('etcd');
const FLAGS = ['--bcrypt-cost', '4'];
const servers = [
  ...(etcd === undefined ? [] : [['etcd', () => startEtcd(etcd, FLAGS)] as const]),
  ['roster', () => startRoster(FLAGS)] as const,
];
/** Of etcd3's `Isolation`, which is there for the compiler only: the one that notices nothing. */
const READ_COMMITTED = 3;
const WAIT = { timeout: 30_000 };

describe.each(servers)('etcd3 on %s', (_name, start) => {
  let stop: () => Promise<void> = async () => {};
  let hosts: string;
  let client: Etcd3;
  const others: Etcd3[] = [];

  const connect = (options: Partial<IOptions> = {}): Etcd3 => {
    const made = new Etcd3({ hosts, ...options });
    others.push(made);
    return made;
  };

  beforeAll(async () => {
    const server = await start();
    stop = () => server.stop();
    hosts = `http://${server.endpoint}`;
  });
  afterAll(() => stop());
  beforeEach(() => {
    client = connect();
  });
  afterEach(async () => {
    await client.delete().all();
    for (const each of others.splice(0)) each.close();
  });

  it('puts, gets, sorts, counts and deletes', async () => {
    await client.put('a').value('1');
    await client.put('b').value(Buffer.from([0, 255]));
    await client.put('c').value(3);
    expect(await client.get('a').string()).toBe('1');
    expect(await client.get('b').buffer()).toEqual(Buffer.from([0, 255]));
    expect(await client.get('c').number()).toBe(3);
    expect(await client.get('none').string()).toBeNull();
    expect(await client.get('a').exists()).toBe(true);
    expect(await client.getAll().keys()).toEqual(['a', 'b', 'c']);
    expect(await client.getAll().prefix('a').strings()).toEqual({ a: '1' });
    expect(await client.getAll().inRange({ start: 'a', end: 'c' }).count()).toBe(2);
    expect(await client.getAll().sort('Key', 'Descend').limit(2).keys()).toEqual(['c', 'b']);
    const { kvs, count, more } = await client.getAll().sort('Mod', 'Ascend').limit(1).exec();
    expect([kvs.map(({ key }) => key.toString()), count, more]).toEqual([['a'], '3', true]);
    const { header } = await client.put('a').value('2');
    expect(
      await client
        .get('a')
        .revision(Number(header.revision) - 1)
        .string(),
    ).toBe('1');
    expect((await client.put('a').value('3').getPrevious()).value.toString()).toBe('2');
    await client.put('a').ignoreLease().value('4');
    await client.put('a').touch();
    expect(await client.get('a').string()).toBe('4');
    expect((await client.delete().key('a').getPrevious()).map(({ value }) => value.toString())).toEqual(['4']);
    expect((await client.delete().prefix('b').exec()).deleted).toBe('1');
    expect(
      (
        await client
          .delete()
          .range(client.range({ start: 'a', end: 'z' }))
          .exec()
      ).deleted,
    ).toBe('1');
  });

  it('compares and swaps', async () => {
    const set = (value: string, expected: string) =>
      client.if('k', 'Value', '==', expected).then(client.put('k').value(value)).else(client.get('k')).commit();
    expect((await set('2', '1')).succeeded).toBe(false);
    await client.put('k').value('1');
    expect((await set('2', '1')).succeeded).toBe(true);
    const refused = await set('3', '1');
    expect([refused.succeeded, refused.responses[0]!.response_range!.kvs[0]!.value.toString()]).toEqual([false, '2']);
    const { succeeded } = await client
      .if('k', 'Version', '>', 1)
      .and('k', 'Create', '>', 0)
      .and('none', 'Create', '==', 0)
      .and('k', 'Mod', '<', 1_000_000)
      .then(client.put('k').value('4'), client.delete().key('none'))
      .commit();
    expect(succeeded).toBe(true);
    expect(await client.get('k').string()).toBe('4');
  });

  it('keeps namespaces apart', async () => {
    const [one, two] = [client.namespace('one/'), client.namespace('two/')];
    await one.put('k').value('1');
    await two.put('k').value('2');
    await one.namespace('inner/').put('k').value('3');
    expect([await one.get('k').string(), await two.get('k').string()]).toEqual(['1', '2']);
    expect(await one.getAll().strings()).toEqual({ k: '1', 'inner/k': '3' });
    expect(await client.getAll().keys()).toEqual(['one/inner/k', 'one/k', 'two/k']);
    await one.delete().all();
    expect(await client.getAll().keys()).toEqual(['two/k']);
    const { succeeded } = await two.if('k', 'Value', '==', '2').then(two.put('k').value('4')).commit();
    expect([succeeded, await client.get('two/k').string()]).toEqual([true, '4']);
  });

  it('grants leases, keeps them alive, and loses them', async () => {
    const lease = client.lease(2);
    const renewed = new Promise((resolve) => lease.once('keepaliveSucceeded', resolve));
    await lease.put('leased').value('1');
    expect(await lease.grant()).toMatch(/^\d+$/);
    await renewed;
    const { TTL } = await lease.keepaliveOnce();
    expect(TTL).toBe('2');
    // More than it was granted for.
    await new Promise((resolve) => setTimeout(resolve, 3500));
    expect(await client.get('leased').string()).toBe('1');
    await lease.revoke();
    expect([await client.get('leased').string(), lease.revoked()]).toEqual([null, true]);

    const other = client.lease(60);
    await other.put('other').value('1');
    const lost = new Promise<Error>((resolve) => other.once('lost', resolve));
    await client.leaseClient.leaseRevoke({ ID: await other.grant() });
    await other.keepaliveOnce().catch(() => {});
    expect(await lost).toBeInstanceOf(EtcdLeaseInvalidError);

    const forgotten = client.lease(2, { autoKeepAlive: false });
    await forgotten.put('forgotten').value('1');
    forgotten.release();
    await expect.poll(() => client.get('forgotten').string(), WAIT).toBeNull();
  });

  it('locks', async () => {
    const lock = client.lock('resource').ttl(30);
    await lock.acquire();
    expect(await lock.leaseId()).toMatch(/^\d+$/);
    await expect(connect().lock('resource').acquire()).rejects.toBeInstanceOf(EtcdLockFailedError);
    await lock.release();
    const done = await connect()
      .lock('resource')
      .do(async () => {
        await expect(client.lock('resource').acquire()).rejects.toBeInstanceOf(EtcdLockFailedError);
        return 'done';
      });
    expect(done).toBe('done');
    await (await client.lock('resource').acquire()).release();
  });

  it('watches keys, prefixes and ranges, from a revision, with what was before, and without some', async () => {
    const seen: string[] = [];
    const watcher = await client.watch().prefix('w/').withPreviousKV().create();
    watcher.on('put', (kv, before) => seen.push(`put ${kv.key} ${kv.value} ${before?.value ?? ''}`));
    watcher.on('delete', (kv, before) => seen.push(`delete ${kv.key} ${before?.value ?? ''}`));
    const only: string[] = [];
    const deletes = await client.namespace('w/').watch().key('a').only('delete').create();
    deletes.on('data', ({ events }) => only.push(...events.map(({ type, kv }) => `${type} ${kv.key}`)));
    const { header } = await client.put('w/a').value('1');
    await client.put('w/a').value('2');
    await client.put('x').value('other');
    await client.delete().key('w/a');
    await expect.poll(() => seen, WAIT).toEqual(['put w/a 1 ', 'put w/a 2 1', 'delete w/a 2']);
    await expect.poll(() => only, WAIT).toEqual(['Delete a']);

    const history: string[] = [];
    const past = await client.watch().inRange({ start: 'w/', end: 'w0' }).startRevision(header.revision).create();
    past.on('put', ({ value }) => history.push(value.toString()));
    await expect.poll(() => history, WAIT).toEqual(['1', '2']);
    const ended = new Promise<void>((resolve) => watcher.once('end', resolve));
    await watcher.cancel();
    await ended;
    await client.put('w/b').value('3');
    await expect.poll(() => history, WAIT).toEqual(['1', '2', '3']);
    expect(seen).toHaveLength(3);
    await Promise.all([past.cancel(), deletes.cancel()]);
  });

  it('elects, proclaims, observes and resigns', async () => {
    const election = client.election('mayor', 30);
    const other = connect().election('mayor', 30);
    const changes: (string | undefined)[] = [];
    const first = election.campaign('one');
    await first.wait();
    const observer = await other.observe();
    observer.on('change', (leader) => changes.push(leader));
    expect(await election.leader()).toBe('one');
    const second = other.campaign('two');
    let elected = false;
    second.on('elected', () => {
      elected = true;
    });
    await first.proclaim('one again');
    await expect.poll(() => observer.leader(), WAIT).toBe('one again');
    expect(elected).toBe(false);
    await first.resign();
    await expect.poll(() => elected, WAIT).toBe(true);
    await expect.poll(() => observer.leader(), WAIT).toBe('two');
    await observer.cancel();
    await second.resign();
    expect(await election.leader()).toBeUndefined();
    expect(changes).toContain('one again');
    expect(changes).toContain('two');
  });

  it.each([0, 1, 2, READ_COMMITTED])('moves money in software transactions (isolation %i)', async (isolation) => {
    // At one revision: the strictest isolation lets nobody write what changed after the first that was read.
    await client.if('a', 'Create', '==', 0).then(client.put('a').value('100'), client.put('b').value('0')).commit();
    const move = (amount: number) =>
      client.stm({ isolation, retries: 100, prefetch: ['a', 'b'] }).transact(async (tx) => {
        const [a, b] = await Promise.all([tx.get('a').number(), tx.get('b').number()]);
        await tx.put('a').value(a! - amount);
        await tx.put('b').value(b! + amount);
      });
    await move(10);
    expect(await client.getAll().numbers()).toEqual({ a: 90, b: 10 });
    if (isolation === READ_COMMITTED) return;
    await Promise.all([1, 2, 3, 4, 5].map(move));
    expect(await client.getAll().numbers()).toEqual({ a: 75, b: 25 });
    const conflicting = client.stm({ isolation, retries: 0 }).transact(async (tx) => {
      await tx.get('a').string();
      await client.put('a').value('elsewhere');
      await tx.put('b').value('never');
    });
    await expect(conflicting).rejects.toBeInstanceOf(STMConflictError);
  });

  it('talks of the cluster and of maintenance', async () => {
    const { members } = await client.cluster.memberList({ linearizable: true });
    expect(members).toHaveLength(1);
    const status = await client.maintenance.status();
    expect([status.version, status.leader === members[0]!.ID]).toEqual([expect.stringMatching(/^3\.\d+\.\d+$/), true]);
    expect((await client.maintenance.alarm({ action: 'Get', memberID: '0', alarm: 'None' })).alarms ?? []).toEqual([]);
    await client.maintenance.defragment();
    const parts: Buffer[] = [];
    const stream = await client.maintenance.snapshot();
    await new Promise<void>((resolve, reject) => {
      stream.on('data', ({ blob }) => parts.push(blob));
      stream.on('end', () => resolve());
      stream.on('error', reject);
    });
    expect(Buffer.concat(parts).length % 512).toBe(32);
    expect(await client.kv.compact({ revision: 1 }).catch((error: Error) => error)).toBeDefined();
  });

  it('manages users and roles, and is refused what they may not do', async () => {
    await client.put('app/a').value('1');
    await client.put('secret').value('2');
    const role = await client.role('app').create();
    await expect(client.role('app').create()).rejects.toBeInstanceOf(EtcdRoleExistsError);
    await role.grant([
      { permission: 'Readwrite', range: client.range({ prefix: 'app/' }) },
      { permission: 'Read', key: 'shared' },
    ]);
    expect(await role.permissions()).toEqual([
      {
        permission: 'Readwrite',
        range: expect.objectContaining({ start: Buffer.from('app/'), end: Buffer.from('app0') }),
      },
      { permission: 'Read', range: expect.objectContaining({ start: Buffer.from('shared') }) },
    ]);
    await role.revoke({ permission: 'Read', key: 'shared' });
    const user = await client.user('alice').create('first');
    await user.addRole('app');
    expect((await user.roles()).map(({ name }) => name)).toEqual(['app']);
    await user.setPassword('secret');
    const root = await client.user('root').create('root');
    await root.addRole((await client.role('root').create()).name);
    expect((await client.getUsers()).map(({ name }) => name)).toEqual(['alice', 'root']);
    expect((await client.getRoles()).map(({ name }) => name)).toEqual(['app', 'root']);
    await client.auth.authEnable();

    const administrator = connect({ auth: { username: 'root', password: 'root' } });
    try {
      const alice = connect({ auth: { username: 'alice', password: 'secret' } });
      expect(await alice.get('app/a').string()).toBe('1');
      await alice.put('app/b').value('3');
      await expect(alice.get('secret').string()).rejects.toBeInstanceOf(EtcdPermissionDeniedError);
      await expect(alice.put('secret').value('x')).rejects.toBeInstanceOf(EtcdPermissionDeniedError);
      await expect(alice.delete().all()).rejects.toBeInstanceOf(EtcdPermissionDeniedError);
      await expect(
        alice.if('secret', 'Value', '==', '2').then(alice.put('app/b').value('4')).commit(),
      ).rejects.toBeInstanceOf(EtcdPermissionDeniedError);
      const seen: string[] = [];
      const watcher = await alice.namespace('app/').watch().prefix('').create();
      watcher.on('put', ({ key }) => seen.push(key.toString()));
      await administrator.put('app/c').value('5');
      await expect.poll(() => seen, WAIT).toEqual(['c']);
      await watcher.cancel();
      const lock = await alice.namespace('app/').lock('l').acquire();
      await lock.release();
      await expect(connect().get('app/a').string()).rejects.toBeInstanceOf(GRPCInvalidArgumentError);
      const wrong = connect({ auth: { username: 'alice', password: 'wrong' } });
      await expect(wrong.get('app/a').string()).rejects.toBeInstanceOf(EtcdAuthenticationFailedError);
      // The token goes with the password: the client logs in again by itself, or not.
      await administrator.role('app').removeUser('alice');
      await expect(alice.get('app/a').string()).rejects.toBeInstanceOf(EtcdPermissionDeniedError);
    } finally {
      await administrator.auth.authDisable();
    }
    await client.user('alice').delete();
    await client.user('root').delete();
    await client.role('app').delete();
    await client.role('root').delete();
    expect(await client.getUsers()).toEqual([]);
  });
});
