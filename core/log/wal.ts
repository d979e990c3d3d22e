/**
 * The write-ahead log while it runs: appends become frames, one frame is one durable write, one write is in flight, and
 * whatever arrives meanwhile shares the next one (group commit). Owns order and acknowledgement; files are segments.ts.
 * Never reads: that is recover.ts, at start. Made by openWal or createWal (open.ts).
 */
import type { RosterError } from '../errors.ts';
import { assert } from '../util/assert.ts';
import type { Entry, HardState } from '../wire/stored.ts';
import type { Done, LogDisk } from './disk.ts';
import {
  FRAME_BYTES_MIN,
  FrameKind,
  frameSeed,
  SEALS_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentName,
  witnessOffset,
} from './format.ts';
import { entriesBytes, Frame } from './frame.ts';
import { Segments, type SegmentsStart } from './segments.ts';
import type { TermRuns } from './term-runs.ts';

/** etcd's segment size (server/storage/wal: SegmentSizeBytes). */
export const SEGMENT_BYTES = 64 * 1024 * 1024;
/** Appends are merged into one write up to here; beyond it a longer write only delays the acknowledgement. */
export const FRAME_BYTES_MAX = 4 * 1024 * 1024;
/** Entries of one append; raft's batches are far smaller. */
export const APPEND_BYTES_MAX = 512 * 1024 * 1024;
/** Encoded bytes waiting for the disk. Raft's own bound on uncommitted entries is lower: to pass this one is a bug. */
export const QUEUED_BYTES_MAX = 1024 * 1024 * 1024;

export interface WalOptions {
  readonly segmentBytes?: number;
  readonly frameBytesMax?: number;
  readonly appendBytesMax?: number;
  readonly queuedBytesMax?: number;
  /**
   * Called with an error of code NoSpace when the next segment cannot be made, which is usually well before the
   * current one is full; with undefined when it could be made after all (see {@link Wal.retrySpace}).
   */
  readonly onSpace?: (error: RosterError | undefined) => void;
}

/** What a log goes on from. */
export interface WalStart extends SegmentsStart {
  /** Of the next frame. */
  readonly sequence: number;
  /** Checksum of the last frame. */
  readonly chain: number;
  readonly hardState: HardState;
  readonly terms: TermRuns;
}

/** Counters since the log was opened, for metrics. */
export interface WalCounters {
  /** Durable writes of frames. */
  writes: number;
  bytesWritten: number;
  entries: number;
}

export class Wal {
  readonly counters: WalCounters = { writes: 0, bytesWritten: 0, entries: 0 };
  readonly #disk: LogDisk;
  readonly #seed: number;
  readonly #segments: Segments;
  readonly #terms: TermRuns;
  readonly #frameBytesMax: number;
  readonly #appendBytesMax: number;
  readonly #queuedBytesMax: number;
  /** Frames not yet durable, in order; the first may be in flight, the last takes further appends. */
  readonly #queue: Frame[] = [];
  #idleFrame: Frame | undefined;
  #inFlight = false;
  #queuedBytes = 0;
  #sequence: number;
  #chain: number;
  #hardState: HardState;
  #failure: Error | undefined;
  #closing: Done | undefined;
  #closed = false;

