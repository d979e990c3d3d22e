/**
 * What a fuzz target draws on: numbers of one seed, bytes and text that are nearly right, and messages of any type.
 * Everything follows from the seed.
 */
import { Prng } from '../../core/util/prng.ts';
import type { Field, MessageType } from '../../core/wire/schema.ts';

/** Numbers at which something changes: lengths, signs, and where integers stop being exact. */
const EDGES = [0, 1, 2, 127, 128, 255, 256, 16_383, 16_384, 65_535, 65_536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
const BIG_EDGES = [-(2n ** 63n), -1n, 0n, 1n, 2n ** 31n, 2n ** 53n, 2n ** 63n - 1n];
/** Bytes that mean something in one of the formats. */
const BYTES = [
  0x00, 0x01, 0x0a, 0x0d, 0x1a, 0x20, 0x22, 0x2c, 0x3a, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d, 0x7f, 0x80, 0xc0, 0xff,
];
const TEXTS = ['', 'a', '/app/1', '\0', '\u00e9', '\u{1f600}', '__proto__', 'constructor', 'x'.repeat(300)];
const TOKENS = [
  ...[
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"',
    '\\',
    '\\u',
    '\\ud800',
    'null',
    'true',
    'false',
    '{}',
    '[]',
    '""',
    ' ',
    '\n',
    '\0',
  ],
  ...[
    '0',
    '-0',
    '-1',
    '1.5',
    '1e400',
    '1e-7',
    '9223372036854775808',
    '"9007199254740993"',
    '"-1"',
    '0x1',
    'NaN',
    '"YQ=="',
  ],
  ...['"%%"', '"key":', '"__proto__":', '{"request_txn":', '"\\u0000"', '\ud800', '\ufeff'],
];
const DEPTH_MAX = 4;
const CHANGES_MAX = 6;

export class Chance {
  readonly #prng: Prng;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
  }

  /** 0 to n - 1. */
  int(n: number): number {
    return this.#prng.int(n);
  }

  /** One time in n. */
  one(n: number): boolean {
    return this.#prng.int(n) === 0;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.#prng.int(from.length)]!;
  }

  bytes(max: number): Buffer {
    const bytes = Buffer.allocUnsafe(this.int(max + 1));
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.one(4) ? this.pick(BYTES) : this.int(256);
    return bytes;
  }

  /** `valid` with a few changes, and sometimes with a piece of `other`. */
  mutated(valid: Uint8Array, other: Uint8Array = valid): Buffer {
    let bytes: Buffer = Buffer.from(valid);
    for (let n = 1 + this.int(CHANGES_MAX); n > 0; n--) bytes = this.#change(bytes, other);
    return bytes;
  }

  #change(bytes: Buffer, other: Uint8Array): Buffer {
    const at = this.int(bytes.length + 1);
    const to = Math.min(bytes.length, at + 1 + this.int(this.one(4) ? 64 : 4));
    switch (this.int(9)) {
      case 0:
      case 1:
        if (at < bytes.length) bytes[at]! ^= 1 << this.int(8);
        return bytes;
      case 2:
        if (at < bytes.length) bytes[at] = this.one(2) ? this.pick(BYTES) : this.int(256);
        return bytes;
      case 3:
        return Buffer.concat([bytes.subarray(0, at), this.bytes(8), bytes.subarray(at)]);
      case 4:
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
      case 5:
        return Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)]);
      case 6:
        return Buffer.from(bytes.subarray(0, at));
      case 7: {
        const from = this.int(other.length + 1);
        const piece = Buffer.from(other.subarray(from, from + this.int(32)));
        return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
      }
      default:
        if (bytes.length - at >= 4) bytes.writeUInt32BE(this.pick(EDGES), at);
        return bytes;
    }
  }

  /** The same for text, by tokens of JSON. */
  mutatedText(valid: string): string {
    let text = valid;
    for (let n = 1 + this.int(CHANGES_MAX); n > 0; n--) {
      const at = this.int(text.length + 1);
      const to = Math.min(text.length, at + 1 + this.int(this.one(4) ? 40 : 3));
      const middle = [
        this.pick(TOKENS),
        '',
        text.slice(at, to) + text.slice(at, to),
        String.fromCharCode(this.int(256)),
      ];
      text = text.slice(0, at) + this.pick(middle) + text.slice(this.one(3) ? at : to);
    }
    return text;
  }

  text(): string {
    return this.pick(TEXTS);
  }

  /** A message of that type, fields set or not, as the codecs take it. */
  message<T extends object>(type: MessageType<T>, depth = DEPTH_MAX): T {
    const made: Record<string, unknown> = {};
    const oneofs = new Set<string>();
    for (const [name, field] of Object.entries(type.fields)) {
      const { oneof } = field;
      if (field.kind === 'message' && depth === 0) {
        if (field.repeated) made[name] = [];
        continue;
      }
      if (field.repeated) {
        made[name] = Array.from({ length: this.one(2) ? 0 : this.int(4) }, () => this.#value(field, depth));
        continue;
      }
      const isSet = oneof === undefined ? !this.one(3) : !oneofs.has(oneof) && this.one(2);
      if (isSet && oneof !== undefined) oneofs.add(oneof);
      if (isSet || !field.optional) made[name] = this.#value(field, depth);
    }
    return made as T;
  }

  #value(field: Field, depth: number): unknown {
    switch (field.kind) {
      case 'int64':
        return this.pick(BIG_EDGES);
      case 'uint64':
        return BigInt.asUintN(64, this.pick(BIG_EDGES));
      case 'revision':
        return this.pick([...EDGES, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]);
      case 'counter':
        return this.pick([...EDGES, Number.MAX_SAFE_INTEGER]);
      case 'int32':
        return this.pick([0, 1, -1, 2 ** 31 - 1, -(2 ** 31)]);
      case 'uint32':
        return this.pick(EDGES);
      case 'enum':
        return this.pick([0, 1, 2, 3, 7, -1]);
      case 'bool':
        return this.one(2);
      case 'bytes':
        return new Uint8Array(this.bytes(this.one(20) ? 400 : 8));
      case 'key':
        return this.bytes(8).toString('latin1');
      case 'string':
        return this.text();
      case 'message':
        return this.message(field.type!(), depth - 1);
    }
  }
}
