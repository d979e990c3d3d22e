/**
 * Roster's own messages: what its log and its database hold. They are read again by later versions, and by members that
 * run another one: a number is never used for something else. No behaviour here.
 */
import {
  AlarmAction,
  AlarmType,
  AuthDisableRequest,
  AuthEnableRequest,
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthRoleGrantPermissionRequest,
  AuthRoleRevokePermissionRequest,
  AuthUserDeleteRequest,
  AuthUserGrantRoleRequest,
  AuthUserRevokeRoleRequest,
  CompactionRequest,
  DeleteRangeRequest,
  LeaseGrantRequest,
  LeaseRevokeRequest,
  Member,
  MemberUpdateRequest,
  PutRequest,
  TxnRequest,
} from './messages.ts';
import {
  bool,
  bytes,
  counter,
  type Decoded,
  type EnumType,
  enumeration,
  int64,
  key,
  message,
  oneof,
  repeated,
  revision,
  string,
  sub,
  uint64,
} from './schema.ts';

/** One replicated request: `id` pairs the entry with the caller that waits for it; exactly one other field is set. */
export const InternalRequest = message('roster.InternalRequest', {
  id: uint64(1),
  /** Who asks for it; looked at while auth is on. */
  requester: sub(2, () => Requester),
  put: oneof(
    'request',
    sub(4, () => PutRequest),
  ),
  delete_range: oneof(
    'request',
    sub(5, () => DeleteRangeRequest),
  ),
  txn: oneof(
    'request',
    sub(6, () => TxnRequest),
  ),
  compaction: oneof(
    'request',
    sub(7, () => CompactionRequest),
  ),
  lease_grant: oneof(
    'request',
    sub(8, () => LeaseGrantRequest),
  ),
  lease_revoke: oneof(
    'request',
    sub(9, () => LeaseRevokeRequest),
  ),
  lease_checkpoint: oneof(
    'request',
    sub(10, () => LeaseCheckpointRequest),
  ),
  member_update: oneof(
    'request',
    sub(11, () => MemberUpdateRequest),
  ),
  member_attributes: oneof(
    'request',
    sub(12, () => MemberAttributes),
  ),
  cluster_version: oneof(
    'request',
    sub(13, () => ClusterVersion),
  ),
  auth_enable: oneof(
    'request',
    sub(20, () => AuthEnableRequest),
  ),
  auth_disable: oneof(
    'request',
    sub(21, () => AuthDisableRequest),
  ),
  auth_user_add: oneof(
    'request',
    sub(22, () => UserCredentials),
  ),
  auth_user_delete: oneof(
    'request',
    sub(23, () => AuthUserDeleteRequest),
  ),
  auth_user_change_password: oneof(
    'request',
    sub(24, () => UserCredentials),
  ),
  auth_user_grant_role: oneof(
    'request',
    sub(25, () => AuthUserGrantRoleRequest),
  ),
  auth_user_revoke_role: oneof(
    'request',
    sub(26, () => AuthUserRevokeRoleRequest),
  ),
  auth_role_add: oneof(
    'request',
    sub(27, () => AuthRoleAddRequest),
  ),
  auth_role_delete: oneof(
    'request',
    sub(28, () => AuthRoleDeleteRequest),
  ),
  auth_role_grant_permission: oneof(
    'request',
    sub(29, () => AuthRoleGrantPermissionRequest),
  ),
  auth_role_revoke_permission: oneof(
    'request',
    sub(30, () => AuthRoleRevokePermissionRequest),
  ),
  auth_login: oneof(
    'request',
    sub(31, () => Login),
  ),
  auth_tokens_renew: oneof(
    'request',
    sub(32, () => TokenHashes),
  ),
  auth_tokens_end: oneof(
    'request',
    sub(33, () => TokenHashes),
  ),
  alarm: oneof(
    'request',
    sub(40, () => AlarmChange),
  ),
  downgrade: oneof(
    'request',
    sub(41, () => DowngradeTarget),
  ),
  v2: oneof(
    'request',
    sub(50, () => V2Request),
  ),
});
export type InternalRequest = Decoded<typeof InternalRequest>;

/** What a write of the v2 API comes to (etcd: applierV2store). */
export const V2Op = {
  name: 'roster.V2Op',
  values: { SET: 0, CREATE: 1, POST: 2, UPDATE: 3, COMPARE_AND_SWAP: 4, DELETE: 5, COMPARE_AND_DELETE: 6 },
} as const satisfies EnumType;

/** One write of the v2 API, decided where it is applied. */
export const V2Request = message('roster.V2Request', {
  op: enumeration(1, V2Op),
  /** Clean: `/`, or `/a/b` (core/v2/paths.ts). */
  path: key(2),
  value: bytes(3),
  dir: bool(4),
  recursive: bool(5),
  refresh: bool(6),
  /** Seconds; of account with `has_ttl` only. */
  ttl: counter(7),
  has_ttl: bool(8),
  /** Empty: any value will do. */
  prev_value: bytes(9),
  /** 0: any index will do. */
  prev_index: uint64(10),
  /** Wall clock of the member that took the request, in milliseconds: what `expiration` is counted from. */
  time_ms: counter(11),
});
export type V2Request = Decoded<typeof V2Request>;

/** What the last v2 write of a node was, where the pairs alone do not tell: see core/v2/record.ts. */
export const V2Action = {
  name: 'roster.V2Action',
  values: {
    /** A directory that came into being because something was put into it. */
    NONE: 0,
    SET: 1,
    CREATE: 2,
    UPDATE: 3,
    COMPARE_AND_SWAP: 4,
    DELETE: 5,
    COMPARE_AND_DELETE: 6,
    EXPIRE: 7,
  },
} as const satisfies EnumType;

