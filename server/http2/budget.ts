/** A token bucket: so many events at once, so many more each second. Decides nothing about what running out means. */
export class Budget {
  readonly #burst: number;
  readonly #perMs: number;
  #tokens: number;
  #filledAtMs: number;

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perMs = perSecond / 1000;
    this.#tokens = burst;
    this.#filledAtMs = performance.now();
  }

  /** Takes `cost` tokens; false when there are not that many. */
  spend(cost: number): boolean {
    const nowMs = performance.now();
    this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - this.#filledAtMs) * this.#perMs);
    this.#filledAtMs = nowMs;
    if (this.#tokens < cost) return false;
    this.#tokens -= cost;
    return true;
  }

  /** Gives tokens back, never beyond the burst. No clock is read: this is on the path of every request. */
  refund(tokens: number): void {
    if (this.#tokens < this.#burst) this.#tokens = Math.min(this.#burst, this.#tokens + tokens);
  }
}
