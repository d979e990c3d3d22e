/**
 * Reads the log at start and says what it holds, or why it cannot be trusted. Only reads. The rule that matters: the end
 * of the log is where a write was torn by a crash only if nothing written later exists anywhere; otherwise the disk has
 * lost something it had confirmed, and cutting the log there would lose acknowledged entries without a word.
 */
import { AssertionError } from '../util/assert.ts';
import type { Entry, HardState } from '../wire/stored.ts';
import type { LogDisk } from './disk.ts';
import {
  decodeFrameHeader,
  FIRST_CHAIN,
  FORMAT_VERSION,
  FRAME_BYTES_MIN,
  FrameKind,
  frameSeed,
  SEGMENT_HEADER_BYTES,
  segmentName,
  segmentNumber,
  type WalIdentity,
} from './format.ts';
import { Replay } from './replay.ts';
import {
  type Expected,
  expectedAfter,
  type LoadedSegment,
  loadSegment,
  type Remainder,
  readFrame,
  SCAN_SLICE_BYTES,
  scanRemainder,
  type WholeFrame,
} from './scan.ts';
import type { Segment } from './segments.ts';
import { type LogDamage, logDamage } from './verdict.ts';

export interface RecoverOptions {
  /** Whose log it must be. */
  readonly clusterId?: bigint;
  readonly memberId?: bigint;
  /** Last entry whose effects the database holds: the log must reach it and leave no gap after it. */
  readonly appliedIndex?: number;
}

export interface RecoverProgress {
  readonly bytesRead: number;
  readonly bytesTotal: number;
}

/** There is no log yet: {@link createWal} makes one. */
export interface EmptyLog {
  readonly kind: 'empty';
  readonly leftovers: readonly string[];
}

/** Where and how the log ends, for {@link openWal}. */
export interface LogTail {
  /** Where the next frame goes in the last segment: behind the last frame, or onto the seal. */
  readonly offset: number;
  readonly sequence: number;
  readonly chain: number;
  /** The last frame is known to be durable and what follows is blank: the file can be written on as it is. */
  readonly trusted: boolean;
  /** CRC of the bytes between the segment's header and `offset`, as they were when they were checked. */
  readonly crc: number;
}

/** What raft starts from. */
export interface Recovered {
  readonly kind: 'recovered';
  readonly identity: WalIdentity;
  /** From firstIndex to lastIndex; empty when lastIndex is firstIndex - 1. */
  readonly entries: readonly Entry[];
  readonly firstIndex: number;
  /** Of the entry before firstIndex: 0 and 0 at the very beginning. */
  readonly prevIndex: number;
  readonly prevTerm: number;
  readonly lastIndex: number;
  /** `commit` may lag behind what the database has applied. `refilling`: see set-aside.ts. */
  readonly hardState: HardState;
  /** An unfinished write was found at the end, as a crash leaves it. It had not been acknowledged, and is ignored. */
  readonly torn: boolean;
  readonly tail: LogTail;
  readonly segments: readonly Segment[];
  readonly spare: { readonly number: number; readonly sizeBytes: number } | undefined;
  /** Files to remove, in this order. */
  readonly leftovers: readonly string[];
}

/** Yields now and then so that a start does not hold the event loop; the returned value is the result. */
export function* recover(
  disk: LogDisk,
  options: RecoverOptions = {},
): Generator<RecoverProgress, EmptyLog | Recovered | LogDamage> {
  const names = disk.list();
  const temporary = names.filter((name) => name.endsWith('.wal.tmp'));
  const numbers = names
    .map(segmentNumber)
    .filter((number) => number !== undefined)
    .sort((a, b) => a - b);
  if (numbers.length === 0) {
    if ((options.appliedIndex ?? 0) === 0) return { kind: 'empty', leftovers: temporary };
    return logDamage('missing-segment', '', 0, 'there are no log files, but the database is not empty');
  }
  for (let i = 1; i < numbers.length; i++) {
    const name = segmentName(numbers[i - 1]! + 1);
    if (numbers[i] !== numbers[i - 1]! + 1) return logDamage('missing-segment', name, 0, `the file ${name} is missing`);
  }
  return yield* new Recovery(disk, options, numbers, temporary).run();
}

