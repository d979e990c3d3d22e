/**
 * etcdserverpb.Maintenance: Status, hashes, MoveLeader and Defragment here, the rest in files of its own. Status, hashes
 * and Defragment concern this member alone.
 */
import { RosterError, rosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { ETCD_VERSION, STORAGE_VERSION } from '../version.ts';
import { alarmMethod, alarmText } from './alarm.ts';
import { header, type RpcContext } from './context.ts';
import { downgradeMethod } from './downgrade.ts';
import { type Method, unary } from './service.ts';
import { snapshotMethod } from './snapshot.ts';

export function maintenanceMethods(context: RpcContext): Method[] {
  return [
    unary('/etcdserverpb.Maintenance/Status', m.StatusRequest, m.StatusResponse, (_call, _request, done) =>
      done(status(context)),
    ),
    alarmMethod(context),
    hash(context),
    hashKv(context),
    moveLeader(context),
    defragment(context),
    downgradeMethod(context),
    snapshotMethod(context),
  ];
}

function status(context: RpcContext): m.StatusResponse {
  const node = context.node.status();
  const size = context.machine.backend.size();
  const { downgradeTarget } = context.machine.membership;
  return {
    header: header(context, context.machine.store.revision),
    version: ETCD_VERSION,
    dbSize: size.total,
    leader: node.leader,
    raftIndex: node.commitIndex,
    raftTerm: node.term,
    raftAppliedIndex: node.appliedIndex,
    errors: [
      ...(node.leader === 0n ? [rosterError('NoLeader').message] : []),
      ...context.machine.alarms.list().map(alarmText),
    ],
    dbSizeInUse: size.inUse,
    isLearner: context.isLearner(),
    storageVersion: STORAGE_VERSION,
    dbSizeQuota: context.quota?.bytesMax ?? 0,
    downgradeInfo: { enabled: downgradeTarget !== '', targetVersion: downgradeTarget },
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

/**
 * Free pages are used again and history goes by compaction, so there is nothing to do: answered at once, and nothing stops.
 * What has been applied is written to the database, as after etcd's.
 */
function defragment(context: RpcContext): Method {
  const path = '/etcdserverpb.Maintenance/Defragment';
  return unary(path, m.DefragmentRequest, m.DefragmentResponse, (_call, _request, done) =>
    context.machine.commit((error) => done(error === undefined ? {} : rosterError('Stopped'))),
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
