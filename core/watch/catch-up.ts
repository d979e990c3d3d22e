/**
 * Watchers behind in history, and their way back to the present: slices of revisions read from the store, one read for
 * all who are within the slice. Slices go by turns to the watcher furthest behind and to the one nearest to the
 * present: the first turn leaves nobody behind for ever, the second keeps those who missed little from waiting for
 * those who missed much. Never sends to a blocked stream.
 */

import type { KvStore, RevisionEvents } from '../mvcc/kv-store.ts';
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import { Delivery } from './delivery.ts';
import type { WatchLimits } from './limits.ts';
import { eventBytes } from './responses.ts';
import type { WatchStream } from './watch-stream.ts';
import type { Watcher } from './watcher.ts';
import { WatcherIndex } from './watcher-index.ts';

/** What the first slice reads: little, until it is known how much there is to send. */
const FIRST_SLICE_REVISIONS = 64;
/** Bytes of events that weigh as much as one more event. */
const BYTES_PER_COST = 1024;

/** Where history is read. */
type History = Pick<KvStore, 'revision' | 'compactRevision' | 'events' | 'at'>;

export class CatchUp {
  #store: History;
  readonly #delivery: Delivery;
  readonly #limits: Readonly<WatchLimits>;
  readonly #onSynced: (watcher: Watcher) => void;
  /** Every watcher here. */
  readonly #index = new WatcherIndex();
  /** Streams that are not blocked and have a watcher here. */
  readonly #ready = new Set<WatchStream>();
  readonly #matched: Watcher[] = [];
  #sliceRevisions: number;
  #furthestFirst = true;
  #cost = 0;

  constructor(store: History, limits: Readonly<WatchLimits>, onSynced: (watcher: Watcher) => void) {
    this.#store = store;
    this.#delivery = new Delivery(store);
    this.#limits = limits;
    this.#onSynced = onSynced;
    this.#sliceRevisions = Math.min(FIRST_SLICE_REVISIONS, limits.sliceRevisionsMax);
  }

  /** From now on history is read from here: it holds the same, as far as it is not compacted, and more. */
  replaceStore(store: History): void {
    this.#store = store;
    this.#delivery.replaceStore(store);
  }

  /** Watchers here. */
  get size(): number {
    return this.#index.size;
  }

  /** Whether a slice would do anything. */
  get waiting(): boolean {
    return this.#ready.size > 0;
  }

  /** `watcher`, in no index, has seen everything before `revision`. */
  add(watcher: Watcher, revision: number): void {
    watcher.synced = false;
    watcher.nextRevision = revision;
    this.#index.add(watcher);
    watcher.stream.unsynced.add(watcher);
    this.streamChanged(watcher.stream);
  }

  delete(watcher: Watcher): void {
    this.#index.delete(watcher);
    watcher.stream.unsynced.delete(watcher);
    this.streamChanged(watcher.stream);
  }

  /** `stream` may have become blocked, free, empty or closed. */
  streamChanged(stream: WatchStream): void {
    if (stream.blocked || stream.closed || stream.unsynced.size === 0) this.#ready.delete(stream);
    else this.#ready.add(stream);
  }

  /** Advances some watchers by some revisions. True when more is waiting. */
  slice(): boolean {
    const from = this.#choose();
    if (from === undefined) return this.waiting;
    const { batches, next } = this.#store.events(from, this.#sliceRevisions, this.#isWatched);
    assert(next > from && next <= this.#store.revision + 1, 'a slice of history moves on');
    this.#cost = 0;
    for (const batch of batches) this.#collect(batch, from);
    this.#send(this.#within(from, next), next);
    this.#adapt();
    return this.waiting;
  }

  readonly #isWatched = (key: ByteString): boolean => this.#index.has(key);

  /** Where the next slice begins; cancels on the way those whose history has been compacted. */
  #choose(): number | undefined {
    const compacted = this.#store.compactRevision;
    const overtaken: Watcher[] = [];
    let lowest = Number.POSITIVE_INFINITY;
    let highest = 0;
    for (const stream of this.#ready) {
      for (const watcher of stream.unsynced) {
        const { nextRevision } = watcher;
        if (nextRevision < compacted) {
          overtaken.push(watcher);
          continue;
        }
        if (nextRevision < lowest) lowest = nextRevision;
        if (nextRevision > highest) highest = nextRevision;
      }
    }
    for (const watcher of overtaken) {
      if (!watcher.gone && !watcher.stream.blocked) watcher.stream.cancelCompacted(watcher, compacted);
    }
    this.#furthestFirst = !this.#furthestFirst;
    if (highest === 0) return undefined;
    return this.#furthestFirst ? lowest : highest;
  }

  /** Gives the events of one revision to the watchers that are within the slice and have not had them. */
  #collect({ revision, events }: RevisionEvents, from: number): void {
    const matched = this.#matched;
    for (const event of events) {
      matched.length = 0;
      this.#index.match(event.kv!.key, matched);
      const encoded = this.#delivery.take(event);
      for (const watcher of matched) {
        const { nextRevision } = watcher;
        if (nextRevision < from || nextRevision > revision) continue;
        if (watcher.stream.blocked || !watcher.wants(event)) continue;
        this.#delivery.give(watcher);
        this.#cost++;
      }
      this.#cost += 1 + eventBytes(encoded) / BYTES_PER_COST;
    }
  }

  /** The watchers whom a slice of [from, next) advances. */
  #within(from: number, next: number): Watcher[] {
    const within: Watcher[] = [];
    for (const stream of this.#ready) {
      for (const watcher of stream.unsynced) {
        if (watcher.nextRevision >= from && watcher.nextRevision < next) within.push(watcher);
      }
    }
    return within;
  }

  #send(watchers: readonly Watcher[], next: number): void {
    const { revision } = this.#store;
    for (const watcher of watchers) watcher.nextRevision = next;
    this.#delivery.send(revision, (watcher, unsent) => {
      watcher.nextRevision = unsent;
    });
    for (const watcher of watchers) {
      if (watcher.gone || watcher.nextRevision <= revision) continue;
      this.delete(watcher);
      watcher.synced = true;
      this.#onSynced(watcher);
    }
  }

  /** Reads less next time when this slice was heavy, more when it was light. */
  #adapt(): void {
    const { sliceCostMax, sliceRevisionsMax } = this.#limits;
    if (this.#cost > sliceCostMax) this.#sliceRevisions = Math.max(1, this.#sliceRevisions >> 1);
    else if (2 * this.#cost <= sliceCostMax)
      this.#sliceRevisions = Math.min(sliceRevisionsMax, this.#sliceRevisions * 2);
  }
}
