/**
 * A request of /v2/keys from its method, path and form, checked in etcd's order (v2http.parseKeyRequest). Owns what the
 * parameters mean; knows nothing of HTTP beyond the method's name.
 */

import { LEASE_TTL_SECONDS_MAX } from '../../core/lease/lessor.ts';
import { type ByteString, EMPTY_BYTES, fromByteString } from '../../core/util/bytes.ts';
import { cleanPath, DEPTH_MAX, isTooDeep, isUtf8 } from '../../core/v2/paths.ts';
import { V2Op, type V2Request } from '../../core/wire/stored.ts';
import { V2Error, V2ErrorCode } from './errors.ts';
import { type Form, FormError } from './form.ts';

export interface KeyRead {
  readonly kind: 'read';
  readonly path: ByteString;
  readonly recursive: boolean;
  readonly sorted: boolean;
  /** Named with a slash at its end. */
  readonly asDirectory: boolean;
  /** Linearizable; else as this member knows it. */
  readonly quorum: boolean;
}

export interface KeyWrite {
  readonly kind: 'write';
  readonly request: V2Request;
  readonly noValueOnSuccess: boolean;
}

export interface KeyWatch {
  readonly kind: 'watch';
  readonly path: ByteString;
  readonly recursive: boolean;
  /** Go on after the first event. */
  readonly stream: boolean;
  /** The first index that is wanted; 0: the next. */
  readonly waitIndex: number;
}

export type KeyRequest = KeyRead | KeyWrite | KeyWatch;

const UINT64_MAX = 2n ** 64n - 1n;
const TRUE: ReadonlySet<string> = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE: ReadonlySet<string> = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);

/** `path` is what follows /v2/keys, unescaped. `nowMs` is the wall clock. */
export function readKeyRequest(
  method: string,
  path: ByteString,
  form: Form | FormError,
  nowMs: number,
): KeyRequest | V2Error {
  if (form instanceof FormError) return new V2Error(V2ErrorCode.INVALID_FORM, form.text);
  // Two thirds of all requests have nothing to say.
  const fields = form.size === 0 ? NOTHING : readFields(method, form);
  if (fields instanceof V2Error) return fields;
  const clean = cleanPath(path);
  if (!isUtf8(clean)) return new V2Error(V2ErrorCode.INVALID_FIELD, 'the key is not UTF-8');
  if (isTooDeep(clean))
    return new V2Error(V2ErrorCode.INVALID_FIELD, `the key is deeper than ${DEPTH_MAX} directories`);
  if (method !== 'GET' && method !== 'HEAD') {
    return { kind: 'write', request: writeRequest(method, clean, fields, nowMs), noValueOnSuccess: fields.noValue };
  }
  const { recursive, sorted } = fields;
  // As with etcd: a linearizable read does not wait.
  const quorum = fields.quorum && method === 'GET';
  if (!fields.wait || quorum) {
    const asDirectory = path.endsWith('/');
    return { kind: 'read', path: clean, recursive, sorted, asDirectory, quorum };
  }
  return { kind: 'watch', path: clean, recursive, stream: fields.stream, waitIndex: safe(fields.waitIndex) };
}

interface Fields {
  readonly prevIndex: bigint;
  readonly waitIndex: bigint;
  readonly recursive: boolean;
  readonly sorted: boolean;
  readonly wait: boolean;
  readonly dir: boolean;
  readonly quorum: boolean;
  readonly stream: boolean;
  readonly noValue: boolean;
  readonly refresh: boolean;
  readonly prevValue: ByteString;
  readonly value: ByteString;
  readonly ttl: bigint | undefined;
  readonly prevExist: boolean | undefined;
}

const NOTHING: Fields = {
  prevIndex: 0n,
  waitIndex: 0n,
  recursive: false,
  sorted: false,
  wait: false,
  dir: false,
  quorum: false,
  stream: false,
  noValue: false,
  refresh: false,
  prevValue: '',
  value: '',
  ttl: undefined,
  prevExist: undefined,
};

