import fc from 'fast-check';
import protobuf from 'protobufjs';
import * as messages from '../../core/wire/messages.ts';
import type { Field, Fields, Kind, MessageType } from '../../core/wire/schema.ts';
import * as stored from '../../core/wire/stored.ts';

/** Every message type of messages.ts and stored.ts, by name; the same as protobufjs types; and random messages of each. */

export type AnyType = MessageType<object>;
export type AnyMessage = Record<string, unknown>;

export const allTypes: readonly AnyType[] = Object.values({ ...messages, ...stored }).filter(
  (item): item is Extract<typeof item, { fields: Fields }> => 'fields' in item,
);

const protoName: Record<Exclude<Kind, 'enum' | 'message'>, string> = {
  int64: 'int64',
  uint64: 'uint64',
  revision: 'int64',
  counter: 'uint64',
  int32: 'int32',
  uint32: 'uint32',
  bool: 'bool',
  bytes: 'bytes',
  key: 'bytes',
  string: 'string',
};

const root = new protobuf.Root();
const oracles = new Map<string, protobuf.Type>();

function makeOracle(type: AnyType): protobuf.Type {
  const known = oracles.get(type.name);
  if (known !== undefined) return known;
  const made = new protobuf.Type(type.name.replaceAll('.', '_'));
  oracles.set(type.name, made);
  for (const [name, field] of Object.entries(type.fields)) {
    const typeName =
      field.kind === 'message'
        ? makeOracle(field.type!()).name
        : field.kind === 'enum'
          ? 'int32'
          : protoName[field.kind as keyof typeof protoName];
    made.add(
      new protobuf.Field(name, field.number, typeName, field.repeated ? 'repeated' : undefined, undefined, {
        features: { repeated_field_encoding: 'PACKED' },
      }),
    );
  }
  root.add(made);
  return made;
}

for (const type of allTypes) makeOracle(type);
root.resolveAll();

/** The protobufjs type made from the same table. */
export function oracleOf(type: AnyType): protobuf.Type {
  return oracles.get(type.name)!;
}

type Long = { toString(): string };
const long = protobuf.util.Long as unknown as { fromString(text: string, unsigned: boolean): Long };

function isDefault(value: unknown): boolean {
  return value === 0 || value === 0n || value === '' || value === false || (value as Uint8Array).length === 0;
}

/** What protobufjs wants for one of our messages. */
export function toOracle(type: AnyType, message: AnyMessage): AnyMessage {
  const result: AnyMessage = {};
  for (const [name, field] of Object.entries(type.fields)) {
    const value = message[name];
    if (value === undefined) continue;
    if (field.repeated) result[name] = (value as unknown[]).map((item) => valueToOracle(field, item));
    else if (field.optional || !isDefault(value)) result[name] = valueToOracle(field, value);
  }
  return result;
}

function valueToOracle(field: Field, value: unknown): unknown {
  switch (field.kind) {
    case 'int64':
    case 'revision':
      return long.fromString(String(value), false);
    case 'uint64':
    case 'counter':
      return long.fromString(String(value), true);
    case 'key':
      return Buffer.from(value as string, 'latin1');
    case 'message':
      return toOracle(field.type!(), value as AnyMessage);
    default:
      return value;
  }
}

/** One of our messages from what protobufjs decoded. */
export function fromOracle(type: AnyType, decoded: AnyMessage): AnyMessage {
  const result: AnyMessage = {};
  for (const [name, field] of Object.entries(type.fields)) {
    const value = Object.hasOwn(decoded, name) ? decoded[name] : undefined;
    if (field.repeated) result[name] = ((value ?? []) as unknown[]).map((item) => valueFromOracle(field, item));
    else if (value !== undefined && value !== null) result[name] = valueFromOracle(field, value);
    else if (!field.optional) result[name] = defaultOf(field.kind);
  }
  return result;
}

function valueFromOracle(field: Field, value: unknown): unknown {
  switch (field.kind) {
    case 'int64':
    case 'uint64':
      return BigInt((value as Long).toString());
    case 'revision':
    case 'counter':
      return Number((value as Long).toString());
    case 'key':
      return Buffer.from(value as Uint8Array).toString('latin1');
    case 'bytes':
      return new Uint8Array(value as Uint8Array);
    case 'message':
      return fromOracle(field.type!(), value as AnyMessage);
    default:
      return value;
  }
}

function defaultOf(kind: Kind): unknown {
  const defaults: Partial<Record<Kind, unknown>> = {
    int64: 0n,
    uint64: 0n,
    bool: false,
    bytes: new Uint8Array(0),
    key: '',
    string: '',
  };
  return kind in defaults ? defaults[kind] : 0;
}

const byteString = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
const edgy = (min: number, max: number) =>
  fc.oneof(fc.constantFrom(0, min, max), fc.integer({ min: Math.max(min, -300), max: 300 }), fc.maxSafeInteger());
const scalars: Record<Exclude<Kind, 'enum' | 'message'>, fc.Arbitrary<unknown>> = {
  int64: fc.oneof(fc.constant(0n), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt(-300n, 300n)),
  uint64: fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt(0n, 300n)),
  revision: edgy(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  counter: edgy(0, Number.MAX_SAFE_INTEGER).map(Math.abs),
  int32: fc.integer(),
  uint32: fc.nat({ max: 0xffffffff }),
  bool: fc.boolean(),
  bytes: fc.uint8Array({ maxLength: 40 }),
  key: byteString,
  string: fc.string({ unit: 'grapheme', maxLength: 20 }),
};

function randomValue(field: Field, depth: number): fc.Arbitrary<unknown> {
  if (field.kind === 'message') return messageOf(field.type!(), depth - 1);
  if (field.kind === 'enum') {
    return fc.oneof(
      fc.constantFrom(...Object.values(field.enumType!.values)),
      fc.integer({ min: -5, max: 2 ** 31 - 1 }),
    );
  }
  return scalars[field.kind];
}

/** Random messages of a type, complete as `decode` returns them, nested at most `depth` deep. */
export function messageOf(type: AnyType, depth = 3): fc.Arbitrary<AnyMessage> {
  const entries: Record<string, fc.Arbitrary<unknown>> = {};
  const unions = new Map<string, string[]>();
  for (const [name, field] of Object.entries(type.fields)) {
    const reachable = field.kind !== 'message' || depth > 0;
    if (field.oneof !== undefined) unions.set(field.oneof, [...(unions.get(field.oneof) ?? []), name]);
    if (field.repeated)
      entries[name] = reachable ? fc.array(randomValue(field, depth), { maxLength: 3 }) : fc.constant([]);
    else if (!reachable) entries[name] = fc.constant(undefined);
    else if (field.optional) entries[name] = fc.option(randomValue(field, depth), { nil: undefined });
    else entries[name] = randomValue(field, depth);
  }
  return fc.tuple(fc.record(entries), fc.nat()).map(([message, choice]) => {
    for (const members of unions.values()) {
      const kept = members[choice % (members.length + 1)];
      for (const member of members) if (member !== kept) delete message[member];
    }
    return message;
  });
}
