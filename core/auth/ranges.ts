/**
 * A set of keys as sorted intervals that neither touch nor overlap: what the permissions of all roles of a user come to
 * together. Owns the meaning of `range_end`; knows nothing of users.
 */
import type { ByteString } from '../util/bytes.ts';

/** As a request's or a permission's `range_end`: everything from the key on. */
export const OPEN_END: ByteString = '\0';

/** Keys `from` (inclusive) to `to` (exclusive); `to` undefined: without end. */
export interface KeyRange {
  readonly from: ByteString;
  readonly to: ByteString | undefined;
}

/** What `key` and `range_end` of a permission name: '' one key, "\0" no end. Nothing at all when the end is not above the key. */
export function keyRange(key: ByteString, rangeEnd: ByteString): KeyRange | undefined {
  if (rangeEnd === OPEN_END) return { from: key, to: undefined };
  if (rangeEnd === '') return { from: key, to: `${key}\0` };
  return key < rangeEnd ? { from: key, to: rangeEnd } : undefined;
}

export class RangeSet {
  /** Ascending; `#to[i]` is below `#from[i + 1]`, and only the last may be undefined: no end. */
  readonly #from: ByteString[] = [];
  readonly #to: (ByteString | undefined)[] = [];

  constructor(ranges: readonly KeyRange[]) {
    for (const { from, to } of [...ranges].sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0))) {
      const last = this.#to.length - 1;
      if (last >= 0 && !isBelow(this.#to[last], from)) this.#to[last] = furthest(this.#to[last], to);
      else {
        this.#from.push(from);
        this.#to.push(to);
      }
    }
  }

  /** Intervals that are left after merging. */
  get size(): number {
    return this.#from.length;
  }

  /**
   * Whether all keys that a request names by `key` and `rangeEnd` are in the set. A range that holds no key, because it ends
   * where it begins or before, is in it if `key` is (as with etcd).
   */
  contains(key: ByteString, rangeEnd: ByteString): boolean {
    const at = this.#lastFrom(key);
    if (at < 0) return false;
    const to = this.#to[at];
    if (rangeEnd === OPEN_END) return to === undefined;
    // An end of '' is not above the key, either.
    if (rangeEnd <= key) return to === undefined || key < to;
    return to === undefined || rangeEnd <= to;
  }

  /** The last interval that begins at `key` or before; -1: none. */
  #lastFrom(key: ByteString): number {
    let low = 0;
    let high = this.#from.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#from[middle]! <= key) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** Whether an interval that ends at `to` leaves a gap before `from`. */
function isBelow(to: ByteString | undefined, from: ByteString): boolean {
  return to !== undefined && to < from;
}

function furthest(a: ByteString | undefined, b: ByteString | undefined): ByteString | undefined {
  if (a === undefined || b === undefined) return undefined;
  return a > b ? a : b;
}
