/**
 * Messages as Go's encoding/json writes etcd's structs, which is what `-w json` prints: 64-bit integers as bare numbers,
 * octets as base64, enums by number, what is empty left out. Not the gateway's dialect (core/wire/json.ts).
 */
import { type ByteString, fromByteString, toBase64 } from '../../core/util/bytes.ts';
import type { ResponseHeader } from '../../core/wire/messages.ts';
import { ResponseHeader as HeaderType } from '../../core/wire/messages.ts';
import type { Field, MessageType } from '../../core/wire/schema.ts';

type Decoded<M> = M extends MessageType<infer T> ? T : never;
export type Header = Decoded<typeof ResponseHeader>;

/** Writes cluster, member and header ids as hexadecimal strings: what --hex means for the answers about members. */
export interface JsonOptions {
  hexIds?: boolean;
}

const HEX_IDS = new Set(['cluster_id', 'member_id', 'ID']);

/** `message` as one line of JSON. */
export function goJson<T extends object>(type: MessageType<T>, message: T, options: JsonOptions = {}): string {
  return `{${members(type, message as Record<string, unknown>, options).join(',')}}`;
}

/** The members of a header, for answers that have it in no object of its own (those about leases). */
export function headerMembers(header: Header | undefined): string[] {
  return header === undefined ? [] : members(HeaderType, header, {});
}

/** A string as Go writes it: what could be markup is escaped. */
export function goString(text: string): string {
  return JSON.stringify(text).replace(/[<>&\u2028\u2029]/g, (sign) => {
    return `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

function members(type: MessageType<object>, message: Record<string, unknown>, options: JsonOptions): string[] {
  const result: string[] = [];
  const choice: string[] = [];
  let union: string | undefined;
  for (const [name, field] of Object.entries(type.fields)) {
    if (field.oneof !== undefined) union = field.oneof;
    const value = message[name];
    if (isEmpty(field, value)) continue;
    const hex = options.hexIds === true && HEX_IDS.has(name) && typeof value === 'bigint';
    const text = hex ? `"${BigInt.asUintN(64, value).toString(16)}"` : written(field, value, options);
    (field.oneof === undefined ? result : choice).push(`"${name}":${text}`);
  }
  // Go has a field for the union itself, named after it.
  if (union !== undefined) {
    const name = union[0]!.toUpperCase() + union.slice(1);
    result.push(`"${name}":${choice.length === 0 ? 'null' : `{${choice.join(',')}}`}`);
  }
  return result;
}

function isEmpty(field: Field, value: unknown): boolean {
  if (value === undefined) return true;
  if (field.repeated) return (value as unknown[]).length === 0;
  if (field.kind === 'message') return false;
  return value === 0 || value === 0n || value === '' || value === false || (value as Uint8Array).length === 0;
}

function written(field: Field, value: unknown, options: JsonOptions): string {
  if (Array.isArray(value)) return `[${value.map((item) => one(field, item, options)).join(',')}]`;
  return one(field, value, options);
}

function one(field: Field, value: unknown, options: JsonOptions): string {
  switch (field.kind) {
    case 'message':
      return goJson(field.type!(), value as object, options);
    case 'bytes':
      return `"${toBase64(value as Uint8Array)}"`;
    case 'key':
      return `"${toBase64(fromByteString(value as ByteString))}"`;
    case 'string':
      return goString(value as string);
    default:
      return String(value);
  }
}
