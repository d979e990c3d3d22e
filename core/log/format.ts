/**
 * The bytes of the log: segment header, frame header, frame state, entries. All integers little-endian. Owns offsets
 * and checksums; never decides what a wrong one means (that is scan.ts and recover.ts).
 *
 * A segment is a 64-byte header, then frames at multiples of 8. A frame is what one durable write put there: 32 bytes
 * of header, 40 of state, then entries of 24 bytes and data. One write, one checksum: a crash tears a frame as a whole.
 */
import type { Crc32 } from '../util/crc32.ts';
import type { Entry, HardState } from '../wire/stored.ts';

/** Written into every segment. A log with a higher one was made by a newer Roster and is left alone. */
export const FORMAT_VERSION = 1;
export const SEGMENT_HEADER_BYTES = 64;
export const FRAME_HEADER_BYTES = 32;
/** Header and state: a frame without entries. */
export const FRAME_BYTES_MIN = 72;
export const ENTRY_HEADER_BYTES = 24;
/** What every segment keeps free behind its frames: for a seal and for its copy at the very end, see witnessOffset. */
export const SEALS_BYTES = 2 * FRAME_BYTES_MIN;
export const FRAME_ALIGNMENT_BYTES = 8;
/** The previous-frame checksum that frame 1 of a log carries. */
export const FIRST_CHAIN = 0x726f7374;

const SEGMENT_MAGIC_LOW = 0x74736f52; // 'Rost'
const SEGMENT_MAGIC_HIGH = 0x4c577265; // 'erWL'
export const FRAME_MAGIC = 0x4d465752; // 'RWFM'
const TWO_32 = 0x1_0000_0000;

/** What a frame does to the log. A seal changes nothing; it says that everything before it is durable. */
export const FrameKind = { APPEND: 1, RESET: 2, SEAL: 3 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/**
 * Beside the kind of a frame whose hard state says `refilling` (the number is the log's nonce, so one bit will do). A
 * Roster that does not know it takes the frame for no frame, and the log for damaged: it must not vote by this log.
 */
const REFILLING_BIT = 0x80;

/** Whose log it is. `nonce` is random: without it nobody can make bytes that pass for a frame of this log. */
export interface WalIdentity {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly nonce: bigint;
}

export interface SegmentHeader {
  readonly version: number;
  /** 1 for the first segment of a log, then one more each. It is in every frame too, so old bytes are known as such. */
  readonly number: number;
  readonly sizeBytes: number;
  readonly identity: WalIdentity;
}

export interface FrameHeader {
  readonly kind: FrameKind;
  /** The hard state of this frame is one of a log that is being refilled. */
  readonly refilling: boolean;
  readonly segment: number;
  readonly payloadBytes: number;
  /** Position of the frame in the log, from 1. A seal takes none: what comes next has the number of the seal. */
  readonly sequence: number;
  readonly payloadCrc: number;
  /** The `crc` of the frame before. As it is covered by `crc`, each frame vouches for all before it. */
  readonly chain: number;
  readonly crc: number;
}

/** The first 40 bytes of a frame's payload: with them a log can begin at any frame. */
export interface FrameState {
  readonly hardState: HardState;
  /** Index and term of the entry before the frame's first; of the last entry when the frame has none. */
  readonly prevIndex: number;
  readonly prevTerm: number;
}

const NUMBERED = /^([0-9a-f]{13})\.wal$/;

/** File name of segment `number`; names sort as the numbers do. */
export function segmentName(number: number): string {
  return `${number.toString(16).padStart(13, '0')}.wal`;
}

/** The number a file name stands for; undefined if it is not a segment's. */
export function segmentNumber(name: string): number | undefined {
  const digits = NUMBERED.exec(name)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}

/**
 * Where a copy of the seal goes in a segment of `sizeBytes`: as far away as possible. A page that is lost may hold the
 * last record and the seal behind it, and without the copy nothing would tell that they were there.
 */
export function witnessOffset(sizeBytes: number): number {
  const last = sizeBytes - FRAME_BYTES_MIN;
  return last - (last % FRAME_ALIGNMENT_BYTES);
}

export function alignFrame(bytes: number): number {
  return Math.ceil(bytes / FRAME_ALIGNMENT_BYTES) * FRAME_ALIGNMENT_BYTES;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function setNumber(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % TWO_32, true);
  view.setUint32(at + 4, value / TWO_32, true);
}

function getNumber(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * TWO_32;
}

/** What every frame checksum of this log starts from. */
export function frameSeed(identity: WalIdentity, crc32: Crc32): number {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, identity.nonce, true);
  return crc32(bytes);
}

export function encodeSegmentHeader(header: SegmentHeader, crc32: Crc32): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, SEGMENT_MAGIC_LOW, true);
  view.setUint32(4, SEGMENT_MAGIC_HIGH, true);
  view.setUint32(8, header.version, true);
  setNumber(view, 16, header.number);
  setNumber(view, 24, header.sizeBytes);
  view.setBigUint64(32, header.identity.clusterId, true);
  view.setBigUint64(40, header.identity.memberId, true);
  view.setBigUint64(48, header.identity.nonce, true);
  view.setUint32(60, crc32(bytes.subarray(0, 60)), true);
  return bytes;
}

