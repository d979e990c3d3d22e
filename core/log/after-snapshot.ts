/**
 * Start after a snapshot. A state that came as one is adopted first and the log reset to it second; a crash in between
 * leaves a log of before, which the mark in the state explains. Owns the decision whether such a log is reset, and the
 * reset; a log that contradicts the state is damaged, mark or not. Never touches the state.
 */
import type { HardState } from '../wire/stored.ts';
import type { LogDisk } from './disk.ts';
import { SEGMENT_HEADER_BYTES, segmentName } from './format.ts';
import { openWal } from './open.ts';
import { type EmptyLog, type Recovered, type RecoverOptions, type RecoverProgress, recover } from './recover.ts';
import { type LogDamage, logDamage } from './verdict.ts';
import type { Wal, WalOptions } from './wal.ts';

/** The last entry that a snapshot includes. */
export interface SnapshotPlace {
  readonly index: number;
  readonly term: number;
}

/** As `recover`, with what the start has to do besides. */
export interface RecoveredForState extends Recovered {
  /** {@link openForState} must drop the log, for the state has gone on without it. */
  readonly resetTo: SnapshotPlace | undefined;
}

/** What a node starts from (core/node's RecoveredLog). */
export interface LogStart {
  readonly hardState: HardState;
  readonly prevIndex: number;
  readonly prevTerm: number;
  readonly entries: Recovered['entries'];
}

/** A log that goes on, and what the node starts from. */
export interface OpenLog {
  readonly wal: Wal;
  readonly start: LogStart;
}

/**
 * Recovers the log of a state that ends with `options.appliedIndex`; `mark` is the machine's snapshotMark: the state came
 * as a snapshot and nobody knows whether the log has followed.
 */
export function* recoverForState(
  disk: LogDisk,
  options: RecoverOptions,
  mark: SnapshotPlace | undefined,
): Generator<RecoverProgress, EmptyLog | RecoveredForState | LogDamage> {
  if (mark === undefined) {
    const found = yield* recover(disk, options);
    return found.kind === 'recovered' ? { ...found, resetTo: undefined } : found;
  }
  const { appliedIndex: _reached, ...anyState } = options;
  const found = yield* recover(disk, anyState);
  if (found.kind === 'empty') {
    return logDamage('missing-segment', '', 0, 'there are no log files, but the database is not empty');
  }
  if (found.kind === 'damaged') return found;
  return checkAgainst(found, mark) ?? { ...found, resetTo: includes(found, mark) ? undefined : mark };
}

/** Opens what {@link recoverForState} has found. When `done` is called, the log has followed the state. */
export function openForState(
  disk: LogDisk,
  found: RecoveredForState,
  options: WalOptions,
  done: (error: Error | undefined, open?: OpenLog) => void,
): void {
  const { resetTo, hardState, prevIndex, prevTerm, entries } = found;
  openWal(disk, found, options, (error, wal) => {
    if (error !== undefined || wal === undefined) done(error);
    else if (resetTo === undefined) done(undefined, { wal, start: { hardState, prevIndex, prevTerm, entries } });
    else {
      const { index, term } = resetTo;
      const after = hardStateAfter(hardState, resetTo);
      wal.reset(index, term, after, (failure) => {
        const start = { hardState: after, prevIndex: index, prevTerm: term, entries: [] };
        if (failure !== undefined) done(failure);
        else done(undefined, { wal, start });
      });
    }
  });
}

/** The term of entry `index`, `undefined` when the log does not know it. */
function termOf({ prevIndex, prevTerm, entries }: Recovered, index: number): number | undefined {
  return index === prevIndex ? prevTerm : entries[index - prevIndex - 1]?.term;
}

/** Whether the log has the snapshot's last entry, so that everything before it is the same as well (Raft paper, 5.3). */
function includes(found: Recovered, mark: SnapshotPlace): boolean {
  return termOf(found, mark.index) === mark.term;
}

/** No crash during an installation leaves these: the mark is gone before the log is cut beyond it. */
function checkAgainst(found: Recovered, mark: SnapshotPlace): LogDamage | undefined {
  const file = segmentName(found.segments[0]!.number);
  if (found.prevIndex > mark.index) {
    const text = `the log begins after entry ${found.prevIndex}, but the database ends with entry ${mark.index}`;
    return logDamage('gap-after-database', file, SEGMENT_HEADER_BYTES, text);
  }
  const term = termOf(found, mark.index);
  if (mark.index <= found.hardState.commit && term !== mark.term) {
    const text = `entry ${mark.index} was committed with term ${term}, but the database has it with term ${mark.term}`;
    return logDamage('inconsistent', file, SEGMENT_HEADER_BYTES, text);
  }
  return undefined;
}

/** A vote holds for its term only; a term that the log had not heard of yet has seen no vote of this member. */
function hardStateAfter(before: HardState, { index, term }: SnapshotPlace): HardState {
  const vote = term > before.term ? 0n : before.vote;
  return { ...before, term: Math.max(before.term, term), vote, commit: index };
}
