/** Keys as people give them, as the wire wants them, and the ranges that prefixes stand for. */
import { type ByteString, prefixEnd, toByteString, utf8ToByteString } from '../core/util/bytes.ts';
import type { Key } from './api.ts';

/** Text becomes UTF-8; bytes stay. */
export function keyBytes(key: Key): ByteString {
  return typeof key === 'string' ? utf8ToByteString(key) : toByteString(key);
}

/** Every key that begins with `prefix`; with the empty prefix, every key there is. */
export function prefixRange(prefix: Key): { key: ByteString; range_end: ByteString } {
  const start = keyBytes(prefix);
  return { key: start === '' ? '\0' : start, range_end: prefixEnd(start) };
}
