/**
 * What every RPC needs of its caller while auth is on: the one table. Deny by default: a server with an RPC that is not
 * in it does not start. Names rules only; the guard and the handlers keep them, through admission.ts.
 */
import type { Refusal } from '../../core/auth/auth-store.ts';
import {
  deleteRangeNeeds,
  deniedUnless,
  keysReadNeeds,
  type LeaseKeys,
  leaseWriteNeeds,
  needsRoot,
  needsUser,
  putNeeds,
  rangeNeeds,
  txnNeeds,
  type V2Reads,
  v2ReadNeeds,
  v2WriteNeeds,
  watchNeeds,
} from '../../core/auth/needs.ts';
import type { Permit } from '../../core/auth/permit.ts';
import { type ByteString, prefixEnd } from '../../core/util/bytes.ts';
import * as m from '../../core/wire/messages.ts';
import type { V2Request } from '../../core/wire/stored.ts';
import { V2_ADMIN, V2_MEMBER, V2_READ, V2_WATCH, V2_WRITE } from './v2-paths.ts';

/**
 * When it is decided:
 * - `never`: anybody may call it
 * - `local`: by the state of this member, before it begins; what must work without a leader
 * - `confirmed`: the same, but a refusal only after a read index: this member may be behind
 * - `fresh`: after a read index, before it begins
 * - `handler`: in the moment of its read, or where its entry is applied; the handler asks, and may not answer otherwise
 *
 * A stream is decided for each of its messages.
 */
export type When = 'never' | 'local' | 'confirmed' | 'fresh' | 'handler';

export interface Rule {
  readonly when: When;
  /** Of a user that exists. */
  need(permit: Permit, request: object, leases: LeaseKeys): Refusal;
  /** The token counts when the stream is opened; then the user need only remain who it was. */
  readonly bound: boolean;
  /** What the answer needs, once more is known. */
  readonly answer: ((permit: Permit, response: object, leases: LeaseKeys) => Refusal) | undefined;
}

type Need<Req extends object> = (permit: Permit, request: Req, leases: LeaseKeys) => Refusal;

function rule<Req extends object>(when: When, need: Need<Req>, more: Partial<Rule> = {}): Rule {
  return { when, need: need as Need<object>, bound: false, answer: undefined, ...more };
}

const open = rule('never', needsUser);
const root = (when: When) => rule(when, needsRoot);

/** What is locked or campaigned for lies under the name, one key for each who wants it. */
function underName(permit: Permit, name: ByteString, write: boolean): Refusal {
  const prefix = `${name}/`;
  const end = prefixEnd(prefix);
  return deniedUnless(permit.mayRead(prefix, end) && (!write || permit.mayWrite(prefix, end)));
}

const lockNeeds: Need<Named> = (permit, { name }) => underName(permit, toName(name), true);
const observeNeeds: Need<Named> = (permit, { name }) => underName(permit, toName(name), false);

/** The messages of v3lock and v3election, as far as they matter here. */
interface Named {
  name: ByteString | Uint8Array;
}
interface OfLeader {
  leader?: { key: ByteString | Uint8Array } | undefined;
}

function toName(name: ByteString | Uint8Array): ByteString {
  return typeof name === 'string' ? name : Buffer.from(name).toString('latin1');
}

const leaderNeeds: Need<OfLeader> = (permit, { leader }) => {
  const key = toName(leader?.key ?? '');
  return deniedUnless(permit.mayRead(key, '') && permit.mayWrite(key, ''));
};

const watchMessageNeeds: Need<m.WatchRequest> = (permit, { create_request }) =>
  create_request === undefined ? undefined : watchNeeds(permit, create_request);

/** Which leases there are tells of the keys on them. */
const leasesAnswer = (permit: Permit, response: object, leases: LeaseKeys): Refusal => {
  if (permit.mayRead('\0', '\0')) return undefined;
  for (const { ID } of (response as m.LeaseLeasesResponse).leases) {
    const refusal = keysReadNeeds(permit, leases.keysOf(ID));
    if (refusal !== undefined) return refusal;
  }
  return undefined;
};

/** Whether the answer may tell what was there is asked, too, once a write is done. */
const v2WriteOrReadNeeds: Need<V2Request | V2Reads> = (permit, request) =>
  'subtree' in request ? v2ReadNeeds(permit, request) : v2WriteNeeds(permit, request);

const KV = '/etcdserverpb.KV/';
const LEASE = '/etcdserverpb.Lease/';
const CLUSTER = '/etcdserverpb.Cluster/';
const MAINTENANCE = '/etcdserverpb.Maintenance/';
const AUTH = '/etcdserverpb.Auth/';
const LOCK = '/v3lockpb.Lock/';
const ELECTION = '/v3electionpb.Election/';
const HEALTH = '/grpc.health.v1.Health/';

