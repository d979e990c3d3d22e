/**
 * The files of the log: the one being written, the next one (made ready in the background, or recycled from a released
 * one), and the older ones until their entries are released. Owns their life; never looks into them.
 */
import { RosterError } from '../errors.ts';
import { assert } from '../util/assert.ts';
import type { Done, LogDisk } from './disk.ts';
import {
  encodeSegmentHeader,
  FORMAT_VERSION,
  SEALS_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentName,
  type WalIdentity,
} from './format.ts';

/** Segment numbers are 32 bits in a frame; at one segment of 64 MiB a second that is 136 years. */
export const SEGMENT_NUMBER_MAX = 0xffff_ffff;

/** Released segments kept under their old names, to become the next one. */
const RECYCLED_SEGMENTS = 1;

/** A segment with at least one durable frame in it. */
export interface Segment {
  readonly number: number;
  readonly sizeBytes: number;
  /** Highest index of any entry written into it, superseded ones included; 0 without entries. */
  indexMax: number;
}

interface Spare {
  readonly number: number;
  readonly sizeBytes: number;
}

export interface SegmentsStart {
  readonly identity: WalIdentity;
  /** Size of new segments. */
  readonly segmentBytes: number;
  /** Oldest first; at least one, the last being the one to write on. It may have no frames yet. */
  readonly segments: readonly Segment[];
  /** Where the next frame goes in the last one. */
  readonly offset: number;
  readonly spare: Spare | undefined;
}

export interface SegmentEvents {
  /** There may be room now where there was none. */
  onRoom(): void;
  /** A next segment cannot be made for lack of space (an error of code NoSpace), or can again (undefined). */
  onSpace(error: RosterError | undefined): void;
  /** The disk failed: final. */
  onFailure(error: Error): void;
}

export class Segments {
  readonly #disk: LogDisk;
  readonly #events: SegmentEvents;
  readonly #identity: WalIdentity;
  readonly #segmentBytes: number;
  readonly #held: Segment[];
  /** The segment being written; in #held once its first frame is durable. */
  #active: Segment;
  #offset: number;
  #spare: Spare | undefined;
  /** Bytes a waiting frame needs and neither the active segment nor the spare has. */
  #wantedBytes = 0;
  #releasedIndex = 0;
  #spaceError: RosterError | undefined;
  #spaceRetry = false;
  #busy = false;
  #closing: (() => void) | undefined;
  #stopped = false;

  constructor(disk: LogDisk, start: SegmentsStart, events: SegmentEvents) {
    assert(start.segments.length > 0, 'log: there is always a segment');
    this.#disk = disk;
    this.#events = events;
    this.#identity = start.identity;
    this.#segmentBytes = start.segmentBytes;
    this.#held = start.segments.map((segment) => ({ ...segment }));
    this.#active = this.#held.at(-1)!;
    this.#offset = start.offset;
    this.#spare = start.spare;
  }

  /** Number of the segment being written. */
  get activeNumber(): number {
    return this.#active.number;
  }

  /** Where in it the next frame goes. */
  get offset(): number {
    return this.#offset;
  }

  /** Bytes in the segment being written. */
  get activeBytes(): number {
    return this.#active.sizeBytes;
  }

  /** Segments with durable frames. */
  get count(): number {
    return this.#held.length;
  }

  /** Why there is no next segment, if it is for lack of space. */
  get spaceError(): RosterError | undefined {
    return this.#spaceError;
  }

