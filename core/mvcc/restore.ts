/**
 * Start-up: builds the index from the rows of the backend, in slices. Owns nothing afterwards. A store whose rows
 * contradict each other is refused, never guessed at.
 */
import { GrpcStatus, otherError, RosterError } from '../errors.ts';
import { type ByteString, toByteString } from '../util/bytes.ts';
import type { Backend, LentRow } from './backend.ts';
import type { KeyIndex } from './key-index.ts';
import type { KeySpace } from './key-space.ts';
import type { KeyLeases } from './kv-store.ts';
import { type PairHead, pairHead } from './pairs.ts';
import { REVISION_BYTES, type Revision, revisionIn } from './revision.ts';

/** Rows read, or leases attached, between two yields: some milliseconds. */
export const RESTORE_SLICE_ROWS = 500;

/**
 * Fills `space` and tells `leases` what is attached. Yields the number of rows read so far, after each slice; returns
 * the main revision of the newest row, 0 when there is none. Throws a RosterError when the rows contradict each other.
 */
export function* restoreIndex(backend: Backend, space: KeySpace, leases: KeyLeases): Generator<number, number> {
  const restoring = new Restoring(space);
  let rows = 0;
  let from = '';
  for (;;) {
    let left = RESTORE_SLICE_ROWS;
    let lastKey: ByteString | undefined;
    backend.scanLent('key', from, undefined, (row) => {
      restoring.row(row);
      if (--left > 0) return true;
      lastKey = toByteString(row.keyBytes, row.keyStart, row.keyEnd);
      return false;
    });
    rows += RESTORE_SLICE_ROWS - left;
    yield rows;
    if (lastKey === undefined) break;
    from = `${lastKey}\0`;
  }
  let attached = 0;
  for (const [key, lease] of restoring.leaseOf) {
    if (!leases.has(lease)) throw damaged('a key hangs on a lease that does not exist');
    leases.attach(lease, key);
    if (++attached % RESTORE_SLICE_ROWS === 0) yield rows;
  }
  return restoring.last.main;
}

class Restoring {
  /** Of living keys; the order is that of the newest puts. */
  readonly leaseOf = new Map<ByteString, bigint>();
  /** Of the row read last. */
  last: Revision = { main: 0, sub: 0 };
  readonly #space: KeySpace;

  constructor(space: KeySpace) {
    this.#space = space;
  }

  /** Takes one row into the index. */
  row({ keyBytes, keyStart, keyEnd, valueBytes, valueEnd }: LentRow): void {
    const at = revisionIn(keyBytes, keyStart, keyEnd);
    if (at === undefined) throw damaged('a pair lies where no revision is');
    // Put and delete are two rows, but the same revision is not given twice.
    if (at.main === this.last.main && at.sub === this.last.sub) throw damaged(`revision ${at.main} is there twice`);
    this.last = at;
    const head = headOf(valueBytes, valueEnd, at);
    const keyLength = keyEnd - keyStart;
    const bytes = keyLength + valueEnd;
    if (keyLength > REVISION_BYTES) this.#lease(this.#space.restoreTombstone(head.key, at, bytes), 0n);
    else this.#put(head, at, bytes);
  }

  #put({ key, created, modified, version, lease }: PairHead, at: Revision, bytes: number): void {
    const entry = modified === at.main ? this.#space.restorePut(key, at, created, version, bytes) : undefined;
    if (entry === undefined) throw damaged(`the pair at revision ${at.main} does not belong there`);
    this.#lease(entry, lease);
  }

  #lease(entry: KeyIndex, lease: bigint): void {
    // Deleted first, so that the order of attachment is the order of the newest puts.
    if (entry.leased) this.leaseOf.delete(entry.key);
    entry.leased = lease !== 0n;
    if (entry.leased) this.leaseOf.set(entry.key, lease);
  }
}

function headOf(value: Uint8Array, end: number, { main }: Revision): PairHead {
  try {
    return pairHead(value, end);
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    throw damaged(`the pair at revision ${main} cannot be read`);
  }
}

function damaged(what: string): RosterError {
  return otherError(GrpcStatus.DATA_LOSS, `the store is damaged: ${what}`);
}
