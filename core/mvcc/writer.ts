/**
 * One write transaction. Changes go into index and backend as they are made, under the revision that follows the
 * store's; nothing is rolled back, so whoever writes has checked before that nothing can fail.
 */
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import { type Event, EventType, type KeyValue } from '../wire/messages.ts';
import type { KeyIndex } from './key-index.ts';
import type { KeyLeases, KeyMeta, KvWriter, RangeOptions, RangeResult, ReadRefusal } from './kv-store.ts';
import { rowBytes, tombstonePair } from './pairs.ts';
import { readMeta, readRange, type View } from './reader.ts';

/** What the store gives a writer, and what it gets back. */
export interface WriterContext {
  /** The writer moves `current` on with its first change. */
  view: View;
  leases: KeyLeases;
  /** Whether anybody wants the events. */
  wantEvents: boolean;
  /** Called once, when the transaction is closed. */
  ended(puts: number, deletes: number, events: Event[]): void;
}

export class Writer implements KvWriter {
  readonly #context: WriterContext;
  /** The main revision of every change. */
  readonly #main: number;
  /** The sub-revision of the next change. */
  #sub = 0;
  #deletes = 0;
  readonly #events: Event[] = [];
  #open = true;

  constructor(context: WriterContext) {
    this.#context = context;
    this.#main = context.view.current + 1;
  }

  get changed(): boolean {
    return this.#sub > 0;
  }

  range(key: ByteString, rangeEnd: ByteString, options: RangeOptions = {}): RangeResult | ReadRefusal {
    assert(this.#open, 'the transaction is closed');
    return readRange(this.#context.view, key, rangeEnd, options);
  }

  meta(key: ByteString): KeyMeta | undefined {
    assert(this.#open, 'the transaction is closed');
    return readMeta(this.#context.view.space, key);
  }

  put(key: ByteString, value: Uint8Array, lease: bigint): KeyValue {
    assert(key.length > 0, 'a key is not empty');
    const sub = this.#nextSub();
    const { view, leases, wantEvents } = this.#context;
    const entry = view.space.put(key, this.#main, sub);
    const pair = view.pairs.write(entry, this.#main, sub, value, lease);
    view.space.wrote(entry, rowBytes(pair));
    if (lease !== 0n) leases.attach(lease, key);
    else if (entry.leased) leases.detach(key);
    entry.leased = lease !== 0n;
    if (wantEvents) this.#events.push({ type: EventType.values.PUT, kv: pair, prev_kv: undefined });
    return pair;
  }

  deleteRange(key: ByteString, rangeEnd: ByteString): number {
    assert(this.#open, 'the transaction is closed');
    const { space } = this.#context.view;
    const doomed: KeyIndex[] = [];
    if (rangeEnd === '') {
      const entry = space.live(key);
      if (entry !== undefined) doomed.push(entry);
    } else {
      space.scanLive(key, rangeEnd === '\0' ? undefined : rangeEnd, (_key, entry) => {
        doomed.push(entry);
        return true;
      });
    }
    for (const entry of doomed) this.#delete(entry);
    return doomed.length;
  }

  end(): number {
    assert(this.#open, 'the transaction is closed');
    this.#open = false;
    this.#context.ended(this.#sub - this.#deletes, this.#deletes, this.#events);
    return this.#context.view.current;
  }

  #delete(entry: KeyIndex): void {
    const sub = this.#nextSub();
    this.#deletes++;
    const { view, leases, wantEvents } = this.#context;
    const { key } = entry;
    view.space.tombstone(entry, this.#main, sub);
    view.space.wrote(entry, view.pairs.writeTombstone(entry, this.#main, sub));
    if (entry.leased) leases.detach(key);
    entry.leased = false;
    if (wantEvents) {
      this.#events.push({ type: EventType.values.DELETE, kv: tombstonePair(key, this.#main), prev_kv: undefined });
    }
  }

  #nextSub(): number {
    assert(this.#open, 'the transaction is closed');
    this.#context.view.current = this.#main;
    return this.#sub++;
  }
}
