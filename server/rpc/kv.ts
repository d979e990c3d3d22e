/** etcdserverpb.KV: checks that need no state, then a read after a read index, or a proposal. */
import { isReadOnly, isSerializable } from '../../core/apply/txn.ts';
import { checkDeleteRange, checkPut, checkRange, checkTxn } from '../../core/apply/validate.ts';
import { RosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { afterReadIndex, proposed, type RpcContext } from './context.ts';
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
    unary('/etcdserverpb.KV/Put', m.PutRequest, m.PutResponse, (call, request, done) => {
      const refusal = checkPut(request);
      if (refusal !== undefined) return done(refusal);
      proposed(context, call, { put: request }, done);
    }),
    unary('/etcdserverpb.KV/DeleteRange', m.DeleteRangeRequest, m.DeleteRangeResponse, (call, request, done) => {
      const refusal = checkDeleteRange(request);
      if (refusal !== undefined) return done(refusal);
      proposed(context, call, { delete_range: request }, done);
    }),
    unary('/etcdserverpb.KV/Txn', m.TxnRequest, m.TxnResponse, (call, request, done) => {
      const refusal = checkTxn(request, { maxTxnOps: context.limits.maxTxnOps });
      if (refusal !== undefined) return done(refusal);
      if (!isReadOnly(request)) return proposed(context, call, { txn: request }, done);
      const read = () => context.machine.readTxn(request);
      afterReadIndex(context, call, request, isSerializable(request), read, done);
    }),
    unary('/etcdserverpb.KV/Compact', m.CompactionRequest, m.CompactionResponse, (call, request, done) => {
      proposed<m.CompactionResponse>(context, call, { compaction: request }, (answer) => {
        if (!request.physical || answer instanceof RosterError) return done(answer);
        context.machine.whenCompacted(request.revision, () => done(answer));
      });
    }),
  ];
}
