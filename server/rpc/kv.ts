/** etcdserverpb.KV: checks that need no state, then a read after a read index, or a proposal. */
import { isReadOnly, isSerializable } from '../../core/apply/txn.ts';
import { checkDeleteRange, checkPut, checkRange, checkTxn } from '../../core/apply/validate.ts';
import { RosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { completed, type RpcContext } from './context.ts';
import type { Method, UnaryDone, UnaryMethod } from './service.ts';

export function kvMethods(context: RpcContext): Method[] {
  return [range(context), put(context), deleteRange(context), txn(context), compact(context)];
}

/** Runs `read` now, or once this node is sure that it has all that was acknowledged before the call. */
function afterReadIndex<Res extends object>(
  context: RpcContext,
  serializable: boolean,
  read: () => Res | RosterError,
  done: UnaryDone<Res>,
): void {
  if (serializable) {
    done(completed(context, read()));
    return;
  }
  context.node.linearizableRead((error) => done(error ?? completed(context, read())));
}

function range(context: RpcContext): UnaryMethod<m.RangeRequest, m.RangeResponse> {
  return {
    kind: 'unary',
    path: '/etcdserverpb.KV/Range',
    request: m.RangeRequest,
    response: m.RangeResponse,
    handle(_call, request, done) {
      const refusal = checkRange(request);
      if (refusal !== undefined) return done(refusal);
      afterReadIndex(context, request.serializable, () => context.machine.range(request), done);
    },
  };
}

function put(context: RpcContext): UnaryMethod<m.PutRequest, m.PutResponse> {
  return {
    kind: 'unary',
    path: '/etcdserverpb.KV/Put',
    request: m.PutRequest,
    response: m.PutResponse,
    handle(_call, request, done) {
      const refusal = checkPut(request);
      if (refusal !== undefined) return done(refusal);
      context.node.propose({ put: request }, (result) => done(completed(context, result as m.PutResponse)));
    },
  };
}

function deleteRange(context: RpcContext): UnaryMethod<m.DeleteRangeRequest, m.DeleteRangeResponse> {
  return {
    kind: 'unary',
    path: '/etcdserverpb.KV/DeleteRange',
    request: m.DeleteRangeRequest,
    response: m.DeleteRangeResponse,
    handle(_call, request, done) {
      const refusal = checkDeleteRange(request);
      if (refusal !== undefined) return done(refusal);
      context.node.propose({ delete_range: request }, (result) =>
        done(completed(context, result as m.DeleteRangeResponse)),
      );
    },
  };
}

function txn(context: RpcContext): UnaryMethod<m.TxnRequest, m.TxnResponse> {
  return {
    kind: 'unary',
    path: '/etcdserverpb.KV/Txn',
    request: m.TxnRequest,
    response: m.TxnResponse,
    handle(_call, request, done) {
      const refusal = checkTxn(request, { maxTxnOps: context.limits.maxTxnOps });
      if (refusal !== undefined) return done(refusal);
      if (isReadOnly(request)) {
        afterReadIndex(context, isSerializable(request), () => context.machine.readTxn(request), done);
        return;
      }
      context.node.propose({ txn: request }, (result) => done(completed(context, result as m.TxnResponse)));
    },
  };
}

function compact(context: RpcContext): UnaryMethod<m.CompactionRequest, m.CompactionResponse> {
  return {
    kind: 'unary',
    path: '/etcdserverpb.KV/Compact',
    request: m.CompactionRequest,
    response: m.CompactionResponse,
    handle(_call, request, done) {
      context.node.propose({ compaction: request }, (result) => {
        const answer = completed(context, result as m.CompactionResponse);
        if (!request.physical || answer instanceof RosterError) return done(answer);
        context.machine.whenCompacted(request.revision, () => done(answer));
      });
    },
  };
}
