/**
 * Index entries found by their key lately, so that whoever comes again need not search the trees. Owns a cache and no
 * truth: whatever is not here may still be in a tree. Parted by a hash, so that no part is long in growing.
 */
import type { ByteString } from '../util/bytes.ts';
import type { KeyIndex } from './key-index.ts';

/** A power of two. A million keys make parts of 16,000: a Map of that size doubles in about a millisecond. */
const PARTS = 64;
/** A part with so many entries begins anew: a Map of 2^18 takes ten milliseconds to double, and 2^24 is the end of one. */
export const PART_ENTRIES_MAX = 1 << 18;
/** So many characters of a key at most decide where it goes. */
const HASHED_CHARACTERS_MAX = 64;

export class KeyLookup {
  readonly #partEntriesMax: number;
  readonly #parts: Map<ByteString, KeyIndex>[];

  constructor(partEntriesMax: number = PART_ENTRIES_MAX) {
    this.#partEntriesMax = partEntriesMax;
    this.#parts = Array.from({ length: PARTS }, () => new Map());
  }

  /** Entries it holds. */
  get size(): number {
    let size = 0;
    for (const part of this.#parts) size += part.size;
    return size;
  }

  /** `undefined`: not here. */
  get(key: ByteString): KeyIndex | undefined {
    return this.#parts[partOf(key)]!.get(key);
  }

  /** To be found from now on. */
  add(entry: KeyIndex): void {
    const at = partOf(entry.key);
    let part = this.#parts[at]!;
    if (part.size >= this.#partEntriesMax) {
      part = new Map();
      this.#parts[at] = part;
    }
    part.set(entry.key, entry);
  }

  /** The entry of `key` is no more. */
  delete(key: ByteString): void {
    this.#parts[partOf(key)]!.delete(key);
  }
}

/** What tells keys apart may stand anywhere in them: of a long key evenly spread characters count. */
function partOf(key: ByteString): number {
  const { length } = key;
  const step = length <= HASHED_CHARACTERS_MAX ? 1 : Math.ceil(length / HASHED_CHARACTERS_MAX);
  let hash = length;
  for (let at = length - 1; at >= 0; at -= step) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  return (hash ^ (hash >>> 15)) & (PARTS - 1);
}
