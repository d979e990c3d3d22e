import { Agent, get, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromBase64 } from '../../core/util/bytes.ts';
import { type RunningRoster, startRoster } from '../support/roster.ts';

/** The plain HTTP side of a running server: probes, the JSON gateway, and clients that misbehave. */
const base64 = (text: string) => Buffer.from(text).toString('base64');

let server: RunningRoster;
let url: string;
beforeAll(async () => {
  server = await startRoster();
  url = `http://${server.endpoint}`;
});
afterAll(() => server.stop());

async function post(path: string, body: unknown): Promise<{ status: number; type: string | null; body: unknown }> {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, type: response.headers.get('content-type'), body: await response.json() };
}

describe('probes', () => {
  it('/health and /version answer as etcd does', async () => {
    const health = await fetch(`${url}/health`);
    expect(await health.text()).toBe('{"health":"true","reason":""}');
    expect((await fetch(`${url}/health?serializable=true`)).status).toBe(200);
    const wrong = await fetch(`${url}/health`, { method: 'POST' });
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'GET']);
    const version = (await (await fetch(`${url}/version`)).json()) as Record<string, string>;
    // Clients cut these at the dots and read numbers.
    for (const value of Object.values(version)) expect(value).toMatch(/^\d+\.\d+\.\d+$/);
    expect(Object.keys(version)).toEqual(['etcdserver', 'etcdcluster', 'storage']);
  });

  it('/metrics has the names of etcd and counts calls', async () => {
    await post('/v3/kv/put', { key: base64('metric'), value: base64('1') });
    const text = await (await fetch(`${url}/metrics`)).text();
    expect(text).toMatch(/^etcd_server_has_leader 1$/m);
    expect(text).toMatch(/^etcd_server_is_leader 1$/m);
    expect(text).toMatch(
      /^grpc_server_handled_total\{grpc_type="unary",grpc_service="etcdserverpb.KV",grpc_method="Put",grpc_code="OK"\} [1-9]/m,
    );
    expect(text).toMatch(/^etcd_mvcc_db_total_size_in_bytes \d+$/m);
  });

  it('allows other origins, as etcd does by default', async () => {
    const answer = await fetch(`${url}/v3/kv/range`, { method: 'OPTIONS' });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
  });

  it('says for how long an idle connection can be used again', async () => {
    const { hostname, port } = new URL(url);
    const agent = new Agent({ keepAlive: true });
    const hint = await new Promise((resolve, reject) => {
      get({ hostname, port, path: '/health', agent }, (response) => {
        response.resume().once('end', () => resolve(response.headers['keep-alive']));
      }).once('error', reject);
    });
    agent.destroy();
    expect(hint).toBe('timeout=600');
  });

  it('answers 404 to what is not there', async () => {
    expect((await fetch(`${url}/nothing`)).status).toBe(404);
  });
});

