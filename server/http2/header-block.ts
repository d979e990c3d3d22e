/**
 * A header block that spans HEADERS and CONTINUATION frames (RFC 9113 section 4.3), put together within limits. Owns the
 * pieces until the last has come.
 */
import { ConnectionError } from './connection-error.ts';
import { ErrorCode } from './frames.ts';
import type { Http2Limits } from './limits.ts';

export class HeaderBlock {
  readonly streamId: number;
  readonly endStream: boolean;
  /** The stream depends on itself: the block is decoded, then refused. */
  readonly selfDependent: boolean;
  readonly startedMs: number;
  readonly #limits: Http2Limits;
  readonly #pieces: Buffer[];
  #bytes: number;
  #continuations = 0;

  constructor(
    limits: Http2Limits,
    streamId: number,
    endStream: boolean,
    selfDependent: boolean,
    first: Buffer,
    nowMs: number,
  ) {
    this.#limits = limits;
    this.streamId = streamId;
    this.endStream = endStream;
    this.selfDependent = selfDependent;
    this.startedMs = nowMs;
    this.#pieces = [Buffer.from(first)];
    this.#bytes = first.length;
  }

  /** Adds the fragment of a CONTINUATION. Throws {@link ConnectionError} beyond the limits. */
  add(fragment: Buffer): void {
    this.#continuations++;
    this.#bytes += fragment.length;
    if (this.#continuations > this.#limits.continuationsMax || this.#bytes > this.#limits.headerBlockBytesMax) {
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'header block too large');
    }
    this.#pieces.push(Buffer.from(fragment)); // a copy: a view would keep the received chunk
  }

  /** The whole block. */
  join(): Buffer {
    return Buffer.concat(this.#pieces, this.#bytes);
  }
}
