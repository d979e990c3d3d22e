/**
 * etcd's dialect of protobuf's JSON mapping, as its HTTP gateway speaks it: proto names, 64-bit integers as strings,
 * octets as base64, enums by name, zero values left out. Reads what Go's protojson reads, and says what is wrong in its
 * words. Decides nothing about requests: a missing field is its default.
 */
import { GrpcStatus, otherError, type RosterError } from '../errors.ts';
import { type ByteString, fromBase64, fromByteString, toBase64, toByteString } from '../util/bytes.ts';
import { endOfScalar, endOfValue, skipSpace } from './json-text.ts';
import { emptyMessage, type Fielded, type FieldPlan, nestedPlan, type Plan, planOf } from './plan.ts';
import type { EnumType, Kind, MessageType } from './schema.ts';

/** `message` as one line of JSON. Missing fields count as unset. */
export function toJson<T extends object>(type: MessageType<T>, message: Partial<T>): string {
  return JSON.stringify(toPlain(planOf(type), message as Fielded));
}

/**
 * The message that the first value in `text` describes; what follows it is not looked at. Unknown fields and unknown names
 * of enum values are ignored, `null` is the default. Throws a RosterError INVALID_ARGUMENT that says what is wrong, and
 * where.
 */
export function fromJson<T extends object>(type: MessageType<T>, text: string): T {
  const plan = planOf(type);
  const start = skipSpace(text, 0);
  const value = text.slice(start, endOfValue(text, start));
  return new Reader(value).message(plan, plan.depthMax) as T;
}

// ---- writing

function toPlain(plan: Plan, message: Fielded): Fielded {
  const result: Fielded = {};
  for (const field of plan.fields) {
    const value = message[field.name];
    if (value === undefined) continue;
    if (field.repeated) {
      const list = value as readonly unknown[];
      if (list.length > 0) result[field.name] = list.map((item) => toPlainValue(field, item));
    } else if (field.optional || !isZero(value)) result[field.name] = toPlainValue(field, value);
  }
  return result;
}

function isZero(value: unknown): boolean {
  return value === 0 || value === 0n || value === '' || value === false || (value as Uint8Array).length === 0;
}

function toPlainValue(field: FieldPlan, value: unknown): unknown {
  switch (field.kind) {
    case 'int64':
    case 'uint64':
    case 'revision':
    case 'counter':
      return String(value);
    case 'bytes':
      return toBase64(value as Uint8Array);
    case 'key':
      return toBase64(fromByteString(value as ByteString));
    case 'enum':
      return nameOf(field.enumType!, value as number) ?? value;
    case 'message':
      return toPlain(nestedPlan(field), value as Fielded);
    default:
      return value;
  }
}

function nameOf(type: EnumType, number: number): string | undefined {
  for (const name of Object.keys(type.values)) if (type.values[name] === number) return name;
  return undefined;
}

// ---- reading

const camelNames = new WeakMap<FieldPlan, string>();

/** Protobuf's JSON name of a field. */
function jsonName(field: FieldPlan): string {
  let name = camelNames.get(field);
  if (name === undefined) {
    name = field.name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    camelNames.set(field, name);
  }
  return name;
}

const names = new WeakMap<Plan, ReadonlyMap<string, FieldPlan>>();

/** Fields by proto name and by its lowerCamel spelling. */
function namesOf(plan: Plan): ReadonlyMap<string, FieldPlan> {
  let map = names.get(plan);
  if (map === undefined) {
    map = new Map(plan.fields.flatMap((field) => [[jsonName(field), field] as const, [field.name, field] as const]));
    names.set(plan, map);
  }
  return map;
}

/** As protobuf's descriptors call the kinds of scalars. */
const KIND_NAMES: Readonly<Record<Exclude<Kind, 'message'>, string>> = {
  int64: 'int64',
  uint64: 'uint64',
  revision: 'int64',
  counter: 'uint64',
  int32: 'int32',
  uint32: 'uint32',
  enum: 'enum',
  bool: 'bool',
  bytes: 'bytes',
  key: 'bytes',
  string: 'string',
};

