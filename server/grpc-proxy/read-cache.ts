/**
 * Answers to reads that a serializable read may be given again: for a short time, until something that passes changes a key
 * of it, and for callers with the same token only. Bounded in bytes and number; what was used longest ago goes first.
 */

import type { ByteString } from '../../core/util/bytes.ts';
import { toByteString } from '../../core/util/bytes.ts';
import { IntervalTree, OPEN_END } from '../../core/watch/interval-tree.ts';
import { encode } from '../../core/wire/binary.ts';
import { RangeRequest, RangeResponse } from '../../core/wire/messages.ts';

export interface ReadCacheLimits {
  /** 0: nothing is kept. */
  readonly ageMaxMs: number;
  readonly bytesMax: number;
  readonly entriesMax: number;
}

/** One answer may fill this part of the cache. */
const SHARE_MAX = 1 / 16;
/** Bookkeeping of an entry, besides its bytes. */
const ENTRY_BYTES = 512;

interface Entry {
  readonly id: string;
  readonly start: ByteString;
  readonly end: ByteString;
  readonly atRevision: number;
  /** Until the answer is there, undefined. */
  response: RangeResponse | undefined;
  bytes: number;
  /** Of the read that brought it: performance.now() when it was sent. */
  readonly readAtMs: number;
}

/** A read on its way: what it brings is kept unless something passes meanwhile that changes it. */
export interface ReadUnderWay {
  /** The answer is there. */
  keep(response: RangeResponse): void;
  /** There is none. */
  drop(): void;
}

export class ReadCache {
  readonly #limits: ReadCacheLimits;
  /** Oldest use first. */
  readonly #entries = new Map<string, Entry>();
  /** Entries and reads under way, by range. */
  readonly #ranges = new IntervalTree<Entry>();
  /** Reads under way whose answer is not to be kept. */
  readonly #invalid = new WeakSet<Entry>();
  #bytes = 0;
  hits = 0;
  misses = 0;

  constructor(limits: ReadCacheLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** An answer for a serializable read of this caller, if there is one that is young enough. */
  find(callerId: string, request: RangeRequest, nowMs: number): RangeResponse | undefined {
    const id = idOf(callerId, request);
    const entry = this.#entries.get(id);
    if (entry?.response === undefined || nowMs - entry.readAtMs >= this.#limits.ageMaxMs) {
      if (entry !== undefined) this.#forget(entry);
      this.misses++;
      return undefined;
    }
    this.#entries.delete(id);
    this.#entries.set(id, entry);
    this.hits++;
    return entry.response;
  }

  /** To be called before the read is sent. */
  begin(callerId: string, request: RangeRequest, nowMs: number): ReadUnderWay {
    const { key, range_end: end, revision } = request;
    const [start, to] = end === '' ? [key, `${key}\0`] : [key, end];
    if (this.#limits.ageMaxMs === 0 || (to !== OPEN_END && start >= to)) return { keep() {}, drop() {} };
    const entry: Entry = {
      id: idOf(callerId, request),
      start,
      end: to,
      atRevision: revision,
      response: undefined,
      bytes: 0,
      readAtMs: nowMs,
    };
    this.#ranges.add(entry.start, entry.end, entry);
    let gone = false;
    const under = {
      keep: (response: RangeResponse) => {
        if (gone || this.#invalid.delete(entry)) return;
        gone = true;
        this.#keep(entry, response);
      },
      drop: () => {
        if (gone || this.#invalid.delete(entry)) return;
        gone = true;
        this.#ranges.delete(entry.start, entry.end, entry);
      },
    };
    return under;
  }

  /** Something has changed, or may have changed, `key`, or the keys from it to `rangeEnd`. */
  changed(key: ByteString, rangeEnd: ByteString = ''): void {
    const found: Entry[] = [];
    if (rangeEnd === '') this.#ranges.match(key, found);
    else {
      this.#ranges.collectAll(found);
    }
    for (const entry of found) {
      if (rangeEnd !== '' && !overlaps(entry, key, rangeEnd)) continue;
      // What a revision held does not change.
      if (entry.atRevision === 0) this.#forget(entry);
    }
  }

  /** Reads at revisions before this one are refused by the store from now on. */
  compacted(revision: number): void {
    const found: Entry[] = [];
    this.#ranges.collectAll(found);
    for (const entry of found) if (entry.atRevision > 0 && entry.atRevision < revision) this.#forget(entry);
  }

  /** What may be read, and by whom, may be another matter from now on. */
  clear(): void {
    const found: Entry[] = [];
    this.#ranges.collectAll(found);
    for (const entry of found) this.#forget(entry);
  }

  #keep(entry: Entry, response: RangeResponse): void {
    const bytes = encode(RangeResponse, response).length + 2 * entry.id.length + ENTRY_BYTES;
    const older = this.#entries.get(entry.id);
    if (older !== undefined) this.#forget(older);
    if (bytes > this.#limits.bytesMax * SHARE_MAX) {
      this.#ranges.delete(entry.start, entry.end, entry);
      return;
    }
    entry.response = response;
    entry.bytes = bytes;
    this.#bytes += bytes;
    this.#entries.set(entry.id, entry);
    for (const oldest of this.#entries.values()) {
      if (this.#bytes <= this.#limits.bytesMax && this.#entries.size <= this.#limits.entriesMax) break;
      this.#forget(oldest);
    }
  }

  #forget(entry: Entry): void {
    this.#ranges.delete(entry.start, entry.end, entry);
    if (entry.response === undefined) {
      this.#invalid.add(entry);
      return;
    }
    this.#entries.delete(entry.id);
    this.#bytes -= entry.bytes;
  }
}

function overlaps({ start, end }: Entry, key: ByteString, rangeEnd: ByteString): boolean {
  return (end === OPEN_END || key < end) && (rangeEnd === OPEN_END || start < rangeEnd);
}

/** A linearizable read asks for the same, and its answer will do. */
function idOf(callerId: string, request: RangeRequest): string {
  return `${callerId}${toByteString(encode(RangeRequest, { ...request, serializable: true }))}`;
}
