/**
 * The leader's duty to end expired leases through the log: takes them from the machine at a bounded rate and proposes
 * their revocation, a bounded number at a time. A revocation that fails is forgotten; the machine names the lease again.
 */
import type { NodeLimits } from './world.ts';

export class LeaseRevoker {
  readonly #limits: NodeLimits;
  readonly #perTickMax: number;
  readonly #expired: (limit: number) => bigint[];
  readonly #revoke: (lease: bigint, done: () => void) => void;
  #queue: bigint[] = [];
  #inFlight = 0;

  /** `expired` names leases whose time is up; `revoke` proposes and calls `done` with any outcome. */
  constructor(
    limits: NodeLimits,
    tickMs: number,
    expired: (limit: number) => bigint[],
    revoke: (lease: bigint, done: () => void) => void,
  ) {
    this.#limits = limits;
    this.#perTickMax = Math.max(1, Math.floor((limits.revokesPerSecondMax * tickMs) / 1000));
    this.#expired = expired;
    this.#revoke = revoke;
  }

  /** Once a tick, while this node leads. */
  tick(): void {
    const room = this.#perTickMax - this.#queue.length;
    if (room > 0) this.#queue.push(...this.#expired(room));
    this.#pump();
  }

  /** This node no longer leads: leases are another's to end. */
  clear(): void {
    this.#queue = [];
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#inFlight < this.#limits.revokesInFlightMax) {
      this.#inFlight++;
      this.#revoke(this.#queue.shift()!, () => {
        this.#inFlight--;
        this.#pump();
      });
    }
  }
}
