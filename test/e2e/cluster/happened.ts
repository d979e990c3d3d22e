/**
 * What happened to the keys, revision by revision, put together from what watchers were told. Every watcher is held to
 * the same account: in order, each revision once and whole, none left out.
 */
import { type Event, EventType } from '../../../core/wire/messages.ts';

/** `undefined`: the key was deleted. */
export interface Change {
  readonly revision: number;
  readonly value: string | undefined;
}

export class Happened {
  readonly problems: string[] = [];
  readonly #revisions = new Map<number, string>();
  readonly #byKey = new Map<string, Change[]>();
  /** Every value is written once at most. */
  readonly #byValue = new Map<string, number>();
  #last = 0;

  /** The newest revision anybody has told of. */
  get last(): number {
    return this.#last;
  }

  get size(): number {
    return this.#revisions.size;
  }

  /** What one watcher was told of one revision. */
  told(watcher: string, revision: number, events: readonly Event[]): void {
    const text = events.map(textOf).join(' ');
    const known = this.#revisions.get(revision);
    if (known !== undefined) {
      if (known !== text) this.problems.push(`revision ${revision} is "${known}", but "${text}" to ${watcher}`);
      return;
    }
    if (revision < this.#last)
      this.problems.push(`revision ${revision} was kept from whoever told of ${this.#last} first`);
    this.#revisions.set(revision, text);
    this.#last = Math.max(this.#last, revision);
    for (const event of events) this.#add(event, revision);
  }

  /** The revision that wrote `value`; undefined when that never happened. */
  revisionOf(value: string): number | undefined {
    return this.#byValue.get(value);
  }

  /** The last change of a key up to and including `revision`; undefined when there was none. */
  at(key: string, revision: number): Change | undefined {
    const changes = this.#byKey.get(key) ?? [];
    let low = 0;
    let high = changes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (changes[middle]!.revision <= revision) low = middle + 1;
      else high = middle;
    }
    return changes[low - 1];
  }

  /** All values ever written. */
  values(): Iterable<string> {
    return this.#byValue.keys();
  }

  #add(event: Event, revision: number): void {
    const { key } = event.kv!;
    const value = event.type === EventType.values.DELETE ? undefined : textOfValue(event);
    const changes = this.#byKey.get(key) ?? [];
    changes.push({ revision, value });
    this.#byKey.set(key, changes);
    if (value === undefined) return;
    const before = this.#byValue.get(value);
    if (before !== undefined) this.problems.push(`"${value}" was written at ${before} and again at ${revision}`);
    this.#byValue.set(value, revision);
  }
}

/** One watcher's place: it goes on from `next` on whatever stream it has then. */
export class WatchPlace {
  readonly name: string;
  readonly #happened: Happened;
  #last = 0;
  #promised = 0;
  seen = 0;

  constructor(name: string, happened: Happened) {
    this.name = name;
    this.#happened = happened;
  }

  get next(): number {
    return this.#last + 1;
  }

  /** The last revision it was told of. */
  get last(): number {
    return this.#last;
  }

  /** The events of one response; their revisions must follow on all that came before. */
  take(events: readonly Event[]): void {
    for (let from = 0; from < events.length; ) {
      const revision = events[from]!.kv!.mod_revision;
      let to = from;
      while (to < events.length && events[to]!.kv!.mod_revision === revision) to++;
      const floor = Math.max(this.#last, this.#promised);
      if (revision <= floor) this.#happened.problems.push(`${this.name} was told of ${revision} after ${floor}`);
      this.#last = Math.max(this.#last, revision);
      this.seen++;
      this.#happened.told(this.name, revision, events.slice(from, to));
      from = to;
    }
  }

  /** The server says that nothing up to `revision` is outstanding. */
  progress(revision: number): void {
    this.#promised = Math.max(this.#promised, revision);
  }
}

function textOfValue(event: Event): string {
  return Buffer.from(event.kv!.value).toString('utf8');
}

function textOf(event: Event): string {
  return event.type === EventType.values.DELETE ? `-${event.kv!.key}` : `${event.kv!.key}=${textOfValue(event)}`;
}
