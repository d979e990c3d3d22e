import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { TestMember } from '../auth/member.ts';
import { type Asked, Lines, send } from './door.ts';

/** `reader` may read below `r/`, `writer` write below `w/` (and not read), `both` both. */

const AUTH = '/etcdserverpb.Auth/';
let member: TestMember;
beforeAll(async () => {
  member = await TestMember.start();
  await member.ok(`${AUTH}UserAdd`, { name: 'root', password: 'root' });
  await member.ok(`${AUTH}RoleAdd`, { name: 'root' });
  await member.ok(`${AUTH}UserGrantRole`, { user: 'root', role: 'root' });
  const grants: [string, number, string][] = [
    ...([
      ['reader', 0, 'r/'],
      ['writer', 1, 'w/'],
      ['both', 0, 'r/'],
      ['both', 2, 'w/'],
    ] as [string, number, string][]),
  ];
  for (const name of ['reader', 'writer', 'both']) {
    await member.ok(`${AUTH}UserAdd`, { name, password: `${name}:pass` });
    await member.ok(`${AUTH}RoleAdd`, { name });
    await member.ok(`${AUTH}UserGrantRole`, { user: name, role: name });
  }
  for (const [name, permType, key] of grants) {
    const perm = { permType, key, range_end: key.replace('/', '0') };
    await member.ok(`${AUTH}RoleGrantPermission`, { name, perm });
  }
  for (const key of ['r/a', 'w/a', 'x']) await send(member.url, `/kv/${key}`, { method: 'PUT', body: '1' });
  await member.ok(`${AUTH}AuthEnable`);
});
afterAll(() => member.stop());

const basic = (user: string, password = user === 'root' ? 'root' : `${user}:pass`) => ({
  Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});
async function outcome(path: string, headers: Record<string, string>, asked: Asked = {}): Promise<[number, unknown]> {
  const { status, json } = await send(member.url, path, { ...asked, headers: { ...headers, ...asked.headers } });
  return [status, json.code];
}
const authenticated = async () => {
  const { text } = await send(member.url, '/metrics');
  const match = /grpc_server_started_total\{[^}]*grpc_method="Authenticate"[^}]*\} (\d+)/.exec(text);
  return Number(match?.[1] ?? 0);
};

