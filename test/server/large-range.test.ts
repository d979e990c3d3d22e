import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import type { KeyValue, RangeRequest, RequestOp } from '../../core/wire/messages.ts';
import { type RunningRoster, startRoster } from '../support/roster.ts';

const KEYS = 6000;
const KEYS_PER_TXN = 100;

/** Ranges that are sent while they are read, held against what pages of a few keys say. */
describe('a large range over gRPC', { timeout: 120_000 }, () => {
  let store: RunningRoster;
  let client: Client;
  beforeAll(async () => {
    store = await startRoster();
    client = new Client({ endpoints: [store.endpoint], timeoutMs: 60_000 });
  }, 60_000);
  afterAll(async () => {
    client?.close();
    await store?.stop();
  });

  const put = (key: string, bytes: number): RequestOp => ({
    request_put: {
      key,
      value: Buffer.alloc(bytes, key),
      lease: 0n,
      prev_kv: false,
      ignore_value: false,
      ignore_lease: false,
    },
  });
  const name = (i: number) => `big/${String(i).padStart(5, '0')}`;
  /** Sizes on both sides of where a length takes one byte more. */
  const fill = async (sizes: (i: number) => number): Promise<number> => {
    let revision = 0;
    for (let from = 0; from < KEYS; from += KEYS_PER_TXN) {
      const success = Array.from({ length: KEYS_PER_TXN }, (_, i) => put(name(from + i), sizes(from + i)));
      revision = (await client.txn({ success })).header!.revision;
    }
    return revision;
  };
  const paged = async (revision: number): Promise<KeyValue[]> => {
    const kvs: KeyValue[] = [];
    for (let key = 'big/'; ; ) {
      const page = await client.range({ key, range_end: 'big0', revision, limit: 500 });
      kvs.push(...page.kvs);
      if (!page.more) return kvs;
      key = `${page.kvs.at(-1)!.key}\0`;
    }
  };
  const all = (request: Partial<RangeRequest> = {}) => client.range({ key: 'big/', range_end: 'big0', ...request });

  it('is whole, now and at an earlier revision, with keys changed, gone and come since', async () => {
    const before = await fill((i) => (i % 50 === 0 ? 20_000 : i % 300));
    await fill((i) => (i % 7 === 0 ? 130 : 0));
    await client.delete('big/000', { prefix: true });
    for (const revision of [before, 0]) {
      const whole = await all({ revision });
      expect(whole.kvs).toEqual(await paged(revision));
      expect([whole.more, whole.count]).toEqual([false, revision === 0 ? KEYS - 100 : KEYS]);
      expect(whole.header!.revision).toBeGreaterThan(before);
    }
  });

  it('keeps to the limit, and counts what is left out', async () => {
    const { kvs } = await all();
    for (const limit of [kvs.length - 1, kvs.length, kvs.length + 1]) {
      const cut = await all({ limit });
      expect(cut.kvs).toEqual(kvs.slice(0, limit));
      expect([cut.more, cut.count]).toEqual([limit < kvs.length, kvs.length]);
    }
    expect((await all({ keys_only: true })).kvs.every(({ value }) => value.length === 0)).toBe(true);
    expect((await all({ sort_order: 2, sort_target: 2 })).count).toBe(kvs.length);
  });

  it('is of one revision while others write and compact', async () => {
    let over = false;
    const writing = (async () => {
      for (let i = 0; !over; i++) {
        const { header } = await client.put(name(1000 + (i % 4000)), 'x'.repeat(i % 400));
        if (i % 50 === 49) await client.compact(header!.revision);
      }
    })();
    for (let round = 0; round < 10; round++) {
      const whole = await all();
      expect(whole.kvs).toHaveLength(whole.count);
      expect(whole.kvs.every(({ mod_revision }) => mod_revision <= whole.header!.revision)).toBe(true);
    }
    over = true;
    await writing;
  });

  it('that nobody waits for any more lets compaction go on', async () => {
    // 24 MB, some hundred times the window: not there when they are cancelled, however quick server and client are.
    await fill(() => 4000);
    for (let i = 0; i < 5; i++) {
      const given = all({ revision: 0 });
      const aborted = client.range({ key: 'big/', range_end: 'big0' }, { signal: AbortSignal.timeout(5) });
      await expect(aborted).rejects.toBeDefined();
      await given;
    }
    const { header } = await client.put('other', '1');
    await client.compact(header!.revision, { physical: true });
  });
});
