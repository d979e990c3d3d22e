import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import type { Method } from '../../client/methods.ts';
import { RosterError } from '../../core/errors.ts';
import { decode, defaults, encode } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { UsageError } from '../../server/config/flag-table.ts';
import { readProxyFlags } from '../../server/grpc-proxy/flags.ts';
import { Upstream } from '../../server/upstream/upstream.ts';
import { startDns } from '../support/dns.ts';
import { type RunningRoster, startRoster } from '../support/roster.ts';
import { Authority, hasOpenssl, TlsFolder } from '../tls/authority.ts';
import { proxyOf, type TestProxy } from './start.ts';

const TIMEOUT_MS = 120_000;
const WAIT = { timeout: 60_000, interval: 50 };

let store: RunningRoster;
let direct: Client;
const undo: (() => unknown)[] = [];
beforeAll(async () => {
  store = await startRoster();
  direct = new Client({ endpoints: [store.endpoint] });
}, TIMEOUT_MS);
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(async () => {
  direct.close();
  await store.stop();
});

async function proxy(...args: string[]): Promise<{ proxy: TestProxy; client: Client }> {
  const started = await proxyOf(store.endpoint, ...args);
  undo.push(() => started.close());
  return { proxy: started, client: clientOf(started.endpoint) };
}

function clientOf(endpoint: string): Client {
  const client = new Client({ endpoints: [endpoint] });
  undo.push(() => client.close());
  return client;
}

function callsTo(endpoint: string): Upstream {
  const calls = new Upstream({ endpoints: [endpoint], dialTimeoutMs: 10_000 });
  undo.push(() => calls.close());
  return calls;
}

const text = (kv: m.KeyValue | undefined) => Buffer.from(kv?.value ?? []).toString();

describe('serializable reads', () => {
  const read = async (client: Client, key: string) => text((await client.range({ key, serializable: true })).kvs[0]);

  it('come from the cache until something that passes changes them', async () => {
    const { proxy: one, client } = await proxy('--cache-max-age', '10m');
    await direct.put('cache/a', '1');
    expect([await read(client, 'cache/a'), await read(client, 'cache/a')]).toEqual(['1', '1']);
    expect([one.cache.hits, one.cache.misses]).toEqual([1, 1]);
    // The store's own change is not seen: nothing has passed.
    await direct.put('cache/a', '2');
    expect(await read(client, 'cache/a')).toBe('1');
    // A linearizable read is always asked, and refreshes what is kept.
    expect(text(await client.get('cache/a'))).toBe('2');
    expect(await read(client, 'cache/a')).toBe('2');
    await client.put('cache/a', '3');
    expect(await read(client, 'cache/a')).toBe('3');
    await client.txn({
      success: [{ request_put: { ...defaults(m.PutRequest), key: 'cache/a', value: Buffer.from('4') } }],
    });
    expect(await read(client, 'cache/a')).toBe('4');
    await client.delete('cache/', { prefix: true });
    expect(await read(client, 'cache/a')).toBe('');
  });

  it('are forgotten when a watch that passes tells of a change', async () => {
    const { client } = await proxy('--cache-max-age', '10m');
    await direct.put('cached/a', '1');
    let onCreated = () => {};
    const created = new Promise<void>((resolve) => {
      onCreated = resolve;
    });
    const watch = client.watch('cached/', { prefix: true, onCreated });
    const next = watch.next();
    await created;
    expect(await read(client, 'cached/a')).toBe('1');
    await direct.put('cached/a', '2');
    await next;
    expect(await read(client, 'cached/a')).toBe('2');
  });

  it('are no older than they may be', async () => {
    const { client } = await proxy('--cache-max-age', '100ms');
    await direct.put('aged/a', '1');
    expect(await read(client, 'aged/a')).toBe('1');
    await direct.put('aged/a', '2');
    await expect.poll(() => read(client, 'aged/a'), WAIT).toBe('2');
  });

  it('are always asked with --experimental-serializable-ordering', async () => {
    const { proxy: one, client } = await proxy('--experimental-serializable-ordering');
    await client.put('ordered', '1');
    for (let i = 0; i < 3; i++) expect(await read(client, 'ordered')).toBe('1');
    expect(one.cache.hits).toBe(0);
  });
});

