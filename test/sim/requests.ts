/** The requests clients make, in short, and what of them one key is told. */

import type { ProposedRequest } from '../../core/node/node.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import type { InternalRequest } from '../../core/wire/stored.ts';
import type { KeyAction } from './history.ts';
import type { Member } from './member.ts';

const bytes = (text: string) => Uint8Array.from(Buffer.from(text, 'latin1'));

export function putOf(key: string, value: string, lease = 0n): m.PutRequest {
  return { ...defaults(m.PutRequest), key, value: bytes(value), lease };
}

export function deleteOf(key: string): m.DeleteRangeRequest {
  return { ...defaults(m.DeleteRangeRequest), key };
}

function rangeOf(key: string): m.RangeRequest {
  return { ...defaults(m.RangeRequest), key };
}

/** If the first key has this value: puts `value` to all keys. Otherwise: reads them. */
export function casOf(keys: readonly string[], expected: string | undefined, value: string): m.TxnRequest {
  const { CREATE, VALUE } = m.CompareTarget.values;
  const base = { ...defaults(m.Compare), key: keys[0]!, result: m.CompareResult.values.EQUAL };
  const absent = { ...base, target: CREATE, create_revision: 0 };
  const compare = expected === undefined ? absent : { ...base, target: VALUE, value: bytes(expected) };
  return {
    compare: [compare],
    success: keys.map((key) => ({ request_put: putOf(key, value) })),
    failure: keys.map((key) => ({ request_range: rangeOf(key) })),
  };
}

/** Reads the key as it was at `revision`, inside a transaction that is replicated: all members must answer it alike. */
export function pastOf(key: string, revision: number, value: string): m.TxnRequest {
  const past = { request_range: { ...rangeOf(key), revision } };
  return { compare: [], success: [past, { request_put: putOf(key, value) }], failure: [] };
}

/** A linearizable or local read of all keys there are. */
export function readAll(member: Member): { seen: Map<string, string>; revision: number } {
  const result = member.machine!.range({ ...rangeOf('\0'), range_end: '\0' });
  if (result instanceof Error) throw result;
  const seen = new Map(result.kvs.map((kv) => [kv.key, Buffer.from(kv.value).toString('latin1')]));
  return { seen, revision: result.header!.revision };
}

interface ResultShape {
  refused?: string;
  deleted?: number;
  succeeded?: boolean;
  responses?: { response_range?: { kvs: { value: string }[] } }[];
}

/** What a write with this result (as text) did to each of its keys. */
export function actionsOf(request: Omit<InternalRequest, 'id'> | ProposedRequest, text: string): [string, KeyAction][] {
  const result = JSON.parse(text) as ResultShape;
  if (result.refused !== undefined) return [];
  const { put, delete_range, txn } = request;
  const textOf = (value: Uint8Array) => Buffer.from(value).toString('latin1');
  if (put !== undefined) return [[put.key, { kind: 'put', value: textOf(put.value) }]];
  if (delete_range !== undefined) return [[delete_range.key, { kind: 'delete', found: result.deleted === 1 }]];
  if (txn === undefined) return [];
  const [compare] = txn.compare;
  if (compare === undefined) {
    const { request_put } = txn.success[1]!;
    return [[request_put!.key, { kind: 'put', value: textOf(request_put!.value) }]];
  }
  const expected = compare.value === undefined ? undefined : textOf(compare.value);
  const swapped = result.succeeded === true;
  return txn.success.map(({ request_put }, place) => {
    const { key } = request_put!;
    const value = textOf(request_put!.value);
    if (place === 0 && swapped) return [key, { kind: 'cas', expected, value, swapped }];
    if (swapped) return [key, { kind: 'put', value }];
    // What it saw instead says more than that it did not swap.
    return [key, { kind: 'read', value: result.responses?.[place]?.response_range?.kvs[0]?.value }];
  });
}
