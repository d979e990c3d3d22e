/**
 * The operations of the differential test, as plain data that fast-check can shrink and print. Revisions and lease ids
 * are named, not given: what they stand for is known only when an operation is sent, and ids that a server chose are
 * not the same on both.
 */
import type * as m from '../../core/wire/messages.ts';

/** A revision as a distance from one that is known when the operation is sent. */
export interface RevisionRef {
  revisionOf: 'zero' | 'start' | 'compacted' | 'current';
  plus: number;
}

/** The id of the lease in this slot, if it was ever granted; else an id that nobody has. */
export interface LeaseRef {
  leaseIn: number;
}

/** That many bytes, all the same: large values would make a sequence unreadable. */
export interface Fill {
  fill: number;
}

/** A request in which some values are named. Fields left out have their default. */
export type Symbolic<T> = T extends number
  ? number | RevisionRef
  : T extends bigint
    ? bigint | LeaseRef
    : T extends Uint8Array
      ? Uint8Array | Fill
      : T extends string | boolean | undefined
        ? T
        : T extends (infer E)[]
          ? Symbolic<E>[]
          : { [K in keyof T]?: Symbolic<T[K]> };

export type UnaryOperation =
  | { op: 'range'; request: Symbolic<m.RangeRequest> }
  | { op: 'put'; request: Symbolic<m.PutRequest> }
  | { op: 'deleteRange'; request: Symbolic<m.DeleteRangeRequest> }
  | { op: 'txn'; request: Symbolic<m.TxnRequest> }
  | { op: 'compact'; request: Symbolic<m.CompactionRequest> }
  /** The id is the slot's: see LEASE_IDS. */
  | { op: 'leaseGrant'; slot: number; ttlSeconds: bigint }
  | { op: 'leaseRevoke'; request: Symbolic<m.LeaseRevokeRequest> }
  | { op: 'leaseTimeToLive'; request: Symbolic<m.LeaseTimeToLiveRequest> }
  | { op: 'leaseLeases' }
  | AuthOperation;

/** Users and roles. Passwords are the user's name, but for those that are meant to be wrong. */
export type AuthOperation =
  | { op: 'authEnable'; request: object }
  | { op: 'authDisable'; request: object }
  /** The token is the user's from then on. */
  | { op: 'authenticate'; request: Partial<m.AuthenticateRequest> }
  | { op: 'userAdd'; request: Partial<m.AuthUserAddRequest> }
  | { op: 'userGet'; request: Partial<m.AuthUserGetRequest> }
  | { op: 'userList'; request: object }
  | { op: 'userDelete'; request: Partial<m.AuthUserDeleteRequest> }
  | { op: 'userChangePassword'; request: Partial<m.AuthUserChangePasswordRequest> }
  | { op: 'userGrantRole'; request: Partial<m.AuthUserGrantRoleRequest> }
  | { op: 'userRevokeRole'; request: Partial<m.AuthUserRevokeRoleRequest> }
  | { op: 'roleAdd'; request: Partial<m.AuthRoleAddRequest> }
  | { op: 'roleGet'; request: Partial<m.AuthRoleGetRequest> }
  | { op: 'roleList'; request: object }
  | { op: 'roleDelete'; request: Partial<m.AuthRoleDeleteRequest> }
  | { op: 'roleGrantPermission'; request: Partial<m.AuthRoleGrantPermissionRequest> }
  | { op: 'roleRevokePermission'; request: Partial<m.AuthRoleRevokePermissionRequest> };

export type StreamOperation =
  | { op: 'leaseKeepAlive'; request: Symbolic<m.LeaseKeepAliveRequest> }
  | { op: 'watch'; stream: number; request: Symbolic<m.WatchCreateRequest> }
  /** `nth`: of the watches that live on the stream, modulo their number; an unknown id when there is none. */
  | { op: 'cancelWatch'; stream: number; nth: number }
  | { op: 'cancelUnknown'; stream: number; id: bigint }
  | { op: 'progress'; stream: number }
  /** A message that asks for nothing. */
  | { op: 'watchNothing'; stream: number }
  /** A lease as short as there is, with these keys on it, runs out. */
  | { op: 'leaseExpire'; keys: readonly string[] }
  /** The client has said all it wants; a new stream takes the slot. */
  | { op: 'halfClose'; stream: number }
  | { op: 'closeStream'; stream: number };

/**
 * Who asks: a user by the token it got last or by the one before that, or whoever presents `raw` as a token. Operations
 * without a caller are the administrator's, who may do everything: root while auth is on.
 */
export type Caller = { user: string; token: 'last' | 'before' } | { raw: string } | 'nobody';

export type Operation = (UnaryOperation | StreamOperation) & { by?: Caller };

/** Ids of the lease slots; 0: the server chooses. They compare with a chosen one (63 bits) in the same way everywhere. */
export const LEASE_IDS: readonly bigint[] = [1n, 2n, -7n, 2n ** 63n - 1n, 0n, 0n];
/** What a slot that was never granted stands for. */
export const NO_LEASE = 424_242n;

/** The lease of `leaseExpire`. */
export const SHORT_LEASE_ID = 777n;

export const WATCH_STREAMS = 3;
/** Both servers run with this --max-txn-ops, so that short transactions reach it. */
export const TXN_OPS_MAX = 8;
