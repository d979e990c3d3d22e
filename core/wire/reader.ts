/**
 * The decoder's place in a message: reads tags, varints and lengths, and refuses what runs past the end. Knows the wire
 * format and no message. Every failure is a RosterError INTERNAL, the status grpc-go answers malformed requests with.
 */
import { GrpcStatus, otherError, type RosterError } from '../errors.ts';
import { type ByteString, EMPTY_BYTES, toByteString, utf8ToText, viewBytes } from '../util/bytes.ts';
import { WireType } from './plan.ts';

const TWO_32 = 2 ** 32;

const whole = new BigUint64Array(1);
const signed = new BigInt64Array(whole.buffer);
const halves = new Uint32Array(whole.buffer);
const LOW = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 0 : 1;

export class Reader {
  readonly bytes: Uint8Array;
  at: number;
  /** Where the innermost message ends. */
  end: number;
  /** The halves of the varint read last, unsigned. */
  low = 0;
  high = 0;

  /** `at <= end <= bytes.length` is the caller's word. */
  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  fail(what: string): RosterError {
    return otherError(GrpcStatus.INTERNAL, `proto: cannot parse invalid wire-format data: ${what} at byte ${this.at}`);
  }

  /** Reads one varint into `low` and `high`. */
  varint(): void {
    if (this.at >= this.end) throw this.fail('the message ends inside an integer');
    const byte = this.bytes[this.at]!;
    this.high = 0;
    if (byte < 0x80) {
      this.low = byte;
      this.at++;
    } else this.#longVarint();
  }

  #longVarint(): void {
    const { bytes, end } = this;
    let at = this.at;
    let low = 0;
    let high = 0;
    for (let shift = 0; ; shift += 7) {
      if (at >= end) throw this.fail('the message ends inside an integer');
      const byte = bytes[at++]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (shift === 63 && byte > 1) throw this.fail('an integer longer than 64 bits');
      if (byte < 0x80) break;
    }
    this.at = at;
    this.low = low >>> 0;
    this.high = high >>> 0;
  }

  /** The next tag: field number * 8 + wire type. */
  tag(): number {
    this.varint();
    if (this.high !== 0 || this.low < 8) throw this.fail('an impossible field number');
    return this.low;
  }

  /** A varint as int64, no further from zero than 2^53 - 1. */
  signedInteger(): number {
    this.varint();
    if (this.high === 0) return this.low;
    const value = (this.high | 0) * TWO_32 + this.low;
    return Math.max(Number.MIN_SAFE_INTEGER, Math.min(value, Number.MAX_SAFE_INTEGER));
  }

  /** A varint as uint64, at most 2^53 - 1. */
  unsignedInteger(): number {
    this.varint();
    if (this.high === 0) return this.low;
    return Math.min(this.high * TWO_32 + this.low, Number.MAX_SAFE_INTEGER);
  }

  int64(): bigint {
    this.varint();
    if (this.high === 0) return BigInt(this.low);
    halves[LOW] = this.low;
    halves[1 - LOW] = this.high;
    return signed[0]!;
  }

  uint64(): bigint {
    this.varint();
    if (this.high === 0) return BigInt(this.low);
    halves[LOW] = this.low;
    halves[1 - LOW] = this.high;
    return whole[0]!;
  }

  int32(): number {
    this.varint();
    return this.low | 0;
  }

  uint32(): number {
    this.varint();
    return this.low;
  }

  bool(): boolean {
    this.varint();
    return this.low !== 0 || this.high !== 0;
  }

  /** Reads a length and returns where what it announces ends. */
  block(): number {
    this.varint();
    if (this.high !== 0 || this.low > this.end - this.at) throw this.fail('a length past the end');
    return this.at + this.low;
  }

  /** A view, not a copy. */
  view(): Uint8Array {
    const stop = this.block();
    const start = this.at;
    this.at = stop;
    return start === stop ? EMPTY_BYTES : viewBytes(this.bytes, start, stop);
  }

  byteString(): ByteString {
    const stop = this.block();
    const start = this.at;
    this.at = stop;
    return start === stop ? '' : toByteString(this.bytes, start, stop);
  }

  text(): string {
    const stop = this.block();
    const text = utf8ToText(this.bytes, this.at, stop);
    if (text === undefined) throw this.fail('text that is not UTF-8');
    this.at = stop;
    return text;
  }

  /** Passes over the value of a field nobody knows. */
  skip(wireType: number): void {
    if (wireType === WireType.VARINT) this.varint();
    else if (wireType === WireType.LENGTH) this.at = this.block();
    else if (wireType === WireType.FIXED64) this.#advance(8);
    else if (wireType === WireType.FIXED32) this.#advance(4);
    else throw this.fail(`wire type ${wireType}, which proto3 does not have,`);
  }

  #advance(size: number): void {
    if (size > this.end - this.at) throw this.fail('a length past the end');
    this.at += size;
  }
}
