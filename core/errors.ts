/**
 * The one table of operational errors: what went wrong, the gRPC status it travels as, and etcd's exact message, which
 * clients compare as text. Owns the class every such error has; renders none of them (grpc/ and http/ do).
 */

/** gRPC status codes (grpc/grpc doc/statuscodes.md). */
export const GrpcStatus = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;
export type GrpcStatus = (typeof GrpcStatus)[keyof typeof GrpcStatus];

const S = GrpcStatus;

/** Code -> status and message (etcd v3.7 api/v3/v3rpc/rpctypes/error.go). */
const TABLE = {
  EmptyKey: [S.INVALID_ARGUMENT, 'etcdserver: key is not provided'],
  KeyNotFound: [S.INVALID_ARGUMENT, 'etcdserver: key not found'],
  ValueProvided: [S.INVALID_ARGUMENT, 'etcdserver: value is provided'],
  LeaseProvided: [S.INVALID_ARGUMENT, 'etcdserver: lease is provided'],
  TooManyOps: [S.INVALID_ARGUMENT, 'etcdserver: too many operations in txn request'],
  DuplicateKey: [S.INVALID_ARGUMENT, 'etcdserver: duplicate key given in txn request'],
  InvalidClientAPIVersion: [S.INVALID_ARGUMENT, 'etcdserver: invalid client api version'],
  InvalidSortOption: [S.INVALID_ARGUMENT, 'etcdserver: invalid sort option'],
  Compacted: [S.OUT_OF_RANGE, 'etcdserver: mvcc: required revision has been compacted'],
  FutureRev: [S.OUT_OF_RANGE, 'etcdserver: mvcc: required revision is a future revision'],
  NoSpace: [S.RESOURCE_EXHAUSTED, 'etcdserver: mvcc: database space exceeded'],
  LeaseNotFound: [S.NOT_FOUND, 'etcdserver: requested lease not found'],
  LeaseExist: [S.FAILED_PRECONDITION, 'etcdserver: lease already exists'],
  LeaseTTLTooLarge: [S.OUT_OF_RANGE, 'etcdserver: too large lease TTL'],
  WatchCanceled: [S.CANCELLED, 'etcdserver: watch canceled'],
  MemberExist: [S.FAILED_PRECONDITION, 'etcdserver: member ID already exist'],
  PeerURLExist: [S.FAILED_PRECONDITION, 'etcdserver: Peer URLs already exists'],
  MemberNotEnoughStarted: [S.UNKNOWN, 'etcdserver: re-configuration failed due to not enough started members'],
  MemberBadURLs: [S.INVALID_ARGUMENT, 'etcdserver: given member URLs are invalid'],
  MemberNotFound: [S.NOT_FOUND, 'etcdserver: member not found'],
  MemberNotLearner: [S.FAILED_PRECONDITION, 'etcdserver: can only promote a learner member'],
  LearnerNotReady: [
    S.FAILED_PRECONDITION,
    'etcdserver: can only promote a learner member which is in sync with leader',
  ],
  TooManyLearners: [S.FAILED_PRECONDITION, 'etcdserver: too many learner members in cluster'],
  ClusterIDMismatch: [S.FAILED_PRECONDITION, 'etcdserver: cluster ID mismatch'],
  RequestTooLarge: [S.INVALID_ARGUMENT, 'etcdserver: request is too large'],
  RequestTooManyRequests: [S.UNKNOWN, 'etcdserver: too many requests'],
  RootUserNotExist: [S.FAILED_PRECONDITION, 'etcdserver: root user does not exist'],
  RootRoleNotExist: [S.FAILED_PRECONDITION, 'etcdserver: root user does not have root role'],
  UserAlreadyExist: [S.FAILED_PRECONDITION, 'etcdserver: user name already exists'],
  UserEmpty: [S.INVALID_ARGUMENT, 'etcdserver: user name is empty'],
  UserNotFound: [S.FAILED_PRECONDITION, 'etcdserver: user name not found'],
  RoleAlreadyExist: [S.FAILED_PRECONDITION, 'etcdserver: role name already exists'],
  RoleNotFound: [S.FAILED_PRECONDITION, 'etcdserver: role name not found'],
  RoleEmpty: [S.INVALID_ARGUMENT, 'etcdserver: role name is empty'],
  AuthFailed: [S.INVALID_ARGUMENT, 'etcdserver: authentication failed, invalid user ID or password'],
  PermissionNotGiven: [S.INVALID_ARGUMENT, 'etcdserver: permission not given'],
  PermissionDenied: [S.PERMISSION_DENIED, 'etcdserver: permission denied'],
  RoleNotGranted: [S.FAILED_PRECONDITION, 'etcdserver: role is not granted to the user'],
  PermissionNotGranted: [S.FAILED_PRECONDITION, 'etcdserver: permission is not granted to the role'],
  AuthNotEnabled: [S.FAILED_PRECONDITION, 'etcdserver: authentication is not enabled'],
  InvalidAuthToken: [S.UNAUTHENTICATED, 'etcdserver: invalid auth token'],
  InvalidAuthMgmt: [S.INVALID_ARGUMENT, 'etcdserver: invalid auth management'],
  AuthOldRevision: [S.INVALID_ARGUMENT, 'etcdserver: revision of auth store is old'],
  NoLeader: [S.UNAVAILABLE, 'etcdserver: no leader'],
  NotLeader: [S.FAILED_PRECONDITION, 'etcdserver: not leader'],
  LeaderChanged: [S.UNAVAILABLE, 'etcdserver: leader changed'],
  NotCapable: [S.FAILED_PRECONDITION, 'etcdserver: not capable'],
  Stopped: [S.UNAVAILABLE, 'etcdserver: server stopped'],
  Timeout: [S.UNAVAILABLE, 'etcdserver: request timed out'],
  TimeoutDueToLeaderFail: [S.UNAVAILABLE, 'etcdserver: request timed out, possibly due to previous leader failure'],
  TimeoutDueToConnectionLost: [S.UNAVAILABLE, 'etcdserver: request timed out, possibly due to connection lost'],
  TimeoutWaitAppliedIndex: [
    S.UNAVAILABLE,
    'etcdserver: request timed out, waiting for the applied index took too long',
  ],
  Unhealthy: [S.UNAVAILABLE, 'etcdserver: unhealthy cluster'],
  Corrupt: [S.DATA_LOSS, 'etcdserver: corrupt cluster'],
  NotSupportedForLearner: [S.FAILED_PRECONDITION, 'etcdserver: rpc not supported for learner'],
  BadLeaderTransferee: [S.FAILED_PRECONDITION, 'etcdserver: bad leader transferee'],
  WrongDowngradeVersionFormat: [S.INVALID_ARGUMENT, 'etcdserver: wrong downgrade target version format'],
  InvalidDowngradeTargetVersion: [S.INVALID_ARGUMENT, 'etcdserver: invalid downgrade target version'],
  ClusterVersionUnavailable: [S.FAILED_PRECONDITION, 'etcdserver: cluster version not found during downgrade'],
  DowngradeInProcess: [S.FAILED_PRECONDITION, 'etcdserver: cluster has a downgrade job in progress'],
  NoInflightDowngrade: [S.FAILED_PRECONDITION, 'etcdserver: no inflight downgrade job'],
  Canceled: [S.CANCELLED, 'etcdserver: request canceled'],
  DeadlineExceeded: [S.DEADLINE_EXCEEDED, 'etcdserver: context deadline exceeded'],
} as const satisfies Record<string, readonly [GrpcStatus, string]>;

