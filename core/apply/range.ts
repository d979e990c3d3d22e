/** The answer to a Range: what the store reads, filtered, sorted and cut as etcd does it. Reads only. */
import { type RosterError, rosterError } from '../errors.ts';
import type { KvReader, RangeResult } from '../mvcc/kv-store.ts';
import { compareBytes, EMPTY_BYTES } from '../util/bytes.ts';
import { type KeyValue, type RangeRequest, type RangeResponse, SortOrder, SortTarget } from '../wire/messages.ts';
import { headerAt } from './header.ts';

const { NONE, DESCEND } = SortOrder.values;
const { KEY, VERSION, CREATE, MOD, VALUE } = SortTarget.values;

/** `request` has passed checkRange. Compacted or FutureRev when its revision cannot be read. */
export function rangeResponse(reader: KvReader, request: RangeRequest): RangeResponse | RosterError {
  const result = reader.range(request.key, request.range_end, {
    limit: readLimit(request),
    revision: request.revision,
    countOnly: request.count_only,
  });
  return typeof result === 'string' ? rosterError(result) : arranged(request, result);
}

/**
 * How many pairs must be read for `request`; 0: all. One more than asked for tells whether there is more; but to be
 * sorted or filtered the whole range has to be seen before it is cut.
 */
export function readLimit(request: RangeRequest): number {
  const { limit } = request;
  return limit > 0 && request.sort_order === NONE && !filters(request) ? limit + 1 : 0;
}

/** The answer to `request`, of which {@link readLimit} pairs have been read. */
export function arranged(request: RangeRequest, read: RangeResult): RangeResponse {
  const { limit } = request;
  let { kvs } = read;
  if (filters(request)) kvs = kvs.filter((kv) => passes(kv, request));
  if (kvs.length > 1) kvs = sorted(kvs, request);
  const more = limit > 0 && kvs.length > limit;
  if (more) kvs = kvs.slice(0, limit);
  if (request.keys_only) kvs = kvs.map(withoutValue);
  return { header: headerAt(read.revision), kvs, more, count: read.count };
}

/** Whether the pairs are wanted as they lie, so that the first ones can be given before the last are seen. */
export function isPlain(request: RangeRequest): boolean {
  const { sort_order: order, sort_target: target } = request;
  return !filters(request) && target === KEY && order !== DESCEND;
}

/** The pair as it is asked for. */
export function asWanted(kv: KeyValue, { keys_only }: RangeRequest): KeyValue {
  return keys_only ? withoutValue(kv) : kv;
}

export function filters(request: RangeRequest): boolean {
  return (
    request.max_mod_revision !== 0 ||
    request.min_mod_revision !== 0 ||
    request.max_create_revision !== 0 ||
    request.min_create_revision !== 0
  );
}

/** Bounds are inclusive, 0 means none; a negative one is a bound like any other. */
function passes(kv: KeyValue, request: RangeRequest): boolean {
  const { max_mod_revision, min_mod_revision, max_create_revision, min_create_revision } = request;
  if (max_mod_revision !== 0 && kv.mod_revision > max_mod_revision) return false;
  if (min_mod_revision !== 0 && kv.mod_revision < min_mod_revision) return false;
  if (max_create_revision !== 0 && kv.create_revision > max_create_revision) return false;
  return min_create_revision === 0 || kv.create_revision >= min_create_revision;
}

/** `kvs` come in key order, and ties stay in it. A target without an order counts as ascending. */
function sorted(kvs: KeyValue[], { sort_order: order, sort_target: target }: RangeRequest): KeyValue[] {
  if (target === KEY) return order === DESCEND ? kvs.toReversed() : kvs;
  const compare = COMPARE[target]!;
  return kvs.toSorted(order === DESCEND ? (a, b) => compare(b, a) : compare);
}

const COMPARE: Readonly<Record<number, (a: KeyValue, b: KeyValue) => number>> = {
  [VERSION]: (a, b) => a.version - b.version,
  [CREATE]: (a, b) => a.create_revision - b.create_revision,
  [MOD]: (a, b) => a.mod_revision - b.mod_revision,
  [VALUE]: (a, b) => compareBytes(a.value, b.value),
};

/** A new pair, field by field: the stored one may carry its encoding, which holds the value. */
function withoutValue(kv: KeyValue): KeyValue {
  const { key, create_revision, mod_revision, version, lease } = kv;
  return { key, create_revision, mod_revision, version, value: EMPTY_BYTES, lease };
}
