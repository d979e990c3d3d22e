/**
 * The APPEND messages on their way to one follower, oldest first, bounded in number and in bytes: how far a leader runs
 * ahead of a follower's acknowledgements (dissertation 10.2.1, pipelining).
 */
import { assert } from '../util/assert.ts';

interface Inflight {
  /** Last entry of the message. */
  index: number;
  bytes: number;
}

export class Inflights {
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  #queue: Inflight[] = [];
  #bytes = 0;

  constructor(messagesMax: number, bytesMax: number) {
    this.#messagesMax = messagesMax;
    this.#bytesMax = bytesMax;
  }

  get count(): number {
    return this.#queue.length;
  }

  /** Nothing more may be sent. One message may carry the bytes past their limit, so that a large entry gets through. */
  get full(): boolean {
    return this.#queue.length >= this.#messagesMax || this.#bytes >= this.#bytesMax;
  }

  add(index: number, bytes: number): void {
    assert(!this.full, 'inflights: message sent beyond the limit');
    assert(this.#queue.length === 0 || this.#queue.at(-1)!.index < index, 'inflights: messages out of order');
    this.#queue.push({ index, bytes });
    this.#bytes += bytes;
  }

  /** The follower holds everything up to `index`. */
  freeUpTo(index: number): void {
    let freed = 0;
    while (freed < this.#queue.length && this.#queue[freed]!.index <= index) this.#bytes -= this.#queue[freed++]!.bytes;
    if (freed > 0) this.#queue.splice(0, freed);
  }

  reset(): void {
    this.#queue = [];
    this.#bytes = 0;
  }
}
