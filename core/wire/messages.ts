/**
 * Every message of etcd's v3 API that Roster speaks, as data: names, numbers and types of mvccpb, etcdserverpb and
 * grpc.health.v1 (API level 3.7). Field names are the proto names. No behaviour here.
 */
import {
  bool,
  bytes,
  counter,
  type Decoded,
  type EnumType,
  enumeration,
  int64,
  key,
  type MessageType,
  message,
  oneof,
  repeated,
  revision,
  string,
  sub,
  uint32,
  uint64,
} from './schema.ts';

// ---- mvccpb

export const EventType = { name: 'mvccpb.Event.EventType', values: { PUT: 0, DELETE: 1 } } as const satisfies EnumType;

export const KeyValue = message('mvccpb.KeyValue', {
  key: key(1),
  create_revision: revision(2),
  mod_revision: revision(3),
  version: revision(4),
  value: bytes(5),
  lease: int64(6),
});
export type KeyValue = Decoded<typeof KeyValue>;

export const Event = message('mvccpb.Event', {
  type: enumeration(1, EventType),
  kv: sub(2, () => KeyValue),
  prev_kv: sub(3, () => KeyValue),
});
export type Event = Decoded<typeof Event>;

// ---- etcdserverpb: common

export const ResponseHeader = message('etcdserverpb.ResponseHeader', {
  cluster_id: uint64(1),
  member_id: uint64(2),
  revision: revision(3),
  raft_term: counter(4),
});
export type ResponseHeader = Decoded<typeof ResponseHeader>;

// ---- etcdserverpb: KV

export const SortOrder = {
  name: 'etcdserverpb.RangeRequest.SortOrder',
  values: { NONE: 0, ASCEND: 1, DESCEND: 2 },
} as const satisfies EnumType;
export const SortTarget = {
  name: 'etcdserverpb.RangeRequest.SortTarget',
  values: { KEY: 0, VERSION: 1, CREATE: 2, MOD: 3, VALUE: 4 },
} as const satisfies EnumType;

export const RangeRequest = message('etcdserverpb.RangeRequest', {
  key: key(1),
  range_end: key(2),
  limit: revision(3),
  revision: revision(4),
  sort_order: enumeration(5, SortOrder),
  sort_target: enumeration(6, SortTarget),
  serializable: bool(7),
  keys_only: bool(8),
  count_only: bool(9),
  min_mod_revision: revision(10),
  max_mod_revision: revision(11),
  min_create_revision: revision(12),
  max_create_revision: revision(13),
});
export type RangeRequest = Decoded<typeof RangeRequest>;

export const RangeResponse = message('etcdserverpb.RangeResponse', {
  header: sub(1, () => ResponseHeader),
  kvs: repeated(sub(2, () => KeyValue)),
  more: bool(3),
  count: revision(4),
});
export type RangeResponse = Decoded<typeof RangeResponse>;

/** A piece of a RangeResponse: header, `more` and `count` are in the last one only. */
export const RangeStreamResponse = message('etcdserverpb.RangeStreamResponse', {
  range_response: sub(1, () => RangeResponse),
});
export type RangeStreamResponse = Decoded<typeof RangeStreamResponse>;

export const PutRequest = message('etcdserverpb.PutRequest', {
  key: key(1),
  value: bytes(2),
  lease: int64(3),
  prev_kv: bool(4),
  ignore_value: bool(5),
  ignore_lease: bool(6),
});
export type PutRequest = Decoded<typeof PutRequest>;

export const PutResponse = message('etcdserverpb.PutResponse', {
  header: sub(1, () => ResponseHeader),
  prev_kv: sub(2, () => KeyValue),
});
export type PutResponse = Decoded<typeof PutResponse>;

export const DeleteRangeRequest = message('etcdserverpb.DeleteRangeRequest', {
  key: key(1),
  range_end: key(2),
  prev_kv: bool(3),
});
export type DeleteRangeRequest = Decoded<typeof DeleteRangeRequest>;

export const DeleteRangeResponse = message('etcdserverpb.DeleteRangeResponse', {
  header: sub(1, () => ResponseHeader),
  deleted: revision(2),
  prev_kvs: repeated(sub(3, () => KeyValue)),
});
export type DeleteRangeResponse = Decoded<typeof DeleteRangeResponse>;

