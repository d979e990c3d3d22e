/**
 * Rows of the `key` bucket that a compaction has yet to remove, given key by key, taken in ascending order of revision:
 * as they lie in the backend, where each page is then written once and not once for every row on it. Owns numbers only,
 * sixteen bytes a row: sorted runs, and the heap that merges them.
 */
import { assert } from '../util/assert.ts';
import { Heap, type HeapItem, NOT_IN_HEAP } from '../util/heap.ts';

/** Rows that are sorted in one go: half a millisecond. */
export const RUN_ROWS = 1024;

export interface SupersededRow {
  main: number;
  sub: number;
  isTombstone: boolean;
}

export class SupersededRows {
  readonly #runs = new Heap<Run>((a, b) => a.isBefore(b));
  #filling: Run | undefined;

  add(main: number, sub: number, isTombstone: boolean): void {
    this.#filling ??= new Run();
    this.#filling.add(main, sub, isTombstone);
    if (this.#filling.isFull) this.#seal(this.#filling);
  }

  /** The lowest row, which is no longer among them; `undefined`: there is none. To be called when all have been added. */
  take(): SupersededRow | undefined {
    if (this.#filling !== undefined) this.#seal(this.#filling);
    const run = this.#runs.peek();
    if (run === undefined) return undefined;
    const row = run.take();
    if (run.isEmpty) this.#runs.pop();
    else this.#runs.update(run);
    return row;
  }

  #seal(run: Run): void {
    run.sort();
    this.#runs.push(run);
    this.#filling = undefined;
  }
}

class Run implements HeapItem {
  heapIndex = NOT_IN_HEAP;
  #mains = new Float64Array(RUN_ROWS);
  /** Twice the sub, and one more for a tombstone. */
  #subs = new Float64Array(RUN_ROWS);
  #length = 0;
  /** What has been taken. */
  #taken = 0;

  get isFull(): boolean {
    return this.#length === RUN_ROWS;
  }

  get isEmpty(): boolean {
    return this.#taken === this.#length;
  }

  add(main: number, sub: number, isTombstone: boolean): void {
    this.#mains[this.#length] = main;
    this.#subs[this.#length++] = 2 * sub + (isTombstone ? 1 : 0);
  }

  sort(): void {
    const mains = this.#mains;
    const subs = this.#subs;
    const order = new Uint16Array(this.#length).map((_, i) => i);
    order.sort((a, b) => mains[a]! - mains[b]! || subs[a]! - subs[b]!);
    this.#mains = Float64Array.from(order, (i) => mains[i]!);
    this.#subs = Float64Array.from(order, (i) => subs[i]!);
  }

  /** Neither is empty. */
  isBefore(other: Run): boolean {
    const main = this.#mains[this.#taken]!;
    const otherMain = other.#mains[other.#taken]!;
    return main < otherMain || (main === otherMain && this.#subs[this.#taken]! < other.#subs[other.#taken]!);
  }

  take(): SupersededRow {
    assert(!this.isEmpty, 'a run in the heap has rows');
    const main = this.#mains[this.#taken]!;
    const sub = this.#subs[this.#taken++]!;
    return { main, sub: Math.floor(sub / 2), isTombstone: sub % 2 === 1 };
  }
}
