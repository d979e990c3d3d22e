/**
 * Which watchers want a key: a map for those of one key, an interval tree for those of a range, so that a write costs
 * what it matches and not what exists.
 */
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import { IntervalTree } from './interval-tree.ts';
import type { KeyRange, Watcher } from './watcher.ts';

export class WatcherIndex {
  readonly #ofKey = new Map<ByteString, Set<Watcher>>();
  readonly #ofRange = new IntervalTree<Watcher>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(watcher: Watcher): void {
    this.#size++;
    this.#addRange(watcher, watcher);
    if (watcher.also !== undefined) this.#addRange(watcher.also, watcher);
  }

  #addRange({ key, rangeEnd }: KeyRange, watcher: Watcher): void {
    if (rangeEnd !== '') {
      this.#ofRange.add(key, rangeEnd, watcher);
      return;
    }
    const same = this.#ofKey.get(key);
    if (same === undefined) this.#ofKey.set(key, new Set([watcher]));
    else same.add(watcher);
  }

  /** `watcher` must be here. */
  delete(watcher: Watcher): void {
    this.#size--;
    this.#deleteRange(watcher, watcher);
    if (watcher.also !== undefined) this.#deleteRange(watcher.also, watcher);
  }

  #deleteRange({ key, rangeEnd }: KeyRange, watcher: Watcher): void {
    if (rangeEnd !== '') {
      this.#ofRange.delete(key, rangeEnd, watcher);
      return;
    }
    const same = this.#ofKey.get(key);
    assert(same !== undefined, 'nobody watches this key');
    assert(same.delete(watcher), 'the watcher is not in this index');
    if (same.size === 0) this.#ofKey.delete(key);
  }

  /** Adds the watchers of `key` to `into`. */
  match(key: ByteString, into: Watcher[]): void {
    const same = this.#ofKey.get(key);
    if (same !== undefined) for (const watcher of same) into.push(watcher);
    this.#ofRange.match(key, into);
  }

  /** Every watcher, in no order. */
  all(): Watcher[] {
    const watchers: Watcher[] = [];
    for (const same of this.#ofKey.values()) for (const watcher of same) watchers.push(watcher);
    this.#ofRange.collectAll(watchers);
    // Who watches two ranges is found twice.
    return [...new Set(watchers)];
  }

  /** Whether anyone watches `key`. */
  has(key: ByteString): boolean {
    return this.#ofKey.has(key) || this.#ofRange.covers(key);
  }
}
