import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GrpcStatus, rosterError } from '../../core/errors.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { ACCESS } from '../../server/rpc/access-table.ts';
import { guarded } from '../../server/rpc/guard.ts';
import { unary } from '../../server/rpc/service.ts';
import { compare, deleteRequest, get, put, putRequest, rangeRequest, txn, txnRequest } from '../apply/harness.ts';
import { Rig } from '../rpc/rig.ts';
import { type Headers, JSON_PATHS, METHODS, type Outcome, TestMember } from './member.ts';

/**
 * Every RPC x what it asks for x door x user x token. What is expected is written down here once more, apart from the
 * table the server goes by. `reader` may read `a`..`c`, `writer` may write it, `both` may do both, `none` nothing.
 */
const USERS = ['none', 'reader', 'writer', 'both', 'root'] as const;
type User = (typeof USERS)[number];
type Who = 'anybody' | readonly User[];

const ALL = USERS;
const ROOT = ['root'] as const;
const READ = ['reader', 'both', 'root'] as const;
const WRITE = ['writer', 'both', 'root'] as const;
const BOTH = ['both', 'root'] as const;

interface Case {
  readonly path: string;
  readonly name: string;
  readonly request: object;
  readonly who: Who;
  /** Not tried by those who may: it would end the test. */
  readonly harmful?: true;
}

const c = (path: string, name: string, who: Who, request: object = {}): Case => ({ path, name, who, request });
const kv = (method: string, name: string, who: Who, request: object) =>
  c(`/etcdserverpb.KV/${method}`, name, who, request);
const lease = (method: string, name: string, who: Who, request: object = {}) =>
  c(`/etcdserverpb.Lease/${method}`, name, who, request);
const auth = (method: string, who: Who, request: object = {}, name = 'one') =>
  c(`/etcdserverpb.Auth/${method}`, name, who, request);
const maintenance = (method: string, who: Who, request: object = {}, name = 'one') =>
  c(`/etcdserverpb.Maintenance/${method}`, name, who, request);
const watch = (name: string, who: Who, key: string, range_end = '') =>
  c('/etcdserverpb.Watch/Watch', name, who, {
    create_request: { ...defaults(m.WatchCreateRequest), key, range_end },
  });

/** A lease with a key of `a`..`c`, one with a key elsewhere, one without, one to lock with. */
const HELD = 5n;
const FOREIGN = 6n;
const BARE = 7n;
const LOCKING = 8n;

const lock = (method: string, name: string, who: Who, request: object) =>
  c(`/v3lockpb.Lock/${method}`, name, who, request);
const election = (method: string, name: string, who: Who, request: object) =>
  c(`/v3electionpb.Election/${method}`, name, who, request);
const leader = { name: 'bb', key: 'bb/8', rev: 1, lease: LOCKING };
const foreignLeader = { name: 'z', key: 'z/6', rev: 1, lease: FOREIGN };
const value = new Uint8Array([1]);

const OPS: [string, Who, m.RequestOp[], m.Compare[]][] = [
  ['a range', READ, [get('a')], []],
  ['a range beyond', ROOT, [get('a', { range_end: '\0' })], []],
  ['a put', WRITE, [put('a')], []],
  ['a put elsewhere', ROOT, [put('z')], []],
  ['a put that tells', BOTH, [put('a', '', { prev_kv: true })], []],
  ['a put on a lease', WRITE, [put('a', '', { lease: HELD })], []],
  ['a put on a lease with a foreign key', ROOT, [put('a', '', { lease: FOREIGN })], []],
  ['a delete', WRITE, [{ request_delete_range: deleteRequest('a') }], []],
  ['a delete that tells', BOTH, [{ request_delete_range: deleteRequest('a', '', { prev_kv: true }) }], []],
  ['a delete from a key on', ROOT, [{ request_delete_range: deleteRequest('y', '\0') }], []],
  ['a compare', READ, [], [compare({ key: 'a' })]],
  ['a compare of a range beyond', ROOT, [], [compare({ key: 'a', range_end: 'd' })]],
];