export const V2Record = message('roster.V2Record', {
  action: enumeration(1, V2Action),
  /** The node's createdIndex. */
  created: revision(2),
  /** Wall clock in milliseconds; 0: never. */
  expires_ms: counter(3),
  /** The lease that ends the node then; 0: none. */
  lease: int64(4),
  /** Wall clock of the write. */
  time_ms: counter(5),
  /** Only the time to live was changed: nobody is told. */
  refresh: bool(6),
  /** Of a node that is gone: which, whether it was a directory, and its modifiedIndex. */
  path: key(7),
  dir: bool(8),
  modified: revision(9),
});
export type V2Record = Decoded<typeof V2Record>;

/** On whose behalf a request was put into the log. */
export const Requester = message('roster.Requester', {
  user: string(1),
  /** The auth revision at which the member that took the request knew the user: an older one is refused. */
  auth_revision: counter(2),
  /** The cluster itself asks: nobody's permission is needed. */
  internal: bool(3),
});
export type Requester = Decoded<typeof Requester>;

/** A user and what proves it: the log never holds a password. */
export const UserCredentials = message('roster.UserCredentials', {
  name: string(1),
  /** bcrypt's, as text; empty with `no_password`. */
  password_hash: bytes(2),
  no_password: bool(3),
});
export type UserCredentials = Decoded<typeof UserCredentials>;

/** A member has checked the user's password and gives out a token. The log knows only the token's SHA-256. */
export const Login = message('roster.Login', {
  user: string(1),
  token_hash: key(2),
  /** Auth revision at which the password was checked. */
  auth_revision: counter(3),
});
export type Login = Decoded<typeof Login>;

export const TokenHashes = message('roster.TokenHashes', { hashes: repeated(key(1)) });
export type TokenHashes = Decoded<typeof TokenHashes>;

/** What the store keeps of a token that was given out. */
export const StoredToken = message('roster.StoredToken', {
  user: string(1),
  /** The entry that made it. */
  index: counter(2),
  /** The entry that last renewed it, and its place among those that this entry renewed. */
  renewed: counter(3),
  place: counter(4),
});
export type StoredToken = Decoded<typeof StoredToken>;

/** What a started member tells of itself; its peer URLs came with its addition. */
export const MemberAttributes = message('roster.MemberAttributes', {
  ID: uint64(1),
  name: string(2),
  clientURLs: repeated(string(3)),
});
export type MemberAttributes = Decoded<typeof MemberAttributes>;

/** The lowest version among the members, which all of them go by: `3.7.0`. */
export const ClusterVersion = message('roster.ClusterVersion', { version: string(1) });
export type ClusterVersion = Decoded<typeof ClusterVersion>;

/** An alarm is raised or cleared; `automatic`: by the member itself, which may not clear what somebody raised by hand. */
export const AlarmChange = message('roster.AlarmChange', {
  action: enumeration(1, AlarmAction),
  memberID: uint64(2),
  alarm: enumeration(3, AlarmType),
  automatic: bool(4),
});
export type AlarmChange = Decoded<typeof AlarmChange>;

/** What the store keeps of an alarm. */
export const StoredAlarm = message('roster.StoredAlarm', {
  memberID: uint64(1),
  alarm: enumeration(2, AlarmType),
  automatic: bool(3),
});
export type StoredAlarm = Decoded<typeof StoredAlarm>;

/** The version that the members are to be replaced by: `3.6.0`; '' ends that. */
export const DowngradeTarget = message('roster.DowngradeTarget', { version: string(1) });
export type DowngradeTarget = Decoded<typeof DowngradeTarget>;

/** How much time leases had left on the leader's clock; 0: all of it again. */
export const LeaseCheckpoint = message('roster.LeaseCheckpoint', { ID: int64(1), remaining_TTL: revision(2) });
export type LeaseCheckpoint = Decoded<typeof LeaseCheckpoint>;
export const LeaseCheckpointRequest = message('roster.LeaseCheckpointRequest', {
  checkpoints: repeated(sub(1, () => LeaseCheckpoint)),
});
export type LeaseCheckpointRequest = Decoded<typeof LeaseCheckpointRequest>;

/**
 * What a change of the configuration is about, in the entry that makes it: `id` pairs it with the caller that waits for
 * it; exactly one other field is set.
 */
export const MemberChange = message('roster.MemberChange', {
  id: uint64(1),
  /** A new member with the id it will have, as learner or voter. */
  add: oneof(
    'change',
    sub(2, () => Member),
  ),
  /** A learner that becomes a voter. */
  promote: oneof('change', uint64(3)),
  remove: oneof('change', uint64(4)),
});
export type MemberChange = Decoded<typeof MemberChange>;

/** What the store keeps of a lease (etcd's leasepb.Lease). */
export const StoredLease = message('roster.StoredLease', {
  ID: int64(1),
  TTL: revision(2),
  remaining_TTL: revision(3),
});
export type StoredLease = Decoded<typeof StoredLease>;

/** HardState of the Raft paper, figure 2: what must be on disk before a message leaves. */
export const HardState = message('roster.HardState', { term: counter(1), vote: uint64(2), commit: counter(3) });
export type HardState = Decoded<typeof HardState> & {
  /**
   * Set while this log takes the place of a damaged one and lacks what that held (core/raft/refill.ts): a number of its
   * own. To a log that is given a hard state, absence means no change, and 0n that the refill is over.
   */
  refilling?: bigint;
};

export const EntryType = {
  name: 'roster.EntryType',
  values: { NORMAL: 0, CONF_CHANGE: 1 },
} as const satisfies EnumType;
export const Entry = message('roster.Entry', {
  term: counter(1),
  index: counter(2),
  type: enumeration(3, EntryType),
  data: bytes(4),
});
export type Entry = Decoded<typeof Entry>;