describe('a namespace', () => {
  it('has its own keys in every request and every answer', async () => {
    const { client } = await proxy('--namespace', 'ns/');
    await client.put('a', '1');
    await client.put('b', '2');
    await direct.put('ns0', 'not in it');
    await direct.put('a', 'outside');
    const keys = async (from: Client, request: Partial<m.RangeRequest>) =>
      (await from.range(request)).kvs.map(({ key }) => key);
    expect(await keys(direct, { key: 'ns/', range_end: 'ns0' })).toEqual(['ns/a', 'ns/b']);
    expect(await keys(client, { key: '\0', range_end: '\0' })).toEqual(['a', 'b']);
    expect(await keys(client, { key: 'b', range_end: '\0' })).toEqual(['b']);
    expect(await keys(client, { key: 'a', range_end: 'b' })).toEqual(['a']);
    const txn = await client.txn({
      compare: [{ ...defaults(m.Compare), key: 'a', target: 1, result: 1, create_revision: 0 }],
      success: [
        { request_put: { ...defaults(m.PutRequest), key: 'c', value: Buffer.from('3'), prev_kv: true } },
        {
          request_txn: {
            compare: [],
            success: [{ request_range: { ...defaults(m.RangeRequest), key: 'a' } }],
            failure: [],
          },
        },
        { request_delete_range: { ...defaults(m.DeleteRangeRequest), key: 'b', prev_kv: true } },
      ],
    });
    expect(txn.succeeded).toBe(true);
    expect(txn.responses[1]!.response_txn!.responses[0]!.response_range!.kvs[0]!.key).toBe('a');
    expect(txn.responses[2]!.response_delete_range!.prev_kvs[0]!.key).toBe('b');
    expect(await keys(direct, { key: 'ns/', range_end: 'ns0' })).toEqual(['ns/a', 'ns/c']);
    const refused = (work: Promise<unknown>) =>
      work.then(
        () => 'done',
        (error: RosterError) => error.code,
      );
    expect(await refused(client.range({ key: '' }))).toBe('EmptyKey');
    expect(await refused(client.put('', 'x'))).toBe('EmptyKey');
    expect(await refused(client.deleteRange({ key: '', range_end: '\0' }))).toBe('EmptyKey');
    expect((await client.delete('', { prefix: true })).deleted).toBe(2);
    expect(text(await direct.get('a'))).toBe('outside');
  });

  it('holds for watches, leases, locks and listings in pieces', async () => {
    const { proxy: one, client } = await proxy('--namespace', 'tenant/');
    const { header, ID } = await client.leaseGrant(60);
    await client.put('leased', '1', { lease: ID });
    await direct.put('elsewhere', '2', { lease: ID });
    expect((await client.leaseTimeToLive(ID, { keys: true })).keys).toEqual(['leased']);
    const watch = client.watch('', { prefix: true, prev_kv: true, start_revision: header!.revision + 1 });
    await client.put('leased', '3');
    const events: m.Event[] = [];
    while (events.length < 2) {
      const { value } = await watch.next();
      if (value?.kind === 'events') events.push(...value.events);
    }
    expect(events.map(({ kv, prev_kv: before }) => [kv!.key, before?.key])).toEqual([
      ['leased', undefined],
      ['leased', 'leased'],
    ]);
    const lock: Method<m.LockRequest, m.LockResponse> = {
      path: '/v3lockpb.Lock/Lock',
      request: m.LockRequest,
      response: m.LockResponse,
      repeatable: false,
    };
    const calls = callsTo(one.endpoint);
    const held = await calls.call(lock, { name: 'l', lease: ID });
    expect(held.key).toBe(`l/${ID.toString(16)}`);
    expect(await direct.get(`tenant/l/${ID.toString(16)}`)).toBeDefined();
    const { stream } = await calls.stream({ ...rangeStream }, {});
    stream.write({ ...defaults(m.RangeRequest), key: '\0', range_end: '\0' });
    const seen: string[] = [];
    for await (const part of stream) {
      for (const { key } of (part as m.RangeStreamResponse).range_response?.kvs ?? []) seen.push(key);
    }
    expect(seen).toEqual([`l/${ID.toString(16)}`, 'leased']);
  });
});

const rangeStream = {
  path: '/etcdserverpb.KV/RangeStream',
  request: m.RangeRequest,
  response: m.RangeStreamResponse,
  repeatable: true,
};

