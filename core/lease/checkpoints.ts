/**
 * How much time long leases have left, told to the other members now and then, so that a change of leader does not give
 * them all of it again. Owns what the leader has to propose, and what of it may be in the log: until a renewal is known
 * there, no more may be promised than the least any next leader would give. Never changes a lease.
 */
import { assert } from '../util/assert.ts';
import type { LeaseCheckpoint } from '../wire/stored.ts';

/** Leases longer than this are told of, this often (etcd: leaseCheckpointInterval). */
export const CHECKPOINT_INTERVAL_MS = 300_000;
/** A renewal that did not reach the log is proposed again by the next renewal, not before this: etcd's request timeout. */
export const RESET_RETRY_MS = 7_000;
/** Leases that one call of `take` looks at. */
export const CHECKPOINT_SCAN_MAX = 2_000;
/** Proposals for one lease that may or may not be in the log yet; more are kept as one. */
export const UNSETTLED_MAX = 8;

export interface CheckpointedLease {
  readonly id: bigint;
  readonly ttlSeconds: number;
  /** Seconds left by the last checkpoint applied; 0: all of them. */
  readonly checkpointSeconds: number;
  readonly expiresAtMs: number;
}

/** What was handed out and has not been seen in the log. */
interface Proposed {
  seconds: number;
  atMs: number;
}

export class Checkpoints<Lease extends CheckpointedLease> {
  readonly #intervalMs: number;
  /** Long leases, and when their time was last known here or to everyone; in that order. */
  readonly #aging = new Map<Lease, number>();
  /** Renewed, while the log says that they have less. */
  readonly #resets = new Set<Lease>();
  /** In the order of the proposals, which is their order in the log. */
  readonly #unsettled = new Map<Lease, Proposed[]>();

  constructor(intervalMs: number) {
    assert(intervalMs > 0, 'the checkpoint interval must be above 0');
    this.#intervalMs = intervalMs;
  }

  /** This node began to lead, or ceased to: what it proposed before is in the state by now, or never will be. */
  clear(): void {
    this.#aging.clear();
    this.#resets.clear();
    this.#unsettled.clear();
  }

  /** The leader counts `lease` from now on. */
  begin(lease: Lease, nowMs: number): void {
    if (this.#isLong(lease)) this.#aging.set(lease, nowMs);
  }

  /** The lease is no more. */
  end(lease: Lease): void {
    this.#aging.delete(lease);
    this.#resets.delete(lease);
    this.#unsettled.delete(lease);
  }

  /** The lease has its full time again, and the log is to say so. Returns the seconds that may be promised already. */
  renewed(lease: Lease, nowMs: number): number {
    // Nearly every lease is a short one that nothing was ever said of.
    if (!this.#isLong(lease) && lease.checkpointSeconds === 0) return lease.ttlSeconds;
    this.#aging.delete(lease);
    this.begin(lease, nowMs);
    const seconds = this.guaranteedSeconds(lease);
    if (seconds < lease.ttlSeconds && !this.#resetting(lease, nowMs)) this.#resets.add(lease);
    return seconds;
  }

  /** The least that a next leader would give the lease. */
  guaranteedSeconds(lease: Lease): number {
    let least = lease.checkpointSeconds > 0 ? lease.checkpointSeconds : lease.ttlSeconds;
    for (const { seconds } of this.#unsettled.get(lease) ?? []) if (seconds > 0) least = Math.min(least, seconds);
    return least;
  }

  /** A checkpoint of this leader has been applied; so have those before it, unless they were refused. */
  applied(lease: Lease, seconds: number): void {
    const proposed = this.#unsettled.get(lease);
    const at = proposed?.findIndex((each) => each.seconds === seconds) ?? -1;
    if (proposed === undefined || at < 0) return;
    proposed.splice(0, at + 1);
    if (proposed.length === 0) this.#unsettled.delete(lease);
  }

  /** At most `limit` checkpoints to propose, renewals first: somebody may be waiting for the full time. */
  take(limit: number, nowMs: number): LeaseCheckpoint[] {
    const taken: LeaseCheckpoint[] = [];
    for (const lease of this.#resets) {
      if (taken.length >= limit) return taken;
      this.#resets.delete(lease);
      taken.push(this.#propose(lease, 0, nowMs));
    }
    let looked = 0;
    for (const [lease, measuredMs] of this.#aging) {
      if (taken.length >= limit || looked++ === CHECKPOINT_SCAN_MAX || measuredMs + this.#intervalMs > nowMs) break;
      this.#aging.delete(lease);
      const leftMs = lease.expiresAtMs - nowMs;
      if (leftMs <= 0) continue;
      // With less than an interval left, telling again would not be worth an entry.
      if (leftMs > this.#intervalMs) this.#aging.set(lease, nowMs);
      const seconds = Math.ceil(leftMs / 1000);
      if (seconds < this.guaranteedSeconds(lease)) taken.push(this.#propose(lease, seconds, nowMs));
    }
    return taken;
  }

  #isLong(lease: Lease): boolean {
    return lease.ttlSeconds * 1000 > this.#intervalMs;
  }

  /** Whether the full time is on its way into the log. */
  #resetting(lease: Lease, nowMs: number): boolean {
    const last = this.#unsettled.get(lease)?.at(-1);
    return last !== undefined && last.seconds === 0 && last.atMs + RESET_RETRY_MS > nowMs;
  }

  #propose(lease: Lease, seconds: number, atMs: number): LeaseCheckpoint {
    const proposed = this.#unsettled.get(lease) ?? [];
    if (proposed.length === UNSETTLED_MAX) {
      const least = this.guaranteedSeconds(lease);
      proposed.length = 0;
      if (least < lease.ttlSeconds) proposed.push({ seconds: least, atMs });
    }
    proposed.push({ seconds, atMs });
    this.#unsettled.set(lease, proposed);
    return { ID: lease.id, remaining_TTL: seconds };
  }
}