/** By path. */
export const ACCESS: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  [`${KV}Range`, rule<m.RangeRequest>('handler', rangeNeeds)],
  [`${KV}RangeStream`, rule<m.RangeRequest>('handler', rangeNeeds)],
  // Behind `GET /kv/...?children`; it has no path on the wire.
  ['/rosterpb.KV/Children', rule<m.RangeRequest>('handler', rangeNeeds)],
  [`${KV}Put`, rule<m.PutRequest>('handler', putNeeds)],
  [`${KV}DeleteRange`, rule<m.DeleteRangeRequest>('handler', deleteRangeNeeds)],
  [`${KV}Txn`, rule<m.TxnRequest>('handler', txnNeeds)],
  [`${KV}Compact`, root('handler')],

  [V2_READ, rule<V2Reads>('handler', v2ReadNeeds)],
  [V2_WRITE, rule<V2Request | V2Reads>('handler', v2WriteOrReadNeeds)],
  [V2_WATCH, rule<V2Reads>('handler', v2ReadNeeds)],
  [V2_MEMBER, rule('local', needsUser)],
  [V2_ADMIN, root('confirmed')],

  ['/etcdserverpb.Watch/Watch', rule<m.WatchRequest>('handler', watchMessageNeeds)],

  [`${LEASE}LeaseGrant`, rule('handler', needsUser)],
  [
    `${LEASE}LeaseRevoke`,
    rule<m.LeaseRevokeRequest>('handler', (permit, { ID }, keys) => leaseWriteNeeds(permit, ID, keys)),
  ],
  [
    `${LEASE}LeaseKeepAlive`,
    rule<m.LeaseKeepAliveRequest>('confirmed', (permit, { ID }, keys) => leaseWriteNeeds(permit, ID, keys), {
      bound: true,
    }),
  ],
  [
    `${LEASE}LeaseTimeToLive`,
    rule<m.LeaseTimeToLiveRequest>('fresh', needsUser, {
      answer: (permit, response) => keysReadNeeds(permit, (response as m.LeaseTimeToLiveResponse).keys),
    }),
  ],
  [`${LEASE}LeaseLeases`, rule('handler', needsUser, { answer: leasesAnswer })],

  [`${CLUSTER}MemberAdd`, root('fresh')],
  [`${CLUSTER}MemberRemove`, root('fresh')],
  [`${CLUSTER}MemberUpdate`, root('handler')],
  [`${CLUSTER}MemberPromote`, root('fresh')],
  [`${CLUSTER}MemberList`, rule('handler', needsUser)],

  [
    `${MAINTENANCE}Alarm`,
    rule<m.AlarmRequest>('local', (permit, { action }) =>
      action === m.AlarmAction.values.GET ? needsUser() : needsRoot(permit),
    ),
  ],
  [`${MAINTENANCE}Status`, rule('local', needsUser)],
  // Of this member alone, and wanted above all when the cluster does not work.
  [`${MAINTENANCE}Defragment`, root('local')],
  [`${MAINTENANCE}Hash`, root('local')],
  [`${MAINTENANCE}HashKV`, root('local')],
  [`${MAINTENANCE}Snapshot`, root('local')],
  [`${MAINTENANCE}MoveLeader`, root('fresh')],
  [`${MAINTENANCE}Downgrade`, root('fresh')],

  [`${AUTH}Authenticate`, open],
  [`${AUTH}AuthStatus`, open],
  [`${AUTH}AuthEnable`, root('handler')],
  [`${AUTH}AuthDisable`, root('handler')],
  // Before the password is hashed.
  [`${AUTH}UserAdd`, root('confirmed')],
  [`${AUTH}UserChangePassword`, root('confirmed')],
  [
    `${AUTH}UserGet`,
    rule<m.AuthUserGetRequest>('handler', (permit, { name }) => deniedUnless(permit.isRoot || permit.user === name)),
  ],
  [`${AUTH}UserList`, root('handler')],
  [`${AUTH}UserDelete`, root('handler')],
  [`${AUTH}UserGrantRole`, root('handler')],
  [`${AUTH}UserRevokeRole`, root('handler')],
  [`${AUTH}RoleAdd`, root('handler')],
  [
    `${AUTH}RoleGet`,
    rule<m.AuthRoleGetRequest>('handler', (permit, { role }) => deniedUnless(permit.isRoot || permit.hasRole(role))),
  ],
  [`${AUTH}RoleList`, root('handler')],
  [`${AUTH}RoleDelete`, root('handler')],
  [`${AUTH}RoleGrantPermission`, root('handler')],
  [`${AUTH}RoleRevokePermission`, root('handler')],

  [`${LOCK}Lock`, rule<Named>('fresh', lockNeeds)],
  [
    `${LOCK}Unlock`,
    rule<{ key: ByteString | Uint8Array }>('fresh', (permit, { key }) =>
      deniedUnless(permit.mayWrite(toName(key), '')),
    ),
  ],
  [`${ELECTION}Campaign`, rule<Named>('fresh', lockNeeds)],
  [`${ELECTION}Proclaim`, rule<OfLeader>('fresh', leaderNeeds)],
  [`${ELECTION}Resign`, rule<OfLeader>('fresh', leaderNeeds)],
  [`${ELECTION}Leader`, rule<Named>('fresh', observeNeeds)],
  [`${ELECTION}Observe`, rule<Named>('fresh', observeNeeds)],

  [`${HEALTH}Check`, open],
  [`${HEALTH}Watch`, open],
  [`${HEALTH}List`, open],
]);
