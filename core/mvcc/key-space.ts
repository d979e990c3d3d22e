/**
 * The index of all keys: those that live, in order and counted, and those that are gone but not yet compacted. Owns
 * which revisions of a key exist; reads no pair. A put to a living key touches no tree.
 */
import { assert } from '../util/assert.ts';
import { BTree } from '../util/btree.ts';
import type { ByteString } from '../util/bytes.ts';
import { type Generation, KeyIndex } from './key-index.ts';
import { KeyLookup } from './key-lookup.ts';
import { Liveness } from './liveness.ts';
import type { Revision } from './revision.ts';

export class KeySpace {
  readonly #live = new BTree<KeyIndex>();
  readonly #dead = new BTree<KeyIndex>();
  /** Of those in the trees the ones asked for lately. */
  readonly #lookup: KeyLookup;
  readonly #liveness = new Liveness();
  #liveBytes = 0;
  #historyBytes = 0;
  /** Keys with more than one revision or a tombstone: all that a compaction has to look at. */
  readonly history = new Set<KeyIndex>();

  constructor(lookup: KeyLookup = new KeyLookup()) {
    this.#lookup = lookup;
  }

  get liveCount(): number {
    return this.#live.size;
  }

  /** Bytes of the rows that hold the newest pairs of living keys. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Bytes of all other rows: what compaction can free, sooner or later. */
  get historyBytes(): number {
    return this.#historyBytes;
  }

  /** The row of the last revision of `entry` has been written and takes `bytes`. To be told once for each put and tombstone. */
  wrote(entry: KeyIndex, bytes: number): void {
    const generation = entry.last;
    generation.lastBytes = bytes;
    if (generation.ended) this.#historyBytes += bytes;
    else this.#liveBytes += bytes;
  }

  /** A superseded row of `bytes` is gone. */
  removedRow(bytes: number): void {
    this.#historyBytes -= bytes;
  }

  /** The key's index entry if the key lives. */
  live(key: ByteString): KeyIndex | undefined {
    const entry = this.any(key);
    return entry?.live ? entry : undefined;
  }

  /** The key's index entry, also when the key is deleted. */
  any(key: ByteString): KeyIndex | undefined {
    let entry = this.#lookup.get(key);
    if (entry === undefined) {
      entry = this.#search(key);
      if (entry !== undefined) this.#lookup.add(entry);
    }
    return entry;
  }

  put(key: ByteString, main: number, sub: number): KeyIndex {
    const entry = this.any(key);
    if (entry?.live) {
      const generation = entry.last;
      this.#supersede(generation);
      generation.append(main, sub);
      generation.version++;
      if (!entry.listed) this.#list(entry);
      return entry;
    }
    this.#liveness.born(main, key);
    const begun = this.#begin(key, entry, main, 1, false, main, sub);
    if (entry === undefined) this.#lookup.add(begun);
    return begun;
  }

  tombstone(entry: KeyIndex, main: number, sub: number): void {
    this.#liveness.died(main, entry.key);
    this.#end(entry, main, sub);
  }

  /** A put found in the backend at start; rows come in order of their revisions. Undefined: it contradicts what came before. */
  restorePut(key: ByteString, at: Revision, created: number, version: number, bytes: number): KeyIndex | undefined {
    // Nobody has asked for it yet: a hash map of all keys would cost a start more than all else that is made of them.
    let entry = this.#search(key);
    if (entry?.live) {
      if (entry.last.created !== created) return undefined;
      this.#supersede(entry.last);
      entry.last.append(at.main, at.sub);
      entry.last.version = version;
      this.#list(entry);
    } else entry = this.#begin(key, entry, created, version, false, at.main, at.sub);
    this.wrote(entry, bytes);
    return entry;
  }

  /** A tombstone found in the backend at start; the puts before it may have been compacted. */
  restoreTombstone(key: ByteString, at: Revision, bytes: number): KeyIndex {
    let entry = this.#search(key);
    if (entry?.live) this.#end(entry, at.main, at.sub);
    else entry = this.#begin(key, entry, at.main, 0, true, at.main, at.sub);
    this.wrote(entry, bytes);
    return entry;
  }

  /** All rows up to main revision `newest` have been restored. */
  restored(newest: number): void {
    this.#liveness.restart(newest);
  }

  /** Forgets a key of which nothing is left after a compaction at `revision`. */
  remove(entry: KeyIndex, revision: number): void {
    assert(entry.ended && entry.lastMain <= revision, 'a key with revisions to keep stays in the index');
    this.#lookup.delete(entry.key);
    this.#dead.delete(entry.key);
    this.unlist(entry);
  }

