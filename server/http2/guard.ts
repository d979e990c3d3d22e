/**
 * What a peer may do that moves no request forward, in budgets: resets, control frames, replies it does not read. Running
 * out is an attack or a broken peer, and ends the connection.
 */
import { Budget } from './budget.ts';
import { ConnectionError } from './connection-error.ts';
import { ErrorCode } from './frames.ts';
import type { Http2Limits } from './limits.ts';

/** How many control frames a frame that moves a request forward makes good: its two WINDOW_UPDATEs. */
const CONTROL_REFUND = 2;

/** Every `charge` throws {@link ConnectionError} ENHANCE_YOUR_CALM beyond its limit. */
export class Guard {
  readonly #resets: Budget;
  readonly #control: Budget;
  readonly #repliesOwedMax: number;
  /** Acknowledgements and resets written while the socket took nothing. */
  #repliesOwed = 0;

  constructor(limits: Http2Limits) {
    this.#resets = new Budget(limits.resetBurst, limits.resetsPerSecond);
    this.#control = new Budget(limits.controlFrameBurst, limits.controlFramesPerSecond);
    this.#repliesOwedMax = limits.repliesOwedMax;
  }

  /** A stream was reset by the peer, or by us for the peer's fault. */
  chargeReset(): void {
    if (!this.#resets.spend(1)) throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'too many streams are reset');
  }

  chargeControl(cost: number): void {
    if (!this.#control.spend(cost)) throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'too many control frames');
  }

  /** An acknowledgement or a reset is to be written. */
  chargeReply(): void {
    if (++this.#repliesOwed > this.#repliesOwedMax) {
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'replies are not read');
    }
  }

  /** A frame carried part of a request or of a response. */
  progress(): void {
    this.#control.refund(CONTROL_REFUND);
  }

  streamCompleted(): void {
    this.#resets.refund(1);
  }

  /** The socket took all that was written. */
  drained(): void {
    this.#repliesOwed = 0;
  }
}
