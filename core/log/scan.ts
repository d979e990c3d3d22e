/**
 * Reads one segment: its header, the unbroken run of frames from its beginning, and whatever looks like a frame of it
 * after the run ends. Owns the search; what the findings mean is recover.ts. Works in slices, as a generator.
 */
import { allocateBytes, bytesEqual } from '../util/bytes.ts';
import type { LogDisk } from './disk.ts';
import {
  alignFrame,
  decodeFrameHeader,
  decodeSegmentHeader,
  FRAME_ALIGNMENT_BYTES,
  FRAME_BYTES_MIN,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  type FrameHeader,
  FrameKind,
  type SegmentHeader,
  segmentName,
  viewOf,
} from './format.ts';

/** Bytes read or looked at before the caller gets its turn back. */
export const SCAN_SLICE_BYTES = 1024 * 1024;

const WORD_BYTES = 4;
/** FRAME_MAGIC as this processor reads it from a file. */
const MAGIC_WORD = new Uint32Array(new Uint8Array([0, 8, 16, 24].map((shift) => FRAME_MAGIC >>> shift)).buffer)[0]!;

/** One whole segment in memory. */
export interface LoadedSegment {
  readonly number: number;
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Of each piece of SCAN_SLICE_BYTES: whether there are only zeros in it. */
  readonly blank: readonly boolean[];
  /** Undefined when its checksum does not hold. */
  readonly header: SegmentHeader | undefined;
}

/** What a frame must be to come next. Undefined at the beginning of a log whose older segments have been released. */
export interface Expected {
  readonly sequence: number;
  readonly chain: number;
}

/** A frame whose checksums hold. */
export interface WholeFrame {
  readonly header: FrameHeader;
  readonly payload: Uint8Array;
  /** Where the one after it begins. */
  readonly end: number;
}

/**
 * Reads segment `number` completely. Throws what the disk says. `worn`: a segment of which nothing will be looked at any
 * more; its memory is used again if it fits.
 */
export function* loadSegment(disk: LogDisk, number: number, worn?: LoadedSegment): Generator<number, LoadedSegment> {
  const name = segmentName(number);
  const sizeBytes = disk.size(name);
  const reused = worn?.bytes.length === sizeBytes ? worn : undefined;
  const bytes = reused?.bytes ?? new Uint8Array(sizeBytes);
  const scratch = new Uint8Array(Math.min(SCAN_SLICE_BYTES, sizeBytes));
  const zeros = new Uint8Array(scratch.length);
  const blank: boolean[] = [];
  for (let at = 0; at < sizeBytes; at += SCAN_SLICE_BYTES) {
    const place = bytes.subarray(at, Math.min(at + SCAN_SLICE_BYTES, sizeBytes));
    // Most of a new segment is zeros, and they come last. Memory that nobody has written to is zero, and takes no room.
    const inPlace = blank.at(-1) !== true;
    const slice = inPlace ? place : scratch.subarray(0, place.length);
    const got = disk.read(name, at, slice);
    if (got !== slice.length) throw new Error(`the file ended at byte ${at + got} of ${sizeBytes}`);
    const isBlank = bytesEqual(slice, zeros.subarray(0, got));
    if (!inPlace && !isBlank) place.set(slice);
    else if (!inPlace && reused?.blank[blank.length] === false) place.fill(0);
    blank.push(isBlank);
    yield got;
  }
  const header = decodeSegmentHeader(bytes, disk.crc32);
  return { number, name, bytes, view: viewOf(bytes), blank, header };
}

/**
 * The frame at `at`, if it is whole and has the number that comes next. The payload is a copy, so that entries kept from
 * it hold no more than their frame in memory.
 */
export function readFrame(
  disk: LogDisk,
  segment: LoadedSegment,
  at: number,
  seed: number,
  sequence: number | undefined,
): WholeFrame | undefined {
  const header = decodeFrameHeader(segment.bytes, segment.view, at, seed, disk.crc32);
  if (header === undefined || header.segment !== segment.number) return undefined;
  if (sequence !== undefined && header.sequence !== sequence) return undefined;
  const start = at + FRAME_HEADER_BYTES;
  const end = alignFrame(start + header.payloadBytes);
  if (header.payloadBytes < FRAME_BYTES_MIN - FRAME_HEADER_BYTES || end > segment.bytes.length) return undefined;
  const payload = allocateBytes(header.payloadBytes);
  payload.set(segment.bytes.subarray(start, start + header.payloadBytes));
  return disk.crc32(payload) === header.payloadCrc ? { header, payload, end } : undefined;
}