/** Reads the one value that a text is. That it is valid JSON is known. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  message(plan: Plan, depthLeft: number): Fielded {
    if (depthLeft === 0) throw refusal(`messages nested deeper than ${plan.depthMax}`);
    this.#open('{');
    const message = emptyMessage(plan);
    const known = namesOf(plan);
    const seen = new Set<FieldPlan>();
    while (this.#more('}')) {
      const nameAt = this.#at;
      const raw = this.#scalar();
      const field = known.get(unquoted(raw));
      this.#at = skipSpace(this.#text, this.#at) + 1;
      this.#space();
      if (field === undefined) {
        this.#at = endOfValue(this.#text, this.#at);
        continue;
      }
      if (seen.has(field)) throw this.#refusal(nameAt, `duplicate field ${raw}`);
      seen.add(field);
      if (this.#text[this.#at] === 'n') {
        this.#scalar();
        continue;
      }
      if (field.rivals.some((rival) => message[rival] !== undefined)) {
        const oneof = `${plan.name}.${field.oneof}`;
        throw this.#refusal(nameAt, `error parsing ${raw}, oneof ${oneof} is already set`);
      }
      const value = field.repeated ? this.#list(field, depthLeft) : this.#value(field, depthLeft);
      if (value !== undefined) message[field.name] = value;
    }
    return message;
  }

  #list(field: FieldPlan, depthLeft: number): unknown[] {
    this.#open('[');
    const list: unknown[] = [];
    while (this.#more(']')) {
      const value = this.#value(field, depthLeft);
      if (value !== undefined) list.push(value);
    }
    return list;
  }

  /** `undefined`: an enum value that is not known. */
  #value(field: FieldPlan, depthLeft: number): unknown {
    if (field.kind === 'message') return this.message(nestedPlan(field), depthLeft - 1);
    const at = this.#at;
    const c = this.#text[at];
    if (c !== '{' && c !== '[') {
      const raw = this.#scalar();
      const value = field.kind === 'enum' ? enumOf(field.enumType!, raw) : scalarOf(field.kind, raw);
      if (value === UNKNOWN) return undefined;
      if (value !== undefined) return value;
    }
    const raw = this.#text.slice(at, c === '{' || c === '[' ? at + 1 : this.#at);
    const kind = KIND_NAMES[field.kind];
    throw this.#refusal(at, `invalid value for ${kind} field ${jsonName(field)}: ${shortened(raw)}`);
  }

  /** Takes `bracket`; throws when there is something else. */
  #open(bracket: '{' | '['): void {
    const at = this.#at;
    if (this.#text[at] !== bracket) {
      const c = this.#text[at]!;
      const raw = c === '{' || c === '[' ? c : this.#text.slice(at, endOfScalar(this.#text, at));
      throw refusal(`syntax error ${this.#position(at)}: unexpected token ${shortened(raw)}`);
    }
    this.#at++;
  }

  /** Goes on to the next member, or over the closing bracket. */
  #more(closing: '}' | ']'): boolean {
    this.#space();
    if (this.#text[this.#at] === ',') {
      this.#at++;
      this.#space();
    }
    if (this.#text[this.#at] !== closing) return true;
    this.#at++;
    return false;
  }

  #space(): void {
    this.#at = skipSpace(this.#text, this.#at);
  }

  #scalar(): string {
    const start = this.#at;
    this.#at = endOfScalar(this.#text, start);
    return this.#text.slice(start, this.#at);
  }

  #refusal(at: number, what: string): RosterError {
    return refusal(`${this.#position(at)}: ${what}`);
  }

  /** As a reader counts: lines from one, columns in characters from one. */
  #position(at: number): string {
    const before = this.#text.slice(0, at);
    const line = before.split('\n').length;
    const column = [...before.slice(before.lastIndexOf('\n') + 1)].length + 1;
    return `(line ${line}:${column})`;
  }
}

/** A value that is wrong is shown, but not all of a large one. */
const SHOWN_CHARS_MAX = 256;

function shortened(raw: string): string {
  return raw.length <= SHOWN_CHARS_MAX ? raw : `${raw.slice(0, SHOWN_CHARS_MAX)}...`;
}