export type ErrorCode = keyof typeof TABLE;

/**
 * An operational error: the caller's fault or the world's, never Roster's own. `code` is the table's key, or `Other` for
 * an error that etcd does not name; `status` is its gRPC status, `message` the text on the wire.
 */
export class RosterError extends Error {
  override name = 'RosterError';
  readonly code: ErrorCode | 'Other';
  readonly status: GrpcStatus;

  constructor(code: ErrorCode | 'Other', status: GrpcStatus, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.status = status;
  }
}

/** The error of the table under `code`, with etcd's message. */
export function rosterError(code: ErrorCode): RosterError {
  const [status, text] = TABLE[code];
  return new RosterError(code, status, text);
}

/** An error etcd has no name for, with its own status and message. */
export function otherError(status: GrpcStatus, text: string, options?: ErrorOptions): RosterError {
  return new RosterError('Other', status, text, options);
}

const codes: ReadonlyMap<string, ErrorCode> = new Map(
  (Object.keys(TABLE) as ErrorCode[]).map((code) => [TABLE[code][1], code]),
);

/** The error a server meant by `text`: the one of the table with that message, else one of `status` that etcd does not name. */
export function errorFromText(status: GrpcStatus, text: string, options?: ErrorOptions): RosterError {
  const code = codes.get(text);
  if (code === undefined) return otherError(status, text, options);
  return new RosterError(code, TABLE[code][0], text, options);
}