/** At most one member is set. Declared by hand because the type is recursive. */
export interface RequestOp {
  request_range?: RangeRequest | undefined;
  request_put?: PutRequest | undefined;
  request_delete_range?: DeleteRangeRequest | undefined;
  request_txn?: TxnRequest | undefined;
}
export const RequestOp: MessageType<RequestOp> = message('etcdserverpb.RequestOp', {
  request_range: oneof(
    'request',
    sub(1, () => RangeRequest),
  ),
  request_put: oneof(
    'request',
    sub(2, () => PutRequest),
  ),
  request_delete_range: oneof(
    'request',
    sub(3, () => DeleteRangeRequest),
  ),
  request_txn: oneof(
    'request',
    sub(4, (): MessageType<TxnRequest> => TxnRequest),
  ),
});

/** At most one member is set. */
export interface ResponseOp {
  response_range?: RangeResponse | undefined;
  response_put?: PutResponse | undefined;
  response_delete_range?: DeleteRangeResponse | undefined;
  response_txn?: TxnResponse | undefined;
}
export const ResponseOp: MessageType<ResponseOp> = message('etcdserverpb.ResponseOp', {
  response_range: oneof(
    'response',
    sub(1, () => RangeResponse),
  ),
  response_put: oneof(
    'response',
    sub(2, () => PutResponse),
  ),
  response_delete_range: oneof(
    'response',
    sub(3, () => DeleteRangeResponse),
  ),
  response_txn: oneof(
    'response',
    sub(4, (): MessageType<TxnResponse> => TxnResponse),
  ),
});

export const CompareResult = {
  name: 'etcdserverpb.Compare.CompareResult',
  values: { EQUAL: 0, GREATER: 1, LESS: 2, NOT_EQUAL: 3 },
} as const satisfies EnumType;
export const CompareTarget = {
  name: 'etcdserverpb.Compare.CompareTarget',
  values: { VERSION: 0, CREATE: 1, MOD: 2, VALUE: 3, LEASE: 4 },
} as const satisfies EnumType;

export const Compare = message('etcdserverpb.Compare', {
  result: enumeration(1, CompareResult),
  target: enumeration(2, CompareTarget),
  key: key(3),
  version: oneof('target_union', revision(4)),
  create_revision: oneof('target_union', revision(5)),
  mod_revision: oneof('target_union', revision(6)),
  value: oneof('target_union', bytes(7)),
  lease: oneof('target_union', int64(8)),
  range_end: key(64),
});
export type Compare = Decoded<typeof Compare>;

export interface TxnRequest {
  compare: Compare[];
  success: RequestOp[];
  failure: RequestOp[];
}
export const TxnRequest: MessageType<TxnRequest> = message('etcdserverpb.TxnRequest', {
  compare: repeated(sub(1, () => Compare)),
  success: repeated(sub(2, () => RequestOp)),
  failure: repeated(sub(3, () => RequestOp)),
});

export interface TxnResponse {
  header?: ResponseHeader | undefined;
  succeeded: boolean;
  responses: ResponseOp[];
}
export const TxnResponse: MessageType<TxnResponse> = message('etcdserverpb.TxnResponse', {
  header: sub(1, () => ResponseHeader),
  succeeded: bool(2),
  responses: repeated(sub(3, () => ResponseOp)),
});

export const CompactionRequest = message('etcdserverpb.CompactionRequest', {
  revision: revision(1),
  physical: bool(2),
});
export type CompactionRequest = Decoded<typeof CompactionRequest>;

export const CompactionResponse = message('etcdserverpb.CompactionResponse', { header: sub(1, () => ResponseHeader) });
export type CompactionResponse = Decoded<typeof CompactionResponse>;

// ---- etcdserverpb: Watch

export const FilterType = {
  name: 'etcdserverpb.WatchCreateRequest.FilterType',
  values: { NOPUT: 0, NODELETE: 1 },
} as const satisfies EnumType;

