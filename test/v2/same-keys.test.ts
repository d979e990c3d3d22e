import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../client/index.ts';
import { type Event, EventType } from '../../core/wire/messages.ts';
import { type RunningRoster, startRoster } from '../support/roster.ts';
import { type Json, Side } from './side.ts';

/** v2 and v3 on one keyspace: what each sees of the other's writes. */

let server: RunningRoster;
let v2: Side;
let v3: Client;

beforeAll(async () => {
  server = await startRoster();
  v2 = new Side('roster', server.endpoint);
  v3 = new Client({ endpoints: [server.endpoint] });
});
afterAll(async () => {
  v2?.close();
  v3?.close();
  await server?.stop();
});

const form = async (method: string, path: string, body?: string): Promise<Json> =>
  JSON.parse((await v2.keys({ method, path, ...(body === undefined ? {} : { body }) })).text) as Json;

/** The events of a v3 watch from now on, revision by revision. */
async function watching(
  prefix: string,
): Promise<{ next(): Promise<{ revision: number; events: Event[] }>; stop(): void }> {
  const over = new AbortController();
  let created!: () => void;
  const begun = new Promise<void>((resolve) => {
    created = resolve;
  });
  const watch = v3.watch(prefix, { prefix: true, prev_kv: true, signal: over.signal, onCreated: () => created() });
  const first = watch.next();
  await begun;
  let pending: Promise<IteratorResult<unknown>> | undefined = first;
  return {
    async next() {
      for (;;) {
        const { value } = (await (pending ?? watch.next())) as { value: { revision: number; events?: Event[] } };
        pending = undefined;
        if (value.events !== undefined) return { revision: value.revision, events: value.events };
      }
    },
    stop: () => over.abort(),
  };
}

const text = (event: Event) => Buffer.from(event.kv!.value).toString();

describe('v3 sees of v2', () => {
  it('a write as an event, its key and value unchanged', async () => {
    const events = await watching('/one/');
    await form('PUT', '/one/a', 'value=1');
    const { revision, events: seen } = await events.next();
    expect(seen.map((event) => [event.type, event.kv!.key, text(event)])).toEqual([
      [EventType.values.PUT, '/one/a', '1'],
    ]);
    expect((await v2.keys({ method: 'GET', path: '/one/a' })).headers['x-etcd-index']).toBe(String(revision));
    events.stop();
  });

  it('no markers under its prefixes', async () => {
    await form('PUT', '/two/d?dir=true');
    await form('PUT', '/two/f', 'value=1&ttl=1000');
    await form('PUT', '/two/f?prevExist=true', 'value=2');
    const { kvs } = await v3.range({ key: '/two/', range_end: '/two0' });
    expect(kvs.map(({ key }) => key)).toEqual(['/two/f']);
  });

  it('the end of a TTL as a delete', async () => {
    const events = await watching('/three/');
    await form('PUT', '/three/a', 'value=1&ttl=1');
    await events.next();
    const { events: seen } = await events.next();
    expect(seen.map((event) => [event.type, event.kv!.key])).toEqual([[EventType.values.DELETE, '/three/a']]);
    events.stop();
  });

  it('the end of a directory as deletes of one revision', async () => {
    const events = await watching('/four/');
    await form('PUT', '/four?dir=true&ttl=2');
    for (const name of ['a', 'b/c', 'b/_hidden', 'd/e/f']) await form('PUT', `/four/${name}`, 'value=1');
    await v3.put('/four/by-v3', '1');
    await v3.put('/four//unseen', '1');
    for (let i = 0; i < 6; i++) await events.next();
    const { events: seen } = await events.next();
    expect(seen.every(({ type }) => type === EventType.values.DELETE)).toBe(true);
    expect(seen.map((event) => event.kv!.key).sort()).toEqual(
      ['/four/a', '/four/b/_hidden', '/four/b/c', '/four/by-v3', '/four/d/e/f', '/four//unseen'].sort(),
    );
    expect(await form('GET', '/four')).toMatchObject({ errorCode: 100 });
    // Nothing is left of it in the reserved range.
    const { kvs } = await v3.range({ key: '\0roster/v2/', range_end: '\0roster/v20' });
    expect(kvs.filter(({ key }) => key.includes('/four/'))).toEqual([]);
    events.stop();
  });
});

