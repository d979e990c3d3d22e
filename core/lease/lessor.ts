/**
 * The leases: who exists, for how long, and which keys hang on each. Grants and revocations are replicated and stored;
 * renewals and expiry are the leader's alone and live in memory. Never deletes a key (core/apply does) and never lets
 * a lease run out early: every doubt is decided for the holder.
 */
import { GrpcStatus, otherError, type RosterError, rosterError } from '../errors.ts';
import type { Backend } from '../mvcc/backend.ts';
import type { KeyLeases } from '../mvcc/kv-store.ts';
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import { Heap, NOT_IN_HEAP } from '../util/heap.ts';
import type { LeaseCheckpoint } from '../wire/stored.ts';
import { CHECKPOINT_INTERVAL_MS, Checkpoints } from './checkpoints.ts';
import { leaseKey, leaseValue, readLease } from './lease-record.ts';
import { spreadExpiries } from './spread.ts';

/** etcd's limit: about 285 years. */
export const LEASE_TTL_SECONDS_MAX = 9_000_000_000n;
/** A lease reported as expired is reported again after this long unless it was revoked: etcd's request timeout. */
export const EXPIRED_RETRY_INTERVAL_MS = 7_000;
/** Leases that one call of `expired` looks at, most of which may have been renewed. */
export const EXPIRY_SCAN_MAX = 2_000;
/** Leases read per step of `restore`. */
const RESTORE_STEP = 1_000;

export interface LessorOptions {
  backend: Backend;
  /** Monotonic, and never behind the true elapsed time by more than its resolution. */
  clock: { nowMs(): number };
  /** Shorter TTLs are raised to this. The same on every replica. */
  minTtlSeconds: number;
  /** {@link EXPIRED_RETRY_INTERVAL_MS} unless given. */
  expiredRetryIntervalMs?: number;
  /** {@link CHECKPOINT_INTERVAL_MS} unless given. */
  checkpointIntervalMs?: number;
}

export interface GrantedLease {
  id: bigint;
  ttlSeconds: number;
}

/** What LeaseTimeToLive tells. */
export interface LeaseLife {
  /** Whole seconds left; 0 or less: time is up, revocation under way. On a follower: what a new leader would give. */
  remainingSeconds: number;
  /** As granted. */
  ttlSeconds: number;
  /** The attached keys, unordered. */
  keys(): ByteString[];
}

const NO_KEYS: ReadonlySet<ByteString> = new Set();

class Lease {
  readonly id: bigint;
  readonly ttlSeconds: number;
  /** Seconds left at the last checkpoint applied; 0: all of them, by what the log says. */
  checkpointSeconds: number;
  readonly keys = new Set<ByteString>();
  /** Time on the leader's clock; Infinity on followers. */
  expiresAtMs = Number.POSITIVE_INFINITY;
  /** When to look at it next: not after `expiresAtMs` until it has run out, then one retry interval later. */
  dueMs = Number.POSITIVE_INFINITY;
  heapIndex = NOT_IN_HEAP;

  constructor(id: bigint, ttlSeconds: number, checkpointSeconds: number) {
    this.id = id;
    this.ttlSeconds = ttlSeconds;
    this.checkpointSeconds = checkpointSeconds;
  }

  /** Seconds it has when its leader begins to count. */
  get startSeconds(): number {
    return this.checkpointSeconds > 0 ? this.checkpointSeconds : this.ttlSeconds;
  }
}

export class Lessor implements KeyLeases {
  readonly #backend: Backend;
  readonly #clock: LessorOptions['clock'];
  readonly #minTtlSeconds: number;
  readonly #retryIntervalMs: number;
  readonly #leases = new Map<bigint, Lease>();
  readonly #leaseOf = new Map<ByteString, Lease>();
  readonly #due = new Heap<Lease>((a, b) => a.dueMs < b.dueMs);
  readonly #checkpoints: Checkpoints<Lease>;
  #primary = false;

