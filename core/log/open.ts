/**
 * From what recovery found to a log that can be written: clears leftovers, and makes the end of the log certain. Never
 * decides what is damage; a damaged log does not get here.
 */
import { GrpcStatus, RosterError } from '../errors.ts';
import { AssertionError, assert } from '../util/assert.ts';
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
  witnessOffset,
} from './format.ts';
import { Frame } from './frame.ts';
import type { EmptyLog, Recovered } from './recover.ts';
import { SCAN_SLICE_BYTES } from './scan.ts';
import type { Segment } from './segments.ts';
import { TermRuns } from './term-runs.ts';
import { SEGMENT_BYTES, Wal, type WalOptions, type WalStart } from './wal.ts';

/** Smallest segment that makes sense: a header, a little, a seal. */
export const SEGMENT_BYTES_MIN = 1024;

/** The largest piece of a medium that fails as a whole. */
const PAGE_BYTES = 4096;

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
  let start = startOf(recovered, segmentBytes);
  if (!recovered.tail.trusted) {
    steps.push((next) =>
      copyTail(disk, recovered, (error, segments) => {
        if (segments !== undefined) start = { ...start, segments };
        next(error);
      }),
    );
  }
  inOrder(steps, (error) => {
    if (error !== undefined) done(error, undefined);
    else done(undefined, new Wal(disk, start, options));
  });
}

/** Size of new segments. */
export function sizeOf(options: WalOptions): number {
  const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
  assert(segmentBytes >= SEGMENT_BYTES_MIN && segmentBytes % 8 === 0, `log: segments of ${segmentBytes} bytes`);
  return segmentBytes;
}

function startOf(recovered: Recovered, segmentBytes: number): WalStart {
  const terms = new TermRuns(recovered.prevIndex, recovered.prevTerm);
  for (const entry of recovered.entries) terms.append(entry.index, entry.term);
  const { identity, segments, spare, hardState, tail } = recovered;
  const { offset, sequence, chain } = tail;
  return { identity, segmentBytes, segments, offset, spare, sequence, chain, hardState, terms };
}

/** Takes the steps one after the other, up to the first error. */
export function inOrder(steps: readonly ((next: Done) => void)[], done: Done): void {
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

function nextPage(offset: number): number {
  return Math.ceil(offset / PAGE_BYTES) * PAGE_BYTES;
}

/**
 * Writes the last segment anew, cut to its verified length and with its seals: the next large append goes to a new file,
 * which is usually ready, so a start copies what is there and hardly a zero. `done` gets the segments as they are then. On a full disk,
 * which must not prevent a start, the verified bytes are written over themselves instead.
 */
function copyTail(
  disk: LogDisk,
  recovered: Recovered,
  done: (error: Error | undefined, segments: readonly Segment[] | undefined) => void,
): void {
  const { segments, tail } = recovered;
  const last = segments.at(-1)!;
  const sizeBytes = nextPage(tail.offset + FRAME_BYTES_MIN) + FRAME_BYTES_MIN;
  disk.create(segmentName(last.number), sizeBytes, sealedTail(disk, recovered, sizeBytes), (error) => {
    if (error === undefined) done(undefined, [...segments.slice(0, -1), { ...last, sizeBytes }]);
    else if (error instanceof RosterError && error.code === 'NoSpace') {
      rewriteTail(disk, recovered, (rewriteError) => done(rewriteError, undefined));
    } else done(error, undefined);
  });
}

function* sealedTail(disk: LogDisk, recovered: Recovered, sizeBytes: number): Generator<Uint8Array> {
  const { identity, tail, hardState, lastIndex } = recovered;
  const { number } = recovered.segments.at(-1)!;
  yield encodeSegmentHeader({ version: FORMAT_VERSION, number, sizeBytes, identity }, disk.crc32);
  yield* verifiedTail(disk, recovered);
  const seal = new Frame(hardState);
  seal.begin(hardState, lastIndex, recovered.entries.at(-1)?.term ?? recovered.prevTerm);
  seal.kind = FrameKind.SEAL;
  const place = { segment: number, sequence: tail.sequence, chain: tail.chain };
  const { bytes } = seal.finish(place, frameSeed(identity, disk.crc32), disk.crc32);
  yield bytes;
  yield new Uint8Array(witnessOffset(sizeBytes) - tail.offset - bytes.length);
  yield bytes;
}

/** The frames of the last segment in slices, checked once more: the cache may have lost them since they were read. */
function* verifiedTail(disk: LogDisk, { segments, tail }: Recovered): Generator<Uint8Array> {
  const name = segmentName(segments.at(-1)!.number);
  let crc = 0;
  for (let at = SEGMENT_HEADER_BYTES; at < tail.offset; at += SCAN_SLICE_BYTES) {
    const slice = new Uint8Array(Math.min(SCAN_SLICE_BYTES, tail.offset - at));
    disk.read(name, at, slice);
    crc = disk.crc32(slice, crc);
    yield slice;
  }
  if (crc !== tail.crc) {
    const text = `write-ahead log: ${name} has changed since it was read: the disk cannot be trusted`;
    throw new RosterError('Corrupt', GrpcStatus.DATA_LOSS, text);
  }
}

function rewriteTail(disk: LogDisk, recovered: Recovered, done: Done): void {
  const name = segmentName(recovered.segments.at(-1)!.number);
  let slices: Uint8Array[];
  try {
    slices = [...verifiedTail(disk, recovered)];
  } catch (error) {
    if (!(error instanceof Error) || error instanceof AssertionError) throw error;
    done(error);
    return;
  }
  let at = SEGMENT_HEADER_BYTES;
  const writes = slices.map((slice) => (next: Done) => {
    disk.write(name, at, slice, { alone: false }, next);
    at += slice.length;
  });
  inOrder(writes, done);
}
