/**
 * What a watcher was sent, over all its streams, against what happened: ordered, each event once, none missing, a
 * revision never in two pieces, and no progress told ahead of the events before it.
 */
import type { WatchResponse } from '../../core/wire/messages.ts';
import type { Model } from '../apply/model.ts';
import { valueText } from './replay.ts';
import { check } from './violation.ts';

const WATCH = 'watch';

export class WatchLog {
  readonly name: string;
  /** The range watched, as in a request. */
  readonly key: string;
  readonly rangeEnd: string;
  /** The first revision that it has yet to be told of. */
  next: number;
  /** `revision`: events, in the order of arrival. */
  readonly #events: { revision: number; text: string }[] = [];
  /** Begins with the first revision watched; a compaction makes a new run. */
  readonly #runs: { from: number; to: number }[];
  /** Revisions it was told to be up to date with. */
  #told = 0;

  constructor(name: string, key: string, rangeEnd: string, from: number) {
    this.name = name;
    this.key = key;
    this.rangeEnd = rangeEnd;
    this.next = from;
    this.#runs = [{ from, to: from }];
  }

  get events(): number {
    return this.#events.length;
  }

  /** Takes a response with events, or one that tells the progress of a watcher that has been told everything. */
  took(response: WatchResponse): void {
    const { events } = response;
    if (events.length === 0) {
      this.#told = Math.max(this.#told, response.header!.revision);
      this.next = Math.max(this.next, response.header!.revision + 1);
      return;
    }
    let last = this.next - 1;
    for (const [place, { type, kv }] of events.entries()) {
      const revision = kv!.mod_revision;
      const fresh = place === 0 ? revision >= this.next : revision >= last;
      check(fresh, WATCH, () => {
        const { name } = this;
        return `${name} got revision ${revision} after ${last}${revision <= this.#told ? `, told up to ${this.#told}` : ''}`;
      });
      last = revision;
      this.#events.push({ revision, text: type === 0 ? `${kv!.key}=${valueText(kv)}` : `-${kv!.key}` });
    }
    this.next = last + 1;
  }

  /** What it has yet to see has been compacted: it goes on at `revision`. */
  compacted(revision: number): void {
    check(
      revision > this.next - 1,
      WATCH,
      () => `${this.name} was refused ${this.next}, compacted is only ${revision}`,
    );
    this.#runs.at(-1)!.to = this.next;
    this.#runs.push({ from: revision, to: revision });
    this.next = revision;
  }

  /** At rest: it must have been told of everything the model made. */
  check(model: Model): void {
    this.#runs.at(-1)!.to = model.revision + 1;
    const expected: string[] = [];
    for (const { from, to } of this.#runs) {
      for (let revision = from; revision < to; revision++) expected.push(...this.#eventsOf(model, revision));
    }
    const got = this.#events.map(({ revision, text }) => `${revision} ${text}`);
    const byRevision = (events: string[]) =>
      events.toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10) || (a < b ? -1 : 1));
    const wanted = byRevision(expected);
    for (const [place, event] of byRevision(got).entries()) {
      check(event === wanted[place], WATCH, () => `${this.name} got ${event}, expected ${wanted[place]}`);
    }
    const { length } = got;
    check(length === wanted.length, WATCH, () => `${this.name} missed ${wanted[length]} and what follows`);
  }

  #eventsOf(model: Model, revision: number): string[] {
    const before = model.states.get(revision - 1) ?? new Map();
    const after = model.states.get(revision) ?? new Map();
    const inRange = (key: string) =>
      this.rangeEnd === '' ? key === this.key : key >= this.key && (this.rangeEnd === '\0' || key < this.rangeEnd);
    const events: string[] = [];
    for (const [key, kv] of after) {
      if (inRange(key) && kv.mod_revision === revision) events.push(`${revision} ${key}=${valueText(kv)}`);
    }
    for (const key of before.keys()) if (inRange(key) && !after.has(key)) events.push(`${revision} -${key}`);
    return events;
  }
}
