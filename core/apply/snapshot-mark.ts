/**
 * The mark in a state that came as a snapshot and that the log has not followed yet: a start that finds it resets the log
 * (core/log/after-snapshot.ts). In the `meta` bucket; durable in one step with the state, and never sent to others.
 */
import { GrpcStatus, otherError, RosterError } from '../errors.ts';
import type { Backend, BackendView } from '../mvcc/backend.ts';
import { Snapshot } from '../raft/messages.ts';
import type { ByteString } from '../util/bytes.ts';
import { decode, encode } from '../wire/binary.ts';

/** Its key in the bucket `meta`. */
export const SNAPSHOT_MARK: ByteString = 'snapshotPending';

/** The last entry that the snapshot includes. */
export interface SnapshotMark {
  readonly index: number;
  readonly term: number;
}

export function writeSnapshotMark(backend: Backend, { index, term }: SnapshotMark): void {
  backend.put('meta', SNAPSHOT_MARK, encode(Snapshot, { index, term }));
}

export function clearSnapshotMark(backend: Backend): void {
  backend.delete('meta', SNAPSHOT_MARK);
}

/** Throws a RosterError DATA_LOSS when there is one that cannot be read. */
export function readSnapshotMark(backend: Pick<BackendView, 'get'>): SnapshotMark | undefined {
  const bytes = backend.get('meta', SNAPSHOT_MARK);
  if (bytes === undefined) return undefined;
  try {
    const { index, term } = decode(Snapshot, bytes);
    return { index, term };
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    throw otherError(GrpcStatus.DATA_LOSS, `the store is damaged: its ${SNAPSHOT_MARK} is not one`, { cause: error });
  }
}
