/**
 * The first rows of a member's database: who it starts with. Written and durable before its log is made, so that a log
 * never exists without them. Owns what an interrupted first start has left, which the next one writes anew.
 */
import { readApplied } from '../core/apply/applied.ts';
import type { StateMachine } from '../core/apply/state-machine.ts';
import type { Backend } from '../core/mvcc/backend.ts';
import { confStateOf } from '../core/raft/conf-change.ts';
import type { ByteString } from '../core/util/bytes.ts';
import type { Bootstrap } from './bootstrap.ts';

/**
 * For a backend without a log, before it is read: removes the rows of a first start that did not come as far as its log.
 * A state that entries have gone into is left alone: recovery says that its log is missing.
 */
export function forgetUnfinishedStart(backend: Backend): void {
  if (readApplied(backend).index > 0) return;
  for (const bucket of ['meta', 'members', 'members_removed', 'cluster'] as const) {
    const keys: ByteString[] = [];
    backend.scan(bucket, '', undefined, (key) => {
      keys.push(key);
      return true;
    });
    for (const key of keys) backend.delete(bucket, key);
  }
}

/** Makes `members` and who of them votes the state of `machine`, durably. */
export function writeBootstrap(machine: StateMachine, { members, voters }: Bootstrap): Promise<void> {
  machine.bootstrap(members, confStateOf(voters));
  return new Promise((resolve, reject) => {
    machine.commit((error) => (error === undefined ? resolve() : reject(error)));
  });
}
