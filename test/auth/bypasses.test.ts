import { request as httpsRequest } from 'node:https';
import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { secureChannel } from '../../client/tls.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { deleteRequest, get, put, putRequest, rangeRequest, text, txn, txnRequest } from '../apply/harness.ts';
import { pem } from '../peer-transport/certificates.ts';
import { certificateFiles } from './certificate-files.ts';
import { type Outcome, TestMember } from './member.ts';

/** Every way around etcd's auth that was ever published, by its name. User `u` may read and write `a`..`c`. */
const AUTH = '/etcdserverpb.Auth/';
const KV = '/etcdserverpb.KV/';
const LEASE = '/etcdserverpb.Lease/';
const WATCH = '/etcdserverpb.Watch/Watch';

let member: TestMember | undefined;
afterEach(async () => {
  await member?.stop();
  member = undefined;
});

async function ready(...flags: string[]) {
  const started = await TestMember.start(...flags);
  member = started;
  await prepare(started);
  const root = { token: await started.login('root', 'the root password') };
  const u = { token: await started.login('u', 'the password of u') };
  return { member: started, root, u };
}

async function prepare(on: TestMember): Promise<void> {
  const change = (method: string, request: object) => on.ok(`${AUTH}${method}`, request);
  await change('UserAdd', { name: 'root', password: 'the root password' });
  await change('UserGrantRole', { user: 'root', role: 'root' });
  await change('UserAdd', { name: 'u', password: 'the password of u' });
  await change('RoleAdd', { name: 'r' });
  await change('RoleGrantPermission', { name: 'r', perm: { permType: 2, key: 'a', range_end: 'c' } });
  await change('UserGrantRole', { user: 'u', role: 'r' });
  await on.ok(`${KV}Put`, putRequest('secret', 'hidden'));
  await on.ok(`${LEASE}LeaseGrant`, { ID: 7n, TTL: 3600n });
  await on.ok(`${KV}Put`, putRequest('secret/leased', 'hidden', { lease: 7n }));
  await change('AuthEnable', {});
}

const refused = (outcome: Outcome) => ('message' in outcome ? 'answered' : outcome.text.replace('etcdserver: ', ''));

