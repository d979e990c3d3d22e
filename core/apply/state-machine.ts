/**
 * The replicated state machine: entries of the log in, results out, the same on every replica. Owns the store, the
 * leases and the watches of a node, and the record of how far the log has been applied, which becomes durable in the
 * same commit as its effects. Never looks at a clock to decide what an entry does.
 */
import { GrpcStatus, otherError, RosterError, rosterError } from '../errors.ts';
import type { Lessor } from '../lease/lessor.ts';
import type { Backend } from '../mvcc/backend.ts';
import type { MvccStore } from '../mvcc/store.ts';
import type { ApplyResult, Machine } from '../node/machine.ts';
import { assert } from '../util/assert.ts';
import type { WatchHub } from '../watch/watch-hub.ts';
import type {
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  InternalRequest,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from '../wire/messages.ts';
import { type Applied, readApplied, writeApplied } from './applied.ts';
import { deleteRangeOp, putOp } from './changes.ts';
import { headerAt } from './header.ts';
import { rangeResponse } from './range.ts';
import { applyTxn, readTxn } from './txn.ts';

/** Old revisions removed per slice of compaction: well under a millisecond, so that traffic hardly notices. */
export const COMPACTION_SLICE_REVISIONS = 200;

export interface StateMachineOptions {
  backend: Backend;
  store: MvccStore;
  lessor: Lessor;
  hub: WatchHub;
  /** What every lease gets on top of its TTL when this node begins to lead: an election timeout. */
  leaseExtensionMs: number;
}

export class StateMachine implements Machine {
  readonly backend: Backend;
  readonly store: MvccStore;
  readonly lessor: Lessor;
  readonly hub: WatchHub;
  /** Called when {@link work} has something to do again after it had nothing. */
  onWork: (() => void) | undefined;
  readonly #leaseExtensionMs: number;
  #applied: Applied = { index: 0, term: 0 };
  /** The index that the last call of commit recorded. */
  #recordedIndex = 0;
  #compacting = false;
  #compactionTurn = false;
  #whenCompacted: ((error?: Error) => void)[] = [];

  /** See createStateMachine. On a backend that is not empty, {@link restore} must be run to its end first. */
  constructor(options: StateMachineOptions) {
    this.backend = options.backend;
    this.store = options.store;
    this.lessor = options.lessor;
    this.hub = options.hub;
    this.#leaseExtensionMs = options.leaseExtensionMs;
  }

  /**
   * Reads the state from the backend, some milliseconds' worth per step; yields how many rows it has read of what it
   * is reading. Throws a RosterError when what is there contradicts itself.
   */
  *restore(): Generator<number, void> {
    assert(this.#applied.index === 0, 'a state is restored once, before anything is applied');
    // Keys are attached to leases that must exist by then.
    yield* this.lessor.restore();
    yield* this.store.restore();
    this.#applied = readApplied(this.backend);
    this.#recordedIndex = this.#applied.index;
    if (this.#applied.index === 0 && this.store.revision > 1) {
      throw otherError(GrpcStatus.DATA_LOSS, 'the store is damaged: it holds revisions, but not up to which entry');
    }
    // An interrupted compaction goes on; a finished one costs one look.
    this.#compacting = true;
  }

  get appliedIndex(): number {
    return this.#applied.index;
  }

  /** Term of the last applied entry. */
  get appliedTerm(): number {
    return this.#applied.term;
  }

  // ---- Machine

  apply(index: number, term: number, request: InternalRequest | undefined): ApplyResult | undefined {
    assert(index === this.#applied.index + 1, 'entries are applied once each, in order');
    assert(term >= this.#applied.term, 'terms never go back');
    const result = request === undefined ? undefined : this.#dispatch(request);
    this.#applied.index = index;
    this.#applied.term = term;
    return result;
  }

  setLeader(leading: boolean): void {
    this.lessor.setPrimary(leading, this.#leaseExtensionMs);
  }

  get pendingWrites(): number {
    return this.backend.pendingWrites + (this.#applied.index === this.#recordedIndex ? 0 : 1);
  }

  commit(done: (error?: Error) => void): void {
    if (this.#applied.index !== this.#recordedIndex) {
      writeApplied(this.backend, this.#applied);
      this.#recordedIndex = this.#applied.index;
    }
    this.backend.commit(done);
  }

  expiredLeases(limit: number): bigint[] {
    return this.lessor.expired(limit);
  }

  work(): boolean {
    // By turns, so that neither a long compaction nor a long catch-up holds up the other.
    this.#compactionTurn = !this.#compactionTurn;
    if (this.#compacting && (this.#compactionTurn || !this.hub.waiting)) this.#compactSlice();
    else this.hub.work();
    return this.#compacting || this.hub.waiting;
  }

  // ---- reads, for the RPCs

  /** `request` has passed checkRange. */
  range(request: RangeRequest): RangeResponse | RosterError {
    return rangeResponse(this.store, request);
  }

  /** `request` has passed checkTxn and isReadOnly. */
  readTxn(request: TxnRequest): TxnResponse | RosterError {
    return readTxn(this.store, request);
  }

  /** Calls `done` when everything that a compaction at `revision`, already applied, frees is gone from the disk. */
  whenCompacted(revision: number, done: (error?: Error) => void): void {
    assert(revision <= this.store.compactRevision, 'the compaction has been applied');
    if (this.#compacting) this.#whenCompacted.push(done);
    else this.commit(done);
  }

  // ---- inner

  #dispatch(request: InternalRequest): ApplyResult {
    if (request.put !== undefined) return this.#put(request.put);
    if (request.txn !== undefined) return applyTxn(this.store, this.lessor, request.txn);
    if (request.delete_range !== undefined) return this.#deleteRange(request.delete_range);
    if (request.lease_grant !== undefined) return this.#leaseGrant(request.lease_grant);
    if (request.lease_revoke !== undefined) return this.#leaseRevoke(request.lease_revoke);
    assert(request.compaction !== undefined, 'an entry holds a request this version knows');
    return this.#compact(request.compaction);
  }

  #put(request: PutRequest): PutResponse | RosterError {
    if (request.lease !== 0n && !this.lessor.has(request.lease)) return rosterError('LeaseNotFound');
    const writer = this.store.write();
    const result = putOp(writer, request);
    writer.end();
    return result;
  }

  #deleteRange(request: DeleteRangeRequest): DeleteRangeResponse {
    const begin = this.store.revision;
    const writer = this.store.write();
    const result = deleteRangeOp(writer, request, begin);
    writer.end();
    return result;
  }

  #compact({ revision }: CompactionRequest): CompactionResponse | RosterError {
    const refusal = this.store.compact(revision);
    if (refusal !== undefined) return rosterError(refusal);
    const idle = !this.#compacting && !this.hub.waiting;
    this.#compacting = true;
    if (idle) this.onWork?.();
    return { header: headerAt(this.store.revision) };
  }

  #leaseGrant(request: LeaseGrantRequest): LeaseGrantResponse | RosterError {
    const granted = this.lessor.grant(request.ID, request.TTL);
    if (granted instanceof RosterError) return granted;
    return { header: headerAt(this.store.revision), ID: granted.id, TTL: granted.ttlSeconds, error: '' };
  }

  /** The keys go in byte order and in one revision; a lease without keys makes none. */
  #leaseRevoke(request: LeaseRevokeRequest): LeaseRevokeResponse | RosterError {
    const keys = this.lessor.revoke(request.ID);
    if (keys instanceof RosterError) return keys;
    if (keys.length > 0) {
      const writer = this.store.write();
      for (const key of keys) writer.deleteRange(key, '');
      writer.end();
    }
    return { header: headerAt(this.store.revision) };
  }

  #compactSlice(): void {
    if (!this.store.compactSlice(COMPACTION_SLICE_REVISIONS)) return;
    this.#compacting = false;
    const waiting = this.#whenCompacted;
    if (waiting.length === 0) return;
    this.#whenCompacted = [];
    this.commit((error) => {
      for (const done of waiting) done(error);
    });
  }
}
