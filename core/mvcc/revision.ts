/**
 * Revisions as the backend's keys: etcd's layout, 8 bytes main, "_", 8 bytes sub, big-endian, and "t" after a
 * tombstone's. Key order is revision order. Knows nothing of what lies under them.
 */
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';

/** Which change: the transaction (`main`, from 1) and its place in it (`sub`, from 0). */
export interface Revision {
  main: number;
  sub: number;
}

const TWO_32 = 2 ** 32;
const UNDERSCORE = 0x5f;
const TOMBSTONE_MARK = 't';
const TOMBSTONE_BYTE = 0x74;
/** Length of {@link revisionKey}'s keys. */
export const REVISION_BYTES = 17;

/** The backend key of a put; `sub` is below 2^32. */
export function revisionKey(main: number, sub: number): ByteString {
  const high = Math.floor(main / TWO_32);
  // One call with seventeen arguments makes one flat string; anything that concatenates makes a rope.
  return String.fromCharCode(
    high >>> 24,
    (high >>> 16) & 0xff,
    (high >>> 8) & 0xff,
    high & 0xff,
    (main >>> 24) & 0xff,
    (main >>> 16) & 0xff,
    (main >>> 8) & 0xff,
    main & 0xff,
    UNDERSCORE,
    0,
    0,
    0,
    0,
    sub >>> 24,
    (sub >>> 16) & 0xff,
    (sub >>> 8) & 0xff,
    sub & 0xff,
  );
}

/** The backend key of a delete. */
export function tombstoneKey(main: number, sub: number): ByteString {
  return revisionKey(main, sub) + TOMBSTONE_MARK;
}

export function isTombstoneKey(key: ByteString): boolean {
  return key.length > REVISION_BYTES;
}

/**
 * The revision that bytes `start..end` spell as {@link revisionKey} or {@link tombstoneKey} does; undefined when they do
 * not, wherever they come from.
 */
export function revisionIn(bytes: Uint8Array, start = 0, end = bytes.length): Revision | undefined {
  const length = end - start;
  if (length !== REVISION_BYTES && (length !== REVISION_BYTES + 1 || bytes[end - 1] !== TOMBSTONE_BYTE))
    return undefined;
  if (bytes[start + 8] !== UNDERSCORE || uint32At(bytes, start + 9) !== 0) return undefined;
  const high = uint32At(bytes, start);
  // `main` is below 2^53.
  if (high >= 2 ** 21) return undefined;
  return { main: high * TWO_32 + uint32At(bytes, start + 4), sub: uint32At(bytes, start + 13) };
}

/** The revision that a backend key spells, which is known to be one. */
export function parseRevision(key: ByteString): Revision {
  assert(key.length >= REVISION_BYTES && key.charCodeAt(8) === UNDERSCORE, 'a revision key has 17 bytes or 18');
  return { main: integerAt(key, 0), sub: integerAt(key, 9) };
}

function integerAt(key: ByteString, at: number): number {
  let value = 0;
  for (let i = at; i < at + 8; i++) value = value * 256 + key.charCodeAt(i);
  assert(Number.isSafeInteger(value), 'a revision must be a safe integer');
  return value;
}

function uint32At(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
