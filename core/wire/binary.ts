/**
 * Protobuf's binary format for the messages of messages.ts and stored.ts. Owns `encode`, `decode` and `defaults`; the
 * tables say what a message is, writer.ts and reader.ts what a byte is. On the path of every request: nothing is allocated
 * per field.
 */
import { assert } from '../util/assert.ts';
import { encodedOf } from './encoded.ts';
import { emptyMessage, type Fielded, type FieldPlan, nestedPlan, type Plan, planOf } from './plan.ts';
import { Reader } from './reader.ts';
import type { MessageType } from './schema.ts';
import { BackwardWriter } from './writer.ts';

/** A message with every field at its default, lists empty and its own. */
export function defaults<T extends object>(type: MessageType<T>): T {
  return emptyMessage(planOf(type)) as T;
}

const writer = new BackwardWriter();

/**
 * The protobuf encoding of `message` in memory of its own. Missing fields count as unset; zero values are not written
 * except in a oneof. A message that carries its encoding (encoded.ts) is copied. With `headroom`, that many bytes
 * before the encoding are left for the caller to fill (a frame header).
 */
export function encode<T extends object>(type: MessageType<T>, message: Partial<T>, headroom = 0): Uint8Array {
  writer.reset();
  writeMessage(planOf(type), message as Fielded);
  return writer.finish(headroom);
}

/**
 * As {@link encode}, for who copies it at once: the memory is lent until the next message is encoded. Memory of its own for
 * each part of a long answer makes V8 collect garbage in the whole heap every second.
 */
export function encodeLent<T extends object>(type: MessageType<T>, message: Partial<T>, headroom = 0): Uint8Array {
  writer.reset();
  writeMessage(planOf(type), message as Fielded);
  return writer.lend(headroom);
}

/**
 * The message that bytes `start..end` hold. Fields of kind `bytes` are views into `bytes`: who keeps them must not
 * reuse that memory. Throws a RosterError INTERNAL when the bytes are not such a message.
 */
export function decode<T extends object>(type: MessageType<T>, bytes: Uint8Array, start = 0, end = bytes.length): T {
  assert(0 <= start && start <= end && end <= bytes.length, 'decode: the range must lie within the bytes');
  const plan = planOf(type);
  const message = emptyMessage(plan);
  readMessage(new Reader(bytes, start, end), plan, message, plan.depthMax, true);
  return message as T;
}

// ---- encoding: everything is written backwards, so a value comes before its length and its tag

function writeMessage(plan: Plan, message: Fielded): void {
  const ready = encodedOf(message);
  if (ready !== undefined) {
    writer.raw(ready);
    return;
  }
  const fields = plan.fields;
  for (let i = fields.length - 1; i >= 0; i--) {
    const field = fields[i]!;
    const value = message[field.name];
    if (value === undefined) continue;
    if (field.repeated) writeList(field, value as readonly unknown[]);
    else if (field.optional || !isZero(field, value)) {
      writeValue(field, value);
      writer.uint32(field.tag);
    }
  }
}

function isZero(field: FieldPlan, value: unknown): boolean {
  switch (field.kind) {
    case 'int64':
    case 'uint64':
      return value === 0n;
    case 'bytes':
      return (value as Uint8Array).length === 0;
    case 'key':
    case 'string':
      return value === '';
    case 'bool':
      return value === false;
    case 'message':
      return false;
    default:
      return value === 0;
  }
}

function writeList(field: FieldPlan, list: readonly unknown[]): void {
  if (list.length === 0) return;
  if (field.delimited) {
    for (let i = list.length - 1; i >= 0; i--) {
      writeValue(field, list[i]);
      writer.uint32(field.tag);
    }
    return;
  }
  const before = writer.length;
  for (let i = list.length - 1; i >= 0; i--) writeValue(field, list[i]);
  writer.uint32(writer.length - before);
  writer.uint32(field.packedTag);
}

function writeValue(field: FieldPlan, value: unknown): void {
  switch (field.kind) {
    case 'revision':
    case 'counter':
    case 'int32':
    case 'uint32':
    case 'enum':
      writer.integer(value as number);
      break;
    case 'bool':
      writer.uint32(value === true ? 1 : 0);
      break;
    case 'int64':
    case 'uint64':
      writer.big(value as bigint);
      break;
    case 'key':
      writer.byteString(value as string);
      writer.uint32((value as string).length);
      break;
    case 'bytes':
      writer.raw(value as Uint8Array);
      writer.uint32((value as Uint8Array).length);
      break;
    case 'string':
      writer.uint32(writer.text(value as string));
      break;
    case 'message': {
      const before = writer.length;
      writeMessage(nestedPlan(field), value as Fielded);
      writer.uint32(writer.length - before);
    }
  }
}

// ---- decoding

/** `fresh`: nothing is set in `message` yet. */
function readMessage(reader: Reader, plan: Plan, message: Fielded, depthLeft: number, fresh: boolean): void {
  if (depthLeft === 0) throw reader.fail(`messages nested deeper than ${plan.depthMax}`);
  let mayHaveRivals = !fresh;
  while (reader.at < reader.end) {
    const tag = reader.tag();
    const field = plan.byNumber[tag >>> 3];
    if (field === undefined) reader.skip(tag & 7);
    else if (field.repeated) readElement(reader, field, tag, message[field.name] as unknown[], depthLeft);
    else if (tag !== field.tag) reader.skip(tag & 7);
    else {
      if (field.oneof !== undefined) {
        if (mayHaveRivals) clearRivals(field, message);
        mayHaveRivals = true;
      }
      message[field.name] =
        field.kind === 'message'
          ? readNested(reader, field, message[field.name] as Fielded | undefined, depthLeft)
          : readScalar(reader, field);
    }
  }
}

/** Of a oneof's members the last one on the wire counts. */
function clearRivals(field: FieldPlan, message: Fielded): void {
  for (let i = 0; i < field.rivals.length; i++) {
    const rival = field.rivals[i]!;
    if (message[rival] !== undefined) message[rival] = undefined;
  }
}

function readElement(reader: Reader, field: FieldPlan, tag: number, list: unknown[], depthLeft: number): void {
  if (tag === field.tag) {
    list.push(field.kind === 'message' ? readNested(reader, field, undefined, depthLeft) : readScalar(reader, field));
  } else if (tag === field.packedTag) {
    const stop = reader.block();
    const outer = reader.end;
    reader.end = stop;
    while (reader.at < stop) list.push(readScalar(reader, field));
    reader.end = outer;
  } else reader.skip(tag & 7);
}

/** Reads a nested message; one that came before under the same field is added to. */
function readNested(reader: Reader, field: FieldPlan, earlier: Fielded | undefined, depthLeft: number): Fielded {
  const plan = nestedPlan(field);
  const message = earlier ?? emptyMessage(plan);
  const stop = reader.block();
  const outer = reader.end;
  reader.end = stop;
  readMessage(reader, plan, message, depthLeft - 1, earlier === undefined);
  reader.end = outer;
  return message;
}

function readScalar(reader: Reader, field: FieldPlan): unknown {
  switch (field.kind) {
    case 'revision':
      return reader.signedInteger();
    case 'counter':
      return reader.unsignedInteger();
    case 'int64':
      return reader.int64();
    case 'uint64':
      return reader.uint64();
    case 'int32':
    case 'enum':
      return reader.int32();
    case 'uint32':
      return reader.uint32();
    case 'bool':
      return reader.bool();
    case 'bytes':
      return reader.view();
    case 'key':
      return reader.byteString();
    default:
      return reader.text();
  }
}
