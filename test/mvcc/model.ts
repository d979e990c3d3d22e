import type { KeyLeases, KeyMeta, RangeOptions, RangeResult, ReadRefusal } from '../../core/mvcc/kv-store.ts';
import { revisionKey, tombstoneKey } from '../../core/mvcc/revision.ts';
import { type ByteString, EMPTY_BYTES, fromByteString, toByteString } from '../../core/util/bytes.ts';
import { type Event, EventType, type KeyValue } from '../../core/wire/messages.ts';

/** One change, as a naive store remembers it. */
interface Change {
  main: number;
  sub: number;
  key: ByteString;
  /** Undefined: deleted. */
  pair: KeyValue | undefined;
}

/** Leases as a plain map, to compare with. */
export class LeaseMap implements KeyLeases {
  readonly of = new Map<ByteString, bigint>();
  /** Leases that do not exist. */
  readonly missing = new Set<bigint>();
  has(lease: bigint): boolean {
    return !this.missing.has(lease);
  }
  attach(lease: bigint, key: ByteString): void {
    if (lease === 0n) throw new Error('lease 0 is none');
    this.of.set(key, lease);
  }
  detach(key: ByteString): void {
    this.of.delete(key);
  }
}

/** The store as a list of everything that ever happened: slow, and too simple to be wrong. */
export class Model {
  changes: Change[] = [];
  current = 1;
  compacted = -1;

  clone(): Model {
    const copy = new Model();
    copy.changes = [...this.changes];
    copy.current = this.current;
    copy.compacted = this.compacted;
    return copy;
  }

  /** Pairs as they were at `revision`, in key order. */
  stateAt(revision: number): Map<ByteString, KeyValue> {
    const state = new Map<ByteString, KeyValue>();
    for (const { main, key, pair } of this.changes) {
      if (main > revision) break;
      if (pair === undefined) state.delete(key);
      else state.set(key, pair);
    }
    return new Map([...state].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Applies one write as part of transaction `main`. Returns what the store's writer returns. */
  put(main: number, key: ByteString, value: ByteString, lease: bigint): KeyValue {
    const old = this.stateAt(main).get(key);
    const pair: KeyValue = {
      key,
      create_revision: old?.create_revision ?? main,
      mod_revision: main,
      version: (old?.version ?? 0) + 1,
      value: value === '' ? EMPTY_BYTES : fromByteString(value),
      lease,
    };
    this.#add(main, key, pair);
    return pair;
  }

  deleteRange(main: number, key: ByteString, rangeEnd: ByteString): number {
    const doomed = [...this.stateAt(main).keys()].filter((k) => inRange(k, key, rangeEnd));
    for (const k of doomed) this.#add(main, k, undefined);
    return doomed.length;
  }

  range(key: ByteString, rangeEnd: ByteString, options: RangeOptions = {}): RangeResult | ReadRefusal {
    const revision = (options.revision ?? 0) <= 0 ? this.current : options.revision!;
    if (revision > this.current) return 'FutureRev';
    if (revision < this.compacted) return 'Compacted';
    const all = [...this.stateAt(revision).values()].filter((pair) => inRange(pair.key, key, rangeEnd));
    const limit = (options.limit ?? 0) > 0 ? options.limit! : all.length;
    return { kvs: options.countOnly ? [] : all.slice(0, limit), count: all.length, revision: this.current };
  }

  meta(key: ByteString): KeyMeta | undefined {
    const pair = this.stateAt(this.current).get(key);
    if (pair === undefined) return undefined;
    return { create_revision: pair.create_revision, mod_revision: pair.mod_revision, version: pair.version };
  }

  at(key: ByteString, revision: number): KeyValue | undefined {
    return revision < this.compacted ? undefined : this.stateAt(revision).get(key);
  }

  compact(revision: number): ReadRefusal | undefined {
    if (revision <= this.compacted) return 'Compacted';
    if (revision > this.current) return 'FutureRev';
    this.compacted = revision;
    return undefined;
  }

  /** Events from `from` on, which is not below the compacted revision. */
  events(from: number, wanted: (key: ByteString) => boolean): Map<number, Event[]> {
    const events = new Map<number, Event[]>();
    for (const { main, key, pair } of this.changes) {
      if (main < from || !wanted(key)) continue;
      const list = events.get(main) ?? [];
      events.set(main, list);
      list.push(
        pair === undefined
          ? { type: EventType.values.DELETE, kv: tombstone(key, main), prev_kv: undefined }
          : { type: EventType.values.PUT, kv: pair, prev_kv: undefined },
      );
    }
    return events;
  }

  leases(): Map<ByteString, bigint> {
    const pairs = [...this.stateAt(this.current).values()].filter((pair) => pair.lease !== 0n);
    return new Map(pairs.map((pair) => [pair.key, pair.lease]));
  }

  /** Rows the backend must have once compaction is through: what is at the revision or later, and what lived then. */
  rowsKept(): ByteString[] {
    const newest = new Map<ByteString, Change>();
    for (const change of this.changes) if (change.main <= this.compacted) newest.set(change.key, change);
    const kept = this.changes.filter((change) => {
      return change.main >= this.compacted || (newest.get(change.key) === change && change.pair !== undefined);
    });
    return kept.map(({ main, sub, pair }) => (pair === undefined ? tombstoneKey(main, sub) : revisionKey(main, sub)));
  }

  #add(main: number, key: ByteString, pair: KeyValue | undefined): void {
    const sub = this.changes.filter((change) => change.main === main).length;
    this.changes.push({ main, sub, key, pair });
    this.current = main;
  }
}

export function inRange(key: ByteString, from: ByteString, rangeEnd: ByteString): boolean {
  if (rangeEnd === '') return key === from;
  return key >= from && (rangeEnd === '\0' || key < rangeEnd);
}

function tombstone(key: ByteString, main: number): KeyValue {
  return { key, create_revision: 0, mod_revision: main, version: 0, value: EMPTY_BYTES, lease: 0n };
}

/** A result without the encodings it carries and with bytes as text, for comparison. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return toByteString(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}
