/**
 * `--namespace`: callers see the keys under a prefix as if there were no others (etcd: clientv3/namespace). Requests get the
 * prefix, answers lose it. Every key that passes is in here or does not pass.
 */
import { checkDeleteRange, checkPut, checkRange, checkTxn } from '../../core/apply/validate.ts';
import type { RosterError } from '../../core/errors.ts';
import { type ByteString, prefixEnd } from '../../core/util/bytes.ts';
import type * as m from '../../core/wire/messages.ts';

/** The end of a range that goes on to the last key. */
const OPEN_END = '\0';

export class Namespace {
  readonly #prefix: ByteString;
  readonly #end: ByteString;

  /** '' changes nothing. */
  constructor(prefix: ByteString) {
    this.#prefix = prefix;
    this.#end = prefix === '' ? OPEN_END : prefixEnd(prefix);
  }

  // ---- requests. With a prefix no key is empty any more: what the store would refuse is refused here.

  range(request: m.RangeRequest): m.RangeRequest | RosterError {
    return this.#checked(checkRange, request) ?? this.#within(request);
  }

  put(request: m.PutRequest): m.PutRequest | RosterError {
    return this.#checked(checkPut, request) ?? { ...request, key: this.#key(request.key) };
  }

  deleteRange(request: m.DeleteRangeRequest): m.DeleteRangeRequest | RosterError {
    return this.#checked(checkDeleteRange, request) ?? this.#within(request);
  }

  txn(request: m.TxnRequest): m.TxnRequest | RosterError {
    // How many operations there may be is for the store to say.
    const check = (txn: m.TxnRequest) => checkTxn(txn, { maxTxnOps: Number.POSITIVE_INFINITY });
    return this.#checked(check, request) ?? (this.#prefix === '' ? request : this.#txn(request));
  }

  watch(request: m.WatchCreateRequest): m.WatchCreateRequest {
    return this.#within(request);
  }

  // ---- answers

  rangeAnswer(response: m.RangeResponse): m.RangeResponse {
    for (const kv of response.kvs) this.#strip(kv);
    return response;
  }

  streamAnswer(response: m.RangeStreamResponse): m.RangeStreamResponse {
    if (response.range_response !== undefined) this.rangeAnswer(response.range_response);
    return response;
  }

  putAnswer(response: m.PutResponse): m.PutResponse {
    this.#strip(response.prev_kv);
    return response;
  }

  deleteAnswer(response: m.DeleteRangeResponse): m.DeleteRangeResponse {
    for (const kv of response.prev_kvs) this.#strip(kv);
    return response;
  }

  txnAnswer(response: m.TxnResponse): m.TxnResponse {
    for (const op of response.responses) {
      if (op.response_range !== undefined) this.rangeAnswer(op.response_range);
      if (op.response_put !== undefined) this.putAnswer(op.response_put);
      if (op.response_delete_range !== undefined) this.deleteAnswer(op.response_delete_range);
      if (op.response_txn !== undefined) this.txnAnswer(op.response_txn);
    }
    return response;
  }

  event(event: m.Event): void {
    this.#strip(event.kv);
    this.#strip(event.prev_kv);
  }

  /** Keys on a lease that are not in the namespace are none of the caller's business. */
  leaseAnswer(response: m.LeaseTimeToLiveResponse): m.LeaseTimeToLiveResponse {
    const own = response.keys.filter((key) => key.startsWith(this.#prefix));
    return { ...response, keys: own.map((key) => key.slice(this.#prefix.length)) };
  }

  // ---- inner

  #checked<Req>(check: (request: Req) => RosterError | undefined, request: Req): RosterError | undefined {
    return this.#prefix === '' ? undefined : check(request);
  }

  #key(key: ByteString): ByteString {
    return this.#prefix + key;
  }

  #within<Req extends { key: ByteString; range_end: ByteString }>(request: Req): Req {
    if (this.#prefix === '') return request;
    const { range_end: end } = request;
    const within = end === '' ? '' : end === OPEN_END ? this.#end : this.#key(end);
    return { ...request, key: this.#key(request.key), range_end: within };
  }

  #txn(request: m.TxnRequest): m.TxnRequest {
    const ops = (all: readonly m.RequestOp[]) => all.map((op) => this.#op(op));
    const { compare, success, failure } = request;
    return { compare: compare.map((one) => this.#within(one)), success: ops(success), failure: ops(failure) };
  }

  #op(op: m.RequestOp): m.RequestOp {
    const { request_range: range, request_put: put, request_delete_range: del, request_txn: txn } = op;
    if (range !== undefined) return { request_range: this.#within(range) };
    if (put !== undefined) return { request_put: { ...put, key: this.#key(put.key) } };
    if (del !== undefined) return { request_delete_range: this.#within(del) };
    return txn === undefined ? op : { request_txn: this.#txn(txn) };
  }

  #strip(kv: m.KeyValue | undefined): void {
    if (kv !== undefined) kv.key = kv.key.slice(this.#prefix.length);
  }
}
