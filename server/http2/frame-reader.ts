/**
 * Cuts a stream of chunks into frames in one pass. Owns the bytes of a frame that came in pieces and nothing else: no
 * frame's meaning, no stream. A frame that lies whole in a chunk is handed on in place, without a copy.
 */
import { FRAME_HEADER_BYTES, FrameType, readUint31 } from './frames.ts';

export interface FrameSink {
  /**
   * One frame: its payload is `bytes[start..end]`, which the sink may keep views of. False stops the reader for good.
   */
  frame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): boolean;
  /** A frame announced more than the limit; its payload is not read and the reader stops. */
  oversizedFrame(type: number, streamId: number, payloadBytes: number): void;
}

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #payloadBytesMax: number;
  /** The start of a frame header that was cut. */
  readonly #header = Buffer.alloc(FRAME_HEADER_BYTES);
  #headerBytes = 0;
  /** The payload being put together; memory of its own because views of it are handed on. */
  #payload: Buffer | undefined;
  #payloadBytes = 0;
  #stopped = false;
  /** Whole frames handed on so far. */
  frames = 0;

  constructor(sink: FrameSink, payloadBytesMax: number) {
    this.#sink = sink;
    this.#payloadBytesMax = payloadBytesMax;
  }

  /** True while a frame has begun and its end has not come. */
  get midFrame(): boolean {
    return this.#headerBytes > 0 || this.#payload !== undefined;
  }

  /** Reads `chunk[at..]`; the chunk must not be written to afterwards. */
  push(chunk: Buffer, at = 0): void {
    if (this.#stopped) return;
    if (this.#payload !== undefined || this.#headerBytes > 0) {
      at = this.#resume(chunk, at);
      if (at < 0) return;
    }
    const length = chunk.length;
    while (length - at >= FRAME_HEADER_BYTES) {
      const payloadBytes = (chunk[at]! << 16) | (chunk[at + 1]! << 8) | chunk[at + 2]!;
      const start = at + FRAME_HEADER_BYTES;
      if (payloadBytes > this.#payloadBytesMax || start + payloadBytes > length) break;
      at = start + payloadBytes;
      this.frames++;
      if (!this.#sink.frame(chunk[start - 6]!, chunk[start - 5]!, readUint31(chunk, start - 4), chunk, start, at)) {
        this.#stopped = true;
        return;
      }
    }
    if (at < length) this.#resume(chunk, at);
  }

  /** Takes what the frame in pieces still lacks. Returns where the next frame begins, or -1 when the chunk is used up. */
  #resume(chunk: Buffer, at: number): number {
    const header = this.#header;
    if (this.#headerBytes < FRAME_HEADER_BYTES) {
      const taken = Math.min(FRAME_HEADER_BYTES - this.#headerBytes, chunk.length - at);
      chunk.copy(header, this.#headerBytes, at, at + taken);
      this.#headerBytes += taken;
      at += taken;
      if (this.#headerBytes < FRAME_HEADER_BYTES) return -1;
      const announced = (header[0]! << 16) | (header[1]! << 8) | header[2]!;
      if (announced > this.#payloadBytesMax) {
        this.#stopped = true;
        this.#sink.oversizedFrame(header[3]!, readUint31(header, 5), announced);
        return -1;
      }
      this.#payload = Buffer.allocUnsafe(announced);
      this.#payloadBytes = 0;
    }
    const payload = this.#payload!;
    const taken = Math.min(payload.length - this.#payloadBytes, chunk.length - at);
    chunk.copy(payload, this.#payloadBytes, at, at + taken);
    this.#payloadBytes += taken;
    if (this.#payloadBytes < payload.length) return -1;
    this.#payload = undefined;
    this.#headerBytes = 0;
    this.frames++;
    if (!this.#sink.frame(header[3]!, header[4]!, readUint31(header, 5), payload, 0, payload.length)) {
      this.#stopped = true;
      return -1;
    }
    return at + taken;
  }
}

/** The name of a frame type, for messages. */
export function frameName(type: number): string {
  return Object.keys(FrameType).find((name) => FrameType[name as keyof typeof FrameType] === type) ?? `type ${type}`;
}
