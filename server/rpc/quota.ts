/**
 * The quota at the door (etcd: quotaKVServer, quotaLeaseServer): requests that would make the store larger are refused
 * while there is no room, and raise the alarm. The one place for this; knows methods by path only.
 */
import { requestCost } from '../../core/apply/cost.ts';
import { rosterError } from '../../core/errors.ts';
import type { LeaseGrantRequest, PutRequest, TxnRequest } from '../../core/wire/messages.ts';
import type { V2Request } from '../../core/wire/stored.ts';
import type { RpcContext } from './context.ts';
import type { Method } from './service.ts';
import { V2_WRITE } from './v2-paths.ts';

/** How much room there is. */
export interface SpaceQuota {
  /** As --quota-backend-bytes has it: 0 is the default, below 0 none. In effect: {@link SpaceQuota.bytesMax}. */
  readonly bytesMax: number;
  /** Whether `costBytes` more fit in. */
  fits(costBytes: number): boolean;
  /** There was no room: raises the alarm, unless it is raised. `done` when that has been tried. */
  raise(done: () => void): void;
}

const COSTS: ReadonlyMap<string, (request: object) => number> = new Map([
  ['/etcdserverpb.KV/Put', (request: object) => requestCost({ put: request as PutRequest })],
  ['/etcdserverpb.KV/Txn', (request: object) => requestCost({ txn: request as TxnRequest })],
  ['/etcdserverpb.Lease/LeaseGrant', (request: object) => requestCost({ lease_grant: request as LeaseGrantRequest })],
  [V2_WRITE, (request: object) => requestCost({ v2: request as V2Request })],
]);

/** The same methods, within the quota if the context has one. */
export function withinQuota({ quota }: RpcContext, methods: readonly Method[]): Method[] {
  if (quota === undefined) return [...methods];
  return methods.map((method) => {
    const costOf = COSTS.get(method.path);
    if (costOf === undefined || method.kind !== 'unary') return method;
    return {
      ...method,
      handle: (call, request, done) => {
        const cost = costOf(request);
        if (cost === 0 || quota.fits(cost)) method.handle(call, request, done);
        else quota.raise(() => done(rosterError('NoSpace')));
      },
    };
  });
}