function refusal(what: string): RosterError {
  return otherError(GrpcStatus.INVALID_ARGUMENT, `proto: ${what}`);
}

function unquoted(raw: string): string {
  return raw.includes('\\') ? (JSON.parse(raw) as string) : raw.slice(1, -1);
}

/** What `raw` says, or undefined when it is no value of that kind. */
function scalarOf(kind: Exclude<Kind, 'message' | 'enum'>, raw: string): unknown {
  switch (kind) {
    case 'int64':
      return integerOf(raw, MIN_INT64, MAX_INT64);
    case 'uint64':
      return integerOf(raw, 0n, MAX_UINT64);
    case 'revision':
      return saturated(integerOf(raw, MIN_INT64, MAX_INT64));
    case 'counter':
      return saturated(integerOf(raw, 0n, MAX_UINT64));
    case 'int32':
      return small(integerOf(raw, MIN_INT32, MAX_INT32));
    case 'uint32':
      return small(integerOf(raw, 0n, MAX_UINT32));
    case 'bool':
      return raw === 'true' ? true : raw === 'false' ? false : undefined;
    case 'string':
      return raw[0] === '"' ? wellFormed(unquoted(raw)) : undefined;
    case 'bytes':
      return octetsOf(raw);
    case 'key': {
      const octets = octetsOf(raw);
      return octets === undefined ? undefined : toByteString(octets);
    }
  }
}

const UNKNOWN = Symbol('a name that is not in the table');

function enumOf(type: EnumType, raw: string): number | typeof UNKNOWN | undefined {
  if (raw[0] !== '"') return small(integerOf(raw, MIN_INT32, MAX_INT32));
  const name = unquoted(raw);
  return Object.hasOwn(type.values, name) ? type.values[name]! : UNKNOWN;
}

const MIN_INT64 = -(2n ** 63n);
const MAX_INT64 = 2n ** 63n - 1n;
const MAX_UINT64 = 2n ** 64n - 1n;
const MIN_INT32 = -(2n ** 31n);
const MAX_INT32 = 2n ** 31n - 1n;
const MAX_UINT32 = 2n ** 32n - 1n;
const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** More digits than any 64-bit integer has: BigInt of a hostile megabyte of digits would take seconds. */
const DIGITS_MAX = 20;
const NUMBER = /^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/;

/** A whole number, as itself or as a string, in whatever notation. */
function integerOf(raw: string, min: bigint, max: bigint): bigint | undefined {
  const match = NUMBER.exec(raw[0] === '"' ? unquoted(raw) : raw);
  if (match === null) return undefined;
  const [, sign, whole = '', fraction = '', exponent = '0'] = match;
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  const zeros = Number(exponent) - fraction.length + digits.length - significant.length;
  if (significant === '') return sign === '-' && min === 0n ? undefined : 0n;
  if (zeros < 0 || significant.length + zeros > DIGITS_MAX) return undefined;
  const integer = BigInt(`${sign}${significant}${'0'.repeat(zeros)}`);
  return integer < min || integer > max ? undefined : integer;
}

/** Half of a surrogate pair is no character, and would come back as another one. */
function wellFormed(text: string): string | undefined {
  return /\p{Surrogate}/u.test(text) ? undefined : text;
}

function small(value: bigint | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

function saturated(value: bigint | undefined): number | undefined {
  if (value === undefined) return undefined;
  return Number(value > MAX_SAFE ? MAX_SAFE : value < -MAX_SAFE ? -MAX_SAFE : value);
}

/** Base64 of either alphabet, padded or not; line breaks in it do not matter. */
function octetsOf(raw: string): Uint8Array | undefined {
  if (raw[0] !== '"') return undefined;
  const text = unquoted(raw);
  const padded = text.length % 4 === 0;
  const bare = /[\r\n]/.test(text) ? text.replace(/[\r\n]/g, '') : text;
  if (padded ? bare.length % 4 !== 0 : bare.includes('=')) return undefined;
  return /[-_]/.test(bare) && /[+/]/.test(bare) ? undefined : fromBase64(bare);
}
