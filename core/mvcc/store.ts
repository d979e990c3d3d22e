/**
 * The multi-version store: what kv-store.ts promises, made of an index in memory and pairs in a backend. The only one
 * who assigns revisions. Never decides who may write, and never commits the backend: whoever applies entries does.
 */
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import type { Event, KeyValue } from '../wire/messages.ts';
import type { Backend } from './backend.ts';
import { readChildren } from './children.ts';
import { Compaction } from './compaction.ts';
import { readEvents } from './history.ts';
import { KeySpace } from './key-space.ts';
import { KvHash } from './kv-hash.ts';
import type {
  ChildrenLimits,
  ChildrenQuery,
  ChildrenSlice,
  EncodedSlice,
  KeyLeases,
  KeyMeta,
  KvStore,
  KvWriter,
  MeasuredSlice,
  RangeOptions,
  RangeResult,
  RangeSlice,
  ReadRefusal,
  RevisionEvents,
  SliceLimits,
  StoreBytes,
} from './kv-store.ts';
import { Pairs } from './pairs.ts';
import { measureSlice, readEncodedSlice, readMeta, readRange, readSlice, type View } from './reader.ts';
import { restoreIndex } from './restore.ts';
import { Writer } from './writer.ts';

/** The revision of a store nothing was ever written to. */
export const FIRST_REVISION = 1;

export interface MvccStoreOptions {
  backend: Backend;
  leases: KeyLeases;
  /** Called at the end of every transaction that changed something, when the store is readable again. */
  onRevision?: (batch: RevisionEvents) => void;
  /** See PAIR_CACHE_BYTES_MAX. */
  pairCacheBytesMax?: number;
}

/** Changes made in this process, for metrics. */
export interface ChangeCounts {
  puts: number;
  deletes: number;
  /** Transactions with more than one change, as etcd counts them. */
  txns: number;
}

export class MvccStore implements KvStore {
  readonly #backend: Backend;
  readonly #leases: KeyLeases;
  readonly #onRevision: ((batch: RevisionEvents) => void) | undefined;
  readonly #view: View;
  readonly #compaction: Compaction;
  readonly #changes: ChangeCounts = { puts: 0, deletes: 0, txns: 0 };
  #revision: number;
  #restored: boolean;
  #writing = false;

  /** A store on an empty backend is ready at once; on any other, {@link restore} must be run to its end first. */
  constructor({ backend, leases, onRevision, pairCacheBytesMax }: MvccStoreOptions) {
    this.#backend = backend;
    this.#leases = leases;
    this.#onRevision = onRevision;
    const space = new KeySpace();
    this.#compaction = new Compaction(backend, space);
    this.#view = {
      space,
      pairs: new Pairs(backend, pairCacheBytesMax),
      current: Math.max(FIRST_REVISION, this.#compaction.revision),
      compacted: this.#compaction.revision,
    };
    this.#revision = this.#view.current;
    this.#restored = this.#isEmpty();
  }