  /** Takes a key off {@link history}. */
  unlist(entry: KeyIndex): void {
    entry.listed = false;
    this.history.delete(entry);
  }

  /** Living keys in [from, to). */
  countLive(from: ByteString, to: ByteString | undefined): number {
    return this.#live.countRange(from, to);
  }

  /** Visits living keys of [from, to) in order until `visit` returns false. */
  scanLive(from: ByteString, to: ByteString | undefined, visit: (key: ByteString, entry: KeyIndex) => boolean): void {
    this.#live.scan(from, to, visit);
  }

  /** Keys in [from, to) that lived at `main`; `undefined` when that is too long ago to be told without asking every key. */
  knownCount(from: ByteString, to: ByteString | undefined, main: number): number | undefined {
    const growth = this.#liveness.growthSince(main, from, to);
    return growth === undefined ? undefined : this.countLive(from, to) - growth;
  }

  /** Keys in [from, to) that lived at `main`. Cheap when that is not long ago, else every key is asked. */
  countAt(from: ByteString, to: ByteString | undefined, main: number): number {
    const known = this.knownCount(from, to, main);
    if (known !== undefined) return known;
    let count = 0;
    this.#scanAll(from, to, (entry) => {
      if (entry.existed(main)) count++;
      return true;
    });
    return count;
  }

  /** Visits, in key order, the keys of [from, to) that lived at `main`, and the revision they had; until false. */
  scanAt(
    from: ByteString,
    to: ByteString | undefined,
    main: number,
    visit: (entry: KeyIndex, at: Revision) => boolean,
  ): void {
    this.#scanAll(from, to, (entry) => {
      const at = entry.find(main);
      return at === undefined || visit(entry, at);
    });
  }

  /** Visits living and dead keys of [from, to) in order until `visit` returns false. */
  scanEach(from: ByteString, to: ByteString | undefined, visit: (entry: KeyIndex) => boolean): void {
    this.#scanAll(from, to, visit);
  }

  /**
   * Visits living and dead keys of [from, to) in order, at most `looks` of them, until `visit` returns false. Returns where
   * to go on, `undefined` when there is nothing left.
   */
  scanSlice(
    from: ByteString,
    to: ByteString | undefined,
    looks: number,
    visit: (entry: KeyIndex) => boolean,
  ): ByteString | undefined {
    let left = looks;
    let next: ByteString | undefined;
    this.#scanAll(from, to, (entry) => {
      const goOn = visit(entry) && --left > 0;
      if (!goOn) next = `${entry.key}\0`;
      return goOn;
    });
    return next;
  }

  #search(key: ByteString): KeyIndex | undefined {
    return this.#live.get(key) ?? (this.#dead.size === 0 ? undefined : this.#dead.get(key));
  }

  /** The living and the dead, in key order. */
  #scanAll(from: ByteString, to: ByteString | undefined, visit: (entry: KeyIndex) => boolean): void {
    const live = this.#live.cursor(from);
    const dead = this.#dead.cursor(from);
    for (;;) {
      const liveKey = live.key;
      const deadKey = dead.key;
      const cursor = deadKey === undefined || (liveKey !== undefined && liveKey < deadKey) ? live : dead;
      const key = cursor.key;
      if (key === undefined || (to !== undefined && key >= to) || !visit(cursor.value)) return;
      cursor.advance();
    }
  }

  #begin(
    key: ByteString,
    known: KeyIndex | undefined,
    created: number,
    version: number,
    ended: boolean,
    main: number,
    sub: number,
  ): KeyIndex {
    const entry = known ?? new KeyIndex(key, created, version, ended, main, sub);
    if (known !== undefined) known.begin(created, version, ended, main, sub);
    if (ended) this.#dead.set(key, entry);
    else {
      if (known !== undefined) this.#dead.delete(key);
      this.#live.set(key, entry);
    }
    if (entry.hasHistory) this.#list(entry);
    return entry;
  }

  #end(entry: KeyIndex, main: number, sub: number): void {
    const generation = entry.last;
    this.#supersede(generation);
    generation.append(main, sub);
    generation.ended = true;
    this.#live.delete(entry.key);
    this.#dead.set(entry.key, entry);
    this.#list(entry);
  }

  /** The last pair of a living generation is about to become history. */
  #supersede({ lastBytes }: Generation): void {
    this.#liveBytes -= lastBytes;
    this.#historyBytes += lastBytes;
  }

  #list(entry: KeyIndex): void {
    if (entry.listed) return;
    entry.listed = true;
    this.history.add(entry);
  }
}
