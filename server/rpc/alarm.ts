/**
 * etcdserverpb.Maintenance/Alarm: raised and cleared through the log, listed after a read index. `memberID` of a GET is of
 * no account, as with etcd: the cluster's alarms are listed.
 */
import * as m from '../../core/wire/messages.ts';
import { afterReadIndex, proposed, type RpcContext } from './context.ts';
import { type Method, unary } from './service.ts';

export function alarmMethod(context: RpcContext): Method {
  const path = '/etcdserverpb.Maintenance/Alarm';
  const { machine } = context;
  return unary(path, m.AlarmRequest, m.AlarmResponse, (call, request, done) => {
    const { action, memberID, alarm } = request;
    const { ACTIVATE, DEACTIVATE } = m.AlarmAction.values;
    if (action === ACTIVATE || action === DEACTIVATE) {
      proposed(context, call, { alarm: { action, memberID, alarm, automatic: false } }, done);
      return;
    }
    const list = (): m.AlarmResponse => ({
      header: { cluster_id: 0n, member_id: 0n, revision: machine.store.revision, raft_term: 0 },
      alarms: machine.alarms.list(alarm),
    });
    afterReadIndex(context, call, request, false, list, done);
  });
}

/** An alarm as protobuf's text form has it, for Status. */
export function alarmText({ memberID, alarm }: m.AlarmMember): string {
  const name = Object.entries(m.AlarmType.values).find(([, number]) => number === alarm)?.[0] ?? String(alarm);
  return `memberID:${memberID} alarm:${name}`;
}
