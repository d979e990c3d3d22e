import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { Client, LISTING_ATTEMPTS_MAX } from '../../client/client.ts';
import { parseEndpoint } from '../../client/endpoint.ts';
import { ENDPOINTS_MAX, EndpointSet } from '../../client/endpoint-set.ts';
import { RosterError } from '../../client/index.ts';
import { KEPT_LEASES_MAX, LeaseKeeper } from '../../client/lease-keeper.ts';
import { Backoff, sleep } from '../../client/wait.ts';
import { WATCHES_MAX } from '../../client/watch-hub.ts';

const identity = (bytes: Buffer): Buffer => bytes;
const unary = (path: string) => ({
  path,
  requestStream: false,
  responseStream: false,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
});

const servers: grpc.Server[] = [];
const clients: Client[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  for (const server of servers.splice(0)) server.forceShutdown();
});

/** A server whose methods all answer with `answer`, and how often it was asked. */
async function fakeServer(answer: Partial<grpc.StatusObject> | undefined) {
  const asked: Record<string, number> = {};
  const server = new grpc.Server();
  const handler =
    (name: string): grpc.handleUnaryCall<Buffer, Buffer> =>
    (_call, done) => {
      asked[name] = (asked[name] ?? 0) + 1;
      if (answer === undefined) done(null, Buffer.alloc(0));
      else done(answer);
    };
  const names = ['Range', 'Put', 'DeleteRange', 'Txn', 'Compact'];
  server.addService(
    Object.fromEntries(names.map((name) => [name, unary(`/etcdserverpb.KV/${name}`)])),
    Object.fromEntries(names.map((name) => [name, handler(name)])),
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  servers.push(server);
  return { endpoint: `127.0.0.1:${port}`, asked };
}

function connect(...endpoints: string[]): Client {
  const client = new Client({ endpoints, dialTimeoutMs: 400 });
  clients.push(client);
  return client;
}

describe('repeating a call', () => {
  const noLeader = { code: grpc.status.UNAVAILABLE, details: 'etcdserver: no leader' };
  const read = { success: [{ request_range: undefined, request_txn: { compare: [], success: [], failure: [] } }] };

  it('happens to reads, on the next endpoint', async () => {
    const bad = await fakeServer(noLeader);
    const good = await fakeServer(undefined);
    const client = connect(bad.endpoint, good.endpoint);
    expect(await client.get('a')).toBeUndefined();
    expect(await client.txn(read)).toMatchObject({ succeeded: false });
    expect([bad.asked, good.asked]).toEqual([{ Range: 1 }, { Range: 1, Txn: 1 }]);
  });

  it('never happens to a write that may have been done', async () => {
    const bad = await fakeServer(noLeader);
    const good = await fakeServer(undefined);
    for (const write of [
      (client: Client) => client.put('a', 'b'),
      (client: Client) => client.delete('a'),
      (client: Client) => client.compact(5),
      (client: Client) =>
        client.txn({ failure: [{ request_delete_range: { key: 'a', range_end: '', prev_kv: false } }] }),
    ]) {
      await expect(write(connect(bad.endpoint, good.endpoint))).rejects.toMatchObject({ code: 'NoLeader' });
    }
    expect(bad.asked).toEqual({ Put: 1, DeleteRange: 1, Compact: 1, Txn: 1 });
    expect(good.asked).toEqual({});
  });

  it('ends with the dial timeout, and the error is the server\u2019s', async () => {
    const bad = await fakeServer(noLeader);
    await expect(connect(bad.endpoint).get('a')).rejects.toMatchObject({ code: 'NoLeader' });
    expect(bad.asked.Range).toBeGreaterThan(1);
  });

  it('does not happen to what is refused', async () => {
    const bad = await fakeServer({ code: grpc.status.INVALID_ARGUMENT, details: 'no' });
    const error = await connect(bad.endpoint)
      .get('a')
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'Other', status: 3, message: 'no' });
    expect(error).toBeInstanceOf(RosterError);
    expect(bad.asked).toEqual({ Range: 1 });
  });

  it('does not happen to a watch on a server that has none', async () => {
    const { endpoint } = await fakeServer(undefined);
    await expect(connect(endpoint).watch('a').next()).rejects.toMatchObject({ status: grpc.status.UNIMPLEMENTED });
  });
});

