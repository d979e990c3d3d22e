/** How often each thing really happened in a run, and a hash of all of it in order. */
import { Digest } from './digest.ts';

export class Tally {
  readonly counts = new Map<string, number>();
  readonly #trace = new Digest();
  readonly #print: ((line: string) => void) | undefined;

  constructor(print?: (line: string) => void) {
    this.#print = print;
  }

  count(what: string): void {
    this.add(what, 1);
  }

  add(what: string, times: number): void {
    const count = (this.counts.get(what) ?? 0) + times;
    this.counts.set(what, count);
    this.#trace.number(count);
  }

  /** Notes what happened, when, and to whom. */
  note(atMs: number, who: number, what: string): void {
    this.#trace
      .number(Math.round(atMs * 1000))
      .number(who)
      .text(what);
    this.#print?.(`${atMs.toFixed(3)} ${who} ${what}`);
  }

  /** Of everything noted and counted so far: two runs of a seed have the same. */
  get traceHash(): string {
    return this.#trace.value;
  }
}
