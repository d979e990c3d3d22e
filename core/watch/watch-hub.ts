/**
 * All watches of one store. Live events go to synced watchers as they are made; whoever joined late, or whose stream
 * is blocked, is behind in history and caught up from the store in slices. So a slow client costs no memory, only
 * reads: nothing is ever queued for it. Never waits, never drops, never sends an event twice.
 */

import type { KvStore, RevisionEvents } from '../mvcc/kv-store.ts';
import { assert } from '../util/assert.ts';
import type { Event } from '../wire/messages.ts';
import { CatchUp } from './catch-up.ts';
import { Delivery } from './delivery.ts';
import { WATCH_LIMITS, type WatchLimits } from './limits.ts';
import { type WatchSink, WatchStream } from './watch-stream.ts';
import type { Watcher } from './watcher.ts';
import { WatcherIndex } from './watcher-index.ts';

export interface WatchHubOptions {
  store: Pick<KvStore, 'revision' | 'compactRevision' | 'events' | 'at'>;
  /** Monotonic; only intervals matter. */
  clock: { nowMs(): number };
  /** How often a silent watch that asked for it is told the revision; above 0. */
  progressIntervalMs: number;
  limits?: Partial<WatchLimits>;
  /** Called when {@link WatchHub.work} has something to do again after it had nothing. */
  onWork?: () => void;
}

export class WatchHub {
  readonly limits: Readonly<WatchLimits>;
  #store: WatchHubOptions['store'];
  readonly #clock: WatchHubOptions['clock'];
  readonly #progressIntervalMs: number;
  readonly #onWork: (() => void) | undefined;
  readonly #synced = new WatcherIndex();
  readonly #catchUp: CatchUp;
  readonly #delivery: Delivery;
  /** Streams with a watcher that wants progress, the one due first in front. */
  readonly #progress = new Set<WatchStream>();
  /** Scratch of `#collect`. */
  readonly #matched: Watcher[] = [];
  #streams = 0;

  constructor(options: WatchHubOptions) {
    assert(options.progressIntervalMs > 0, 'the progress interval must be above 0');
    this.limits = { ...WATCH_LIMITS, ...options.limits };
    this.#store = options.store;
    this.#clock = options.clock;
    this.#progressIntervalMs = options.progressIntervalMs;
    this.#onWork = options.onWork;
    this.#delivery = new Delivery(options.store);
    this.#catchUp = new CatchUp(options.store, this.limits, (watcher) => this.#synced.add(watcher));
  }

  /** The store's revision. */
  get revision(): number {
    return this.#store.revision;
  }

  /** Open streams, all watches, and those of them that are behind. */
  get counts(): { streams: number; watchers: number; unsynced: number } {
    const unsynced = this.#catchUp.size;
    return { streams: this.#streams, watchers: this.#synced.size + unsynced, unsynced };
  }

  /** A new stream without watches. To be closed by the caller. */
  stream(sink: WatchSink): WatchStream {
    this.#streams++;
    return new WatchStream(this, sink);
  }

  /** The store has made this revision: its only caller is the store's onRevision, once per revision, in order. */
  notify(batch: RevisionEvents): void {
    if (this.#synced.size === 0) return;
    for (const event of batch.events) this.#collect(event, batch.revision);
    this.#delivery.send(batch.revision, this.#fallBehind);
  }

  /**
   * `store` has taken the place of the one before: it is the same history, continued, perhaps compacted further. Nobody
   * was told of what it has gone on by, so all who would have been are behind in history (etcd #15271: neither do
   * revisions go back nor are events lost or repeated).
   */
  replaceStore(store: WatchHubOptions['store']): void {
    const told = this.#store.revision;
    assert(store.revision >= told, 'revisions never go back');
    this.#store = store;
    this.#catchUp.replaceStore(store);
    this.#delivery.replaceStore(store);
    for (const watcher of this.#synced.all()) {
      const from = Math.max(told + 1, watcher.startRevision);
      if (from <= store.revision) this.#fallBehind(watcher, from);
    }
  }

  /** Whether {@link work} has anything to do. */
  get waiting(): boolean {
    return this.#catchUp.waiting;
  }

  /** One slice of catching up, about 2 ms at most. True when more is waiting. */
  work(): boolean {
    return this.#catchUp.slice();
  }

  /** To be called a few times per progress interval (etcd's is never below 100 ms). */
  tick(): void {
    const now = this.#clock.nowMs();
    let budget = this.limits.progressStreamsPerTick;
    for (const stream of this.#progress) {
      if (stream.progressAtMs > now || budget-- === 0) return;
      this.#scheduleProgress(stream);
      stream.notifyProgress(this.#store.revision);
    }
  }

  // ---- for the streams

  /** `watcher` has been announced to its client: from now on it gets events. */
  begin(watcher: Watcher): void {
    watcher.begun = true;
    if (watcher.progressNotify) {
      watcher.stream.progress.add(watcher);
      if (!this.#progress.has(watcher.stream)) this.#scheduleProgress(watcher.stream);
    }
    if (watcher.startRevision > this.#store.revision) this.#synced.add(watcher);
    else this.#addUnsynced(watcher, watcher.startRevision);
  }

  /** `watcher` is gone. */
  end(watcher: Watcher): void {
    const { stream } = watcher;
    stream.progress.delete(watcher);
    if (stream.progress.size === 0) this.#progress.delete(stream);
    if (watcher.synced) this.#synced.delete(watcher);
    else this.#catchUp.delete(watcher);
  }

  /** `stream` is blocked, or no longer. */
  streamChanged(stream: WatchStream): void {
    const idle = !this.#catchUp.waiting;
    this.#catchUp.streamChanged(stream);
    if (idle && this.#catchUp.waiting) this.#onWork?.();
  }

  streamClosed(stream: WatchStream): void {
    this.#streams--;
    this.#catchUp.streamChanged(stream);
  }

  // ---- inner

  /** Gives `event` to the synced watchers it is for, without sending yet: a revision goes out whole. */
  #collect(event: Event, revision: number): void {
    const matched = this.#matched;
    matched.length = 0;
    this.#synced.match(event.kv!.key, matched);
    if (matched.length > 0) this.#delivery.take(event);
    for (const watcher of matched) {
      if (revision < watcher.startRevision || !watcher.wants(event)) continue;
      if (watcher.stream.blocked) {
        this.#fallBehind(watcher, revision);
        continue;
      }
      this.#delivery.give(watcher);
    }
  }

  readonly #fallBehind = (watcher: Watcher, revision: number): void => {
    assert(watcher.synced, 'only a synced watcher falls behind');
    this.#synced.delete(watcher);
    this.#addUnsynced(watcher, revision);
  };

  #addUnsynced(watcher: Watcher, revision: number): void {
    const idle = !this.#catchUp.waiting;
    this.#catchUp.add(watcher, revision);
    if (idle && this.#catchUp.waiting) this.#onWork?.();
  }

  #scheduleProgress(stream: WatchStream): void {
    stream.progressAtMs = this.#clock.nowMs() + this.#progressIntervalMs;
    this.#progress.delete(stream);
    this.#progress.add(stream);
  }
}
