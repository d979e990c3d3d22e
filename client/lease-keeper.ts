/**
 * Keeps leases alive: one stream for all of a client's leases, a request per lease every third of its TTL. Declares a
 * lease lost when the server says so or when it cannot have survived. Time is the monotonic clock's.
 */
import { GrpcStatus, otherError, type RosterError, rosterError } from '../core/errors.ts';
import type { LeaseKeepAliveRequest, LeaseKeepAliveResponse } from '../core/wire/messages.ts';
import type { CallOptions, KeptLease } from './api.ts';
import type { EndpointSet } from './endpoint-set.ts';
import { LastingStream } from './lasting-stream.ts';
import { methods } from './methods.ts';

/** Leases kept at once per client. */
export const KEPT_LEASES_MAX = 10_000;

const BEATS_PER_TTL = 3;
/** A beat may stay unanswered so long before the stream is given up for another. */
const SILENCE_MS_MIN = 1_000;
/** setTimeout takes no more. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** What the keeper needs of a lease, besides what everybody sees of it. */
class Lease implements KeptLease {
  readonly id: bigint;
  readonly ttlSeconds: number;
  readonly #keeper: LeaseKeeper;
  readonly #lost = new AbortController();
  timer: NodeJS.Timeout | undefined;
  /** performance.now() of the last sign that the server knew the lease. */
  answeredAt = performance.now();
  /** When the request was sent that has had no answer yet on the present stream. */
  unansweredSince: number | undefined;

  constructor(keeper: LeaseKeeper, id: bigint, ttlSeconds: number) {
    this.#keeper = keeper;
    this.id = id;
    this.ttlSeconds = ttlSeconds;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  close(): void {
    this.#keeper.forget(this);
  }

  revoke(options?: CallOptions): Promise<void> {
    this.close();
    return this.#keeper.revoke(this.id, options);
  }

  lose(): void {
    this.close();
    this.#lost.abort(rosterError('LeaseNotFound'));
  }
}

export class LeaseKeeper {
  /** Revokes on the server: a lease that is gone already counts as revoked. */
  readonly revoke: (id: bigint, options?: CallOptions) => Promise<void>;
  readonly #stream: LastingStream<LeaseKeepAliveRequest, LeaseKeepAliveResponse>;
  readonly #leases = new Map<bigint, Lease>();

  constructor(endpoints: EndpointSet, revoke: (id: bigint, options?: CallOptions) => Promise<void>) {
    this.revoke = revoke;
    this.#stream = new LastingStream(
      endpoints,
      methods.leaseKeepAlive,
      {
        opened: () => this.#opened(),
        message: (response) => this.#answered(response),
        broken: (_error: RosterError) => {},
      },
      {},
    );
  }

  /** RESOURCE_EXHAUSTED when no further lease can be kept: to be asked before one is granted. */
  refuseWhenFull(): void {
    if (this.#leases.size < KEPT_LEASES_MAX) return;
    throw otherError(GrpcStatus.RESOURCE_EXHAUSTED, `a client keeps at most ${KEPT_LEASES_MAX} leases`);
  }

  /** Keeps a lease that was granted a moment ago. */
  keep(id: bigint, ttlSeconds: number): KeptLease {
    const lease = new Lease(this, id, ttlSeconds);
    this.#leases.set(id, lease);
    this.#schedule(lease);
    this.#stream.start();
    return lease;
  }

  forget(lease: Lease): void {
    clearTimeout(lease.timer);
    if (this.#leases.get(lease.id) !== lease) return;
    this.#leases.delete(lease.id);
    if (this.#leases.size === 0) this.#stream.stop();
  }

  close(): void {
    for (const lease of [...this.#leases.values()]) this.forget(lease);
  }

  #opened(): void {
    for (const lease of this.#leases.values()) {
      lease.unansweredSince = undefined;
      this.#beat(lease);
    }
  }

  #beat(lease: Lease): void {
    if (this.#stream.send({ ID: lease.id })) lease.unansweredSince = performance.now();
  }

  #answered(response: LeaseKeepAliveResponse): void {
    const lease = this.#leases.get(response.ID);
    if (lease === undefined) return;
    if (response.TTL <= 0) {
      lease.lose();
      return;
    }
    lease.unansweredSince = undefined;
    lease.answeredAt = performance.now();
  }

  #schedule(lease: Lease): void {
    const ttlMs = lease.ttlSeconds * 1_000;
    const leftMs = lease.answeredAt + ttlMs - performance.now();
    const waitMs = Math.min(ttlMs / BEATS_PER_TTL, Math.max(leftMs, 0), TIMER_MS_MAX);
    lease.timer = setTimeout(() => {
      const now = performance.now();
      if (now >= lease.answeredAt + ttlMs) {
        lease.lose();
        return;
      }
      if (lease.unansweredSince === undefined) this.#beat(lease);
      // Silence: this stream, or the server behind it, is no good.
      else if (now - lease.unansweredSince >= SILENCE_MS_MIN) this.#stream.restart();
      this.#schedule(lease);
    }, waitMs);
  }
}