describe('v2 sees of v3', () => {
  it('a put as a set, a delete as a delete', async () => {
    const first = await v2.wait('/five?wait=true&recursive=true&stream=true');
    await v3.put('/five/a', '1');
    await v3.put('/five/a', '2');
    await v3.delete('/five/a');
    expect(await first.until(() => first.lines.length === 3)).toBe(true);
    const [one, two, three] = first.lines as [Json, Json, Json];
    expect(one).toMatchObject({ action: 'set', node: { key: '/five/a', value: '1' } });
    expect(one.prevNode).toBeUndefined();
    expect(two).toMatchObject({ action: 'set', node: { value: '2' }, prevNode: { value: '1' } });
    expect(three).toMatchObject({ action: 'delete', node: { key: '/five/a' }, prevNode: { value: '2' } });
    first.close();
  });

  it('each change of a transaction, all with one index', async () => {
    const stream = await v2.wait('/six?wait=true&recursive=true&stream=true');
    const put = (key: string) => ({
      request_put: {
        key,
        value: Buffer.from('1'),
        lease: 0n,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
      },
    });
    await v3.txn({ success: [put('/six/a'), put('/six/b'), put('/sixty')] });
    expect(await stream.until(() => stream.lines.length === 2)).toBe(true);
    const nodes = stream.lines.map(({ node }) => node as Json);
    expect(nodes.map(({ key }) => key)).toEqual(['/six/a', '/six/b']);
    expect(nodes[0]!.modifiedIndex).toBe(nodes[1]!.modifiedIndex);
    stream.close();
  });

  it('directories in front of keys, with or without markers', async () => {
    await v3.put('/seven/x/y', '1');
    expect(await form('GET', '/seven?recursive=true')).toMatchObject({
      node: {
        key: '/seven',
        dir: true,
        nodes: [{ key: '/seven/x', dir: true, nodes: [{ key: '/seven/x/y', value: '1' }] }],
      },
    });
    expect(await form('PUT', '/seven/x', 'value=1')).toMatchObject({ errorCode: 102 });
    expect(await form('PUT', '/seven/x/y/z', 'value=1')).toMatchObject({ errorCode: 104, cause: '/seven/x/y' });
    await form('DELETE', '/seven/x/y');
    expect(await form('GET', '/seven')).toMatchObject({ errorCode: 100 });
  });

  it('no keys that are no paths', async () => {
    for (const key of ['eight', '/eight//a', '/eight/b/', '/eight/./c', '/eight/d/\xff']) {
      await v3.put(Buffer.from(key, 'latin1'), '1');
    }
    const { node } = (await form('GET', '/eight?recursive=true&sorted=true')) as { node: { nodes: Json[] } };
    expect(node.nodes.map(({ key, dir }) => [key, dir])).toEqual([
      ['/eight/b', true],
      ['/eight/d', true],
    ]);
  });

  it('a file where v3 made both of one name', async () => {
    await v3.put('/nine/a', 'file');
    await v3.put('/nine/a/b', 'below');
    const { node } = (await form('GET', '/nine?recursive=true')) as { node: { nodes: Json[] } };
    expect(node.nodes).toMatchObject([{ key: '/nine/a', value: 'file' }]);
    expect(await form('GET', '/nine/a/b')).toMatchObject({ node: { value: 'below' } });
  });

  it('a lease as a TTL, which takes what hangs on it and no more', async () => {
    const { ID } = await v3.leaseGrant(600);
    await v3.put('/ten/a', '1', { lease: ID });
    const { node } = (await form('GET', '/ten/a')) as { node: Json };
    expect(node.ttl).toBeGreaterThan(500);
    expect(node.expiration).toMatch(/^\d{4}-/);
    await form('PUT', '/ten/d?dir=true&ttl=600');
    await form('PUT', '/ten/d/x', 'value=1');
    // Even on a directory's marker it takes the marker alone.
    await v3.putRequest({ key: '\0roster/v2/dir/ten/d/', ignore_value: true, lease: ID });
    await v3.leaseRevoke(ID);
    expect(await form('GET', '/ten/a')).toMatchObject({ errorCode: 100 });
    expect(await form('GET', '/ten/d/x')).toMatchObject({ node: { value: '1' } });
  });

  it('a value of a v3 put over a TTL of v2 as one that stays', async () => {
    await form('PUT', '/eleven', 'value=1&ttl=1');
    await v3.put('/eleven', '2');
    const { kvs } = await v3.range({ key: '/eleven' });
    expect(kvs[0]!.lease).toBe(0n);
    expect((await form('GET', '/eleven')).node).not.toHaveProperty('ttl');
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(await form('GET', '/eleven')).toMatchObject({ node: { value: '2' } });
  });

  it('nothing of a refresh, but that its time goes on', async () => {
    await form('PUT', '/twelve', 'value=1&ttl=2');
    const wait = await v2.wait('/twelve?wait=true');
    for (let i = 0; i < 4; i++) {
      await new Promise((resolve) => setTimeout(resolve, 800));
      expect(await form('PUT', '/twelve?prevExist=true', 'refresh=true&ttl=2')).toMatchObject({ action: 'update' });
    }
    expect(wait.lines).toEqual([]);
    expect(await wait.until(() => wait.ended)).toBe(true);
    expect(wait.lines).toMatchObject([{ action: 'expire', prevNode: { value: '1' } }]);
    // One lease at a time: none is left behind.
    const { leases } = await v3.leases();
    for (const { ID } of leases) expect((await v3.leaseTimeToLive(ID, { keys: true })).keys).not.toContain('/twelve');
  });
});

