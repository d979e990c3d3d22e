/**
 * How far the log has been applied, and the configuration there, in the `meta` bucket: index and term under etcd's names,
 * 8-byte big-endian, the configuration as a ConfState. Owns the form only.
 */
import { GrpcStatus, otherError, RosterError } from '../errors.ts';
import type { Backend, BackendView } from '../mvcc/backend.ts';
import { ConfState } from '../raft/messages.ts';
import { decode, defaults, encode } from '../wire/binary.ts';

const INDEX = 'consistent_index';
const TERM = 'term';
const CONF = 'confState';
const TWO_32 = 2 ** 32;

export interface Applied {
  /** Index of the last entry whose effects are in the state; 0: none. */
  index: number;
  /** Its term. */
  term: number;
  /** The configuration after it; without voters on a member that has not been told of any. */
  conf: ConfState;
}

/** Where a state begins that nothing has been applied to. */
export function nothingApplied(): Applied {
  return { index: 0, term: 0, conf: defaults(ConfState) };
}

/** To be called right before the commit that makes the effects durable, never apart from it. */
export function writeApplied(backend: Backend, { index, term, conf }: Applied): void {
  backend.put('meta', INDEX, uint64(index));
  backend.put('meta', TERM, uint64(term));
  if (conf.voters.length > 0) backend.put('meta', CONF, encode(ConfState, conf));
}

/** Zeros and no voters on a fresh backend. Throws a RosterError DATA_LOSS when the record is not one. */
export function readApplied(backend: Pick<BackendView, 'get'>): Applied {
  return { index: readNumber(backend, INDEX), term: readNumber(backend, TERM), conf: readConf(backend) };
}

function uint64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(value / TWO_32));
  view.setUint32(4, value % TWO_32);
  return bytes;
}

function readNumber(backend: Pick<BackendView, 'get'>, name: string): number {
  const bytes = backend.get('meta', name);
  if (bytes === undefined) return 0;
  if (bytes.length === 8) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
    const value = view.getUint32(0) * TWO_32 + view.getUint32(4);
    if (Number.isSafeInteger(value)) return value;
  }
  throw otherError(GrpcStatus.DATA_LOSS, `the store is damaged: its ${name} is not a number`);
}

function readConf(backend: Pick<BackendView, 'get'>): ConfState {
  const bytes = backend.get('meta', CONF);
  if (bytes === undefined) return defaults(ConfState);
  try {
    return decode(ConfState, bytes);
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    throw otherError(GrpcStatus.DATA_LOSS, `the store is damaged: its ${CONF} is not one`, { cause: error });
  }
}
