import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { WatchItem, WatchOptions } from '../../client/api.ts';
import { Client } from '../../client/client.ts';
import { decode, defaults, encode } from '../../core/wire/binary.ts';
import { FilterType, WatchCreateRequest, WatchRequest, WatchResponse } from '../../core/wire/messages.ts';
import { type RunningEtcd, startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { type RunningRoster, startRoster } from '../support/roster.ts';
import { proxyOf, type TestProxy } from './start.ts';

/** Many watches that are one at the store, whose own count of watchers is asked. */

const etcd = findPeer('etcd');
const TIMEOUT_MS = 120_000;
const WAIT = { timeout: 60_000, interval: 50 };

async function watchersAt(endpoint: string): Promise<number> {
  const text = await (await fetch(`http://${endpoint}/metrics`)).text();
  return Number(/^etcd_debugging_mvcc_watcher_total (\S+)$/m.exec(text)?.[1]);
}

/** What a watch has delivered so far, as `type key=value (previous)@revision`. */
class Record {
  readonly lines: string[] = [];
  readonly ended: Promise<void>;
  last: WatchItem | undefined;

  constructor(client: Client, key: string, options: WatchOptions) {
    this.ended = this.#read(client.watch(key, options)).catch(() => {});
  }

  async #read(watch: AsyncIterable<WatchItem>): Promise<void> {
    for await (const item of watch) {
      this.last = item;
      if (item.kind !== 'events') continue;
      for (const { type, kv, prev_kv: before } of item.events) {
        const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString();
        const previous = before === undefined ? '' : ` (${text(before.value)})`;
        this.lines.push(`${type === 0 ? 'PUT' : 'DELETE'} ${kv!.key}=${text(kv!.value)}${previous}@${item.revision}`);
      }
    }
  }
}

