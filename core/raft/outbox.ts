/**
 * The order between disk and network: numbers the writes, knows which hard state is durable, and holds back each
 * message until what it promises is on this node's disk (paper, figure 2: "updated on stable storage before responding
 * to RPCs"). Never looks at the log.
 */
import { assert } from '../util/assert.ts';
import type { HardState } from '../wire/stored.ts';
import { type Message, MessageType } from './messages.ts';
import { NO_LIFE } from './refill.ts';

interface Write {
  sequence: number;
  hardState: HardState | undefined;
  /** Leave when the write is durable. */
  messages: Message[];
}

/**
 * A leader's own term is durable before it leads, so what it says as leader may overtake its own writes (dissertation
 * 10.2.1: the leader writes to its disk in parallel). Everything else waits, vote requests too: they quote the end of a
 * log that a crash may still shorten.
 */
function mayLeaveAtOnce(message: Message): boolean {
  switch (message.type) {
    case MessageType.values.APPEND:
    case MessageType.values.HEARTBEAT:
    case MessageType.values.SNAPSHOT:
    case MessageType.values.TIMEOUT_NOW:
      return true;
    default:
      return false;
  }
}

export class Outbox {
  readonly #id: bigint;
  #now: Message[] = [];
  /** Said since the last write was numbered: wait for the next one. */
  #next: Message[] = [];
  #writes: Write[] = [];
  #sequence = 0;
  #persisted = 0;
  #accepted: HardState;
  #durable: HardState;

  constructor(id: bigint, hardState: HardState) {
    this.#id = id;
    this.#accepted = this.#durable = hardState;
  }

  send(message: Message): void {
    message.from = this.#id;
    assert(message.to !== this.#id, 'raft: a message to itself');
    (mayLeaveAtOnce(message) ? this.#now : this.#next).push(message);
  }

  /** The hard state of the last durable write. */
  get durable(): HardState {
    return this.#durable;
  }

  /** The hard state of the last write handed out. */
  get accepted(): HardState {
    return this.#accepted;
  }

  get hasMessages(): boolean {
    return this.#now.length > 0 || this.#next.length > 0;
  }

  /**
   * Whether the hard state is worth a write: a new term or vote, the end of a refill. A commit index is not: it can be
   * learned again.
   */
  mustWrite(term: number, vote: bigint, life: bigint): boolean {
    const { term: acceptedTerm, vote: acceptedVote, refilling = NO_LIFE } = this.#accepted;
    return term !== acceptedTerm || vote !== acceptedVote || life !== refilling;
  }

  /**
   * Numbers a write when there is something to write: entries or a snapshot (`withLog`), or a hard state worth it; a
   * commit index goes along. Returns the number, or 0, and the hard state if it changed.
   */
  accept(current: HardState, withLog: boolean): { sequence: number; hardState: HardState | undefined } {
    let sequence = 0;
    let hardState: HardState | undefined;
    const must = this.mustWrite(current.term, current.vote, current.refilling ?? NO_LIFE);
    if (withLog || must) {
      sequence = ++this.#sequence;
      if (must || current.commit !== this.#accepted.commit) {
        hardState = current;
        this.#accepted = current;
      }
      this.#writes.push({ sequence, hardState, messages: [] });
    }
    const last = this.#writes.at(-1);
    if (last !== undefined) last.messages.push(...this.#next);
    else this.#now.push(...this.#next);
    this.#next = [];
    return { sequence, hardState };
  }

  /** Messages that may leave now. Call after `accept`. */
  take(): Message[] {
    const messages = this.#now;
    if (messages.length > 0) this.#now = [];
    return messages;
  }

  /** Writes up to `sequence` are durable: their messages may leave. */
  persisted(sequence: number): void {
    assert(sequence > this.#persisted && sequence <= this.#sequence, 'raft: persisted() names no write under way');
    this.#persisted = sequence;
    let done = 0;
    while (done < this.#writes.length && this.#writes[done]!.sequence <= sequence) {
      const write = this.#writes[done++]!;
      if (write.hardState !== undefined) this.#durable = write.hardState;
      // What was promised to the leader of a term that has passed helps nobody, and the log may say something else by now.
      for (const message of write.messages) if (message.term >= this.#accepted.term) this.#now.push(message);
    }
    this.#writes.splice(0, done);
  }
}
