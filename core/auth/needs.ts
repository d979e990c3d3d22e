/**
 * What every kind of request needs of whoever asks, while auth is on: the one place, asked where an entry is applied and,
 * for the same requests and for reads, where they are served. Deny by default: a kind that is not in the table does not
 * compile, a request without a requester is refused.
 */
import { rosterError } from '../errors.ts';
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import type {
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
  WatchCreateRequest,
} from '../wire/messages.ts';
import type { InternalRequest, V2Request } from '../wire/stored.ts';
import { V2Op } from '../wire/stored.ts';
import type { AuthStore, Refusal } from './auth-store.ts';
import type { Permit } from './permit.ts';

/** Which keys hang on a lease. */
export interface LeaseKeys {
  /** None, too, when there is no such lease. */
  keysOf(lease: bigint): Iterable<ByteString>;
}

const { UPDATE: V2_UPDATE, POST: V2_POST } = V2Op.values;

export function deniedUnless(permitted: boolean): Refusal {
  return permitted ? undefined : rosterError('PermissionDenied');
}

export function needsRoot(permit: Permit): Refusal {
  return deniedUnless(permit.isRoot);
}

/** Any user will do: that there is one has been found out before. */
export function needsUser(): Refusal {
  return undefined;
}

export function rangeNeeds(permit: Permit, { key, range_end }: Pick<RangeRequest, 'key' | 'range_end'>): Refusal {
  return deniedUnless(permit.mayRead(key, range_end));
}

/** As given: "everything from the key on" is that, and not the key alone (GHSA-xg4h-6gfc-h4m8). */
export function watchNeeds(permit: Permit, { key, range_end }: WatchCreateRequest): Refusal {
  return deniedUnless(permit.mayRead(key === '' ? '\0' : key, range_end));
}

/** Who hangs a key on a lease decides when the lease's other keys go: all of them must be the user's to write. */
export function putNeeds(permit: Permit, request: PutRequest, leases: LeaseKeys): Refusal {
  const { key, prev_kv, lease } = request;
  if (!permit.mayWrite(key, '')) return rosterError('PermissionDenied');
  if (prev_kv && !permit.mayRead(key, '')) return rosterError('PermissionDenied');
  return lease === 0n ? undefined : leaseWriteNeeds(permit, lease, leases);
}

export function deleteRangeNeeds(permit: Permit, { key, range_end, prev_kv }: DeleteRangeRequest): Refusal {
  if (!permit.mayWrite(key, range_end)) return rosterError('PermissionDenied');
  return deniedUnless(!prev_kv || permit.mayRead(key, range_end));
}

/** All compares and both branches, at any depth: which branch is taken tells something, too. */
export function txnNeeds(permit: Permit, { compare, success, failure }: TxnRequest, leases: LeaseKeys): Refusal {
  if (permit.isRoot) return undefined;
  for (const { key, range_end } of compare) {
    if (!permit.mayRead(key, range_end)) return rosterError('PermissionDenied');
  }
  return opsNeed(permit, success, leases) ?? opsNeed(permit, failure, leases);
}

