/**
 * Leader election: the oldest key under `<name>/` leads, its value is what it proclaims. Compatible with
 * `etcdctl elect`, etcd's Go package `concurrency` and the v3election service.
 */
import { rosterError } from '../../core/errors.ts';
import { EventType, type KeyValue } from '../../core/wire/messages.ts';
import type { CallOptions, EtcdClient } from '../api.ts';
import { firstInLine, takePlace, untilAnswered, untilFirst, whileKept } from './line.ts';
import { created, put, valueBytes } from './ops.ts';

export interface CampaignOptions extends CallOptions {
  /** After so many seconds without a sign of life the next candidate leads. Default 10. */
  ttlSeconds?: number;
}

/** An office that is held. */
export interface Leadership {
  readonly key: string;
  /** Grows from leader to leader (fencing token). */
  readonly revision: number;
  /** Fires when the office is lost. */
  readonly lost: AbortSignal;
  /** Tells observers something new. Rejects with LeaseNotFound when it is not the leader any more. */
  proclaim(value: string | Uint8Array, options?: CallOptions): Promise<void>;
  /** The next candidate leads at once. */
  resign(options?: CallOptions): Promise<void>;
}

export const CAMPAIGN_TTL_SECONDS = 10;

/** Waits until elected. Rejects with the reason of `signal`, and is no candidate then. */
export async function campaign(
  client: EtcdClient,
  name: string,
  value: string | Uint8Array,
  options: CampaignOptions = {},
): Promise<Leadership> {
  const prefix = `${name}/`;
  const lease = await client.keepLease(options.ttlSeconds ?? CAMPAIGN_TTL_SECONDS, options);
  const signal = whileKept(lease, options);
  try {
    const { key, revision } = await takePlace(client, prefix, lease, valueBytes(value), signal);
    await untilFirst(client, prefix, { key, revision }, signal);
    return {
      key,
      revision,
      lost: lease.lost,
      proclaim: async (next, call) => {
        const still = { compare: [created(key, revision)], success: [put(key, valueBytes(next), lease.id)] };
        if (!(await client.txn(still, call)).succeeded) throw rosterError('LeaseNotFound');
      },
      resign: (call) => lease.revoke(call),
    };
  } catch (error) {
    await lease.revoke().catch(() => {
      // Out of reach: the candidature goes when the lease runs out.
    });
    throw error;
  }
}

/** The pair of whoever leads now, if anybody. */
export async function leaderOf(client: EtcdClient, name: string, options?: CallOptions): Promise<KeyValue | undefined> {
  return (await firstInLine(client, `${name}/`, options)).first;
}

/** Every leader from now on, and all it proclaims, in order; `undefined` while there is none. Ends with `signal`. */
export async function* observe(
  client: EtcdClient,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<KeyValue | undefined, void, void> {
  const prefix = `${name}/`;
  let told: { modRevision: number } | undefined;
  while (!signal.aborted) {
    const { first: leader, revision } = await untilAnswered(signal, () => firstInLine(client, prefix, { signal }));
    const modRevision = leader?.mod_revision ?? 0;
    if (told?.modRevision !== modRevision) {
      told = { modRevision };
      yield leader;
    }
    if (leader === undefined) {
      await untilCandidate(client, prefix, revision + 1, signal);
      continue;
    }
    const key = Buffer.from(leader.key, 'latin1');
    for await (const item of client.watch(key, { start_revision: revision + 1, signal })) {
      if (item.kind === 'compacted') break;
      if (item.kind !== 'events') continue;
      const { type, kv } = item.events.at(-1)!;
      if (type === EventType.values.DELETE) break;
      told = { modRevision: kv!.mod_revision };
      yield kv;
    }
  }
}

async function untilCandidate(
  client: EtcdClient,
  prefix: string,
  fromRevision: number,
  signal: AbortSignal,
): Promise<void> {
  for await (const item of client.watch(prefix, { prefix: true, start_revision: fromRevision, signal })) {
    if (item.kind === 'compacted') return;
    if (item.kind === 'events' && item.events.some(({ type }) => type === EventType.values.PUT)) return;
  }
}
