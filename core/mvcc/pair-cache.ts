/**
 * The newest pairs of the keys written or read last, within a byte limit. Owns `cached`, `cachedBytes`, `queued` and
 * `hot` of the index entries. Only ever an answer the backend would give as well.
 */
import type { KeyValue } from '../wire/messages.ts';
import type { KeyIndex } from './key-index.ts';

/** What all kept pairs together may take, estimated. */
export const PAIR_CACHE_BYTES_MAX = 64 * 2 ** 20;
/** A pair larger than this is not kept. */
export const CACHED_PAIR_BYTES_MAX = 2 ** 18;
/** Objects around the bytes of a pair. */
const PAIR_OVERHEAD_BYTES = 300;

/** A clock: pairs leave in the order they came, those read since get a second round. */
export class PairCache {
  readonly #bytesMax: number;
  #bytes = 0;
  #queue: KeyIndex[] = [];
  #head = 0;

  constructor(bytesMax: number = PAIR_CACHE_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  /** Estimated bytes of all kept pairs, never above the limit. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The newest pair of `entry` if it is kept. */
  get(entry: KeyIndex): KeyValue | undefined {
    const pair = entry.cached;
    if (pair !== undefined) entry.hot = true;
    return pair;
  }

  /** Keeps `pair`, the newest of `entry`. */
  keep(entry: KeyIndex, pair: KeyValue): void {
    this.forget(entry);
    const bytes = bytesOf(pair);
    if (bytes > CACHED_PAIR_BYTES_MAX) return;
    entry.cached = pair;
    entry.cachedBytes = bytes;
    this.#bytes += bytes;
    if (!entry.queued) {
      entry.queued = true;
      this.#queue.push(entry);
    }
    if (this.#bytes > this.#bytesMax) this.#evict();
  }

  /** The newest pair of `entry` is another one or none. */
  forget(entry: KeyIndex): void {
    if (entry.cached === undefined) return;
    // Not asked of the pair, which is no longer in the processor's cache.
    this.#bytes -= entry.cachedBytes;
    entry.cached = undefined;
  }

  #evict(): void {
    while (this.#bytes > this.#bytesMax) {
      const entry = this.#queue[this.#head++]!;
      if (entry.cached !== undefined && entry.hot) {
        entry.hot = false;
        this.#queue.push(entry);
      } else {
        entry.queued = false;
        this.forget(entry);
      }
    }
    if (this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
  }
}

function bytesOf(pair: KeyValue): number {
  return pair.key.length * 2 + pair.value.length + PAIR_OVERHEAD_BYTES;
}