describe('etcd', () => {
  it('CVE-2026-33413: member list, alarms, compaction and leases without a user', async () => {
    const { member: on } = await ready();
    for (const [path, request] of [
      ['/etcdserverpb.Cluster/MemberList', {}],
      ['/etcdserverpb.Maintenance/Alarm', { action: 0 }],
      [`${KV}Compact`, { revision: 2 }],
      [`${LEASE}LeaseGrant`, { TTL: 60n }],
      [`${LEASE}LeaseRevoke`, { ID: 8n }],
      [`${LEASE}LeaseTimeToLive`, { ID: 7n }],
      [`${LEASE}LeaseLeases`, {}],
    ] as const) {
      expect(refused(await on.grpc(path, request)), path).toBe('user name is empty');
    }
    expect(refused(await on.grpcStream(`${LEASE}LeaseKeepAlive`, { ID: 7n }))).toBe('user name is empty');
  });

  it('CVE-2026-33343: operations within nested transactions', async () => {
    const { member: on, u, root } = await ready();
    for (const op of [get('secret'), put('secret', 'changed'), { request_delete_range: deleteRequest('secret') }]) {
      for (const nested of [txn([op]), txn([], [op]), txn([txn([op])]), txn([get('a'), txn([], [txn([op])])])]) {
        expect(refused(await on.grpc(`${KV}Txn`, txnRequest({ success: [nested] }), u))).toBe('permission denied');
        expect(refused(await on.grpc(`${KV}Txn`, txnRequest({ failure: [nested] }), u))).toBe('permission denied');
      }
    }
    const { kvs } = await on.ok<m.RangeResponse>(`${KV}Range`, rangeRequest('secret'), root);
    expect(text(kvs[0]!.value)).toBe('hidden');
  });

  it('CVE-2026-44283: previous pairs and leases of puts within transactions', async () => {
    const { member: on, u, root } = await ready();
    await on.ok(`${AUTH}RoleGrantPermission`, { name: 'r', perm: { permType: 1, key: 'secret', range_end: '' } }, root);
    const inTxn = (op: m.RequestOp) => on.grpc(`${KV}Txn`, txnRequest({ success: [op] }), u);
    expect(refused(await inTxn(put('secret', 'x', { prev_kv: true })))).toBe('permission denied');
    expect(refused(await inTxn(put('a', 'x', { lease: 7n })))).toBe('permission denied');
    expect(refused(await inTxn(put('secret', 'x')))).toBe('answered');
    expect(refused(await on.grpc(`${KV}Put`, putRequest('a', 'x', { lease: 7n }), u))).toBe('permission denied');
  });

  it('GHSA-xg4h: a watch from a key on, with leave for that key alone', async () => {
    const { member: on, u, root } = await ready();
    await on.ok(`${AUTH}RoleGrantPermission`, { name: 'r', perm: { permType: 0, key: 'k', range_end: '' } }, root);
    const stream = on.duplex(WATCH, u);
    const create = (key: string, range_end: string) =>
      stream.send({ create_request: { ...defaults(m.WatchCreateRequest), key, range_end } });
    create('k', '\0');
    create('', '\0');
    create('k', '');
    const denied = {
      watch_id: -1n,
      created: true,
      canceled: true,
      cancel_reason: 'rpc error: code = PermissionDenied desc = etcdserver: permission denied',
    };
    expect(await stream.message()).toMatchObject(denied);
    expect(await stream.message()).toMatchObject(denied);
    expect(await stream.message()).toMatchObject({ watch_id: 0n, created: true, canceled: false });
    stream.cancel();
  });

  it('CVE-2023-32082: keys of a lease, told to whoever asks how long it lives', async () => {
    const { member: on, u } = await ready();
    expect(refused(await on.grpc(`${LEASE}LeaseTimeToLive`, { ID: 7n, keys: true }, u))).toBe('permission denied');
    expect(refused(await on.grpc(`${LEASE}LeaseTimeToLive`, { ID: 7n }, u))).toBe('answered');
    expect(refused(await on.grpc(`${LEASE}LeaseLeases`, {}, u))).toBe('permission denied');
  });

  it('CVE-2021-28235: passwords, and tokens, in logs or files', async () => {
    const { member: on, u } = await ready();
    await on.grpc(`${AUTH}Authenticate`, { name: 'u', password: 'a wrong password' });
    await on.json(`${AUTH}Authenticate`, { name: 'u', password: 'another wrong one' });
    await on.json(`${AUTH}UserAdd`, { name: 'v', password: 'refused' }, { authorization: u.token });
    await on.pause();
    const secret = u.token.split('.')[0]!;
    for (const word of [
      'the root password',
      'the password of u',
      'a wrong password',
      'another wrong one',
      'refused',
      secret,
    ]) {
      expect(await on.holds(word), word).toBe(false);
    }
    expect(on.lines.join(''), 'but that it failed').toContain('a login failed');
    expect(await on.holds('$2a$04$'), 'this finds what is there').toBe(true);
  });

  it('CVE-2018-16886 and the common name of a certificate: good for gRPC, never through the gateway', async () => {
    const files = await certificateFiles();
    try {
      const on = await TestMember.start();
      member = on;
      await prepare(on);
      const root = { token: await on.login('root', 'the root password') };
      await on.ok(`${AUTH}UserAdd`, { name: 'guest', options: { no_password: true } }, root);
      await on.ok(`${AUTH}UserGrantRole`, { user: 'guest', role: 'root' }, root);
      expect(
        refused(await on.grpc(`${AUTH}Authenticate`, { name: 'guest', password: '' })),
        'no password is no way in',
      ).toBe('authentication failed, invalid user ID or password');
      await on.pause();
      const secure = new TestMember(on.folder, [...files.flags]);
      await secure.start('https');
      member = secure;
      const as = ({ cert, key }: { cert: string; key: string }) => {
        const { credentials, options } = secureChannel('127.0.0.1', { ca: pem.ca, cert, key });
        return new grpc.Client(secure.endpoint, credentials, options);
      };
      const guest = as(pem.guest);
      const other = as(pem.member);
      const read = (client: grpc.Client, headers = {}) =>
        secure.grpc(`${KV}Range`, rangeRequest('secret'), headers, client);
      expect(refused(await read(guest)), 'the user of the certificate').toBe('answered');
      expect(refused(await read(other)), 'no user of that name').toBe('permission denied');
      expect(refused(await read(guest, { token: 'bad' })), 'a token counts first').toBe('invalid auth token');
      expect(refused(await read(other, root)), 'and after a restart').toBe('answered');
      guest.close();
      other.close();
      const viaGateway = await new Promise<{ status: number; body: string }>((resolve, reject) => {
        const url = `${secure.url}/v3/kv/range`;
        const options = { method: 'POST', ca: pem.ca, cert: pem.guest.cert, key: pem.guest.key };
        const request = httpsRequest(url, options, (response) => {
          let body = '';
          response.on('data', (chunk: Buffer) => {
            body += chunk.toString();
          });
          response.on('end', () => resolve({ status: response.statusCode!, body }));
        });
        request.on('error', reject);
        request.end('{"key":"c2VjcmV0"}');
      });
      expect(viaGateway).toEqual({
        status: 400,
        body: 'CommonName of client sending a request against gateway will be ignored and not used as expected\n',
      });
    } finally {
      await files.remove();
    }
  });

  it('what it never fixed: a watch goes on after the leave to watch has gone', async () => {
    const { member: on, u, root } = await ready();
    const stream = on.duplex(WATCH, u);
    const create = (key: string) =>
      stream.send({ create_request: { ...defaults(m.WatchCreateRequest), key, range_end: '' } });
    await on.ok(`${AUTH}RoleGrantPermission`, { name: 'r', perm: { permType: 0, key: 'x', range_end: '' } }, root);
    create('a');
    create('x');
    expect([await stream.message(), await stream.message()]).toMatchObject([{ created: true }, { created: true }]);
    await on.ok(`${AUTH}RoleRevokePermission`, { role: 'r', key: 'x' }, root);
    await on.ok(`${KV}Put`, putRequest('x', 'not for u'), root);
    await on.ok(`${KV}Put`, putRequest('a', 'for u'), root);
    expect(await stream.message()).toMatchObject({
      watch_id: 1n,
      canceled: true,
      created: false,
      cancel_reason: 'rpc error: code = PermissionDenied desc = etcdserver: permission denied',
      events: [],
    });
    const { events } = await stream.message<m.WatchResponse>();
    expect(events.map(({ kv }) => kv!.key)).toEqual(['a']);
    await on.ok(`${AUTH}UserChangePassword`, { name: 'u', password: 'new' }, root);
    expect(await stream.message()).toMatchObject({
      watch_id: 0n,
      canceled: true,
      cancel_reason: 'rpc error: code = Unauthenticated desc = etcdserver: invalid auth token',
    });
    stream.cancel();
  });

  it('what it never fixed: a watch from before auth was turned on', async () => {
    const on = await TestMember.start();
    member = on;
    const stream = on.duplex(WATCH);
    const alive = on.duplex(`${LEASE}LeaseKeepAlive`);
    stream.send({ create_request: { ...defaults(m.WatchCreateRequest), key: 'secret' } });
    expect(await stream.message()).toMatchObject({ created: true });
    alive.send({ ID: 7n });
    expect(await alive.message()).toMatchObject({ TTL: 0 });
    await prepare(on);
    expect(await stream.message()).toMatchObject({ events: [{ kv: { key: 'secret' } }] });
    expect(await stream.message()).toMatchObject({
      canceled: true,
      cancel_reason: 'rpc error: code = InvalidArgument desc = etcdserver: user name is empty',
    });
    alive.send({ ID: 7n });
    expect(refused(await alive.next())).toBe('user name is empty');
    stream.cancel();
  });
});

