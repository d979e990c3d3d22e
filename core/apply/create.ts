/** Puts a state machine together, the same way for a server and for a simulator. */
import { Lessor } from '../lease/lessor.ts';
import type { Backend } from '../mvcc/backend.ts';
import { MvccStore } from '../mvcc/store.ts';
import type { WatchLimits } from '../watch/limits.ts';
import { WatchHub } from '../watch/watch-hub.ts';
import { StateMachine } from './state-machine.ts';

export interface StateMachineLimits {
  /** Shorter leases are raised to this: one and a half election timeouts, rounded up. The same on every replica. */
  minTtlSeconds: number;
  /** What every lease gets on top when the leader changes: an election timeout. */
  leaseExtensionMs: number;
  /** See --watch-progress-notify-interval. */
  progressIntervalMs: number;
  /** Differences from WATCH_LIMITS. */
  watch: Partial<WatchLimits>;
  /** See PAIR_CACHE_BYTES_MAX; the store's own default when absent. */
  pairCacheBytesMax?: number;
}

/** What etcd's defaults come to. */
export const STATE_MACHINE_LIMITS: Readonly<StateMachineLimits> = {
  minTtlSeconds: 2,
  leaseExtensionMs: 1_000,
  progressIntervalMs: 600_000,
  watch: {},
};

export interface CreateStateMachineOptions {
  backend: Backend;
  /** Monotonic. For leases and progress notifications only. */
  clock: { nowMs(): number };
  /** Differences from {@link STATE_MACHINE_LIMITS}. */
  limits?: Partial<StateMachineLimits>;
}

/** A state machine on `backend`, ready when it is empty; otherwise run {@link StateMachine.restore} to its end first. */
export function createStateMachine({ backend, clock, limits = {} }: CreateStateMachineOptions): StateMachine {
  const { minTtlSeconds, leaseExtensionMs, progressIntervalMs, watch, pairCacheBytesMax } = {
    ...STATE_MACHINE_LIMITS,
    ...limits,
  };
  const lessor = new Lessor({ backend, clock, minTtlSeconds });
  const store = new MvccStore({
    backend,
    leases: lessor,
    onRevision: (batch) => hub.notify(batch),
    ...(pairCacheBytesMax === undefined ? {} : { pairCacheBytesMax }),
  });
  const hub = new WatchHub({
    store,
    clock,
    progressIntervalMs,
    limits: watch,
    onWork: () => machine.onWork?.(),
  });
  const machine = new StateMachine({ backend, store, lessor, hub, leaseExtensionMs });
  return machine;
}
