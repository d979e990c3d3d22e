import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { currentPath, GATEWAY_PATHS } from '../../server/http/gateway-paths.ts';
import { METHODS, TestMember } from '../auth/member.ts';

/** Every path of the gateway, what it makes of requests that are wrong, and its streams. */

/** Once more, apart from the table: the paths of etcd 3.7 (`rpc.proto`, google.api.http). */
const PATHS = `
  kv/range kv/put kv/deleterange kv/txn kv/compaction watch
  lease/grant lease/revoke kv/lease/revoke lease/keepalive lease/timetolive kv/lease/timetolive lease/leases kv/lease/leases
  cluster/member/add cluster/member/remove cluster/member/update cluster/member/list cluster/member/promote
  maintenance/alarm maintenance/status maintenance/defragment maintenance/hash maintenance/hashkv maintenance/snapshot
  maintenance/transfer-leadership maintenance/downgrade
  auth/enable auth/disable auth/status auth/authenticate auth/user/add auth/user/get auth/user/list auth/user/delete
  auth/user/changepw auth/user/grant auth/user/revoke auth/role/add auth/role/get auth/role/list auth/role/delete
  auth/role/grant auth/role/revoke
  lock/lock lock/unlock election/campaign election/proclaim election/leader election/observe election/resign
`
  .trim()
  .split(/\s+/);

const base64 = (text: string) => Buffer.from(text).toString('base64');

let member: TestMember;
beforeAll(async () => {
  member = await TestMember.start('--max-request-bytes', '10000');
});
afterAll(() => member.stop());

interface Answer {
  status: number;
  type: string | null;
  text: string;
}

async function post(path: string, body: string | Uint8Array, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(`${member.url}${path}`, { method: 'POST', body: body as string, headers });
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
}

describe('the table of paths', () => {
  it('has every path of etcd, and no other', () => {
    expect(GATEWAY_PATHS.map(([path]) => path).sort()).toEqual(PATHS.map((path) => `/v3/${path}`).sort());
  });

  it('reaches every RPC but those without a path', () => {
    const reached = new Set(GATEWAY_PATHS.map(([, rpc]) => rpc));
    expect([...METHODS.keys()].filter((path) => !reached.has(path)).sort()).toEqual([
      '/etcdserverpb.KV/RangeStream',
      '/grpc.health.v1.Health/Check',
      '/grpc.health.v1.Health/List',
      '/grpc.health.v1.Health/Watch',
    ]);
  });
});

describe.each(['/v3/', '/v3beta/', '/v3alpha/'])('at %s', (prefix) => {
  it.each(PATHS)('%s answers a message of the wrong type as etcd does, and only POST', async (name) => {
    const path = `${prefix}${name}`;
    const old = prefix !== '/v3/';
    const wrong = await post(path, '[]');
    const message = 'proto: syntax error (line 1:1): unexpected token [';
    const rpc = METHODS.get(GATEWAY_PATHS.find(([each]) => each === currentPath(path))![1])!;
    const duplex = rpc.kind === 'stream' && rpc.single !== true;
    expect([wrong.status, wrong.type]).toEqual([400, 'application/json']);
    if (duplex) {
      const http = { http_code: 400, http_status: 'Bad Request' };
      const text = `Failed to decode request: ${message}`;
      expect(JSON.parse(wrong.text)).toEqual({ error: { code: 3, message: text, grpc_code: 3, ...http } });
    } else {
      expect(JSON.parse(wrong.text)).toEqual(old ? { error: message, message, code: 3 } : { code: 3, message });
    }
    const get = await fetch(`${member.url}${path}`);
    expect([get.status, ((await get.json()) as { code: number }).code]).toEqual([501, 12]);
  });

  it('answers for what it does', async () => {
    const put = await post(`${prefix}kv/put`, JSON.stringify({ key: base64('a'), value: base64('1') }));
    expect(put.status).toBe(200);
    const refused = await post(`${prefix}lease/revoke`, '{"ID":"77"}');
    const message = 'etcdserver: requested lease not found';
    expect([refused.status, JSON.parse(refused.text)]).toEqual([
      404,
      prefix === '/v3/' ? { code: 5, message } : { error: message, message, code: 5 },
    ]);
    expect([(await post(`${prefix}kv/no`, '{}')).status, (await post(`${prefix}kv/put/`, '{}')).status]).toEqual([
      404, 404,
    ]);
    // FAILED_PRECONDITION: 412 up to etcd 3.5.
    const disable = await post(`${prefix}auth/authenticate`, '{"name":"a","password":"b"}');
    expect(disable.status).toBe(prefix === '/v3/' ? 400 : 412);
  });
});

