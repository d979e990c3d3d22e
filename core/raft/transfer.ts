/**
 * To whom leadership is being handed, and for how long already (dissertation 3.10): after an election timeout the leader
 * gives up and goes on leading. Sends nothing.
 */
import { NO_NODE } from './config.ts';

export class Transfer {
  readonly #ticksMax: number;
  #to = NO_NODE;
  #ticks = 0;

  constructor(ticksMax: number) {
    this.#ticksMax = ticksMax;
  }

  /** The node that is to lead next, or NO_NODE. */
  get to(): bigint {
    return this.#to;
  }

  /** A second request for the same node does not prolong the first. */
  begin(to: bigint): void {
    if (to === this.#to) return;
    this.#to = to;
    this.#ticks = 0;
  }

  end(): void {
    this.#to = NO_NODE;
  }

  /** True when that was its last tick. */
  tick(): boolean {
    if (this.#to === NO_NODE || ++this.#ticks < this.#ticksMax) return false;
    this.end();
    return true;
  }
}
