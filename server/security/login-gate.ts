/**
 * Who may try a password now. Owns two bounds: how many tries of one address are under way, so that it does not take the
 * queue for itself, and how fast somebody may fail for one user from one address. Right passwords cost nothing.
 */

/** Tries of one address that may be under way at a time. */
export const LOGINS_PER_ADDRESS_MAX = 16;
/** Failures that may come at once, and how long until there may be one more. */
export const FAILURES_AT_ONCE_MAX = 10;
export const FAILURE_INTERVAL_MS = 1000;
/** Pairs of address and user that are remembered. */
export const FAILURES_REMEMBERED_MAX = 10_000;

interface Failures {
  count: number;
  atMs: number;
}

export class LoginGate {
  readonly #clock: { nowMs(): number };
  readonly #underWay = new Map<string, number>();
  /** Longest ago first. */
  readonly #failures = new Map<string, Failures>();

  constructor(clock: { nowMs(): number }) {
    this.#clock = clock;
  }

  /** False: not now. True: {@link leave} must follow. */
  enter(remote: string, user: string): boolean {
    const address = addressOf(remote);
    const underWay = this.#underWay.get(address) ?? 0;
    if (underWay >= LOGINS_PER_ADDRESS_MAX) return false;
    const failures = this.#failures.get(pair(address, user));
    if (failures !== undefined && this.#left(failures) + underWay >= FAILURES_AT_ONCE_MAX) return false;
    this.#underWay.set(address, underWay + 1);
    return true;
  }

  leave(remote: string, user: string, failed: boolean): void {
    const address = addressOf(remote);
    const underWay = this.#underWay.get(address)! - 1;
    if (underWay === 0) this.#underWay.delete(address);
    else this.#underWay.set(address, underWay);
    if (failed) this.#fail(pair(address, user));
  }

  #fail(key: string): void {
    const known = this.#failures.get(key);
    const count = (known === undefined ? 0 : this.#left(known)) + 1;
    this.#failures.delete(key);
    if (this.#failures.size >= FAILURES_REMEMBERED_MAX) {
      for (const oldest of this.#failures.keys()) {
        this.#failures.delete(oldest);
        break;
      }
    }
    this.#failures.set(key, { count, atMs: this.#clock.nowMs() });
  }

  /** Failures that still count. */
  #left({ count, atMs }: Failures): number {
    return Math.max(0, count - (this.#clock.nowMs() - atMs) / FAILURE_INTERVAL_MS);
  }
}

function pair(address: string, user: string): string {
  return `${address} ${user}`;
}

/** Without the port, which is another one on each connection. */
function addressOf(remote: string): string {
  if (remote.startsWith('[')) return remote.slice(0, remote.indexOf(']') + 1);
  return remote.replace(/:\d+$/, '');
}
