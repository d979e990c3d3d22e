/**
 * What becomes of a damaged log in a cluster: its files are set aside under other names, for whoever wants to look, and
 * a new log begins after what the database holds, marked as one to be refilled from the other members. Never decides
 * whether that may be done: the damage must be refillable (verdict.ts) and a majority left without this member (Raft's
 * canRefill). In a cluster of one it would be the silent loss that recovery exists to prevent.
 */
import { assert } from '../util/assert.ts';
import type { HardState } from '../wire/stored.ts';
import type { Done, LogDisk } from './disk.ts';
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  FIRST_CHAIN,
  FORMAT_VERSION,
  FrameKind,
  frameSeed,
  SEGMENT_HEADER_BYTES,
  segmentName,
  segmentNumber,
  type WalIdentity,
} from './format.ts';
import { Frame } from './frame.ts';
import { inOrder, sizeOf } from './open.ts';
import type { WalOptions } from './wal.ts';

/** Damaged logs kept; older ones are removed. */
export const DAMAGED_LOGS_MAX = 2;

const SET_ASIDE = /^[0-9a-f]{13}\.wal\.damaged-([0-9]+)$/;

export interface NewLog {
  /** The same cluster and member; `nonce` is new, random and not 0n. */
  readonly identity: WalIdentity;
  /** What the database holds: the last entry applied, and its term; 0 and 0 for nothing. */
  readonly index: number;
  readonly term: number;
}

/** Whose log it is, by the first header that can be read; `undefined` when there is none. */
export function readIdentity(disk: LogDisk): WalIdentity | undefined {
  for (const name of disk.list()) {
    if (segmentNumber(name) === undefined) continue;
    const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
    const header = disk.read(name, 0, bytes) === bytes.length ? decodeSegmentHeader(bytes, disk.crc32) : undefined;
    if (header !== undefined) return header.identity;
  }
  return undefined;
}

/**
 * Puts a log to be refilled in the place of the damaged one. When `done` is called without an error, `recover` finds it:
 * empty, after entry `index` of `term`, with a hard state that says `refilling`. A crash in between leaves the damaged
 * log, or a part of it before a gap, which is damaged too: then it is done again. `suffix`: what the names of the old
 * files end with now. Fails with NoSpace when there is no room for a segment; nothing has changed then.
 */
export function setAside(
  disk: LogDisk,
  log: NewLog,
  options: Pick<WalOptions, 'segmentBytes'>,
  done: (error: Error | undefined, suffix: string) => void,
): void {
  assert(log.identity.nonce !== 0n, 'log: a log to be refilled needs a number');
  const names = disk.list();
  const numbers = names.map(segmentNumber).filter((number) => number !== undefined);
  const set = 1 + Math.max(0, ...names.map(setOf));
  const suffix = `.damaged-${set}`;
  // The gap before the new segment keeps what is left of the old ones from passing for a log of their own.
  const number = numbers.length === 0 ? 1 : Math.max(...numbers) + 2;
  const sizeBytes = sizeOf(options);
  const outdated = names.filter((name) => setOf(name) > 0 && setOf(name) <= set - DAMAGED_LOGS_MAX);
  const steps = [
    (next: Done) => disk.create(segmentName(number), sizeBytes, firstSegment(disk, log, number, sizeBytes), next),
    ...numbers.map(segmentName).map((name) => (next: Done) => disk.rename(name, name + suffix, next)),
    ...outdated.map((name) => (next: Done) => disk.remove(name, next)),
  ];
  inOrder(steps, (error) => done(error, suffix));
}

/** Which damaged log the file was part of; 0 for other files. */
function setOf(name: string): number {
  return Number(SET_ASIDE.exec(name)?.[1] ?? 0);
}

function* firstSegment(disk: LogDisk, log: NewLog, number: number, sizeBytes: number): Generator<Uint8Array> {
  const { identity, index, term } = log;
  yield encodeSegmentHeader({ version: FORMAT_VERSION, number, sizeBytes, identity }, disk.crc32);
  const hardState: HardState = { term, vote: 0n, commit: index, refilling: identity.nonce };
  const seed = frameSeed(identity, disk.crc32);
  const reset = new Frame(hardState);
  reset.begin(hardState, index, term);
  reset.kind = FrameKind.RESET;
  const { bytes, crc } = reset.finish({ segment: number, sequence: 1, chain: FIRST_CHAIN }, seed, disk.crc32);
  yield bytes;
  // All of it is durable at once: nothing to doubt at the next start.
  const seal = new Frame(hardState);
  seal.begin(hardState, index, term);
  seal.kind = FrameKind.SEAL;
  yield seal.finish({ segment: number, sequence: 2, chain: crc }, seed, disk.crc32).bytes;
}
