/** Put and DeleteRange within an open write transaction, alone or as part of a Txn. Assigns nothing: the store does. */
import { type RosterError, rosterError } from '../errors.ts';
import type { KvReader, KvWriter } from '../mvcc/kv-store.ts';
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import type { DeleteRangeRequest, DeleteRangeResponse, KeyValue, PutRequest, PutResponse } from '../wire/messages.ts';
import { headerAt } from './header.ts';

/** `request` has passed checkPut, and its lease exists. KeyNotFound, with nothing written, when there is nothing to keep. */
export function putOp(writer: KvWriter, request: PutRequest): PutResponse | RosterError {
  const { key, ignore_value, ignore_lease } = request;
  if (!ignore_value && !ignore_lease && !request.prev_kv) {
    const kv = writer.put(key, request.value, request.lease);
    return { header: headerAt(kv.mod_revision), prev_kv: undefined };
  }
  const previous = latest(writer, key);
  if (previous === undefined && (ignore_value || ignore_lease)) return rosterError('KeyNotFound');
  const value = ignore_value ? previous!.value : request.value;
  const lease = ignore_lease ? previous!.lease : request.lease;
  const kv = writer.put(key, value, lease);
  return { header: headerAt(kv.mod_revision), prev_kv: request.prev_kv ? previous : undefined };
}

/** `begin` is the store's revision before the transaction. */
export function deleteRangeOp(writer: KvWriter, request: DeleteRangeRequest, begin: number): DeleteRangeResponse {
  const { key, range_end: rangeEnd } = request;
  const prev_kvs = request.prev_kv ? range(writer, key, rangeEnd) : [];
  const deleted = writer.deleteRange(key, rangeEnd);
  return { header: headerAt(writer.changed ? begin + 1 : begin), deleted, prev_kvs };
}

function latest(reader: KvReader, key: ByteString): KeyValue | undefined {
  return range(reader, key, '')[0];
}

function range(reader: KvReader, key: ByteString, rangeEnd: ByteString): KeyValue[] {
  const result = reader.range(key, rangeEnd);
  assert(typeof result !== 'string', 'the latest revision can always be read');
  return result.kvs;
}