  constructor(options: LessorOptions) {
    this.#backend = options.backend;
    this.#clock = options.clock;
    this.#minTtlSeconds = options.minTtlSeconds;
    this.#retryIntervalMs = options.expiredRetryIntervalMs ?? EXPIRED_RETRY_INTERVAL_MS;
    assert(this.#retryIntervalMs > 0, 'the retry interval must be above 0');
    this.#checkpoints = new Checkpoints(options.checkpointIntervalMs ?? CHECKPOINT_INTERVAL_MS);
  }

  /** Leases there are. */
  get size(): number {
    return this.#leases.size;
  }

  /** Whether leases are counted here: this node leads. */
  get primary(): boolean {
    return this.#primary;
  }

  has(id: bigint): boolean {
    return this.#leases.has(id);
  }

  /**
   * Creates a lease. `id` is not 0: who proposes the grant has chosen it, so that replicas agree. Refusals in etcd's
   * order: LeaseTTLTooLarge, LeaseExist. A TTL below the minimum, negative ones too, is raised.
   */
  grant(id: bigint, ttlSeconds: bigint, minTtlSeconds: number = this.#minTtlSeconds): GrantedLease | RosterError {
    // etcd answers an id of 0 at this depth in the same way.
    if (id === 0n) return rosterError('LeaseNotFound');
    if (ttlSeconds > LEASE_TTL_SECONDS_MAX) return rosterError('LeaseTTLTooLarge');
    if (this.#leases.has(id)) return rosterError('LeaseExist');
    const lease = new Lease(id, Math.max(Number(ttlSeconds), minTtlSeconds), 0);
    this.#leases.set(id, lease);
    if (this.#primary) this.#startCounting(lease, this.#clock.nowMs());
    this.#store(lease);
    return { id, ttlSeconds: lease.ttlSeconds };
  }

  /** Ends a lease. Returns the keys it had, in byte order, for the caller to delete; LeaseNotFound when there is none. */
  revoke(id: bigint): ByteString[] | RosterError {
    const lease = this.#leases.get(id);
    if (lease === undefined) return rosterError('LeaseNotFound');
    this.#leases.delete(id);
    if (this.#due.has(lease)) this.#due.remove(lease);
    this.#checkpoints.end(lease);
    this.#backend.delete('lease', leaseKey(id));
    const keys = [...lease.keys].sort();
    for (const key of keys) this.#leaseOf.delete(key);
    return keys;
  }

  /**
   * Leader only (see {@link primary}): gives a lease its full TTL again. Returns how much of it, in seconds, is certain: all,
   * unless a checkpoint says less and its withdrawal is not in the log yet (see {@link checkpoints}). `undefined` when
   * there is no such lease, or its time is up: it is then being revoked and cannot be saved.
   */
  renew(id: bigint): number | undefined {
    assert(this.#primary, 'only the leader renews leases');
    const lease = this.#leases.get(id);
    if (lease === undefined) return undefined;
    const now = this.#clock.nowMs();
    if (lease.expiresAtMs <= now) return undefined;
    lease.expiresAtMs = now + lease.ttlSeconds * 1000;
    // Its place among the due ones mostly stays: being looked at too early costs less than moving it at every renewal.
    // After a change of leader the full time may end before the extended one.
    if (lease.expiresAtMs < lease.dueMs) {
      lease.dueMs = lease.expiresAtMs;
      this.#due.update(lease);
    }
    return this.#checkpoints.renewed(lease, now);
  }

  /**
   * Leader only: what the log should say of the time that long leases have left, at most `limit` of them, each once per
   * interval; none on a follower. Renewed leases of which it says less than all come first, with 0.
   */
  checkpoints(limit: number): LeaseCheckpoint[] {
    return this.#primary ? this.#checkpoints.take(limit, this.#clock.nowMs()) : [];
  }

  /** A checkpoint from the log: what a next leader gives the lease. Of no effect on how its present leader counts. */
  checkpoint({ ID, remaining_TTL: seconds }: LeaseCheckpoint): void {
    const lease = this.#leases.get(ID);
    if (lease === undefined) return;
    lease.checkpointSeconds = Math.min(Math.max(0, seconds), lease.ttlSeconds);
    this.#store(lease);
    if (this.#primary) this.#checkpoints.applied(lease, seconds);
  }

  /** The keys that hang on a lease, unordered; none, too, when there is no such lease. Not to be kept. */
  keysOf(id: bigint): ReadonlySet<ByteString> {
    return this.#leases.get(id)?.keys ?? NO_KEYS;
  }

  /** `undefined` when there is no such lease. */
  timeToLive(id: bigint): LeaseLife | undefined {
    const lease = this.#leases.get(id);
    if (lease === undefined) return undefined;
    return {
      remainingSeconds: this.#remainingSeconds(lease),
      ttlSeconds: lease.ttlSeconds,
      keys: () => [...lease.keys],
    };
  }

  #remainingSeconds(lease: Lease): number {
    if (!this.#primary) return lease.startSeconds;
    const seconds = wholeSeconds(lease.expiresAtMs - this.#clock.nowMs());
    const guaranteed = this.#checkpoints.guaranteedSeconds(lease);
    return guaranteed < lease.ttlSeconds ? Math.min(seconds, guaranteed) : seconds;
  }

  /** All ids, those with the least time left first. */
  list(): bigint[] {
    return [...this.#leases.values()].sort(byExpiry).map((lease) => lease.id);
  }

  // ---- KeyLeases

  attach(lease: bigint, key: ByteString): void {
    const to = this.#leases.get(lease);
    assert(to !== undefined, 'a key is attached to a lease that exists');
    const from = this.#leaseOf.get(key);
    if (from === to) return;
    from?.keys.delete(key);
    to.keys.add(key);
    this.#leaseOf.set(key, to);
  }

  detach(key: ByteString): void {
    const from = this.#leaseOf.get(key);
    if (from === undefined) return;
    from.keys.delete(key);
    this.#leaseOf.delete(key);
  }

  /** The lease `key` hangs on; 0n: none. */
  leaseOf(key: ByteString): bigint {
    return this.#leaseOf.get(key)?.id ?? 0n;
  }

  // ---- expiry

  /**
   * This node began to lead: every lease gets the full time it may claim by what the log says (its TTL, or what was left
   * at its last checkpoint), plus `extraMs`, because renewals under the last leader are unknown here. Or it ceased to lead (`extraMs` is of no account): nothing expires any more.
   */
  setPrimary(primary: boolean, extraMs = 0): void {
    if (!primary && !this.#primary) return;
    this.#primary = primary;
    const now = this.#clock.nowMs();
    for (const lease of this.#leases.values()) {
      lease.expiresAtMs = primary ? now + lease.startSeconds * 1000 + extraMs : Number.POSITIVE_INFINITY;
    }
    if (primary) spreadExpiries([...this.#leases.values()].sort(byExpiry));
    this.#checkpoints.clear();
    for (const lease of this.#leases.values()) {
      if (this.#due.has(lease)) this.#due.remove(lease);
      lease.dueMs = lease.expiresAtMs;
      if (!primary) continue;
      this.#due.push(lease);
      this.#checkpoints.begin(lease, now);
    }
  }

  /**
   * At most `limit` leases whose time is up, the longest overdue first; none on a follower. Each is named once per
   * retry interval until it is revoked.
   */
  expired(limit: number): bigint[] {
    const ids: bigint[] = [];
    if (!this.#primary) return ids;
    const now = this.#clock.nowMs();
    for (let looked = 0; looked < EXPIRY_SCAN_MAX && ids.length < limit; looked++) {
      const lease = this.#due.peek();
      if (lease === undefined || lease.dueMs > now) break;
      if (lease.expiresAtMs > now) lease.dueMs = lease.expiresAtMs;
      else {
        ids.push(lease.id);
        lease.dueMs = now + this.#retryIntervalMs;
      }
      this.#due.update(lease);
    }
    return ids;
  }

  // ---- restart

  /**
   * Reads the leases from the backend, in steps, each yielding how many there are so far; before the store is
   * restored, which attaches the keys.
   */
  *restore(): Generator<number, void> {
    assert(this.#leases.size === 0, 'leases are restored once, into an empty lessor');
    let from: ByteString | undefined = '';
    while (from !== undefined) {
      let left = RESTORE_STEP;
      let next: ByteString | undefined;
      this.#backend.scan('lease', from, undefined, (key, value) => {
        if (left-- === 0) {
          next = key;
          return false;
        }
        const { ID, TTL, remaining_TTL } = readLease(value);
        if (leaseKey(ID) !== key) throw otherError(GrpcStatus.DATA_LOSS, 'the store is damaged: a lease is not one');
        this.#leases.set(ID, new Lease(ID, TTL, remaining_TTL));
        return true;
      });
      from = next;
      if (from !== undefined) yield this.#leases.size;
    }
  }

  #startCounting(lease: Lease, now: number): void {
    lease.expiresAtMs = now + lease.startSeconds * 1000;
    lease.dueMs = lease.expiresAtMs;
    this.#due.push(lease);
    this.#checkpoints.begin(lease, now);
  }

  #store({ id, ttlSeconds, checkpointSeconds }: Lease): void {
    const stored = { ID: id, TTL: ttlSeconds, remaining_TTL: checkpointSeconds };
    this.#backend.put('lease', leaseKey(id), leaseValue(stored));
  }
}

function byExpiry(a: Lease, b: Lease): number {
  if (a.expiresAtMs !== b.expiresAtMs) return a.expiresAtMs - b.expiresAtMs;
  if (a.id === b.id) return 0;
  return a.id < b.id ? -1 : 1;
}

/** Cut off towards zero, as etcd does: less than a second overdue is still 0. */
function wholeSeconds(ms: number): number {
  return Math.trunc(ms / 1000) + 0;
}
