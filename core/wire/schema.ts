/**
 * The schema language of the wire: a message is a table of fields, a field is a number, a kind and how often it may
 * occur. TypeScript types (here), the binary codec (binary.ts) and the JSON codec (json.ts) are made from the same
 * table. Holds no message of its own: those are in messages.ts and stored.ts.
 */
import type { ByteString } from '../util/bytes.ts';

/**
 * How a field is written on the wire and what it is in memory:
 * - `int64` / `uint64`: 64-bit identifiers (lease, member, cluster), `bigint`
 * - `revision`: int64 holding a revision, version, count or number of seconds, a safe-integer `number`
 * - `counter`: the same as uint64 on the wire
 * - `int32`, `uint32`, `bool`, `enum`: varints; an enum is its number
 * - `bytes`: `Uint8Array`, a view into the received message; `key`: bytes held as a latin1 ByteString
 * - `string`: UTF-8 text
 * - `message`: a nested message, `undefined` when absent
 */
export type Kind =
  | 'int64'
  | 'uint64'
  | 'revision'
  | 'counter'
  | 'int32'
  | 'uint32'
  | 'bool'
  | 'enum'
  | 'bytes'
  | 'key'
  | 'string'
  | 'message';

interface KindValues {
  int64: bigint;
  uint64: bigint;
  revision: number;
  counter: number;
  int32: number;
  uint32: number;
  bool: boolean;
  enum: number;
  bytes: Uint8Array;
  key: ByteString;
  string: string;
}

/** Names of an enum's values, both ways. */
export interface EnumType {
  readonly name: string;
  readonly values: Readonly<Record<string, number>>;
}

/** One field. `T` exists only for the type checker: what the decoded message holds under this name. */
export interface Field<T = unknown> {
  readonly number: number;
  readonly kind: Kind;
  readonly repeated: boolean;
  /** Present in memory only when it was on the wire (oneof members, sub-messages). */
  readonly optional: boolean;
  /** The name of the oneof this field belongs to, if any. */
  readonly oneof?: string;
  readonly enumType?: EnumType;
  /** The nested message's type; a function because messages refer to each other in circles. */
  readonly type?: () => MessageType<object>;
  readonly _value?: T;
}

export type Fields = Readonly<Record<string, Field>>;

export interface MessageType<T extends object> {
  /** Full protobuf name, e.g. `etcdserverpb.PutRequest`. */
  readonly name: string;
  readonly fields: Fields;
  readonly _value?: T;
}

type ValueOf<F> = F extends Field<infer T> ? T : never;
type OptionalKeys<F extends Fields> = {
  [K in keyof F]: undefined extends ValueOf<F[K]> ? K : never;
}[keyof F];

/** The decoded form of a message: every plain field present with its proto3 default, optional ones maybe `undefined`. */
export type Shape<F extends Fields> = { [K in Exclude<keyof F, OptionalKeys<F>>]: ValueOf<F[K]> } & {
  [K in OptionalKeys<F>]?: ValueOf<F[K]>;
};

/** The decoded form of a message type: `Decoded<typeof PutRequest>`. */
export type Decoded<M> = M extends MessageType<infer T> ? T : never;

export function message<const F extends Fields>(name: string, fields: F): MessageType<Shape<F>> {
  return { name, fields };
}

function scalar<K extends keyof KindValues>(kind: K) {
  return (number: number): Field<KindValues[K]> => ({ number, kind, repeated: false, optional: false });
}

export const int64 = scalar('int64');
export const uint64 = scalar('uint64');
export const revision = scalar('revision');
export const counter = scalar('counter');
export const int32 = scalar('int32');
export const uint32 = scalar('uint32');
export const bool = scalar('bool');
export const bytes = scalar('bytes');
export const key = scalar('key');
export const string = scalar('string');

export function enumeration(number: number, enumType: EnumType): Field<number> {
  return { number, kind: 'enum', repeated: false, optional: false, enumType };
}

/** A nested message. The type is given as a thunk: `sub(1, () => ResponseHeader)`. */
export function sub<T extends object>(number: number, type: () => MessageType<T>): Field<T | undefined> {
  return { number, kind: 'message', repeated: false, optional: true, type: type as () => MessageType<object> };
}

export function repeated<T>(field: Field<T>): Field<Exclude<T, undefined>[]> {
  return { ...field, repeated: true, optional: false } as Field<Exclude<T, undefined>[]>;
}

/** A member of a oneof: `undefined` unless it was the one on the wire. */
export function oneof<T>(name: string, field: Field<T>): Field<T | undefined> {
  return { ...field, optional: true, oneof: name } as Field<T | undefined>;
}
