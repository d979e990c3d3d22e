/**
 * What the rest of core/ may ask of the multi-version store. The store is the only one who assigns revisions.
 * Semantics: etcd's mvcc (docs: "Data model"); see docs/architecture.md for the differences.
 */
import type { ErrorCode } from '../errors.ts';
import type { ByteString } from '../util/bytes.ts';
import type { Event, KeyValue } from '../wire/messages.ts';

export interface RangeOptions {
  /** Most pairs to return; 0 or less: all. */
  limit?: number;
  /** Revision to read at; 0 or less: the latest. */
  revision?: number;
  /** Only `count` is wanted; `kvs` stays empty. */
  countOnly?: boolean;
}

export interface RangeResult {
  /** In key order. The pairs are immutable and shared. */
  kvs: KeyValue[];
  /** Live keys in the whole range at that revision, whatever `limit` says. */
  count: number;
  /** The store's current revision at the time of the read (not the one asked for). */
  revision: number;
}

export interface SliceLimits {
  /** Most pairs; 0: none, and only the number of keys is wanted. */
  pairs: number;
  /** Their bytes; at least one pair is given all the same. */
  bytes: number;
  /** Keys to look at, whether or not they existed then. */
  looks: number;
}

export interface RangeSlice {
  kvs: KeyValue[];
  /** Keys that existed at the revision, among those looked at. */
  seen: number;
  /** Where to go on; `undefined`: the end of the range has been reached. */
  next: ByteString | undefined;
}

/** Part of a range whose pairs were handed over one by one. */
export interface EncodedSlice {
  /** How many. */
  given: number;
  /** As of {@link RangeSlice}. */
  seen: number;
  next: ByteString | undefined;
}

/** Part of a range, without its pairs. */
export interface MeasuredSlice {
  /** Encoded bytes of each pair, in order, at most as many as were asked for. */
  sizes: number[];
  /** Keys that existed at the revision, among those looked at. */
  seen: number;
  next: ByteString | undefined;
}

/** What lies one level below `prefix`; see {@link KvStore.children}. */
export interface ChildrenQuery {
  prefix: ByteString;
  /** Ends the name of a group; not empty. */
  delimiter: ByteString;
  /** In [from, to), which lies within the prefix; `to` undefined: no end. */
  from: ByteString;
  to: ByteString | undefined;
  /** As it was at this revision, which can be read: as for {@link KvStore.slice}. */
  revision: number;
  /** Whether the keys of groups are to be counted, as far as that is cheap. */
  count: boolean;
}

export interface ChildrenLimits {
  /** Most children; at least 1. */
  children: number;
  /** Keys to look at, whether or not they existed then; at least 1. One group is one look. */
  looks: number;
}

/** A key, or all keys that begin alike. */
export interface Child {
  /** The whole key; of a group what its keys begin with, the delimiter at the end. */
  name: ByteString;
  group: boolean;
  /** Of a key. */
  modRevision: number | undefined;
  /** How many keys it stands for; `undefined`: not counted. */
  keys: number | undefined;
}

export interface ChildrenSlice {
  /** In key order. */
  children: Child[];
  /** Where to go on; `undefined`: the end of the range has been reached. */
  next: ByteString | undefined;
}

/** What is known of a live key from the index alone. */
export interface KeyMeta {
  create_revision: number;
  mod_revision: number;
  version: number;
}

/** Called by the store when a key gets or loses a lease; implemented by core/lease. */
export interface KeyLeases {
  /** Whether there is such a lease, to which keys can be attached. */
  has(lease: bigint): boolean;
  /** Moves `key` to `lease` (never 0), off any other lease. */
  attach(lease: bigint, key: ByteString): void;
  detach(key: ByteString): void;
}

/** `rangeEnd`: '' one key, '\0' to the end of the key space, else exclusive end. */
export interface KvReader {
  /** `Compacted` or `FutureRev` instead of a result when the revision cannot be read. */
  range(key: ByteString, rangeEnd: ByteString, options?: RangeOptions): RangeResult | ReadRefusal;
  /** The key's metadata at the latest revision (for a writer: including its own writes), `undefined` when it does not exist. */
  meta(key: ByteString): KeyMeta | undefined;
}

