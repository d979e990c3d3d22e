/** etcdserverpb.Cluster: who belongs to the cluster. Changing that comes with replication over several members. */
import * as m from '../../core/wire/messages.ts';
import { header, type RpcContext } from './context.ts';
import type { Method, UnaryMethod } from './service.ts';

export function clusterMethods(context: RpcContext): Method[] {
  const memberList: UnaryMethod<m.MemberListRequest, m.MemberListResponse> = {
    kind: 'unary',
    path: '/etcdserverpb.Cluster/MemberList',
    request: m.MemberListRequest,
    response: m.MemberListResponse,
    handle(_call, request, done) {
      const answer = () => ({ header: header(context, 0), members: context.members() });
      if (!request.linearizable) return done(answer());
      context.node.linearizableRead((error) => done(error ?? answer()));
    },
  };
  return [memberList];
}
