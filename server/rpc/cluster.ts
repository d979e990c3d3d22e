/**
 * etcdserverpb.Cluster: who belongs to the cluster, and changes of that. The leader checks them (core/membership/rules.ts),
 * whoever is asked passes them on.
 */
import { rosterError } from '../../core/errors.ts';
import { parsePeerUrls } from '../../core/membership/peer-urls.ts';
import * as m from '../../core/wire/messages.ts';
import type { MemberChange } from '../../core/wire/stored.ts';
import { memberId } from '../config/identity.ts';
import { afterReadIndex, completed, header, proposed, type RpcContext } from './context.ts';
import { type Method, type UnaryDone, unary } from './service.ts';

export function clusterMethods(context: RpcContext): Method[] {
  return [add(context), remove(context), update(context), list(context), promote(context)];
}

/** The new member has no name until it starts, and an id that depends on the time: the same URLs may come again. */
function add(context: RpcContext): Method {
  const path = '/etcdserverpb.Cluster/MemberAdd';
  return unary(path, m.MemberAddRequest, m.MemberAddResponse, (_call, request, done) => {
    const peerURLs = parsePeerUrls(request.peerURLs);
    if (peerURLs === undefined) return done(rosterError('MemberBadURLs'));
    // etcd leaves the cluster's token out here.
    const ID = memberId(peerURLs, '', Math.floor(Date.now() / 1000));
    const { isLearner } = request;
    changed(context, { add: { ID, name: '', peerURLs, clientURLs: [], isLearner } }, done);
  });
}

function remove(context: RpcContext): Method {
  const path = '/etcdserverpb.Cluster/MemberRemove';
  return unary(path, m.MemberRemoveRequest, m.MemberRemoveResponse, (_call, request, done) =>
    changed(context, { remove: request.ID }, done),
  );
}

function promote(context: RpcContext): Method {
  const path = '/etcdserverpb.Cluster/MemberPromote';
  return unary(path, m.MemberPromoteRequest, m.MemberPromoteResponse, (_call, request, done) =>
    changed(context, { promote: request.ID }, done),
  );
}

function update(context: RpcContext): Method {
  const path = '/etcdserverpb.Cluster/MemberUpdate';
  return unary(path, m.MemberUpdateRequest, m.MemberUpdateResponse, (call, request, done) => {
    if (parsePeerUrls(request.peerURLs) === undefined) return done(rosterError('MemberBadURLs'));
    proposed(context, call, { member_update: request }, done);
  });
}

function list(context: RpcContext): Method {
  const read = () => ({ header: header(context, 0), members: context.members() });
  const path = '/etcdserverpb.Cluster/MemberList';
  return unary(path, m.MemberListRequest, m.MemberListResponse, (call, request, done) =>
    afterReadIndex(context, call, request, !request.linearizable, read, done),
  );
}

function changed<Res extends object>(
  context: RpcContext,
  change: Omit<MemberChange, 'id'>,
  done: UnaryDone<Res>,
): void {
  context.node.changeMembers(change, (result) => done(completed(context, result as Res)));
}
