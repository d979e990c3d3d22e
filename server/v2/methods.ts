/**
 * The v2 API's operations as methods behind the same guard, quota and access table as the RPCs: to read, to write, to
 * watch, to ask for what is public. Transport-neutral; no gRPC client can call them.
 */
import { RosterError, rosterError } from '../../core/errors.ts';
import { assert } from '../../core/util/assert.ts';
import type { ByteString } from '../../core/util/bytes.ts';
import { V2Refusal } from '../../core/v2/errors.ts';
import type { V2Answer, V2Node } from '../../core/v2/node.ts';
import type { V2Reader } from '../../core/v2/reader.ts';
import { isDir, isFile } from '../../core/v2/tree.ts';
import { message } from '../../core/wire/schema.ts';
import type { V2Request } from '../../core/wire/stored.ts';
import { permitted, proposed, type RpcContext } from '../rpc/context.ts';
import { GiveWay } from '../rpc/give-way.ts';
import { guarded } from '../rpc/guard.ts';
import { withinQuota } from '../rpc/quota.ts';
import type { CallContext, Method, StreamMethod, UnaryDone, UnaryMethod } from '../rpc/service.ts';
import { V2_ADMIN, V2_MEMBER, V2_READ, V2_WATCH, V2_WRITE } from '../rpc/v2-paths.ts';
import type { KeyRead, KeyWatch } from './key-request.ts';
import { type V2WatchAnswer, V2WatchCall } from './watch.ts';

/** Never encoded: these methods are called by what is in this folder alone. */
const INNER = message('roster.Inner', {});

export interface V2Methods {
  readonly read: UnaryMethod<KeyRead, V2Read>;
  readonly write: UnaryMethod<V2Request, V2Written>;
  readonly watch: StreamMethod<KeyWatch, V2WatchAnswer>;
  /** Asks for nothing but a caller who may know of this member. */
  readonly member: UnaryMethod<object, object>;
  /** The same, for who may manage users and roles. */
  readonly admin: UnaryMethod<object, object>;
}

export interface V2Read {
  readonly node: V2Node | V2Refusal;
  readonly index: number;
}

export interface V2Written {
  readonly result: V2Answer | V2Refusal;
}

export function v2Methods(context: RpcContext): V2Methods {
  const unary = (path: string, handle: UnaryMethod['handle']): Method => ({
    kind: 'unary',
    path,
    request: INNER,
    response: INNER,
    handle,
  });
  const watch: Method = {
    kind: 'stream',
    path: V2_WATCH,
    single: true,
    request: INNER,
    response: INNER,
    open: (call, responder) => new V2WatchCall(context, call, responder),
  };
  const methods = guarded(context, [
    ...withinQuota(context, [unary(V2_WRITE, writing(context) as UnaryMethod['handle'])]),
    unary(V2_READ, reading(context) as UnaryMethod['handle']),
    unary(V2_MEMBER, (_call, _request, done) => done({})),
    unary(V2_ADMIN, (_call, _request, done) => done({})),
    watch,
  ]);
  const of = (path: string) => {
    const method = methods.find((each) => each.path === path);
    assert(method !== undefined, 'each v2 method is there');
    return method as never;
  };
  return { read: of(V2_READ), write: of(V2_WRITE), watch: of(V2_WATCH), member: of(V2_MEMBER), admin: of(V2_ADMIN) };
}

// ---- to read

function reading(context: RpcContext): UnaryMethod<KeyRead, V2Read>['handle'] {
  return (call, query, done) => {
    const read = (error?: RosterError) => {
      if (error !== undefined) done(error);
      else if (call.admission === undefined && !context.machine.auth.enabled) readNow(context, call, query, done);
      else readPermitted(context, call, query, done);
    };
    if (query.quorum) context.node.linearizableRead(read);
    else read();
  };
}

/**
 * Who lists a directory is told of what is in it. `subtree`: leave is asked for all of that; `itself`: and for the key of
 * its name. Asked again when it turns out to be something else.
 */
function readPermitted(context: RpcContext, call: CallContext, query: KeyRead, done: UnaryDone<V2Read>): void {
  const { path, recursive, asDirectory } = query;
  const ask = (subtree: boolean, itself: boolean): void =>
    permitted(context, call, { path, subtree, itself }, (refusal) => {
      if (refusal !== undefined) return done(refusal);
      const { store } = context.machine;
      const file = isFile(store, path);
      if (!subtree && !file && isDir(store, path)) ask(true, itself);
      else if (!itself && file) ask(subtree, true);
      else readNow(context, call, query, done);
    });
  ask(recursive || asDirectory, !asDirectory);
}

function readNow(context: RpcContext, call: CallContext, query: KeyRead, done: UnaryDone<V2Read>): void {
  readOn(context.machine.v2Reader(query), new GiveWay(context), call, (result) => {
    if (!(result instanceof RosterError)) context.machine.v2Counts.read(!(result.node instanceof V2Refusal));
    done(result);
  });
}

function readOn(reader: V2Reader, giveWay: GiveWay, call: CallContext, done: UnaryDone<V2Read>): void {
  const error = reader.step();
  // Nobody is there to be answered, if the call is cancelled; it is done all the same, once.
  if (error !== undefined || (call.cancelled && !reader.done)) {
    reader.close();
    done(error ?? rosterError('Canceled'));
  } else if (reader.done) done({ node: reader.node, index: reader.revision });
  else giveWay.before(() => readOn(reader, giveWay, call, done));
}

// ---- to write

function writing(context: RpcContext): UnaryMethod<V2Request, V2Written>['handle'] {
  return (call, request, done) =>
    proposed<V2Answer>(context, call, { v2: request }, (answer) => {
      const result = answer as V2Answer | V2Refusal | RosterError;
      if (result instanceof RosterError) done(result);
      else if (result instanceof V2Refusal || call.admission === undefined) done({ result });
      else withoutSecrets(context, call, request.path, result, (shown) => done({ result: shown }));
    });
}

/** Who may write and not read is not told what was there before, nor what a refresh has left there. */
function withoutSecrets(
  context: RpcContext,
  call: CallContext,
  path: ByteString,
  answer: V2Answer,
  done: (answer: V2Answer) => void,
): void {
  permitted(context, call, { path, subtree: false }, (refusal) => {
    if (refusal === undefined) done(answer);
    else {
      const node = answer.refresh ? { ...answer.node, value: undefined } : answer.node;
      done({ ...answer, node, prevNode: undefined });
    }
  });
}
