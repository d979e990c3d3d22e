/** Latencies of one run: exact enough for percentiles (1% of the value), cheap enough to record a million of them. */

const BUCKETS_PER_DECADE = 230;
const DECADES = 8;

/** Values in milliseconds, from 1 us to 100 s. */
export class Histogram {
  readonly #counts = new Uint32Array(BUCKETS_PER_DECADE * DECADES + 1);
  count = 0;
  maxMs = 0;

  record(ms: number): void {
    const bucket = Math.round((Math.log10(Math.max(ms, 1e-3)) + 3) * BUCKETS_PER_DECADE);
    this.#counts[Math.min(bucket, this.#counts.length - 1)]!++;
    this.count++;
    if (ms > this.maxMs) this.maxMs = ms;
  }

  /** The value below which a share `p` (0..1) of all lies. */
  percentile(p: number): number {
    let left = Math.ceil(this.count * p);
    for (let i = 0; i < this.#counts.length; i++) {
      left -= this.#counts[i]!;
      if (left <= 0) return 10 ** (i / BUCKETS_PER_DECADE - 3);
    }
    return Number.NaN;
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
