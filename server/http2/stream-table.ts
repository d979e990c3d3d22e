/** The streams of a connection by id, and what has to be known of those that are over (RFC 9113 section 5.1). */
import { STREAM_ID_MAX } from './frames.ts';
import type { Http2Stream } from './stream.ts';

/** Streams that we have reset, whose late frames are ignored. */
const RESET_STREAMS_REMEMBERED = 4096;
/** Streams that ended otherwise, remembered to name the error right when one is used again. */
const ENDED_STREAMS_REMEMBERED = 32;

export class StreamTable {
  readonly #open = new Map<number, Http2Stream>();
  readonly #reset = new Set<number>();
  readonly #ended = new Int32Array(ENDED_STREAMS_REMEMBERED);
  #endedNext = 0;
  /** The highest id the peer has used. */
  lastId = 0;
  /** Streams above this id are not served: a GOAWAY has said so. */
  servedId = STREAM_ID_MAX;

  get size(): number {
    return this.#open.size;
  }

  get(id: number): Http2Stream | undefined {
    return this.#open.get(id);
  }

  add(stream: Http2Stream): void {
    this.#open.set(stream.id, stream);
  }

  values(): IterableIterator<Http2Stream> {
    return this.#open.values();
  }

  /** The stream is over; `reset` when an RST_STREAM of ours ended it. */
  remove(id: number, reset: boolean): void {
    this.#open.delete(id);
    if (reset) this.rememberReset(id);
    else {
      this.#ended[this.#endedNext] = id;
      this.#endedNext = (this.#endedNext + 1) % ENDED_STREAMS_REMEMBERED;
    }
  }

  rememberReset(id: number): void {
    this.#reset.add(id);
    if (this.#reset.size <= RESET_STREAMS_REMEMBERED) return;
    for (const oldest of this.#reset) {
      this.#reset.delete(oldest);
      break;
    }
  }

  /** The peer has opened the stream, or skipped it, at some time. */
  wasUsed(id: number): boolean {
    return id > 0 && id <= this.lastId && (id & 1) === 1;
  }

  /** A closed stream whose frames may still be on their way: we have reset it, or a GOAWAY has disowned it. */
  mayLinger(id: number): boolean {
    return this.#reset.has(id) || id > this.servedId;
  }

  /** The stream ended lately, and not by a reset of ours. */
  endedLately(id: number): boolean {
    return this.#ended.includes(id);
  }
}