export const WatchCreateRequest = message('etcdserverpb.WatchCreateRequest', {
  key: key(1),
  range_end: key(2),
  start_revision: revision(3),
  progress_notify: bool(4),
  filters: repeated(enumeration(5, FilterType)),
  prev_kv: bool(6),
  watch_id: int64(7),
  fragment: bool(8),
});
export type WatchCreateRequest = Decoded<typeof WatchCreateRequest>;

export const WatchCancelRequest = message('etcdserverpb.WatchCancelRequest', { watch_id: int64(1) });
export type WatchCancelRequest = Decoded<typeof WatchCancelRequest>;

export const WatchProgressRequest = message('etcdserverpb.WatchProgressRequest', {});
export type WatchProgressRequest = Decoded<typeof WatchProgressRequest>;

export const WatchRequest = message('etcdserverpb.WatchRequest', {
  create_request: oneof(
    'request_union',
    sub(1, () => WatchCreateRequest),
  ),
  cancel_request: oneof(
    'request_union',
    sub(2, () => WatchCancelRequest),
  ),
  progress_request: oneof(
    'request_union',
    sub(3, () => WatchProgressRequest),
  ),
});
export type WatchRequest = Decoded<typeof WatchRequest>;

export const WatchResponse = message('etcdserverpb.WatchResponse', {
  header: sub(1, () => ResponseHeader),
  watch_id: int64(2),
  created: bool(3),
  canceled: bool(4),
  compact_revision: revision(5),
  cancel_reason: string(6),
  fragment: bool(7),
  events: repeated(sub(11, () => Event)),
});
export type WatchResponse = Decoded<typeof WatchResponse>;

// ---- etcdserverpb: Lease

export const LeaseGrantRequest = message('etcdserverpb.LeaseGrantRequest', { TTL: int64(1), ID: int64(2) });
export type LeaseGrantRequest = Decoded<typeof LeaseGrantRequest>;

export const LeaseGrantResponse = message('etcdserverpb.LeaseGrantResponse', {
  header: sub(1, () => ResponseHeader),
  ID: int64(2),
  TTL: revision(3),
  error: string(4),
});
export type LeaseGrantResponse = Decoded<typeof LeaseGrantResponse>;

export const LeaseRevokeRequest = message('etcdserverpb.LeaseRevokeRequest', { ID: int64(1) });
export type LeaseRevokeRequest = Decoded<typeof LeaseRevokeRequest>;

export const LeaseRevokeResponse = message('etcdserverpb.LeaseRevokeResponse', {
  header: sub(1, () => ResponseHeader),
});
export type LeaseRevokeResponse = Decoded<typeof LeaseRevokeResponse>;

export const LeaseKeepAliveRequest = message('etcdserverpb.LeaseKeepAliveRequest', { ID: int64(1) });
export type LeaseKeepAliveRequest = Decoded<typeof LeaseKeepAliveRequest>;

export const LeaseKeepAliveResponse = message('etcdserverpb.LeaseKeepAliveResponse', {
  header: sub(1, () => ResponseHeader),
  ID: int64(2),
  TTL: revision(3),
});
export type LeaseKeepAliveResponse = Decoded<typeof LeaseKeepAliveResponse>;

export const LeaseTimeToLiveRequest = message('etcdserverpb.LeaseTimeToLiveRequest', { ID: int64(1), keys: bool(2) });
export type LeaseTimeToLiveRequest = Decoded<typeof LeaseTimeToLiveRequest>;

export const LeaseTimeToLiveResponse = message('etcdserverpb.LeaseTimeToLiveResponse', {
  header: sub(1, () => ResponseHeader),
  ID: int64(2),
  TTL: revision(3),
  grantedTTL: revision(4),
  keys: repeated(key(5)),
});
export type LeaseTimeToLiveResponse = Decoded<typeof LeaseTimeToLiveResponse>;

export const LeaseLeasesRequest = message('etcdserverpb.LeaseLeasesRequest', {});
export type LeaseLeasesRequest = Decoded<typeof LeaseLeasesRequest>;

export const LeaseStatus = message('etcdserverpb.LeaseStatus', { ID: int64(1) });
export type LeaseStatus = Decoded<typeof LeaseStatus>;

export const LeaseLeasesResponse = message('etcdserverpb.LeaseLeasesResponse', {
  header: sub(1, () => ResponseHeader),
  leases: repeated(sub(2, () => LeaseStatus)),
});
export type LeaseLeasesResponse = Decoded<typeof LeaseLeasesResponse>;

