/** etcdserverpb.Cluster: who belongs to the cluster. Changing that comes with replication over several members. */
import * as m from '../../core/wire/messages.ts';
import { afterReadIndex, header, type RpcContext } from './context.ts';
import { type Method, unary } from './service.ts';

export function clusterMethods(context: RpcContext): Method[] {
  const read = () => ({ header: header(context, 0), members: context.members() });
  return [
    unary('/etcdserverpb.Cluster/MemberList', m.MemberListRequest, m.MemberListResponse, (_call, request, done) =>
      afterReadIndex(context, !request.linearizable, read, done),
    ),
  ];
}
