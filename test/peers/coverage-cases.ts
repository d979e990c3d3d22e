/**
 * Requests that between them set every field of every request to something, in an order in which each finds what it needs.
 * Keys `a`..`e` and lease 100 are there; auth is turned on for the last ones.
 */
import type { Json } from './door.ts';

/** What differs from server to server. */
export interface Here {
  readonly self: bigint;
  learner: bigint;
  readonly peerUrl: string;
}

export interface Case {
  readonly rpc: string;
  /** Several for a stream. */
  readonly requests: (here: Here) => readonly object[];
  /** Messages of the answer that are waited for. */
  readonly count: number;
}

const KV = 'etcdserverpb.KV/';
const LEASE = 'etcdserverpb.Lease/';
const CLUSTER = 'etcdserverpb.Cluster/';
const MAINTENANCE = 'etcdserverpb.Maintenance/';
const AUTH = 'etcdserverpb.Auth/';
const LOCK = 'v3lockpb.Lock/';
const ELECTION = 'v3electionpb.Election/';
const HEALTH = 'grpc.health.v1.Health/';

/** One case for each request. */
const each = (rpc: string, ...requests: (object | ((here: Here) => object))[]): Case[] =>
  requests.map((request) => ({
    rpc: `/${rpc}`,
    requests: (here) => [typeof request === 'function' ? request(here) : request],
    count: 1,
  }));
const watch = (count: number, ...requests: Json[]): Case => ({
  rpc: '/etcdserverpb.Watch/Watch',
  requests: () => requests,
  count,
});
const created = (request: Json, count = 1) => watch(count, { create_request: request });

const octets = (text: string) => new Uint8Array(Buffer.from(text));
const put = (key: string, more: object = {}) => ({ request_put: { key, value: octets('n'), ...more } });
const compares = (...list: object[]) => list.map((compare) => ({ compare: [compare] }));

const ranges = [
  { key: 'a' },
  { key: '' },
  { key: 'a', range_end: 'd' },
  { key: '\0', range_end: '\0', limit: 2 },
  { key: 'a', revision: 3 },
  { key: 'a', revision: 99_999 },
  ...[0, 1, 2, 3, 4].flatMap((sort_target) => [
    { key: 'a', range_end: 'f', sort_target, sort_order: 1 },
    { key: 'a', range_end: 'f', sort_target, sort_order: 2 },
  ]),
  { key: 'a', serializable: true },
  { key: 'a', range_end: 'd', keys_only: true },
  { key: 'a', range_end: 'd', count_only: true },
  { key: 'a', range_end: 'f', min_mod_revision: 4 },
  { key: 'a', range_end: 'f', max_mod_revision: 4 },
  { key: 'a', range_end: 'f', min_create_revision: 4 },
  { key: 'a', range_end: 'f', max_create_revision: 4 },
];

const kv: Case[] = [
  ...each(
    `${KV}Put`,
    { key: 'p', value: octets('1') },
    { key: '', value: octets('1') },
    { key: 'p', value: octets('2'), prev_kv: true },
    { key: 'p', lease: 100n },
    { key: 'p', lease: 999n },
    { key: 'p', ignore_value: true, lease: 100n },
    { key: 'p', value: octets('1'), ignore_value: true },
    { key: 'p', value: octets('3'), ignore_lease: true },
    { key: 'nothing', value: octets('3'), ignore_lease: true },
  ),
  ...each(`${KV}Range`, ...ranges),
  ...each(
    `${KV}Txn`,
    ...compares(
      { key: 'a', target: 0, result: 0, version: 1 },
      { key: 'a', target: 0, result: 1, version: 0 },
      { key: 'a', target: 1, result: 2, create_revision: 9 },
      { key: 'a', target: 2, result: 3, mod_revision: 1 },
      { key: 'a', target: 3, result: 0, value: octets('a') },
      { key: 'a', target: 4, result: 0, lease: 5n },
      { key: 'a', range_end: 'f', target: 0, result: 1, version: 0 },
    ),
    { success: [{ request_range: { key: 'a' } }, put('t1'), { request_delete_range: { key: 't0', prev_kv: true } }] },
    { compare: [{ key: 'a', target: 0, version: 7 }], failure: [{ request_range: { key: 'b' } }, put('t2')] },
    { compare: [{ key: 'a', target: 0, version: 7 }], failure: [{ request_delete_range: { key: 't2' } }] },
    { success: [{ request_txn: { success: [put('t3'), { request_range: { key: 't3' } }] } }] },
    {
      compare: [{ key: 'a', target: 0, version: 7 }],
      failure: [{ request_txn: { compare: [{ key: 'a', target: 3, value: octets('x') }], failure: [put('t4')] } }],
    },
    { success: [put('same'), put('same')] },
  ),
  ...each(
    `${KV}DeleteRange`,
    { key: 't1' },
    { key: 't2', range_end: 't9', prev_kv: true },
    { key: 't1', prev_kv: true },
    { key: '' },
  ),
  ...each(`${KV}Compact`, { revision: 2 }, { revision: 4, physical: true }, { revision: 1 }, { revision: 99_999 }),
  ...each(`${KV}RangeStream`, ...ranges),
];