const TXNS = OPS.flatMap(([name, who, ops, compares]) => {
  const inner = txn(ops, [], compares);
  const deep = txn([], [txn([], [txn([], [inner])])]);
  return [
    kv('Txn', `${name} in success`, who, txnRequest({ success: ops, compare: compares })),
    kv('Txn', `${name} in failure`, who, txnRequest({ failure: ops, compare: compares })),
    kv('Txn', `${name} nested`, who, txnRequest({ success: [inner] })),
    kv('Txn', `${name} nested where it never runs`, who, txnRequest({ failure: [inner] })),
    kv('Txn', `${name} four levels down`, who, txnRequest({ success: [deep] })),
  ];
});

const CASES: Case[] = [
  kv('Range', 'a key', READ, rangeRequest('a')),
  kv('Range', 'a key, serializable', READ, rangeRequest('a', { serializable: true })),
  kv('Range', 'all that may be read', READ, rangeRequest('a', { range_end: 'c' })),
  kv('Range', 'more', ROOT, rangeRequest('a', { range_end: 'd' })),
  kv('Range', 'from a key on', ROOT, rangeRequest('a', { range_end: '\0' })),
  kv('Range', 'everything, only counted', ROOT, rangeRequest('\0', { range_end: '\0', count_only: true })),
  kv('Range', 'another key', ROOT, rangeRequest('x')),
  kv('RangeStream', 'a key', READ, rangeRequest('a')),
  kv('RangeStream', 'a key, serializable', READ, rangeRequest('a', { serializable: true })),
  kv('RangeStream', 'more', ROOT, rangeRequest('a', { range_end: 'd' })),
  kv('RangeStream', 'from a key on, serializable', ROOT, rangeRequest('a', { range_end: '\0', serializable: true })),
  kv('Put', 'a key', WRITE, putRequest('a')),
  kv('Put', 'with what was there', BOTH, putRequest('a', '', { prev_kv: true })),
  kv('Put', 'on a lease', WRITE, putRequest('a', '', { lease: HELD })),
  kv('Put', 'on a lease with a foreign key', ROOT, putRequest('a', '', { lease: FOREIGN })),
  kv('Put', 'another key', ROOT, putRequest('z')),
  kv('DeleteRange', 'a key', WRITE, deleteRequest('a1')),
  kv('DeleteRange', 'with what was there', BOTH, deleteRequest('a1', '', { prev_kv: true })),
  kv('DeleteRange', 'from a key on', ROOT, deleteRequest('y', '\0')),
  ...TXNS,
  kv('Txn', 'nothing', ALL, txnRequest()),
  kv('Compact', 'one', ROOT, { revision: 1 }),
  watch('a key', READ, 'a'),
  watch('all that may be read', READ, 'a', 'c'),
  watch('from a key on', ROOT, 'a', '\0'),
  watch('from the first key on', ROOT, '', '\0'),
  watch('the first key', ROOT, ''),
  lease('LeaseGrant', 'one', ALL, { TTL: 60n }),
  lease('LeaseRevoke', 'none', ALL, { ID: 99n }),
  { ...lease('LeaseRevoke', 'with a foreign key', ROOT, { ID: FOREIGN }), harmful: true },
  lease('LeaseKeepAlive', 'without keys', ALL, { ID: BARE }),
  lease('LeaseKeepAlive', 'with a key', WRITE, { ID: HELD }),
  lease('LeaseKeepAlive', 'with a foreign key', ROOT, { ID: FOREIGN }),
  lease('LeaseTimeToLive', 'of one', ALL, { ID: FOREIGN }),
  lease('LeaseTimeToLive', 'with its keys', READ, { ID: HELD, keys: true }),
  lease('LeaseTimeToLive', 'with foreign keys', ROOT, { ID: FOREIGN, keys: true }),
  lease('LeaseTimeToLive', 'with no keys', ALL, { ID: BARE, keys: true }),
  lease('LeaseLeases', 'all', ROOT),
  c('/etcdserverpb.Cluster/MemberAdd', 'one', ROOT, { peerURLs: [] }),
  c('/etcdserverpb.Cluster/MemberRemove', 'one', ROOT, { ID: 1n }),
  c('/etcdserverpb.Cluster/MemberUpdate', 'one', ROOT, { ID: 1n, peerURLs: ['http://a:1'] }),
  c('/etcdserverpb.Cluster/MemberPromote', 'one', ROOT, { ID: 1n }),
  c('/etcdserverpb.Cluster/MemberList', 'all', ALL),
  c('/etcdserverpb.Cluster/MemberList', 'all, linearizable', ALL, { linearizable: true }),
  maintenance('Alarm', ALL, { action: 0 }, 'list'),
  maintenance('Alarm', ROOT, { action: 1, alarm: 1, memberID: 1n }, 'raise'),
  maintenance('Alarm', ROOT, { action: 2, alarm: 1, memberID: 1n }, 'clear'),
  maintenance('Status', ALL),
  maintenance('Defragment', ROOT),
  maintenance('Snapshot', ROOT),
  maintenance('Downgrade', ROOT, { action: 0, version: '3.6.0' }),
  maintenance('Hash', ROOT),
  maintenance('HashKV', ROOT),
  maintenance('MoveLeader', ROOT, { targetID: 1n }),
  auth('Authenticate', 'anybody', { name: 'nobody', password: 'x' }),
  auth('AuthStatus', 'anybody'),
  auth('AuthEnable', ROOT),
  { ...auth('AuthDisable', ROOT), harmful: true },
  auth('UserAdd', ROOT, { name: 'reader', password: 'x' }),
  auth('UserAdd', ROOT, { name: 'reader', options: { no_password: true } }, 'without a password'),
  auth('UserChangePassword', ROOT, { name: 'nobody', password: 'x' }),
  auth('UserGet', BOTH, { name: 'both' }, 'of the user both'),
  auth('UserGet', ROOT, { name: 'root' }, 'of root'),
  auth('UserList', ROOT),
  auth('UserDelete', ROOT, { name: 'nobody' }),
  auth('UserGrantRole', ROOT, { user: 'none', role: 'nothing' }),
  auth('UserRevokeRole', ROOT, { name: 'none', role: 'nothing' }),
  auth('RoleAdd', ROOT, { name: 'reads' }),
  auth('RoleGet', READ, { role: 'reads' }, 'of its own'),
  auth('RoleGet', ROOT, { role: 'root' }, 'of root'),
  auth('RoleList', ROOT),
  auth('RoleDelete', ROOT, { role: 'nothing' }),
  auth('RoleGrantPermission', ROOT, { name: 'nothing', perm: { permType: 0, key: 'a', range_end: '' } }),
  auth('RoleRevokePermission', ROOT, { role: 'nothing', key: 'a' }),
  lock('Lock', 'one', BOTH, { name: 'b', lease: LOCKING }),
  lock('Lock', 'another', ROOT, { name: 'y', lease: FOREIGN }),
  lock('Unlock', 'one', WRITE, { key: 'b/8' }),
  lock('Unlock', 'another', ROOT, { key: 'y/6' }),
  election('Campaign', 'for one', BOTH, { name: 'bb', lease: LOCKING, value }),
  election('Campaign', 'for another', ROOT, { name: 'z', lease: FOREIGN, value }),
  election('Proclaim', 'in one', BOTH, { leader, value }),
  election('Proclaim', 'in another', ROOT, { leader: foreignLeader, value }),
  election('Proclaim', 'in none', ROOT, { value }),
  election('Leader', 'of one', READ, { name: 'bb' }),
  election('Leader', 'of another', ROOT, { name: 'z' }),
  election('Observe', 'one', READ, { name: 'bb' }),
  election('Observe', 'another', ROOT, { name: 'z' }),
  election('Resign', 'from one', BOTH, { leader }),
  election('Resign', 'from another', ROOT, { leader: foreignLeader }),
  c('/grpc.health.v1.Health/Check', 'one', 'anybody'),
  c('/grpc.health.v1.Health/List', 'all', 'anybody'),
  c('/grpc.health.v1.Health/Watch', 'one', 'anybody'),
];

