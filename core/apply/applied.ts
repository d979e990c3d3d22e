/** How far the log has been applied, in the `meta` bucket under etcd's names, 8-byte big-endian. */
import { GrpcStatus, otherError } from '../errors.ts';
import type { Backend } from '../mvcc/backend.ts';

const INDEX = 'consistent_index';
const TERM = 'term';
const TWO_32 = 2 ** 32;

export interface Applied {
  /** Index of the last entry whose effects are in the state; 0: none. */
  index: number;
  /** Its term. */
  term: number;
}

/** To be called right before the commit that makes the effects durable, never apart from it. */
export function writeApplied(backend: Backend, { index, term }: Applied): void {
  backend.put('meta', INDEX, uint64(index));
  backend.put('meta', TERM, uint64(term));
}

/** Zeros on a fresh backend. Throws a RosterError DATA_LOSS when the record is not one. */
export function readApplied(backend: Backend): Applied {
  return { index: read(backend, INDEX), term: read(backend, TERM) };
}

function uint64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(value / TWO_32));
  view.setUint32(4, value % TWO_32);
  return bytes;
}

function read(backend: Backend, name: string): number {
  const bytes = backend.get('meta', name);
  if (bytes === undefined) return 0;
  if (bytes.length === 8) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
    const value = view.getUint32(0) * TWO_32 + view.getUint32(4);
    if (Number.isSafeInteger(value)) return value;
  }
  throw otherError(GrpcStatus.DATA_LOSS, `the store is damaged: its ${name} is not a number`);
}
