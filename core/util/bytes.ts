/**
 * Bytes and byte strings. Owns the two ways Roster holds octets: `Uint8Array` for values and `ByteString` for keys.
 * Never guesses an encoding: text becomes bytes only where a caller says UTF-8.
 */

/**
 * Octets as a latin1 string: one UTF-16 code unit (0..255) per byte. Comparison with `<` is then unsigned byte order,
 * which is etcd's key order, and it can be a Map key.
 */
export type ByteString = string;

export const EMPTY_BYTES: Uint8Array = new Uint8Array(0);

/** A Buffer over the same memory; no copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Bytes `start..end` of `bytes` as a byte string. */
export function toByteString(bytes: Uint8Array, start = 0, end = bytes.length): ByteString {
  return asBuffer(bytes).toString('latin1', start, end);
}

/** The octets of a byte string, in fresh memory. */
export function fromByteString(text: ByteString): Uint8Array {
  return Buffer.from(text, 'latin1');
}

/** The UTF-8 octets of ordinary text, as a byte string: what a client turns its key into. */
export function utf8ToByteString(text: string): ByteString {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** The text a byte string spells in UTF-8; malformed sequences become U+FFFD. */
export function byteStringToUtf8(text: ByteString): string {
  return Buffer.from(text, 'latin1').toString('utf8');
}

export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a === b || (a.length === b.length && asBuffer(a).equals(b));
}

/** Unsigned lexicographic order: negative, 0 or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

/**
 * The end of the range that holds every key beginning with `prefix` (etcd's client convention: last byte + 1, with
 * 0xff carried). `"\0"`, meaning "no end", for the empty prefix and for one of 0xff only.
 */
export function prefixEnd(prefix: ByteString): ByteString {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const unit = prefix.charCodeAt(i);
    if (unit < 0xff) return prefix.slice(0, i) + String.fromCharCode(unit + 1);
  }
  return '\0';
}
