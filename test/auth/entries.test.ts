import { describe, expect, it } from 'vitest';
import { entryKind } from '../../core/auth/needs.ts';
import { defaults } from '../../core/wire/binary.ts';
import type * as m from '../../core/wire/messages.ts';
import { InternalRequest, V2Op, V2Request } from '../../core/wire/stored.ts';
import {
  bytes,
  codeOf,
  compare,
  deleteRequest,
  get,
  Harness,
  put,
  putRequest,
  txn,
  txnRequest,
} from '../apply/harness.ts';

/**
 * What an entry may do is decided where it is applied. Users: `all` has every role needed, `reader` may read `a`..`c`,
 * `writer` may write it, `half` may do both but only in `a`..`b`.
 */
const READ = 0;
const WRITE = 1;
const READWRITE = 2;
const { COMPARE_AND_SWAP, DELETE, POST } = V2Op.values;

function machine(): Harness {
  const h = new Harness();
  const user = (name: string, role: string) => {
    h.apply({ auth_user_add: { name, password_hash: bytes('hash'), no_password: false } });
    h.apply({ auth_user_grant_role: { user: name, role } });
  };
  const role = (name: string, permType: number, key: string, range_end: string) => {
    h.apply({ auth_role_add: { name } });
    h.apply({ auth_role_grant_permission: { name, perm: { permType, key, range_end } } });
  };
  role('reads', READ, 'a', 'c');
  role('writes', WRITE, 'a', 'c');
  role('half', READWRITE, 'a', 'b');
  user('root', 'root');
  user('all', 'reads');
  h.apply({ auth_user_grant_role: { user: 'all', role: 'writes' } });
  user('reader', 'reads');
  user('writer', 'writes');
  user('half', 'half');
  h.put('a', '1');
  h.put('b', '2');
  h.grant(5n);
  h.put('b1', '', { lease: 5n });
  h.grant(6n);
  expect(codeOf(h.apply({ auth_enable: {} }))).toBe('ok');
  return h;
}

const as = (h: Harness, user: string, request: Partial<InternalRequest>, auth_revision = h.machine.auth.revision) =>
  codeOf(h.apply({ requester: { user, auth_revision, internal: false }, ...request }));

const range = deleteRequest;

/** A request, and who may make it. */
const CASES: [string, Partial<InternalRequest>, string[]][] = [
  ['a put', { put: putRequest('a') }, ['all', 'writer', 'half']],
  ['a put elsewhere', { put: putRequest('c') }, []],
  ['a put that tells what was there', { put: putRequest('a', '', { prev_kv: true }) }, ['all', 'half']],
  ['a put on a lease with keys', { put: putRequest('a', '', { lease: 5n }) }, ['all', 'writer']],
  ['a put on a lease without', { put: putRequest('a', '', { lease: 6n }) }, ['all', 'writer', 'half']],
  ['a delete', { delete_range: range('a') }, ['all', 'writer', 'half']],
  ['a delete of a range', { delete_range: range('a', 'c') }, ['all', 'writer']],
  ['a delete from a key on', { delete_range: range('a', '\0') }, []],
  ['a delete of everything', { delete_range: range('\0', '\0') }, []],
  ['a delete that tells what was there', { delete_range: range('a', 'c', { prev_kv: true }) }, ['all']],
  ['a compaction', { compaction: { revision: 2, physical: false } }, []],
  ['a lease', { lease_grant: { ID: 0n, TTL: 9n } }, ['all', 'reader', 'writer', 'half']],
  ['the end of a lease with keys', { lease_revoke: { ID: 5n } }, ['all', 'writer']],
  ['the end of a lease without', { lease_revoke: { ID: 6n } }, ['all', 'reader', 'writer', 'half']],
  ['the end of no lease', { lease_revoke: { ID: 7n } }, ['all', 'reader', 'writer', 'half']],
  ['new peer URLs', { member_update: { ID: 1n, peerURLs: [] } }, []],
  ['a v2 set', { v2: v2({ path: 'a' }) }, ['all', 'writer', 'half']],
  ['a v2 set elsewhere', { v2: v2({ path: 'z' }) }, []],
  ['a v2 comparison', { v2: v2({ path: 'a', op: COMPARE_AND_SWAP, prev_value: bytes('x') }) }, ['all', 'half']],
  [
    'a v2 delete of a tree',
    { v2: v2({ path: 'a', op: DELETE, dir: true, recursive: true }) },
    ['all', 'writer', 'half'],
  ],
  ['a v2 delete of everything', { v2: v2({ path: '/', op: DELETE, dir: true, recursive: true }) }, []],
  [
    'a v2 directory with its time',
    { v2: v2({ path: 'a', dir: true, has_ttl: true, ttl: 9 }) },
    ['all', 'writer', 'half'],
  ],
  ['a v2 key in order', { v2: v2({ path: 'a', op: POST }) }, ['all', 'writer', 'half']],
  ['an empty transaction', { txn: txnRequest() }, ['all', 'reader', 'writer', 'half']],
];