/** What must come after `header`. A seal takes no number and no place in the chain. */
export function expectedAfter(header: FrameHeader): Expected {
  const { kind, sequence, chain, crc } = header;
  return kind === FrameKind.SEAL ? { sequence, chain } : { sequence: sequence + 1, chain: crc };
}

/** What there is where the run of frames ends. */
export interface Remainder {
  /** A frame that cannot be there after a mere crash: the end of the run is damage. */
  readonly contradiction: { readonly offset: number; readonly sequence: number } | undefined;
  /** Nothing but zeros. */
  readonly zero: boolean;
  /** The frame that comes next, or a later one: the file must not be written on as if it were blank. */
  readonly used: boolean;
}

/**
 * Looks through `segment` from `from`, where the run ended, for frames of its own number. Only the header counts: it has
 * its own checksum, and that it exists proves that the write was begun, hence that all writes before it were durable.
 * `torn`: the offset at which the frame `sequence`, the next one, may stand unfinished. A seal
 * that says the run is the whole log is no contradiction, wherever it is.
 */
export function* scanRemainder(
  disk: LogDisk,
  segment: LoadedSegment,
  from: number,
  seed: number,
  sequence: number,
  torn: number,
): Generator<number, Remainder> {
  const { bytes, view } = segment;
  const wordsEnd = bytes.length - (bytes.length % FRAME_ALIGNMENT_BYTES);
  let zero = bytes.subarray(Math.max(from, wordsEnd)).every((byte) => byte === 0);
  let used = false;
  for (let at = from, sliceEnd = at; at < wordsEnd; ) {
    if (at >= sliceEnd) {
      if (at > from) yield 0;
      const slice = Math.floor(at / SCAN_SLICE_BYTES);
      sliceEnd = Math.min(wordsEnd, (slice + 1) * SCAN_SLICE_BYTES);
      if (segment.blank[slice]) {
        at = sliceEnd;
        continue;
      }
    }
    if (zero) {
      at = skipZeros(view, at, sliceEnd);
      zero = at === sliceEnd;
      if (zero) continue;
    }
    at = skipToMagic(bytes, at, sliceEnd);
    if (at === sliceEnd) continue;
    const header = decodeFrameHeader(bytes, view, at, seed, disk.crc32);
    // An earlier frame in this place is data: somebody has stored a copy of this very log.
    const isOfRun = header?.kind === FrameKind.SEAL && header.sequence === sequence;
    if (header !== undefined && header.segment === segment.number && header.sequence >= sequence && !isOfRun) {
      used = true;
      if (header.sequence !== sequence || at !== torn) {
        return { contradiction: { offset: at, sequence: header.sequence }, zero, used };
      }
    }
    at += FRAME_ALIGNMENT_BYTES;
  }
  return { contradiction: undefined, zero, used };
}

/** The first place from `from` on that is not zero, or `to`. (A function of its own: generators run many times slower.) */
function skipZeros(view: DataView, from: number, to: number): number {
  const step = FRAME_ALIGNMENT_BYTES;
  let at = from;
  while (at < to && view.getUint32(at, true) === 0 && view.getUint32(at + 4, true) === 0) at += step;
  return at;
}

/** The first place from `from` on that begins as a frame does, or `to`. All are multiples of FRAME_ALIGNMENT_BYTES. */
function skipToMagic(bytes: Uint8Array, from: number, to: number): number {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + from, (to - from) / WORD_BYTES);
  for (let at = words.indexOf(MAGIC_WORD); at !== -1; at = words.indexOf(MAGIC_WORD, at + 1)) {
    if ((at * WORD_BYTES) % FRAME_ALIGNMENT_BYTES === 0) return from + at * WORD_BYTES;
  }
  return to;
}
