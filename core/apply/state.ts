/**
 * What one backend holds and what is made of it in memory: all of the state but the watches, so that a received state can
 * be made ready beside the one in force and then take its place whole. Owns the order in which it is read.
 */
import { AuthStore } from '../auth/auth-store.ts';
import { GrpcStatus, otherError, RosterError } from '../errors.ts';
import type { Lessor } from '../lease/lessor.ts';
import { Membership } from '../membership/membership.ts';
import type { Backend } from '../mvcc/backend.ts';
import type { MvccStore } from '../mvcc/store.ts';
import { Alarms } from './alarms.ts';
import { type Applied, readApplied } from './applied.ts';
import { readSnapshotMark, type SnapshotMark } from './snapshot-mark.ts';

export interface State {
  readonly backend: Backend;
  readonly store: MvccStore;
  readonly lessor: Lessor;
}

/** Makes what belongs to `backend`; if that is not empty, {@link restoreState} must be run to its end before it is used. */
export type OpenState = (backend: Backend) => State;

/** Where the state that a backend held stands in the log. */
export interface RestoredState {
  readonly applied: Applied;
  /** The log may not have followed this state yet: it came as a snapshot. */
  readonly pending: SnapshotMark | undefined;
}

/**
 * Reads the state from its backend, some milliseconds' worth per step; yields how many rows it has read of what it is
 * reading. Throws a RosterError DATA_LOSS when what is there contradicts itself.
 */
export function* restoreState(state: State): Generator<number, RestoredState> {
  try {
    return yield* restoreAll(state);
  } catch (error) {
    if (!(error instanceof RosterError) || error.status === GrpcStatus.DATA_LOSS) throw error;
    throw damaged(error.message, error);
  }
}

function* restoreAll({ backend, lessor, store }: State): Generator<number, RestoredState> {
  // Keys are attached to leases that must exist by then.
  yield* lessor.restore();
  yield* store.restore();
  // Read again when the state is in force; damage must show before that.
  new Membership(backend).restore();
  new AuthStore(backend).restore();
  new Alarms(backend).restore();
  const applied = readApplied(backend);
  const pending = readSnapshotMark(backend);
  if (applied.index === 0 && store.revision > 1) throw damaged('it holds revisions, but not up to which entry');
  if (pending !== undefined && (pending.index !== applied.index || pending.term !== applied.term)) {
    throw damaged(`it came as a snapshot of entry ${pending.index}, but ends with entry ${applied.index}`);
  }
  return { applied, pending };
}

function damaged(how: string, cause?: Error): RosterError {
  return otherError(GrpcStatus.DATA_LOSS, `the store is damaged: ${how}`, cause === undefined ? {} : { cause });
}