describe('many at once', () => {
  const CLIENTS = 50;

  it('compare and swap: no increment is lost or made twice', async () => {
    const each = 2;
    await form('PUT', '/counter', 'value=0');
    const increment = async (): Promise<void> => {
      for (;;) {
        const { node } = (await form('GET', '/counter?quorum=true')) as { node: Json };
        const next = Number(node.value) + 1;
        const by = next % 2 === 0 ? `prevIndex=${node.modifiedIndex}` : `prevValue=${node.value}`;
        const { status } = await v2.keys({ method: 'PUT', path: `/counter?${by}`, body: `value=${next}` });
        if (status === 200) return;
        expect(status).toBe(412);
        await new Promise((resolve) => setTimeout(resolve, 100 * Math.random()));
      }
    };
    const client = async () => {
      for (let i = 0; i < each; i++) await increment();
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
    expect(await form('GET', '/counter')).toMatchObject({ node: { value: String(CLIENTS * each) } });
  }, 120_000);

  it('in order: every value once, and as acknowledged', async () => {
    const each = 10;
    const acknowledged = new Map<string, string>();
    const client = async (_: unknown, who: number) => {
      for (let i = 0; i < each; i++) {
        const { node } = (await form('POST', '/queue', `value=${who}.${i}`)) as {
          node: { key: string; value: string };
        };
        expect(acknowledged.has(node.key)).toBe(false);
        acknowledged.set(node.key, node.value);
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
    const { node } = (await form('GET', '/queue?sorted=true')) as { node: { nodes: { key: string; value: string }[] } };
    expect(new Map(node.nodes.map(({ key, value }) => [key, value]))).toEqual(acknowledged);
    expect(node.nodes).toHaveLength(CLIENTS * each);
    // Of one client, the order in which it asked.
    for (let who = 0; who < CLIENTS; who++) {
      const mine = node.nodes.filter(({ value }) => value.startsWith(`${who}.`)).map(({ value }) => value);
      expect(mine).toEqual(Array.from({ length: each }, (_, i) => `${who}.${i}`));
    }
  }, 120_000);
});

describe('history', () => {
  it('goes back to where it was compacted, and says from where it can be had', async () => {
    const written = (await form('PUT', '/history/a', 'value=1')) as { node: { modifiedIndex: number } };
    const first = written.node.modifiedIndex;
    for (let i = 2; i <= 5; i++) await form('PUT', '/history/a', `value=${i}`);
    await v3.compact(first + 2);
    const cleared = await form('GET', `/history/a?wait=true&waitIndex=${first}`);
    expect(cleared).toMatchObject({
      errorCode: 401,
      message: 'The event in requested index is outdated and cleared',
      cause: `the requested history has been cleared [${first + 3}/${first}]`,
    });
    const from = /\[(\d+)\//.exec(cleared.cause as string)![1]!;
    const wait = await v2.wait(`/history?wait=true&recursive=true&stream=true&waitIndex=${from}`);
    expect(await wait.until(() => wait.lines.length === 2)).toBe(true);
    expect(wait.lines.map(({ node }) => (node as Json).value)).toEqual(['4', '5']);
    wait.close();
  });

  it('is told whole to a stream that begins in the past and goes on', async () => {
    const { node } = (await form('PUT', '/long/0', 'value=0')) as { node: { modifiedIndex: number } };
    for (let i = 1; i < 300; i++) await v3.put(`/long/${i}`, `${i}`);
    const stream = await v2.wait(`/long?wait=true&recursive=true&stream=true&waitIndex=${node.modifiedIndex}`);
    for (let i = 300; i < 320; i++) await form('PUT', `/long/${i}`, `value=${i}`);
    expect(await stream.until(() => stream.lines.length >= 320)).toBe(true);
    expect(stream.lines.map((line) => (line.node as Json).value)).toEqual(
      Array.from({ length: 320 }, (_, i) => `${i}`),
    );
    stream.close();
  });

  it('does not pile up for a stream that is not read', async () => {
    const stream = await v2.wait('/slow?wait=true&recursive=true&stream=true');
    stream.pause();
    const value = 'x'.repeat(100_000);
    for (let i = 0; i < 100; i++) await v3.put(`/slow/${i}`, value);
    stream.resume();
    expect(await stream.until(() => stream.lines.length === 100)).toBe(true);
    expect(stream.lines.map((line) => (line.node as Json).key)).toEqual(
      Array.from({ length: 100 }, (_, i) => `/slow/${i}`),
    );
    stream.close();
  }, 60_000);
});

describe('a wait that nobody waits for any more', () => {
  const watchers = async () =>
    (JSON.parse((await v2.ask('GET', '/v2/stats/store')).text) as { watchers: number }).watchers;

  it('is gone', async () => {
    // Those of the tests before end when the server hears of it.
    await expect.poll(watchers, { timeout: 20_000 }).toBe(0);
    const waits = await Promise.all(Array.from({ length: 5 }, () => v2.wait('/gone?wait=true&stream=true')));
    expect(await watchers()).toBe(5);
    for (const wait of waits) wait.close();
    await expect.poll(watchers, { timeout: 20_000 }).toBe(0);
  });

  it('does not hold up a stop', async () => {
    const own = await startRoster();
    const side = new Side('stopping', own.endpoint);
    const wait = await side.wait('/x?wait=true');
    expect(await own.terminate()).toBe(0);
    expect(await wait.until(() => wait.ended)).toBe(true);
    expect(wait.lines).toEqual([]);
    side.close();
    await own.stop();
  }, 60_000);
});

describe('a request that is too large', () => {
  // Each byte of --max-request-bytes may be escaped; and some room for the rest.
  const most = 1_572_864 * 3 + 64 * 1024;
  const ofBytes = (bytes: number) => form('PUT', '/too/large', `value=${'x'.repeat(bytes - 'value='.length)}`);

  it('is refused by the form, or by the log', async () => {
    expect(await ofBytes(1_500_000)).toMatchObject({ action: 'set' });
    expect(await ofBytes(1_572_864)).toMatchObject({ errorCode: 300, cause: 'etcdserver: request is too large' });
    expect(await ofBytes(most)).toMatchObject({ errorCode: 300, cause: 'etcdserver: request is too large' });
    expect(await ofBytes(most + 1)).toMatchObject({ errorCode: 210, cause: 'http: POST too large' });
  });
});

describe('large directories', () => {
  it('are listed whole, one level at the cost of one level', async () => {
    const put = (key: string) => ({
      request_put: {
        key,
        value: Buffer.from('v'),
        lease: 0n,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
      },
    });
    for (let dir = 0; dir < 20; dir++) {
      for (let from = 0; from < 500; from += 100) {
        await v3.txn({ success: Array.from({ length: 100 }, (_, i) => put(`/large/${dir}/${from + i}`)) });
      }
    }
    for (let from = 0; from < 1500; from += 100) {
      await v3.txn({ success: Array.from({ length: 100 }, (_, i) => put(`/large/flat/${from + i}`)) });
    }
    const level = (await form('GET', '/large')) as { node: { nodes: Json[] } };
    expect(level.node.nodes).toHaveLength(21);
    const flat = (await form('GET', '/large/flat?sorted=true')) as { node: { nodes: { key: string }[] } };
    const names = Array.from({ length: 1500 }, (_, i) => `/large/flat/${i}`).sort();
    expect(flat.node.nodes.map(({ key }) => key)).toEqual(names);
    const tree = (await form('GET', '/large?recursive=true')) as { node: { nodes: { nodes: Json[] }[] } };
    expect(tree.node.nodes.reduce((sum, { nodes }) => sum + nodes.length, 0)).toBe(20 * 500 + 1500);
    expect(await form('DELETE', '/large?recursive=true')).toMatchObject({ action: 'delete', node: { dir: true } });
    expect(await form('GET', '/large')).toMatchObject({ errorCode: 100 });
  }, 60_000);
});