describe('limits', () => {
  it('listing begins anew when compaction overtakes it, but not for ever', async () => {
    const details = 'etcdserver: mvcc: required revision has been compacted';
    const { endpoint, asked } = await fakeServer({ code: grpc.status.OUT_OF_RANGE, details });
    await expect(connect(endpoint).getPrefix('a')).rejects.toMatchObject({ code: 'Compacted' });
    expect(asked).toEqual({ Range: LISTING_ATTEMPTS_MAX });
  });

  it('a client holds so many watches and no more', async () => {
    const client = connect('127.0.0.1:1');
    const watches = Array.from({ length: WATCHES_MAX }, () => client.watch('a'));
    expect(() => client.watch('a')).toThrow(/at most 10000 watches/);
    await watches[0]!.return!();
    expect(() => client.watch('a')).not.toThrow();
  });

  it('a client keeps so many leases and no more', () => {
    const endpoints = new EndpointSet(['127.0.0.1:1'], undefined);
    const keeper = new LeaseKeeper(endpoints, () => Promise.resolve());
    for (let id = 1; id < KEPT_LEASES_MAX; id++) keeper.keep(BigInt(id), 3_600);
    expect(() => keeper.refuseWhenFull()).not.toThrow();
    const last = keeper.keep(0n, 3_600);
    expect(() => keeper.refuseWhenFull()).toThrow(/at most 10000 leases/);
    last.close();
    expect(() => keeper.refuseWhenFull()).not.toThrow();
    keeper.close();
    endpoints.close();
  });
});

describe('endpoints', () => {
  it.each([
    ['127.0.0.1:2379', false, '127.0.0.1', '127.0.0.1:2379', false],
    ['etcd-0.local', true, 'etcd-0.local', 'etcd-0.local:2379', true],
    ['http://h:1/', true, 'h', 'h:1', false],
    ['https://h:1', false, 'h', 'h:1', true],
    ['[::1]:2380', false, '[::1]', '[::1]:2380', false],
    ['https://[fe80::1]', false, '[fe80::1]', '[fe80::1]:2379', true],
  ])('%s', (name, tls, host, target, secure) => {
    expect(parseEndpoint(name, tls)).toEqual({ host, target, secure });
  });

  it.each(['', 'a b', 'ftp://h:1', 'h:1/path', 'h:99999', 'h:', '::1', 'http://', 'user@h:1'])('refuses %j', (name) => {
    expect(() => parseEndpoint(name, false)).toThrow(RosterError);
  });

  it('are as many as a cluster may have, and at least one', () => {
    const many = (count: number) => () => connect(...Array.from({ length: count }, (_, i) => `127.0.0.1:${i + 1}`));
    expect(many(ENDPOINTS_MAX)).not.toThrow();
    expect(many(ENDPOINTS_MAX + 1)).toThrow(/1 to 64 endpoints/);
    expect(many(0)).toThrow(/1 to 64 endpoints/);
  });
});

describe('waiting', () => {
  it('grows from 50 ms to 2 s with jitter, and begins again after success', () => {
    const backoff = new Backoff();
    const pauses = Array.from({ length: 50 }, () => backoff.next());
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(50);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(2_000);
    expect(Math.min(...pauses.slice(10))).toBeGreaterThanOrEqual(1_000);
    expect(new Set(pauses.slice(10)).size).toBeGreaterThan(1);
    backoff.reset();
    expect(backoff.next()).toBeLessThanOrEqual(50);
  });

  it('ends early with the signal', async () => {
    const controller = new AbortController();
    const long = sleep(3_600_000, controller.signal);
    controller.abort();
    await long;
    await sleep(3_600_000, AbortSignal.abort());
  });
});
