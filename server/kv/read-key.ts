/** `GET /kv/KEY`: one value as it is, with what is known of it in headers; or as JSON for who accepts that. */
import { isUtf8 } from 'node:buffer';
import type { ByteString } from '../../core/util/bytes.ts';
import type { KeyValue } from '../../core/wire/messages.ts';
import { type Conditions, etag, matches } from './conditions.ts';
import { HttpError } from './errors.ts';
import type { KvCall } from './kv-call.ts';
import { leaseText, pairJson } from './pair-json.ts';
import type { Parameters } from './parameters.ts';
import type { Rpcs } from './rpcs.ts';

export interface ReadRequest {
  readonly call: KvCall;
  readonly key: ByteString;
  readonly parameters: Parameters;
  readonly conditions: Conditions;
  readonly json: boolean;
}

export async function readKey(rpcs: Rpcs, request: ReadRequest): Promise<Response> {
  const { call, key, parameters, conditions, json } = request;
  const { header, kvs } = await rpcs.range(call, {
    key,
    revision: parameters.number('rev') ?? 0,
    serializable: parameters.flag('serializable'),
  });
  const [pair] = kvs;
  const revision = header!.revision;
  const { match, noneMatch } = conditions;
  if (match !== undefined && !matches(match, pair?.mod_revision)) throw conditionFailed(pair?.mod_revision, revision);
  if (pair === undefined) {
    throw new HttpError('there is no such key', {
      ...{ status: 404, code: 'KeyNotFound' },
      hint: 'PUT makes it. A key that begins with a slash is named with two: /kv//app is /app.',
      details: { revision },
      headers: { 'X-Roster-Revision': `${revision}` },
    });
  }
  const headers = headersOf(pair, revision);
  if (noneMatch !== undefined && matches(noneMatch, pair.mod_revision))
    return new Response(null, { status: 304, headers });
  if (json) {
    const body = JSON.stringify({ ...pairJson(pair), revision });
    return new Response(`${body}\n`, { headers: { ...headers, 'Content-Type': 'application/json' } });
  }
  const { value } = pair;
  return new Response(value as Uint8Array<ArrayBuffer>, {
    headers: {
      ...headers,
      'Content-Type': isUtf8(value) ? 'text/plain; charset=utf-8' : 'application/octet-stream',
      'Content-Length': `${value.length}`,
    },
  });
}

/** 412, with what there is. `modRevision` undefined: the key does not exist. */
export function conditionFailed(modRevision: number | undefined, revision: number): HttpError {
  const text = modRevision === undefined ? 'the key does not exist' : `the key is at revision ${modRevision}`;
  return new HttpError(`the condition does not hold: ${text}`, {
    ...{ status: 412, code: 'ConditionFailed' },
    hint: 'Read the key again and decide anew.',
    details: { modRevision: modRevision ?? null, revision },
    headers: { 'X-Roster-Revision': `${revision}`, ...(modRevision === undefined ? {} : { ETag: etag(modRevision) }) },
  });
}

function headersOf(
  { create_revision, mod_revision, version, lease }: KeyValue,
  revision: number,
): Record<string, string> {
  return {
    ETag: etag(mod_revision),
    'X-Roster-Revision': `${revision}`,
    'X-Roster-Create-Revision': `${create_revision}`,
    'X-Roster-Version': `${version}`,
    ...(lease === 0n ? {} : { 'X-Roster-Lease': leaseText(lease) }),
    // It may change at any moment; asking again with If-None-Match is cheap.
    'Cache-Control': 'no-cache',
    // Nobody's value becomes a page of this server.
    'X-Content-Type-Options': 'nosniff',
    Vary: 'Accept',
  };
}
