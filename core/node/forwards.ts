/**
 * A follower's requests on their way through the leader: which batch has been sent in which term, what the leader said,
 * and which entry turns out to be whose. A batch is sent until the leader of its term has answered; a request that the
 * term's end has ruled out waits again (see Proposals.reopen). Never sends to a leader of another term.
 */
import { type RosterError, rosterError } from '../errors.ts';
import { errorOf } from './peer-error.ts';
import type { Forward, ForwardReply } from './peer-message.ts';
import { answer, type Proposal, type Proposals } from './proposals.ts';

/** Batches sent and not answered yet: beyond, requests accumulate into the next ones. */
export const FORWARDS_UNANSWERED_MAX = 16;
/** Bytes of requests in one batch (at least one request). */
export const FORWARD_BYTES_MAX = 1024 * 1024;
/** Ticks after which an unanswered batch is sent again: its message, or the answer, may be lost. */
const RESEND_TICKS = 3;

interface Batch {
  readonly id: bigint;
  readonly term: number;
  readonly proposals: readonly Proposal[];
  /** Not applied yet. */
  left: number;
  /** The leader has it: it is in its log, or soon will be. */
  accepted: boolean;
  sentTick: number;
}

export class Forwards {
  readonly #proposals: Proposals;
  readonly #run: bigint;
  /** In the order in which they were sent first. */
  readonly #batches = new Map<bigint, Batch>();
  readonly #byRequest = new Map<bigint, { batch: Batch; proposal: Proposal }>();
  #unanswered = 0;

  /** `run` was never used by this member before. */
  constructor(proposals: Proposals, run: bigint) {
    this.#proposals = proposals;
    this.#run = run;
  }

  get isFull(): boolean {
    return this.#unanswered >= FORWARDS_UNANSWERED_MAX;
  }

  /** Takes charge of `proposals` and returns what to send to the leader of `term`. `id` was never used before. */
  begin(proposals: readonly Proposal[], id: bigint, term: number, tick: number): Forward {
    const batch: Batch = { id, term, proposals, left: proposals.length, accepted: false, sentTick: tick };
    this.#batches.set(id, batch);
    this.#unanswered++;
    for (const proposal of proposals) this.#byRequest.set(proposal.id, { batch, proposal });
    return this.#message(batch);
  }

  #message(batch: Batch): Forward {
    const [first] = batch.proposals;
    const floor = this.#batches.keys().next().value ?? batch.id;
    const message: Forward = { term: batch.term, batch: batch.id, floor, requests: [], run: this.#run };
    if (first?.change !== undefined) message.member_change = first.change;
    else message.requests = batch.proposals.map((proposal) => proposal.data);
    return message;
  }

  /** Once a tick: what the leader of `term` has to be told again. */
  resend(term: number, tick: number): Forward[] {
    const messages: Forward[] = [];
    if (this.#unanswered === 0) return messages;
    for (const batch of this.#batches.values()) {
      if (batch.accepted || batch.term !== term || tick - batch.sentTick < RESEND_TICKS) continue;
      batch.sentTick = tick;
      messages.push(this.#message(batch));
    }
    return messages;
  }

  /** The leader's word on a batch. A refusal means that nothing has happened; hand-overs are waited for. */
  replied({ batch: id, term, error }: ForwardReply): void {
    const batch = this.#batches.get(id);
    if (batch === undefined || batch.term !== term || batch.accepted) return;
    if (error === undefined) {
      batch.accepted = true;
      this.#unanswered--;
      return;
    }
    const refusal = errorOf(error);
    const left = this.#end(batch);
    if (refusal.code === 'LeaderChanged') this.#proposals.reopen(left);
    else this.#proposals.refuse(left, refusal);
  }

  /** An entry with this request is about to be applied: the proposal, if it is one of this node's. */
  take(request: bigint): Proposal | undefined {
    const found = this.#byRequest.get(request);
    if (found === undefined) return undefined;
    this.#byRequest.delete(request);
    if (--found.batch.left === 0) this.#end(found.batch);
    this.#proposals.settled(found.proposal);
    return found.proposal;
  }

  get isEmpty(): boolean {
    return this.#batches.size === 0;
  }

  /** An entry of `term` is about to be applied: what was meant for an earlier leader will never be an entry now. */
  reopenOverwritten(term: number): void {
    if (this.#batches.size === 0) return;
    const overwritten: Proposal[] = [];
    for (const batch of this.#batches.values()) if (batch.term < term) overwritten.push(...this.#end(batch));
    if (overwritten.length > 0) this.#proposals.reopen(overwritten);
  }

  /** A snapshot ends with an entry of `term`: nobody can tell what became of requests sent until then. */
  unknownUpTo(term: number): void {
    for (const batch of this.#batches.values())
      if (batch.term <= term) this.#proposals.refuse(this.#end(batch), rosterError('Timeout'));
  }

  refuseAll(error: RosterError): void {
    for (const batch of this.#batches.values()) this.#proposals.refuse(this.#end(batch), error);
  }

  /** Answers Timeout to everyone whose deadline has come; what becomes of the request stays unknown. */
  expire(tick: number): void {
    for (const { proposals } of this.#batches.values()) {
      // Within a batch deadlines are in order.
      for (const proposal of proposals) {
        if (proposal.deadlineTick > tick) break;
        answer(proposal, rosterError('Timeout'));
      }
    }
  }

  /** Forgets the batch; returns what of it has not been applied. */
  #end(batch: Batch): Proposal[] {
    this.#batches.delete(batch.id);
    if (!batch.accepted) this.#unanswered--;
    return batch.proposals.filter((proposal) => this.#byRequest.delete(proposal.id));
  }
}
