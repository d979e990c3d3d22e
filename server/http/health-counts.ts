/** How often probes have asked and what they were told, for /metrics (etcd_server_health_*, etcd_server_healthcheck*). */

export interface CheckCount {
  readonly type: string;
  readonly name: string;
  success: number;
  error: number;
  /** Of the last time. */
  well: boolean;
}

export class HealthCounts {
  successes = 0;
  failures = 0;
  readonly #checks = new Map<string, CheckCount>();

  /** Those that have been asked for. */
  get checks(): Iterable<CheckCount> {
    return this.#checks.values();
  }

  /** /health was answered. */
  health(well: boolean): void {
    if (well) this.successes++;
    else this.failures++;
  }

  /** A check of /livez or /readyz was run. */
  check(type: 'livez' | 'readyz', name: string, well: boolean): void {
    const key = `${type}/${name}`;
    let count = this.#checks.get(key);
    if (count === undefined) {
      count = { type, name, success: 0, error: 0, well };
      this.#checks.set(key, count);
    }
    count.well = well;
    if (well) count.success++;
    else count.error++;
  }
}