describe('a restart', () => {
  it('leaves tokens good, and those good for nothing as they were', async () => {
    const { member: on, root, u } = await ready();
    await on.ok(`${AUTH}UserChangePassword`, { name: 'u', password: 'new' }, root);
    await on.pause();
    await on.start();
    expect(refused(await on.grpc(`${KV}Range`, rangeRequest('secret'), root))).toBe('answered');
    expect(refused(await on.grpc(`${KV}Range`, rangeRequest('a'), u))).toBe('invalid auth token');
    const again = { token: await on.login('u', 'new') };
    expect(refused(await on.grpc(`${KV}Range`, rangeRequest('a'), again))).toBe('answered');
    expect(refused(await on.grpc(`${KV}Range`, rangeRequest('secret'), again))).toBe('permission denied');
  });
});

describe('Authenticate', () => {
  it('answers in etcd’s words, and the same for whoever is not there', async () => {
    const { member: on, root } = await ready();
    const login = (name: string, password: string) => on.grpc(`${AUTH}Authenticate`, { name, password });
    const failed = { code: 3, text: 'etcdserver: authentication failed, invalid user ID or password' };
    expect(await login('u', 'wrong')).toEqual(failed);
    expect(await login('u', '')).toEqual(failed);
    expect(await login('nobody', 'wrong')).toEqual(failed);
    expect(await login('', '')).toEqual(failed);
    await on.ok(`${AUTH}AuthDisable`, {}, root);
    expect(await login('u', 'wrong')).toEqual({ code: 9, text: 'etcdserver: authentication is not enabled' });
  });

  it('takes passwords of 72 bytes, and no longer ones', async () => {
    const { member: on, root } = await ready();
    const add = (name: string, password: string) => on.grpc(`${AUTH}UserAdd`, { name, password }, root);
    expect(refused(await add('long', 'ü'.repeat(36)))).toBe('answered');
    expect(refused(await add('longer', `${'ü'.repeat(36)}x`))).toBe('bcrypt: password length exceeds 72 bytes');
    expect(await on.login('long', 'ü'.repeat(36))).toBeDefined();
    expect(refused(await add('', 'x'))).toBe('user name is empty');
  });
});

