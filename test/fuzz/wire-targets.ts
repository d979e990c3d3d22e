/** Codecs: protobuf, JSON, the frames between members. Whatever comes, a value or a RosterError. */
import { checkTxn, TXN_DEPTH_MAX } from '../../core/apply/validate.ts';
import { RosterError } from '../../core/errors.ts';
import { PeerMessage } from '../../core/node/peer-message.ts';
import { decode, encode } from '../../core/wire/binary.ts';
import { fromJson, toJson } from '../../core/wire/json.ts';
import { RequestOp, TxnRequest } from '../../core/wire/messages.ts';
import { JsonSequence } from '../../server/http/json-sequence.ts';
import { decodeFrame, encodeFrame, isUrgent } from '../../server/peer/peer-frame.ts';
import { type AnyType, allTypes } from '../wire/oracle.ts';
import type { Chance } from './chance.ts';
import type { Target } from './runner.ts';

const LIMITS = { maxTxnOps: 128, depthMax: TXN_DEPTH_MAX };
const SEQUENCE_BYTES_MAX = 2000;
const MESSAGES_MAX = 20;

/** What it returns, or undefined when it refuses as it may. */
export function allowed<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof RosterError) return undefined;
    throw error;
  }
}

export function mustBe(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

/** A transaction in a transaction, and so on, around `core`. */
function nested(chance: Chance, core: Uint8Array, levels: number): Uint8Array {
  let bytes = Buffer.from(core);
  for (let i = 0; i < levels; i++) {
    // request_txn of RequestOp, then success or failure of TxnRequest.
    const op = Buffer.concat([Buffer.from([0x22]), varint(bytes.length), bytes]);
    bytes = Buffer.concat([Buffer.from([chance.one(2) ? 0x12 : 0x1a]), varint(op.length), op]);
  }
  return bytes;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    bytes.push(rest < 128 ? rest : (rest & 127) | 128);
    if (rest < 128) return Buffer.from(bytes);
  }
}

/** Decoded twice it is the same, and so is what is made of it. */
function decoded(type: AnyType, bytes: Uint8Array): void {
  const message = allowed(() => decode(type, bytes));
  if (message === undefined) return;
  const again = encode(type, message);
  mustBe(Buffer.from(encode(type, decode(type, again))).equals(again), `${type.name} changes when it is encoded`);
  if (type === (TxnRequest as AnyType)) checkTxn(message as TxnRequest, LIMITS);
}

const protobuf: Target = {
  name: 'protobuf',
  executions: 6000,
  share: 1,
  run(chance) {
    if (chance.one(40)) {
      const core = encode(TxnRequest, chance.message(TxnRequest, 2));
      const bytes = nested(chance, core, chance.int(300));
      return decoded(TxnRequest as AnyType, chance.one(2) ? bytes : chance.mutated(bytes));
    }
    const type = chance.one(4) ? (chance.one(2) ? TxnRequest : RequestOp) : chance.pick(allTypes);
    const valid = encode(type as AnyType, chance.message(type as AnyType));
    if (chance.one(8)) {
      mustBe(allowed(() => decode(type as AnyType, valid)) !== undefined, `${type.name} refuses what it has encoded`);
      return decoded(type as AnyType, valid);
    }
    if (chance.one(16)) return decoded(type as AnyType, chance.bytes(100));
    const other = chance.pick(allTypes);
    decoded(type as AnyType, chance.mutated(valid, encode(other, chance.message(other, 1))));
  },
};

function read(type: AnyType, text: string): void {
  const message = allowed(() => fromJson(type, text));
  if (message === undefined) return;
  const again = toJson(type, message);
  mustBe(toJson(type, fromJson(type, again)) === again, `${type.name} changes when it is written`);
}

const json: Target = {
  name: 'json',
  executions: 4000,
  share: 1,
  run(chance) {
    const type = chance.one(4) ? (TxnRequest as AnyType) : chance.pick(allTypes);
    if (chance.one(40)) {
      const levels = chance.int(400);
      return read(
        TxnRequest as AnyType,
        '{"success":[{"request_txn":'.repeat(levels) + (chance.one(2) ? '{}' : '') + '}]}'.repeat(levels),
      );
    }
    if (chance.one(100)) return read(type, chance.pick(['[', '{"a":', '{"a":[', '"\\u']).repeat(chance.int(20_000)));
    const valid = toJson(type, chance.message(type));
    if (chance.one(8)) {
      mustBe(allowed(() => fromJson(type, valid)) !== undefined, `${type.name} refuses what it has written: ${valid}`);
      return read(type, valid);
    }
    const text = chance.mutatedText(valid);
    if (chance.one(4)) return sequence(chance, text);
    read(type, text);
  },
};

/** However it is cut, the same objects come out. */
function sequence(chance: Chance, text: string): void {
  const bytes = Buffer.from(`${text}${chance.pick(['', ' ', '\n', '{}'])}${text}`);
  const cut = (sizeOf: () => number): string[] => {
    const found: string[] = [];
    const parser = new JsonSequence(SEQUENCE_BYTES_MAX);
    allowed(() => {
      for (let at = 0; at < bytes.length; ) {
        const size = sizeOf();
        for (const each of parser.push(bytes.subarray(at, at + size))) found.push(each);
        at += size;
      }
      parser.end();
    });
    return found;
  };
  mustBe(
    JSON.stringify(cut(() => bytes.length)) === JSON.stringify(cut(() => 1 + chance.int(7))),
    'a sequence of objects depends on how it is cut',
  );
}

const peerFrames: Target = {
  name: 'peer-frames',
  executions: 3000,
  share: 0.5,
  run(chance) {
    const frames = Array.from({ length: 1 + chance.int(4) }, () => encodeFrame(chance.message(PeerMessage)));
    const bytes = chance.one(8) ? Buffer.concat(frames) : chance.mutated(Buffer.concat(frames));
    for (const message of allowed(() => decodeFrame(bytes, MESSAGES_MAX)) ?? []) {
      isUrgent(message);
      encodeFrame(message);
    }
  },
};

export const wireTargets: readonly Target[] = [protobuf, json, peerFrames];
