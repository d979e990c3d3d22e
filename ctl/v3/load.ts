/** What a load is measured with: how fast it is sent, how long each request took. */
import { sleep } from '../../client/wait.ts';

/** So many requests a second for so long, whoever asks. Who falls behind is not made to catch up. */
export class Pace {
  readonly #started = performance.now();
  readonly #stepMs: number;
  readonly #endMs: number;
  #nextMs = 0;

  constructor(perSecond: number, durationSeconds: number) {
    this.#stepMs = 1_000 / perSecond;
    this.#endMs = durationSeconds * 1_000;
  }

  get elapsedSeconds(): number {
    return (performance.now() - this.#started) / 1_000;
  }

  /** Waits for the next turn. False when the time is over. */
  async next(signal: AbortSignal): Promise<boolean> {
    const now = performance.now() - this.#started;
    const at = Math.max(this.#nextMs, now - 1_000);
    if (at >= this.#endMs || signal.aborted) return false;
    this.#nextMs = at + this.#stepMs;
    if (at > now) await sleep(at - now, signal);
    return !signal.aborted;
  }
}

/** Sums over requests; holds none of them. */
export class Results {
  count = 0;
  /** Seconds. */
  slowest = 0;
  #sum = 0;
  #squares = 0;
  /** Texts of errors, and how often each occurred. */
  readonly errors = new Map<string, number>();

  add(seconds: number, error: string | undefined): void {
    if (error !== undefined) {
      this.errors.set(error, (this.errors.get(error) ?? 0) + 1);
      return;
    }
    this.count++;
    this.slowest = Math.max(this.slowest, seconds);
    this.#sum += seconds;
    this.#squares += seconds * seconds;
  }

  /** Seconds. */
  get stddev(): number {
    if (this.count === 0) return 0;
    const mean = this.#sum / this.count;
    return Math.sqrt(Math.max(this.#squares / this.count - mean * mean, 0));
  }
}
