/** A frame being filled: the entries of all appends that will share one durable write. Owns its buffer, reuses it. */
import { assert } from '../util/assert.ts';
import type { Crc32 } from '../util/crc32.ts';
import type { Entry, HardState } from '../wire/stored.ts';
import type { Done } from './disk.ts';
import {
  alignFrame,
  ENTRY_HEADER_BYTES,
  encodeEntry,
  encodeFrameState,
  FRAME_BYTES_MIN,
  FrameKind,
  type FramePlace,
  sealFrame,
  viewOf,
} from './format.ts';

const INITIAL_BYTES = 64 * 1024;
/** A buffer that grew beyond this for one large append is given back after it. */
export const FRAME_KEEP_BYTES_MAX = 8 * 1024 * 1024;

/** Bytes that `entries` take in a frame. */
export function entriesBytes(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += ENTRY_HEADER_BYTES + entry.data.length;
  return bytes;
}

export class Frame {
  kind: FrameKind = FrameKind.APPEND;
  hardState: HardState;
  /** Callbacks of the appends in it, in order. */
  waiters: Done[] = [];
  /** Of the entries in it; 0 without any. */
  entryCount = 0;
  indexMax = 0;
  #bytes: Uint8Array = new Uint8Array(INITIAL_BYTES);
  #view: DataView = viewOf(this.#bytes);
  #length = FRAME_BYTES_MIN;
  #prevIndex = 0;
  #prevTerm = 0;

  constructor(hardState: HardState) {
    this.hardState = hardState;
  }

  /** Bytes of the frame as it stands, without padding. */
  get length(): number {
    return this.#length;
  }

  /** Bytes the frame takes in a segment. */
  get paddedLength(): number {
    return alignFrame(this.#length);
  }

  /** Bytes of its entries. */
  get entriesLength(): number {
    return this.#length - FRAME_BYTES_MIN;
  }

  /** The callbacks, which the frame forgets. */
  takeWaiters(): Done[] {
    const waiters = this.waiters;
    this.waiters = [];
    return waiters;
  }

  /** Empties the frame for its next use. `prevIndex` and `prevTerm`: the last entry of the log before it. */
  begin(hardState: HardState, prevIndex: number, prevTerm: number): void {
    assert(this.waiters.length === 0, 'log: a frame is reused while appends wait for it');
    if (this.#bytes.length > FRAME_KEEP_BYTES_MAX) {
      this.#bytes = new Uint8Array(INITIAL_BYTES);
      this.#view = viewOf(this.#bytes);
    }
    this.kind = FrameKind.APPEND;
    this.hardState = hardState;
    this.rebase(prevIndex, prevTerm);
  }

  /** Drops all entries: they have been superseded before they were written. The next one follows `prevIndex`. */
  rebase(prevIndex: number, prevTerm: number): void {
    this.#prevIndex = prevIndex;
    this.#prevTerm = prevTerm;
    this.#length = FRAME_BYTES_MIN;
    this.entryCount = 0;
    this.indexMax = 0;
  }

  /** The index the entries in it begin after. */
  get prevIndex(): number {
    return this.#prevIndex;
  }

  /** Makes room for `bytes` more. */
  reserve(bytes: number): void {
    const needed = alignFrame(this.#length + bytes);
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, Math.min(this.#bytes.length * 2, FRAME_KEEP_BYTES_MAX)));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = viewOf(grown);
  }

  /** Adds an entry; {@link reserve} has made room. */
  add(entry: Entry): void {
    this.#length = encodeEntry(this.#bytes, this.#view, this.#length, entry);
    this.entryCount++;
    if (entry.index > this.indexMax) this.indexMax = entry.index;
  }

  /** The finished frame, padded with zeros, and its checksum. The bytes are the frame's own buffer. */
  finish(place: FramePlace, seed: number, crc32: Crc32): { bytes: Uint8Array; crc: number } {
    this.reserve(0);
    const padded = alignFrame(this.#length);
    this.#bytes.fill(0, this.#length, padded);
    encodeFrameState(this.#view, {
      hardState: this.hardState,
      prevIndex: this.#prevIndex,
      prevTerm: this.#prevTerm,
    });
    const bytes = this.#bytes.subarray(0, this.#length);
    const refilling = this.hardState.refilling !== undefined;
    const crc = sealFrame(bytes, this.#view, this.kind, refilling, place, seed, crc32);
    return { bytes: this.#bytes.subarray(0, padded), crc };
  }
}