// ---- etcdserverpb: Cluster and Maintenance (the rest of both follows with the RPCs that use it)

export const Member = message('etcdserverpb.Member', {
  ID: uint64(1),
  name: string(2),
  peerURLs: repeated(string(3)),
  clientURLs: repeated(string(4)),
  isLearner: bool(5),
});
export type Member = Decoded<typeof Member>;

export const MemberListRequest = message('etcdserverpb.MemberListRequest', { linearizable: bool(1) });
export type MemberListRequest = Decoded<typeof MemberListRequest>;

export const MemberListResponse = message('etcdserverpb.MemberListResponse', {
  header: sub(1, () => ResponseHeader),
  members: repeated(sub(2, () => Member)),
});
export type MemberListResponse = Decoded<typeof MemberListResponse>;

export const MemberAddRequest = message('etcdserverpb.MemberAddRequest', {
  peerURLs: repeated(string(1)),
  isLearner: bool(2),
});
export type MemberAddRequest = Decoded<typeof MemberAddRequest>;
export const MemberAddResponse = message('etcdserverpb.MemberAddResponse', {
  header: sub(1, () => ResponseHeader),
  member: sub(2, () => Member),
  members: repeated(sub(3, () => Member)),
});
export type MemberAddResponse = Decoded<typeof MemberAddResponse>;

export const MemberRemoveRequest = message('etcdserverpb.MemberRemoveRequest', { ID: uint64(1) });
export type MemberRemoveRequest = Decoded<typeof MemberRemoveRequest>;
export const MemberRemoveResponse = message('etcdserverpb.MemberRemoveResponse', {
  header: sub(1, () => ResponseHeader),
  members: repeated(sub(2, () => Member)),
});
export type MemberRemoveResponse = Decoded<typeof MemberRemoveResponse>;

export const MemberUpdateRequest = message('etcdserverpb.MemberUpdateRequest', {
  ID: uint64(1),
  peerURLs: repeated(string(2)),
});
export type MemberUpdateRequest = Decoded<typeof MemberUpdateRequest>;
export const MemberUpdateResponse = message('etcdserverpb.MemberUpdateResponse', {
  header: sub(1, () => ResponseHeader),
  members: repeated(sub(2, () => Member)),
});
export type MemberUpdateResponse = Decoded<typeof MemberUpdateResponse>;

export const MemberPromoteRequest = message('etcdserverpb.MemberPromoteRequest', { ID: uint64(1) });
export type MemberPromoteRequest = Decoded<typeof MemberPromoteRequest>;
export const MemberPromoteResponse = message('etcdserverpb.MemberPromoteResponse', {
  header: sub(1, () => ResponseHeader),
  members: repeated(sub(2, () => Member)),
});
export type MemberPromoteResponse = Decoded<typeof MemberPromoteResponse>;

export const StatusRequest = message('etcdserverpb.StatusRequest', {});
export type StatusRequest = Decoded<typeof StatusRequest>;

export const DowngradeInfo = message('etcdserverpb.DowngradeInfo', { enabled: bool(1), targetVersion: string(2) });
export type DowngradeInfo = Decoded<typeof DowngradeInfo>;

export const StatusResponse = message('etcdserverpb.StatusResponse', {
  header: sub(1, () => ResponseHeader),
  version: string(2),
  dbSize: revision(3),
  leader: uint64(4),
  raftIndex: counter(5),
  raftTerm: counter(6),
  raftAppliedIndex: counter(7),
  errors: repeated(string(8)),
  dbSizeInUse: revision(9),
  isLearner: bool(10),
  storageVersion: string(11),
  dbSizeQuota: revision(12),
  downgradeInfo: sub(13, () => DowngradeInfo),
});
export type StatusResponse = Decoded<typeof StatusResponse>;

export const MoveLeaderRequest = message('etcdserverpb.MoveLeaderRequest', { targetID: uint64(1) });
export type MoveLeaderRequest = Decoded<typeof MoveLeaderRequest>;
export const MoveLeaderResponse = message('etcdserverpb.MoveLeaderResponse', {
  header: sub(1, () => ResponseHeader),
});
export type MoveLeaderResponse = Decoded<typeof MoveLeaderResponse>;