const text = (code: Parameters<typeof rosterError>[0]) => rosterError(code).message;
const REFUSALS = ['UserEmpty', 'InvalidAuthToken', 'PermissionDenied', 'AuthOldRevision'] as const;

/** Why a call was refused for who made it; 'may': it was not. Watches say so in an answer. */
function verdict(outcome: Outcome): string {
  const reason =
    'message' in outcome ? ((outcome.message as Partial<m.WatchResponse>).cancel_reason ?? '') : outcome.text;
  for (const code of REFUSALS) {
    if ('message' in outcome ? reason.endsWith(text(code)) : reason === text(code)) return code;
  }
  return 'may';
}

let member: TestMember;
const tokens = new Map<string, string>();
let cells = 0;

const AUTH = '/etcdserverpb.Auth/';

beforeAll(async () => {
  member = await TestMember.start();
  const change = (method: string, request: object, headers: Headers = {}) =>
    member.ok(`${AUTH}${method}`, request, headers);
  const key = { key: 'a', range_end: 'c' };
  for (const [name, permType] of [
    ['reads', 0],
    ['writes', 1],
  ] as const) {
    await change('RoleAdd', { name });
    await change('RoleGrantPermission', { name, perm: { permType, ...key } });
  }
  const roles: Record<User, string[]> = {
    none: [],
    reader: ['reads'],
    writer: ['writes'],
    both: ['reads', 'writes'],
    root: ['root'],
  };
  await change('RoleAdd', { name: 'root' });
  for (const name of [...USERS, 'gone', 'changed']) {
    await change('UserAdd', { name, password: `${name}'s` });
    for (const role of roles[name as User] ?? ['root']) await change('UserGrantRole', { user: name, role });
  }
  for (const ID of [HELD, FOREIGN, BARE, LOCKING])
    await member.ok('/etcdserverpb.Lease/LeaseGrant', { ID, TTL: 3600n });
  await member.ok('/etcdserverpb.KV/Put', putRequest('b', 'v', { lease: HELD }));
  await member.ok('/etcdserverpb.KV/Put', putRequest('x', 'v', { lease: FOREIGN }));
  await member.ok('/etcdserverpb.KV/Put', putRequest('x2', 'v'));
  await change('AuthEnable', {});
  for (const name of [...USERS, 'gone', 'changed']) tokens.set(name, await member.login(name, `${name}'s`));
  const asRoot = { token: tokens.get('root')! };
  await change('UserDelete', { name: 'gone' }, asRoot);
  await change('UserChangePassword', { name: 'changed', password: 'new' }, asRoot);
});
afterAll(async () => {
  await member.stop();
});

