/** Keeps leases that were all prolonged at once from falling due all at once. */

/** Expiries that may fall into one second after a change of leader: three quarters of etcd's 1,000 revocations a second. */
export const EXPIRIES_PER_SECOND_MAX = 750;

/** Puts off expiries, never brings one forward, so that no second holds too many. `leases` come in order of expiry. */
export function spreadExpiries(leases: readonly { expiresAtMs: number }[]): void {
  for (let i = EXPIRIES_PER_SECOND_MAX; i < leases.length; i++) {
    const earliest = leases[i - EXPIRIES_PER_SECOND_MAX]!.expiresAtMs + 1000;
    const lease = leases[i]!;
    if (lease.expiresAtMs < earliest) lease.expiresAtMs = earliest;
  }
}