export const DefragmentRequest = message('etcdserverpb.DefragmentRequest', {});
export type DefragmentRequest = Decoded<typeof DefragmentRequest>;
export const DefragmentResponse = message('etcdserverpb.DefragmentResponse', {
  header: sub(1, () => ResponseHeader),
});
export type DefragmentResponse = Decoded<typeof DefragmentResponse>;

export const SnapshotRequest = message('etcdserverpb.SnapshotRequest', {});
export type SnapshotRequest = Decoded<typeof SnapshotRequest>;
export const SnapshotResponse = message('etcdserverpb.SnapshotResponse', {
  header: sub(1, () => ResponseHeader),
  remaining_bytes: counter(2),
  blob: bytes(3),
  version: string(4),
});
export type SnapshotResponse = Decoded<typeof SnapshotResponse>;

export const DowngradeAction = {
  name: 'etcdserverpb.DowngradeRequest.DowngradeAction',
  values: { VALIDATE: 0, ENABLE: 1, CANCEL: 2 },
} as const satisfies EnumType;
export const DowngradeRequest = message('etcdserverpb.DowngradeRequest', {
  action: enumeration(1, DowngradeAction),
  version: string(2),
});
export type DowngradeRequest = Decoded<typeof DowngradeRequest>;
export const DowngradeResponse = message('etcdserverpb.DowngradeResponse', {
  header: sub(1, () => ResponseHeader),
  version: string(2),
});
export type DowngradeResponse = Decoded<typeof DowngradeResponse>;

export const HashRequest = message('etcdserverpb.HashRequest', {});
export type HashRequest = Decoded<typeof HashRequest>;
export const HashResponse = message('etcdserverpb.HashResponse', {
  header: sub(1, () => ResponseHeader),
  hash: uint32(2),
});
export type HashResponse = Decoded<typeof HashResponse>;

export const HashKVRequest = message('etcdserverpb.HashKVRequest', { revision: revision(1) });
export type HashKVRequest = Decoded<typeof HashKVRequest>;
export const HashKVResponse = message('etcdserverpb.HashKVResponse', {
  header: sub(1, () => ResponseHeader),
  hash: uint32(2),
  compact_revision: revision(3),
  hash_revision: revision(4),
});
export type HashKVResponse = Decoded<typeof HashKVResponse>;

// `etcdctl endpoint health` asks for the list of alarms after its read.
export const AlarmType = {
  name: 'etcdserverpb.AlarmType',
  values: { NONE: 0, NOSPACE: 1, CORRUPT: 2 },
} as const satisfies EnumType;
export const AlarmAction = {
  name: 'etcdserverpb.AlarmRequest.AlarmAction',
  values: { GET: 0, ACTIVATE: 1, DEACTIVATE: 2 },
} as const satisfies EnumType;

export const AlarmRequest = message('etcdserverpb.AlarmRequest', {
  action: enumeration(1, AlarmAction),
  memberID: uint64(2),
  alarm: enumeration(3, AlarmType),
});
export type AlarmRequest = Decoded<typeof AlarmRequest>;

export const AlarmMember = message('etcdserverpb.AlarmMember', {
  memberID: uint64(1),
  alarm: enumeration(2, AlarmType),
});
export type AlarmMember = Decoded<typeof AlarmMember>;

export const AlarmResponse = message('etcdserverpb.AlarmResponse', {
  header: sub(1, () => ResponseHeader),
  alarms: repeated(sub(2, () => AlarmMember)),
});
export type AlarmResponse = Decoded<typeof AlarmResponse>;

// ---- authpb and etcdserverpb: Auth

export const UserAddOptions = message('authpb.UserAddOptions', { no_password: bool(1) });
export type UserAddOptions = Decoded<typeof UserAddOptions>;

/** What the store keeps of a user. `password` is a bcrypt hash, empty for a user without one. */
export const User = message('authpb.User', {
  name: string(1),
  password: bytes(2),
  roles: repeated(string(3)),
  options: sub(4, () => UserAddOptions),
});
export type User = Decoded<typeof User>;

