/**
 * The encoder's buffer. It is filled from its end towards its start, so that the length of a nested message is known
 * when its turn comes and nothing is measured twice. Knows varints and strings; knows no message.
 */
import { assert } from '../util/assert.ts';
import { allocateBytes, type ByteString, utf8Length, writeUtf8 } from '../util/bytes.ts';

/** A scratch buffer that had to grow beyond this is let go after the message. */
const SCRATCH_KEPT_BYTES = 1 << 20;
const SCRATCH_BYTES = 1 << 16;

/** Below this, copying byte by byte beats the call to `set`. */
const SHORT_COPY_BYTES = 16;

const TWO_32 = 2 ** 32;

// One 64-bit integer seen as a bigint and as two halves: the only way to split a bigint without making others.
const whole = new BigUint64Array(1);
const halves = new Uint32Array(whole.buffer);
const LOW = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 0 : 1;

export class BackwardWriter {
  #bytes = new Uint8Array(SCRATCH_BYTES);
  #at = SCRATCH_BYTES;

  /** Bytes written so far. */
  get length(): number {
    return this.#bytes.length - this.#at;
  }

  reset(): void {
    if (this.#bytes.length > SCRATCH_KEPT_BYTES) this.#bytes = new Uint8Array(SCRATCH_BYTES);
    this.#at = this.#bytes.length;
  }

  /** A copy of what was written, after `headroom` bytes that the caller fills. */
  finish(headroom: number): Uint8Array {
    const result = allocateBytes(headroom + this.length);
    result.set(this.#bytes.subarray(this.#at), headroom);
    return result;
  }

  /** What was written, after `headroom` bytes that the caller fills: lent until the next reset. */
  lend(headroom: number): Uint8Array {
    this.#take(headroom);
    return this.#bytes.subarray(this.#at);
  }

  /** An unsigned integer below 2^32. */
  uint32(value: number): void {
    if (value < 0x80) {
      this.#take(1);
      this.#bytes[this.#at] = value;
      return;
    }
    const size = value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5;
    this.#take(size);
    const bytes = this.#bytes;
    let at = this.#at;
    let rest = value;
    for (let left = size - 1; left > 0; left--) {
      bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[at] = rest;
  }

  /** A 64-bit integer given as two unsigned halves. */
  uint64Halves(low: number, high: number): void {
    if (high === 0) {
      this.uint32(low);
      return;
    }
    let size = 5;
    for (let rest = high >>> 3; rest !== 0; rest >>>= 7) size++;
    this.#take(size);
    const bytes = this.#bytes;
    let at = this.#at;
    let rest = low;
    for (let i = 0; i < 4; i++) {
      bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    const middle = (rest & 0x0f) | ((high & 0x07) << 4);
    bytes[at++] = size > 5 ? middle | 0x80 : middle;
    rest = high >>> 3;
    for (let left = size - 6; left >= 0; left--) {
      bytes[at++] = left > 0 ? (rest & 0x7f) | 0x80 : rest;
      rest >>>= 7;
    }
  }

  /** A safe integer as int64: negative ones take ten bytes. */
  integer(value: number): void {
    if (value >= 0 && value < TWO_32) {
      assert(value === Math.trunc(value), 'an integer field must hold an integer');
      this.uint32(value);
      return;
    }
    assert(Number.isSafeInteger(value), 'an integer field must hold a safe integer');
    this.uint64Halves(value >>> 0, Math.floor(value / TWO_32) >>> 0);
  }

  /** A 64-bit bigint, signed or not: its low 64 bits. */
  big(value: bigint): void {
    whole[0] = value;
    this.uint64Halves(halves[LOW]!, halves[1 - LOW]!);
  }

  raw(source: Uint8Array): void {
    const length = source.length;
    this.#take(length);
    if (length > SHORT_COPY_BYTES) {
      this.#bytes.set(source, this.#at);
      return;
    }
    const bytes = this.#bytes;
    const at = this.#at;
    for (let i = 0; i < length; i++) bytes[at + i] = source[i]!;
  }

  byteString(text: ByteString): void {
    const length = text.length;
    this.#take(length);
    const bytes = this.#bytes;
    const at = this.#at;
    let seen = 0;
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i);
      seen |= unit;
      bytes[at + i] = unit;
    }
    assert(seen < 0x100, 'a key must be a byte string');
  }

  /** Ordinary text as UTF-8. Returns how many bytes it took. */
  text(text: string): number {
    const size = utf8Length(text);
    this.#take(size);
    writeUtf8(this.#bytes, text, this.#at);
    return size;
  }

  #take(size: number): void {
    if (size > this.#at) this.#grow(size);
    this.#at -= size;
  }

  #grow(size: number): void {
    const used = this.length;
    let capacity = this.#bytes.length * 2;
    while (capacity < used + size) capacity *= 2;
    const bytes = new Uint8Array(capacity);
    bytes.set(this.#bytes.subarray(this.#at), capacity - used);
    this.#bytes = bytes;
    this.#at = capacity - used;
  }
}
