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

// Buffer's own decoders work on any Uint8Array; reached directly they cost a third of `asBuffer(...).toString(...)`.
type Slice = (this: Uint8Array, start: number, end: number) => string;
const { latin1Slice, utf8Slice } = Buffer.prototype as unknown as { latin1Slice: Slice; utf8Slice: Slice };

/** Bytes `start..end` of `bytes` as a byte string. */
export function toByteString(bytes: Uint8Array, start = 0, end = bytes.length): ByteString {
  return latin1Slice.call(bytes, start, end);
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

const SLAB_BYTES = 8192;
const SLAB_PIECE_BYTES_MAX = SLAB_BYTES / 4;
let slab = new ArrayBuffer(SLAB_BYTES);
let slabUsed = 0;

/**
 * Memory of the caller's own, its contents undefined until written. Small pieces are cut from a shared slab (a tenth of
 * the cost of an ArrayBuffer each): whoever keeps one piece for long keeps 8 KiB.
 */
export function allocateBytes(length: number): Uint8Array {
  if (length > SLAB_PIECE_BYTES_MAX) return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
  if (slabUsed + length > SLAB_BYTES) {
    slab = new ArrayBuffer(SLAB_BYTES);
    slabUsed = 0;
  }
  const piece = new Uint8Array(slab, slabUsed, length);
  slabUsed += (length + 7) & ~7;
  return piece;
}

/** Bytes `start..end` of `bytes` without a copy; unlike `subarray` never a Buffer, whose `slice` would not copy either. */
export function viewBytes(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start);
}

/** How many octets `text` takes in UTF-8. */
export function utf8Length(text: string): number {
  return Buffer.byteLength(text, 'utf8');
}

/** Writes `text` as UTF-8 at `at`; lone surrogates become U+FFFD. The room must be there: {@link utf8Length}. */
export function writeUtf8(target: Uint8Array, text: string, at: number): void {
  asBuffer(target).write(text, at, 'utf8');
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text that bytes `start..end` spell in UTF-8, `undefined` when they are not UTF-8. */
export function utf8ToText(bytes: Uint8Array, start = 0, end = bytes.length): string | undefined {
  const text = utf8Slice.call(bytes, start, end);
  // The lenient decoder is the fast one, and it leaves a trace wherever it had to be lenient.
  if (!text.includes('\ufffd')) return text;
  try {
    return strictUtf8.decode(bytes.subarray(start, end));
  } catch {
    return undefined;
  }
}

/** Standard base64 with padding. */
export function toBase64(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64');
}

/** The octets of base64 text, standard or URL-safe alphabet, padding optional; `undefined` when it is neither. */
export function fromBase64(text: string): Uint8Array | undefined {
  const unpadded = text.replace(/={1,2}$/, '');
  if (unpadded !== text && text.length % 4 !== 0) return undefined;
  if (unpadded.length % 4 === 1 || /[^A-Za-z0-9+/_-]/.test(unpadded)) return undefined;
  const octets = Buffer.from(unpadded, 'base64');
  return viewBytes(octets, 0, octets.length);
}
