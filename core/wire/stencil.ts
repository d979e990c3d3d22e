/**
 * One message to be written many times, each time with another value of one 64-bit field: encoded once, after that a copy
 * is a move of memory and one varint. Writes the bytes that `encode` would write.
 */
import { assert } from '../util/assert.ts';
import { encode } from './binary.ts';
import type { MessageType } from './schema.ts';

// A 64-bit integer seen as a bigint and as two halves.
const whole = new BigUint64Array(1);
const halves = new Uint32Array(whole.buffer);
const LOW = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 0 : 1;

/** The varint written last takes so many bytes; 0 for zero, which is not written. Reads `halves`. */
function varintBytes(): number {
  const high = halves[1 - LOW]!;
  const bits = high === 0 ? 32 - Math.clz32(halves[LOW]!) : 64 - Math.clz32(high);
  return Math.ceil(bits / 7);
}

export class Stencil<T extends object> {
  /** The message without the field: what comes before it, with the field's tag, and what comes after it. */
  readonly #before: Uint8Array;
  readonly #tag: Uint8Array;
  readonly #after: Uint8Array;
  readonly #frame: (bytes: Uint8Array) => void;
  /** By the bytes that the value takes: everything but the value. */
  readonly #forms: (Uint8Array | undefined)[] = [];

  /**
   * `headroom` bytes are left before each message, for `frame` to fill in: it is called with such memory as a message
   * takes, and what it writes there must depend on the length alone.
   */
  constructor(
    type: MessageType<T>,
    message: T,
    field: keyof T & string,
    headroom = 0,
    frame: (bytes: Uint8Array) => void = () => {},
  ) {
    const { kind, number, repeated, optional } = type.fields[field]!;
    assert((kind === 'int64' || kind === 'uint64') && !repeated && !optional, `${field} must be a plain 64-bit field`);
    const part = (wanted: (other: number) => boolean): Partial<T> =>
      Object.fromEntries(Object.entries(message).filter(([name]) => wanted(type.fields[name]!.number))) as Partial<T>;
    this.#before = encode(
      type,
      part((other) => other < number),
      headroom,
    );
    this.#after = encode(
      type,
      part((other) => other > number),
    );
    this.#tag = encode(type, { [field]: 1n } as Partial<T>).slice(0, -1);
    this.#frame = frame;
  }

  /** Bytes that the messages for `values` take. */
  bytesFor(values: readonly bigint[]): number {
    let bytes = 0;
    for (let i = 0; i < values.length; i++) {
      whole[0] = values[i]!;
      bytes += this.#form(varintBytes()).length;
    }
    return bytes;
  }

  /** Writes the messages for `values` into `into`, one after the other from its start. */
  write(values: readonly bigint[], into: Uint8Array): void {
    const valueAt = this.#before.length + this.#tag.length;
    let at = 0;
    for (let i = 0; i < values.length; i++) {
      whole[0] = values[i]!;
      const size = varintBytes();
      const form = this.#form(size);
      into.set(form, at);
      if (size > 0) writeVarint(into, at + valueAt, size);
      at += form.length;
    }
  }

  #form(valueBytes: number): Uint8Array {
    return this.#forms[valueBytes] ?? this.#makeForm(valueBytes);
  }

  #makeForm(valueBytes: number): Uint8Array {
    const [before, tag, after] = [this.#before, this.#tag, this.#after];
    const fieldBytes = valueBytes === 0 ? 0 : tag.length + valueBytes;
    const form = new Uint8Array(before.length + fieldBytes + after.length);
    form.set(before);
    if (valueBytes > 0) form.set(tag, before.length);
    form.set(after, before.length + fieldBytes);
    this.#frame(form);
    this.#forms[valueBytes] = form;
    return form;
  }
}

/** Writes what `halves` hold in `size` bytes. */
function writeVarint(into: Uint8Array, at: number, size: number): void {
  let low = halves[LOW]!;
  let high = halves[1 - LOW]!;
  for (let end = at + size - 1; at < end; at++) {
    into[at] = (low & 0x7f) | 0x80;
    low = (low >>> 7) | (high << 25);
    high >>>= 7;
  }
  into[at] = low;
}
