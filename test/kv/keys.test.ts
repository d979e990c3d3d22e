import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type * as m from '../../core/wire/messages.ts';
import { pathOf } from '../../server/kv/target.ts';
import { TestMember } from '../auth/member.ts';
import { type Asked, send } from './door.ts';

const VALUE_BYTES_MAX = 10_000;

let member: TestMember;
beforeAll(async () => {
  member = await TestMember.start('--max-request-bytes', String(VALUE_BYTES_MAX));
});
afterAll(() => member.stop());

const ask = (path: string, asked?: Asked) => send(member.url, path, asked);
const put = (path: string, body: string | Uint8Array = '', headers: Record<string, string> = {}) =>
  ask(path, { method: 'PUT', body, headers });
const remove = (path: string, headers: Record<string, string> = {}) => ask(path, { method: 'DELETE', headers });
const range = (key: string) => member.ok<m.RangeResponse>('/etcdserverpb.KV/Range', { key });
const leases = async () =>
  (await member.ok<m.LeaseLeasesResponse>('/etcdserverpb.Lease/LeaseLeases')).leases.map(({ ID }) => ID);

describe('a key', () => {
  it.each([
    ['/kv/app', 'app'],
    ['/kv//app', '/app'],
    ['/kv/app/', 'app/'],
    ['/kv/a%20b%2Fc', 'a b/c'],
    ['/kv/a+b', 'a+b'],
    ['/kv/%ff%00', '\xff\0'],
    ['/kv/a/../b', 'a/../b'],
    ['/kv/..', '..'],
    ['/kv/%2e/x', './x'],
    ['/kv/a//b', 'a//b'],
    ['/kv/%C3%A4', '\xc3\xa4'],
    ['/kv/v3/kv/range', 'v3/kv/range'],
  ])('%s is %j', async (path, key) => {
    expect((await put(path, 'v')).status).toBe(200);
    expect((await range(key)).kvs).toMatchObject([{ key, value: new Uint8Array([118]) }]);
    expect((await ask(path)).text).toBe('v');
    expect((await ask(pathOf(key))).text).toBe('v');
    expect((await remove(path)).json).toMatchObject({ deleted: 1 });
    expect((await range(key)).kvs).toEqual([]);
  });

  it('may be named through any door of the same port, by fetch, too', async () => {
    const answer = await fetch(`${member.url}/kv/by/fetch%20%C3%A4`, { method: 'PUT', body: 'x' });
    expect(answer.status).toBe(200);
    expect((await range('by/fetch \xc3\xa4')).kvs).toHaveLength(1);
  });

  it('has every byte of its value, and what is known of it in headers', async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    const { revision } = (await put('/kv/bytes', bytes)).json;
    const answer = await ask('/kv/bytes');
    expect(Buffer.from(answer.text, 'latin1')).toEqual(Buffer.from(bytes));
    expect(answer.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': '256',
      etag: `"${String(revision)}"`,
      'x-roster-version': '1',
      'x-roster-create-revision': String(revision),
      'x-content-type-options': 'nosniff',
    });
    const head = await ask('/kv/bytes', { method: 'HEAD' });
    expect([head.status, head.text, head.headers['content-length'], head.headers.etag]).toEqual([
      ...[200, '', '256', answer.headers.etag],
    ]);
    expect((await ask('/kv/none', { method: 'HEAD' })).status).toBe(404);
    await put('/kv/html', '<script>alert(1)</script>');
    expect((await ask('/kv/html')).headers['content-type']).toBe('text/plain; charset=utf-8');
  });

  it('can be read as it was, and without asking the others', async () => {
    const first = (await put('/kv/old', '1')).json.revision as number;
    await put('/kv/old', '2');
    expect((await ask(`/kv/old?rev=${first}`)).text).toBe('1');
    expect((await ask('/kv/old?serializable')).text).toBe('2');
    expect((await ask(`/kv/old?rev=${first - 1}`)).status).toBe(404);
    expect((await ask(`/kv/old?rev=${first + 1000}`)).json).toMatchObject({ code: 'FutureRev' });
    await member.ok('/etcdserverpb.KV/Compact', { revision: first + 1 });
    const gone = await ask(`/kv/old?rev=${first}`);
    expect([gone.status, gone.json]).toMatchObject([410, { code: 'Compacted', compactRevision: first + 1 }]);
  });

  it('has as large a value as a request may be, and no larger one', async () => {
    const over = await put('/kv/large', 'x'.repeat(VALUE_BYTES_MAX + 1));
    expect([over.status, over.json.code]).toEqual([413, 'RequestTooLarge']);
    // Key and value and what goes around them are the request.
    const whole = await put('/kv/large', 'x'.repeat(VALUE_BYTES_MAX));
    expect([whole.status, whole.json.code]).toEqual([413, 'RequestTooLarge']);
    expect((await put('/kv/large', 'x'.repeat(VALUE_BYTES_MAX - 200))).status).toBe(200);
    // Without its length told: read no further than the limit.
    const endless = new ReadableStream<Uint8Array>({ pull: (c) => c.enqueue(new Uint8Array(5000)) });
    const init = { method: 'PUT', body: endless, duplex: 'half' } as RequestInit;
    const answer = await fetch(`${member.url}/kv/endless`, init).catch((error: Error) => error);
    if (answer instanceof Response) expect(answer.status).toBe(413);
    expect((await range('endless')).kvs).toEqual([]);
  });
});

