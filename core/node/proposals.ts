/**
 * The requests of this node that wait for their result: first for a place in the log, then for their entry to be
 * applied. Owns their order, bounds and deadlines. Every `done` is called exactly once; who is told "timed out" is told
 * nothing more. A request that is known to have been overwritten waits again. Knows nothing of disk or network.
 */
import { type RosterError, rosterError } from '../errors.ts';
import { assert } from '../util/assert.ts';
import type { InternalRequest, MemberChange } from '../wire/stored.ts';
import type { ApplyResult } from './machine.ts';
import type { NodeLimits } from './world.ts';

/** The deadline of a request that another member waits for: it keeps the time itself. */
export const NO_DEADLINE_TICK: number = Number.MAX_SAFE_INTEGER;

export type ProposalDone = (result: ApplyResult) => void;

export interface Proposal {
  readonly id: bigint;
  /** Kept so that the entry need not be decoded again when it is applied here; `undefined` for a change of the members. */
  readonly request: InternalRequest | undefined;
  readonly change: MemberChange | undefined;
  readonly data: Uint8Array;
  /** `undefined` once answered, and for requests that another member waits for. */
  done: ProposalDone | undefined;
  readonly deadlineTick: number;
  /** Only this node as leader of this term may order it, or nobody: who wants it decided so in this term. 0: anybody. */
  readonly boundTerm: number;
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
  /** Not yet in any log, oldest first. */
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

  /** Whether requests of `bytes` would break a limit. */
  isFull(bytes: number, count = 1): boolean {
    const { proposalsPendingMax, proposalBytesPendingMax } = this.#limits;
    return this.#count + count > proposalsPendingMax || this.#bytes + bytes > proposalBytesPendingMax;
  }

  /** Takes it into account, to be placed by whoever calls this. */
  admit(proposal: Proposal): void {
    this.#count++;
    this.#bytes += proposal.data.length;
  }

  add(proposal: Proposal): void {
    this.admit(proposal);
    this.#waiting.push(proposal);
  }

  /** Takes the next batch out of the queue, without those bound to another term; it must then find a place or be refused. */
  takeBatch(term: number, bytesMax: number): readonly Proposal[] {
    let taken = 0;
    let bytes = 0;
    let bound = false;
    while (taken < this.#waiting.length) {
      const proposal = this.#waiting[taken]!;
      bytes += proposal.data.length;
      if (bytes > bytesMax && taken > 0) break;
      bound ||= proposal.boundTerm > 0;
      taken++;
    }
    let batch = this.#waiting;
    if (taken === batch.length) this.#waiting = [];
    else batch = batch.splice(0, taken);
    return bound ? this.#withoutBoundElsewhere(batch, term) : batch;
  }

  #withoutBoundElsewhere(batch: readonly Proposal[], term: number): readonly Proposal[] {
    const isElsewhere = (proposal: Proposal) => proposal.boundTerm > 0 && proposal.boundTerm !== term;
    // Hardly ever any: only after a change of leaders.
    if (!batch.some(isElsewhere)) return batch;
    this.refuse(batch.filter(isElsewhere), rosterError('LeaderChanged'));
    return batch.filter((proposal) => !isElsewhere(proposal));
  }

  /** The batch found no room in the log: it waits on. */
  putBack(batch: readonly Proposal[]): void {
    this.#waiting = [...batch, ...this.#waiting];
  }

  /** The batch is in the log from `firstIndex` on, as entries of `term`. */
  appended(batch: readonly Proposal[], firstIndex: number, term: number): void {
    this.#batches.push({ firstIndex, term, proposals: batch, taken: 0, expired: 0 });
  }

  refuse(proposals: readonly Proposal[], error: RosterError): void {
    for (const proposal of proposals) {
      this.settled(proposal);
      answer(proposal, error);
    }
  }

  /** Refuses everything. */
  refuseAll(error: RosterError): void {
    for (const batch of this.#batches.splice(0)) this.refuse(batch.proposals.slice(batch.taken), error);
    const waiting = this.#waiting;
    this.#waiting = [];
    this.refuse(waiting, error);
  }

  /**
   * These have certainly not become entries that count, and never will: whoever still waits may be put into the log
   * again, but for what was decided in one term or about its members.
   */
  reopen(proposals: readonly Proposal[]): void {
    const again: Proposal[] = [];
    for (const proposal of proposals) {
      if (proposal.done !== undefined && proposal.boundTerm === 0 && proposal.change === undefined)
        again.push(proposal);
      else this.refuse([proposal], rosterError('LeaderChanged'));
    }
    this.#waiting = [...again, ...this.#waiting].sort((a, b) => a.deadlineTick - b.deadlineTick);
  }

  /**
   * Entry `index` of `term` is about to be applied: the proposal it came from, if it was put into the log here. Indexes
   * come in order, none left out.
   */
  take(index: number, term: number): Proposal | undefined {
    this.#reopenOverwritten(term);
    const batch = this.#batches[0];
    // An entry of an older term in the place of the batch's says that it was overwritten; its own term is not past yet.
    if (batch === undefined || index < batch.firstIndex || batch.term > term) return undefined;
    const offset = index - batch.firstIndex;
    assert(offset < batch.proposals.length, 'proposals: an entry was left out');
    const proposal = batch.proposals[offset]!;
    batch.taken = offset + 1;
    if (batch.taken === batch.proposals.length) this.#batches.shift();
    this.settled(proposal);
    return proposal;
  }

  /**
   * Terms never go down along a log: once an entry of `term` is applied, what waits there from an earlier term has been
   * overwritten by another leader and will never be.
   */
  #reopenOverwritten(term: number): void {
    if (this.#batches.length === 0 || this.#batches[0]!.term >= term) return;
    const overwritten: Proposal[] = [];
    for (let batch = this.#batches[0]; batch !== undefined && batch.term < term; batch = this.#batches[0]) {
      this.#batches.shift();
      overwritten.push(...batch.proposals.slice(batch.taken));
    }
    this.reopen(overwritten);
  }

  /** A snapshot ends with an entry of `term`: of what was put into the log until then, nobody can tell what became of it. */
  unknownUpTo(term: number): void {
    for (let batch = this.#batches[0]; batch !== undefined && batch.term <= term; batch = this.#batches[0]) {
      this.#batches.shift();
      this.refuse(batch.proposals.slice(batch.taken), rosterError('Timeout'));
    }
  }

  /** It waits no longer. */
  settled(proposal: Proposal): void {
    this.#count--;
    this.#bytes -= proposal.data.length;
  }

  /** Answers Timeout to everyone whose deadline has come. Within a batch the deadlines of those who wait are in order. */
  expire(tick: number): void {
    for (const batch of this.#batches) {
      while (batch.expired < batch.proposals.length) {
        const proposal = batch.proposals[batch.expired]!;
        if (proposal.done !== undefined && proposal.deadlineTick > tick) break;
        batch.expired++;
        answer(proposal, rosterError('Timeout'));
      }
    }
    const late = this.#waiting.filter((proposal) => proposal.deadlineTick <= tick);
    if (late.length === 0) return;
    this.#waiting = this.#waiting.filter((proposal) => proposal.deadlineTick > tick);
    this.refuse(late, rosterError('Timeout'));
  }
}
