/**
 * Physical compaction: removes superseded revisions from index and backend, a little at a time. Owns the marks in the
 * `meta` bucket by which it resumes after a crash. What readers may still read is the store's business.
 */
import { GrpcStatus, otherError } from '../errors.ts';
import { assert } from '../util/assert.ts';
import { fromByteString } from '../util/bytes.ts';
import type { Backend } from './backend.ts';
import type { Generation, KeyIndex } from './key-index.ts';
import type { KeySpace } from './key-space.ts';
import { revisionIn, revisionKey, tombstoneKey } from './revision.ts';
import { SupersededRows } from './superseded-rows.ts';

/** etcd's names in the `meta` bucket; the values are revisions in the layout of revision.ts. */
const SCHEDULED = 'scheduledCompactRev';
const FINISHED = 'finishedCompactRev';

/** What compactRevision is before the first compaction. */
export const NEVER_COMPACTED = -1;

/**
 * Marks everything superseded at `revision` as gone, in a backend that no store is open on: the next start has it that way,
 * and that revision as its own if no row is newer.
 */
export function scheduleCompaction(backend: Backend, revision: number): void {
  backend.put('meta', SCHEDULED, fromByteString(revisionKey(revision, 0)));
}

/**
 * One compaction. First it walks over the keys that had a history when it began, and takes what is superseded out of the
 * index; then it removes those rows from the backend, the oldest first.
 */
interface Pass {
  revision: number;
  keys: Iterator<KeyIndex>;
  keysLeft: number;
  rows: SupersededRows;
}

/** A key in the middle of its compaction: its rows are noted, and still in the index. */
interface Place {
  entry: KeyIndex;
  /** The generations before this one are done with. */
  generation: number;
  /** So many of that generation's first revisions are noted. */
  noted: number;
}

export class Compaction {
  readonly #backend: Backend;
  readonly #space: KeySpace;
  /** So far, for metrics. */
  removedRows = 0;
  #scheduled: number;
  #finished: number;
  #pass: Pass | undefined;
  #place: Place | undefined;

  constructor(backend: Backend, space: KeySpace) {
    this.#backend = backend;
    this.#space = space;
    this.#scheduled = this.#mark(SCHEDULED);
    this.#finished = this.#mark(FINISHED);
  }

  /** The revision compacted at last, logically: {@link NEVER_COMPACTED} before the first. */
  get revision(): number {
    return Math.max(this.#scheduled, this.#finished);
  }

  /** Records the duty to compact at `revision`; the next commit makes it last. */
  schedule(revision: number): void {
    assert(revision > this.revision, 'compactions ascend');
    this.#scheduled = revision;
    scheduleCompaction(this.#backend, revision);
  }

  /**
   * Does at most `budget` steps; looking at a key is one, each of its superseded revisions is one, and so is removing that
   * one later. True when nothing is left to do. The oldest rows go first, so what a crash leaves of a key is always a
   * shorter history and never one with a hole: the next start finds it in the backend, and compacts again.
   */
  slice(budget: number): boolean {
    let left = budget;
    while (left > 0 && this.#finished < this.#scheduled) {
      this.#pass ??= {
        revision: this.#scheduled,
        keys: this.#space.history.values(),
        keysLeft: this.#space.history.size,
        rows: new SupersededRows(),
      };
      this.#place ??= this.#nextPlace(this.#pass);
      if (this.#place !== undefined) left -= this.#noteSome(this.#place, this.#pass, left);
      else if (this.#removeRow(this.#pass.rows)) left--;
      else this.#finish(this.#pass.revision);
    }
    return this.#finished >= this.#scheduled;
  }

  /** Keys that joined later (they are behind the others) had nothing to remove when the pass began. */
  #nextPlace(pass: Pass): Place | undefined {
    if (pass.keysLeft === 0) return undefined;
    pass.keysLeft--;
    const next = pass.keys.next();
    return next.done === true ? undefined : { entry: next.value, generation: 0, noted: 0 };
  }

  /** Goes on with one key and returns how many steps that took. */
  #noteSome(place: Place, { revision, rows }: Pass, budget: number): number {
    const { entry } = place;
    let left = budget;
    while (place.generation < entry.generations) {
      const generation = entry.generation(place.generation);
      const target = generation.superseded(revision);
      if (target === 0) break;
      while (place.noted < target) {
        if (left === 0) return budget;
        this.#note(rows, generation, place.noted++);
        left--;
      }
      if (target < generation.length) break;
      place.generation++;
      place.noted = 0;
    }
    this.#settle(place, revision);
    return budget - left + 1;
  }

  #note(rows: SupersededRows, generation: Generation, index: number): void {
    const { main, sub } = generation.at(index);
    rows.add(main, sub, generation.isTombstone(index));
    this.#space.removedRow(generation.bytesAt(index));
  }

  /** Takes out of the index what is noted of a key. */
  #settle(place: Place, revision: number): void {
    const { entry } = place;
    if (place.generation === entry.generations) this.#space.remove(entry, revision);
    else {
      entry.dropGenerations(place.generation);
      entry.generation(0).dropFirst(place.noted);
      if (!entry.hasHistory) this.#space.unlist(entry);
    }
    this.#place = undefined;
  }

  /** False when there was none. */
  #removeRow(rows: SupersededRows): boolean {
    const row = rows.take();
    if (row === undefined) return false;
    const { main, sub, isTombstone } = row;
    this.removedRows++;
    this.#backend.delete('key', isTombstone ? tombstoneKey(main, sub) : revisionKey(main, sub));
    return true;
  }

  #finish(revision: number): void {
    this.#finished = revision;
    this.#pass = undefined;
    this.#backend.put('meta', FINISHED, fromByteString(revisionKey(revision, 0)));
  }

  #mark(name: string): number {
    const value = this.#backend.get('meta', name);
    if (value === undefined) return NEVER_COMPACTED;
    const mark = revisionIn(value);
    if (mark === undefined) {
      throw otherError(GrpcStatus.DATA_LOSS, `the store is damaged: its ${name} is not a revision`);
    }
    return mark.main;
  }
}
