/**
 * etcdserverpb.Maintenance, as far as it exists: Status, hashes, MoveLeader, and the list of alarms, of which there are
 * none to raise yet. Status and hashes tell of this member alone.
 */
import { GrpcStatus, otherError, RosterError, rosterError } from '../../core/errors.ts';
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
    hash(context),
    hashKv(context),
    moveLeader(context),
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
    isLearner: context.isLearner(),
    storageVersion: STORAGE_VERSION,
    dbSizeQuota: 0,
    downgradeInfo: { enabled: false, targetVersion: '' },
  };
}

function hash(context: RpcContext): Method {
  return unary('/etcdserverpb.Maintenance/Hash', m.HashRequest, m.HashResponse, (_call, _request, done) =>
    context.machine.hashBackend((result) => {
      if (result instanceof RosterError) done(result);
      else done({ header: header(context, context.machine.store.revision), hash: result });
    }),
  );
}

function hashKv(context: RpcContext): Method {
  return unary('/etcdserverpb.Maintenance/HashKV', m.HashKVRequest, m.HashKVResponse, (_call, request, done) =>
    context.machine.hashKeys(request.revision, (result) => {
      if (result instanceof RosterError) return done(result);
      done({
        header: header(context, context.machine.store.revision),
        hash: result.hash,
        compact_revision: result.compactRevision,
        hash_revision: result.revision,
      });
    }),
  );
}

/** Only the leader itself can be asked, and only for a member that votes. */
function moveLeader(context: RpcContext): Method {
  const path = '/etcdserverpb.Maintenance/MoveLeader';
  return unary(path, m.MoveLeaderRequest, m.MoveLeaderResponse, (_call, { targetID }, done) => {
    const { node, machine } = context;
    if (!node.status().isLeader) return done(rosterError('NotLeader'));
    if (machine.membership.member(targetID)?.isLearner !== false) return done(rosterError('BadLeaderTransferee'));
    if (targetID === context.identity.memberId) return done({});
    node.transferLeadership(targetID, (error) => done(error ?? {}));
  });
}
