/**
 * Virtual time: what happens next, in an order that depends on nothing but what was asked for. Owns the queue; knows
 * nothing of members or faults.
 */
import { Heap, type HeapItem, NOT_IN_HEAP } from '../../core/util/heap.ts';

interface Happening extends HeapItem {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class Timeline {
  /** True time. */
  nowMs = 0;
  /** Happenings so far. */
  steps = 0;
  readonly #queue = new Heap<Happening>((a, b) => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order));
  #order = 0;

  /** Runs `run` once, `delayMs` from now; of those due at the same moment the one asked for first comes first. */
  after(delayMs: number, run: () => void): void {
    this.#queue.push({ atMs: this.nowMs + delayMs, order: this.#order++, run, heapIndex: NOT_IN_HEAP });
  }

  /** Runs everything that is due until `untilMs`, or until `enough` says so after a happening. */
  runUntil(untilMs: number, enough: () => boolean = () => false): boolean {
    for (let next = this.#queue.peek(); next !== undefined && next.atMs <= untilMs; next = this.#queue.peek()) {
      this.#queue.pop();
      this.nowMs = next.atMs;
      this.steps++;
      next.run();
      if (enough()) return true;
    }
    this.nowMs = untilMs;
    return false;
  }
}
