/** etcdserverpb.Maintenance, as far as it exists: Status, and the list of alarms, of which there are none to raise yet. */
import { GrpcStatus, otherError, rosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { ETCD_VERSION, STORAGE_VERSION } from '../version.ts';
import { header, type RpcContext } from './context.ts';
import { type Method, unary } from './service.ts';

export function maintenanceMethods(context: RpcContext): Method[] {
  return [
    unary('/etcdserverpb.Maintenance/Status', m.StatusRequest, m.StatusResponse, (_call, _request, done) =>
      done(status(context)),
    ),
    unary('/etcdserverpb.Maintenance/Alarm', m.AlarmRequest, m.AlarmResponse, (_call, request, done) => {
      if (request.action !== m.AlarmAction.values.GET) {
        return done(otherError(GrpcStatus.UNIMPLEMENTED, 'alarms cannot be raised or cleared yet: no alarm exists'));
      }
      done({ header: header(context, context.machine.store.revision), alarms: [] });
    }),
  ];
}

function status(context: RpcContext): m.StatusResponse {
  const node = context.node.status();
  const size = context.machine.backend.size();
  return {
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
  };
}
