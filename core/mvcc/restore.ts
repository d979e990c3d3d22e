/**
 * Start-up: builds the index from the rows of the backend, in slices. Owns nothing afterwards. A store whose rows
 * contradict each other is refused, never guessed at.
 */
import { GrpcStatus, otherError } from '../errors.ts';
import type { ByteString } from '../util/bytes.ts';
import { decode } from '../wire/binary.ts';
import { KeyValue } from '../wire/messages.ts';
import type { Backend } from './backend.ts';
import type { KeySpace } from './key-space.ts';
import type { KeyLeases } from './kv-store.ts';
import { keyOfPair } from './pairs.ts';
import { isTombstoneKey, parseRevision } from './revision.ts';

/** Rows read, or leases attached, between two yields: some milliseconds. */
export const RESTORE_SLICE_ROWS = 500;

/**
 * Fills `space` and tells `leases` what is attached. Yields the number of rows read so far, after each slice; returns
 * the main revision of the newest row, 0 when there is none. Throws a RosterError when the rows contradict each other.
 */
export function* restoreIndex(backend: Backend, space: KeySpace, leases: KeyLeases): Generator<number, number> {
  const leaseOf = new Map<ByteString, bigint>();
  let newest = 0;
  let rows = 0;
  let from = '';
  for (;;) {
    let left = RESTORE_SLICE_ROWS;
    let lastKey: ByteString | undefined;
    backend.scan('key', from, undefined, (rowKey, value) => {
      newest = restoreRow(space, leaseOf, rowKey, value);
      lastKey = rowKey;
      return --left > 0;
    });
    rows += RESTORE_SLICE_ROWS - left;
    if (lastKey !== undefined) yield rows;
    if (left > 0 || lastKey === undefined) break;
    from = `${lastKey}\0`;
  }
  let attached = 0;
  for (const [key, lease] of leaseOf) {
    leases.attach(lease, key);
    if (++attached % RESTORE_SLICE_ROWS === 0) yield rows;
  }
  return newest;
}

/** Takes one row into the index and returns its main revision. */
function restoreRow(space: KeySpace, leaseOf: Map<ByteString, bigint>, rowKey: ByteString, value: Uint8Array): number {
  const at = parseRevision(rowKey);
  if (isTombstoneKey(rowKey)) {
    const key = keyOfPair(value);
    space.restoreTombstone(key, at);
    leaseOf.delete(key);
    const entry = space.any(key);
    if (entry !== undefined) entry.leased = false;
    return at.main;
  }
  const { key, create_revision, mod_revision, version, lease } = decode(KeyValue, value);
  if (mod_revision !== at.main || !space.restorePut(key, at, create_revision, version)) {
    throw otherError(
      GrpcStatus.DATA_LOSS,
      `the store is damaged: the pair at revision ${at.main} does not belong there`,
    );
  }
  // Deleted first, so that the order of attachment is the order of the newest puts.
  leaseOf.delete(key);
  if (lease !== 0n) leaseOf.set(key, lease);
  space.any(key)!.leased = lease !== 0n;
  return at.main;
}
