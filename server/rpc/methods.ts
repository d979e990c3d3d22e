/** The table of all RPCs this server answers: the gRPC server and the JSON gateway are made from it. */
import { clusterMethods } from './cluster.ts';
import type { RpcContext } from './context.ts';
import { guarded } from './guard.ts';
import { healthMethods } from './health.ts';
import { kvMethods } from './kv.ts';
import { leaseMethods } from './lease.ts';
import { maintenanceMethods } from './maintenance.ts';
import type { Method } from './service.ts';
import { watchMethods } from './watch.ts';

export function allMethods(context: RpcContext): Method[] {
  return guarded(context, [
    ...kvMethods(context),
    ...watchMethods(context),
    ...leaseMethods(context),
    ...clusterMethods(context),
    ...maintenanceMethods(context),
    ...healthMethods(),
  ]);
}
