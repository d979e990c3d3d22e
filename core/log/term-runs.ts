/** Which term each index of the log has, as runs of equal terms: what an append needs to name the entry before it. */
import { assert } from '../util/assert.ts';

export class TermRuns {
  /** First index of each run, ascending. The run ends where the next begins, the last one at `lastIndex`. */
  readonly #starts: number[] = [];
  readonly #terms: number[] = [];
  #lastIndex = 0;

  /** A log that begins after entry `prevIndex` of term `prevTerm`. */
  constructor(prevIndex: number, prevTerm: number) {
    this.reset(prevIndex, prevTerm);
  }

  /** The earliest index whose term is known. */
  get firstIndex(): number {
    return this.#starts[0]!;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  get lastTerm(): number {
    return this.#terms.at(-1)!;
  }

  /** The term of `index`, which is between firstIndex and lastIndex. */
  termOf(index: number): number {
    assert(index >= this.firstIndex && index <= this.#lastIndex, `log: the term of entry ${index} is not known`);
    let run = this.#starts.length - 1;
    while (this.#starts[run]! > index) run--;
    return this.#terms[run]!;
  }

  /** Sets the term of `index` and forgets what came after it. `index` is at most one past the last. */
  append(index: number, term: number): void {
    assert(index > this.firstIndex && index <= this.#lastIndex + 1, `log: entry ${index} after ${this.#lastIndex}`);
    while (this.#starts.at(-1)! >= index) {
      this.#starts.pop();
      this.#terms.pop();
    }
    assert(term >= this.#terms.at(-1)!, `log: entry ${index} has a lower term than the one before`);
    this.#lastIndex = index;
    if (this.#terms.at(-1) === term) return;
    this.#starts.push(index);
    this.#terms.push(term);
  }

  /** The log now begins after entry `index` of `term`. */
  reset(index: number, term: number): void {
    this.#starts.length = 0;
    this.#terms.length = 0;
    this.#starts.push(index);
    this.#terms.push(term);
    this.#lastIndex = index;
  }

  /** Forgets the terms before `index`. */
  release(index: number): void {
    while (this.#starts.length > 1 && this.#starts[1]! <= index) {
      this.#starts.shift();
      this.#terms.shift();
    }
    if (this.#starts[0]! < index) this.#starts[0] = Math.min(index, this.#lastIndex);
  }
}
