/**
 * Standing in line: each who waits has a key of its own, `<prefix><lease id in hex>`, and whose key was created first
 * is served. Locks and elections stand on it, with the layout of etcd's own `concurrency` package: Go clients,
 * `etcdctl lock` and `etcdctl elect` stand in the same line. Owns no lease and no policy.
 */
import { GrpcStatus, otherError, RosterError, rosterError } from '../../core/errors.ts';
import { EventType, type KeyValue, SortOrder, SortTarget } from '../../core/wire/messages.ts';
import type { CallOptions, EtcdClient, KeptLease } from '../api.ts';
import { prefixRange } from '../key.ts';
import { Backoff, sleep } from '../wait.ts';
import { absent, get, pairAt, put } from './ops.ts';

/** A place in a line. */
export interface Place {
  readonly key: string;
  /** When it was taken: the number that grows from holder to holder, for fencing. */
  readonly revision: number;
}

/** The key of whoever holds `lease` in the line under `prefix`. */
export function placeKey(prefix: string, lease: KeptLease): string {
  return `${prefix}${lease.id.toString(16)}`;
}

/** Takes a place, or finds the one already taken with this lease. Asks again until there is an answer, or `signal` fires. */
export async function takePlace(
  client: EtcdClient,
  prefix: string,
  lease: KeptLease,
  value: Uint8Array,
  signal: AbortSignal,
): Promise<Place> {
  const key = placeKey(prefix, lease);
  // The key says whether an attempt whose answer was lost has been done: trying again is safe.
  const response = await untilAnswered(signal, () =>
    client.txn({ compare: [absent(key)], success: [put(key, value, lease.id)], failure: [get(key)] }, { signal }),
  );
  const revision = response.succeeded ? response.header!.revision : pairAt(response, 0)!.create_revision;
  return { key, revision };
}

/**
 * Resolves when nobody is before `place`. Watches only the one right before it: a line of a thousand wakes one at a
 * time. Rejects with LeaseNotFound when the place itself is gone by then, and with the reason of `signal`.
 */
export async function untilFirst(client: EtcdClient, prefix: string, place: Place, signal: AbortSignal): Promise<void> {
  for (;;) {
    const { kvs, header } = await untilAnswered(signal, () =>
      client.range(
        {
          ...prefixRange(prefix),
          limit: 1,
          max_create_revision: place.revision - 1,
          sort_order: SortOrder.values.DESCEND,
          sort_target: SortTarget.values.CREATE,
        },
        { signal },
      ),
    );
    const before = kvs[0];
    if (before === undefined) break;
    await untilDeleted(client, Buffer.from(before.key, 'latin1'), header!.revision + 1, signal);
  }
  const own = await untilAnswered(signal, () => client.get(place.key, { signal }));
  if (own?.create_revision !== place.revision) throw rosterError('LeaseNotFound');
}

/** Whose turn it is under `prefix`, if anybody's, at the revision given with it. */
export async function firstInLine(
  client: EtcdClient,
  prefix: string,
  options?: CallOptions,
): Promise<{ first: KeyValue | undefined; revision: number }> {
  const order = { sort_order: SortOrder.values.ASCEND, sort_target: SortTarget.values.CREATE };
  const { kvs, header } = await client.range({ ...prefixRange(prefix), limit: 1, ...order }, options);
  return { first: kvs[0], revision: header!.revision };
}

/** Resolves when `key` has been deleted at `fromRevision` or later, or history no longer tells. */
export async function untilDeleted(
  client: EtcdClient,
  key: string | Uint8Array,
  fromRevision: number,
  signal: AbortSignal,
): Promise<void> {
  for await (const item of client.watch(key, { start_revision: fromRevision, signal })) {
    if (item.kind === 'compacted') return;
    if (item.kind === 'events' && item.events.some(({ type }) => type === EventType.values.DELETE)) return;
  }
  throw reasonOf(signal);
}

/** Calls again while the answer is that nobody can answer now. For calls that may be done twice. */
export async function untilAnswered<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  const backoff = new Backoff();
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (signal.aborted) throw reasonOf(signal);
      if (!(error instanceof RosterError) || !mayPass(error)) throw error;
      await sleep(backoff.next(), signal);
    }
  }
}

function mayPass({ status }: RosterError): boolean {
  return status === GrpcStatus.UNAVAILABLE || status === GrpcStatus.DEADLINE_EXCEEDED;
}

/** What a wait that `signal` has ended rejects with. */
export function reasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : otherError(GrpcStatus.CANCELLED, 'the wait was given up');
}

/** Fires when the lease is lost or the caller gives up. */
export function whileKept(lease: KeptLease, options: CallOptions | undefined): AbortSignal {
  return options?.signal === undefined ? lease.lost : AbortSignal.any([lease.lost, options.signal]);
}