describe('renewals of leases', () => {
  it('of one lease are one at the store while it has not answered', async () => {
    const { proxy: one } = await proxy();
    const { ID } = await direct.leaseGrant(60);
    const calls = callsTo(one.endpoint);
    const keepAlive: Method<m.LeaseKeepAliveRequest, m.LeaseKeepAliveResponse> = {
      path: '/etcdserverpb.Lease/LeaseKeepAlive',
      request: m.LeaseKeepAliveRequest,
      response: m.LeaseKeepAliveResponse,
      repeatable: true,
    };
    const answers: m.LeaseKeepAliveResponse[] = [];
    const streams = await Promise.all(Array.from({ length: 20 }, () => calls.stream(keepAlive)));
    for (const { stream } of streams) {
      stream.on('data', (answer: m.LeaseKeepAliveResponse) => answers.push(answer));
      stream.on('error', () => {});
      for (let i = 0; i < 20; i++) stream.write({ ID });
    }
    await expect.poll(() => answers.length, WAIT).toBe(400);
    expect(answers.every((answer) => answer.ID === ID && answer.TTL === 60)).toBe(true);
    expect(one.leases.asked).toBe(400);
    expect(one.leases.sent).toBeLessThan(200);
    await direct.leaseRevoke(ID);
    streams[0]!.stream.write({ ID });
    await expect.poll(() => answers.at(-1)?.TTL, WAIT).toBe(0);
    for (const { stream } of streams) stream.cancel();
  });
});

describe('progress of a watch', () => {
  it('is told when it is asked for, after everything before it', async () => {
    const { proxy: one } = await proxy();
    const channel = new grpc.Client(one.endpoint, grpc.credentials.createInsecure());
    const stream = channel.makeBidiStreamRequest(
      '/etcdserverpb.Watch/Watch',
      (request: Partial<m.WatchRequest>) => Buffer.from(encode(m.WatchRequest, request)),
      (bytes: Buffer) => decode(m.WatchResponse, bytes),
      new grpc.Metadata(),
    );
    stream.on('error', () => {});
    const responses: m.WatchResponse[] = [];
    stream.on('data', (response: m.WatchResponse) => responses.push(response));
    const create = (more: Partial<m.WatchCreateRequest>) =>
      stream.write({ create_request: { ...defaults(m.WatchCreateRequest), key: 'p/', range_end: 'p0', ...more } });
    try {
      create({});
      // Answers come in the order of what was asked, whatever each takes; ids are the client's where it has given one.
      create({ start_revision: 1 });
      create({ watch_id: 7n });
      create({ watch_id: 7n });
      create({ range_end: 'a' });
      create({ start_revision: -1 });
      await expect.poll(() => responses.length, WAIT).toBe(6);
      expect(
        responses.map(({ watch_id: id, created, canceled, cancel_reason: reason }) => [id, created, canceled, reason]),
      ).toEqual([
        [0n, true, false, ''],
        [1n, true, false, ''],
        [7n, true, false, ''],
        [-1n, true, true, 'mvcc: duplicate watch ID provided on the WatchStream'],
        [-1n, true, true, 'mvcc: watcher range is empty'],
        [-1n, true, true, 'etcdserver: mvcc: required revision has been compacted'],
      ]);
      responses.length = 0;
      const { header } = await direct.put('p/1', 'x');
      const progress = () => {
        stream.write({ progress_request: {} });
        return responses.find(({ watch_id: id }) => id === -1n)?.header?.revision;
      };
      await expect.poll(progress, WAIT).toBeGreaterThanOrEqual(header!.revision);
      const told = responses.findIndex(({ watch_id: id }) => id === -1n);
      expect(responses.slice(0, told).filter(({ events }) => events.length > 0)).toHaveLength(3);
      responses.length = 0;
      stream.write({ cancel_request: { watch_id: 7n } });
      await expect.poll(() => responses.find(({ watch_id: id }) => id === 7n)?.canceled, WAIT).toBe(true);
    } finally {
      stream.cancel();
      channel.close();
    }
  });
});

describe('the member list', () => {
  it('shows the proxies that are registered, for as long as they are there', async () => {
    const flags = ['--resolver-prefix', '/proxies', '--resolver-ttl', '5', '--advertise-client-url'];
    const { client } = await proxy(...flags, 'one:23790');
    const second = await proxyOf(store.endpoint, ...flags, 'two:23790');
    const urls = async () => (await client.memberList()).members.flatMap(({ clientURLs }) => clientURLs).sort();
    await expect.poll(urls, WAIT).toEqual(['one:23790', 'two:23790']);
    const { kvs } = await direct.getPrefix('/proxies/');
    expect(kvs[0]!.key).toBe('/proxies/one:23790');
    expect(JSON.parse(text(kvs[0]))).toMatchObject({ Op: 0, Addr: 'one:23790' });
    await second.close();
    await expect.poll(urls, WAIT).toEqual(['one:23790']);
  });
});

