/**
 * etcd's dialect of protobuf's JSON mapping, as its HTTP gateway speaks it: proto names, 64-bit integers as strings,
 * octets as base64, enums by name, zero values left out. Reads both spellings of a name and of a number. Decides
 * nothing about requests: a missing field is its default.
 */
import { GrpcStatus, otherError, type RosterError } from '../errors.ts';
import { type ByteString, fromBase64, fromByteString, toBase64, toByteString } from '../util/bytes.ts';
import { emptyMessage, type Fielded, type FieldPlan, nestedPlan, type Plan, planOf } from './plan.ts';
import type { EnumType, MessageType } from './schema.ts';

/** `message` as one line of JSON. Missing fields count as unset. */
export function toJson<T extends object>(type: MessageType<T>, message: Partial<T>): string {
  return JSON.stringify(toPlain(planOf(type), message as Fielded));
}

/**
 * The message that `source` describes: JSON text when it is a string, else a value JSON.parse could have made. Unknown
 * fields are ignored, `null` is the default. Throws a RosterError INVALID_ARGUMENT that names the field at fault.
 */
export function fromJson<T extends object>(type: MessageType<T>, source: unknown): T {
  const plan = planOf(type);
  return fromPlain(plan, typeof source === 'string' ? parse(source) : source, '', plan.depthMax) as T;
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

function invalid(what: string): RosterError {
  return otherError(GrpcStatus.INVALID_ARGUMENT, what);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(quoteLongIntegers(text));
  } catch (cause) {
    throw otherError(GrpcStatus.INVALID_ARGUMENT, `invalid JSON: ${(cause as Error).message}`, { cause });
  }
}

/** JSON.parse would round integers of 16 and more digits; as strings they stay exact. */
function quoteLongIntegers(text: string): string {
  if (!/\d{16}/.test(text)) return text;
  const parts: string[] = [];
  let at = 0;
  while (at < text.length) {
    const quote = text.indexOf('"', at);
    const plainEnd = quote === -1 ? text.length : quote;
    parts.push(text.slice(at, plainEnd).replace(/(?<![\w.+-])-?[1-9]\d{15,}(?![\d.eE])/g, '"$&"'));
    at = quote === -1 ? text.length : endOfString(text, quote);
    parts.push(text.slice(plainEnd, at));
  }
  return parts.join('');
}

/** Where the string that begins with the quote at `open` ends, its closing quote included. */
function endOfString(text: string, open: number): number {
  for (let at = open + 1; ; at++) {
    at = text.indexOf('"', at);
    if (at === -1) return text.length;
    let backslashes = 0;
    while (text[at - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return at + 1;
  }
}

const names = new WeakMap<Plan, ReadonlyMap<string, FieldPlan>>();

/** Fields by proto name and by its lowerCamel spelling. */
function namesOf(plan: Plan): ReadonlyMap<string, FieldPlan> {
  let map = names.get(plan);
  if (map === undefined) {
    const camel = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    map = new Map(plan.fields.flatMap((field) => [[camel(field.name), field] as const, [field.name, field] as const]));
    names.set(plan, map);
  }
  return map;
}

/** `path` is the place inside the request, for errors: `` or `success[0].request_put.` */
function fromPlain(plan: Plan, source: unknown, path: string, depthLeft: number): Fielded {
  if (depthLeft === 0) throw invalid(`proto: messages nested deeper than ${plan.depthMax}`);
  if (typeof source !== 'object' || source === null || Array.isArray(source)) {
    throw invalid(`proto: ${path === '' ? 'the request' : `field ${path.slice(0, -1)}`} must be a JSON object`);
  }
  const message = emptyMessage(plan);
  const known = namesOf(plan);
  for (const name of Object.keys(source)) {
    const field = known.get(name);
    const value = (source as Fielded)[name];
    if (field === undefined || value === null || value === undefined) continue;
    const here = path + field.name;
    if (field.rivals.some((rival) => message[rival] !== undefined)) {
      throw invalid(`proto: field ${here}: oneof ${field.oneof} is already set`);
    }
    message[field.name] = field.repeated
      ? readList(field, value, here, depthLeft)
      : read(field, value, here, depthLeft);
  }
  return message;
}

function readList(field: FieldPlan, value: unknown, path: string, depthLeft: number): unknown[] {
  if (!Array.isArray(value)) throw invalid(`proto: field ${path} must be a JSON array`);
  return value.map((item, index) => read(field, item, `${path}[${index}]`, depthLeft));
}

function read(field: FieldPlan, value: unknown, path: string, depthLeft: number): unknown {
  switch (field.kind) {
    case 'int64':
      return readInteger(value, path, MIN_INT64, MAX_INT64);
    case 'uint64':
      return readInteger(value, path, 0n, MAX_UINT64);
    case 'revision':
      return saturated(readInteger(value, path, MIN_INT64, MAX_INT64));
    case 'counter':
      return saturated(readInteger(value, path, 0n, MAX_UINT64));
    case 'int32':
      return Number(readInteger(value, path, MIN_INT32, MAX_INT32));
    case 'uint32':
      return Number(readInteger(value, path, 0n, MAX_UINT32));
    case 'enum':
      return readEnum(field.enumType!, value, path);
    case 'bool':
      if (typeof value !== 'boolean') throw invalid(`proto: field ${path} must be true or false`);
      return value;
    case 'bytes':
      return readBytes(value, path);
    case 'key':
      return toByteString(readBytes(value, path));
    case 'string':
      if (typeof value !== 'string') throw invalid(`proto: field ${path} must be a string`);
      return value;
    case 'message':
      return fromPlain(nestedPlan(field), value, `${path}.`, depthLeft - 1);
  }
}

const MIN_INT64 = -(2n ** 63n);
const MAX_INT64 = 2n ** 63n - 1n;
const MAX_UINT64 = 2n ** 64n - 1n;
const MIN_INT32 = -(2n ** 31n);
const MAX_INT32 = 2n ** 31n - 1n;
const MAX_UINT32 = 2n ** 32n - 1n;
const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** More digits than any 64-bit integer has: BigInt of a hostile megabyte of digits would take seconds. */
const INTEGER_CHARS_MAX = 24;

function readInteger(value: unknown, path: string, min: bigint, max: bigint): bigint {
  let integer: bigint | undefined;
  if (typeof value === 'number' && Number.isInteger(value)) integer = BigInt(value);
  else if (typeof value === 'string' && value.length <= INTEGER_CHARS_MAX && /^-?\d+$/.test(value)) {
    integer = BigInt(value);
  }
  if (integer === undefined) throw invalid(`proto: field ${path} must be an integer`);
  if (integer < min || integer > max) throw invalid(`proto: field ${path} is out of range: ${integer}`);
  return integer;
}

function saturated(value: bigint): number {
  return Number(value > MAX_SAFE ? MAX_SAFE : value < -MAX_SAFE ? -MAX_SAFE : value);
}

function readEnum(type: EnumType, value: unknown, path: string): number {
  if (typeof value === 'string') {
    if (Object.hasOwn(type.values, value)) return type.values[value]!;
    throw invalid(`proto: field ${path}: ${type.name} has no value ${JSON.stringify(value.slice(0, 64))}`);
  }
  return Number(readInteger(value, path, MIN_INT32, MAX_INT32));
}

function readBytes(value: unknown, path: string): Uint8Array {
  const octets = typeof value === 'string' ? fromBase64(value) : undefined;
  if (octets === undefined) throw invalid(`proto: field ${path} must be a string of base64`);
  return octets;
}
