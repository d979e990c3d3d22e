/**
 * Reports of slow calls, a few a second: when everything is slow, the log must not make it slower. What was left out is
 * counted in the next report.
 */

/** Reports in one second; those beyond are only counted. */
export const SLOW_REPORTS_PER_SECOND_MAX = 10;

export class SlowReports<T extends object> {
  readonly #report: (slow: T & { leftOut?: number }) => void;
  readonly #nowMs: () => number;
  #secondBeganMs = Number.NEGATIVE_INFINITY;
  #reported = 0;
  #leftOut = 0;

  /** `nowMs` is monotonic. */
  constructor(report: (slow: T & { leftOut?: number }) => void, nowMs: () => number = () => performance.now()) {
    this.#report = report;
    this.#nowMs = nowMs;
  }

  add(slow: T): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#secondBeganMs >= 1000) {
      this.#secondBeganMs = nowMs;
      this.#reported = 0;
    }
    if (this.#reported === SLOW_REPORTS_PER_SECOND_MAX) {
      this.#leftOut++;
      return;
    }
    this.#reported++;
    this.#report(this.#leftOut === 0 ? slow : { ...slow, leftOut: this.#leftOut });
    this.#leftOut = 0;
  }
}
