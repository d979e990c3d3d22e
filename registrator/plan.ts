/**
 * The difference between what the roster should hold and what it holds, and the transactions that close it. Pure: owns
 * which keys this agent may touch (those on a lease of its own), and never reads or writes the store.
 */
import { utf8ToByteString } from '../core/util/bytes.ts';
import {
  type Compare,
  CompareResult,
  CompareTarget,
  type RangeRequest,
  type RequestOp,
  SortOrder,
  SortTarget,
  type TxnRequest,
} from '../core/wire/messages.ts';

/** Operations in one transaction: below etcd's --max-txn-ops (128), from whose rest a nested transaction is paid. */
export const TXN_OPS_MAX = 100;

/** Lost leases that are remembered, so that keys still on them count as ours. */
export const OWN_LEASES_MAX = 32;

/** The leases of this agent: the present one and the last that were lost. */
export class OwnLeases {
  readonly #ids = new Set<bigint>();

  add(id: bigint): void {
    this.#ids.add(id);
    const [oldest] = this.#ids;
    if (this.#ids.size > OWN_LEASES_MAX) this.#ids.delete(oldest!);
  }

  has(id: bigint): boolean {
    return this.#ids.has(id);
  }
}

/** What is known of one key in the store. */
export interface StoredPair {
  /** `undefined`: a write was sent and its fate is unknown. */
  readonly value: string | undefined;
  readonly lease: bigint;
  /** Another agent has taken the key over: left alone until it lets go. */
  readonly yielded: boolean;
}

export type Write =
  | { readonly kind: 'put'; readonly key: string; readonly value: string }
  /** Only if the key is still on `lease`. */
  | { readonly kind: 'delete'; readonly key: string; readonly lease: bigint }
  /** Only if nobody has written the key since `modRevision`. */
  | { readonly kind: 'sweep'; readonly key: string; readonly modRevision: number };

/**
 * The writes that turn `stored` into `desired` on `lease`; none when nothing differs. Deletes come first. A key is
 * deleted only when it hangs on a lease in `own`.
 */
export function planWrites(
  desired: ReadonlyMap<string, string>,
  stored: ReadonlyMap<string, StoredPair>,
  lease: bigint,
  own: Pick<OwnLeases, 'has'>,
): Write[] {
  const writes: Write[] = [];
  for (const [key, pair] of stored) {
    if (!desired.has(key) && own.has(pair.lease)) writes.push({ kind: 'delete', key, lease: pair.lease });
  }
  for (const [key, value] of desired) {
    const pair = stored.get(key);
    if (pair?.yielded) continue;
    if (pair === undefined || pair.value !== value || pair.lease !== lease) writes.push({ kind: 'put', key, value });
  }
  return writes;
}

export function batches<T>(items: readonly T[], size = TXN_OPS_MAX): T[][] {
  const result: T[][] = [];
  for (let at = 0; at < items.length; at += size) result.push(items.slice(at, at + size));
  return result;
}

/** One transaction for at most {@link TXN_OPS_MAX} writes; each guarded write carries its own condition. */
export function writeTxn(writes: readonly Write[], lease: bigint): TxnRequest {
  return { compare: [], success: writes.map((write) => writeOp(write, lease)), failure: [] };
}

function writeOp(write: Write, lease: bigint): RequestOp {
  const key = utf8ToByteString(write.key);
  if (write.kind === 'put') {
    const value = new TextEncoder().encode(write.value);
    return { request_put: { key, value, lease, prev_kv: false, ignore_value: false, ignore_lease: false } };
  }
  const guard: Compare =
    write.kind === 'delete'
      ? {
          result: CompareResult.values.EQUAL,
          target: CompareTarget.values.LEASE,
          key,
          range_end: '',
          lease: write.lease,
        }
      : {
          result: CompareResult.values.EQUAL,
          target: CompareTarget.values.MOD,
          key,
          range_end: '',
          mod_revision: write.modRevision,
        };
  return {
    request_txn: {
      compare: [guard],
      success: [{ request_delete_range: { key, range_end: '', prev_kv: false } }],
      failure: [],
    },
  };
}

/** One transaction that reads at most {@link TXN_OPS_MAX} single keys at one revision, in order. */
export function readTxn(keys: readonly string[]): TxnRequest {
  return {
    compare: [],
    success: keys.map((key) => ({ request_range: singleKeyRange(utf8ToByteString(key)) })),
    failure: [],
  };
}

function singleKeyRange(key: string): RangeRequest {
  return {
    key,
    range_end: '',
    limit: 0,
    revision: 0,
    sort_order: SortOrder.values.NONE,
    sort_target: SortTarget.values.KEY,
    serializable: false,
    keys_only: false,
    count_only: false,
    min_mod_revision: 0,
    max_mod_revision: 0,
    min_create_revision: 0,
    max_create_revision: 0,
  };
}
