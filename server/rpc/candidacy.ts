/**
 * What lock and election share: a key of one's own under a prefix, made once, and the wait until all that were made before
 * it are gone. Who has waited holds only if the key is still the one that was made: its lease may have run out meanwhile
 * (etcd #11456). Owns the undoing of what a caller who has gone has left.
 */
import { GrpcStatus, otherError, RosterError } from '../../core/errors.ts';
import { type ByteString, prefixEnd } from '../../core/util/bytes.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import type { InnerCalls, InnerWatch } from './inner-calls.ts';

/** Of a lease that is made for who brings none; nobody renews it (etcd: concurrency.defaultSessionTTL). */
export const SESSION_TTL_SECONDS = 60n;

const { CREATE } = m.SortTarget.values;
const { ASCEND, DESCEND } = m.SortOrder.values;

/** A key and the revision that made it. */
export interface Claim {
  readonly key: ByteString;
  readonly revision: number;
}

/** A lease of the caller's, or one that is made for it; then `own`, and to be revoked when nothing comes of it. */
export async function session(calls: InnerCalls, lease: bigint): Promise<{ lease: bigint; own: boolean }> {
  if (lease !== 0n) return { lease, own: false };
  return { lease: (await calls.grant(SESSION_TTL_SECONDS)).ID, own: true };
}

/** `<prefix><lease in hex>`, as Go prints a signed number. */
export function claimKey(prefix: ByteString, lease: bigint): ByteString {
  return `${prefix}${lease.toString(16)}`;
}

/** "The key has been made by `revision`", or, with 0, "there is none". */
export function madeAt(key: ByteString, revision: number): m.Compare {
  const target = m.CompareTarget.values.CREATE;
  return { ...defaults(m.Compare), key, target, create_revision: revision };
}

export const putOp = (key: ByteString, value: Uint8Array, lease: bigint): m.RequestOp => ({
  request_put: { ...defaults(m.PutRequest), key, value, lease },
});

export const getOp = (request: Partial<m.RangeRequest>): m.RequestOp => ({
  request_range: { ...defaults(m.RangeRequest), ...request },
});

export const deleteOp = (key: ByteString): m.RequestOp => ({
  request_delete_range: { ...defaults(m.DeleteRangeRequest), key },
});

/** What asks for the oldest key under a prefix. */
export function oldest(prefix: ByteString): Partial<m.RangeRequest> {
  return { key: prefix, range_end: prefixEnd(prefix), limit: 1, sort_target: CREATE, sort_order: ASCEND };
}

/** Deletes the key if it is still the one that was made. */
export function withdraw(calls: InnerCalls, { key, revision }: Claim): Promise<m.TxnResponse> {
  return calls.txn({ compare: [madeAt(key, revision)], success: [deleteOp(key)] });
}

/**
 * Waits until every key under `prefix` that is older than the claim is gone. False: the claim itself is gone, and with it
 * the place in the queue. Rejects when the caller has gone, or the wait is refused.
 */
export async function awaitTurn(calls: InnerCalls, prefix: ByteString, claim: Claim): Promise<boolean> {
  let own = new Deletion(calls, claim.key, claim.revision + 1);
  try {
    for (;;) {
      calls.check();
      const { kvs, header } = await calls.range({
        key: prefix,
        range_end: prefixEnd(prefix),
        limit: 1,
        max_create_revision: claim.revision - 1,
        sort_target: CREATE,
        sort_order: DESCEND,
      });
      const before = kvs[0];
      if (before !== undefined) await eitherGone(own, new Deletion(calls, before.key, header!.revision + 1));
      const { revision, kv } = await read(calls, claim.key);
      if (kv?.create_revision !== claim.revision) return false;
      if (before === undefined) return true;
      if (!own.fired) continue;
      // A compaction has ended the watch, and not the key.
      own.close();
      own = new Deletion(calls, claim.key, revision + 1);
    }
  } finally {
    own.close();
  }
}

/** Closes `other`. */
async function eitherGone(own: Deletion, other: Deletion): Promise<void> {
  try {
    await Promise.race([own.seen, other.seen]);
  } finally {
    other.close();
  }
}

async function read(calls: InnerCalls, key: ByteString): Promise<{ revision: number; kv: m.KeyValue | undefined }> {
  const { header, kvs } = await calls.range({ key });
  return { revision: header!.revision, kv: kvs[0] };
}

/** A watch for the end of one key. */
class Deletion {
  /** When the key may be gone. */
  readonly seen: Promise<void>;
  fired = false;
  readonly #watch: InnerWatch;

  constructor(calls: InnerCalls, key: ByteString, start_revision: number) {
    this.#watch = calls.watch({ key, start_revision, filters: [m.FilterType.values.NOPUT] });
    this.seen = this.#watch.next().then(() => {
      this.fired = true;
    });
    // Who stops waiting does not ask any more.
    this.seen.catch(ignoreRefusal);
  }

  close(): void {
    this.#watch.close();
  }
}

/** Undoes something, whatever comes of that: the lease will do it in the end. */
export async function undo(...steps: (() => Promise<unknown>)[]): Promise<void> {
  for (const step of steps) await step().catch(ignoreRefusal);
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof RosterError)) throw error;
}

/** An error that etcd's clients know by its text alone. */
export function plainError(text: string): RosterError {
  return otherError(GrpcStatus.UNKNOWN, text);
}