function opsNeed(permit: Permit, ops: readonly RequestOp[], leases: LeaseKeys): Refusal {
  for (const op of ops) {
    const refusal = opNeeds(permit, op, leases);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function opNeeds(permit: Permit, op: RequestOp, leases: LeaseKeys): Refusal {
  if (op.request_range !== undefined) return rangeNeeds(permit, op.request_range);
  if (op.request_put !== undefined) return putNeeds(permit, op.request_put, leases);
  if (op.request_delete_range !== undefined) return deleteRangeNeeds(permit, op.request_delete_range);
  if (op.request_txn !== undefined) return txnNeeds(permit, op.request_txn, leases);
  return rosterError('PermissionDenied');
}

/** To end a lease or to keep it alive: to write all its keys. */
export function leaseWriteNeeds(permit: Permit, lease: bigint, leases: LeaseKeys): Refusal {
  if (permit.isRoot) return undefined;
  for (const key of leases.keysOf(lease)) if (!permit.mayWrite(key, '')) return rosterError('PermissionDenied');
  return undefined;
}

/** To be told of keys. */
export function keysReadNeeds(permit: Permit, keys: Iterable<ByteString>): Refusal {
  if (permit.isRoot) return undefined;
  for (const key of keys) if (!permit.mayRead(key, '')) return rosterError('PermissionDenied');
  return undefined;
}

/** What is asked of a v2 node: to be read, or watched. */
export interface V2Reads {
  readonly path: ByteString;
  /** With everything below it. */
  readonly subtree: boolean;
  /** False: it is known to be a directory, and was asked for as one, by a slash at its end. */
  readonly itself?: boolean;
}

/** All keys below `path` are those between `path/` and `path0`; the root is `/` alone. */
function subtreeOf(path: ByteString): readonly [ByteString, ByteString] {
  return path === '/' ? ['/', '0'] : [`${path}/`, `${path}0`];
}

export function v2ReadNeeds(permit: Permit, { path, subtree, itself = true }: V2Reads): Refusal {
  return deniedUnless((!itself || permit.mayRead(path, '')) && (!subtree || permit.mayRead(...subtreeOf(path))));
}

/**
 * What takes a directory with all that is in it - at once, or when its time is up - needs leave to write all of that. A
 * comparison tells something of the value, as it does in a transaction.
 */
export function v2WriteNeeds(permit: Permit, request: V2Request): Refusal {
  const { path, dir, recursive, has_ttl, prev_value, prev_index, op } = request;
  // The name is the store's to choose.
  if (op === V2_POST) return deniedUnless(permit.mayWrite(...subtreeOf(path)));
  const subtree = recursive || (has_ttl && (dir || op === V2_UPDATE));
  const wholly = permit.mayWrite(path, '') && (!subtree || permit.mayWrite(...subtreeOf(path)));
  const compares = prev_value.length > 0 || prev_index !== 0n;
  return deniedUnless(wholly && (!compares || permit.mayRead(path, '')));
}

// ---- entries of the log

/** What an entry may be about. */
export type EntryKind = Exclude<keyof InternalRequest, 'id' | 'requester'>;

/** Entries that no client's request leads to: a member says or decides something. */
const CLUSTER = 'cluster';

type EntryNeed<K extends EntryKind> =
  | typeof CLUSTER
  | ((permit: Permit, request: NonNullable<InternalRequest[K]>, leases: LeaseKeys) => Refusal);

const ENTRY_NEEDS: { readonly [K in EntryKind]-?: EntryNeed<K> } = {
  put: putNeeds,
  txn: txnNeeds,
  delete_range: deleteRangeNeeds,
  v2: v2WriteNeeds,
  lease_grant: needsUser,
  lease_revoke: (permit, { ID }, leases) => leaseWriteNeeds(permit, ID, leases),
  lease_checkpoint: CLUSTER,
  compaction: needsRoot,
  member_update: needsRoot,
  member_attributes: CLUSTER,
  cluster_version: CLUSTER,
  auth_enable: needsRoot,
  auth_disable: needsRoot,
  auth_user_add: needsRoot,
  auth_user_delete: needsRoot,
  auth_user_change_password: needsRoot,
  auth_user_grant_role: needsRoot,
  auth_user_revoke_role: needsRoot,
  auth_role_add: needsRoot,
  auth_role_delete: needsRoot,
  auth_role_grant_permission: needsRoot,
  auth_role_revoke_permission: needsRoot,
  // The member that adds it has checked the password.
  auth_login: CLUSTER,
  auth_tokens_renew: CLUSTER,
  auth_tokens_end: CLUSTER,
  // A member raises alarms and ends them by itself, too; what a client asks for is checked before (access-table.ts).
  alarm: CLUSTER,
  downgrade: CLUSTER,
};

const KINDS = Object.keys(ENTRY_NEEDS) as EntryKind[];

/** The request's kind: the one field that is set. */
export function entryKind(request: Omit<InternalRequest, 'id'>): EntryKind {
  const kind = KINDS.find((each) => request[each] !== undefined);
  assert(kind !== undefined, 'an entry holds a request this version knows');
  return kind;
}

/**
 * Whether an entry may do what it says; undefined: it may. In etcd's order: nobody asks (UserEmpty), by a state of auth
 * that has passed (AuthOldRevision), who asks may not (PermissionDenied).
 */
export function entryRefusal(auth: AuthStore, request: Omit<InternalRequest, 'id'>, leases: LeaseKeys): Refusal {
  if (!auth.enabled) return undefined;
  const { requester } = request;
  if (requester?.internal === true) return undefined;
  const kind = entryKind(request);
  const need = ENTRY_NEEDS[kind] as EntryNeed<EntryKind>;
  if (need === CLUSTER) return undefined;
  if (requester === undefined || requester.user === '') return rosterError('UserEmpty');
  if (requester.auth_revision < auth.revision) return rosterError('AuthOldRevision');
  const permit = auth.permit(requester.user);
  if (permit === undefined) return rosterError('PermissionDenied');
  return (need as (permit: Permit, request: object, leases: LeaseKeys) => Refusal)(permit, request[kind]!, leases);
}
