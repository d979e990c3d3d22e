/** The parts that the recipes' transactions are made of. Calls nothing. */
import { EMPTY_BYTES } from '../../core/util/bytes.ts';
import { defaults } from '../../core/wire/binary.ts';
import {
  Compare,
  CompareTarget,
  DeleteRangeRequest,
  type KeyValue,
  PutRequest,
  RangeRequest,
  type RequestOp,
  type TxnResponse,
} from '../../core/wire/messages.ts';
import type { Key } from '../api.ts';
import { keyBytes } from '../key.ts';

/** Text becomes UTF-8; bytes stay. */
export function valueBytes(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
}

export function put(key: Key, value: Uint8Array = EMPTY_BYTES, lease = 0n): RequestOp {
  return { request_put: { ...defaults(PutRequest), key: keyBytes(key), value, lease } };
}

export function get(key: Key): RequestOp {
  return { request_range: { ...defaults(RangeRequest), key: keyBytes(key) } };
}

export function del(key: Key): RequestOp {
  return { request_delete_range: { ...defaults(DeleteRangeRequest), key: keyBytes(key) } };
}

/** The key does not exist. */
export function absent(key: Key): Compare {
  return created(key, 0);
}

/** The key exists since revision `createRevision`; 0: it does not exist. */
export function created(key: Key, createRevision: number): Compare {
  const target = CompareTarget.values.CREATE;
  return { ...defaults(Compare), key: keyBytes(key), target, create_revision: createRevision };
}

/** The key was last written at revision `modRevision`; 0: it does not exist. */
export function unchanged(key: Key, modRevision: number): Compare {
  return { ...defaults(Compare), key: keyBytes(key), target: CompareTarget.values.MOD, mod_revision: modRevision };
}

/** The pair that the get at `index` of a transaction has found. */
export function pairAt(response: TxnResponse, index: number): KeyValue | undefined {
  return response.responses[index]?.response_range?.kvs[0];
}
