/**
 * The requests of this node that wait for their result: first for a place in the log, then for their entry to be
 * applied. Owns their order, bounds and deadlines. Every `done` is called exactly once; who is told "timed out" is told
 * nothing more. Knows nothing of disk or network.
 */
import { type RosterError, rosterError } from '../errors.ts';
import { assert } from '../util/assert.ts';
import type { InternalRequest } from '../wire/messages.ts';
import type { ApplyResult } from './machine.ts';
import type { NodeLimits } from './world.ts';

export type ProposalDone = (result: ApplyResult) => void;

export interface Proposal {
  /** Kept so that the entry need not be decoded again when it is applied here. */
  readonly request: InternalRequest;
  readonly data: Uint8Array;
  /** `undefined` once answered. */
  done: ProposalDone | undefined;
  readonly deadlineTick: number;
}

/** Proposals that went into the log together: the one at `proposals[i]` is entry `firstIndex + i`. */
interface Batch {
  readonly firstIndex: number;
  readonly term: number;
  readonly proposals: readonly Proposal[];
  /** Those before this offset have been applied. */
  taken: number;
  /** Those before this offset have been answered for running out of time. */
  expired: number;
}

/** Gives the caller its result, unless it has one. */
export function answer(proposal: Proposal, result: ApplyResult): void {
  const { done } = proposal;
  proposal.done = undefined;
  done?.(result);
}

export class Proposals {
  readonly #limits: NodeLimits;
  /** Not yet in the log, oldest first. */
  #waiting: Proposal[] = [];
  /** In the log and not applied, in index order. */
  readonly #batches: Batch[] = [];
  #count = 0;
  #bytes = 0;

  constructor(limits: NodeLimits) {
    this.#limits = limits;
  }

  /** Requests without a result, those included whose caller has been told "timed out". */
  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Whether a request of `bytes` would break a limit. */
  isFull(bytes: number): boolean {
    return (
      this.#count >= this.#limits.proposalsPendingMax || this.#bytes + bytes > this.#limits.proposalBytesPendingMax
    );
  }

  add(proposal: Proposal): void {
    this.#waiting.push(proposal);
    this.#count++;
    this.#bytes += proposal.data.length;
  }

  /** Takes the next batch out of the queue; it must then be `appended` or `refuse`d. */
  takeBatch(): readonly Proposal[] {
    let taken = 0;
    let bytes = 0;
    while (taken < this.#waiting.length) {
      bytes += this.#waiting[taken]!.data.length;
      if (bytes > this.#limits.batchBytesMax && taken > 0) break;
      taken++;
    }
    if (taken === this.#waiting.length) {
      const all = this.#waiting;
      this.#waiting = [];
      return all;
    }
    return this.#waiting.splice(0, taken);
  }

  /** The batch is in the log from `firstIndex` on, as entries of `term`. */
  appended(batch: readonly Proposal[], firstIndex: number, term: number): void {
    this.#batches.push({ firstIndex, term, proposals: batch, taken: 0, expired: 0 });
  }

  refuse(proposals: readonly Proposal[], error: RosterError): void {
    for (const proposal of proposals) {
      this.#settled(proposal);
      answer(proposal, error);
    }
  }

  /** Refuses everything that has no place in the log yet. */
  refuseWaiting(error: RosterError): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.refuse(waiting, error);
  }

  /** Refuses everything. */
  refuseAll(error: RosterError): void {
    for (const batch of this.#batches.splice(0)) this.refuse(batch.proposals.slice(batch.taken), error);
    this.refuseWaiting(error);
  }

  /**
   * Entry `index` of `term` is about to be applied: the proposal it came from, if it is one of this node's. Indexes come
   * in order, none left out.
   */
  take(index: number, term: number): Proposal | undefined {
    this.#refuseOverwritten(term);
    const batch = this.#batches[0];
    if (batch === undefined || index < batch.firstIndex) return undefined;
    assert(batch.term === term, 'proposals: an entry of this node was overwritten by an older one');
    const offset = index - batch.firstIndex;
    assert(offset < batch.proposals.length, 'proposals: an entry was left out');
    const proposal = batch.proposals[offset]!;
    batch.taken = offset + 1;
    if (batch.taken === batch.proposals.length) this.#batches.shift();
    this.#settled(proposal);
    return proposal;
  }

  /**
   * Terms never go down along a log: once an entry of `term` is applied, what waits there from an earlier term has been
   * overwritten by another leader and will never be.
   */
  #refuseOverwritten(term: number): void {
    for (let batch = this.#batches[0]; batch !== undefined && batch.term < term; batch = this.#batches[0]) {
      this.#batches.shift();
      this.refuse(batch.proposals.slice(batch.taken), rosterError('LeaderChanged'));
    }
  }

  #settled(proposal: Proposal): void {
    this.#count--;
    this.#bytes -= proposal.data.length;
  }

  /** Answers Timeout to everyone whose deadline has come. Deadlines are in the order of the requests. */
  expire(tick: number): void {
    for (const batch of this.#batches) {
      while (batch.expired < batch.proposals.length) {
        const proposal = batch.proposals[batch.expired]!;
        if (proposal.deadlineTick > tick) return;
        batch.expired++;
        answer(proposal, rosterError('Timeout'));
      }
    }
    let late = 0;
    while (late < this.#waiting.length && this.#waiting[late]!.deadlineTick <= tick) late++;
    if (late > 0) this.refuse(this.#waiting.splice(0, late), rosterError('Timeout'));
  }
}