  constructor(disk: LogDisk, start: WalStart, options: WalOptions = {}) {
    this.#disk = disk;
    this.#seed = frameSeed(start.identity, disk.crc32);
    this.#sequence = start.sequence;
    this.#chain = start.chain;
    this.#hardState = start.hardState;
    this.#terms = start.terms;
    // A merged frame fits any segment; only a single large append needs one of its own.
    const room = start.segmentBytes - SEGMENT_HEADER_BYTES - SEALS_BYTES;
    this.#frameBytesMax = Math.min(options.frameBytesMax ?? FRAME_BYTES_MAX, room);
    this.#appendBytesMax = options.appendBytesMax ?? APPEND_BYTES_MAX;
    this.#queuedBytesMax = options.queuedBytesMax ?? QUEUED_BYTES_MAX;
    this.#segments = new Segments(disk, start, {
      onRoom: () => this.#pump(),
      onSpace: (error) => {
        options.onSpace?.(error);
        this.#giveUpWhenFull();
      },
      onFailure: (error) => this.#fail(error),
    });
    this.#segments.maintain();
  }

  /** Index of the last appended entry, durable or not. */
  get lastIndex(): number {
    return this.#terms.lastIndex;
  }

  /** Encoded bytes that wait for the disk. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Files with entries in them. */
  get segmentCount(): number {
    return this.#segments.count;
  }

  /**
   * Appends `entries` (consecutive; the first at most one past the last; one at or before it overwrites the rest) and
   * the new hard state, if it changed. `done` without an error means all of it, and everything appended before, is
   * durable. An error means that the disk failed: nothing will ever be durable again, and the process must stop. After
   * that, `done` is called before this returns; otherwise never. The entries are copied.
   */
  append(entries: readonly Entry[], hardState: HardState | undefined, done: Done): void {
    assert(this.#closing === undefined && !this.#closed, 'log: append after close');
    if (this.#failure !== undefined) {
      done(this.#failure);
      return;
    }
    const bytes = entriesBytes(entries);
    assert(bytes <= this.#appendBytesMax, `log: an append of ${bytes} bytes`);
    assert(this.#queuedBytes + bytes <= this.#queuedBytesMax, `log: ${this.#queuedBytes} bytes wait for the disk`);
    const frame = this.#frameFor(bytes);
    this.#addEntries(frame, entries, bytes);
    if (hardState !== undefined) this.#setHardState(frame, hardState);
    frame.waiters.push(done);
    this.#pump();
  }

  /**
   * Remembers how far the log is committed, without a write of its own: it travels with the next append or with
   * `close`. To lose it costs nothing, the commit index is found again from the leader (Raft paper, 5.3).
   */
  noteCommit(commit: number): void {
    assert(commit <= this.lastIndex, `log: commit ${commit} is beyond the last entry ${this.lastIndex}`);
    if (commit <= this.#hardState.commit) return;
    this.#hardState = { ...this.#hardState, commit };
    const frame = this.#openFrame();
    if (frame !== undefined) frame.hardState = this.#hardState;
  }

  /**
   * Drops the whole log and goes on after entry `index` of `term`: a snapshot, already durable, has taken its place
   * (Raft paper, section 7). `done` as in append.
   */
  reset(index: number, term: number, hardState: HardState, done: Done): void {
    assert(this.#closing === undefined && !this.#closed, 'log: reset after close');
    if (this.#failure !== undefined) {
      done(this.#failure);
      return;
    }
    this.#terms.reset(index, term);
    const frame = this.#newFrame();
    frame.kind = FrameKind.RESET;
    this.#setHardState(frame, hardState);
    frame.waiters.push(done);
    this.#pump();
  }

  /**
   * Entries up to `index` are durable elsewhere. Segments that hold no others are used again or removed, in the
   * background; what remains in the last of them is still returned by the next recovery.
   */
  release(index: number): void {
    assert(index <= this.lastIndex, `log: release of ${index} beyond the last entry ${this.lastIndex}`);
    this.#terms.release(index);
    this.#segments.release(index);
  }

  /** After a lack of space: tries again to make the next segment. `release` does the same when it frees a file. */
  retrySpace(): void {
    this.#segments.retrySpace();
  }

  /**
   * Finishes all appends, notes that the end of the log is whole (so that the next start need not doubt it), and lets go.
   * The disk is not closed. Appends that wait for space fail. Call it once; nothing may be appended afterwards.
   */
  close(done: Done): void {
    assert(this.#closing === undefined && !this.#closed, 'log: closed twice');
    this.#closing = done;
    this.#giveUpWhenFull();
    this.#finishClose();
  }

  /** The frame that takes further appends, if there is one. */
  #openFrame(): Frame | undefined {
    const last = this.#queue.at(-1);
    return last === undefined || (this.#inFlight && this.#queue.length === 1) ? undefined : last;
  }

  #frameFor(bytes: number): Frame {
    const open = this.#openFrame();
    return open !== undefined && open.length + bytes <= this.#frameBytesMax ? open : this.#newFrame();
  }

  #newFrame(): Frame {
    const frame = this.#idleFrame ?? new Frame(this.#hardState);
    this.#idleFrame = undefined;
    frame.begin(this.#hardState, this.#terms.lastIndex, this.#terms.lastTerm);
    this.#queue.push(frame);
    return frame;
  }

  #addEntries(frame: Frame, entries: readonly Entry[], bytes: number): void {
    const first = entries[0];
    if (first === undefined) return;
    const terms = this.#terms;
    assert(first.index > this.#hardState.commit, `log: entry ${first.index} overwrites a committed one`);
    assert(first.index <= terms.lastIndex + 1, `log: entry ${first.index} after ${terms.lastIndex}`);
    // What a frame begins after must be the first thing it tells, so a log can begin with any frame.
    const supersedes = frame.entryCount === 0 || first.index <= frame.prevIndex + 1;
    if (supersedes && frame.kind === FrameKind.APPEND) {
      this.#queuedBytes -= frame.entriesLength;
      frame.rebase(first.index - 1, terms.termOf(first.index - 1));
    }
    frame.reserve(bytes);
    this.#queuedBytes += bytes;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]!;
      assert(entry.index === first.index + i, `log: entry ${entry.index} out of order`);
      terms.append(entry.index, entry.term);
      frame.add(entry);
    }
  }

  #setHardState(frame: Frame, hardState: HardState): void {
    const before = this.#hardState;
    assert(hardState.term >= before.term, `log: term ${hardState.term} after ${before.term}`);
    assert(hardState.commit <= this.lastIndex, `log: commit ${hardState.commit} is beyond ${this.lastIndex}`);
    this.#hardState = this.#merged(hardState);
    frame.hardState = this.#hardState;
  }

  /** A commit index never goes back, and only who says so ends a refill (see HardState). */
  #merged({ term, vote, commit, refilling }: HardState): HardState {
    const before = this.#hardState;
    const life = refilling ?? before.refilling ?? 0n;
    assert(life === 0n || life === before.refilling, 'log: a refill begins with a new log (set-aside.ts)');
    const merged = { term, vote, commit: Math.max(commit, before.commit) };
    return life === 0n ? merged : { ...merged, refilling: life };
  }

  /** Starts the next write if there is one and none is in flight. */
  #pump(): void {
    const frame = this.#queue[0];
    if (frame === undefined || this.#inFlight || this.#failure !== undefined) return;
    if (!this.#segments.fits(frame.paddedLength)) {
      this.#giveUpWhenFull();
      return;
    }
    this.#inFlight = true;
    const alone = this.#queue.length === 1 && frame.entryCount <= 1 && frame.waiters.length === 1;
    this.#write(frame, alone, (error) => {
      this.#inFlight = false;
      if (error !== undefined) this.#fail(error);
      else if (this.#failure === undefined) this.#written(frame);
      if (this.#closing !== undefined) this.#finishClose();
    });
  }

  #write(frame: Frame, alone: boolean, done: Done): void {
    const { activeNumber, offset } = this.#segments;
    const { bytes, crc } = this.#finished(frame);
    if (frame.kind !== FrameKind.SEAL) {
      this.#sequence++;
      this.#chain = crc;
    }
    this.#disk.write(segmentName(activeNumber), offset, bytes, { alone }, done);
  }

  #finished(frame: Frame): { bytes: Uint8Array; crc: number } {
    const place = { segment: this.#segments.activeNumber, sequence: this.#sequence, chain: this.#chain };
    return frame.finish(place, this.#seed, this.#disk.crc32);
  }

  #written(frame: Frame): void {
    this.#queue.shift();
    this.#queuedBytes -= frame.entriesLength;
    this.counters.writes++;
    this.counters.bytesWritten += frame.paddedLength;
    this.counters.entries += frame.entryCount;
    if (frame.kind === FrameKind.RESET) this.#segments.forgetEntries();
    this.#segments.written(frame.paddedLength, frame.indexMax);
    // The disk first, then the callers: they work while it writes.
    this.#pump();
    const waiters = frame.takeWaiters();
    this.#idleFrame = frame;
    for (const done of waiters) done();
  }

  /** The disk has failed: everything that waits is told, and nothing is written any more. */
  #fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#segments.stop();
    const waiters = this.#queue.flatMap((frame) => frame.takeWaiters());
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    for (const done of waiters) done(error);
  }

  /** While closing, what waits for a segment that cannot be made would wait for ever. */
  #giveUpWhenFull(): void {
    const error = this.#segments.spaceError;
    if (this.#closing === undefined || this.#inFlight || this.#queue.length === 0 || error === undefined) return;
    this.#fail(error);
    this.#finishClose();
  }

  #finishClose(): void {
    if (this.#inFlight || this.#queue.length > 0 || this.#closed) return;
    this.#closed = true;
    const finish = (error?: Error) => this.#segments.close(() => this.#closing?.(error));
    if (this.#failure !== undefined) {
      finish(this.#failure);
      return;
    }
    const seal = this.#newFrame();
    seal.kind = FrameKind.SEAL;
    this.#queue.length = 0;
    this.#write(seal, false, (error) => (error === undefined ? this.#writeWitness(seal, finish) : finish(error)));
  }

  /** The seal again, in another place, if there is one. */
  #writeWitness(seal: Frame, done: Done): void {
    const { activeNumber, activeBytes, offset } = this.#segments;
    const at = witnessOffset(activeBytes);
    if (at < offset + FRAME_BYTES_MIN) done();
    else this.#disk.write(segmentName(activeNumber), at, this.#finished(seal).bytes, { alone: false }, done);
  }
}
