/** `PUT` and `DELETE /kv/...`: raw bodies in, what has happened as JSON out; conditions become one transaction. */
import type { ByteString } from '../../core/util/bytes.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { type Conditions, comparesOf, etag } from './conditions.ts';
import { badRequest, HttpError } from './errors.ts';
import type { KvCall } from './kv-call.ts';
import { prefixRange } from './list.ts';
import { keyField, leaseText, pairJson } from './pair-json.ts';
import type { Parameters } from './parameters.ts';
import { conditionFailed } from './read-key.ts';
import type { Rpcs } from './rpcs.ts';
import type { TtlLeases } from './ttl-leases.ts';

/** One request for a change. */
export interface ChangeRequest {
  readonly call: KvCall;
  readonly key: ByteString;
  readonly parameters: Parameters;
  readonly conditions: Conditions;
}

/** The whole body. Throws a RosterError (413) as soon as it is larger than `bytesMax`. */
export async function readBody(request: Request, bytesMax: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const reader = request.body?.getReader();
  for (;;) {
    // Whatever fails here is the connection's.
    const read = await reader?.read().catch((cause: unknown) => {
      throw new HttpError('the body broke off', { status: 400, code: 'BadBody', hint: 'Send it again.' }, { cause });
    });
    if (read === undefined || read.done) return Buffer.concat(parts);
    bytes += read.value.length;
    if (bytes > bytesMax) {
      throw new HttpError(`the value is larger than ${bytesMax} bytes`, {
        ...{ status: 413, code: 'RequestTooLarge' },
        hint: 'Store less in one key, or raise --max-request-bytes.',
        // What is left of the body is not read, so nothing more can come on this connection.
        headers: { Connection: 'close' },
      });
    }
    parts.push(read.value);
  }
}

export function putKey(rpcs: Rpcs, leases: TtlLeases, request: ChangeRequest, value: Uint8Array): Promise<Response> {
  const { call, key, parameters } = request;
  const ttlSeconds = parameters.number('ttl');
  const given = parameters.text('lease');
  if (ttlSeconds !== undefined && given !== undefined) {
    throw badRequest(
      'BadParameter',
      'ttl and lease are both given',
      'With ttl the lease is made: leave one of them out.',
    );
  }
  const put = { ...defaults(m.PutRequest), key, value, lease: given === undefined ? 0n : leaseOf(given) };
  return leases.replacing(call, key, () => {
    if (ttlSeconds === undefined) return putOnce(rpcs, request, put);
    return leases.granted(call, ttlSeconds, (lease, ttl) => putOnce(rpcs, request, { ...put, lease }, ttl));
  });
}

async function putOnce(rpcs: Rpcs, request: ChangeRequest, put: m.PutRequest, ttlSeconds?: number): Promise<Response> {
  const prev_kv = request.parameters.flag('prev');
  const { header, prev_kv: prev } = await conditional(rpcs, request, {
    plain: () => rpcs.put(request.call, { ...put, prev_kv }),
    op: { request_put: { ...put, prev_kv } },
    answer: ({ response_put }) => response_put!,
  });
  const { revision } = header!;
  const body = {
    ...keyField(put.key),
    revision,
    ...(put.lease === 0n ? {} : { lease: leaseText(put.lease) }),
    ...(ttlSeconds === undefined ? {} : { ttl: ttlSeconds }),
    ...(prev_kv ? { prev: prev === undefined ? null : pairJson(prev) } : {}),
  };
  return answered(body, { ETag: etag(revision), 'X-Roster-Revision': `${revision}` });
}

export function deleteKey(rpcs: Rpcs, leases: TtlLeases, request: ChangeRequest): Promise<Response> {
  const { call, key, parameters } = request;
  const prev_kv = parameters.flag('prev');
  const deletion = { ...defaults(m.DeleteRangeRequest), key, prev_kv };
  return leases.replacing(call, key, async () => {
    const { header, deleted, prev_kvs } = await conditional(rpcs, request, {
      plain: () => rpcs.deleteRange(call, deletion),
      op: { request_delete_range: deletion },
      answer: ({ response_delete_range }) => response_delete_range!,
    });
    const prev = prev_kvs[0];
    const body = {
      deleted,
      revision: header!.revision,
      ...(prev_kv ? { prev: prev === undefined ? null : pairJson(prev) } : {}),
    };
    return answered(body, { 'X-Roster-Revision': `${header!.revision}` });
  });
}

export async function deletePrefix(
  rpcs: Rpcs,
  { call, key, parameters, conditions }: ChangeRequest,
): Promise<Response> {
  if (conditions.match !== undefined || conditions.noneMatch !== undefined) {
    throw badRequest('BadHeader', 'a condition is about one key', 'Leave out ?prefix, or the header.');
  }
  if (key === '' && !parameters.flag('all')) {
    throw badRequest('BadParameter', 'this would delete every key there is', 'Add &all if that is meant.');
  }
  const request = { ...defaults(m.DeleteRangeRequest), ...prefixRange(key) };
  const { header, deleted } = await rpcs.deleteRange(call, request);
  return answered({ deleted, revision: header!.revision }, { 'X-Roster-Revision': `${header!.revision}` });
}

interface Change<Res> {
  plain(): Promise<Res>;
  op: m.RequestOp;
  answer(response: m.ResponseOp): Res;
}

/** The change alone, or in a transaction that compares first. Rejects with 412 when what is compared does not hold. */
async function conditional<Res extends { header?: m.ResponseHeader | undefined }>(
  rpcs: Rpcs,
  { call, key, conditions }: ChangeRequest,
  { plain, op, answer }: Change<Res>,
): Promise<Res> {
  const compare = comparesOf(key, conditions);
  if (compare.length === 0) return plain();
  const look = { ...defaults(m.RangeRequest), key, keys_only: true };
  const result = await rpcs.txn(call, { compare, success: [op], failure: [{ request_range: look }] });
  if (result.succeeded) return { ...answer(result.responses[0]!), header: result.header };
  const [kv] = result.responses[0]!.response_range!.kvs;
  throw conditionFailed(kv?.mod_revision, result.header!.revision);
}

function leaseOf(text: string): bigint {
  const id = /^(?:0x)?([0-9a-f]{1,16})$/i.exec(text)?.[1];
  const lease = id === undefined ? 0n : BigInt.asIntN(64, BigInt(`0x${id}`));
  if (lease !== 0n) return lease;
  throw badRequest(
    'BadParameter',
    `the parameter lease is "${text}"`,
    'Give the ID in hexadecimal, as rosterctl lease grant prints it.',
  );
}

function answered(body: object, headers: Record<string, string>): Response {
  return new Response(`${JSON.stringify(body)}\n`, { headers: { ...headers, 'Content-Type': 'application/json' } });
}