describe.each([
  ['Roster', () => startRoster()],
  ...(etcd === undefined ? [] : [['etcd', () => startEtcd(etcd)] as const]),
] as const)('watches of %s through the proxy', (_, start: () => Promise<RunningRoster | RunningEtcd>) => {
  let store: RunningRoster | RunningEtcd;
  let direct: Client;
  let proxy: TestProxy;
  const clients: Client[] = [];
  beforeAll(async () => {
    store = await start();
    direct = new Client({ endpoints: [store.endpoint] });
  }, TIMEOUT_MS);
  beforeEach(async () => {
    proxy = await proxyOf(store.endpoint);
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await proxy.close();
  });
  afterAll(async () => {
    direct.close();
    await store.stop();
  });

  const connect = () => {
    const client = new Client({ endpoints: [proxy.endpoint] });
    clients.push(client);
    return client;
  };

  /** Watches by clients of their own, once they are there. */
  async function watching(count: number, key: string, options: WatchOptions): Promise<Record[]> {
    const created: Promise<number>[] = [];
    const records = Array.from({ length: count }, () => {
      let onCreated = (_revision: number) => {};
      created.push(
        new Promise((resolve) => {
          onCreated = resolve;
        }),
      );
      return new Record(connect(), key, { ...options, onCreated: (revision) => onCreated(revision) });
    });
    await Promise.all(created);
    return records;
  }

  it(
    'are one at the store when they are equal, and each gets all it has asked for, once',
    async () => {
      const { NOPUT, NODELETE } = FilterType.values;
      const plain = await watching(20, 'equal/', { prefix: true });
      const previous = await watching(20, 'equal/', { prefix: true, prev_kv: true });
      const puts = await watching(5, 'equal/', { prefix: true, filters: [NODELETE] });
      const deletions = await watching(5, 'equal/', { prefix: true, filters: [NOPUT], prev_kv: true });
      expect([proxy.watches.receivers, proxy.watches.broadcasts, proxy.watches.created]).toEqual([50, 1, 1]);
      expect(await watchersAt(store.endpoint)).toBe(1);
      const { header } = await direct.put('equal/a', '1');
      const first = header!.revision;
      await direct.put('equal/a', '2');
      await direct.put('elsewhere', 'x');
      await direct.delete('equal/a');
      const all = (before: boolean) => [
        `PUT equal/a=1@${first}`,
        `PUT equal/a=2${before ? ' (1)' : ''}@${first + 1}`,
        `DELETE equal/a=${before ? ' (2)' : ''}@${first + 3}`,
      ];
      await expect
        .poll(() => [...plain, ...previous, ...deletions].every(({ lines }) => lines.length > 0), WAIT)
        .toBe(true);
      await expect.poll(() => deletions.every(({ lines }) => lines.length === 1), WAIT).toBe(true);
      for (const { lines } of plain) expect(lines).toEqual(all(false));
      for (const { lines } of previous) expect(lines).toEqual(all(true));
      for (const { lines } of puts) expect(lines).toEqual(all(false).slice(0, 2));
      for (const { lines } of deletions) expect(lines).toEqual([`DELETE equal/a= (2)@${first + 3}`]);
      for (const client of clients.splice(0)) client.close();
      await expect.poll(() => watchersAt(store.endpoint), WAIT).toBe(0);
      expect(proxy.watches).toMatchObject({ receivers: 0, broadcasts: 0 });
    },
    TIMEOUT_MS,
  );

  it(
    'that begin in the past have one of their own until they have caught up',
    async () => {
      const { header } = await direct.put('past/a', '0');
      const from = header!.revision;
      for (let i = 1; i <= 5; i++) await direct.put('past/a', String(i));
      const now = await watching(3, 'past/', { prefix: true });
      const behind = await watching(3, 'past/', { prefix: true, start_revision: from });
      const further = await watching(1, 'past/', { prefix: true, start_revision: from + 2 });
      const lines = (first: number, last: number) =>
        Array.from({ length: last - first + 1 }, (__, i) => `PUT past/a=${first + i}@${from + first + i}`);
      for (const { lines: seen } of behind) await expect.poll(() => seen, WAIT).toEqual(lines(0, 5));
      await expect.poll(() => further[0]!.lines, WAIT).toEqual(lines(2, 5));
      expect(proxy.watches.created).toBeLessThanOrEqual(5);
      await direct.put('past/a', '6');
      for (const { lines: seen } of now) await expect.poll(() => seen, WAIT).toEqual(lines(6, 6));
      for (const { lines: seen } of behind) await expect.poll(() => seen, WAIT).toEqual(lines(0, 6));
      await expect.poll(() => further[0]!.lines, WAIT).toEqual(lines(2, 6));
      expect(proxy.watches).toMatchObject({ receivers: 7, broadcasts: 1 });
      expect(await watchersAt(store.endpoint)).toBe(1);
      await direct.put('past/a', '7');
      await expect.poll(() => further[0]!.lines, WAIT).toEqual(lines(2, 7));
      for (const { lines: seen } of behind) expect(seen).toEqual(lines(0, 7));
    },
    TIMEOUT_MS,
  );

  it(
    'that begin in the future hear of nothing before',
    async () => {
      const { header } = await direct.put('future/a', '0');
      const base = header!.revision;
      const now = await watching(1, 'future/', { prefix: true });
      const later = await watching(1, 'future/', { prefix: true, start_revision: base + 3 });
      for (let i = 1; i <= 4; i++) await direct.put('future/a', String(i));
      await expect.poll(() => now[0]!.lines.length, WAIT).toBe(4);
      await expect
        .poll(() => later[0]!.lines, WAIT)
        .toEqual([`PUT future/a=3@${base + 3}`, `PUT future/a=4@${base + 4}`]);
      expect(proxy.watches.created).toBe(1);
    },
    TIMEOUT_MS,
  );

  it(
    'miss nothing and repeat nothing when the store is gone for a while',
    async () => {
      const { header } = await direct.put('restart/a', '0');
      const from = header!.revision;
      const behind = await watching(5, 'restart/', { prefix: true, start_revision: from });
      const now = await watching(5, 'restart/', { prefix: true });
      for (let round = 0; round < 2; round++) {
        await store.kill();
        await store.start();
        await expect.poll(async () => direct.put('restart/a', `r${round}`).then(Boolean, () => false), WAIT).toBe(true);
      }
      const kvs = (await direct.range({ key: 'restart/a' })).kvs;
      const last = kvs[0]!.mod_revision;
      for (const { lines } of [...behind, ...now]) {
        await expect.poll(() => lines.at(-1), WAIT).toBe(`PUT restart/a=r1@${last}`);
      }
      for (const { lines } of [...behind, ...now]) {
        const revisions = lines.map((line) => Number(line.split('@')[1]));
        expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b));
      }
      // Every put counts, those of unknown outcome too: what one has seen, all have.
      for (const { lines } of now) expect(lines).toEqual(now[0]!.lines);
      for (const { lines } of behind) expect(lines).toEqual([`PUT restart/a=0@${from}`, ...now[0]!.lines]);
    },
    TIMEOUT_MS,
  );

  it(
    'end with the compaction that overtook them',
    async () => {
      for (let i = 0; i < 5; i++) await direct.put('compact/a', String(i));
      const { header } = await direct.put('compact/a', 'x');
      await direct.compact(header!.revision);
      const live = await watching(1, 'compact/', { prefix: true });
      const records = await watching(2, 'compact/', { prefix: true, start_revision: header!.revision - 3 });
      for (const record of records) {
        await record.ended;
        expect(record.last).toEqual({ kind: 'compacted', compactRevision: header!.revision });
      }
      await direct.put('compact/a', 'y');
      await expect.poll(() => live[0]!.lines.length, WAIT).toBe(1);
    },
    TIMEOUT_MS,
  );

  it(
    'of a client that does not read hold up nobody, and lose nothing',
    async () => {
      const channel = new grpc.Client(proxy.endpoint, grpc.credentials.createInsecure(), {
        'grpc.max_receive_message_length': -1,
      });
      const slow = channel.makeBidiStreamRequest(
        '/etcdserverpb.Watch/Watch',
        (request: Partial<WatchRequest>) => Buffer.from(encode(WatchRequest, request)),
        (bytes: Buffer) => decode(WatchResponse, bytes),
        new grpc.Metadata(),
      );
      slow.on('error', () => {});
      try {
        slow.write({ create_request: { ...defaults(WatchCreateRequest), key: 'slow/', range_end: 'slow0' } });
        await new Promise((resolve) => void slow.once('data', resolve));
        slow.pause();
        const quick = await watching(1, 'slow/', { prefix: true });
        expect(proxy.watches.broadcasts).toBe(1);
        const value = Buffer.alloc(256 * 1024, 'x');
        let puts = 60;
        const { header } = await direct.put('slow/a', value);
        for (let i = 1; i < puts; i++) await direct.put('slow/a', value);
        await expect.poll(() => quick[0]!.lines.length, WAIT).toBe(puts);
        // It leaves the shared one with the next event that it has no room for, and nothing is kept for it.
        const receivers = async () => {
          if (proxy.watches.receivers === 1) return 1;
          await direct.put('slow/a', value);
          puts++;
          return proxy.watches.receivers;
        };
        await expect.poll(receivers, WAIT).toBe(1);
        const revisions: number[] = [];
        slow.on('data', (response: WatchResponse) => {
          for (const { kv } of response.events) revisions.push(kv!.mod_revision);
        });
        slow.resume();
        await expect.poll(() => revisions.length, WAIT).toBe(puts);
        expect(revisions).toEqual(Array.from({ length: puts }, (__, i) => header!.revision + i));
        await direct.put('slow/a', 'end');
        await expect.poll(() => revisions.length, WAIT).toBe(puts + 1);
        await expect.poll(() => watchersAt(store.endpoint), WAIT).toBe(1);
      } finally {
        slow.cancel();
        channel.close();
      }
    },
    TIMEOUT_MS,
  );
});