/** Undefined when the checksum does not hold. The layout is the same in all versions. */
export function decodeSegmentHeader(bytes: Uint8Array, crc32: Crc32): SegmentHeader | undefined {
  if (bytes.length < SEGMENT_HEADER_BYTES) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== SEGMENT_MAGIC_LOW || view.getUint32(4, true) !== SEGMENT_MAGIC_HIGH) return undefined;
  if (view.getUint32(60, true) !== crc32(bytes.subarray(0, 60))) return undefined;
  return {
    version: view.getUint32(8, true),
    number: getNumber(view, 16),
    sizeBytes: getNumber(view, 24),
    identity: {
      clusterId: view.getBigUint64(32, true),
      memberId: view.getBigUint64(40, true),
      nonce: view.getBigUint64(48, true),
    },
  };
}

/** Where a frame goes and what it follows. */
export interface FramePlace {
  readonly segment: number;
  readonly sequence: number;
  readonly chain: number;
}

/** Fills in the header of the frame in `bytes` (header, state and entries, no padding); returns its checksum. */
export function sealFrame(
  bytes: Uint8Array,
  view: DataView,
  kind: FrameKind,
  refilling: boolean,
  place: FramePlace,
  seed: number,
  crc32: Crc32,
): number {
  const mark = refilling ? kind | REFILLING_BIT : kind;
  view.setUint32(0, FRAME_MAGIC, true);
  view.setUint32(8, place.segment, true);
  view.setUint32(12, bytes.length - FRAME_HEADER_BYTES, true);
  view.setUint32(16, place.sequence % TWO_32, true);
  view.setUint32(20, (mark << 24) | (place.sequence / TWO_32), true);
  view.setUint32(24, crc32(bytes.subarray(FRAME_HEADER_BYTES)), true);
  view.setUint32(28, place.chain, true);
  const crc = crc32(bytes.subarray(8, FRAME_HEADER_BYTES), seed);
  view.setUint32(4, crc, true);
  return crc;
}

/** The frame header at `at` if its own checksum holds; says nothing about the payload. */
export function decodeFrameHeader(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  seed: number,
  crc32: Crc32,
): FrameHeader | undefined {
  if (at + FRAME_BYTES_MIN > bytes.length || view.getUint32(at, true) !== FRAME_MAGIC) return undefined;
  const crc = view.getUint32(at + 4, true);
  if (crc !== crc32(bytes.subarray(at + 8, at + FRAME_HEADER_BYTES), seed)) return undefined;
  const high = view.getUint32(at + 20, true);
  const kind = (high >>> 24) & ~REFILLING_BIT;
  if (kind !== FrameKind.APPEND && kind !== FrameKind.RESET && kind !== FrameKind.SEAL) return undefined;
  return {
    kind,
    refilling: high >>> 24 >= REFILLING_BIT,
    segment: view.getUint32(at + 8, true),
    payloadBytes: view.getUint32(at + 12, true),
    sequence: view.getUint32(at + 16, true) + (high & 0xff_ffff) * TWO_32,
    payloadCrc: view.getUint32(at + 24, true),
    chain: view.getUint32(at + 28, true),
    crc,
  };
}

/** Writes the state at its place in a frame. */
export function encodeFrameState(view: DataView, state: FrameState): void {
  setNumber(view, FRAME_HEADER_BYTES, state.hardState.term);
  view.setBigUint64(FRAME_HEADER_BYTES + 8, state.hardState.vote, true);
  setNumber(view, FRAME_HEADER_BYTES + 16, state.hardState.commit);
  setNumber(view, FRAME_HEADER_BYTES + 24, state.prevIndex);
  setNumber(view, FRAME_HEADER_BYTES + 32, state.prevTerm);
}

/** Writes header and data of `entry` at `at`; there is room. Returns where the next one goes. */
export function encodeEntry(bytes: Uint8Array, view: DataView, at: number, entry: Entry): number {
  view.setUint32(at, entry.data.length, true);
  view.setUint32(at + 4, entry.type, true);
  setNumber(view, at + 8, entry.index);
  setNumber(view, at + 16, entry.term);
  bytes.set(entry.data, at + ENTRY_HEADER_BYTES);
  return at + ENTRY_HEADER_BYTES + entry.data.length;
}

/**
 * The state and entries of a payload whose checksum holds; entries are views into it. Undefined when it does not parse,
 * which then is no accident of the disk.
 */
export function decodePayload(payload: Uint8Array): { state: FrameState; entries: Entry[] } | undefined {
  const view = viewOf(payload);
  const hardState = { term: getNumber(view, 0), vote: view.getBigUint64(8, true), commit: getNumber(view, 16) };
  const state = { hardState, prevIndex: getNumber(view, 24), prevTerm: getNumber(view, 32) };
  const entries: Entry[] = [];
  let at = FRAME_BYTES_MIN - FRAME_HEADER_BYTES;
  while (at < payload.length) {
    const start = at + ENTRY_HEADER_BYTES;
    if (start > payload.length) return undefined;
    const end = start + view.getUint32(at, true);
    if (end > payload.length) return undefined;
    entries.push({
      type: view.getUint32(at + 4, true),
      index: getNumber(view, at + 8),
      term: getNumber(view, at + 16),
      data: payload.subarray(start, end),
    });
    at = end;
  }
  return { state, entries };
}