describe('flags', () => {
  it.each([
    [['--experimental-leasing-prefix', 'x'], 'is not supported: leasing would let'],
    [['--endpoints-auto-sync-interval', '5s'], 'is not supported: the endpoints are those'],
    [['--resolver-prefix', 'x'], 'invalid resolver-ttl 0'],
    [['--resolver-ttl', '5'], 'invalid resolver-prefix'],
    [['--resolver-prefix', 'x', '--resolver-ttl', '5', '--advertise-client-url='], 'invalid advertise-client-url'],
    [['--cert', 'x'], '--cert and --key must be given together'],
    [['--listen-addr', 'nowhere'], '--listen-addr: "nowhere" must be host:port'],
    [['--endpoints', ''], '--endpoints must name at least one member'],
    [['--trusted-ca-file', 'x'], '--trusted-ca-file needs --cert-file or --auto-tls'],
    [['--client-crl-file', 'x'], '--client-crl-file needs --trusted-ca-file'],
    [['--namespaces', 'x'], 'unknown flag --namespaces: did you mean --namespace?'],
  ])('%j is refused', (args, message) => {
    expect(() => readProxyFlags(args)).toThrow(UsageError);
    expect(() => readProxyFlags(args)).toThrow(message);
  });

  it("takes etcd's own", () => {
    const names =
      'dial-keepalive-time=5s dial-keepalive-timeout=5s permit-without-stream debug max-recv-bytes=9 enable-pprof';
    const { flags, ignored } = readProxyFlags(names.split(' ').map((name) => `--${name}`));
    expect(flags['log-level']).toBe('debug');
    expect(ignored.sort()).toEqual(
      [
        '--dial-keepalive-time',
        '--dial-keepalive-timeout',
        '--enable-pprof',
        '--max-recv-bytes',
        '--permit-without-stream',
      ].sort(),
    );
  });

  it('finds the endpoints by SRV records', async () => {
    const dns = await startDns();
    undo.push(() => dns.stop());
    const port = Number(store.endpoint.split(':')[1]);
    dns.srv.set('_etcd-client._tcp.example.org', [{ host: '127.0.0.1', port }]);
    const flags = ['--discovery-srv', 'example.org', '--discovery-dns-servers', dns.address];
    await expect(proxy(...flags)).rejects.toThrow('which cannot be verified');
    const { client } = await proxy(...flags, '--insecure-discovery');
    await client.put('srv', 'x');
    expect(text(await direct.get('srv'))).toBe('x');
  });
});

describe.skipIf(!hasOpenssl)('TLS', () => {
  it('is spoken to clients and to the store, with no name that would be the user of everyone', async () => {
    const folder = new TlsFolder();
    const authority = new Authority('proxy');
    undo.push(() => {
      folder.remove();
      authority.remove();
    });
    const leaf = authority.issue('somebody');
    const [cert, key, ca] = [
      folder.write('c.pem', leaf.cert),
      folder.write('c.key', leaf.key),
      folder.write('ca.pem', authority.cert),
    ];
    await expect(proxy('--cert', cert, '--key', key)).rejects.toThrow('cert has non empty Common Name (somebody)');
    const { proxy: demanding } = await proxy('--cert-file', cert, '--key-file', key, '--trusted-ca-file', ca);
    expect(demanding.url).toMatch(/^https:/);
    const shown = new Client({
      endpoints: [demanding.url],
      tls: { ca: authority.cert, cert: leaf.cert, key: leaf.key },
    });
    undo.push(() => shown.close());
    await shown.put('tls', 'x');
    const hidden = new Client({ endpoints: [demanding.url], tls: { ca: authority.cert }, dialTimeoutMs: 1000 });
    undo.push(() => hidden.close());
    await expect(hidden.get('tls')).rejects.toThrow(RosterError);
    // A proxy before a proxy: TLS to what is behind it.
    const { proxy: open } = await proxy('--cert-file', cert, '--key-file', key);
    const before = async (...args: string[]) => {
      const started = await proxyOf(open.url, '--dial-timeout', '1s', ...args);
      undo.push(() => started.close());
      return clientOf(started.endpoint).get('tls').then(text);
    };
    expect(await before('--cacert', ca)).toBe('x');
    expect(await before('--insecure-skip-tls-verify')).toBe('x');
    await expect(before()).rejects.toThrow(RosterError);
  });
});
