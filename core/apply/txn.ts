/**
 * Transactions: the whole tree of branches is decided on the state before, then what was chosen is checked, then it is
 * run; a refusal comes before the first change. The same on every replica: nothing here depends on who runs it.
 */
import { RosterError, rosterError } from '../errors.ts';
import type { KvReader, KvStore, KvWriter } from '../mvcc/kv-store.ts';
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import type { PutRequest, RangeRequest, RequestOp, ResponseOp, TxnRequest, TxnResponse } from '../wire/messages.ts';
import { deleteRangeOp, putOp } from './changes.ts';
import { allHold } from './compare.ts';
import { headerAt } from './header.ts';
import { rangeResponse } from './range.ts';

/** Whether neither branch has anything but ranges: such a transaction is a read. An empty one is. */
export function isReadOnly(txn: TxnRequest): boolean {
  return txn.success.every(isRange) && txn.failure.every(isRange);
}

/** Whether every operation is a range that may be answered from the local state. */
export function isSerializable(txn: TxnRequest): boolean {
  return txn.success.every(isSerializableRange) && txn.failure.every(isSerializableRange);
}

function isRange(op: RequestOp): boolean {
  return op.request_range !== undefined;
}

function isSerializableRange(op: RequestOp): boolean {
  return op.request_range?.serializable === true;
}

type CheckedStore = Pick<KvStore, 'revision' | 'compactRevision' | 'range' | 'meta'>;

/** Answers a transaction that {@link isReadOnly}. */
export function readTxn(store: CheckedStore, txn: TxnRequest): TxnResponse | RosterError {
  assert(isReadOnly(txn), 'a transaction that may write goes through the log');
  const branch = choose(store, txn);
  const refusal = new Check(store, NO_LEASES).branch(branch);
  if (refusal !== undefined) return refusal;
  const responses = run(branch, { reader: store, writer: undefined, begin: store.revision });
  return { header: headerAt(store.revision), succeeded: branch.succeeded, responses };
}

/** Runs a transaction that may write, as one revision. `txn` has passed checkTxn. */
export function applyTxn(store: KvStore, leases: Leases, txn: TxnRequest): TxnResponse | RosterError {
  const branch = choose(store, txn);
  const refusal = new Check(store, leases).branch(branch);
  if (refusal !== undefined) return refusal;
  const begin = store.revision;
  const writer = store.write();
  const responses = run(branch, { reader: writer, writer, begin });
  return { header: headerAt(writer.end()), succeeded: branch.succeeded, responses };
}

// ---- deciding

/** The operations that will run, once the compares have been decided. */
interface Branch {
  succeeded: boolean;
  ops: readonly RequestOp[];
  /** The chosen branches of the nested transactions among `ops`, in order. */
  nested: readonly Branch[];
}

const NONE: readonly Branch[] = [];

function choose(reader: KvReader, txn: TxnRequest): Branch {
  const succeeded = allHold(reader, txn.compare);
  const ops = succeeded ? txn.success : txn.failure;
  let nested: Branch[] | undefined;
  for (const { request_txn: inner } of ops) {
    if (inner === undefined) continue;
    nested ??= [];
    nested.push(choose(reader, inner));
  }
  return { succeeded, ops, nested: nested ?? NONE };
}

// ---- checking

/** Who exists among the leases. */
export interface Leases {
  has(id: bigint): boolean;
}

const NO_LEASES: Leases = { has: () => false };

/** Checks the chosen operations in the order in which they will run. */
class Check {
  readonly #store: CheckedStore;
  readonly #leases: Leases;
  /** Keys from here on will have been deleted by then. */
  #deletedFrom: ByteString | undefined;

  constructor(store: CheckedStore, leases: Leases) {
    this.#store = store;
    this.#leases = leases;
  }

  branch(branch: Branch): RosterError | undefined {
    let nested = 0;
    for (const op of branch.ops) {
      let refusal: RosterError | undefined;
      if (op.request_range !== undefined) refusal = this.#range(op.request_range);
      else if (op.request_put !== undefined) refusal = this.#put(op.request_put);
      else if (op.request_txn !== undefined) refusal = this.branch(branch.nested[nested++]!);
      else if (op.request_delete_range?.range_end === '\0') this.#noteDeleted(op.request_delete_range.key);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  #range({ revision }: RangeRequest): RosterError | undefined {
    if (revision > this.#store.revision) return rosterError('FutureRev');
    // Before the first compaction, at -1, that revision itself still passes as "the latest".
    if (revision !== 0 && revision < this.#store.compactRevision) return rosterError('Compacted');
    return undefined;
  }

  #put({ key, lease, ignore_value, ignore_lease }: PutRequest): RosterError | undefined {
    if (ignore_value || ignore_lease) {
      // Deletes with an end never reach a key that is put as well (overlap.ts); an open-ended one may, where etcd
      // stops with a panic in the middle of the transaction.
      const deleted = this.#deletedFrom !== undefined && key >= this.#deletedFrom;
      if (deleted || this.#store.meta(key) === undefined) return rosterError('KeyNotFound');
    }
    if (lease !== 0n && !this.#leases.has(lease)) return rosterError('LeaseNotFound');
    return undefined;
  }

  #noteDeleted(from: ByteString): void {
    if (this.#deletedFrom === undefined || from < this.#deletedFrom) this.#deletedFrom = from;
  }
}

// ---- running

interface Run {
  reader: KvReader;
  /** Absent when nothing may be written. */
  writer: KvWriter | undefined;
  /** The store's revision before. */
  begin: number;
}

function run(branch: Branch, context: Run): ResponseOp[] {
  let nested = 0;
  return branch.ops.map((op) => {
    if (op.request_txn !== undefined) return { response_txn: runNested(branch.nested[nested++]!, context) };
    return runOp(op, context);
  });
}

/** The header of a nested transaction is there and empty: etcd never fills it. */
function runNested(branch: Branch, context: Run): TxnResponse {
  return { header: headerAt(0), succeeded: branch.succeeded, responses: run(branch, context) };
}

function runOp(op: RequestOp, { reader, writer, begin }: Run): ResponseOp {
  if (op.request_range !== undefined) return { response_range: certain(rangeResponse(reader, op.request_range)) };
  assert(writer !== undefined, 'a read does not write');
  if (op.request_put !== undefined) return { response_put: certain(putOp(writer, op.request_put)) };
  assert(op.request_delete_range !== undefined, 'an operation is one of four');
  return { response_delete_range: deleteRangeOp(writer, op.request_delete_range, begin) };
}

/** What was checked beforehand cannot be refused now: half a transaction must never be. */
function certain<T extends object>(result: T | RosterError): T {
  assert(!(result instanceof RosterError), 'an operation of a checked transaction failed');
  return result;
}
