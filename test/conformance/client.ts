import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { WatchItem } from '../../client/api.ts';
import { Client, type ClientOptions, PAGE_PAIRS } from '../../client/client.ts';
import { byteStringToUtf8, FilterType, GrpcStatus, type KeyValue, RosterError } from '../../client/index.ts';
import { WATCH_QUEUE_ITEMS_MAX } from '../../client/watch.ts';
import { defaults } from '../../core/wire/binary.ts';
import { RangeRequest, type RequestOp } from '../../core/wire/messages.ts';
import { freePort } from '../support/ports.ts';

/** A store that speaks etcd v3 and can be killed and started again with its data. */
export interface Store {
  readonly endpoint: string;
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

type Events = Extract<WatchItem, { kind: 'events' }>;

export const textOf = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString();

async function failure(promise: Promise<unknown>): Promise<RosterError> {
  const error = await promise.then(
    () => new Error('nothing was thrown'),
    (reason: unknown) => reason,
  );
  if (error instanceof RosterError) return error;
  throw error;
}

/** The next item, which must be events. */
async function nextEvents(watch: AsyncIterator<WatchItem>): Promise<Events> {
  const { value, done } = await watch.next();
  if (done || value.kind !== 'events') throw new Error(`expected events, got ${JSON.stringify(value)}`);
  return value;
}

/** Resolves once the server has created the watch. */
function watchOnceCreated(client: Client, ...[key, options]: Parameters<Client['watch']>) {
  let onCreated = (_revision: number) => {};
  const created = new Promise<number>((resolve) => {
    onCreated = resolve;
  });
  return { watch: client.watch(key, { ...options, onCreated }), created };
}

const puts = (keys: readonly string[], value: Uint8Array = Buffer.from('v')): RequestOp[] =>
  keys.map((key) => ({
    request_put: { key, value, lease: 0n, prev_kv: false, ignore_value: false, ignore_lease: false },
  }));

/** What every store must give our client. One suite, run on every server we claim to work with. */
export function clientSuite(startStore: () => Promise<Store>): void {
  let store: Store;
  const clients: Client[] = [];
  const connect = (options: Partial<ClientOptions> = {}): Client => {
    const client = new Client({ endpoints: [store.endpoint], ...options });
    clients.push(client);
    return client;
  };
  beforeAll(async () => {
    store = await startStore();
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
  });
  afterAll(() => store?.stop());

  describe('keys', () => {
    it('puts, gets and deletes text and octets', async () => {
      const client = connect();
      await client.put('kv/ключ', 'значение');
      await client.put(Uint8Array.of(0xff, 0x00, 0x80), Uint8Array.of(0, 1, 0xfe));
      const text = (await client.get('kv/ключ'))!;
      expect([byteStringToUtf8(text.key), textOf(text.value)]).toEqual(['kv/ключ', 'значение']);
      expect([...(await client.get(Uint8Array.of(0xff, 0x00, 0x80)))!.value]).toEqual([0, 1, 0xfe]);
      expect((await client.delete('kv/ключ')).deleted).toBe(1);
      expect(await client.get('kv/ключ')).toBeUndefined();
      await client.put('kv/a', '');
      await client.put('kv/b', '');
      expect((await client.delete('kv/', { prefix: true })).deleted).toBe(2);
    });

    it('lists a prefix of many pages at one revision, whatever is written meanwhile', async () => {
      const client = connect();
      const total = 2 * PAGE_PAIRS + 1;
      const keys = Array.from({ length: total }, (_, i) => `page/${String(i).padStart(5, '0')}`);
      for (let i = 0; i < total; i += 100) await client.txn({ success: puts(keys.slice(i, i + 100)) });
      const writing = (async () => {
        for (let i = 0; i < 50; i++) await client.put(`page/${i}x`, 'later');
      })();
      const { kvs, revision } = await client.getPrefix('page/');
      await writing;
      const atThatRevision = await client.range({ key: 'page/', range_end: 'page0', revision, limit: 0 });
      expect(kvs.map((pair) => pair.key)).toEqual(atThatRevision.kvs.map((pair) => pair.key));
      expect(kvs.length).toBeGreaterThanOrEqual(total);
      expect((await client.getPrefix('')).kvs.length).toBeGreaterThanOrEqual(total);
      expect((await client.getPrefix('no such')).kvs).toEqual([]);
      await client.delete('page/', { prefix: true });
    });

    it('runs transactions', async () => {
      const client = connect();
      await client.put('txn/a', '1');
      const read: RequestOp = { request_range: { ...defaults(RangeRequest), key: 'txn/a' } };
      const answer = await client.txn({
        compare: [{ result: 0, target: 3, key: 'txn/a', value: Buffer.from('1'), range_end: '' }],
        success: [...puts(['txn/a'], Buffer.from('2')), read],
        failure: [],
      });
      expect(answer.succeeded).toBe(true);
      expect(textOf(answer.responses[1]?.response_range?.kvs[0]?.value)).toBe('2');
      expect((await client.txn({ success: [read] })).responses[0]?.response_range?.count).toBe(1);
    });

    it('carries the errors of the server by code', async () => {
      const client = connect();
      const { header } = await client.put('err/a', '1');
      expect(await failure(client.put('', 'x'))).toMatchObject({ code: 'EmptyKey', status: 3 });
      expect(await failure(client.put('k', 'x', { lease: 77n }))).toMatchObject({ code: 'LeaseNotFound', status: 5 });
      const future = client.range({ key: 'err/a', revision: header!.revision + 1_000 });
      expect(await failure(future)).toMatchObject({ code: 'FutureRev', status: 11 });
      await client.put('err/a', '2');
      await client.compact(header!.revision + 1, { physical: true });
      expect((await failure(client.compact(header!.revision))).code).toBe('Compacted');
      expect((await failure(client.range({ key: 'err/a', revision: header!.revision }))).code).toBe('Compacted');
    });
  });

  describe('calls', () => {
    it('says which endpoint does not answer, and why', async () => {
      const dead = `127.0.0.1:${await freePort()}`;
      const error = await failure(connect({ endpoints: [dead], dialTimeoutMs: 300 }).put('a', 'b'));
      expect(error.status).toBe(GrpcStatus.UNAVAILABLE);
      expect(error.message).toContain(dead);
      expect(error.message).toContain('ECONNREFUSED');
    });

    it('goes on to the next endpoint, for reads and writes', async () => {
      const dead = `http://127.0.0.1:${await freePort()}`;
      const client = connect({ endpoints: [dead, `http://${store.endpoint}/`] });
      await client.put('over/a', '1');
      expect(textOf((await client.get('over/a'))?.value)).toBe('1');
    });

    it('is cancelled by a signal, before and during', async () => {
      const client = connect();
      const before = client.get('a', { signal: AbortSignal.abort() });
      expect((await failure(before)).status).toBe(GrpcStatus.CANCELLED);
      const controller = new AbortController();
      const during = client.get('a', { signal: controller.signal });
      controller.abort();
      expect((await failure(during)).status).toBe(GrpcStatus.CANCELLED);
      const dead = connect({ endpoints: [`127.0.0.1:${await freePort()}`], dialTimeoutMs: 20_000 });
      const connecting = dead.get('a', { signal: AbortSignal.timeout(50) });
      expect((await failure(connecting)).status).toBe(GrpcStatus.CANCELLED);
    });

    it('answers about members and itself', async () => {
      const client = connect();
      const { members } = await client.memberList();
      expect(members).toHaveLength(1);
      expect(members[0]!.clientURLs[0]).toContain('127.0.0.1');
      const status = await client.status(store.endpoint);
      expect(status.leader).toBe(members[0]!.ID);
      expect(status.version).toMatch(/^3\./);
      expect(await client.alarms()).toEqual([]);
    });

    it('refuses everything once closed', async () => {
      const client = connect();
      const watch = client.watch('closed/');
      const pending = watch.next();
      const call = client.get('a');
      client.close();
      client.close();
      expect((await pending).done).toBe(true);
      expect((await failure(call)).status).toBe(GrpcStatus.CANCELLED);
      expect((await failure(client.get('a'))).status).toBe(GrpcStatus.CANCELLED);
      expect(() => client.watch('closed/')).toThrow(/closed/);
    });
  });

  describe('watch', () => {
    it('delivers whole revisions in order, several watches on one stream', async () => {
      const client = connect();
      const one = watchOnceCreated(client, 'w1/', { prefix: true, prev_kv: true });
      const two = watchOnceCreated(client, 'w1/b');
      await Promise.all([one.created, two.created]);
      const first = await client.put('w1/a', '1');
      await client.txn({ success: puts(['w1/a', 'w1/b', 'w1/c']) });
      await client.delete('w1/', { prefix: true });
      const put = await nextEvents(one.watch);
      expect(put).toMatchObject({ revision: first.header!.revision, events: [{ type: 0, kv: { key: 'w1/a' } }] });
      expect(put.events[0]!.prev_kv).toBeUndefined();
      const txn = await nextEvents(one.watch);
      expect(txn.events.map((event) => event.kv!.key)).toEqual(['w1/a', 'w1/b', 'w1/c']);
      expect(textOf(txn.events[0]!.prev_kv!.value)).toBe('1');
      const deleted = await nextEvents(one.watch);
      expect(deleted.revision).toBe(first.header!.revision + 2);
      expect(deleted.events.map((event) => event.type)).toEqual([1, 1, 1]);
      expect((await nextEvents(two.watch)).revision).toBe(txn.revision);
      expect((await nextEvents(two.watch)).revision).toBe(deleted.revision);
    });

    it('catches up from an old revision, one item per revision', async () => {
      const client = connect();
      const first = (await client.put('w2/0', '')).header!.revision;
      for (let i = 1; i < 30; i++) await client.txn({ success: puts([`w2/${i}`, `w2/${i}x`]) });
      const watch = client.watch('w2/', { prefix: true, start_revision: first });
      for (let i = 0; i < 30; i++) {
        const item = await nextEvents(watch);
        expect(item.revision).toBe(first + i);
        expect(item.events).toHaveLength(i === 0 ? 1 : 2);
      }
    });

    it('filters, watches ranges, and puts fragments together', async () => {
      const client = connect();
      const first = (await client.put('w3/a', Buffer.alloc(1_000_000, 1))).header!.revision;
      for (let i = 2; i <= 5; i++) await client.put('w3/a', Buffer.alloc(1_000_000, i));
      await client.delete('w3/a');
      const options = {
        rangeEnd: 'w3/b',
        start_revision: first,
        filters: [FilterType.values.NODELETE],
        fragment: true,
      };
      const watch = client.watch('w3/', options);
      for (let i = 1; i <= 5; i++) {
        const [event] = (await nextEvents(watch)).events;
        expect([event!.kv!.value.length, event!.kv!.value[999_999]]).toEqual([1_000_000, i]);
      }
      const { header } = await client.put('w3/a', 'last');
      expect((await nextEvents(watch)).revision).toBe(header!.revision);
    });

    it('ends with the compaction that overtook it', async () => {
      const client = connect();
      const old = (await client.put('w4/a', '1')).header!.revision;
      const now = (await client.put('w4/a', '2')).header!.revision;
      await client.compact(now);
      const items: WatchItem[] = [];
      for await (const item of client.watch('w4/a', { start_revision: old })) items.push(item);
      expect(items).toEqual([{ kind: 'compacted', compactRevision: now }]);
    });

    it('rejects what the server refuses', async () => {
      const watch = connect().watch('z', { rangeEnd: 'a' });
      expect((await failure(watch.next())).message).toContain('watcher range is empty');
      expect((await watch.next()).done).toBe(true);
    });

    it('ends by return and by signal, and others go on', async () => {
      const client = connect();
      const controller = new AbortController();
      const returned = client.watch('w5/a');
      const aborted = client.watch('w5/a', { signal: controller.signal });
      const { watch, created } = watchOnceCreated(client, 'w5/a');
      await created;
      const pending = [returned.next(), aborted.next()];
      await returned.return!();
      controller.abort();
      for (const next of pending) expect((await next).done).toBe(true);
      await client.put('w5/a', '1');
      expect((await nextEvents(watch)).events).toHaveLength(1);
      expect((await returned.next()).done).toBe(true);
      expect((await client.watch('w5/a', { signal: AbortSignal.abort() }).next()).done).toBe(true);
      await watch.return!();
      const again = watchOnceCreated(client, 'w5/a');
      await again.created;
      await client.put('w5/a', '2');
      expect(textOf((await nextEvents(again.watch)).events[0]!.kv!.value)).toBe('2');
    });

    it('gives a consumer that fell far behind every revision once, and the others theirs at once', async () => {
      const client = connect({ timeoutMs: 30_000 });
      const slow = watchOnceCreated(client, 'w6/', { prefix: true });
      const quick = watchOnceCreated(client, 'w6/end');
      const from = await slow.created;
      await quick.created;
      const total = WATCH_QUEUE_ITEMS_MAX + 1_500;
      for (let i = 0; i < total; i += 500) {
        await Promise.all(Array.from({ length: 500 }, (_, j) => client.put(`w6/${(i + j) % 7}`, String(i + j))));
      }
      const end = await client.put('w6/end', '');
      expect((await nextEvents(quick.watch)).revision).toBe(end.header!.revision);
      let revision = from;
      while (revision < end.header!.revision) {
        const item = await nextEvents(slow.watch);
        expect(item.revision).toBe(revision + 1);
        revision = item.revision;
      }
    });
  });

  describe('a server that is killed and comes back', () => {
    it('watches miss nothing and repeat nothing', async () => {
      const client = connect({ dialTimeoutMs: 20_000, timeoutMs: 20_000 });
      const { watch, created } = watchOnceCreated(client, 'r1/', { prefix: true });
      const start = await created;
      const seen: number[] = [];
      let written = 0;
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 20; i++) await client.put(`r1/${i}`, String(written++));
        // Read a part only, so that queued items cross the break as well.
        while (seen.length < written - 7) seen.push((await nextEvents(watch)).revision);
        await store.kill();
        await store.start();
        await client.get('r1/0');
      }
      while (seen.length < written) seen.push((await nextEvents(watch)).revision);
      expect(seen).toEqual(Array.from({ length: written }, (_, i) => start + 1 + i));
    });

    it('a watch of "now" remembers when that was', async () => {
      const watcher = connect();
      const { watch, created } = watchOnceCreated(watcher, 'r2/a');
      await created;
      await store.kill();
      await store.start();
      // Whichever comes first, this write or the watch's own reconnect, the write must be seen.
      const { header } = await connect({ dialTimeoutMs: 20_000, timeoutMs: 20_000 }).put('r2/a', 'early');
      expect((await nextEvents(watch)).revision).toBe(header!.revision);
    });

    it('leases are kept through it', async () => {
      const client = connect({ dialTimeoutMs: 20_000, timeoutMs: 20_000 });
      // Longer than a start may take, so that the lease can survive on the slowest machine.
      const lease = await client.keepLease(20);
      await client.put('r3/a', '1', { lease: lease.id });
      await store.kill();
      await store.start();
      // The time left rises only when the server takes a beat: at once on the new stream, and every third of the TTL.
      let renewals = 0;
      for (let before = Number.MAX_SAFE_INTEGER; renewals < 2; await delay(100)) {
        const { TTL } = await client.leaseTimeToLive(lease.id);
        expect(TTL).toBeGreaterThan(0);
        if (TTL > before) renewals++;
        before = TTL;
      }
      expect(lease.lost.aborted).toBe(false);
      expect((await client.get('r3/a'))?.lease).toBe(lease.id);
      await lease.revoke();
    }, 60_000);

    it('a lease that cannot have survived is reported as lost', async () => {
      const client = connect();
      const lease = await client.keepLease(2);
      const lost = new Promise((resolve) => lease.lost.addEventListener('abort', resolve));
      await store.kill();
      await lost;
      expect(lease.lost.reason).toMatchObject({ code: 'LeaseNotFound' });
      await store.start();
    });
  });

  describe('leases', () => {
    const leaseOf = async (client: Client, key: string): Promise<KeyValue['lease'] | undefined> =>
      (await client.get(key))?.lease;

    it('outlive their TTL while they are kept, and take their keys along when revoked', async () => {
      const client = connect();
      const lease = await client.keepLease(2);
      const other = await client.keepLease(3);
      await client.put('l1/a', '1', { lease: lease.id });
      await delay(lease.ttlSeconds * 2_000 + 500);
      expect(await leaseOf(client, 'l1/a')).toBe(lease.id);
      const { leases } = await client.leases();
      expect(leases.map(({ ID }) => ID)).toEqual(expect.arrayContaining([lease.id, other.id]));
      await lease.revoke();
      expect(await leaseOf(client, 'l1/a')).toBeUndefined();
      expect([lease.lost.aborted, other.lost.aborted]).toEqual([false, false]);
      await lease.revoke();
      await other.revoke();
    });

    it('run out when no longer kept', async () => {
      const client = connect();
      const { watch, created } = watchOnceCreated(client, 'l2/a');
      await created;
      const lease = await client.keepLease(2);
      await client.put('l2/a', '1', { lease: lease.id });
      lease.close();
      await nextEvents(watch);
      expect((await nextEvents(watch)).events[0]!.type).toBe(1);
      expect(lease.lost.aborted).toBe(false);
      expect((await client.leaseTimeToLive(lease.id)).TTL).toBe(-1);
    });

    it('are lost when somebody else revokes them', async () => {
      const client = connect();
      const lease = await client.keepLease(3);
      const lost = new Promise((resolve) => lease.lost.addEventListener('abort', resolve));
      await client.leaseRevoke(lease.id);
      await lost;
      expect((await failure(client.leaseRevoke(lease.id))).code).toBe('LeaseNotFound');
    });

    it('are granted, asked about and renewed by hand', async () => {
      const client = connect();
      const { ID, TTL } = await client.leaseGrant(600, { id: 4711n });
      expect([ID, TTL]).toEqual([4711n, 600]);
      await client.put('l3/a', '1', { lease: ID });
      const about = await client.leaseTimeToLive(ID, { keys: true });
      expect([about.grantedTTL, about.keys]).toEqual([600, ['l3/a']]);
      expect((await client.leaseKeepAliveOnce(ID)).TTL).toBe(600);
      expect((await client.leaseKeepAliveOnce(999n)).TTL).toBe(0);
      expect((await failure(client.leaseGrant(600, { id: 4711n }))).code).toBe('LeaseExist');
      expect((await failure(client.leaseGrant(1.5))).status).toBe(GrpcStatus.INVALID_ARGUMENT);
      await client.leaseRevoke(ID);
    });
  });
}