/** The unbroken frames at the beginning of a segment. */
interface Run {
  /** Behind the last one; a seal is not counted. */
  end: number;
  frames: number;
  sealed: boolean;
  /** Highest index in them. */
  indexMax: number;
}

/** Nothing was ever written behind the header, and of that something is left: a blank file, and no page of it is lost. */
function hasOnlyABadHeader({ bytes }: LoadedSegment): boolean {
  const isZero = (byte: number) => byte === 0;
  return bytes.subarray(SEGMENT_HEADER_BYTES).every(isZero) && !bytes.subarray(0, SEGMENT_HEADER_BYTES).every(isZero);
}

/** No place in a segment whose header is not its own can hold an unfinished frame. */
const NOWHERE = -1;

class Recovery {
  readonly #disk: LogDisk;
  readonly #options: RecoverOptions;
  readonly #numbers: readonly number[];
  readonly #replay = new Replay();
  readonly #segments: Segment[] = [];
  readonly #leftovers: string[];
  #spare: { number: number; sizeBytes: number } | undefined;
  #identity: WalIdentity | undefined;
  #seed = 0;
  #expected: Expected | undefined;
  /** The last segment with frames, or the first of all, and its run. */
  #last: LoadedSegment | undefined;
  /** Nobody looks at it again. */
  #worn: LoadedSegment | undefined;
  #lastRun: Run = { end: 0, frames: 0, sealed: false, indexMax: 0 };
  /** What follows that run is all zeros. */
  #blank = true;
  #torn = false;
  #bytesRead = 0;
  #bytesTotal = 0;

  constructor(disk: LogDisk, options: RecoverOptions, numbers: readonly number[], temporary: readonly string[]) {
    this.#disk = disk;
    this.#options = options;
    this.#numbers = numbers;
    this.#leftovers = [...temporary];
    this.#expected = numbers[0] === 1 ? { sequence: 1, chain: FIRST_CHAIN } : undefined;
  }

  *run(): Generator<RecoverProgress, Recovered | LogDamage> {
    for (const number of this.#numbers) this.#bytesTotal += this.#disk.size(segmentName(number));
    for (const number of this.#numbers) {
      const segment = yield* this.#load(number);
      const damage = 'kind' in segment ? segment : (this.#checkHeader(segment) ?? (yield* this.#readSegment(segment)));
      if (damage !== undefined) return damage;
    }
    return this.#checkWhole() ?? (yield* this.#result());
  }

  /** Passes on the turns of `steps`, as progress. */
  *#slices<T>(steps: Generator<number, T>): Generator<RecoverProgress, T> {
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      this.#bytesRead += step.value;
      yield { bytesRead: this.#bytesRead, bytesTotal: this.#bytesTotal };
    }
  }

  *#load(number: number): Generator<RecoverProgress, LoadedSegment | LogDamage> {
    const worn = this.#worn;
    this.#worn = undefined;
    try {
      return yield* this.#slices(loadSegment(this.#disk, number, worn));
    } catch (error) {
      if (!(error instanceof Error) || error instanceof AssertionError) throw error;
      const name = segmentName(number);
      return logDamage('unreadable', name, 0, `the file ${name} cannot be read: ${error.message}`);
    }
  }

