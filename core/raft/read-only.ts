/**
 * ReadIndex (dissertation 6.4): linearizable reads without a log entry. A leader notes its commit index, learns from a
 * majority that it still led after that, and then lets the read go. Each request gets a round of its own and rounds are
 * never used twice in a term, so an answer to an old heartbeat can never confirm a newer read.
 */
import { assert } from '../util/assert.ts';
import type { ReadState } from './ready.ts';

interface PendingRead extends ReadState {
  round: number;
}

export class ReadOnly {
  /** Requests that came before this term's first commit: until then the leader does not know what is committed (6.4, step 1). */
  #early: bigint[] = [];
  #pending: PendingRead[] = [];
  #round = 0;

  /** A new term or role: whoever waits must ask again. */
  reset(): void {
    this.#early = [];
    this.#pending = [];
    this.#round = 0;
  }

  get count(): number {
    return this.#early.length + this.#pending.length;
  }

  /** The round that heartbeats carry while somebody waits, else 0. Every heartbeat repeats it, so a lost one does no harm. */
  get openRound(): number {
    return this.#pending.length === 0 ? 0 : this.#round;
  }

  addEarly(context: bigint): void {
    this.#early.push(context);
  }

  takeEarly(): bigint[] {
    const contexts = this.#early;
    if (contexts.length > 0) this.#early = [];
    return contexts;
  }

  /** Begins a round for a read at `index`. */
  add(context: bigint, index: number): void {
    assert(this.#pending.length === 0 || this.#pending.at(-1)!.index <= index, 'read-only: commit index went back');
    this.#pending.push({ context, index, round: ++this.#round });
  }

  /** A majority has answered round `round`, and with it every earlier one: the reads that may go. */
  confirmed(round: number): ReadState[] {
    let done = 0;
    while (done < this.#pending.length && this.#pending[done]!.round <= round) done++;
    return this.#pending.splice(0, done).map(({ context, index }) => ({ context, index }));
  }
}
