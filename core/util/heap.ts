/**
 * A binary heap whose items know their place, so that one that has changed is moved or taken out in O(log n).
 * Owns the order of its items only.
 */
import { assert } from './assert.ts';

/** What lies in a heap. `heapIndex` belongs to the heap: start it at {@link NOT_IN_HEAP} and leave it alone. */
export interface HeapItem {
  heapIndex: number;
}

export const NOT_IN_HEAP = -1;

export class Heap<T extends HeapItem> {
  readonly #items: T[] = [];
  readonly #before: (a: T, b: T) => boolean;

  /** `before(a, b)`: whether `a` comes out ahead of `b`; a strict weak order. */
  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#items.length;
  }

  /** The first item, left in place. */
  peek(): T | undefined {
    return this.#items[0];
  }

  /** Adds an item that is in no heap. O(log n). */
  push(item: T): void {
    assert(item.heapIndex === NOT_IN_HEAP, 'the item is in a heap already');
    item.heapIndex = this.#items.length;
    this.#items.push(item);
    this.#up(item);
  }

  /** Takes out the first item. O(log n). */
  pop(): T | undefined {
    const first = this.#items[0];
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Restores the order after what `item` is compared by has changed. O(log n). */
  update(item: T): void {
    assert(this.has(item), 'the item is not in this heap');
    if (!this.#up(item)) this.#down(item);
  }

  /** Takes out `item`. O(log n). */
  remove(item: T): void {
    assert(this.has(item), 'the item is not in this heap');
    const hole = item.heapIndex;
    const last = this.#items.pop()!;
    item.heapIndex = NOT_IN_HEAP;
    if (last === item) return;
    this.#items[hole] = last;
    last.heapIndex = hole;
    this.update(last);
  }

  has(item: T): boolean {
    return this.#items[item.heapIndex] === item;
  }

  #up(item: T): boolean {
    const items = this.#items;
    const start = item.heapIndex;
    let at = start;
    while (at > 0) {
      const parentIndex = (at - 1) >> 1;
      const parent = items[parentIndex]!;
      if (!this.#before(item, parent)) break;
      items[at] = parent;
      parent.heapIndex = at;
      at = parentIndex;
    }
    items[at] = item;
    item.heapIndex = at;
    return at !== start;
  }

  #down(item: T): void {
    const items = this.#items;
    const size = items.length;
    let at = item.heapIndex;
    for (;;) {
      let childIndex = 2 * at + 1;
      if (childIndex >= size) break;
      const right = childIndex + 1;
      if (right < size && this.#before(items[right]!, items[childIndex]!)) childIndex = right;
      const child = items[childIndex]!;
      if (!this.#before(child, item)) break;
      items[at] = child;
      child.heapIndex = at;
      at = childIndex;
    }
    items[at] = item;
    item.heapIndex = at;
  }
}
