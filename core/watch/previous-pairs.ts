/** Events with the pair they replaced, looked up once per delivery for all watchers that want it. */
import type { KvStore } from '../mvcc/kv-store.ts';
import { type Event, EventType } from '../wire/messages.ts';
import { encodedEvent } from './responses.ts';

export class PreviousPairs {
  #store: Pick<KvStore, 'at'>;
  readonly #made = new Map<Event, Event>();

  constructor(store: Pick<KvStore, 'at'>) {
    this.#store = store;
  }

  /** From now on pairs are looked up here. */
  replaceStore(store: Pick<KvStore, 'at'>): void {
    this.#store = store;
    this.clear();
  }

  /** `event` with prev_kv: the pair one revision earlier. Without, when the event created the key or history is compacted. */
  withPrevious(event: Event): Event {
    const made = this.#made.get(event);
    if (made !== undefined) return made;
    const result = encodedEvent(this.#make(event));
    this.#made.set(event, result);
    return result;
  }

  /** Forgets what was looked up. */
  clear(): void {
    if (this.#made.size > 0) this.#made.clear();
  }

  #make(event: Event): Event {
    const kv = event.kv!;
    if (event.type === EventType.values.PUT && kv.create_revision === kv.mod_revision) return event;
    const previous = this.#store.at(kv.key, kv.mod_revision - 1);
    // A new object: `event` may carry an encoding, and that one has no prev_kv.
    return previous === undefined ? event : { type: event.type, kv, prev_kv: previous };
  }
}