describe('conditions', () => {
  it('let one of many through', async () => {
    const { revision } = (await put('/kv/cas', '0')).json;
    const tries = Array.from({ length: 10 }, (_, i) => put('/kv/cas', `${i}`, { 'If-Match': `"${String(revision)}"` }));
    const statuses = (await Promise.all(tries)).map(({ status }) => status).sort();
    expect(statuses).toEqual([200, ...Array.from({ length: 9 }, () => 412)]);
    const made = Array.from({ length: 10 }, () => put('/kv/made', 'x', { 'If-None-Match': '*' }));
    expect((await Promise.all(made)).filter(({ status }) => status === 200)).toHaveLength(1);
  });

  it('are compared in every form', async () => {
    const revision = (await put('/kv/c', 'x')).json.revision as number;
    const statusOf = async (method: string, headers: Record<string, string>, path = '/kv/c') =>
      (await ask(path, { method, headers })).status;
    const tag = `"${revision}"`;
    expect(await statusOf('GET', { 'If-None-Match': tag })).toBe(304);
    expect(await statusOf('GET', { 'If-None-Match': `"1", W/${tag}` })).toBe(304);
    expect(await statusOf('GET', { 'If-None-Match': '*' })).toBe(304);
    expect(await statusOf('GET', { 'If-None-Match': '"1"' })).toBe(200);
    expect(await statusOf('GET', { 'If-Match': tag })).toBe(200);
    expect(await statusOf('GET', { 'If-Match': '"1"' })).toBe(412);
    expect(await statusOf('GET', { 'If-Match': '*' }, '/kv/nothing')).toBe(412);
    expect(await statusOf('DELETE', { 'If-Match': '"1"' })).toBe(412);
    expect(await statusOf('DELETE', { 'If-None-Match': tag })).toBe(412);
    expect(await statusOf('DELETE', { 'If-Match': '*' }, '/kv/nothing')).toBe(412);
    expect(await statusOf('DELETE', { 'If-Match': '"0"' }, '/kv/nothing')).toBe(412);
    for (const bad of ['"abc"', '"1', 'x', '"99999999999999999"', '']) {
      expect(await statusOf('PUT', { 'If-Match': bad }), bad).toBe(400);
    }
    expect(await statusOf('PUT', { 'If-Match': '"1", "2"' })).toBe(400);
    expect(await statusOf('DELETE', { 'If-Match': tag }, '/kv/c?prefix')).toBe(400);
    expect(await statusOf('DELETE', { 'If-Match': String(revision) })).toBe(200);
    const failed = await ask('/kv/c', { method: 'PUT', headers: { 'If-Match': tag } });
    expect([failed.status, failed.json]).toMatchObject([412, { code: 'ConditionFailed', modRevision: null }]);
  });
});