  /**
   * Whether a frame of `bytes` (padded) has a place: in the active segment, or else in the spare, which then becomes
   * the active one. If not, `onRoom` follows when it may. Every segment keeps room for its seals.
   */
  fits(bytes: number): boolean {
    if (this.#offset + bytes + SEALS_BYTES <= this.#active.sizeBytes) return true;
    const needed = SEGMENT_HEADER_BYTES + bytes + SEALS_BYTES;
    const spare = this.#spare;
    if (spare !== undefined && needed <= spare.sizeBytes) {
      this.#active = { number: spare.number, sizeBytes: spare.sizeBytes, indexMax: 0 };
      this.#offset = SEGMENT_HEADER_BYTES;
      this.#spare = undefined;
      this.#wantedBytes = 0;
      return true;
    }
    this.#wantedBytes = needed;
    this.maintain();
    return false;
  }

  /** A frame of `bytes` (padded) with entries up to `indexMax` is durable at `offset`. */
  written(bytes: number, indexMax: number): void {
    this.#offset += bytes;
    if (this.#held.at(-1) !== this.#active) this.#held.push(this.#active);
    if (indexMax > this.#active.indexMax) this.#active.indexMax = indexMax;
    this.maintain();
  }

  /** The log was reset: nothing in segments before the active one is needed any more. */
  forgetEntries(): void {
    for (const segment of this.#held) segment.indexMax = 0;
  }

  /** Entries up to `index` are not needed any more. */
  release(index: number): void {
    if (index > this.#releasedIndex) this.#releasedIndex = index;
    this.maintain();
  }

  /** Tries again to make a next segment after a lack of space. */
  retrySpace(): void {
    if (this.#spaceError === undefined) return;
    this.#spaceRetry = true;
    this.maintain();
  }

  /** Starts the next piece of background work, if there is any and none is under way. One at a time, in order. */
  maintain(): void {
    if (this.#busy || this.#stopped || this.#closing !== undefined) return;
    const released = this.#releasedCount();
    const spare = this.#spare;
    const wanting = spare === undefined || spare.sizeBytes < this.#wantedBytes;
    const oldest = this.#held[0]!;
    const recyclable = oldest.sizeBytes === this.#segmentBytes && this.#wantedBytes <= this.#segmentBytes;
    const full = this.#spaceError !== undefined;
    if (released > RECYCLED_SEGMENTS) this.#removeOldest();
    else if (wanting && released > 0 && spare === undefined && recyclable) this.#recycleOldest();
    else if (wanting && released > 0 && full) this.#removeOldest();
    else if (wanting && (!full || this.#spaceRetry)) this.#create();
  }

  /** Finishes what is under way and starts nothing more. */
  close(done: () => void): void {
    this.#closing = done;
    if (!this.#busy) done();
  }

  /** Starts nothing more. */
  stop(): void {
    this.#stopped = true;
  }

  /** How many of the oldest segments hold nothing that is needed. The last one with frames always stays. */
  #releasedCount(): number {
    let count = 0;
    while (count < this.#held.length - 1 && this.#held[count]!.indexMax <= this.#releasedIndex) count++;
    return count;
  }

  #nextNumber(): number {
    const number = this.#active.number + 1;
    assert(number <= SEGMENT_NUMBER_MAX, 'log: segment numbers are used up');
    return number;
  }

  #begin(): Done {
    this.#busy = true;
    return (error) => {
      this.#busy = false;
      if (error !== undefined && !this.#stopped) this.#failed(error);
      if (this.#closing !== undefined) this.#closing();
      else this.maintain();
    };
  }

  #failed(error: Error): void {
    if (error instanceof RosterError && error.code === 'NoSpace') {
      const known = this.#spaceError !== undefined;
      this.#spaceError = error;
      if (!known) this.#events.onSpace(error);
    } else {
      this.#stopped = true;
      this.#events.onFailure(error);
    }
  }

  #removeOldest(): void {
    const done = this.#begin();
    const oldest = this.#held.shift()!;
    this.#disk.remove(segmentName(oldest.number), (error) => {
      this.#spaceRetry = true;
      done(error);
    });
  }

  /**
   * The oldest file becomes the next one. Between rename and header write it is a segment whose header names another
   * number, which recovery knows to be empty.
   */
  #recycleOldest(): void {
    const done = this.#begin();
    const oldest = this.#held.shift()!;
    const number = this.#nextNumber();
    const name = segmentName(number);
    this.#disk.rename(segmentName(oldest.number), name, (renameError) => {
      if (renameError !== undefined) return done(renameError);
      this.#disk.write(name, 0, this.#header(number, oldest.sizeBytes), { alone: false }, (error) => {
        if (error === undefined) this.#adopt({ number, sizeBytes: oldest.sizeBytes });
        done(error);
      });
    });
  }

  #create(): void {
    const done = this.#begin();
    this.#spaceRetry = false;
    const number = this.#nextNumber();
    const sizeBytes = Math.max(this.#segmentBytes, this.#wantedBytes);
    this.#spare = undefined;
    this.#disk.create(segmentName(number), sizeBytes, [this.#header(number, sizeBytes)], (error) => {
      if (error === undefined) this.#adopt({ number, sizeBytes });
      done(error);
    });
  }

  #adopt(spare: Spare): void {
    this.#spare = spare;
    if (this.#spaceError !== undefined) {
      this.#spaceError = undefined;
      this.#events.onSpace(undefined);
    }
    if (spare.sizeBytes >= this.#wantedBytes) {
      this.#wantedBytes = 0;
      if (!this.#stopped) this.#events.onRoom();
    }
  }

  #header(number: number, sizeBytes: number): Uint8Array {
    const header = { version: FORMAT_VERSION, number, sizeBytes, identity: this.#identity };
    return encodeSegmentHeader(header, this.#disk.crc32);
  }
}
