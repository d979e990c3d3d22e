/** Metrics that are one number each, asked for when somebody scrapes. */
import { Counter, Gauge, type Registry } from 'prom-client';

export interface PlainMetrics {
  gauge(name: string, help: string, read: () => number): void;
  /** `read` never goes down. */
  counter(name: string, help: string, read: () => number): void;
}

export function plainMetrics(registry: Registry): PlainMetrics {
  const registers = [registry];
  return {
    gauge(name, help, read) {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    },
    counter(name, help, read) {
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    },
  };
}
