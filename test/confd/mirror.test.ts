import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import type { Change } from '../../confd/key-tree.ts';
import { silentLogger } from '../../confd/logger.ts';
import { LIST_PAGE_KEYS, Mirror } from '../../confd/mirror.ts';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import { type RunningRoster, startRoster } from '../support/roster.ts';
import { type StallingClient, stalling } from './stalling-client.ts';

describe('the mirror, on a real store', () => {
  let store: RunningRoster;
  let client: Client;
  let network: StallingClient;
  let mirror: Mirror;
  const seen: Change[] = [];
  const never = new AbortController().signal;

  beforeAll(async () => {
    store = await startRoster();
    client = new Client({ endpoints: [store.endpoint] });
  });
  afterAll(async () => {
    client?.close();
    await store?.stop();
  });
  afterEach(async () => {
    network.release();
    await mirror.close();
    await client.delete('/', { prefix: true });
  });

  function begin(scopes: string[], watch = true): Mirror {
    network = stalling(client);
    mirror = new Mirror(network, silentLogger, { watch });
    seen.length = 0;
    mirror.onChange((changes) => seen.push(...changes));
    mirror.setScopes(scopes);
    return mirror;
  }
  const content = () =>
    Object.fromEntries([...mirror.tree.keysUnder('')].sort().map((key) => [key, mirror.tree.node(key)?.value]));
  const loaded = (scopes: string[]) => mirror.snapshot(scopes, never, () => content());

  it('lists, follows, and says what really changed', async () => {
    await client.put('/a/1', 'x');
    begin(['/a']);
    expect(await loaded(['/a'])).toEqual({ '/a/1': 'x' });
    seen.length = 0;
    await client.put('/a/1', 'x');
    await client.put('/a/2', 'y');
    await client.delete('/a/1');
    await client.put('/a', 'self');
    await expect.poll(content).toEqual({ '/a': 'self', '/a/2': 'y' });
    expect(seen.map((change) => change.key)).toEqual(['/a/2', '/a/1', '/a']);
  });

  it('is not woken by keys that only begin alike (C12)', async () => {
    begin(['/foo']);
    await loaded(['/foo']);
    for (const key of ['/foobar/x', '/foo-bar', '/foo.d/x', '/fo', '/foo/', '/foo//x', '/foo/../x'])
      await client.put(key, '1');
    await client.put('/foo/end', '1');
    await expect.poll(() => seen.map((change) => change.key)).toEqual(['/foo/end']);
    expect(content()).toEqual({ '/foo/end': '1' });
  });

  it('holds hostile keys and values as they are', async () => {
    const keys = ['/h/__proto__', '/h/constructor/prototype', '/h/é😀', '/h/{{x}}'];
    for (const key of keys) await client.put(key, `v${key}`);
    await client.put('/h/bytes', Uint8Array.of(0xff, 0));
    await client.put(Buffer.from('/h/\xff', 'latin1'), 'no text');
    begin(['/h']);
    const all = await loaded(['/h']);
    expect(Object.keys(all)).toHaveLength(5);
    for (const key of keys) expect(mirror.tree.node(key)?.value).toBe(`v${key}`);
    expect(mirror.tree.node('/h/bytes')?.value).toEqual(Uint8Array.of(0xff, 0));
  });

  it('lists in pages, also when they must be smaller', async () => {
    const total = LIST_PAGE_KEYS + 1;
    for (let at = 0; at < total; at += 100) {
      await Promise.all(Array.from({ length: Math.min(100, total - at) }, (_, i) => client.put(`/p/${at + i}`, 'x')));
    }
    begin(['/p'], false);
    await mirror.refresh(never);
    expect(mirror.tree.size).toBe(total);
    await mirror.close();
    begin(['/p'], false);
    const limits: number[] = [];
    const { range } = network;
    network.range = (request, options) => {
      limits.push(request.limit!);
      if (request.limit! > 300) return Promise.reject(otherError(GrpcStatus.RESOURCE_EXHAUSTED, 'too large'));
      return range(request, options);
    };
    await mirror.refresh(never);
    expect(mirror.tree.size).toBe(total);
    expect(limits.slice(0, 2)).toEqual([1_000, 250]);
  });

  it('lists again after a compaction and publishes the difference only (C8)', async () => {
    await client.put('/c/stays', '1');
    await client.put('/c/goes', '1');
    await client.put('/c/changes', '1');
    begin(['/c']);
    // Cut off after the list: the watch reaches the store only when its place in the history is gone.
    const { watch } = network;
    let reconnect = () => {};
    const connected = new Promise<void>((resolve) => {
      reconnect = resolve;
    });
    let watches = 0;
    network.watch = (key, options) => {
      watches++;
      return (async function* () {
        await connected;
        yield* watch(key, options);
      })();
    };
    await loaded(['/c']);
    seen.length = 0;
    await client.put('/c/changes', 'lost');
    await client.delete('/c/goes');
    await client.put('/c/changes', '2');
    const { header } = await client.put('/c/new', '1');
    await client.compact(header!.revision);
    reconnect();
    await expect.poll(content).toEqual({ '/c/stays': '1', '/c/changes': '2', '/c/new': '1' });
    expect(seen.map((change) => change.key).sort()).toEqual(['/c/changes', '/c/goes', '/c/new']);
    await client.put('/c/last', '1');
    await expect.poll(() => mirror.tree.node('/c/last')?.value).toBe('1');
    expect(watches).toBe(2);
  });

  it('shows several ranges at one revision, whichever watch is late', async () => {
    begin(['/a', '/z']);
    await loaded(['/a', '/z']);
    const put = (key: string, value: string) => ({
      request_put: {
        key,
        value: Buffer.from(value),
        lease: 0n,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
      },
    });
    let writing = true;
    const writer = (async () => {
      for (let n = 1; writing; n++) {
        if (n % 3 === 0) network.hold(n % 2 === 0 ? '/a' : '/z');
        else network.release();
        await client.txn({ compare: [], success: [put('/a/n', `${n}`), put('/z/n', `${n}`)], failure: [] });
      }
    })();
    const pairs: unknown[] = [];
    for (let i = 0; i < 60; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      pairs.push(
        await mirror.snapshot(['/a', '/z'], never, (tree) => [tree.node('/a/n')?.value, tree.node('/z/n')?.value]),
      );
    }
    writing = false;
    await writer;
    for (const [a, z] of pairs as [unknown, unknown][]) expect(a).toBe(z);
    expect(new Set(pairs.map(String)).size).toBeGreaterThan(1);
  });

  it('does not wait for ever for a watch that is stuck', async () => {
    begin(['/a', '/z']);
    await loaded(['/a', '/z']);
    network.hold('/z');
    await client.put('/z/n', '1');
    await client.put('/z/n', '2');
    await client.put('/a/n', '1');
    await expect.poll(() => mirror.tree.node('/a/n')?.value).toBe('1');
    expect(await loaded(['/a', '/z'])).toEqual({ '/a/n': '1', '/z/n': '2' });
    // What arrives late is what the list showed already.
    seen.length = 0;
    network.release();
    await client.put('/z/end', '1');
    await expect.poll(() => seen.map((change) => change.key)).toEqual(['/z/end']);
  });

  it('asks nothing while one range is enough', async () => {
    begin(['/a']);
    await loaded(['/a']);
    const before = network.ranges;
    for (let i = 0; i < 5; i++) await client.put('/a/n', `${i}`);
    await expect.poll(content).toEqual({ '/a/n': '4' });
    await loaded(['/a']);
    expect(network.ranges).toBe(before);
  });

  it('takes on and drops scopes while it runs', async () => {
    for (const key of ['/a/1', '/b/1', '/b/sub/1', '/c/1']) await client.put(key, 'x');
    begin(['/a', '/b']);
    await loaded(['/a', '/b']);
    seen.length = 0;
    mirror.setScopes(['/b/sub', '/c']);
    expect(await loaded(['/b/sub', '/c'])).toEqual({ '/b/sub/1': 'x', '/c/1': 'x' });
    expect(seen.map((change) => change.key).sort()).toEqual(['/a/1', '/b/1', '/c/1']);
    mirror.setScopes(['']);
    expect(Object.keys(await loaded(['']))).toHaveLength(4);
    await client.put('/d', 'x');
    await expect.poll(() => mirror.tree.node('/d')?.value).toBe('x');
  });

  it('begins as soon as the store answers', async () => {
    await client.put('/a/1', 'x');
    network = stalling(client);
    network.failRanges(2);
    mirror = new Mirror(network, silentLogger, { watch: true });
    mirror.setScopes(['/a']);
    expect(await loaded(['/a'])).toEqual({ '/a/1': 'x' });
    const stop = new AbortController();
    mirror.setScopes(['/a', '/later']);
    network.failRanges(1_000);
    const waiting = mirror.snapshot(['/later'], stop.signal, () => 0);
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});
