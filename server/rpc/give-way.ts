/**
 * The pause between two pieces of a long answer. Whoever waits already has his turn in any case; and as long as others get
 * their answers meanwhile, the next piece leaves them a moment: one who asks for a single key finds the processor free more
 * often than not. A long answer that is alone, or only beside its like, is not held up.
 */
import type { RpcContext } from './context.ts';

/** What a timer waits at least. A piece takes about as long. */
const PAUSE_MS = 1;

export class GiveWay {
  readonly #context: Pick<RpcContext, 'machine' | 'answers'>;
  #seen: number;

  constructor(context: Pick<RpcContext, 'machine' | 'answers'>) {
    this.#context = context;
    this.#seen = this.#others();
  }

  /** Runs `next` later, once. */
  before(next: () => void): void {
    const others = this.#others();
    if (others === this.#seen) setImmediate(next);
    else {
      this.#seen = others;
      setTimeout(next, PAUSE_MS);
    }
  }

  /** Counts on with every answer, and with what is written through other members. */
  #others(): number {
    return this.#context.answers.count + this.#context.machine.appliedIndex;
  }
}
