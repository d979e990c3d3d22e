/**
 * v3lockpb.Lock: a lock is the oldest key under its name, each key hanging on the lease of who made it. The answer to Lock
 * comes when the caller's key is the oldest; a caller that goes away while waiting leaves the queue.
 */
import { EMPTY_BYTES } from '../../core/util/bytes.ts';
import * as m from '../../core/wire/messages.ts';
import { awaitTurn, claimKey, getOp, madeAt, oldest, plainError, putOp, session, undo, withdraw } from './candidacy.ts';
import { answerWith, InnerCalls, type InnerMethods } from './inner-calls.ts';
import { type Method, unary } from './service.ts';

export function lockMethods(inner: InnerMethods): Method[] {
  return [
    unary('/v3lockpb.Lock/Lock', m.LockRequest, m.LockResponse, (call, request, done) => {
      const calls = new InnerCalls(inner, call);
      answerWith(
        lock(calls, request).finally(() => calls.end()),
        done,
      );
    }),
    unary('/v3lockpb.Lock/Unlock', m.UnlockRequest, m.UnlockResponse, (call, { key }, done) => {
      const calls = new InnerCalls(inner, call);
      answerWith(
        calls
          .deleteKey(key)
          .then(({ header }) => ({ header }))
          .finally(() => calls.end()),
        done,
      );
    }),
  ];
}

async function lock(calls: InnerCalls, { name, lease: given }: m.LockRequest): Promise<m.LockResponse> {
  const { lease, own } = await session(calls, given);
  const prefix = `${name}/`;
  const key = claimKey(prefix, lease);
  const revoke = () => (own ? calls.revoke(lease) : Promise.resolve());
  const made = await calls
    .txn({
      compare: [madeAt(key, 0)],
      success: [putOp(key, EMPTY_BYTES, lease), getOp(oldest(prefix))],
      failure: [getOp({ key }), getOp(oldest(prefix))],
    })
    .catch(async (error: unknown) => {
      await undo(revoke);
      throw error;
    });
  const { succeeded, responses, header } = made;
  const revision = succeeded ? header!.revision : responses[0]!.response_range!.kvs[0]!.create_revision;
  const claim = { key, revision };
  try {
    calls.check();
    if (responses[1]!.response_range!.kvs[0]?.create_revision === revision) return { header, key };
    if (!(await awaitTurn(calls, prefix, claim))) throw plainError('mutex: session is expired');
    // Taken from a read after the wait, so that its revision fences off whatever came before.
    const held = await calls.range({ key });
    if (held.kvs[0]?.create_revision !== revision) throw plainError('mutex: session is expired');
    calls.check();
    return { header: held.header, key };
  } catch (error) {
    await undo(() => withdraw(calls, claim), revoke);
    throw error;
  }
}
