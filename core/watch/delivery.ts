/**
 * One delivery of events: of one revision when it is made, of a slice of history when watchers catch up. Collects first
 * who gets which events, then lets each stream send to its watchers. Owns the lists in between; decides neither who
 * wants an event nor what becomes of who did not get it.
 */

import type { KvStore } from '../mvcc/kv-store.ts';
import { assert } from '../util/assert.ts';
import { type Event, EventType } from '../wire/messages.ts';
import { EventList } from './event-list.ts';
import { encodedEvent } from './responses.ts';
import type { WatchStream } from './watch-stream.ts';
import type { Watcher } from './watcher.ts';

/** `revision` is the first of which `watcher` has had nothing. */
export type Unsent = (watcher: Watcher, revision: number) => void;

export class Delivery {
  #store: Pick<KvStore, 'at'>;
  /** Streams with a watcher that gets something. */
  readonly #streams: WatchStream[] = [];
  /** What the watchers' lists begin with: of those who want no previous pairs, and of those who do. */
  #plain = EventList.empty();
  #previous = EventList.empty();
  #event: Event | undefined;
  /** The same with its previous pair, once anybody wants it. */
  #withPrevious: Event | undefined;

  constructor(store: Pick<KvStore, 'at'>) {
    this.#store = store;
  }

  /** From now on previous pairs are looked up here. */
  replaceStore(store: Pick<KvStore, 'at'>): void {
    this.#store = store;
  }

  /** What {@link give} gives from now on; events come in order. Returns it with its encoding. */
  take(event: Event): Event {
    this.#withPrevious = undefined;
    this.#event = encodedEvent(event);
    return this.#event;
  }

  give(watcher: Watcher): void {
    assert(this.#event !== undefined, 'an event is taken before it is given');
    let list = watcher.pending;
    if (list === undefined) {
      list = watcher.prevKv ? this.#previous : this.#plain;
      const { due } = watcher.stream;
      if (due.push(watcher) === 1) this.#streams.push(watcher.stream);
    } else list.holders--;
    if (watcher.prevKv) this.#withPrevious ??= encodedEvent(this.#lookUp(this.#event));
    const longer = list.with(watcher.prevKv ? this.#withPrevious! : this.#event);
    longer.holders++;
    watcher.pending = longer;
  }

  /** Sends what was given; `unsent` hears of those whose stream would not take it. `revision` is that of the headers. */
  send(revision: number, unsent: Unsent): void {
    for (const stream of this.#streams) stream.deliver(revision, unsent);
    this.#streams.length = 0;
    this.#plain = EventList.empty();
    this.#previous = EventList.empty();
    this.#event = undefined;
    this.#withPrevious = undefined;
  }

  /** `event` with the pair one revision earlier: without when it created the key, or that history is compacted. */
  #lookUp(event: Event): Event {
    const kv = event.kv!;
    if (event.type === EventType.values.PUT && kv.create_revision === kv.mod_revision) return event;
    const previous = this.#store.at(kv.key, kv.mod_revision - 1);
    // A new object: `event` carries an encoding, and that one has no prev_kv.
    return previous === undefined ? event : { type: event.type, kv, prev_kv: previous };
  }
}
