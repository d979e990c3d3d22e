/**
 * The tree that v2 sees in the newest state of the keys: a key is a file; a directory is there while it has a marker or
 * anything below it. Where v3 clients made both of one name, it is the file. Reads only.
 */
import type { KvReader } from '../mvcc/kv-store.ts';
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import type { KeyValue } from '../wire/messages.ts';
import { V2Code, V2Refusal } from './errors.ts';
import type { V2Node } from './node.ts';
import { below, isBelow, markerKey, markersAt, ROOT, visitAncestors } from './paths.ts';
import { dirNode, dirNodeOf } from './record.ts';

/** The newest pair of `key`. */
export function newest(reader: KvReader, key: ByteString): KeyValue | undefined {
  return reader.meta(key) === undefined ? undefined : first(reader, key, '');
}

function first(reader: KvReader, from: ByteString, to: ByteString): KeyValue | undefined {
  const result = reader.range(from, to, { limit: 1 });
  assert(typeof result !== 'string', 'the latest revision can always be read');
  return result.kvs[0];
}

export function isFile(reader: KvReader, path: ByteString): boolean {
  return reader.meta(path) !== undefined;
}

/** `path` is no file. */
export function isDir(reader: KvReader, path: ByteString): boolean {
  return path === ROOT || reader.meta(markerKey(path)) !== undefined || hasBelow(reader, path);
}

/** Whether there is anything below `path`. */
export function hasBelow(reader: KvReader, path: ByteString): boolean {
  const keys = below(path);
  if (first(reader, keys.from, keys.to) !== undefined) return true;
  const markers = markersAt(path);
  // The first one may be its own.
  return first(reader, `${markers.from}\0`, markers.to) !== undefined;
}

/** Directory `path`, which exists. */
export function dirAt(reader: KvReader, path: ByteString): V2Node {
  if (path === ROOT) return dirNode(ROOT, 0);
  const marker = newest(reader, markerKey(path));
  const { from, to } = below(path);
  return dirNodeOf(path, marker, marker === undefined ? first(reader, from, to) : undefined);
}

/** Why `path`, which is not there, is not: the first of its components that is missing, or is a file. */
export function missing(reader: KvReader, path: ByteString, index: number): V2Refusal {
  let refusal: V2Refusal | undefined;
  visitAncestors(path, (ancestor) => {
    if (isFile(reader, ancestor)) refusal = new V2Refusal(V2Code.NOT_DIR, ancestor, index);
    else if (!isDir(reader, ancestor)) refusal = new V2Refusal(V2Code.KEY_NOT_FOUND, ancestor, index);
    return refusal === undefined;
  });
  return refusal ?? new V2Refusal(V2Code.KEY_NOT_FOUND, path, index);
}

/** The directories above `path` that have no marker; a refusal when one of them is a file. */
export function unmarkedAncestors(reader: KvReader, path: ByteString, index: number): ByteString[] | V2Refusal {
  const unmarked: ByteString[] = [];
  let refusal: V2Refusal | undefined;
  visitAncestors(path, (ancestor) => {
    if (isFile(reader, ancestor)) refusal = new V2Refusal(V2Code.NOT_DIR, ancestor, index);
    else if (reader.meta(markerKey(ancestor)) === undefined) unmarked.push(ancestor);
    return refusal === undefined;
  });
  return refusal ?? unmarked;
}

/** Whether `path` is `other` or lies below it. */
export function isWithin(path: ByteString, other: ByteString): boolean {
  return path === other || isBelow(path, other);
}