const watches: Case[] = [
  created({ key: 'a' }),
  created({ key: 'a', range_end: 'f', start_revision: 5 }, 2),
  created({ key: 'a', start_revision: 1 }, 2),
  created({ key: 'a', progress_notify: true }),
  created({ key: 'p', filters: [0], start_revision: 5 }),
  created({ key: 'p', filters: [1], start_revision: 9 }, 2),
  created({ key: 'p', prev_kv: true, start_revision: 9 }, 2),
  created({ key: 'a', watch_id: 42n }),
  created({ key: 'p', fragment: true, start_revision: 9 }, 2),
  created({ key: 'c', range_end: 'b' }, 1),
  watch(2, { create_request: { key: 'a', watch_id: 3n } }, { cancel_request: { watch_id: 3n } }),
  watch(2, { create_request: { key: 'a' } }, { progress_request: {} }),
];

const leases: Case[] = [
  ...each(
    `${LEASE}LeaseGrant`,
    { TTL: 600n, ID: 200n },
    { TTL: 600n, ID: 200n },
    { TTL: 10n ** 10n },
    { TTL: 0n, ID: 201n },
  ),
  // It would run out in two seconds: sooner on one server than on the other, for whoever lists leases then.
  ...each(`${LEASE}LeaseRevoke`, { ID: 201n }),
  { rpc: `/${LEASE}LeaseKeepAlive`, requests: () => [{ ID: 200n }, { ID: 999n }], count: 2 },
  ...each(`${LEASE}LeaseTimeToLive`, { ID: 200n }, { ID: 100n, keys: true }, { ID: 999n }),
  ...each(`${LEASE}LeaseLeases`, {}),
  ...each(`${LEASE}LeaseRevoke`, { ID: 200n }, { ID: 200n }),
];

const cluster: Case[] = [
  ...each(`${CLUSTER}MemberList`, {}, { linearizable: true }),
  ...each(
    `${CLUSTER}MemberAdd`,
    { peerURLs: ['http://127.0.0.1:1'], isLearner: true },
    { peerURLs: ['http://127.0.0.1:1', 'http://127.0.0.1:3'], isLearner: true },
    { peerURLs: ['nonsense'] },
    {},
  ),
  ...each(
    `${CLUSTER}MemberUpdate`,
    { ID: 1n, peerURLs: ['http://127.0.0.1:2'] },
    (here) => ({ ID: here.self, peerURLs: ['nonsense'] }),
    (here) => ({ ID: here.self, peerURLs: [here.peerUrl] }),
  ),
  ...each(
    `${CLUSTER}MemberPromote`,
    (here) => ({ ID: here.learner }),
    (here) => ({ ID: here.self }),
    { ID: 1n },
  ),
  ...each(
    `${CLUSTER}MemberRemove`,
    { ID: 1n },
    (here) => ({ ID: here.learner }),
    (here) => ({ ID: here.learner }),
  ),
];