describe('the JSON gateway', () => {
  it('puts, reads, deletes and transacts in the dialect of grpc-gateway', async () => {
    const put = await post('/v3/kv/put', { key: base64('/j/a'), value: base64('1') });
    expect(put.status).toBe(200);
    expect(put.type).toContain('application/json');
    expect(put.body).toMatchObject({
      header: { revision: expect.stringMatching(/^\d+$/), raft_term: expect.any(String) },
    });
    const range = await post('/v3/kv/range', { key: base64('/j/'), rangeEnd: base64('/j0') });
    expect(range.body).toMatchObject({ count: '1', kvs: [{ key: base64('/j/a'), value: base64('1'), version: '1' }] });
    const txn = await post('/v3/kv/txn', {
      compare: [{ target: 'VERSION', result: 'EQUAL', key: base64('/j/a'), version: '1' }],
      success: [{ request_delete_range: { key: base64('/j/a') } }],
    });
    expect(txn.body).toMatchObject({ succeeded: true, responses: [{ response_delete_range: { deleted: '1' } }] });
    const none = await post('/v3/kv/range', { key: base64('/j/a') });
    expect(Object.keys(none.body as object), 'zero values are left out').toEqual(['header']);
  });

  it('takes a nested transaction (Patroni) and an empty body', async () => {
    const nested = await post('/v3/kv/txn', {
      compare: [{ target: 'CREATE', key: base64('/p'), create_revision: 1 }],
      failure: [{ request_txn: { success: [{ request_put: { key: base64('/p'), value: base64('x') } }] } }],
    });
    expect(nested.body).toMatchObject({ responses: [{ response_txn: { succeeded: true } }] });
    expect((await post('/v3/cluster/member/list', '')).body).toMatchObject({ members: [{ name: 'default' }] });
    expect((await post('/v3/maintenance/status', {})).body).toHaveProperty('version');
  });

  it.each([
    ['/v3/kv/put', {}, 400, { code: 3, message: 'etcdserver: key is not provided' }],
    [
      '/v3/kv/range',
      { key: base64('a'), revision: '99999' },
      400,
      { code: 11, message: 'etcdserver: mvcc: required revision is a future revision' },
    ],
    ['/v3/lease/revoke', { ID: '12345' }, 404, { code: 5, message: 'etcdserver: requested lease not found' }],
    ['/v3/nothing', {}, 404, { code: 5, message: 'Not Found' }],
  ])('%s %j is refused with status %i', async (path, body, status, expected) => {
    const answer = await post(path, body);
    expect([answer.status, answer.body]).toEqual([status, expected]);
  });

  it('names what is wrong with a body', async () => {
    expect(await post('/v3/kv/put', '{"key": 5}')).toMatchObject({ status: 400, body: { code: 3 } });
    expect(await post('/v3/kv/put', '{"key"')).toMatchObject({ status: 400, body: { code: 3 } });
    const get = await fetch(`${url}/v3/kv/range`);
    expect([get.status, await get.json()]).toEqual([501, { code: 12, message: 'Method Not Allowed' }]);
  });

  it('refuses a body over its limit', async () => {
    const { status, body } = await post('/v3/kv/put', { key: base64('big'), value: 'A'.repeat(4 * 1024 * 1024) });
    expect([status, (body as { code: number }).code]).toEqual([429, 8]);
  });

  it('ends the connection with a refusal that came before the body was read', async () => {
    const body = 'A'.repeat(8 * 1024 * 1024);
    const options = { method: 'PUT', headers: { 'Content-Length': body.length } };
    const connection = await new Promise((resolve, reject) => {
      const sent = request(`${url}/v2/keys/big`, options, (response) => {
        resolve(response.headers.connection);
        sent.destroy();
      });
      sent.once('error', reject);
      sent.write(body.slice(0, 64 * 1024));
    });
    expect(connection).toBe('close');
  });

  it('refuses a message that gRPC would not take, in the same words', async () => {
    const value = Buffer.alloc(2_097_152 - 6, 'x');
    const message = 'grpc: received message larger than max (2097153 vs. 2097152)';
    const refusal = await post('/v3/kv/put', { key: base64('k'), value: value.subarray(0, -1).toString('base64') });
    expect(refusal.body).toEqual({ code: 3, message: 'etcdserver: request is too large' });
    expect(await post('/v3/kv/put', { key: base64('k'), value: value.toString('base64') })).toMatchObject({
      status: 429,
      body: { code: 8, message },
    });
  });

  it('grants, keeps, lists and revokes leases', async () => {
    const { ID } = (await post('/v3/lease/grant', { TTL: 60 })).body as { ID: string };
    expect((await post('/v3/lease/keepalive', { ID })).body).toMatchObject({ result: { ID, TTL: '60' } });
    expect((await post('/v3/kv/lease/timetolive', { ID, keys: true })).body).toMatchObject({ ID, grantedTTL: '60' });
    expect((await post('/v3/lease/leases', {})).body).toMatchObject({ leases: [{ ID }] });
    expect((await post('/v3/kv/lease/revoke', { ID })).status).toBe(200);
    expect((await post('/v3/lease/keepalive', { ID })).body).not.toHaveProperty('result.TTL');
  });

  it('watches line by line until the client leaves', async () => {
    const leave = new AbortController();
    const response = await fetch(`${url}/v3/watch`, {
      method: 'POST',
      body: JSON.stringify({ create_request: { key: base64('/w/'), range_end: base64('/w0'), filters: [] } }),
      signal: leave.signal,
    });
    const lines = linesOf(response);
    expect((await lines.next()).value).toMatchObject({ result: { created: true } });
    for (let i = 0; i < 3; i++) {
      await post('/v3/kv/put', { key: base64('/w/k'), value: base64(String(i)) });
      const { value } = await lines.next();
      const [event] = (value as { result: { events: { kv: { value: string } }[] } }).result.events;
      expect(Buffer.from(fromBase64(event!.kv.value)!).toString()).toBe(String(i));
    }
    leave.abort();
    await expect
      .poll(
        async () =>
          /^etcd_debugging_mvcc_watcher_total (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1],
      )
      .toBe('0');
  });
});

async function* linesOf(response: Response): AsyncGenerator<unknown> {
  let text = '';
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString('utf8');
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      yield JSON.parse(text.slice(0, end));
      text = text.slice(end + 1);
    }
  }
}

describe('a stream whose request goes wrong', () => {
  it('says so in a last line and ends', async () => {
    const response = await fetch(`${url}/v3/watch`, {
      method: 'POST',
      body: `{"create_request":{"key":"${base64('/x')}"}} [1]`,
    });
    const lines = linesOf(response);
    expect((await lines.next()).value).toMatchObject({ result: { created: true } });
    expect((await lines.next()).value).toMatchObject({ error: { code: 3 } });
    expect((await lines.next()).done).toBe(true);
  });

  it('answers with a status when nothing has been sent before', async () => {
    const answer = await post('/v3/watch', '[]');
    expect([answer.status, answer.body]).toMatchObject([400, { error: { code: 3 } }]);
  });
});

describe('clients that misbehave', () => {
  const open = (): Promise<Socket> =>
    new Promise((resolve) => {
      const [host, port] = server.endpoint.split(':');
      const socket = connect(Number(port), host, () => resolve(socket));
      socket.on('error', () => {});
    });
  const closed = (socket: Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()));

  it('a header that never ends is cut off', { timeout: 60_000 }, async () => {
    const socket = await open();
    socket.resume();
    socket.write('GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: ');
    await closed(socket);
  });

  it('a body that breaks off harms nobody', async () => {
    const body = '{"create_request":{"key":"AA==","range_end":"AA=="}} {';
    for (let i = 0; i < 20; i++) {
      const socket = await open();
      socket.resume();
      socket.write('POST /v3/watch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
      socket.write(`${body.length.toString(16)}\r\n${body}\r\n`);
      await new Promise((resolve) => setTimeout(resolve, i));
      if (i % 2 === 0) socket.resetAndDestroy();
      else socket.end('zz');
      await closed(socket);
    }
    expect((await fetch(`${url}/health`)).status).toBe(200);
  });

  it('neither garbage nor half a preface harms the server', async () => {
    for (const bytes of ['\x00\xff\x16\x03garbage\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nXX', 'GET / HTTP/9.9\r\n\r\n']) {
      const socket = await open();
      socket.resume();
      socket.end(Buffer.from(bytes, 'latin1'));
      await closed(socket);
    }
    expect((await fetch(`${url}/health`)).status).toBe(200);
  });
});