export const PermissionType = {
  name: 'authpb.Permission.Type',
  values: { READ: 0, WRITE: 1, READWRITE: 2 },
} as const satisfies EnumType;
export const Permission = message('authpb.Permission', {
  permType: enumeration(1, PermissionType),
  key: key(2),
  range_end: key(3),
});
export type Permission = Decoded<typeof Permission>;

export const Role = message('authpb.Role', { name: string(1), keyPermission: repeated(sub(2, () => Permission)) });
export type Role = Decoded<typeof Role>;

export const AuthEnableRequest = message('etcdserverpb.AuthEnableRequest', {});
export type AuthEnableRequest = Decoded<typeof AuthEnableRequest>;
export const AuthEnableResponse = message('etcdserverpb.AuthEnableResponse', { header: sub(1, () => ResponseHeader) });
export type AuthEnableResponse = Decoded<typeof AuthEnableResponse>;

export const AuthDisableRequest = message('etcdserverpb.AuthDisableRequest', {});
export type AuthDisableRequest = Decoded<typeof AuthDisableRequest>;
export const AuthDisableResponse = message('etcdserverpb.AuthDisableResponse', {
  header: sub(1, () => ResponseHeader),
});
export type AuthDisableResponse = Decoded<typeof AuthDisableResponse>;

export const AuthStatusRequest = message('etcdserverpb.AuthStatusRequest', {});
export type AuthStatusRequest = Decoded<typeof AuthStatusRequest>;
export const AuthStatusResponse = message('etcdserverpb.AuthStatusResponse', {
  header: sub(1, () => ResponseHeader),
  enabled: bool(2),
  authRevision: counter(3),
});
export type AuthStatusResponse = Decoded<typeof AuthStatusResponse>;

export const AuthenticateRequest = message('etcdserverpb.AuthenticateRequest', {
  name: string(1),
  password: string(2),
});
export type AuthenticateRequest = Decoded<typeof AuthenticateRequest>;
export const AuthenticateResponse = message('etcdserverpb.AuthenticateResponse', {
  header: sub(1, () => ResponseHeader),
  token: string(2),
});
export type AuthenticateResponse = Decoded<typeof AuthenticateResponse>;

export const AuthUserAddRequest = message('etcdserverpb.AuthUserAddRequest', {
  name: string(1),
  password: string(2),
  options: sub(3, () => UserAddOptions),
  hashedPassword: string(4),
});
export type AuthUserAddRequest = Decoded<typeof AuthUserAddRequest>;
export const AuthUserAddResponse = message('etcdserverpb.AuthUserAddResponse', {
  header: sub(1, () => ResponseHeader),
});
export type AuthUserAddResponse = Decoded<typeof AuthUserAddResponse>;

export const AuthUserGetRequest = message('etcdserverpb.AuthUserGetRequest', { name: string(1) });
export type AuthUserGetRequest = Decoded<typeof AuthUserGetRequest>;
export const AuthUserGetResponse = message('etcdserverpb.AuthUserGetResponse', {
  header: sub(1, () => ResponseHeader),
  roles: repeated(string(2)),
});
export type AuthUserGetResponse = Decoded<typeof AuthUserGetResponse>;

export const AuthUserListRequest = message('etcdserverpb.AuthUserListRequest', {});
export type AuthUserListRequest = Decoded<typeof AuthUserListRequest>;
export const AuthUserListResponse = message('etcdserverpb.AuthUserListResponse', {
  header: sub(1, () => ResponseHeader),
  users: repeated(string(2)),
});
export type AuthUserListResponse = Decoded<typeof AuthUserListResponse>;

export const AuthUserDeleteRequest = message('etcdserverpb.AuthUserDeleteRequest', { name: string(1) });
export type AuthUserDeleteRequest = Decoded<typeof AuthUserDeleteRequest>;
export const AuthUserDeleteResponse = message('etcdserverpb.AuthUserDeleteResponse', {
  header: sub(1, () => ResponseHeader),
});
export type AuthUserDeleteResponse = Decoded<typeof AuthUserDeleteResponse>;

