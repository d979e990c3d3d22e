/** Puts a state machine together, the same way for a server and for a simulator. */
import { CHECKPOINT_INTERVAL_MS } from '../lease/checkpoints.ts';
import { Lessor } from '../lease/lessor.ts';
import { MEMBERSHIP_LIMITS, type MembershipLimits } from '../membership/rules.ts';
import type { Backend } from '../mvcc/backend.ts';
import type { Staging } from '../mvcc/staging.ts';
import { MvccStore } from '../mvcc/store.ts';
import type { WatchLimits } from '../watch/limits.ts';
import { WatchHub } from '../watch/watch-hub.ts';
import type { State } from './state.ts';
import { StateMachine } from './state-machine.ts';
import { STAGED_COMMIT_BYTES } from './state-writer.ts';

export interface StateMachineLimits extends MembershipLimits {
  /** Shorter leases are raised to this: one and a half election timeouts, rounded up. The same on every replica. */
  minTtlSeconds: number;
  /** What every lease gets on top when the leader changes: an election timeout. */
  leaseExtensionMs: number;
  /** Leases longer than this are told of, this often, so that a change of leader does not give them all their time again. */
  leaseCheckpointIntervalMs: number;
  /** See --watch-progress-notify-interval. */
  progressIntervalMs: number;
  /** Differences from WATCH_LIMITS. */
  watch: Partial<WatchLimits>;
  /** See PAIR_CACHE_BYTES_MAX; the store's own default when absent. */
  pairCacheBytesMax?: number;
  /** See STAGED_COMMIT_BYTES. */
  stagedCommitBytes: number;
}

/** What etcd's defaults come to. */
export const STATE_MACHINE_LIMITS: Readonly<StateMachineLimits> = {
  minTtlSeconds: 2,
  leaseExtensionMs: 1_000,
  leaseCheckpointIntervalMs: CHECKPOINT_INTERVAL_MS,
  progressIntervalMs: 600_000,
  watch: {},
  stagedCommitBytes: STAGED_COMMIT_BYTES,
  ...MEMBERSHIP_LIMITS,
};

export interface CreateStateMachineOptions {
  backend: Backend;
  /** Where states that come as snapshots are received. Without it none may come: a cluster of one. */
  staging?: Staging;
  /** Monotonic. For leases and progress notifications only. */
  clock: { nowMs(): number };
  /** Differences from {@link STATE_MACHINE_LIMITS}. */
  limits?: Partial<StateMachineLimits>;
}

/** A state machine on `backend`, ready when it is empty; otherwise run {@link StateMachine.restore} to its end first. */
export function createStateMachine({ backend, staging, clock, limits = {} }: CreateStateMachineOptions): StateMachine {
  const all = { ...STATE_MACHINE_LIMITS, ...limits };
  const open = (on: Backend): State => {
    const lessor = new Lessor({
      backend: on,
      clock,
      minTtlSeconds: all.minTtlSeconds,
      checkpointIntervalMs: all.leaseCheckpointIntervalMs,
    });
    const store = new MvccStore({
      backend: on,
      leases: lessor,
      onRevision: (batch) => hub.notify(batch),
      ...(all.pairCacheBytesMax === undefined ? {} : { pairCacheBytesMax: all.pairCacheBytesMax }),
    });
    return { backend: on, store, lessor };
  };
  const state = open(backend);
  const hub = new WatchHub({
    store: state.store,
    clock,
    progressIntervalMs: all.progressIntervalMs,
    limits: all.watch,
    onWork: () => machine.onWork?.(),
  });
  const machine = new StateMachine({
    state,
    open,
    staging,
    hub,
    leaseExtensionMs: all.leaseExtensionMs,
    stagedCommitBytes: all.stagedCommitBytes,
    membershipLimits: { strictReconfigCheck: all.strictReconfigCheck, maxLearners: all.maxLearners },
  });
  return machine;
}
