/**
 * Leases never end early: what a lease's holder was promised, by true time, against when its end took effect. Clocks of
 * members may run fast by the drift a run allows, and the promise is shorter by that much. Also: leases do end.
 */

import type { AppliedEntry } from './state-check.ts';
import { check } from './violation.ts';

const LEASES = 'leases';

export class Leases {
  readonly #drift: number;
  readonly #revoking = new Set<bigint>();
  readonly #promises: { id: bigint; fromMs: number; ttlSeconds: number }[] = [];
  renewals = 0;

  constructor(drift: number) {
    this.#drift = drift;
  }

  /** A client is about to ask for the end of the lease. */
  revoking(id: bigint): void {
    this.#revoking.add(id);
  }

  /** A client was told that the lease has so much time, having asked at `fromMs`: for more of it, or just how much. */
  promised(id: bigint, fromMs: number, ttlSeconds: number, renewed: boolean): void {
    if (renewed) this.renewals++;
    this.#promises.push({ id, fromMs, ttlSeconds });
  }

  /** Returns how many leases ran out. */
  check(entries: readonly AppliedEntry[]): number {
    const until = new Map<bigint, number>();
    const lifeMs = (ttlSeconds: number) => (ttlSeconds * 1000) / (1 + this.#drift);
    const ends = new Map<bigint, number>();
    for (const { request, result, atMs } of entries.slice(1)) {
      if (result.includes('"refused"')) continue;
      const grant = request?.lease_grant;
      if (grant !== undefined) until.set(grant.ID, atMs + lifeMs(Number(grant.TTL)));
      const revoke = request?.lease_revoke;
      if (revoke !== undefined && !this.#revoking.has(revoke.ID)) ends.set(revoke.ID, atMs);
    }
    for (const { id, fromMs, ttlSeconds } of this.#promises) {
      const end = ends.get(id);
      // Renewed when it was over already: another checker's matter, the answer was a lie.
      until.set(id, Math.max(until.get(id) ?? 0, fromMs + lifeMs(ttlSeconds)));
      check(
        end === undefined || fromMs <= end,
        LEASES,
        () => `${id} was promised more at ${fromMs}, it had ended at ${end}`,
      );
    }
    for (const [id, endMs] of ends) {
      const promisedMs = until.get(id);
      check(promisedMs !== undefined, LEASES, () => `${id} ended and was never granted`);
      check(endMs >= promisedMs, LEASES, () => `${id} ended at ${endMs} ms, promised until ${promisedMs} ms`);
    }
    return ends.size;
  }
}