function readFields(method: string, form: Form): Fields | V2Error {
  const reader = new FieldReader(form);
  const { INDEX_NAN, INVALID_FIELD, PREV_VALUE_REQUIRED, TTL_NAN } = V2ErrorCode;
  const prevIndex = reader.number('prevIndex', INDEX_NAN) ?? 0n;
  const waitIndex = reader.number('waitIndex', INDEX_NAN) ?? 0n;
  const recursive = reader.flag('recursive');
  const sorted = reader.flag('sorted');
  const wait = reader.flag('wait');
  const dir = reader.flag('dir');
  const quorum = reader.flag('quorum');
  const stream = reader.flag('stream');
  if (wait && method !== 'GET') reader.fail(INVALID_FIELD, '"wait" can only be used with GET requests');
  const prevValue = form.get('prevValue') ?? '';
  if (prevValue === '' && form.has('prevValue')) reader.fail(PREV_VALUE_REQUIRED, '"prevValue" cannot be empty');
  const noValue = reader.flag('noValueOnSuccess');
  const ttl = (form.get('ttl') ?? '') === '' ? undefined : reader.number('ttl', TTL_NAN);
  if (ttl !== undefined && ttl > LEASE_TTL_SECONDS_MAX) reader.fail(TTL_NAN, 'invalid value for "ttl"');
  const prevExist = form.has('prevExist') ? reader.flag('prevExist', 'invalid value for prevExist') : undefined;
  const refresh = reader.flag('refresh', 'invalid value for refresh');
  const value = form.get('value') ?? '';
  if (refresh && value !== '') reader.fail(V2ErrorCode.REFRESH_VALUE, 'A value was provided on a refresh');
  if (refresh && ttl === undefined) reader.fail(V2ErrorCode.REFRESH_TTL_REQUIRED, 'No TTL value set');
  return (
    reader.error ?? {
      prevIndex,
      waitIndex,
      recursive,
      sorted,
      wait,
      dir,
      quorum,
      stream,
      noValue,
      refresh,
      prevValue,
      value,
      ttl,
      prevExist,
    }
  );
}

/** Reads on after the first mistake, which is the one that counts. */
class FieldReader {
  error: V2Error | undefined;
  readonly #form: Form;

  constructor(form: Form) {
    this.#form = form;
  }

  fail(code: number, cause: string): void {
    this.error ??= new V2Error(code, cause);
  }

  flag(name: string, cause = `invalid value for "${name}"`): boolean {
    const text = this.#form.get(name);
    if (text === undefined || FALSE.has(text)) return false;
    if (!TRUE.has(text)) this.fail(V2ErrorCode.INVALID_FIELD, cause);
    return true;
  }

  number(name: string, code: number): bigint | undefined {
    const text = this.#form.get(name);
    if (text === undefined) return undefined;
    const number = /^\d+$/.test(text) ? BigInt(text) : UINT64_MAX + 1n;
    if (number > UINT64_MAX) this.fail(code, `invalid value for "${name}"`);
    return number;
  }
}

function writeRequest(method: string, path: ByteString, fields: Fields, nowMs: number): V2Request {
  const { dir, recursive, refresh, ttl, value, prevValue, prevIndex } = fields;
  return {
    op: opOf(method, fields),
    path,
    value: value === '' ? EMPTY_BYTES : fromByteString(value),
    dir: dir || (method === 'DELETE' && recursive),
    recursive: recursive && method === 'DELETE',
    refresh,
    ttl: Number(ttl ?? 0n),
    has_ttl: ttl !== undefined,
    prev_value: prevValue === '' ? EMPTY_BYTES : fromByteString(prevValue),
    prev_index: prevIndex,
    time_ms: nowMs,
  };
}

/** etcd: applierV2store. */
function opOf(method: string, { prevExist, prevIndex, prevValue }: Fields): number {
  const { SET, CREATE, POST, UPDATE, COMPARE_AND_SWAP, DELETE, COMPARE_AND_DELETE } = V2Op.values;
  if (method === 'POST') return POST;
  const compares = prevIndex !== 0n || prevValue !== '';
  if (method === 'DELETE') return compares ? COMPARE_AND_DELETE : DELETE;
  if (prevExist === false) return CREATE;
  if (compares) return COMPARE_AND_SWAP;
  return prevExist === true ? UPDATE : SET;
}

function safe(number: bigint): number {
  return number > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(number);
}
