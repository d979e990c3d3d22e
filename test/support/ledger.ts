/**
 * The outside record of what a store has promised. Writers note each attempt and each acknowledgement; after any
 * accident the ledger says whether the store still keeps every promise.
 */
import type { Event, KeyValue } from '../../core/wire/messages.ts';

export interface Acknowledged {
  key: string;
  value: string;
  revision: number;
}

export class Ledger {
  /** Every acknowledged put, in the order of the acknowledgements. */
  readonly acknowledged: Acknowledged[] = [];
  /** Every value ever sent, whether or not its outcome is known. */
  readonly attempted = new Map<string, Set<string>>();
  readonly #latest = new Map<string, Acknowledged>();
  revisionMax = 0;

  attempt(key: string, value: string): void {
    const values = this.attempted.get(key);
    if (values === undefined) this.attempted.set(key, new Set([value]));
    else values.add(value);
  }

  acknowledge(key: string, value: string, revision: number): void {
    const entry = { key, value, revision };
    this.acknowledged.push(entry);
    // A key has one writer, so its acknowledgements come in order.
    this.#latest.set(key, entry);
    this.revisionMax = Math.max(this.revisionMax, revision);
  }

  /** What is wrong with the store's content; nothing when it keeps every promise. */
  problemsWith(kvs: readonly KeyValue[], revision: number): string[] {
    const problems: string[] = [];
    if (revision < this.revisionMax) problems.push(`revision went back from ${this.revisionMax} to ${revision}`);
    const found = new Map(kvs.map((kv) => [kv.key, kv]));
    for (const { key, value, revision: promised } of this.#latest.values()) {
      const kv = found.get(key);
      if (kv === undefined) problems.push(`${key} = ${value} of revision ${promised} is gone`);
      else if (kv.mod_revision < promised)
        problems.push(`${key} is back at ${kv.mod_revision}, ${promised} was acknowledged`);
      else if (kv.mod_revision === promised && text(kv) !== value) problems.push(`${key} is ${text(kv)}, not ${value}`);
      else if (!this.attempted.get(key)!.has(text(kv))) problems.push(`${key} is ${text(kv)}, which nobody wrote`);
    }
    return problems;
  }
}

/** What one watcher has seen, judged as it comes. */
export class WatchRecord {
  readonly problems: string[] = [];
  /** Revision -> `key=value`. */
  readonly seen = new Map<number, string>();
  #last = 0;

  take(events: readonly Event[]): void {
    for (const { kv } of events) {
      const revision = kv!.mod_revision;
      if (revision <= this.#last) this.problems.push(`revision ${revision} after ${this.#last}`);
      this.#last = revision;
      this.seen.set(revision, `${kv!.key}=${text(kv!)}`);
    }
  }

  get last(): number {
    return this.#last;
  }

  /** Acknowledged puts the watcher did not see as they were acknowledged. */
  missing(ledger: Ledger): string[] {
    return ledger.acknowledged
      .filter(({ key, value, revision }) => this.seen.get(revision) !== `${key}=${value}`)
      .map(({ key, revision }) => `${key} at ${revision}`);
  }
}

function text(kv: KeyValue): string {
  return Buffer.from(kv.value).toString('utf8');
}
