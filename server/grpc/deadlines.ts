/**
 * When calls run out of time. A wheel of slots and one coarse timer, because a timer for each call would cost more than
 * the call. A deadline is never early and at most two ticks late.
 */

export const DEADLINE_TICK_MS = 20;
/** Deadlines further away than one turn of the wheel (10.24 s) stay in their slot for several turns. */
const SLOTS = 512;
/** The timer stops after this many ticks without a deadline: starting it anew for every call would cost again. */
const IDLE_TICKS_MAX = 50;

/** Something with a deadline. The fields are the wheel's. */
export abstract class Timed {
  dueTick = -1;
  next: Timed | undefined;
  previous: Timed | undefined;

  /** The time is up. */
  abstract expire(): void;
}

export class Deadlines {
  readonly #slots: (Timed | undefined)[] = new Array(SLOTS).fill(undefined);
  #count = 0;
  #lastTick = 0;
  #idleTicks = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Deadlines that are set. */
  get size(): number {
    return this.#count;
  }

  /** Calls `timed.expire()` after `afterMs`, unless `clear` comes first. */
  set(timed: Timed, afterMs: number): void {
    const nowMs = performance.now();
    if (this.#timer === undefined) {
      this.#lastTick = Math.floor(nowMs / DEADLINE_TICK_MS);
      this.#timer = setInterval(() => this.#advance(), DEADLINE_TICK_MS);
      this.#timer.unref();
    }
    this.#idleTicks = 0;
    timed.dueTick = Math.max(Math.ceil((nowMs + afterMs) / DEADLINE_TICK_MS), this.#lastTick + 1);
    const slot = timed.dueTick % SLOTS;
    const first = this.#slots[slot];
    timed.next = first;
    if (first !== undefined) first.previous = timed;
    this.#slots[slot] = timed;
    this.#count++;
  }

  clear(timed: Timed): void {
    if (timed.dueTick < 0) return;
    if (timed.previous === undefined) this.#slots[timed.dueTick % SLOTS] = timed.next;
    else timed.previous.next = timed.next;
    if (timed.next !== undefined) timed.next.previous = timed.previous;
    timed.next = undefined;
    timed.previous = undefined;
    timed.dueTick = -1;
    this.#count--;
  }

  #advance(): void {
    const tick = Math.floor(performance.now() / DEADLINE_TICK_MS);
    const due: Timed[] = [];
    for (let at = Math.max(this.#lastTick + 1, tick - SLOTS + 1); at <= tick; at++) {
      for (let timed = this.#slots[at % SLOTS]; timed !== undefined; timed = timed.next) {
        if (timed.dueTick <= tick) due.push(timed);
      }
    }
    this.#lastTick = tick;
    for (const timed of due) {
      if (timed.dueTick < 0) continue; // cleared by one that expired before it
      this.clear(timed);
      timed.expire();
    }
    if (this.#count > 0) this.#idleTicks = 0;
    else if (++this.#idleTicks > IDLE_TICKS_MAX) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }
}

const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** A `grpc-timeout` in milliseconds, or, as text, what is wrong with it (grpc-go's words). */
export function parseTimeout(text: string): number | string {
  const quoted = JSON.stringify(text);
  if (text.length < 2) return `transport: timeout string is too short: ${quoted}`;
  if (text.length > 9) return `transport: timeout string is too long: ${quoted}`;
  const unit = text.charAt(text.length - 1);
  if (!Object.hasOwn(UNIT_MS, unit)) return `transport: timeout unit is not recognized: ${quoted}`;
  let amount = 0;
  for (let i = 0; i < text.length - 1; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) {
      return `strconv.ParseUint: parsing ${JSON.stringify(text.slice(0, -1))}: invalid syntax`;
    }
    amount = amount * 10 + digit;
  }
  return amount * UNIT_MS[unit]!;
}
