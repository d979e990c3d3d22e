/**
 * A message type made ready for the codecs: its fields with their tags, in the order the encoder needs and by number
 * for the decoder, and the object every decoded message starts as. Made once per type. Touches no bytes.
 */
import { assert } from '../util/assert.ts';
import { EMPTY_BYTES } from '../util/bytes.ts';
import type { EnumType, Kind, MessageType } from './schema.ts';

/** How many messages may lie inside one another. A deeper one is refused: it can only be meant to exhaust the stack. */
export const MESSAGE_DEPTH_MAX = 100;

/**
 * Members of a oneof that are part of every message's shape. A wider one (the request in a log entry) would be mostly
 * room for what is not there, and beyond some 16 fields V8 keeps an object made by name as a hash table: measured, that
 * took a quarter of the processor time of three members under load.
 */
const SHAPED_ONEOF_MAX = 8;

/** Roster's own envelopes (package `roster`) hold requests that may be at the limit already. */
const ENVELOPE_DEPTH = 4;

export const WireType = { VARINT: 0, FIXED64: 1, LENGTH: 2, FIXED32: 5 } as const;

/** A message while the codecs handle it: fields by name. */
export type Fielded = Record<string, unknown>;

export interface FieldPlan {
  readonly name: string;
  readonly number: number;
  readonly kind: Kind;
  readonly repeated: boolean;
  /** Written even when it holds the default: a oneof member that is set. */
  readonly optional: boolean;
  readonly oneof: string | undefined;
  /** Names of the other members of its oneof. */
  readonly rivals: readonly string[];
  readonly enumType: EnumType | undefined;
  readonly type: (() => MessageType<object>) | undefined;
  /** Number and wire type of one value. */
  readonly tag: number;
  /** The tag of a whole list of numbers in one field. */
  readonly packedTag: number;
  /** False for numbers, which lists hold packed. */
  readonly delimited: boolean;
  /** Filled at first use, because types refer to each other in circles. */
  nested: Plan | undefined;
}

export interface Plan {
  readonly name: string;
  readonly depthMax: number;
  /** By ascending number, the order in which the encoder puts them on the wire. */
  readonly fields: readonly FieldPlan[];
  readonly byNumber: readonly (FieldPlan | undefined)[];
  /**
   * The fields with their defaults, in the order of the table, so that all messages of a type share one shape. Members
   * of a wide oneof are left out: they are there once they are set.
   */
  readonly template: Readonly<Fielded>;
  /** Names of the repeated fields: each message needs lists of its own. */
  readonly lists: readonly string[];
}

const plans = new WeakMap<object, Plan>();

export function planOf(type: MessageType<object>): Plan {
  return plans.get(type) ?? makePlan(type);
}

/** The plan of a sub-message field. */
export function nestedPlan(field: FieldPlan): Plan {
  field.nested ??= planOf(field.type!());
  return field.nested;
}

/** A message with nothing set. */
export function emptyMessage(plan: Plan): Fielded {
  const message = { ...plan.template };
  for (const name of plan.lists) message[name] = [];
  return message;
}

/** What a field holds when it was not on the wire. */
function defaultOf(kind: Kind): unknown {
  switch (kind) {
    case 'int64':
    case 'uint64':
      return 0n;
    case 'bool':
      return false;
    case 'bytes':
      return EMPTY_BYTES;
    case 'key':
    case 'string':
      return '';
    case 'message':
      return undefined;
    default:
      return 0;
  }
}

function isDelimited(kind: Kind): boolean {
  return kind === 'bytes' || kind === 'key' || kind === 'string' || kind === 'message';
}

function makePlan(type: MessageType<object>): Plan {
  const entries = Object.entries(type.fields);
  const fields = entries.map(([name, field]): FieldPlan => {
    const delimited = isDelimited(field.kind);
    const rivals = entries.filter(
      ([other, { oneof }]) => oneof !== undefined && oneof === field.oneof && other !== name,
    );
    assert((field.kind === 'message') === (field.type !== undefined), `${type.name}.${name}: a message needs its type`);
    return {
      name,
      number: field.number,
      kind: field.kind,
      repeated: field.repeated,
      optional: field.optional,
      oneof: field.oneof,
      rivals: rivals.map(([other]) => other),
      enumType: field.enumType,
      type: field.type,
      tag: field.number * 8 + (delimited ? WireType.LENGTH : WireType.VARINT),
      packedTag: field.number * 8 + WireType.LENGTH,
      delimited,
      nested: undefined,
    };
  });
  const byNumber: (FieldPlan | undefined)[] = [];
  const template: Fielded = {};
  const lists: string[] = [];
  for (const field of fields) {
    assert(byNumber[field.number] === undefined, `${type.name}: field number ${field.number} is used twice`);
    byNumber[field.number] = field;
    if (field.rivals.length < SHAPED_ONEOF_MAX) {
      template[field.name] = field.repeated || field.optional ? undefined : defaultOf(field.kind);
    }
    if (field.repeated) lists.push(field.name);
  }
  const depthMax = MESSAGE_DEPTH_MAX + (type.name.startsWith('roster.') ? ENVELOPE_DEPTH : 0);
  const inOrder = [...fields].sort((a, b) => a.number - b.number);
  const plan = { name: type.name, depthMax, fields: inOrder, byNumber, template, lists };
  plans.set(type, plan);
  return plan;
}