/** What speaks for nobody, and how it is refused. */
function badTokens(): [string, Headers, string][] {
  const good = tokens.get('root')!;
  const [secret, index] = good.split('.') as [string, string];
  return [
    ['none', {}, 'UserEmpty'],
    ['an empty one', { authorization: '' }, 'InvalidAuthToken'],
    ['no token at all', { authorization: 'root' }, 'InvalidAuthToken'],
    ['a user and its password', { authorization: `Basic ${btoa("root:root's")}` }, 'InvalidAuthToken'],
    ['one that nobody gave out', { authorization: `aaaabbbbccccdddd.${index}` }, 'InvalidAuthToken'],
    ['one of a time to come', { authorization: 'aaaabbbbccccdddd.999999999' }, 'InvalidAuthToken'],
    ['one with another number', { authorization: `${secret}.${Number(index) + 1}` }, 'InvalidAuthToken'],
    ['half of one', { authorization: secret }, 'InvalidAuthToken'],
    ['one in other letters', { authorization: good.toLowerCase() }, 'InvalidAuthToken'],
    ['that of a user who is gone', { authorization: tokens.get('gone')! }, 'InvalidAuthToken'],
    ['one from before the password was changed', { authorization: tokens.get('changed')! }, 'InvalidAuthToken'],
    ['an unsigned JWT', { authorization: unsignedJwt() }, 'InvalidAuthToken'],
    ['a bad one, with a good one behind it', { token: 'bad', authorization: good }, 'InvalidAuthToken'],
  ];
}

