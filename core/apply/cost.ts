/** What a request may add to the store, as etcd estimates it for its quota (etcdserver/storage/quota.go). In bytes. */

import type { PutRequest, RequestOp, TxnRequest } from '../wire/messages.ts';
import { type InternalRequest, V2Op, type V2Request } from '../wire/stored.ts';

/** Around key and value of a put. */
const PUT_OVERHEAD_BYTES = 256;
/** Of a lease, whatever hangs on it. */
export const LEASE_BYTES = 64;

export type CostlyRequest = Pick<InternalRequest, 'put' | 'txn' | 'lease_grant' | 'v2'>;

/** 0 for whatever adds nothing: such requests are the way out of a store that is full. */
export function requestCost({ put, txn, lease_grant, v2 }: CostlyRequest): number {
  if (put !== undefined) return putCost(put);
  if (txn !== undefined) return txnCost(txn);
  if (v2 !== undefined) return v2Cost(v2);
  return lease_grant === undefined ? 0 : LEASE_BYTES;
}

function putCost({ key, value }: PutRequest): number {
  return PUT_OVERHEAD_BYTES + key.length + value.length;
}

/** A record may come with the pair, and a lease. */
function v2Cost({ op, path, value, has_ttl }: V2Request): number {
  if (op === V2Op.values.DELETE || op === V2Op.values.COMPARE_AND_DELETE) return 0;
  return PUT_OVERHEAD_BYTES + path.length + value.length + (has_ttl ? LEASE_BYTES : 0);
}

/** Of the branch that costs more, transactions within it included. */
function txnCost({ success, failure }: TxnRequest): number {
  return Math.max(branchCost(success), branchCost(failure));
}

function branchCost(ops: readonly RequestOp[]): number {
  let cost = 0;
  for (const { request_put: put, request_txn: txn } of ops) {
    if (put !== undefined) cost += putCost(put);
    else if (txn !== undefined) cost += txnCost(txn);
  }
  return cost;
}
