/**
 * From what recovery found to a log that can be written: clears leftovers, and makes the end of the log certain. Never
 * decides what is damage; a damaged log does not get here.
 */
import { assert } from '../util/assert.ts';
import type { Done, LogDisk } from './disk.ts';
import {
  encodeSegmentHeader,
  FIRST_CHAIN,
  FORMAT_VERSION,
  FRAME_BYTES_MIN,
  FrameKind,
  frameSeed,
  SEGMENT_HEADER_BYTES,
  segmentName,
  type WalIdentity,
} from './format.ts';
import { Frame } from './frame.ts';
import type { EmptyLog, Recovered } from './recover.ts';
import { SCAN_SLICE_BYTES } from './scan.ts';
import type { Segment } from './segments.ts';
import { TermRuns } from './term-runs.ts';
import { SEGMENT_BYTES, Wal, type WalOptions, type WalStart } from './wal.ts';

/** Smallest segment that makes sense: a header, a little, a seal. */
export const SEGMENT_BYTES_MIN = 1024;

export type Opened = (error: Error | undefined, wal: Wal | undefined) => void;

/** Makes a new, empty log where recovery found none. */
export function createWal(
  disk: LogDisk,
  empty: EmptyLog,
  identity: WalIdentity,
  options: WalOptions,
  done: Opened,
): void {
  const segmentBytes = sizeOf(options);
  const header = { version: FORMAT_VERSION, number: 1, sizeBytes: segmentBytes, identity };
  const start: WalStart = {
    identity,
    segmentBytes,
    segments: [{ number: 1, sizeBytes: segmentBytes, indexMax: 0 }],
    offset: SEGMENT_HEADER_BYTES,
    spare: undefined,
    sequence: 1,
    chain: FIRST_CHAIN,
    hardState: { term: 0, vote: 0n, commit: 0 },
    terms: new TermRuns(0, 0),
  };
  const steps = [
    ...empty.leftovers.map((name) => (next: Done) => disk.remove(name, next)),
    (next: Done) => disk.create(segmentName(1), segmentBytes, [encodeSegmentHeader(header, disk.crc32)], next),
  ];
  inOrder(steps, (error) => {
    if (error !== undefined) done(error, undefined);
    else done(undefined, new Wal(disk, start, options));
  });
}

/**
 * Goes on with a recovered log. What recovery saw may be in the system's cache only: the process before may have been
 * killed in the middle of a change, or have died of a failed sync, after which the cache shows bytes that the disk does
 * not have and no later sync will write. So names, the spare's header and (unless the log was closed in order) the last
 * segment as far as it was verified are written anew before anything is built on them.
 */
export function openWal(disk: LogDisk, recovered: Recovered, options: WalOptions, done: Opened): void {
  const segmentBytes = sizeOf(options);
  const steps = [
    (next: Done) => disk.syncNames(next),
    ...recovered.leftovers.map((name) => (next: Done) => disk.remove(name, next)),
    (next: Done) => rewriteSpareHeader(disk, recovered, next),
  ];
  let { segments } = recovered;
  if (!recovered.tail.trusted) {
    const last = segments.at(-1)!;
    const sizeBytes = recovered.tail.offset + FRAME_BYTES_MIN;
    segments = [...segments.slice(0, -1), { ...last, sizeBytes }];
    steps.push((next) =>
      disk.create(segmentName(last.number), sizeBytes, copyOfTail(disk, recovered, sizeBytes), next),
    );
  }
  inOrder(steps, (error) => {
    if (error !== undefined) done(error, undefined);
    else done(undefined, new Wal(disk, startOf(recovered, segments, segmentBytes), options));
  });
}

function sizeOf(options: WalOptions): number {
  const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
  assert(segmentBytes >= SEGMENT_BYTES_MIN && segmentBytes % 8 === 0, `log: segments of ${segmentBytes} bytes`);
  return segmentBytes;
}

function startOf(recovered: Recovered, segments: readonly Segment[], segmentBytes: number): WalStart {
  const terms = new TermRuns(recovered.prevIndex, recovered.prevTerm);
  for (const entry of recovered.entries) terms.append(entry.index, entry.term);
  const { identity, spare, hardState, tail } = recovered;
  const { offset, sequence, chain } = tail;
  return { identity, segmentBytes, segments, offset, spare, sequence, chain, hardState, terms };
}

function inOrder(steps: readonly ((next: Done) => void)[], done: Done): void {
  const [step, ...rest] = steps;
  if (step === undefined) done();
  else step((error) => (error === undefined ? inOrder(rest, done) : done(error)));
}

function rewriteSpareHeader(disk: LogDisk, { spare, identity }: Recovered, next: Done): void {
  if (spare === undefined) {
    next();
    return;
  }
  const header = encodeSegmentHeader({ version: FORMAT_VERSION, ...spare, identity }, disk.crc32);
  disk.write(segmentName(spare.number), 0, header, { alone: false }, next);
}

/**
 * The last segment cut to its verified length, with a seal: the next append goes to a new file, which is usually ready,
 * so a start copies what is there and no zeros. The bytes are checked again, for the cache may have lost them since.
 */
function* copyOfTail(disk: LogDisk, recovered: Recovered, sizeBytes: number): Generator<Uint8Array> {
  const { identity, tail, hardState } = recovered;
  const { number } = recovered.segments.at(-1)!;
  const name = segmentName(number);
  yield encodeSegmentHeader({ version: FORMAT_VERSION, number, sizeBytes, identity }, disk.crc32);
  let crc = 0;
  for (let at = SEGMENT_HEADER_BYTES; at < tail.offset; at += SCAN_SLICE_BYTES) {
    const slice = new Uint8Array(Math.min(SCAN_SLICE_BYTES, tail.offset - at));
    disk.read(name, at, slice);
    crc = disk.crc32(slice, crc);
    yield slice;
  }
  if (crc !== tail.crc) throw new Error(`${name} has changed since it was read: the disk cannot be trusted`);
  const seal = new Frame(hardState);
  seal.begin(hardState, recovered.lastIndex, lastTermOf(recovered));
  seal.kind = FrameKind.SEAL;
  const place = { segment: number, sequence: tail.sequence, chain: tail.chain };
  yield seal.finish(place, frameSeed(identity, disk.crc32), disk.crc32).bytes;
}

function lastTermOf(recovered: Recovered): number {
  return recovered.entries.at(-1)?.term ?? recovered.prevTerm;
}