describe('a request', () => {
  it('may be spelt either way, with what is not known in it, and is answered in etcd’s spelling', async () => {
    for (const body of [
      { key: base64('s'), value: base64('1'), prev_kv: true, ignore_lease: false, lease: 0 },
      { key: base64('s'), value: base64('2'), prevKv: true, ignoreLease: false, lease: '0', more: [{}], NOPE: null },
    ]) {
      expect((await post('/v3/kv/put', JSON.stringify(body))).status).toBe(200);
    }
    const put = await post('/v3/kv/put', JSON.stringify({ key: base64('s'), prevKv: true }));
    expect(JSON.parse(put.text)).toMatchObject({
      header: { cluster_id: expect.stringMatching(/^\d+$/), revision: expect.stringMatching(/^\d+$/) },
      prev_kv: { key: base64('s'), value: base64('2'), mod_revision: expect.any(String), version: '2' },
    });
  });

  it.each([
    ['', 'etcdserver: key is not provided'],
    [' \n', 'etcdserver: key is not provided'],
    ['{}', 'etcdserver: key is not provided'],
    ['{"key"', 'unexpected EOF'],
    ['{"key":5}', 'proto: (line 1:8): invalid value for bytes field key: 5'],
    ['{"key":"YQ==","key":"Yg=="}', 'proto: (line 1:15): duplicate field "key"'],
  ])('%j is refused', async (body, message) => {
    const answer = await post('/v3/kv/put', body);
    expect([answer.status, JSON.parse(answer.text)]).toEqual([400, { code: 3, message }]);
  });

  it('is the first value of the body, in UTF-8', async () => {
    expect((await post('/v3/kv/put', '{"key":"YQ=="} {"key":5} x')).status).toBe(200);
    const bytes = Buffer.concat([Buffer.from('{"name":"'), Buffer.of(0xff), Buffer.from('"}')]);
    expect(await post('/v3/auth/user/add', bytes)).toMatchObject({
      status: 400,
      text: expect.stringContaining('invalid UTF-8'),
    });
  });

  it('has the metadata that headers give it', async () => {
    const range = JSON.stringify({ key: base64('a') });
    const bad = await post('/v3/kv/range', range, { 'Grpc-Metadata-Client-Api-Version': '\xff' });
    expect(JSON.parse(bad.text)).toEqual({ code: 3, message: 'etcdserver: invalid client api version' });
    expect((await post('/v3/kv/range', range, { 'Client-Api-Version': '\xff' })).status).toBe(200);
    expect((await post('/v3/kv/range', range, { 'Grpc-Metadata-Hasleader': 'true' })).status).toBe(200);
    await post('/v3/kv/range', range, { 'Grpc-Metadata-Client-Api-Version': '3.7-gw' });
    const metrics = await (await fetch(`${member.url}/metrics`)).text();
    expect(metrics).toContain('etcd_server_client_requests_total{type="unary",client_api_version="3.7-gw"} 1');
  });

  it('has a deadline when it says so', async () => {
    const lease = JSON.parse((await post('/v3/lease/grant', '{"TTL":600}')).text) as { ID: string };
    const held = await post('/v3/lock/lock', JSON.stringify({ name: base64('l'), lease: lease.ID }));
    expect(held.status).toBe(200);
    const waits = await post('/v3/lock/lock', JSON.stringify({ name: base64('l') }), { 'Grpc-Timeout': '50m' });
    expect([waits.status, JSON.parse(waits.text)]).toEqual([504, { code: 4, message: 'context deadline exceeded' }]);
    const watch = await post('/v3/watch', JSON.stringify({ create_request: { key: base64('a') } }), {
      'Grpc-Timeout': '1S',
    });
    const last = watch.text.trim().split('\n').at(-1)!;
    expect(JSON.parse(last)).toMatchObject({ error: { code: 4, message: 'context deadline exceeded' } });
    for (const path of ['/v3/kv/range', '/v3/watch']) {
      const wrong = await post(path, '{}', { 'Grpc-Timeout': 'soon' });
      expect([wrong.status, wrong.text]).toEqual([400, expect.stringContaining('invalid grpc-timeout: soon')]);
    }
  });
});