function unsignedJwt(): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part({ username: 'root', revision: 999 })}.`;
}

type Door = (path: string, request: object, headers: Headers) => Promise<Outcome>;

const doors: [string, Door, (path: string) => boolean][] = [
  [
    'gRPC',
    (path, request, headers) =>
      METHODS.get(path)!.kind === 'unary'
        ? member.grpc(path, request, headers)
        : member.grpcStream(path, request, headers),
    () => true,
  ],
  ['JSON', (path, request, headers) => member.json(path, request, headers), (path) => JSON_PATHS.has(path)],
];

describe.each(doors)('through %s', (_door, call, serves) => {
  const mine = CASES.filter(({ path }) => serves(path)).map(
    (each) => [`${each.path.split('.').at(-1)} ${each.name}`, each] as const,
  );

  it.each(mine)('%s', async (_name, { path, request, who, harmful }) => {
    for (const user of USERS) {
      const may = who === 'anybody' || who.includes(user);
      if (may && harmful) continue;
      const headers = { authorization: user === 'writer' ? `Bearer ${tokens.get(user)!}` : tokens.get(user)! };
      expect(verdict(await call(path, request, headers)), user).toBe(may ? 'may' : 'PermissionDenied');
      cells++;
    }
    for (const [state, headers, refusal] of badTokens()) {
      expect(verdict(await call(path, request, headers)), state).toBe(who === 'anybody' ? 'may' : refusal);
      cells++;
    }
  });
});

describe('the table', () => {
  it('has been tried in all its rows that are served, each with all users and tokens', () => {
    const tried = new Set(CASES.map(({ path }) => path));
    expect(
      [...METHODS.keys()].filter((path) => !tried.has(path)),
      'RPCs without a cell',
    ).toEqual([]);
    expect(
      [...METHODS.keys()].filter((path) => !ACCESS.has(path)),
      'RPCs without a row',
    ).toEqual([]);
    const perCase = USERS.length + badTokens().length;
    const harmful = 2 * CASES.filter((each) => each.harmful === true).length;
    const json = CASES.filter(({ path }) => JSON_PATHS.has(path)).length;
    expect(cells).toBe((CASES.length + json) * perCase - harmful);
    process.stdout.write(`auth matrix: ${cells} cells\n`);
  });

  it('lets no server start with an RPC that is not in it', () => {
    const added = unary('/etcdserverpb.KV/New', m.RangeRequest, m.RangeResponse, (_call, _request, done) =>
      done({ kvs: [], more: false, count: 0 }),
    );
    expect(() => guarded(new Rig().context, [added])).toThrow(/KV\/New is not in the table/);
  });

  it('needs a gRPC status for its refusals that clients know', () => {
    expect(REFUSALS.map((code) => rosterError(code).status)).toEqual([
      GrpcStatus.INVALID_ARGUMENT,
      GrpcStatus.UNAUTHENTICATED,
      GrpcStatus.PERMISSION_DENIED,
      GrpcStatus.INVALID_ARGUMENT,
    ]);
  });

  it('is not asked while auth is off', async () => {
    expect(verdict(await member.grpc(`${AUTH}AuthDisable`, {}, { token: tokens.get('root')! }))).toBe('may');
    for (const { path, request, harmful } of CASES) {
      if (harmful || path === `${AUTH}AuthEnable`) continue;
      if (METHODS.get(path)!.kind === 'unary') expect(verdict(await member.grpc(path, request)), path).toBe('may');
    }
  });
});
