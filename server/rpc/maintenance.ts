/** etcdserverpb.Maintenance, as far as it exists: Status, and the list of alarms, of which there are none to raise yet. */
import { GrpcStatus, otherError, rosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { ETCD_VERSION, STORAGE_VERSION } from '../version.ts';
import { header, type RpcContext } from './context.ts';
import type { Method, UnaryMethod } from './service.ts';

export function maintenanceMethods(context: RpcContext): Method[] {
  return [status(context), alarm(context)];
}

function status(context: RpcContext): UnaryMethod<m.StatusRequest, m.StatusResponse> {
  return {
    kind: 'unary',
    path: '/etcdserverpb.Maintenance/Status',
    request: m.StatusRequest,
    response: m.StatusResponse,
    handle(_call, _request, done) {
      const node = context.node.status();
      const size = context.machine.backend.size();
      done({
        header: header(context, context.machine.store.revision),
        version: ETCD_VERSION,
        dbSize: size.total,
        leader: node.leader,
        raftIndex: node.commitIndex,
        raftTerm: node.term,
        raftAppliedIndex: node.appliedIndex,
        errors: node.leader === 0n ? [rosterError('NoLeader').message] : [],
        dbSizeInUse: size.inUse,
        isLearner: false,
        storageVersion: STORAGE_VERSION,
        dbSizeQuota: 0,
        downgradeInfo: { enabled: false, targetVersion: '' },
      });
    },
  };
}

function alarm(context: RpcContext): UnaryMethod<m.AlarmRequest, m.AlarmResponse> {
  return {
    kind: 'unary',
    path: '/etcdserverpb.Maintenance/Alarm',
    request: m.AlarmRequest,
    response: m.AlarmResponse,
    handle(_call, request, done) {
      if (request.action !== m.AlarmAction.values.GET) {
        return done(otherError(GrpcStatus.UNIMPLEMENTED, 'alarms cannot be raised or cleared yet: no alarm exists'));
      }
      done({ header: header(context, context.machine.store.revision), alarms: [] });
    },
  };
}
