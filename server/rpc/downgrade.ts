/**
 * etcdserverpb.Maintenance/Downgrade: whether the cluster may go back by one minor version, the word that it shall, and its
 * withdrawal. Owns etcd's checks; the word itself is replicated (core/membership). Nothing else comes of it here: the
 * format of the data does not depend on etcd's versions.
 */
import { GrpcStatus, otherError, type RosterError, rosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { completed, header, type RpcContext } from './context.ts';
import { type Method, type UnaryDone, unary } from './service.ts';

const { VALIDATE, ENABLE, CANCEL } = m.DowngradeAction.values;

export function downgradeMethod(context: RpcContext): Method {
  const path = '/etcdserverpb.Maintenance/Downgrade';
  return unary(path, m.DowngradeRequest, m.DowngradeResponse, (_call, { action, version }, done) => {
    switch (action) {
      case VALIDATE:
        return validated(context, version, done, () => done(answer(context)));
      case ENABLE:
        return validated(context, version, done, (target) => propose(context, target, done));
      case CANCEL:
        return context.node.linearizableRead((error) => {
          if (error !== undefined) done(error);
          else if (context.machine.membership.downgradeTarget === '') done(answer(context));
          else propose(context, '', done);
        });
      default:
        return done(otherError(GrpcStatus.UNKNOWN, 'etcdserver: unknown method'));
    }
  });
}

/** Checks in etcd's order (EtcdServer.downgradeValidate); `then` gets the target as `3.6.0`. */
function validated(
  context: RpcContext,
  version: string,
  done: UnaryDone<m.DowngradeResponse>,
  then: (target: string) => void,
): void {
  context.node.linearizableRead((error) => {
    const { clusterVersion, downgradeTarget } = context.machine.membership;
    const target = checkTarget(version, clusterVersion, downgradeTarget !== '');
    if (error !== undefined) done(error);
    else if (typeof target === 'string') then(target);
    else done(target);
  });
}

/** The target in full, or what stands against it. */
export function checkTarget(version: string, clusterVersion: string, enabled: boolean): string | RosterError {
  const wanted = /^(\d+)\.(\d+)(?:\.\d+)?$/.exec(version);
  if (wanted === null) return rosterError('WrongDowngradeVersionFormat');
  const current = /^(\d+)\.(\d+)\./.exec(clusterVersion);
  if (current === null) return rosterError('ClusterVersionUnavailable');
  const isNext = wanted[1] === current[1] && Number(wanted[2]) === Number(current[2]) - 1;
  if (!isNext) return rosterError('InvalidDowngradeTargetVersion');
  return enabled ? rosterError('DowngradeInProcess') : `${Number(wanted[1])}.${Number(wanted[2])}.0`;
}

function propose(context: RpcContext, version: string, done: UnaryDone<m.DowngradeResponse>): void {
  context.node.propose({ downgrade: { version } }, (result) => {
    const refusal = completed(context, result) as RosterError | m.DowngradeResponse;
    done(refusal instanceof Error ? refusal : answer(context));
  });
}

/** Version of the cluster, without its patch level. */
function answer(context: RpcContext): m.DowngradeResponse {
  const { machine } = context;
  const version = machine.membership.clusterVersion.replace(/\.\d+$/, '');
  return { header: header(context, machine.store.revision), version };
}
