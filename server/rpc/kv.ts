/** etcdserverpb.KV: checks that need no state, then a read after a read index, or a proposal. */
import { isReadOnly, isSerializable } from '../../core/apply/txn.ts';
import { checkDeleteRange, checkPut, checkRange, checkTxn } from '../../core/apply/validate.ts';
import { RosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { afterReadIndex, completed, proposed, type RpcContext } from './context.ts';
import { rangeCall } from './range.ts';
import { rangeStreamMethod } from './range-stream.ts';
import { type Method, unary } from './service.ts';

export function kvMethods(context: RpcContext): Method[] {
  return [
    unary('/etcdserverpb.KV/Range', m.RangeRequest, m.RangeResponse, (call, request, done) => {
      const refusal = checkRange(request);
      if (refusal !== undefined) return done(refusal);
      rangeCall(context, call, request, done);
    }),
    rangeStreamMethod(context),
    unary('/etcdserverpb.KV/Put', m.PutRequest, m.PutResponse, (_call, request, done) => {
      const refusal = checkPut(request);
      if (refusal !== undefined) return done(refusal);
      proposed(context, { put: request }, done);
    }),
    unary('/etcdserverpb.KV/DeleteRange', m.DeleteRangeRequest, m.DeleteRangeResponse, (_call, request, done) => {
      const refusal = checkDeleteRange(request);
      if (refusal !== undefined) return done(refusal);
      proposed(context, { delete_range: request }, done);
    }),
    unary('/etcdserverpb.KV/Txn', m.TxnRequest, m.TxnResponse, (_call, request, done) => {
      const refusal = checkTxn(request, { maxTxnOps: context.limits.maxTxnOps });
      if (refusal !== undefined) return done(refusal);
      if (!isReadOnly(request)) return proposed(context, { txn: request }, done);
      afterReadIndex(context, isSerializable(request), () => context.machine.readTxn(request), done);
    }),
    unary('/etcdserverpb.KV/Compact', m.CompactionRequest, m.CompactionResponse, (_call, request, done) => {
      context.node.propose({ compaction: request }, (result) => {
        const answer = completed(context, result as m.CompactionResponse);
        if (!request.physical || answer instanceof RosterError) return done(answer);
        context.machine.whenCompacted(request.revision, () => done(answer));
      });
    }),
  ];
}