/** An HTTP/1.1 request by hand, whose body goes on while the answer comes. */
class RawPost {
  /** Data of each chunk of the answer. */
  readonly chunks: string[] = [];
  head = '';
  over = false;
  readonly #socket: Socket;
  #rest = Buffer.alloc(0);

  constructor(path: string) {
    const { hostname, port } = new URL(member.url);
    this.#socket = connect(Number(port), hostname);
    this.#socket.on('data', (bytes) => this.#take(bytes));
    this.#socket.on('error', () => {});
    this.#socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`);
  }

  write(text: string): void {
    this.#socket.write(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
  }

  finish(): void {
    this.#socket.write('0\r\n\r\n');
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  destroy(): void {
    this.#socket.resetAndDestroy();
  }

  get lines(): { result?: Record<string, unknown>; error?: object }[] {
    // Later versions of Node join what is written in one turn into one chunk.
    const lines = this.chunks.join('').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as object);
  }

  #take(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    if (this.head === '') {
      const end = this.#rest.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.head = this.#rest.toString('latin1', 0, end);
      this.#rest = this.#rest.subarray(end + 4);
    }
    for (;;) {
      const line = this.#rest.indexOf('\r\n');
      if (line < 0) return;
      const size = Number.parseInt(this.#rest.toString('latin1', 0, line), 16);
      if (this.#rest.length < line + 4 + size) return;
      if (size === 0) this.over = true;
      else this.chunks.push(this.#rest.toString('utf8', line + 2, line + 2 + size));
      this.#rest = this.#rest.subarray(line + 4 + size);
    }
  }
}

const watchers = async () => {
  const text = await (await fetch(`${member.url}/metrics`)).text();
  return Number(/^etcd_debugging_mvcc_watcher_total (\d+)$/m.exec(text)?.[1]);
};

describe('a stream', () => {
  it('takes requests while it answers; each answer is one line and one chunk', async () => {
    const watch = new RawPost('/v3/watch');
    const create = (key: string, id: number) =>
      JSON.stringify({ createRequest: { key: base64(key), watchId: String(id), progress_notify: true } });
    watch.write(`${create('w1', 1)}\n${create('w2', 2).slice(0, 10)}`);
    await expect.poll(() => watch.lines.length).toBe(1);
    expect(watch.head).toMatch(/^HTTP\/1\.1 200 /);
    expect(watch.head).toMatch(/^content-type: application\/json\r?$/im);
    expect(watch.head).toMatch(/^grpc-metadata-content-type: application\/grpc\r?$/im);
    watch.write(create('w2', 2).slice(10));
    await expect.poll(() => watch.lines.length).toBe(2);
    await post('/v3/kv/put', JSON.stringify({ key: base64('w1'), value: base64('x') }));
    await post('/v3/kv/put', JSON.stringify({ key: base64('w2'), value: base64('y') }));
    await expect.poll(() => watch.lines.length).toBe(4);
    watch.write('{"progress_request":{}}');
    await expect.poll(() => watch.lines.length).toBe(5);
    watch.write('{"cancel_request":{"watch_id":"1"}}');
    await expect.poll(() => watch.lines.length).toBe(6);
    expect(watch.lines).toMatchObject([
      { result: { created: true, watch_id: '1' } },
      { result: { created: true, watch_id: '2' } },
      { result: { watch_id: '1', events: [{ kv: { key: base64('w1') } }] } },
      { result: { watch_id: '2', events: [{ kv: { key: base64('w2') } }] } },
      { result: { watch_id: '-1' } },
      { result: { watch_id: '1', canceled: true } },
    ]);
    for (const chunk of watch.chunks) expect(chunk.endsWith('\n'), 'a chunk ends with a line').toBe(true);
    // A client that has said all it wants goes on hearing.
    watch.finish();
    await post('/v3/kv/put', JSON.stringify({ key: base64('w2'), value: base64('z') }));
    await expect.poll(() => watch.lines.length).toBe(7);
    watch.destroy();
    await expect.poll(watchers).toBe(0);
  });

  it('of keep-alives is answered one by one, and ends with the requests', async () => {
    const keep = new RawPost('/v3/lease/keepalive');
    keep.write('{"ID":"5"}');
    await expect.poll(() => keep.lines.length).toBe(1);
    keep.write('{"ID":6}{"ID":"7"}');
    await expect.poll(() => keep.lines.length).toBe(3);
    keep.finish();
    await expect.poll(() => keep.over).toBe(true);
    expect(keep.lines).toMatchObject([{ result: { ID: '5' } }, { result: { ID: '6' } }, { result: { ID: '7' } }]);
    expect(
      keep.chunks.some((chunk) => chunk.includes('TTL')),
      'no lease, no TTL',
    ).toBe(false);
    keep.destroy();
    expect(await post('/v3/lease/keepalive', '')).toMatchObject({ status: 200, text: '' });
  });

  it('waits for a reader that is slow, and loses nothing', async () => {
    const watch = new RawPost('/v3/watch');
    watch.write(JSON.stringify({ create_request: { key: base64('slow') } }));
    await expect.poll(() => watch.lines.length).toBe(1);
    watch.pause();
    const value = base64('v'.repeat(9000));
    const count = 1500;
    for (let i = 0; i < count; i++) await post('/v3/kv/put', JSON.stringify({ key: base64('slow'), value }));
    expect(watch.chunks).toHaveLength(1);
    watch.resume();
    const versions = () =>
      watch.lines.flatMap(({ result }) => (result!.events as { kv: { version: string } }[] | undefined) ?? []);
    await expect.poll(() => versions().length, { timeout: 60_000 }).toBe(count);
    expect(versions().map(({ kv }) => Number(kv.version))).toEqual(Array.from({ length: count }, (_, i) => i + 1));
    watch.destroy();
    await expect.poll(watchers).toBe(0);
  });

  it('of a snapshot is the file, and of an election its leader', async () => {
    const snapshot = await post('/v3/maintenance/snapshot', '');
    const blobs = snapshot.text
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { result: { blob?: string; remaining_bytes?: string } }).result);
    expect(blobs.length).toBeGreaterThan(0);
    expect(blobs.at(-1)).not.toHaveProperty('remaining_bytes');
    expect(blobs.reduce((sum, { blob }) => sum + Buffer.from(blob ?? '', 'base64').length, 0)).toBeGreaterThan(1000);
    const observe = new RawPost('/v3/election/observe');
    observe.write(JSON.stringify({ name: base64('e') }));
    observe.finish();
    const campaign = await post('/v3/election/campaign', JSON.stringify({ name: base64('e'), value: base64('me') }));
    expect(JSON.parse(campaign.text)).toMatchObject({ leader: { name: base64('e') } });
    await expect.poll(() => observe.lines[0]).toMatchObject({ result: { kv: { value: base64('me') } } });
    observe.destroy();
  });

  it('ends with a message over the limit', async () => {
    const watch = new RawPost('/v3/watch');
    watch.write(JSON.stringify({ create_request: { key: base64('a') } }));
    await expect.poll(() => watch.lines.length).toBe(1);
    const key = base64('k'.repeat(10_000 + 512 * 1024));
    watch.write(JSON.stringify({ create_request: { key } }));
    await expect.poll(() => watch.over).toBe(true);
    expect(watch.lines[1]).toMatchObject({
      error: { code: 8, message: expect.stringMatching(/^grpc: received message larger than max \(\d+ vs. 534288\)$/) },
    });
    watch.destroy();
  });

  it('is told when the server stops', async () => {
    const other = await TestMember.start();
    const response = await fetch(`${other.url}/v3/watch`, {
      method: 'POST',
      body: JSON.stringify({ create_request: { key: base64('a') } }),
    });
    const text = response.text();
    await other.stop();
    const lines = (await text).trim().split('\n');
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({ error: { code: 14, message: 'etcdserver: server stopped' } });
  });
});