describe('while auth is on', () => {
  it.each(['', '?prefix', '?children', '?watch', '?watch&prefix', '?prefix&count', '?prefix&sort=mod'])(
    'r/%s needs leave to read all of it',
    async (query) => {
      const path = `/kv/r/${query === '' ? 'a' : ''}${query}`;
      expect(await outcome(path, {})).toEqual([401, 'UserEmpty']);
      expect(await outcome(path, basic('reader', 'wrong'))).toEqual([401, 'AuthFailed']);
      expect(await outcome(path, { Authorization: 'Bearer nonsense' })).toEqual([401, 'InvalidAuthToken']);
      expect(await outcome(path, basic('writer'))).toEqual([403, 'PermissionDenied']);
      const lines = new Lines(member.url, path, basic('reader'));
      await lines.response;
      expect(lines.status).toBe(200);
      lines.leave();
      // A little more than what may be read.
      if (query !== '')
        expect(await outcome(`/kv/${query}${query === '?watch' ? '&prefix' : ''}`, basic('reader'))).toEqual([
          403,
          'PermissionDenied',
        ]);
    },
  );

  it('every change needs leave, and what it tells needs more', async () => {
    const put = { method: 'PUT', body: '2' };
    const remove = { method: 'DELETE' };
    for (const asked of [put, remove]) {
      expect(await outcome('/kv/w/a', {}, asked)).toEqual([401, 'UserEmpty']);
      expect(await outcome('/kv/w/a', basic('reader'), asked)).toEqual([403, 'PermissionDenied']);
      expect(await outcome('/kv/w/a?prev', basic('writer'), asked)).toEqual([403, 'PermissionDenied']);
      const conditional = { ...asked, headers: { 'If-Match': '*' } };
      expect(await outcome('/kv/w/a', basic('writer'), conditional)).toEqual([403, 'PermissionDenied']);
      expect(await outcome('/kv/r/a', basic('both'), asked)).toEqual([403, 'PermissionDenied']);
    }
    expect(await outcome('/kv/?prefix&all', basic('both'), remove)).toEqual([403, 'PermissionDenied']);
    expect(await outcome('/kv/w/a', basic('writer'), put)).toEqual([200, undefined]);
    expect(await outcome('/kv/w/a?ttl=500', basic('writer'), put)).toEqual([200, undefined]);
    expect(await outcome('/kv/w/a?prev', basic('both'), { ...put, headers: { 'If-Match': '*' } })).toEqual([
      200,
      undefined,
    ]);
    expect(await outcome('/kv/w/?prefix', basic('writer'), remove)).toEqual([200, undefined]);
    // What is refused leaves no lease behind.
    expect(await outcome('/kv/r/a?ttl=500', basic('writer'), put)).toEqual([403, 'PermissionDenied']);
    const leases = await member.ok(
      '/etcdserverpb.Lease/LeaseLeases',
      {},
      { token: await member.login('root', 'root') },
    );
    expect(leases).toMatchObject({ leases: [] });
  });

  it('a token will do, bare or as Bearer', async () => {
    const token = await member.login('reader', 'reader:pass');
    for (const value of [token, `Bearer ${token}`, `bearer ${token}`]) {
      expect(await outcome('/kv/r/a', { Authorization: value })).toEqual([200, undefined]);
    }
  });

  it('a password is checked once, and again when it has changed', async () => {
    const before = await authenticated();
    expect(before).toBeGreaterThan(0);
    for (let i = 0; i < 5; i++) expect((await outcome('/kv/r/a', basic('both')))[0]).toBe(200);
    expect((await authenticated()) - before).toBeLessThanOrEqual(1);
    const root = { token: await member.login('root', 'root') };
    await member.ok(`${AUTH}UserChangePassword`, { name: 'both', password: 'new' }, root);
    expect(await outcome('/kv/r/a', basic('both'))).toEqual([401, 'AuthFailed']);
    expect((await outcome('/kv/r/a', basic('both', 'new')))[0]).toBe(200);
    // The token ends with the password that it was got for, and the same one gets another.
    await member.ok(`${AUTH}UserChangePassword`, { name: 'both', password: 'new' }, root);
    expect((await outcome('/kv/r/a', basic('both', 'new')))[0]).toBe(200);
  });

  it('a browser is asked for a password', async () => {
    const { headers } = await send(member.url, '/kv/r/a');
    expect(headers['www-authenticate']).toContain('Basic realm=');
  });

  it('a watch ends with the leave to read', async () => {
    const root = { token: await member.login('root', 'root') };
    await member.ok(`${AUTH}UserAdd`, { name: 'brief', password: 'p' }, root);
    await member.ok(`${AUTH}UserGrantRole`, { user: 'brief', role: 'reader' }, root);
    const lines = new Lines(member.url, '/kv/r/?watch&prefix', basic('brief', 'p'));
    await expect.poll(() => lines.messages).toHaveLength(1);
    await member.ok(`${AUTH}UserRevokeRole`, { name: 'brief', role: 'reader' }, root);
    await expect.poll(() => lines.over).toBe(true);
    expect(lines.messages[1]).toMatchObject({ type: 'failed', code: 'PermissionDenied' });
  });

  it('a page of another origin has no WebSocket by a password that the browser knows', async () => {
    const first = (headers: Record<string, string>, protocols: string[] = []) =>
      new Promise((resolve) => {
        const socket = new WebSocket(`${member.url.replace('http', 'ws')}/kv/r/a?watch`, protocols, { headers });
        socket.once('message', (data: Buffer) => {
          const { type, code } = JSON.parse(data.toString()) as { type?: string; code?: string };
          resolve(type ?? code);
          socket.terminate();
        });
        socket.on('error', resolve);
      });
    const token = await member.login('reader', 'reader:pass');
    expect(await first(basic('reader'))).toBe('watching');
    expect(await first({ ...basic('reader'), Origin: member.url })).toBe('watching');
    expect(await first({ ...basic('reader'), Origin: 'http://page.test' })).toBe('UserEmpty');
    expect(await first({ Origin: 'http://page.test' }, ['Bearer', token])).toBe('watching');
  });
});
