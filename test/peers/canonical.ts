/**
 * Brings an answer into the form in which the two servers' answers must be equal: without what names the server, and
 * without what the API leaves open (ties of a sort, the order of a lease's keys, time). What differs between etcd 3.4
 * and 3.7 is not its business: differences.ts.
 */
import type * as m from '../../core/wire/messages.ts';
import { SortTarget } from '../../core/wire/messages.ts';
import type { Side } from './side.ts';

const { KEY, VERSION, CREATE, MOD, VALUE } = SortTarget.values;

/** `value` as plain data: ids of the server and of leases it chose by name, bytes as text, absent fields left out. */
export function plain(side: Side, value: unknown): unknown {
  const walk = (inner: unknown, name: string): unknown => {
    if (inner instanceof Uint8Array) return shortened(Buffer.from(inner).toString('latin1'));
    if (Array.isArray(inner)) return inner.map((item) => walk(item, name));
    if (typeof inner === 'object' && inner !== null) {
      const entries = Object.entries(inner).filter(([, field]) => field !== undefined);
      return Object.fromEntries(entries.map(([key, field]) => [key, walk(field, key)]));
    }
    // 16 letters and an index of the log.
    if (name === 'token' && /^[A-Za-z]{16}\.\d+$/.test(inner as string)) return 'set';
    if (name === 'cluster_id' || name === 'member_id' || name === 'raft_term') return Number(inner) === 0 ? 0 : 'set';
    if (typeof inner === 'bigint') {
      return name === 'lease' || name === 'ID' ? (side.leaseNames.get(inner) ?? String(inner)) : String(inner);
    }
    return inner;
  };
  return walk(value, '');
}

/** Large values would drown a report. */
function shortened(text: string): string {
  return text.length > 100 ? `${text.slice(0, 10)}... (${text.length} bytes)` : text;
}

/** A range's pairs, each run of ties in key order; of a run that the limit may have cut only its size. */
export function settleTies(request: Partial<m.RangeRequest>, response: m.RangeResponse): object {
  const { sort_target: target = KEY, keys_only: keysOnly = false } = request;
  if (target === KEY) return response;
  // Without values, who ties with whom cannot be told.
  const hidden = target === VALUE && keysOnly;
  const groups: m.KeyValue[][] = [];
  let last: string | undefined;
  for (const kv of response.kvs) {
    const rank = hidden ? '' : rankOf(kv, target);
    if (rank === last) groups.at(-1)!.push(kv);
    else groups.push([kv]);
    last = rank;
  }
  for (const group of groups) group.sort((a, b) => (a.key < b.key ? -1 : 1));
  const cut = response.more ? groups.pop() : undefined;
  return { ...response, kvs: groups.flat(), cut: cut === undefined ? undefined : { rank: last, size: cut.length } };
}

function rankOf(kv: m.KeyValue, target: number): string {
  switch (target) {
    case VERSION:
      return String(kv.version);
    case CREATE:
      return String(kv.create_revision);
    case MOD:
      return String(kv.mod_revision);
    default:
      return Buffer.from(kv.value).toString('latin1');
  }
}

/** The same for the ranges of a transaction, at any depth. */
export function settleTxn(request: Partial<m.TxnRequest>, response: m.TxnResponse): object {
  const ops = (response.succeeded ? request.success : request.failure) ?? [];
  const responses = response.responses.map((answer, index) => {
    const op = ops[index];
    if (answer.response_range !== undefined && op?.request_range !== undefined) {
      return { response_range: settleTies(op.request_range, answer.response_range) };
    }
    if (answer.response_txn !== undefined && op?.request_txn !== undefined) {
      return { response_txn: settleTxn(op.request_txn, answer.response_txn) };
    }
    return answer;
  });
  return { ...response, responses };
}

/** The time left is the clock's affair; that there is some, and not too much, is not. */
export function settleTimeToLive(response: m.LeaseTimeToLiveResponse): object {
  const { TTL, grantedTTL, keys } = response;
  return { ...response, TTL: TTL > 0 && TTL <= grantedTTL ? 'running' : TTL, keys: keys.toSorted() };
}

/** Sorted by the time left, which two servers need not see alike. */
export function settleLeases(leases: unknown[]): unknown[] {
  return leases.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}
