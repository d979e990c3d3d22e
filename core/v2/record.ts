/**
 * What v2 must know of a node and a pair cannot say, as ordinary pairs of the reserved range, written in the revision of
 * what they tell of: so history, snapshots, hashes and compaction hold them like everything else.
 * - a directory has a marker; its value is its record, its create_revision the directory's createdIndex
 * - a file has a record only if its last write was more than a plain set; it counts while both have one mod_revision
 * - one key tells what was deleted last, if that was more than a plain delete of a file
 */
import type { KvStore } from '../mvcc/kv-store.ts';
import type { ByteString } from '../util/bytes.ts';
import { decode, encode } from '../wire/binary.ts';
import type { KeyValue } from '../wire/messages.ts';
import { V2Action, V2Record } from '../wire/stored.ts';
import type { V2Node } from './node.ts';
import { ENDED_KEY, fileKey } from './paths.ts';

/** Reads pairs as they are, or as they were at one revision. */
export type PairAt = (key: ByteString) => KeyValue | undefined;

export function pairsAt(store: Pick<KvStore, 'at'>, revision: number): PairAt {
  return (key) => store.at(key, revision);
}

export function recordValue(record: V2Record): Uint8Array {
  return encode(V2Record, record);
}

/** The record that `pair` holds; `undefined`: somebody else has written there. */
export function readRecord(pair: KeyValue | undefined): V2Record | undefined {
  if (pair === undefined) return undefined;
  try {
    return decode(V2Record, pair.value);
  } catch {
    return undefined;
  }
}

/** The record of the write that made `pair`; `undefined`: it was a plain set, by whatever door. */
export function fileRecord(at: PairAt, pair: KeyValue): V2Record | undefined {
  const record = at(fileKey(pair.key));
  return record?.mod_revision === pair.mod_revision ? readRecord(record) : undefined;
}

/** How something ended at `revision`, if that was recorded. */
export function endedAt(store: Pick<KvStore, 'at'>, revision: number): V2Record | undefined {
  const pair = store.at(ENDED_KEY, revision);
  return pair?.mod_revision === revision ? readRecord(pair) : undefined;
}

export function fileNode(pair: KeyValue, record: V2Record | undefined): V2Node {
  const known = record !== undefined && record.lease === pair.lease;
  return {
    path: pair.key,
    value: pair.value,
    dir: false,
    expiresMs: known ? record.expires_ms : 0,
    lease: known ? 0n : pair.lease,
    modified: pair.mod_revision,
    created: record === undefined || record.created === 0 ? pair.mod_revision : record.created,
  };
}

/** `created` is both of its indexes: a directory does not change when something in it does, nor with its time to live. */
export function dirNode(path: ByteString, created: number, expiresMs = 0): V2Node {
  return { path, value: undefined, dir: true, expiresMs, lease: 0n, modified: created, created };
}

/** The directory that `marker` marks; `first`, the first pair below it, stands in for a marker. */
export function dirNodeOf(path: ByteString, marker: KeyValue | undefined, first: KeyValue | undefined): V2Node {
  if (marker === undefined) return dirNode(path, first?.create_revision ?? 0);
  const record = readRecord(marker);
  return dirNode(path, marker.create_revision, record?.lease === marker.lease ? record.expires_ms : 0);
}

/** A record of nothing yet. */
export function emptyRecord(action: number = V2Action.values.NONE): V2Record {
  return {
    action,
    created: 0,
    expires_ms: 0,
    lease: 0n,
    time_ms: 0,
    refresh: false,
    path: '',
    dir: false,
    modified: 0,
  };
}