  /**
   * Reads the backend, some milliseconds' worth per step: run it to the end before anything else. Yields the number of
   * rows read so far. An interrupted compaction goes on with the next compactSlice. Throws a RosterError when the
   * rows contradict each other.
   */
  *restore(): Generator<number, void> {
    if (this.#restored) return;
    const newest = yield* restoreIndex(this.#backend, this.#view.space, this.#leases);
    // A compaction may have removed the newest rows of all: the revision must not go back (etcd #17780).
    this.#view.current = Math.max(this.#view.current, newest);
    this.#view.space.restored(newest);
    this.#revision = this.#view.current;
    this.#restored = true;
  }

  get revision(): number {
    return this.#revision;
  }

  get compactRevision(): number {
    return this.#view.compacted;
  }

  get keyCount(): number {
    return this.#view.space.liveCount;
  }

  get changes(): Readonly<ChangeCounts> {
    return this.#changes;
  }

  get bytes(): StoreBytes {
    const { liveBytes, historyBytes } = this.#view.space;
    return { live: liveBytes, history: historyBytes };
  }

  range(key: ByteString, rangeEnd: ByteString, options: RangeOptions = {}): RangeResult | ReadRefusal {
    this.#assertIdle();
    return readRange(this.#view, key, rangeEnd, options);
  }

  meta(key: ByteString): KeyMeta | undefined {
    this.#assertIdle();
    return readMeta(this.#view.space, key);
  }

  write(): KvWriter {
    this.#assertIdle();
    this.#writing = true;
    return new Writer({
      view: this.#view,
      leases: this.#leases,
      wantEvents: this.#onRevision !== undefined,
      ended: (puts, deletes, events) => this.#ended(puts, deletes, events),
    });
  }

  compact(revision: number): ReadRefusal | undefined {
    this.#assertIdle();
    if (revision <= this.#view.compacted) return 'Compacted';
    if (revision > this.#view.current) return 'FutureRev';
    this.#compaction.schedule(revision);
    this.#view.compacted = revision;
    return undefined;
  }

  get compactedRows(): number {
    return this.#compaction.removedRows;
  }

  compactSlice(budget: number): boolean {
    this.#assertIdle();
    return this.#compaction.slice(budget);
  }

  /** See KvStore.events. `fromRevision` must not be below compactRevision. */
  events(
    fromRevision: number,
    revisionsMax: number,
    wanted: (key: ByteString) => boolean,
  ): { batches: RevisionEvents[]; next: number } {
    this.#assertIdle();
    assert(fromRevision >= this.#view.compacted, 'the events asked for are compacted');
    return readEvents(this.#backend, this.#view.current, fromRevision, revisionsMax, wanted);
  }

  at(key: ByteString, revision: number): KeyValue | undefined {
    this.#assertIdle();
    if (revision < this.#view.compacted) return undefined;
    const entry = this.#view.space.any(key);
    const at = entry?.find(revision);
    return entry === undefined || at === undefined ? undefined : this.#view.pairs.at(entry, at.main, at.sub);
  }

  slice(from: ByteString, to: ByteString | undefined, revision: number, limits: SliceLimits): RangeSlice {
    this.#assertIdle();
    return readSlice(this.#view, from, to, revision, limits);
  }

  encodedSlice(
    from: ByteString,
    to: ByteString | undefined,
    revision: number,
    limits: SliceLimits,
    take: (pair: Uint8Array) => void,
  ): EncodedSlice {
    this.#assertIdle();
    return readEncodedSlice(this.#view, from, to, revision, limits, take);
  }

  measure(from: ByteString, to: ByteString | undefined, revision: number, limits: SliceLimits): MeasuredSlice {
    this.#assertIdle();
    return measureSlice(this.#view, from, to, revision, limits);
  }

  children(query: ChildrenQuery, limits: ChildrenLimits): ChildrenSlice {
    this.#assertIdle();
    return readChildren(this.#view, query, limits);
  }

  knownCount(from: ByteString, to: ByteString | undefined, revision: number): number | undefined {
    this.#assertIdle();
    return this.#view.space.knownCount(from, to, revision);
  }

  /** The hash of what there is at `revision` (0 or less: the current one), to be made in slices, between which the store may go on. */
  hash(revision: number): KvHash | ReadRefusal {
    this.#assertIdle();
    const at = revision <= 0 ? this.#view.current : revision;
    if (at > this.#view.current) return 'FutureRev';
    return at < this.#view.compacted ? 'Compacted' : new KvHash(this.#backend, this.#view, at);
  }

  #ended(puts: number, deletes: number, events: Event[]): void {
    this.#writing = false;
    this.#revision = this.#view.current;
    this.#changes.puts += puts;
    this.#changes.deletes += deletes;
    if (puts + deletes > 1) this.#changes.txns++;
    if (puts + deletes > 0) this.#onRevision?.({ revision: this.#view.current, events });
  }

  #isEmpty(): boolean {
    let empty = true;
    this.#backend.scan('key', '', undefined, () => {
      empty = false;
      return false;
    });
    return empty;
  }

  #assertIdle(): void {
    assert(this.#restored, 'the store must be restored first');
    assert(!this.#writing, 'a write transaction is open: ask the writer');
  }
}
