/** What the start may find wrong with a log, as a value: where, why, and a sentence for the operator. */
import { GrpcStatus, RosterError } from '../errors.ts';

/**
 * - `damaged-record`: a record is unreadable although later ones, or the files around it, prove that it was durable
 * - `damaged-header`: the header of a segment is unreadable although the segment is in use
 * - `missing-segment`: a file between two others, or all of them, are gone
 * - `wrong-size`: a segment is not as long as it was made
 * - `unreadable`: the disk refused to read
 * - `foreign`: the log, or one file of it, belongs to another cluster or member
 * - `newer-version`: written by a newer Roster; the log is fine
 * - `inconsistent`: records whose checksums hold contradict each other
 * - `commit-beyond-log`: the hard state says that entries were committed which the log does not have
 * - `behind-database`: the database holds the effects of entries which the log does not have
 * - `gap-after-database`: the log begins later than the database ends
 */
export type DamageReason =
  | 'damaged-record'
  | 'damaged-header'
  | 'missing-segment'
  | 'wrong-size'
  | 'unreadable'
  | 'foreign'
  | 'newer-version'
  | 'inconsistent'
  | 'commit-beyond-log'
  | 'behind-database'
  | 'gap-after-database';

/** The log cannot be used as it is. Nothing has been changed on disk, and must not be: acknowledged entries may be in it. */
export interface LogDamage {
  readonly kind: 'damaged';
  readonly reason: DamageReason;
  /** File name of the segment; empty when the verdict is about the log as a whole. */
  readonly file: string;
  /** Byte in that file. */
  readonly offset: number;
  /** A sentence without a full stop. */
  readonly message: string;
}

/**
 * Whether the member may go on with a new log and fetch what was in this one from the others: the content is lost, not
 * merely out of reach (another version, another directory, a disk that may answer tomorrow). Whether there are others is
 * Raft's canRefill.
 */
export function isRefillable({ reason }: LogDamage): boolean {
  return reason !== 'foreign' && reason !== 'newer-version' && reason !== 'unreadable';
}

export function logDamage(reason: DamageReason, file: string, offset: number, message: string): LogDamage {
  return { kind: 'damaged', reason, file, offset, message };
}

/** The verdict as an error to stop with. */
export function damageError(damage: LogDamage): RosterError {
  return new RosterError('Corrupt', GrpcStatus.DATA_LOSS, `write-ahead log: ${damage.message}`);
}
