/**
 * The pace of a long answer: one piece in a turn of the event loop, none while the client takes nothing. A client that is
 * slow holds up compaction for some seconds and no longer. Knows nothing of what is read.
 */
import type { RosterError } from '../../core/errors.ts';
import type { HeldStore } from '../../core/mvcc/held-store.ts';
import type { RpcContext } from './context.ts';
import { GiveWay } from './give-way.ts';

/** What is read and sent in one turn of the event loop: whoever asks for one key waits for no more than that. */
export const PIECE = { pairs: 500, bytes: 64 * 1024 } as const;
/** While a client takes nothing, compaction waits so long. */
const HOLD_MS_MAX = 5000;

export class PacedReading {
  readonly #held: HeldStore;
  readonly #giveWay: GiveWay;
  readonly #piece: () => boolean;
  readonly #fail: (error: RosterError) => void;
  #letGo: NodeJS.Timeout | undefined;
  #waiting = false;
  #over = false;

  /**
   * `piece` reads and sends what comes next, and says whether the client takes more; when there is no more, it calls
   * {@link stop}. `fail`: what is left to read is gone.
   */
  constructor(context: RpcContext, held: HeldStore, piece: () => boolean, fail: (error: RosterError) => void) {
    this.#held = held;
    this.#giveWay = new GiveWay(context);
    this.#piece = piece;
    this.#fail = fail;
  }

  /** Whether it was stopped. */
  get over(): boolean {
    return this.#over;
  }

  /** Reads one piece, and the others in turns of their own. */
  step(): void {
    const goesOn = this.#piece();
    if (this.#over) return;
    if (goesOn) this.#later();
    else {
      this.#waiting = true;
      this.#letGo = setTimeout(() => this.#held.letGo(), HOLD_MS_MAX);
    }
  }

  /** The client can take more. */
  drained(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    clearTimeout(this.#letGo);
    const gone = this.#held.goOn();
    if (gone === undefined) this.#later();
    else this.#fail(gone);
  }

  /** No further piece, and nothing is held any more. */
  stop(): void {
    this.#over = true;
    this.#waiting = false;
    clearTimeout(this.#letGo);
    this.#held.letGo();
  }

  #later(): void {
    this.#giveWay.before(() => {
      if (!this.#over) this.step();
    });
  }
}