export const AuthUserChangePasswordRequest = message('etcdserverpb.AuthUserChangePasswordRequest', {
  name: string(1),
  password: string(2),
  hashedPassword: string(3),
});
export type AuthUserChangePasswordRequest = Decoded<typeof AuthUserChangePasswordRequest>;
export const AuthUserChangePasswordResponse = message('etcdserverpb.AuthUserChangePasswordResponse', {
  header: sub(1, () => ResponseHeader),
});
export type AuthUserChangePasswordResponse = Decoded<typeof AuthUserChangePasswordResponse>;

export const AuthUserGrantRoleRequest = message('etcdserverpb.AuthUserGrantRoleRequest', {
  user: string(1),
  role: string(2),
});
export type AuthUserGrantRoleRequest = Decoded<typeof AuthUserGrantRoleRequest>;
export const AuthUserGrantRoleResponse = message('etcdserverpb.AuthUserGrantRoleResponse', {
  header: sub(1, () => ResponseHeader),
});
export type AuthUserGrantRoleResponse = Decoded<typeof AuthUserGrantRoleResponse>;

export const AuthUserRevokeRoleRequest = message('etcdserverpb.AuthUserRevokeRoleRequest', {
  name: string(1),
  role: string(2),
});
export type AuthUserRevokeRoleRequest = Decoded<typeof AuthUserRevokeRoleRequest>;
export const AuthUserRevokeRoleResponse = message('etcdserverpb.AuthUserRevokeRoleResponse', {
  header: sub(1, () => ResponseHeader),
});
export type AuthUserRevokeRoleResponse = Decoded<typeof AuthUserRevokeRoleResponse>;

export const AuthRoleAddRequest = message('etcdserverpb.AuthRoleAddRequest', { name: string(1) });
export type AuthRoleAddRequest = Decoded<typeof AuthRoleAddRequest>;
export const AuthRoleAddResponse = message('etcdserverpb.AuthRoleAddResponse', {
  header: sub(1, () => ResponseHeader),
});
export type AuthRoleAddResponse = Decoded<typeof AuthRoleAddResponse>;

export const AuthRoleGetRequest = message('etcdserverpb.AuthRoleGetRequest', { role: string(1) });
export type AuthRoleGetRequest = Decoded<typeof AuthRoleGetRequest>;
export const AuthRoleGetResponse = message('etcdserverpb.AuthRoleGetResponse', {
  header: sub(1, () => ResponseHeader),
  perm: repeated(sub(2, () => Permission)),
});
export type AuthRoleGetResponse = Decoded<typeof AuthRoleGetResponse>;

export const AuthRoleListRequest = message('etcdserverpb.AuthRoleListRequest', {});
export type AuthRoleListRequest = Decoded<typeof AuthRoleListRequest>;
export const AuthRoleListResponse = message('etcdserverpb.AuthRoleListResponse', {
  header: sub(1, () => ResponseHeader),
  roles: repeated(string(2)),
});
export type AuthRoleListResponse = Decoded<typeof AuthRoleListResponse>;

export const AuthRoleDeleteRequest = message('etcdserverpb.AuthRoleDeleteRequest', { role: string(1) });
export type AuthRoleDeleteRequest = Decoded<typeof AuthRoleDeleteRequest>;
export const AuthRoleDeleteResponse = message('etcdserverpb.AuthRoleDeleteResponse', {
  header: sub(1, () => ResponseHeader),
});
export type AuthRoleDeleteResponse = Decoded<typeof AuthRoleDeleteResponse>;

export const AuthRoleGrantPermissionRequest = message('etcdserverpb.AuthRoleGrantPermissionRequest', {
  name: string(1),
  perm: sub(2, () => Permission),
});
export type AuthRoleGrantPermissionRequest = Decoded<typeof AuthRoleGrantPermissionRequest>;
export const AuthRoleGrantPermissionResponse = message('etcdserverpb.AuthRoleGrantPermissionResponse', {
  header: sub(1, () => ResponseHeader),
});
export type AuthRoleGrantPermissionResponse = Decoded<typeof AuthRoleGrantPermissionResponse>;