function v2(request: Partial<V2Request>): V2Request {
  return { ...defaults(V2Request), ...request };
}

/** Operations of a transaction, and who may ask for one with them. */
const OPS: [string, m.RequestOp[], m.Compare[], string[]][] = [
  ['a range', [get('a')], [], ['all', 'reader', 'half']],
  ['a range of both', [get('a', { range_end: 'c' })], [], ['all', 'reader']],
  ['a range from a key on', [get('a', { range_end: '\0' })], [], []],
  ['a put', [put('a')], [], ['all', 'writer', 'half']],
  ['a put that tells', [put('a', '', { prev_kv: true })], [], ['all', 'half']],
  ['a put on a lease', [put('a', '', { lease: 5n })], [], ['all', 'writer']],
  ['a delete', [{ request_delete_range: range('a', 'c') }], [], ['all', 'writer']],
  ['a delete that tells', [{ request_delete_range: range('a', 'b', { prev_kv: true }) }], [], ['all', 'half']],
  ['a compare', [], [compare({ key: 'b' })], ['all', 'reader']],
  ['a compare of a range', [], [compare({ key: 'a', range_end: '\0' })], []],
  ['one of many', [get('a'), put('a'), get('b')], [], ['all']],
];
for (const [name, ops, compares, who] of OPS) {
  const inner = txn(ops, [], compares);
  const deep = Array.from({ length: 20 }).reduce<m.RequestOp>((op) => txn([], [op]), inner);
  CASES.push([`${name} where it succeeds`, { txn: txnRequest({ success: ops, compare: compares }) }, who]);
  CASES.push([`${name} where it fails`, { txn: txnRequest({ failure: ops, compare: compares }) }, who]);
  CASES.push([`${name}, nested`, { txn: txnRequest({ success: [inner] }) }, who]);
  CASES.push([`${name}, nested in what is not run`, { txn: txnRequest({ failure: [txn([], [inner])] }) }, who]);
  CASES.push([`${name}, twenty levels down`, { txn: txnRequest({ success: [deep] }) }, who]);
}
for (const kind of [
  'auth_disable',
  'auth_user_add',
  'auth_user_delete',
  'auth_user_change_password',
  'auth_user_grant_role',
  'auth_user_revoke_role',
  'auth_role_add',
  'auth_role_delete',
  'auth_role_grant_permission',
  'auth_role_revoke_permission',
] as const) {
  const type = InternalRequest.fields[kind]!.type!();
  // An empty name would be refused in the words that refuse nobody.
  CASES.push([kind, { [kind]: { ...defaults(type), name: 'someone' } }, []]);
}

describe('an entry', () => {
  it.each(CASES)('%s', (_name, request, who) => {
    const h = machine();
    const before = h.dump();
    const { revision } = h.machine.auth;
    for (const user of ['all', 'reader', 'writer', 'half']) {
      if (who.includes(user)) continue;
      expect(as(h, user, request), user).toBe('PermissionDenied');
    }
    expect(as(h, 'nobody', request)).toBe('PermissionDenied');
    expect(as(h, '', request)).toBe('UserEmpty');
    expect(codeOf(h.apply(request)), 'without a word of who asks').toBe('UserEmpty');
    expect(as(h, 'root', request, revision - 1), 'even root').toBe('AuthOldRevision');
    expect([h.dump(), h.machine.auth.revision, h.machine.auth.enabled], 'nothing has happened').toEqual([
      before,
      revision,
      true,
    ]);
    for (const user of [...who, 'root']) {
      const code = as(machine(), user, request);
      expect(['PermissionDenied', 'UserEmpty', 'AuthOldRevision'], `${user}: ${code}`).not.toContain(code);
    }
    const itself = { user: '', auth_revision: 0, internal: true };
    expect(codeOf(machine().apply({ requester: itself, ...request })), 'the cluster').not.toBe('UserEmpty');
  });

  it('of each kind is looked at', () => {
    const covered = new Set(CASES.map(([, request]) => entryKind({ ...defaults(InternalRequest), ...request })));
    const kinds = Object.keys(InternalRequest.fields).filter((name) => name !== 'id' && name !== 'requester');
    const internal = [
      'lease_checkpoint',
      'member_attributes',
      'cluster_version',
      'auth_login',
      'auth_tokens_renew',
      'auth_tokens_end',
      'alarm',
      'downgrade',
    ];
    const left = kinds.filter((kind) => !covered.has(kind as never) && !internal.includes(kind));
    expect(left, 'turning auth on again needs root as well').toEqual(['auth_enable']);
    for (const kind of kinds) expect(entryKind({ [kind]: {} })).toBe(kind);
  });

  it('is looked at by the state right before it', () => {
    const h = machine();
    const old = h.machine.auth.revision;
    expect(as(h, 'root', { auth_user_revoke_role: { name: 'writer', role: 'writes' } })).toBe('ok');
    expect(as(h, 'writer', { put: putRequest('a') }, old)).toBe('AuthOldRevision');
    expect(as(h, 'writer', { put: putRequest('a') })).toBe('PermissionDenied');
    expect(as(h, 'root', { auth_disable: {} })).toBe('ok');
    expect(codeOf(h.put('z'))).toBe('ok');
  });
});

