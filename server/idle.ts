/**
 * When background work has its turn: at once while nothing else happens, and at most every other moment while requests
 * or other processes want the processor. Knows nothing of the work, which comes in pieces of a few milliseconds.
 */
export interface IdleClock {
  nowMs(): number;
  /** Runs `task` when the event loop has looked at everything else once. */
  immediate(task: () => void): void;
  later(task: () => void, ms: number): void;
}

/** Between two pieces of work the loop comes round in less when it has nothing else to do. */
export const QUIET_TURN_MS = 0.25;

const REAL_CLOCK: IdleClock = { nowMs: () => performance.now(), immediate: setImmediate, later: setTimeout };

export class IdleTurns {
  readonly #clock: IdleClock;
  #tasks: (() => void)[] = [];
  #scheduled = false;
  /** How long the work has held the loop since it gave way last. */
  #heldMs = 0;

  constructor(clock = REAL_CLOCK) {
    this.#clock = clock;
  }

  /** Runs `task` later, once. */
  readonly schedule = (task: () => void): void => {
    this.#tasks.push(task);
    if (this.#scheduled) return;
    this.#scheduled = true;
    const beganMs = this.#clock.nowMs();
    this.#clock.immediate(() => {
      const heldMs = this.#heldMs;
      if (this.#clock.nowMs() - beganMs < QUIET_TURN_MS) this.#heldMs = 0;
      // A shorter timer would wait for a millisecond as well.
      else if (heldMs >= 1) {
        this.#heldMs = 0;
        this.#clock.later(() => this.#run(), heldMs);
        return;
      }
      this.#run();
    });
  };

  #run(): void {
    const tasks = this.#tasks;
    this.#tasks = [];
    this.#scheduled = false;
    const beganMs = this.#clock.nowMs();
    for (const task of tasks) task();
    this.#heldMs += this.#clock.nowMs() - beganMs;
  }
}
