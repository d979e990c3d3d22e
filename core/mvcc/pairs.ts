/**
 * Key-value pairs between memory and the backend's `key` bucket: encodes a new pair once, and gives every pair its
 * bytes along. Owns no state but the cache of newest pairs.
 */
import { assert } from '../util/assert.ts';
import { type ByteString, EMPTY_BYTES, toByteString } from '../util/bytes.ts';
import { decode, encode } from '../wire/binary.ts';
import { encodedOf, withEncoded } from '../wire/encoded.ts';
import { KeyValue } from '../wire/messages.ts';
import { Reader } from '../wire/reader.ts';
import type { Backend } from './backend.ts';
import type { KeyIndex } from './key-index.ts';
import { PairCache } from './pair-cache.ts';
import { REVISION_BYTES, revisionKey, tombstoneKey } from './revision.ts';

/** Number and wire type of mvccpb.KeyValue's fields. */
const HEAD_TAGS = { key: 0x0a, created: 0x10, modified: 0x18, version: 0x20, lease: 0x30 } as const;

export class Pairs {
  readonly #backend: Backend;
  readonly #cache: PairCache;

  constructor(backend: Backend, cacheBytesMax?: number) {
    this.#backend = backend;
    this.#cache = new PairCache(cacheBytesMax);
  }

  /** Writes the pair of the put that `entry` has just recorded as (main, sub). */
  write(entry: KeyIndex, main: number, sub: number, value: Uint8Array, lease: bigint): KeyValue {
    const { created, version } = entry.last;
    const { key } = entry;
    const pair: KeyValue = { key, create_revision: created, mod_revision: main, version, value, lease };
    const bytes = encode(KeyValue, pair);
    // The value given is a view into some request; the pair must not keep all of that alive.
    const start = valueOffset(pair);
    pair.value = value.length === 0 ? EMPTY_BYTES : bytes.subarray(start, start + value.length);
    withEncoded(pair, bytes);
    this.#backend.put('key', revisionKey(main, sub), bytes);
    this.#cache.keep(entry, pair);
    return pair;
  }

  /** Returns the bytes of its row. */
  writeTombstone(entry: KeyIndex, main: number, sub: number): number {
    this.#cache.forget(entry);
    const rowKey = tombstoneKey(main, sub);
    const bytes = encode(KeyValue, { key: entry.key });
    this.#backend.put('key', rowKey, bytes);
    return rowKey.length + bytes.length;
  }

  /** The newest pair of a living key, which is likely to be asked for again. */
  newest(entry: KeyIndex): KeyValue {
    const cached = this.#cache.get(entry);
    if (cached !== undefined) return cached;
    const pair = this.#load(entry.last.lastMain, entry.last.lastSub);
    this.#cache.keep(entry, pair);
    return pair;
  }

  /** The pair that `entry` had at revision (main, sub), which must not be compacted. A long scan leaves the cache alone. */
  at(entry: KeyIndex, main: number, sub: number): KeyValue {
    const newest = entry.last;
    if (main === newest.lastMain && sub === newest.lastSub && entry.cached !== undefined) return entry.cached;
    return this.#load(main, sub);
  }

  /** The encoding of the same pair, lent as by Backend.getLent. */
  encodedAt(entry: KeyIndex, main: number, sub: number): Uint8Array {
    const newest = entry.last;
    if (main === newest.lastMain && sub === newest.lastSub && entry.cached !== undefined)
      return encodedOf(entry.cached)!;
    return present(this.#backend.getLent('key', revisionKey(main, sub)));
  }

  #load(main: number, sub: number): KeyValue {
    return decodePair(present(this.#backend.get('key', revisionKey(main, sub))));
  }
}

function present(bytes: Uint8Array | undefined): Uint8Array {
  assert(bytes !== undefined, 'the index knows a revision that the backend does not have');
  return bytes;
}

/** A pair from the backend's bytes, which it carries along. */
export function decodePair(bytes: Uint8Array): KeyValue {
  return withEncoded(decode(KeyValue, bytes), bytes);
}

/** Bytes of the row of a pair that carries its encoding. */
export function rowBytes(pair: KeyValue): number {
  return REVISION_BYTES + encodedOf(pair)!.length;
}

/** The key alone of a stored pair or tombstone: it is the first field. */
export function keyOfPair(bytes: Uint8Array): ByteString {
  assert(bytes[0] === 0x0a, 'a stored pair begins with its key');
  let length = 0;
  let at = 1;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++]!;
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return toByteString(bytes, at, at + length);
}

/** A stored pair or tombstone but for its value. */
export interface PairHead {
  key: ByteString;
  created: number;
  modified: number;
  version: number;
  lease: bigint;
}

/**
 * What `decode` would read of the stored pair in the first `end` bytes, at a third of the cost: a start reads all pairs
 * there are. Throws as it does.
 */
export function pairHead(bytes: Uint8Array, end: number = bytes.length): PairHead {
  const head: PairHead = { key: '', created: 0, modified: 0, version: 0, lease: 0n };
  const reader = new Reader(bytes, 0, end);
  while (reader.at < end) {
    const tag = reader.tag();
    if (tag === HEAD_TAGS.key) head.key = reader.byteString();
    else if (tag === HEAD_TAGS.created) head.created = reader.signedInteger();
    else if (tag === HEAD_TAGS.modified) head.modified = reader.signedInteger();
    else if (tag === HEAD_TAGS.version) head.version = reader.signedInteger();
    else if (tag === HEAD_TAGS.lease) head.lease = reader.int64();
    else reader.skip(tag & 7);
  }
  return head;
}

/** The pair of a DELETE event: etcd fills in nothing but the key and the revision. */
export function tombstonePair(key: ByteString, main: number): KeyValue {
  return { key, create_revision: 0, mod_revision: main, version: 0, value: EMPTY_BYTES, lease: 0n };
}

/** Where the value lies in the encoding of a pair, if the value is not empty. */
function valueOffset(pair: KeyValue): number {
  const { key, create_revision, mod_revision, version, value } = pair;
  const integers = varintBytes(create_revision) + varintBytes(mod_revision) + varintBytes(version);
  return 5 + varintBytes(key.length) + key.length + integers + varintBytes(value.length);
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++;
  return bytes;
}
