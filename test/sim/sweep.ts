/** Many seeds, two or more at a time: what they add up to, and what is to be said of those that fail. */
import type { Outcome, Task } from './seed-run.ts';
import { type Shrunk, shrink } from './shrink.ts';
import { Workers } from './workers.ts';

const PROGRESS_MS = 10_000;
/** Failures that are made smaller; more than these are likely the same. */
const SHRINKS_MAX = 3;

export interface SweepOptions {
  seeds: number;
  from: number;
  workers: number;
  shrinks: boolean;
  print(line: string): void;
}

export type Failure = Outcome & { ok: false };

export function replayCommand(seed: number, settings: object = {}): string {
  const changes = Object.keys(settings).length === 0 ? '' : ` --settings '${JSON.stringify(settings)}'`;
  return `npm run sim -- --seed ${seed}${changes}`;
}

export class Sweep {
  readonly #options: SweepOptions;
  readonly totals = new Map<string, number>();
  readonly failures: Failure[] = [];
  #done = 0;
  #simulatedMs = 0;
  #operations = 0;

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  /** True when every promise was kept. */
  async run(): Promise<boolean> {
    const { seeds, from, workers: count, print } = this.#options;
    const workers = new Workers(count);
    const beganMs = performance.now();
    const progress = setInterval(() => print(this.#summary(beganMs)), PROGRESS_MS);
    try {
      let next = from;
      const lane = async () => {
        while (next < from + seeds) await this.#one(workers, next++);
      };
      await Promise.all(Array.from({ length: count }, lane));
      clearInterval(progress);
      print(this.#summary(beganMs));
      print(this.#counts());
      await this.#explain(workers);
    } finally {
      clearInterval(progress);
      workers.close();
    }
    return this.failures.length === 0;
  }

  async #one(workers: Workers, seed: number): Promise<void> {
    const outcome = await workers.run({ seed });
    this.#done++;
    if (outcome.ok) {
      this.#simulatedMs += outcome.simulatedMs;
      this.#operations += outcome.operations;
      for (const [what, count] of Object.entries(outcome.counts)) {
        this.totals.set(what, (this.totals.get(what) ?? 0) + count);
      }
      return;
    }
    this.failures.push(outcome);
    this.#options.print(`seed ${seed} fails: ${outcome.message}\n  ${replayCommand(seed)} --trace`);
  }

  #summary(beganMs: number): string {
    const minutes = (performance.now() - beganMs) / 60_000;
    const seedsPerMinute = Math.round(this.#done / minutes);
    const hours = this.#simulatedMs / 3_600_000;
    const rate = Math.round((hours / minutes) * 60);
    const what = `${this.#done} of ${this.#options.seeds} seeds, ${this.failures.length} failed`;
    return `${what}; ${seedsPerMinute} a minute, ${hours.toFixed(1)} simulated hours at ${rate} an hour, ${this.#operations} operations`;
  }

  /** What really happened, the faults first. */
  #counts(): string {
    const named = [...this.totals].sort(([a], [b]) => (a < b ? -1 : 1));
    const list = (wanted: boolean) =>
      named.flatMap(([what, count]) => (what.startsWith('fault:') === wanted ? `${what} ${count}` : [])).join(', ');
    return `faults that fired: ${list(true).replaceAll('fault:', '')}\nand: ${list(false)}`;
  }

  async #explain(workers: Workers): Promise<void> {
    const { print, shrinks } = this.#options;
    for (const failure of this.failures.slice(0, shrinks ? SHRINKS_MAX : 0)) {
      const { seed } = failure;
      print(`seed ${seed}: looking for a smaller run that fails in the same way`);
      const small: Shrunk = await shrink({ seed }, failure, (task: Task) => workers.run(task));
      print(`  after ${small.runs} runs: ${small.outcome.message}\n  ${replayCommand(seed, small.settings)} --trace`);
    }
  }
}