describe('a login', () => {
  const login = (h: Harness, user: string, auth_revision: number) =>
    h.apply({ auth_login: { user, token_hash: user.padEnd(32, '.'), auth_revision } });

  it('stands only while nothing has changed since the password was checked', () => {
    const h = machine();
    const { auth } = h.machine;
    const { revision } = auth;
    expect(login(h, 'reader', revision)).toMatchObject({ index: h.machine.appliedIndex });
    expect(codeOf(login(h, 'nobody', revision))).toBe('AuthFailed');
    as(h, 'root', { auth_user_change_password: { name: 'writer', password_hash: bytes('new'), no_password: false } });
    expect(codeOf(login(h, 'writer', revision))).toBe('AuthOldRevision');
    expect(auth.tokens.size).toBe(1);
    as(h, 'root', { auth_disable: {} });
    expect(codeOf(login(h, 'reader', auth.revision))).toBe('AuthNotEnabled');
    expect(auth.tokens.size, 'tokens end with auth').toBe(0);
  });

  it('ends with a change of the password, and with the user', () => {
    const h = machine();
    const { auth } = h.machine;
    for (const user of ['reader', 'writer', 'half']) login(h, user, auth.revision);
    as(h, 'root', { auth_user_change_password: { name: 'writer', password_hash: bytes('new'), no_password: false } });
    as(h, 'root', { auth_user_delete: { name: 'reader' } });
    expect([...auth.tokens.all()].map(({ user }) => user)).toEqual(['half']);
    h.apply({ auth_tokens_renew: { hashes: ['half'.padEnd(32, '.')] } });
    expect([...auth.tokens.all()][0]).toMatchObject({ renewed: h.machine.appliedIndex });
    h.apply({ auth_tokens_end: { hashes: ['half'.padEnd(32, '.')] } });
    expect(auth.tokens.size).toBe(0);
  });
});

describe('auth', () => {
  it('survives a restart', () => {
    const h = machine();
    h.commit();
    const again = h.reopened();
    expect(again.machine.auth.enabled).toBe(true);
    expect(as(again, 'reader', { put: putRequest('a') })).toBe('PermissionDenied');
    expect(as(again, 'writer', { put: putRequest('a') })).toBe('ok');
  });

  it('comes with a snapshot, onto a member that knew another (etcd #14571)', () => {
    const from = machine();
    from.commit();
    const to = new Harness();
    to.apply({ auth_role_add: { name: 'old' } });
    let changes = 0;
    to.machine.auth.onChange = () => changes++;
    expect(codeOf(to.put('a'))).toBe('ok');
    to.installFrom(from);
    expect([to.machine.auth.enabled, to.machine.auth.role('old'), changes]).toEqual([true, undefined, 1]);
    expect(to.machine.auth.revision).toBe(from.machine.auth.revision);
    expect(codeOf(to.put('a'))).toBe('UserEmpty');
    expect(as(to, 'reader', { put: putRequest('a') })).toBe('PermissionDenied');
    expect(as(to, 'writer', { put: putRequest('a') })).toBe('ok');
    to.machine.auth.onChange = undefined;
    to.machine.installed();
    as(to, 'root', { auth_role_add: { name: 'new' } });
    to.commit();
    expect(to.reopened().machine.auth.role('new'), 'it writes to the backend in force').toBeDefined();
  });
});