const maintenance: Case[] = [
  ...each(
    `${MAINTENANCE}Alarm`,
    {},
    (here) => ({ action: 1, memberID: here.self, alarm: 1 }),
    { alarm: 1 },
    (here) => ({ memberID: here.self }),
    (here) => ({ action: 2, memberID: here.self, alarm: 1 }),
    (here) => ({ action: 1, memberID: here.self, alarm: 2 }),
    (here) => ({ action: 2, memberID: here.self, alarm: 2 }),
  ),
  ...each(`${MAINTENANCE}Status`, {}),
  ...each(`${MAINTENANCE}Defragment`, {}),
  ...each(`${MAINTENANCE}Hash`, {}),
  ...each(`${MAINTENANCE}HashKV`, {}, { revision: 8 }, { revision: 1 }, { revision: 99_999 }),
  ...each(`${MAINTENANCE}Snapshot`, {}),
  ...each(`${MAINTENANCE}MoveLeader`, { targetID: 1n }, (here) => ({ targetID: here.self })),
  ...each(`${MAINTENANCE}Downgrade`, { action: 0, version: '3.6.0' }, { action: 1, version: 'x' }, { action: 2 }),
];

const recipes: Case[] = [
  ...each(`${LOCK}Lock`, { name: 'l', lease: 100n }, { name: 'l', lease: 999n }),
  ...each(`${LOCK}Unlock`, { key: 'l/64' }, { key: 'none' }),
  ...each(
    `${ELECTION}Campaign`,
    { name: 'e', lease: 100n, value: octets('me') },
    { name: 'e', lease: 100n, value: octets('me again') },
  ),
  ...each(`${ELECTION}Leader`, { name: 'e' }, { name: 'nobody' }),
  ...each(`${ELECTION}Observe`, { name: 'e' }),
  ...each(`${ELECTION}Proclaim`, { leader: { name: 'e', key: 'e/64', rev: 1, lease: 100n }, value: octets('now') }, {}),
  ...each(`${ELECTION}Resign`, { leader: { name: 'e', key: 'e/64', rev: 1, lease: 100n } }, {}),
  ...each(`${HEALTH}Check`, {}, { service: 'none' }),
  ...each(`${HEALTH}Watch`, {}, { service: 'none' }),
  ...each(`${HEALTH}List`, {}),
];

/** What a client has no business to send: the server makes it of the password. */
const HASHED = 'bm8gaGFzaA==';

const grant = (permType: number, key: string, range_end = '') => ({ name: 'r', perm: { permType, key, range_end } });

const auth: Case[] = [
  ...each(`${AUTH}AuthStatus`, {}),
  ...each(`${AUTH}Authenticate`, { name: 'u', password: 'x' }),
  ...each(
    `${AUTH}UserAdd`,
    { name: 'u', password: 'secret' },
    { name: 'u', password: 'secret' },
    { name: 'n', options: { no_password: true } },
    { name: '', password: 'x' },
    { name: 'h', password: 'x', hashedPassword: HASHED },
  ),
  ...each(`${AUTH}UserList`, {}),
  ...each(
    `${AUTH}UserChangePassword`,
    { name: 'u', password: 'other', hashedPassword: HASHED },
    { name: 'none', password: 'x' },
  ),
  ...each(`${AUTH}RoleAdd`, { name: 'r' }, { name: 'r' }, { name: '' }),
  ...each(`${AUTH}RoleList`, {}),
  ...each(`${AUTH}RoleGrantPermission`, grant(0, 'a'), grant(1, 'b', 'd'), grant(2, 'x', '\0'), {
    ...grant(0, 'a'),
    name: 'none',
  }),
  ...each(`${AUTH}RoleGet`, { role: 'r' }, { role: 'none' }),
  ...each(`${AUTH}RoleRevokePermission`, { role: 'r', key: 'b', range_end: 'd' }, { role: 'r', key: 'zz' }),
  ...each(`${AUTH}UserGrantRole`, { user: 'u', role: 'r' }, { user: 'none', role: 'r' }, { user: 'u', role: 'none' }),
  ...each(`${AUTH}UserGet`, { name: 'u' }, { name: 'none' }),
  ...each(`${AUTH}UserRevokeRole`, { name: 'u', role: 'r' }, { name: 'u', role: 'r' }),
  ...each(`${AUTH}RoleDelete`, { role: 'r' }, { role: 'r' }),
  ...each(`${AUTH}UserDelete`, { name: 'u' }, { name: 'n' }, { name: 'h' }, { name: 'u' }),
  ...each(`${AUTH}AuthEnable`, {}),
  ...each(`${AUTH}AuthDisable`, {}),
];

export const CASES: readonly Case[] = [...leases, ...kv, ...watches, ...cluster, ...maintenance, ...recipes, ...auth];