  #checkHeader(segment: LoadedSegment): LogDamage | undefined {
    const { header, name, bytes } = segment;
    const oldest = this.#identity === undefined;
    if (header === undefined || header.number !== segment.number) {
      if (oldest) return logDamage('damaged-header', name, 0, `the header of ${name} is damaged`);
      if (bytes.length >= SEGMENT_HEADER_BYTES) return undefined;
      return logDamage('wrong-size', name, bytes.length, `${name} is only ${bytes.length} bytes long`);
    }
    if (header.version > FORMAT_VERSION) {
      const text = `${name} has format version ${header.version}; this Roster knows ${FORMAT_VERSION} and older`;
      return logDamage('newer-version', name, 0, text);
    }
    if (header.sizeBytes !== bytes.length) {
      const text = `${name} is ${bytes.length} bytes long, but was made with ${header.sizeBytes}`;
      return logDamage('wrong-size', name, Math.min(header.sizeBytes, bytes.length), text);
    }
    const { clusterId, memberId } = header.identity;
    const own = this.#identity ?? { clusterId, memberId, ...this.#options, nonce: header.identity.nonce };
    if (clusterId !== own.clusterId || memberId !== own.memberId || header.identity.nonce !== own.nonce) {
      const hex = (id: bigint) => id.toString(16);
      const text = `${name} belongs to member ${hex(memberId)} of cluster ${hex(clusterId)}, not to member ${hex(
        own.memberId,
      )} of cluster ${hex(own.clusterId)}`;
      return logDamage('foreign', name, 0, text);
    }
    if (oldest) {
      this.#identity = header.identity;
      this.#seed = frameSeed(header.identity, this.#disk.crc32);
    }
    return undefined;
  }

  /** Replays the run of frames at the beginning of `segment` and judges what follows it. */
  *#readSegment(segment: LoadedSegment): Generator<RecoverProgress, LogDamage | undefined> {
    const named = segment.header?.number === segment.number;
    const oldest = segment.number === this.#numbers[0];
    const run: Run = { end: SEGMENT_HEADER_BYTES, frames: 0, sealed: false, indexMax: 0 };
    const inconsistent = named ? yield* this.#replayRun(segment, run) : undefined;
    if (inconsistent !== undefined) return inconsistent;
    const expected = this.#expected;
    if (expected === undefined) {
      const why = 'although older files were given up only after it was durable';
      const text = `the record at byte ${run.end} of ${segment.name} is damaged, ${why}`;
      return logDamage('damaged-record', segment.name, run.end, text);
    }
    const after = run.sealed ? run.end + FRAME_BYTES_MIN : run.end;
    const torn = named ? run.end : NOWHERE;
    const rest = yield* this.#slices(scanRemainder(this.#disk, segment, after, this.#seed, expected.sequence, torn));
    const inUse = oldest || run.frames > 0;
    if (inUse) this.#use(segment, run, rest);
    if (rest.contradiction !== undefined) return this.#contradiction(segment, named, rest.contradiction);
    if (inUse) return undefined;
    if (!named && !this.#isRecycled(segment) && !hasOnlyABadHeader(segment)) {
      const text = `the header of ${segment.name} is damaged, and with it whatever the file held`;
      return logDamage('damaged-header', segment.name, 0, text);
    }
    this.#dropUnused(segment, named, rest);
    return undefined;
  }

  /**
   * An older file under a new name, to which nothing was written yet but perhaps a part of its header: the old header is
   * there, or the record behind it. The older file is gone: otherwise this one is no longer what it was.
   */
  #isRecycled({ header, bytes, view }: LoadedSegment): boolean {
    const first = decodeFrameHeader(bytes, view, SEGMENT_HEADER_BYTES, this.#seed, this.#disk.crc32);
    const was = header?.number ?? first?.segment;
    return was !== undefined && was < this.#numbers[0]!;
  }

  *#replayRun(segment: LoadedSegment, run: Run): Generator<RecoverProgress, LogDamage | undefined> {
    let turnAt = run.end + SCAN_SLICE_BYTES;
    while (!run.sealed) {
      const frame = readFrame(this.#disk, segment, run.end, this.#seed, this.#expected?.sequence);
      if (frame === undefined) return undefined;
      const problem = this.#accept(frame);
      if (problem !== undefined) {
        const text = `the record at byte ${run.end} of ${segment.name} ${problem}`;
        return logDamage('inconsistent', segment.name, run.end, text);
      }
      if (frame.header.kind === FrameKind.RESET) {
        for (const older of this.#segments) older.indexMax = 0;
        run.indexMax = 0;
      }
      run.frames++;
      run.indexMax = Math.max(run.indexMax, this.#replay.frameIndexMax);
      run.sealed = frame.header.kind === FrameKind.SEAL;
      if (!run.sealed) run.end = frame.end;
      if (run.end >= turnAt) {
        turnAt = run.end + SCAN_SLICE_BYTES;
        yield { bytesRead: this.#bytesRead, bytesTotal: this.#bytesTotal };
      }
    }
    return undefined;
  }

  /** Replays a frame that has the right number. Returns what is wrong with it, as the end of a sentence. */
  #accept({ header, payload }: WholeFrame): string | undefined {
    if (this.#expected !== undefined && header.chain !== this.#expected.chain)
      return 'does not continue the one before';
    this.#expected = expectedAfter(header);
    return this.#replay.apply(header, payload);
  }

  #use(segment: LoadedSegment, run: Run, rest: Remainder): void {
    this.#segments.push({ number: segment.number, sizeBytes: segment.bytes.length, indexMax: run.indexMax });
    this.#worn = this.#last;
    this.#last = segment;
    this.#lastRun = run;
    this.#blank = rest.zero;
    this.#torn = rest.used;
  }

  /** A segment without frames: the next one if it was made ready, else of no use. */
  #dropUnused(segment: LoadedSegment, named: boolean, rest: Remainder): void {
    this.#torn ||= rest.used;
    if (named && !rest.used && this.#last!.number + 1 === segment.number) {
      this.#spare = { number: segment.number, sizeBytes: segment.bytes.length };
    } else {
      // Highest first: a crash in between must not leave a gap.
      this.#leftovers.unshift(segment.name);
    }
    this.#worn = segment;
  }

  #contradiction(segment: LoadedSegment, named: boolean, found: { offset: number; sequence: number }): LogDamage {
    const later = `record ${found.sequence} at byte ${found.offset} of ${segment.name}`;
    if (!named) {
      const text = `the header of ${segment.name} is damaged: ${later} is readable`;
      return logDamage('damaged-header', segment.name, 0, text);
    }
    const { name } = this.#last!;
    const { end } = this.#lastRun;
    const text = `record ${this.#expected!.sequence} at byte ${end} of ${name} is damaged: ${later}, written later, is readable`;
    return logDamage('damaged-record', name, end, text);
  }

  #checkWhole(): LogDamage | undefined {
    const { hardState, prevIndex, lastIndex } = this.#replay;
    const { appliedIndex } = this.#options;
    const { name } = this.#last!;
    const { end } = this.#lastRun;
    if (hardState.commit > lastIndex) {
      const text = `entries up to ${hardState.commit} were committed, but the log ends with entry ${lastIndex}`;
      return logDamage('commit-beyond-log', name, end, text);
    }
    if (appliedIndex === undefined) return undefined;
    if (appliedIndex > lastIndex) {
      const text = `the database has applied entry ${appliedIndex}, but the log ends with entry ${lastIndex}`;
      return logDamage('behind-database', name, end, text);
    }
    if (appliedIndex < prevIndex) {
      const text = `the log begins after entry ${prevIndex}, but the database ends with entry ${appliedIndex}`;
      return logDamage('gap-after-database', segmentName(this.#numbers[0]!), SEGMENT_HEADER_BYTES, text);
    }
    return undefined;
  }

  *#result(): Generator<RecoverProgress, Recovered> {
    const replay = this.#replay;
    const { end, frames, sealed } = this.#lastRun;
    const trusted = sealed || (frames === 0 && this.#blank);
    let crc = 0;
    for (let at = SEGMENT_HEADER_BYTES; at < end && !trusted; at += SCAN_SLICE_BYTES) {
      crc = this.#disk.crc32(this.#last!.bytes.subarray(at, Math.min(end, at + SCAN_SLICE_BYTES)), crc);
      yield { bytesRead: this.#bytesRead, bytesTotal: this.#bytesTotal };
    }
    const identity = this.#identity!;
    return {
      kind: 'recovered',
      identity,
      entries: replay.entries,
      firstIndex: replay.prevIndex + 1,
      prevIndex: replay.prevIndex,
      prevTerm: replay.prevTerm,
      lastIndex: replay.lastIndex,
      hardState: replay.refilling ? { ...replay.hardState, refilling: identity.nonce } : replay.hardState,
      torn: this.#torn,
      tail: { offset: end, ...this.#expected!, trusted, crc },
      segments: this.#segments,
      spare: this.#spare,
      leftovers: this.#leftovers,
    };
  }
}
