/** The table of all RPCs this server answers: the gRPC server and the JSON gateway are made from it. */
import { authMethods } from './auth.ts';
import { clusterMethods } from './cluster.ts';
import type { RpcContext } from './context.ts';
import { electionMethods } from './election.ts';
import { guarded } from './guard.ts';
import { healthMethods } from './health.ts';
import { InnerMethods } from './inner-calls.ts';
import { kvMethods } from './kv.ts';
import { leaseMethods } from './lease.ts';
import { lockMethods } from './lock.ts';
import { maintenanceMethods } from './maintenance.ts';
import { withinQuota } from './quota.ts';
import type { Method } from './service.ts';
import { watchMethods } from './watch.ts';

export function allMethods(context: RpcContext): Method[] {
  const stored = withinQuota(context, [...kvMethods(context), ...leaseMethods(context)]);
  const methods = guarded(context, [
    ...stored,
    ...watchMethods(context),
    ...clusterMethods(context),
    ...maintenanceMethods(context),
    ...authMethods(context),
    ...healthMethods(),
  ]);
  // These are made of the others, and of whatever stands before them.
  const inner = new InnerMethods(methods, context.stopping);
  return [...methods, ...guarded(context, [...lockMethods(inner), ...electionMethods(inner)])];
}
