/** The closed loop of those who do not make unary calls: begins rounds until the time is up, and waits for the last ones. */
import { Histogram } from '../histogram.ts';
import type { LoadResult } from '../load.ts';

export class RoundTrips {
  #latencyMs = new Histogram();
  #endMs = 0;
  #under = 0;
  #over: (() => void) | undefined;
  #failed: ((error: Error) => void) | undefined;

  /** `begin` starts the first round of everybody by calling `goesOn`. */
  async run(ms: number, begin: () => void): Promise<LoadResult> {
    this.#latencyMs = new Histogram();
    const cpu = process.cpuUsage();
    const startMs = performance.now();
    this.#endMs = startMs + ms;
    await new Promise<void>((resolve, reject) => {
      this.#over = resolve;
      this.#failed = reject;
      begin();
    });
    const seconds = (performance.now() - startMs) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    const latencyMs = this.#latencyMs;
    return { perSecond: latencyMs.count / seconds, latencyMs, generatorCpuPart: (user + system) / 1e6 / seconds };
  }

  /** Whether another round may begin; each that does must come to `ended`. */
  goesOn(): boolean {
    if (performance.now() >= this.#endMs) return false;
    this.#under++;
    return true;
  }

  record(ms: number): void {
    this.#latencyMs.record(ms);
  }

  /** A round is over; `next` begins another one, if there is time. */
  ended(next: () => void): void {
    next();
    if (--this.#under === 0) this.#over?.();
  }

  fail(error: Error): void {
    this.#failed?.(error);
  }
}