describe('LeaseKeepAlive', () => {
  it('needs the leases’ keys, and goes on while its user does', async () => {
    const { member: on, root, u } = await ready();
    await on.ok(`${LEASE}LeaseGrant`, { ID: 9n, TTL: 60n }, u);
    const stream = on.duplex(`${LEASE}LeaseKeepAlive`, u);
    stream.send({ ID: 9n });
    expect(await stream.message()).toMatchObject({ ID: 9n, TTL: 60 });
    await on.ok(`${KV}Put`, putRequest('a', '', { lease: 9n }), u);
    await on.ok(`${AUTH}RoleAdd`, { name: 'something else' }, root);
    stream.send({ ID: 9n });
    expect(await stream.message(), 'auth has changed, but not for u').toMatchObject({ TTL: 60 });
    await on.ok(`${KV}Put`, putRequest('secret', '', { lease: 9n }), root);
    stream.send({ ID: 9n });
    expect(refused(await stream.next())).toBe('permission denied');
  });
});

describe('expiry', () => {
  it('of a lease needs nobody’s leave', async () => {
    const { member: on, root, u } = await ready();
    await on.ok(`${LEASE}LeaseGrant`, { ID: 9n, TTL: 1n }, u);
    await on.ok(`${KV}Put`, putRequest('a', '', { lease: 9n }), u);
    const stream = on.duplex(WATCH, root);
    stream.send({ create_request: { ...defaults(m.WatchCreateRequest), key: 'a' } });
    await stream.message();
    expect(await stream.message()).toMatchObject({ events: [{ type: 1, kv: { key: 'a' } }] });
    stream.cancel();
  });
});
