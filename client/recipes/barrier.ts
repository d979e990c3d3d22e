/**
 * Barriers: a gate that somebody holds shut until all may go on, and a meeting of a known number that begins and ends
 * together. Keys of those who meet hang on their leases: one that dies does not hold up the others for ever.
 */
import type { CallOptions, EtcdClient, KeptLease } from '../api.ts';
import { prefixRange } from '../key.ts';
import { reasonOf, untilAnswered, untilDeleted, whileKept } from './line.ts';
import { absent, put } from './ops.ts';

/** Shut while its key exists. */
export class Gate {
  readonly #client: EtcdClient;
  readonly #key: string;

  constructor(client: EtcdClient, name: string) {
    this.#client = client;
    this.#key = name;
  }

  /** Shuts it, for all who come from now on; shut already is as good. */
  async shut(options?: CallOptions): Promise<void> {
    await this.#client.txn({ compare: [absent(this.#key)], success: [put(this.#key)] }, options);
  }

  /** Lets everybody go on. */
  async open(options?: CallOptions): Promise<void> {
    await this.#client.delete(this.#key, options);
  }

  /** Resolves when it is open, at once if it is. */
  async pass(options: CallOptions = {}): Promise<void> {
    const signal = options.signal ?? new AbortController().signal;
    for (;;) {
      const { kvs, header } = await untilAnswered(signal, () =>
        this.#client.range({ key: prefixRange(this.#key).key }, options),
      );
      if (kvs.length === 0) return;
      await untilDeleted(this.#client, this.#key, header!.revision + 1, signal);
    }
  }
}

export interface MeetingOptions extends CallOptions {
  /** After so many seconds without a sign of life a participant counts as gone. Default 10. */
  ttlSeconds?: number;
}

/** Somebody who has entered. */
export interface Participant {
  /** Fires when its lease is lost: to the others it has left. */
  readonly lost: AbortSignal;
  /** Resolves when all have left. */
  leave(options?: CallOptions): Promise<void>;
}

export const MEETING_TTL_SECONDS = 10;

/**
 * Enters the meeting `name` of `size` participants; resolves when all are there. Once it is full everybody may go on,
 * even if one of them has left again before the others saw it. A name is for one meeting.
 */
export async function meet(
  client: EtcdClient,
  name: string,
  size: number,
  options: MeetingOptions = {},
): Promise<Participant> {
  const waiting = `${name}/waiting/`;
  const full = `${name}/full`;
  const lease = await client.keepLease(options.ttlSeconds ?? MEETING_TTL_SECONDS, options);
  const signal = whileKept(lease, options);
  const own = `${waiting}${lease.id.toString(16)}`;
  try {
    await untilAnswered(signal, () => client.put(own, '', { lease: lease.id, signal }));
    await untilFull(client, { waiting, full, size }, signal);
    return { lost: lease.lost, leave: (call) => leave(client, lease, waiting, full, call) };
  } catch (error) {
    await lease.revoke().catch(() => {
      // Out of reach: the key goes when the lease runs out.
    });
    throw error;
  }
}

async function untilFull(
  client: EtcdClient,
  { waiting, full, size }: { waiting: string; full: string; size: number },
  signal: AbortSignal,
): Promise<void> {
  const { kvs: present } = await untilAnswered(signal, () => client.getPrefix(waiting, { signal }));
  // Whoever comes last says so, for those who look when somebody has gone already.
  if (present.length >= size) {
    await untilAnswered(signal, () => client.put(full, '', { signal }));
    return;
  }
  const { kvs, header } = await untilAnswered(signal, () => client.range({ key: prefixRange(full).key }, { signal }));
  if (kvs.length > 0) return;
  for await (const item of client.watch(full, { start_revision: header!.revision + 1, signal })) {
    if (item.kind !== 'progress') return;
  }
  throw reasonOf(signal);
}

async function leave(
  client: EtcdClient,
  lease: KeptLease,
  waiting: string,
  full: string,
  options: CallOptions = {},
): Promise<void> {
  const signal = options.signal ?? new AbortController().signal;
  await lease.revoke(options);
  for (;;) {
    const { kvs, revision } = await untilAnswered(signal, () => client.getPrefix(waiting, options));
    const last = kvs.at(-1);
    if (last === undefined) break;
    await untilDeleted(client, Buffer.from(last.key, 'latin1'), revision + 1, signal);
  }
  await client.delete(full, options);
}
