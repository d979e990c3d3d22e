/** etcdserverpb.KV through the proxy: namespace, and the cache of serializable reads with all that makes it forget. */
import { methods } from '../../client/methods.ts';
import { isReadOnly } from '../../core/apply/txn.ts';
import { RosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { type CallContext, type Method, unary } from '../rpc/service.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { callerOf, settle } from './caller.ts';
import { callFor, forwardedStream } from './forward.ts';
import type { Namespace } from './namespace.ts';
import type { ReadCache } from './read-cache.ts';
import type { Revisions } from './revisions.ts';
import { rangeStream } from './rpcs.ts';

export interface KvWorld {
  readonly upstream: Upstream;
  readonly namespace: Namespace;
  readonly cache: ReadCache;
  readonly revisions: Revisions;
  /** See --experimental-serializable-ordering. */
  readonly ordered: boolean;
}

export function kvMethods(world: KvWorld): Method[] {
  const { upstream, namespace, cache, revisions } = world;
  return [
    unary(methods.range.path, m.RangeRequest, m.RangeResponse, (call, request, done) => {
      const asked = namespace.range(request);
      if (asked instanceof RosterError) done(asked);
      else settle(range(world, call, asked), done);
    }),
    forwardedStream(upstream, rangeStream, {
      request: (request: m.RangeRequest) => namespace.range(request),
      response: (response: m.RangeStreamResponse) => namespace.streamAnswer(response),
    }),
    unary(methods.put.path, m.PutRequest, m.PutResponse, (call, request, done) => {
      const asked = namespace.put(request);
      if (asked instanceof RosterError) return done(asked);
      // Whatever the answer: a put that timed out may have happened.
      const work = callFor(upstream, methods.put, call, asked).finally(() => cache.changed(asked.key));
      settle(
        work.then((response) => namespace.putAnswer(revisions.seen(response))),
        done,
      );
    }),
    unary(methods.deleteRange.path, m.DeleteRangeRequest, m.DeleteRangeResponse, (call, request, done) => {
      const asked = namespace.deleteRange(request);
      if (asked instanceof RosterError) return done(asked);
      const work = callFor(upstream, methods.deleteRange, call, asked).finally(() =>
        cache.changed(asked.key, asked.range_end),
      );
      settle(
        work.then((response) => namespace.deleteAnswer(revisions.seen(response))),
        done,
      );
    }),
    unary(methods.txn.path, m.TxnRequest, m.TxnResponse, (call, request, done) => {
      const asked = namespace.txn(request);
      if (asked instanceof RosterError) return done(asked);
      const rpc = isReadOnly(asked) ? methods.readOnlyTxn : methods.txn;
      const work = callFor(upstream, rpc, call, asked).finally(() => forgetChanged(cache, asked));
      settle(
        work.then((response) => namespace.txnAnswer(revisions.seen(response))),
        done,
      );
    }),
    unary(methods.compact.path, m.CompactionRequest, m.CompactionResponse, (call, request, done) => {
      const work = callFor(upstream, methods.compact, call, request).finally(() => cache.compacted(request.revision));
      settle(
        work.then((response) => revisions.seen(response)),
        done,
      );
    }),
  ];
}

async function range(world: KvWorld, call: CallContext, request: m.RangeRequest): Promise<m.RangeResponse> {
  const { upstream, namespace, cache, revisions, ordered } = world;
  const caller = callerOf(call);
  const nowMs = performance.now();
  if (request.serializable && !ordered) {
    const kept = cache.find(caller.id, request, nowMs);
    if (kept !== undefined) return kept;
  }
  const reading = cache.begin(caller.id, request, nowMs);
  try {
    const floor = revisions.latest;
    let response = await callFor(upstream, methods.range, call, request);
    if (ordered && request.serializable && (response.header?.revision ?? 0) < floor) {
      // The member is behind what went through here before: ask in a way that it must not be.
      response = await callFor(upstream, methods.range, call, { ...request, serializable: false });
    }
    // What is kept has the keys that callers see: the namespace is the same for all.
    const answer = namespace.rangeAnswer(revisions.seen(response));
    reading.keep(answer);
    return answer;
  } catch (error) {
    reading.drop();
    throw error;
  }
}

/** Both branches, since the answer may have been lost. */
function forgetChanged(cache: ReadCache, request: m.TxnRequest): void {
  for (const op of [...request.success, ...request.failure]) {
    const { request_put: put, request_delete_range: del, request_txn: txn } = op;
    if (put !== undefined) cache.changed(put.key);
    if (del !== undefined) cache.changed(del.key, del.range_end);
    if (txn !== undefined) forgetChanged(cache, txn);
  }
}
