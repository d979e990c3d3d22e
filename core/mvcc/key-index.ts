/**
 * Which revisions of one key exist. A generation is the key's life from a put to its delete; the revisions of all of
 * them are kept until compaction drops them. Owns numbers only; the pairs themselves are in the backend.
 */
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import type { KeyValue } from '../wire/messages.ts';
import type { Revision } from './revision.ts';

/** Numbers kept of a revision that is not the last. */
const STRIDE = 3;

/** What is true of a generation or a key, in one number: fields of their own would make each of them a third larger. */
const Mark = { ENDED: 1, LEASED: 2, LISTED: 4, QUEUED: 8, HOT: 16 } as const;

export class Generation {
  /** create_revision: the main revision of the first put, compacted or not. */
  created: number;
  /** Puts so far, compacted or not. */
  version: number;
  /** See {@link Mark}. */
  protected marks: number;
  #lastMain: number;
  #lastSub: number;
  /** Bytes of the last revision's row; 0 until they are told. */
  lastBytes: number;
  /** main, sub and bytes of the row of all but the last revision, again and again: ascending. */
  #older: number[] | undefined;

  constructor(created: number, version: number, ended: boolean, main: number, sub: number, bytes = 0) {
    this.created = created;
    this.version = version;
    this.marks = ended ? Mark.ENDED : 0;
    this.#lastMain = main;
    this.#lastSub = sub;
    this.lastBytes = bytes;
    this.#older = undefined;
  }

  /** Whether the last revision is a tombstone. */
  get ended(): boolean {
    return (this.marks & Mark.ENDED) !== 0;
  }

  set ended(yes: boolean) {
    this.mark(Mark.ENDED, yes);
  }

  protected mark(mark: number, yes: boolean): void {
    this.marks = yes ? this.marks | mark : this.marks & ~mark;
  }

  get length(): number {
    return this.#older === undefined ? 1 : 1 + this.#older.length / STRIDE;
  }

  get lastMain(): number {
    return this.#lastMain;
  }

  get lastSub(): number {
    return this.#lastSub;
  }

  append(main: number, sub: number, bytes = 0): void {
    assert(!this.ended, 'a generation ends with its tombstone');
    assert(main > this.#lastMain || (main === this.#lastMain && sub > this.#lastSub), 'revisions ascend');
    if (this.#older === undefined) this.#older = [this.#lastMain, this.#lastSub, this.lastBytes];
    else this.#older.push(this.#lastMain, this.#lastSub, this.lastBytes);
    this.#lastMain = main;
    this.#lastSub = sub;
    this.lastBytes = bytes;
  }

  at(index: number): Revision {
    const older = this.#older;
    if (older === undefined || STRIDE * index === older.length) return { main: this.#lastMain, sub: this.#lastSub };
    return { main: older[STRIDE * index]!, sub: older[STRIDE * index + 1]! };
  }

  /** Bytes of the row of revision number `index`. */
  bytesAt(index: number): number {
    return index === this.length - 1 ? this.lastBytes : this.#older![STRIDE * index + 2]!;
  }

  isTombstone(index: number): boolean {
    return this.ended && index === this.length - 1;
  }

  /** Index of the newest revision whose main is at most `main`; -1: all are newer. */
  newestAt(main: number): number {
    let high = this.length - 1;
    if (this.#lastMain <= main) return high;
    let low = 0;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#older![STRIDE * middle]! <= main) low = middle + 1;
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

  /** Becomes the generation that follows; returns what it was so far. */
  succeed(created: number, version: number, ended: boolean, main: number, sub: number): Generation {
    const before = new Generation(
      this.created,
      this.version,
      this.ended,
      this.#lastMain,
      this.#lastSub,
      this.lastBytes,
    );
    before.#older = this.#older;
    this.created = created;
    this.version = version;
    this.ended = ended;
    this.#lastMain = main;
    this.#lastSub = sub;
    this.lastBytes = 0;
    this.#older = undefined;
    return before;
  }

  /** Forgets the `count` oldest revisions; the last one stays. */
  dropFirst(count: number): void {
    assert(count < this.length, 'the last revision of a generation goes with the generation');
    if (count > 0) this.#older = count === this.length - 1 ? undefined : this.#older!.slice(STRIDE * count);
  }
}

/**
 * One key: its newest generation, and what else there is. Most keys have one generation of one revision, so that is the
 * whole object: a million of them are read at start, and every object more would be marked and moved a million times.
 */
export class KeyIndex extends Generation {
  readonly key: ByteString;
  /** Before the newest, oldest first. */
  #earlier: Generation[] | undefined;
  /** For PairCache only: the newest pair, if it is kept. */
  cached: KeyValue | undefined;
  /** What it counts for in the cache. */
  cachedBytes: number;

  constructor(key: ByteString, created: number, version: number, ended: boolean, main: number, sub: number) {
    super(created, version, ended, main, sub);
    this.key = key;
    this.#earlier = undefined;
    this.cached = undefined;
    this.cachedBytes = 0;
  }

  /** Whether the newest put had a lease: then losing it must be told. */
  get leased(): boolean {
    return (this.marks & Mark.LEASED) !== 0;
  }

  set leased(yes: boolean) {
    this.mark(Mark.LEASED, yes);
  }

  /** Whether the index lists it among the keys with something to compact. */
  get listed(): boolean {
    return (this.marks & Mark.LISTED) !== 0;
  }

  set listed(yes: boolean) {
    this.mark(Mark.LISTED, yes);
  }

  /** For PairCache only: whether it waits in the queue. */
  get queued(): boolean {
    return (this.marks & Mark.QUEUED) !== 0;
  }

  set queued(yes: boolean) {
    this.mark(Mark.QUEUED, yes);
  }

  /** For PairCache only: whether it was read since it came to the queue. */
  get hot(): boolean {
    return (this.marks & Mark.HOT) !== 0;
  }

  set hot(yes: boolean) {
    this.mark(Mark.HOT, yes);
  }

  /** The newest generation. */
  get last(): Generation {
    return this;
  }

  /** How many there are: at least one. */
  get generations(): number {
    return this.#earlier === undefined ? 1 : this.#earlier.length + 1;
  }

  /** Number `index` of them, oldest first. */
  generation(index: number): Generation {
    return this.#earlier?.[index] ?? this;
  }

  /** The key begins to live anew, or only its tombstone is known. */
  begin(created: number, version: number, ended: boolean, main: number, sub: number): void {
    const before = this.succeed(created, version, ended, main, sub);
    if (this.#earlier === undefined) this.#earlier = [before];
    else this.#earlier.push(before);
  }

  /** Forgets the `count` oldest generations; the newest stays. */
  dropGenerations(count: number): void {
    assert(count < this.generations, 'the newest generation goes with the key');
    if (count > 0) this.#earlier = count === this.generations - 1 ? undefined : this.#earlier!.slice(count);
  }

  get live(): boolean {
    return !this.ended;
  }

  /** Whether something of it will be superseded by a compaction at a late enough revision. */
  get hasHistory(): boolean {
    return this.#earlier !== undefined || this.length > 1 || this.ended;
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
    if (this.created <= main) return this;
    const earlier = this.#earlier ?? [];
    let low = 0;
    let high = earlier.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (earlier[middle]!.created <= main) low = middle + 1;
      else high = middle;
    }
    return earlier[low - 1];
  }
}
