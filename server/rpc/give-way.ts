/**
 * The pause between two pieces of a long answer. Whoever waits already has his turn in any case; and as long as others get
 * their answers meanwhile, the next piece leaves them a moment: one who asks for a single key finds the processor free more
 * often than not. A long answer that is alone is not held up.
 */
import type { RpcContext } from './context.ts';

/** Several times what a piece costs, its client's part of it included: most of the time the processor is free. */
const PAUSE_MS = 2;
/**
 * Who was answered may ask again: requests that come one by one are milliseconds apart, and most pieces see none of them
 * answered, but each can have one arrive in its midst.
 */
const REMEMBERED_MS = 50;

export class GiveWay {
  readonly #context: Pick<RpcContext, 'machine' | 'answers'>;
  #seen: number;
  #pausesUntilMs = 0;

  constructor(context: Pick<RpcContext, 'machine' | 'answers'>) {
    this.#context = context;
    this.#seen = this.#others();
  }

  /** Runs `next` later, once. */
  before(next: () => void): void {
    const nowMs = performance.now();
    const others = this.#others();
    if (others !== this.#seen) {
      this.#seen = others;
      this.#pausesUntilMs = nowMs + REMEMBERED_MS;
    }
    if (nowMs < this.#pausesUntilMs) setTimeout(next, PAUSE_MS);
    else setImmediate(next);
  }

  /** Counts on with every answer, and with what is written through other members. */
  #others(): number {
    return this.#context.answers.count + this.#context.machine.appliedIndex;
  }
}
