/**
 * Which revisions of one key exist. A generation is the key's life from a put to its delete; the revisions of all of
 * them are kept until compaction drops them. Owns numbers only; the pairs themselves are in the backend.
 */
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import type { KeyValue } from '../wire/messages.ts';
import type { Revision } from './revision.ts';

/** Numbers kept of a revision. */
const STRIDE = 3;

export class Generation {
  /** create_revision: the main revision of the first put, compacted or not. */
  readonly created: number;
  /** Puts so far, compacted or not. */
  version: number;
  /** Whether the last revision is a tombstone. */
  ended: boolean;
  /** main, sub and bytes of the row, again and again: ascending. */
  #revisions: number[];

  constructor(created: number, version: number, ended: boolean, main: number, sub: number, bytes = 0) {
    this.created = created;
    this.version = version;
    this.ended = ended;
    this.#revisions = [main, sub, bytes];
  }

  get length(): number {
    return this.#revisions.length / STRIDE;
  }

  get lastMain(): number {
    return this.#revisions[this.#revisions.length - 3]!;
  }

  get lastSub(): number {
    return this.#revisions[this.#revisions.length - 2]!;
  }

  /** Bytes of the last revision's row; 0 until they are told. */
  get lastBytes(): number {
    return this.#revisions[this.#revisions.length - 1]!;
  }

  set lastBytes(bytes: number) {
    this.#revisions[this.#revisions.length - 1] = bytes;
  }

  append(main: number, sub: number, bytes = 0): void {
    assert(!this.ended, 'a generation ends with its tombstone');
    assert(main > this.lastMain || (main === this.lastMain && sub > this.lastSub), 'revisions ascend');
    this.#revisions.push(main, sub, bytes);
  }

  at(index: number): Revision {
    return { main: this.#revisions[STRIDE * index]!, sub: this.#revisions[STRIDE * index + 1]! };
  }

  /** Bytes of the row of revision number `index`. */
  bytesAt(index: number): number {
    return this.#revisions[STRIDE * index + 2]!;
  }

  isTombstone(index: number): boolean {
    return this.ended && index === this.length - 1;
  }

  /** Index of the newest revision whose main is at most `main`; -1: all are newer. */
  newestAt(main: number): number {
    let high = this.length;
    if (this.lastMain <= main) return high - 1;
    let low = 0;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#revisions[STRIDE * middle]! <= main) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /**
   * How many revisions at the front nobody can read at `main` or later. Everything exactly at `main` stays, tombstones
   * included: a watch may still start there, and must see all of that revision.
   */
  superseded(main: number): number {
    if (this.ended && this.lastMain < main) return this.length;
    const before = this.newestAt(main - 1);
    return this.newestAt(main) > before ? before + 1 : Math.max(0, before);
  }

  dropFirst(count: number): void {
    if (count > 0) this.#revisions = this.#revisions.slice(STRIDE * count);
  }
}

export class KeyIndex {
  readonly key: ByteString;
  /** Oldest first, never empty while the key is in the index. */
  readonly generations: Generation[] = [];
  /** Whether the newest put had a lease: then losing it must be told. */
  leased = false;
  /** Whether the index lists it among the keys with something to compact. */
  listed = false;
  /** For PairCache only: the newest pair, if it is kept; whether it waits in the queue, and was read since. */
  cached: KeyValue | undefined = undefined;
  /** What it counts for in the cache. */
  cachedBytes = 0;
  queued = false;
  hot = false;

  constructor(key: ByteString) {
    this.key = key;
  }

  get last(): Generation {
    return this.generations[this.generations.length - 1]!;
  }

  get live(): boolean {
    return !this.last.ended;
  }

  /** Whether something of it will be superseded by a compaction at a late enough revision. */
  get hasHistory(): boolean {
    return this.generations.length > 1 || this.last.length > 1 || this.last.ended;
  }

  /** The revision of the pair that a read at `main` sees; `undefined` when the key did not exist then. */
  find(main: number): Revision | undefined {
    const generation = this.#generationAt(main);
    if (generation === undefined) return undefined;
    const index = generation.newestAt(main);
    return index < 0 || generation.isTombstone(index) ? undefined : generation.at(index);
  }

  /** Whether a read at `main` sees the key. */
  existed(main: number): boolean {
    const generation = this.#generationAt(main);
    if (generation === undefined) return false;
    const index = generation.newestAt(main);
    return index >= 0 && !generation.isTombstone(index);
  }

  /** The last generation that began at `main` or before. */
  #generationAt(main: number): Generation | undefined {
    const { generations } = this;
    let at = generations.length - 1;
    if (generations[at]!.created <= main) return generations[at];
    let low = 0;
    while (low < at) {
      const middle = (low + at) >>> 1;
      if (generations[middle]!.created <= main) low = middle + 1;
      else at = middle;
    }
    return generations[at - 1];
  }
}