export const AuthRoleRevokePermissionRequest = message('etcdserverpb.AuthRoleRevokePermissionRequest', {
  role: string(1),
  key: key(2),
  range_end: key(3),
});
export type AuthRoleRevokePermissionRequest = Decoded<typeof AuthRoleRevokePermissionRequest>;
export const AuthRoleRevokePermissionResponse = message('etcdserverpb.AuthRoleRevokePermissionResponse', {
  header: sub(1, () => ResponseHeader),
});
export type AuthRoleRevokePermissionResponse = Decoded<typeof AuthRoleRevokePermissionResponse>;
// ---- v3lockpb, v3electionpb

export const LockRequest = message('v3lockpb.LockRequest', { name: key(1), lease: int64(2) });
export type LockRequest = Decoded<typeof LockRequest>;
export const LockResponse = message('v3lockpb.LockResponse', { header: sub(1, () => ResponseHeader), key: key(2) });
export type LockResponse = Decoded<typeof LockResponse>;
export const UnlockRequest = message('v3lockpb.UnlockRequest', { key: key(1) });
export type UnlockRequest = Decoded<typeof UnlockRequest>;
export const UnlockResponse = message('v3lockpb.UnlockResponse', { header: sub(1, () => ResponseHeader) });
export type UnlockResponse = Decoded<typeof UnlockResponse>;

export const LeaderKey = message('v3electionpb.LeaderKey', {
  name: key(1),
  key: key(2),
  rev: revision(3),
  lease: int64(4),
});
export type LeaderKey = Decoded<typeof LeaderKey>;
export const CampaignRequest = message('v3electionpb.CampaignRequest', {
  name: key(1),
  lease: int64(2),
  value: bytes(3),
});
export type CampaignRequest = Decoded<typeof CampaignRequest>;
export const CampaignResponse = message('v3electionpb.CampaignResponse', {
  header: sub(1, () => ResponseHeader),
  leader: sub(2, () => LeaderKey),
});
export type CampaignResponse = Decoded<typeof CampaignResponse>;
export const LeaderRequest = message('v3electionpb.LeaderRequest', { name: key(1) });
export type LeaderRequest = Decoded<typeof LeaderRequest>;
export const LeaderResponse = message('v3electionpb.LeaderResponse', {
  header: sub(1, () => ResponseHeader),
  kv: sub(2, () => KeyValue),
});
export type LeaderResponse = Decoded<typeof LeaderResponse>;
export const ResignRequest = message('v3electionpb.ResignRequest', { leader: sub(1, () => LeaderKey) });
export type ResignRequest = Decoded<typeof ResignRequest>;
export const ResignResponse = message('v3electionpb.ResignResponse', { header: sub(1, () => ResponseHeader) });
export type ResignResponse = Decoded<typeof ResignResponse>;
export const ProclaimRequest = message('v3electionpb.ProclaimRequest', {
  leader: sub(1, () => LeaderKey),
  value: bytes(2),
});
export type ProclaimRequest = Decoded<typeof ProclaimRequest>;
export const ProclaimResponse = message('v3electionpb.ProclaimResponse', { header: sub(1, () => ResponseHeader) });
export type ProclaimResponse = Decoded<typeof ProclaimResponse>;

// ---- grpc.health.v1

export const ServingStatus = {
  name: 'grpc.health.v1.HealthCheckResponse.ServingStatus',
  values: { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 },
} as const satisfies EnumType;
export const HealthCheckRequest = message('grpc.health.v1.HealthCheckRequest', { service: string(1) });
export type HealthCheckRequest = Decoded<typeof HealthCheckRequest>;
export const HealthCheckResponse = message('grpc.health.v1.HealthCheckResponse', {
  status: enumeration(1, ServingStatus),
});
export type HealthCheckResponse = Decoded<typeof HealthCheckResponse>;
export const HealthListRequest = message('grpc.health.v1.HealthListRequest', {});
export type HealthListRequest = Decoded<typeof HealthListRequest>;
/** One entry of the map, as it is on the wire. */
export const HealthListEntry = message('grpc.health.v1.HealthListResponse.StatusesEntry', {
  key: string(1),
  value: sub(2, () => HealthCheckResponse),
});
export type HealthListEntry = Decoded<typeof HealthListEntry>;
export const HealthListResponse = message('grpc.health.v1.HealthListResponse', {
  statuses: repeated(sub(1, () => HealthListEntry)),
});
export type HealthListResponse = Decoded<typeof HealthListResponse>;
