/**
 * What can be said against a request without looking at the state: done once, by the member that received it, before
 * it is replicated. The order of the checks is etcd's, because a request may be wrong in several ways.
 */
import { type RosterError, rosterError } from '../errors.ts';
import {
  type DeleteRangeRequest,
  type PutRequest,
  type RangeRequest,
  type RequestOp,
  SortOrder,
  SortTarget,
  type TxnRequest,
} from '../wire/messages.ts';
import { changesOverlap } from './overlap.ts';

/** etcd's default for --max-txn-ops. */
export const TXN_OPS_MAX = 128;
/** Transactions within transactions, whatever `maxTxnOps` allows: evaluation is recursive. */
export const TXN_DEPTH_MAX = 256;

const SORT_ORDER_MAX = Math.max(...Object.values(SortOrder.values));
const SORT_TARGET_MAX = Math.max(...Object.values(SortTarget.values));

export interface TxnLimits {
  /** Most compares, and most operations of a branch; a nested transaction gets what its parent leaves. */
  maxTxnOps: number;
}

export function checkRange(request: RangeRequest): RosterError | undefined {
  if (request.key === '') return rosterError('EmptyKey');
  const { sort_order: order, sort_target: target } = request;
  if (order < 0 || order > SORT_ORDER_MAX || target < 0 || target > SORT_TARGET_MAX) {
    return rosterError('InvalidSortOption');
  }
  return undefined;
}

export function checkPut(request: PutRequest): RosterError | undefined {
  if (request.key === '') return rosterError('EmptyKey');
  if (request.ignore_value && request.value.length > 0) return rosterError('ValueProvided');
  if (request.ignore_lease && request.lease !== 0n) return rosterError('LeaseProvided');
  return undefined;
}

export function checkDeleteRange(request: DeleteRangeRequest): RosterError | undefined {
  return request.key === '' ? rosterError('EmptyKey') : undefined;
}

/** Every operation on its own, the budget, then keys that a branch would change twice. O(n log n) in its operations. */
export function checkTxn(request: TxnRequest, limits: TxnLimits): RosterError | undefined {
  const refusal = checkTree(request, limits.maxTxnOps, 1);
  if (refusal !== undefined) return refusal;
  if (changesOverlap(request.success) || changesOverlap(request.failure)) return rosterError('DuplicateKey');
  return undefined;
}

function checkTree(request: TxnRequest, budget: number, depth: number): RosterError | undefined {
  const { compare, success, failure } = request;
  const used = Math.max(compare.length, success.length, failure.length);
  if (used > budget || depth > TXN_DEPTH_MAX) return rosterError('TooManyOps');
  for (const { key } of compare) if (key === '') return rosterError('EmptyKey');
  return checkOps(success, budget - used, depth) ?? checkOps(failure, budget - used, depth);
}

function checkOps(ops: readonly RequestOp[], budget: number, depth: number): RosterError | undefined {
  for (const op of ops) {
    const refusal = checkOp(op, budget, depth);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function checkOp(op: RequestOp, budget: number, depth: number): RosterError | undefined {
  if (op.request_range !== undefined) return checkRange(op.request_range);
  if (op.request_put !== undefined) return checkPut(op.request_put);
  if (op.request_delete_range !== undefined) return checkDeleteRange(op.request_delete_range);
  if (op.request_txn !== undefined) return checkTree(op.request_txn, budget, depth + 1);
  // etcd's answer to an operation that is none.
  return rosterError('KeyNotFound');
}
