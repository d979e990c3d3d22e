/**
 * The leader's memory of the batches that others have passed on to it in its term, so that none is taken twice however
 * often it arrives, and a repeated question gets the same answer. Orders nothing itself.
 */
import type { RosterError } from '../errors.ts';
import type { Forward } from './peer-message.ts';

/** Batches remembered per member; its own limit on unanswered ones is far lower. More: the member is not heard. */
export const FORWARDS_REMEMBERED_MAX = 10_000;

/** Lives of one member remembered in a term: a message of an earlier one does not come any more. */
export const FORWARD_RUNS_REMEMBERED_MAX = 16;

/** What became of a batch. */
export type Verdict = 'pending' | 'taken' | RosterError;

interface Sender {
  floor: bigint;
  readonly known: Map<bigint, Verdict>;
}

export class ForwardInbox {
  #term = 0;
  /** Member -> run -> what it has sent. A clock may have gone back between two runs, so their numbers say nothing. */
  readonly #senders = new Map<bigint, Map<bigint, Sender>>();

  /** What is known of `forward` in `term`, which this node leads: a verdict, nothing yet, or not to be answered at all. */
  look(from: bigint, forward: Forward, term: number): Verdict | 'new' | 'ignore' {
    if (forward.term !== term) return 'ignore';
    if (term !== this.#term) {
      this.#term = term;
      this.#senders.clear();
    }
    const sender = this.#sender(from, forward.run);
    if (forward.batch < sender.floor) return 'ignore';
    if (forward.floor > sender.floor) this.#raise(sender, forward.floor);
    const verdict = sender.known.get(forward.batch);
    if (verdict !== undefined) return verdict;
    return sender.known.size < FORWARDS_REMEMBERED_MAX ? 'new' : 'ignore';
  }

  /** Of a batch that `look` called new, in the same term. */
  remember(from: bigint, { term, run, batch }: Pick<Forward, 'term' | 'run' | 'batch'>, verdict: Verdict): void {
    if (term === this.#term) this.#senders.get(from)?.get(run)?.known.set(batch, verdict);
  }

  #sender(from: bigint, run: bigint): Sender {
    let runs = this.#senders.get(from);
    if (runs === undefined) {
      runs = new Map();
      this.#senders.set(from, runs);
    }
    let sender = runs.get(run);
    if (sender !== undefined) return sender;
    sender = { floor: 0n, known: new Map() };
    runs.set(run, sender);
    if (runs.size > FORWARD_RUNS_REMEMBERED_MAX) runs.delete(runs.keys().next().value!);
    return sender;
  }

  #raise(sender: Sender, floor: bigint): void {
    sender.floor = floor;
    for (const batch of sender.known.keys()) if (batch < floor) sender.known.delete(batch);
  }
}