export type ReadRefusal = Extract<ErrorCode, 'Compacted' | 'FutureRev'>;

/** One write transaction. Exactly one may be open; every change in it shares one main revision. */
export interface KvWriter extends KvReader {
  /** Returns the new pair. `lease` 0n detaches any lease. */
  put(key: ByteString, value: Uint8Array, lease: bigint): KeyValue;
  /** Deletes live keys of the range in key order; returns how many. */
  deleteRange(key: ByteString, rangeEnd: ByteString): number;
  /** Whether anything was written: then reads with revision 0 see it, and `end` bumps the revision. */
  readonly changed: boolean;
  /** Closes the transaction. Returns the store's revision afterwards (unchanged when nothing was written). */
  end(): number;
}

/** Events of one main revision, in order of their sub-revisions. `kv` (and the event itself) may carry its encoding. */
export interface RevisionEvents {
  revision: number;
  events: Event[];
}

/** What the rows of all pairs take, keys and values; the same on every replica but for what compaction has yet to remove. */
export interface StoreBytes {
  /** The newest pairs of living keys. */
  readonly live: number;
  /** Superseded pairs and tombstones: what compaction may free. */
  readonly history: number;
}

export interface KvStore extends KvReader {
  /** 1 for a fresh store. */
  readonly revision: number;
  /** -1 before the first compaction. */
  readonly compactRevision: number;
  /** Live keys now. */
  readonly keyCount: number;
  readonly bytes: StoreBytes;
  write(): KvWriter;
  /**
   * Marks everything superseded at `revision` as gone, at once for readers; removal happens in `compactSlice`.
   * Refusals as etcd's: <= last compact revision -> Compacted, > current -> FutureRev.
   */
  compact(revision: number): ReadRefusal | undefined;
  /**
   * Does up to `budget` steps of removal; looking at a key is one, removing an old revision from backend and index is
   * one. True when nothing is left to remove.
   */
  compactSlice(budget: number): boolean;
  /** Rows that compactions have removed in this process. */
  readonly compactedRows: number;
  /**
   * Events from `fromRevision` (inclusive, not below compactRevision) to the current revision, oldest first, keeping only
   * keys for which `wanted` is true. Looks at `revisionsMax` distinct revisions at most, wanted or not. `next` is where to
   * go on (current + 1 when caught up).
   */
  events(
    fromRevision: number,
    revisionsMax: number,
    wanted: (key: ByteString) => boolean,
  ): { batches: RevisionEvents[]; next: number };
  /**
   * Part of the keys in [from, to) as they were at `revision`, which can be read, or could be when its reader began and
   * nothing has been removed since. With `pairs` 0 they are only counted.
   */
  slice(from: ByteString, to: ByteString | undefined, revision: number, limits: SliceLimits): RangeSlice;
  /** The same for who only passes the pairs on: `take` gets the encoding of each, lent until it returns. */
  encodedSlice(
    from: ByteString,
    to: ByteString | undefined,
    revision: number,
    limits: SliceLimits,
    take: (pair: Uint8Array) => void,
  ): EncodedSlice;
  /** The same without the pairs: how large they are, mostly from the index alone. `limits.bytes` is of no account. */
  measure(from: ByteString, to: ByteString | undefined, revision: number, limits: SliceLimits): MeasuredSlice;
  /**
   * Part of the children of a prefix. At the present revision the cost is a search per group and a look per key outside of
   * groups; at an earlier one keys that did not exist then are looked at, too.
   */
  children(query: ChildrenQuery, limits: ChildrenLimits): ChildrenSlice;
  /** Keys that existed in [from, to) at `revision`, if that can be told without asking each; else `undefined`. */
  knownCount(from: ByteString, to: ByteString | undefined, revision: number): number | undefined;
  /** The pair as it was at `revision`, for prev_kv: `undefined` when there was none or it is compacted. */
  at(key: ByteString, revision: number): KeyValue | undefined;
}
