/**
 * A distributed lock: who holds it has the oldest key under `<name>/`, and loses it with its lease. Compatible with
 * `etcdctl lock`, etcd's Go package `concurrency` and the v3lock service.
 */
import type { CallOptions, EtcdClient } from '../api.ts';
import { firstInLine, takePlace, untilAnswered, untilFirst, whileKept } from './line.ts';

export interface LockOptions extends CallOptions {
  /** After so many seconds without a sign of life the lock goes to the next. Default 10. */
  ttlSeconds?: number;
}

/** A lock that is held. */
export interface HeldLock {
  /** The key that stands for it. A transaction that compares its create revision with `revision` is done only while it is held. */
  readonly key: string;
  /** Grows from holder to holder: what is guarded should refuse a smaller one than it has seen (fencing token). */
  readonly revision: number;
  /** Fires when the lock is lost: its lease ran out, or was revoked. Stop what needs it. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

export const LOCK_TTL_SECONDS = 10;

/** Waits until the lock is held. Rejects with the reason of `signal`, and leaves no place in the line then. */
export async function acquireLock(client: EtcdClient, name: string, options: LockOptions = {}): Promise<HeldLock> {
  const prefix = `${name}/`;
  const lease = await client.keepLease(options.ttlSeconds ?? LOCK_TTL_SECONDS, options);
  const signal = whileKept(lease, options);
  try {
    const place = await takePlace(client, prefix, lease, new Uint8Array(0), signal);
    await untilFirst(client, prefix, place, signal);
    return { ...place, lost: lease.lost, release: () => lease.revoke() };
  } catch (error) {
    await lease.revoke().catch(() => {
      // The server is out of reach: the place goes when the lease runs out.
    });
    throw error;
  }
}

/** The lock if nobody holds it or waits for it, else `undefined`, at once. */
export async function tryLock(
  client: EtcdClient,
  name: string,
  options: LockOptions = {},
): Promise<HeldLock | undefined> {
  const prefix = `${name}/`;
  const lease = await client.keepLease(options.ttlSeconds ?? LOCK_TTL_SECONDS, options);
  const signal = whileKept(lease, options);
  let held = false;
  try {
    const place = await takePlace(client, prefix, lease, new Uint8Array(0), signal);
    const { first } = await untilAnswered(signal, () => firstInLine(client, prefix, { signal }));
    held = first?.create_revision === place.revision;
    return held ? { ...place, lost: lease.lost, release: () => lease.revoke() } : undefined;
  } finally {
    if (!held) await lease.revoke().catch(() => {});
  }
}

/** Runs `work` while the lock is held. Its signal fires when the lock is lost, or the caller's does. */
export async function withLock<T>(
  client: EtcdClient,
  name: string,
  work: (lock: HeldLock, signal: AbortSignal) => Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  const lock = await acquireLock(client, name, options);
  const signal = options.signal === undefined ? lock.lost : AbortSignal.any([lock.lost, options.signal]);
  try {
    return await work(lock, signal);
  } finally {
    await lock.release();
  }
}