describe('?ttl', () => {
  it('makes a lease, which goes with the next one, the next put, or the key', async () => {
    const before = await leases();
    const added = async () => (await leases()).filter((id) => !before.includes(id));
    const first = (await put('/kv/ttl/a?ttl=500', '1')).json;
    expect(first).toMatchObject({ ttl: 500, lease: expect.stringMatching(/^4b56[0-9a-f]{12}$/) });
    expect((await ask('/kv/ttl/a')).headers['x-roster-lease']).toBe(first.lease);
    const second = (await put('/kv/ttl/a?ttl=500', '2')).json;
    expect(await added()).toEqual([BigInt(`0x${String(second.lease)}`)]);
    await put('/kv/ttl/a', '3');
    expect(await added()).toEqual([]);
    expect((await ask('/kv/ttl/a')).text).toBe('3');
    await put('/kv/ttl/a?ttl=500', '4');
    await remove('/kv/ttl/a');
    expect(await added()).toEqual([]);
  });

  it('leaves a lease that holds another key, and one that is not its own', async () => {
    const { lease } = (await put('/kv/ttl/b?ttl=500', '1')).json;
    expect((await put(`/kv/ttl/other?lease=${String(lease)}`, '1')).status).toBe(200);
    await put('/kv/ttl/b?ttl=500', '2');
    expect((await ask('/kv/ttl/other')).text).toBe('1');
    const own = await member.ok<m.LeaseGrantResponse>('/etcdserverpb.Lease/LeaseGrant', { TTL: 500n });
    await put(`/kv/ttl/c?lease=${own.ID.toString(16)}`, '1');
    await put('/kv/ttl/c?ttl=500', '2');
    expect(await leases()).toContain(own.ID);
  });

  it('leaves nothing behind when the put is refused', async () => {
    await put('/kv/ttl/d', '1');
    const before = (await leases()).sort();
    expect((await put('/kv/ttl/d?ttl=500', '2', { 'If-None-Match': '*' })).status).toBe(412);
    expect((await put('/kv/ttl/d?ttl=500', 'x'.repeat(VALUE_BYTES_MAX))).status).toBe(413);
    expect((await leases()).sort()).toEqual(before);
  });

  it('takes the key away in time', async () => {
    const { ttl } = (await put('/kv/ttl/short?ttl=1', 'x')).json;
    expect(ttl).toBeGreaterThanOrEqual(1);
    await expect.poll(async () => (await ask('/kv/ttl/short')).status).toBe(404);
  });
});

describe('a request that is wrong', () => {
  it.each([
    ['GET', '/kv/', 400, 'EmptyKey'],
    ['GET', '/kv', 400, 'EmptyKey'],
    ['PUT', '/kv/', 400, 'EmptyKey'],
    ['DELETE', '/kv/', 400, 'EmptyKey'],
    ['DELETE', '/kv/?prefix', 400, 'BadParameter'],
    ['DELETE', '/kv/a?prefx', 400, 'BadParameter'],
    ['DELETE', '/kv/a?prefix=b', 400, 'BadParameter'],
    ['GET', '/kv/a?prefix&prefix', 400, 'BadParameter'],
    ['GET', '/kv/a?rev=0', 400, 'BadParameter'],
    ['GET', '/kv/a?rev=1e3', 400, 'BadParameter'],
    ['GET', '/kv/a?rev=9999999999999999', 400, 'BadParameter'],
    ['GET', '/kv/a?ttl=5', 400, 'BadParameter'],
    ['PUT', '/kv/a?rev=5', 400, 'BadParameter'],
    ['PUT', '/kv/a?ttl=-1', 400, 'BadParameter'],
    ['PUT', '/kv/a?ttl=9000000001', 400, 'LeaseTTLTooLarge'],
    ['PUT', '/kv/a?ttl=5&lease=1', 400, 'BadParameter'],
    ['PUT', '/kv/a?lease=xyz', 400, 'BadParameter'],
    ['PUT', '/kv/a?lease=0', 400, 'BadParameter'],
    ['PUT', '/kv/a?lease=77', 404, 'LeaseNotFound'],
    ['GET', '/kv/a?prefix&sort=size', 400, 'BadParameter'],
    ['GET', '/kv/a?children&delimiter=', 400, 'BadParameter'],
    ['GET', '/kv/a?limit=5', 400, 'BadParameter'],
    ['GET', '/kv/a%', 400, 'BadEncoding'],
    ['GET', '/kv/a%4', 400, 'BadEncoding'],
    ['GET', '/kv/a?cursor=%zz', 400, 'BadEncoding'],
    ['HEAD', '/kv/a?prefix', 400, undefined],
    ['POST', '/kv/a', 405, 'BadMethod'],
    ['PATCH', '/kv/a', 405, 'BadMethod'],
  ])('%s %s is refused with %d %s', async (method, path, status, code) => {
    await put('/kv/a', 'here');
    const answer = await ask(path, { method });
    expect([answer.status, answer.json.code]).toEqual([status, code]);
    if (code !== undefined) expect(answer.json).toMatchObject({ error: expect.any(String), hint: expect.any(String) });
    expect((await ask('/kv/a')).text).toBe('here');
  });

  it('is not a key of another path', async () => {
    expect((await ask('/kvx/a')).status).toBe(404);
    expect((await ask('/v3/../kv/a?count')).status).toBe(200);
  });
});

it('pages of other origins are told what they may send', async () => {
  const preflight = { method: 'OPTIONS', headers: { Origin: 'http://page.test' } };
  const answer = await ask('/kv/a', preflight);
  expect(answer.headers['access-control-allow-headers']).toContain('if-match');
  expect((await ask('/v3/kv/range', preflight)).headers['access-control-allow-headers']).toBe(
    'accept, content-type, authorization',
  );
});
