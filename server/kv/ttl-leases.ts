/**
 * The leases behind `?ttl`: one for each such put, granted before it. Owns which leases are this door's own (their IDs
 * say so, so that it is known after a restart and on every member), and that one which holds nothing any more goes.
 */
import { randomBytes } from 'node:crypto';
import { RosterError } from '../../core/errors.ts';
import type { ByteString } from '../../core/util/bytes.ts';
import type { KvCall } from './kv-call.ts';
import type { Rpcs } from './rpcs.ts';

/** The upper 16 bits of the IDs: a positive number of 63 bits. */
const MARK = 0x4b56n;
const RANDOM_BITS = 48n;
/** Chances that random IDs collide this often in a row are nil; then something else is wrong. */
const GRANT_TRIES_MAX = 8;

/** After these nobody knows whether the put has happened or will: its lease may hold the key, and runs out by itself. */
const UNDECIDED: ReadonlySet<string> = new Set([
  'Timeout',
  'TimeoutDueToLeaderFail',
  'TimeoutDueToConnectionLost',
  'LeaderChanged',
  'Stopped',
  'Canceled',
]);

/** What this member knows of leases. */
export interface LeasesHere {
  leaseOf(key: ByteString): bigint;
  keysOf(lease: bigint): Iterable<ByteString>;
}

export function isTtlLease(id: bigint): boolean {
  return id >> RANDOM_BITS === MARK;
}

export class TtlLeases {
  readonly #rpcs: Rpcs;
  readonly #here: () => LeasesHere;

  constructor(rpcs: Rpcs, here: () => LeasesHere) {
    this.#rpcs = rpcs;
    this.#here = here;
  }

  /** `run` with a new lease, which is revoked when `run` fails for sure. */
  async granted<T>(call: KvCall, ttlSeconds: number, run: (id: bigint, ttlSeconds: number) => Promise<T>): Promise<T> {
    const { ID, TTL } = await this.#grant(call, ttlSeconds);
    try {
      return await run(ID, Number(TTL));
    } catch (error) {
      if (error instanceof RosterError && !UNDECIDED.has(error.code)) await this.#revoke(call, ID);
      throw error;
    }
  }

  /** `change`, a put or delete of `key`; then the lease that an earlier put gave it goes, unless it holds another key. */
  async replacing<T>(call: KvCall, key: ByteString, change: () => Promise<T>): Promise<T> {
    const before = this.#here().leaseOf(key);
    const result = await change();
    if (isTtlLease(before) && this.#isEmpty(before)) await this.#revoke(call, before);
    return result;
  }

  #isEmpty(lease: bigint): boolean {
    for (const _key of this.#here().keysOf(lease)) return false;
    return true;
  }

  async #grant(call: KvCall, ttlSeconds: number): Promise<{ ID: bigint; TTL: bigint | number }> {
    for (let tries = 1; ; tries++) {
      const ID = (MARK << RANDOM_BITS) | BigInt(randomBytes(6).readUIntBE(0, 6));
      try {
        return await this.#rpcs.grant(call, { ID, TTL: BigInt(ttlSeconds) });
      } catch (error) {
        const taken = error instanceof RosterError && error.code === 'LeaseExist';
        if (!taken || tries === GRANT_TRIES_MAX) throw error;
      }
    }
  }

  /** What it is wanted for has been done or refused: a lease that stays runs out. */
  async #revoke(call: KvCall, id: bigint): Promise<void> {
    await this.#rpcs.revoke(call, id).catch((error: unknown) => {
      if (!(error instanceof RosterError)) throw error;
    });
  }
}
