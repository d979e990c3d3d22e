/** `GET ?prefix`, `?count` and `?children`: lists of keys, in pages or in one, each as it was at one revision. */
import { rosterError } from '../../core/errors.ts';
import { type ByteString, prefixEnd } from '../../core/util/bytes.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import type { StreamMethod } from '../rpc/service.ts';
import { type ChildMessage, type ChildrenCallRequest, type ChildrenPiece, childrenRequest } from './children-call.ts';
import { cursorOf, placeOf } from './cursor.ts';
import { badRequest } from './errors.ts';
import type { KvCall } from './kv-call.ts';
import { ListAnswer } from './list-answer.ts';
import { keyField, pairJson } from './pair-json.ts';
import type { Parameters } from './parameters.ts';
import type { Rpcs } from './rpcs.ts';
import { pathOf } from './target.ts';

/** One request for a list. */
export interface ListRequest {
  readonly call: KvCall;
  readonly key: ByteString;
  readonly parameters: Parameters;
  /** A line for each entry. */
  readonly lines: boolean;
}

/** First key and end of all keys that begin with `prefix`. */
export function prefixRange(prefix: ByteString): { key: ByteString; range_end: ByteString } {
  return { key: prefix === '' ? '\0' : prefix, range_end: prefixEnd(prefix) };
}

export function listPrefix(rpcs: Rpcs, { call, key, parameters, lines }: ListRequest): Promise<Response> {
  const { revision, from } = placeOf(parameters, key);
  const range = prefixRange(key);
  const request: m.RangeRequest = {
    ...defaults(m.RangeRequest),
    ...range,
    ...(from === '' ? {} : { key: from }),
    revision,
    limit: parameters.number('limit') ?? 0,
    keys_only: parameters.flag('keys-only'),
    serializable: parameters.flag('serializable'),
    ...sorting(parameters),
  };
  if (parameters.flag('count')) return count(rpcs, call, { ...request, count_only: true });
  const byKey = request.sort_target === m.SortTarget.values.KEY && request.sort_order !== m.SortOrder.values.DESCEND;
  if (!byKey && from !== '') {
    throw badRequest(
      'BadParameter',
      'a cursor goes on in the order of keys only',
      'Leave out sort and order, or cursor.',
    );
  }
  let last: m.RangeResponse | undefined;
  let lastKey = '';
  const entries = function* ({ kvs, header, more, count: all }: m.RangeResponse) {
    for (const kv of kvs) yield pairJson(kv, !request.keys_only);
    lastKey = kvs.at(-1)?.key ?? lastKey;
    if (header !== undefined) last = { kvs: [], header, more, count: all };
  };
  const summary = () => {
    const { header, more, count: all } = last!;
    const read = revision > 0 ? revision : header!.revision;
    const next = more && byKey ? { next: cursorOf(read, `${lastKey}\0`) } : {};
    return { count: all, more, ...next, revision: read };
  };
  const format = { name: 'kvs', lines };
  if (!byKey) {
    // To be sorted, the whole range is read first.
    return rpcs.range(call, request).then((response) =>
      streamed<m.RangeResponse>({ format, entries, summary }, (answer) => {
        answer.send(response);
        answer.end();
      }),
    );
  }
  return streamed<m.RangeStreamResponse>(
    { format, entries: ({ range_response }) => entries(range_response!), summary },
    (answer) => run(rpcs.rangeStream, call, request, answer),
  );
}

/** One level below the key in the path. */
export function listChildren(
  method: StreamMethod<ChildrenCallRequest, ChildrenPiece>,
  { call, key, parameters, lines }: ListRequest,
): Promise<Response> {
  const delimiter = parameters.text('delimiter') ?? '/';
  const prefix = key === '' || key.endsWith(delimiter) ? key : `${key}${delimiter}`;
  const { revision, from } = placeOf(parameters, prefix);
  const limit = parameters.number('limit') ?? 0;
  // One more tells whether there is more, and where.
  const request = childrenRequest({
    ...{ prefix, delimiter, from, revision },
    limit: limit === 0 || limit === Number.MAX_SAFE_INTEGER ? 0 : limit + 1,
    serializable: parameters.flag('serializable'),
  });
  let given = 0;
  let next: ByteString | undefined;
  let read = 0;
  const entries = function* (piece: ChildrenPiece) {
    for (const child of piece.children) {
      if (limit > 0 && given === limit) next = child.name;
      else {
        given++;
        yield childJson(child, prefix);
      }
    }
    read = piece.revision;
  };
  const summary = () => ({
    more: next !== undefined,
    ...(next === undefined ? {} : { next: cursorOf(read, next) }),
    revision: read,
  });
  const format = { name: 'children', lines };
  return streamed<ChildrenPiece>({ format, entries, summary }, (answer) => run(method, call, request, answer));
}

function childJson({ name, group, mod_revision, keys }: ChildMessage, prefix: ByteString): object {
  return {
    ...keyField(name.slice(prefix.length), 'name'),
    ...keyField(name, group ? 'prefix' : 'key'),
    path: pathOf(name),
    ...(group ? {} : { modRevision: mod_revision }),
    ...(group && keys >= 0 ? { keys } : {}),
  };
}

async function count(rpcs: Rpcs, call: KvCall, request: m.RangeRequest): Promise<Response> {
  const { header, count: all } = await rpcs.range(call, request);
  const revision = request.revision > 0 ? request.revision : header!.revision;
  const headers = { 'Content-Type': 'application/json' };
  return new Response(`${JSON.stringify({ count: all, revision })}\n`, { headers });
}

function sorting(parameters: Parameters): Pick<m.RangeRequest, 'sort_order' | 'sort_target'> {
  const { NONE, ASCEND, DESCEND } = m.SortOrder.values;
  const target = (parameters.text('sort') ?? 'key').toUpperCase() as keyof typeof m.SortTarget.values;
  const order = parameters.text('order');
  const sort_order = order === 'desc' ? DESCEND : order === 'asc' || target !== 'KEY' ? ASCEND : NONE;
  return { sort_target: m.SortTarget.values[target], sort_order };
}

function streamed<Res extends object>(
  {
    format,
    entries,
    summary,
  }: { format: { name: string; lines: boolean }; entries: (response: Res) => Iterable<object>; summary: () => object },
  begin: (answer: ListAnswer<Res>) => void,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    begin(new ListAnswer(format, { entries, summary }, { resolve, reject }));
  });
}

function run<Req extends object, Res extends object>(
  method: StreamMethod<Req, Res>,
  call: KvCall,
  request: Req,
  answer: ListAnswer<Res>,
): void {
  const handler = method.open(call, answer);
  const leave = () => {
    if (answer.over) return;
    handler.cancel();
    answer.end(rosterError('Canceled'));
  };
  answer.onLeave = leave;
  call.onCancel(leave);
  handler.message(request);
  handler.halfClose();
}
