/**
 * The sending half of a connection: writes frames into the output, keeps the peer's windows, and shares connection
 * window and socket fairly between streams that wait. Decides nothing about what is sent.
 */
import type { Duplex } from 'node:stream';
import {
  Flag,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  FrameType,
  INITIAL_WINDOW_BYTES,
  putFrameHeader,
  putUint32,
} from './frames.ts';
import type { Guard } from './guard.ts';
import type { Http2Limits } from './limits.ts';
import { Output, REFERENCE_BYTES_MIN } from './output.ts';

/** A stream with output that waits for a window or for the socket. */
export interface QueuedStream {
  /** The peer's window for this stream; may be negative. */
  sendWindow: number;
  readonly queuedBytes: number;
  /** Writes one frame of the queue, within the windows. */
  sendQueued(): void;
}

export class Sender {
  readonly output: Output;
  readonly limits: Http2Limits;
  /** The peer's window for the connection. */
  window = INITIAL_WINDOW_BYTES;
  /** What the peer lets a new stream send. */
  initialWindow = INITIAL_WINDOW_BYTES;
  /** Bytes queued over all streams. */
  queuedBytes = 0;
  /** A HEADERS or DATA frame was written since the flag was last cleared: the peer may ping again. */
  repliedSincePing = false;
  /** Streams that wait for the connection's window or the socket, not for their own window; served in turn. */
  readonly #ready = new Set<QueuedStream>();
  readonly #guard: Guard;
  #pumping = false;
  #pumpScheduled = false;
  #closed = false;

  constructor(socket: Duplex, limits: Http2Limits, guard: Guard) {
    this.limits = limits;
    this.#guard = guard;
    this.output = new Output(socket, () => this.#flushed());
  }

  /** True while DATA may go straight to the output, as far as the socket is concerned. */
  get open(): boolean {
    return !this.output.blocked && this.output.pendingBytes < this.limits.outputHighWaterBytes;
  }

  // ---- frames

  headers(streamId: number, block: Uint8Array, endStream: boolean): void {
    this.repliedSincePing = true;
    const endFlag = endStream ? Flag.END_STREAM : 0;
    if (block.length <= FRAME_BYTES_MAX) {
      this.#frame(FrameType.HEADERS, endFlag | Flag.END_HEADERS, streamId, block, 0, block.length);
      return;
    }
    this.#frame(FrameType.HEADERS, endFlag, streamId, block, 0, FRAME_BYTES_MAX);
    for (let at = FRAME_BYTES_MAX; at < block.length; at += FRAME_BYTES_MAX) {
      const end = Math.min(at + FRAME_BYTES_MAX, block.length);
      this.#frame(FrameType.CONTINUATION, end === block.length ? Flag.END_HEADERS : 0, streamId, block, at, end);
    }
  }

  /** One DATA frame with `payload[start..end]`; takes it from the connection's window, not from the stream's. */
  data(streamId: number, payload: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.repliedSincePing = true;
    this.window -= end - start;
    this.#guard.progress();
    this.#frame(FrameType.DATA, endStream ? Flag.END_STREAM : 0, streamId, payload, start, end);
  }

  /**
   * Room for one DATA frame of `bytes` bytes, its header written: the caller fills `output.buffer` from the returned
   * position.
   */
  dataFrame(streamId: number, bytes: number, endStream: boolean): number {
    this.repliedSincePing = true;
    this.window -= bytes;
    this.#guard.progress();
    const at = this.output.reserve(FRAME_HEADER_BYTES + bytes);
    return putFrameHeader(this.output.buffer, at, bytes, FrameType.DATA, endStream ? Flag.END_STREAM : 0, streamId);
  }

  /** A whole response in one piece; the caller has checked both windows, and that the body fits a frame. */
  response(streamId: number, headers: Uint8Array, body: Uint8Array, trailers: Uint8Array): void {
    this.repliedSincePing = true;
    this.window -= body.length;
    this.#guard.progress();
    const output = this.output;
    let at = output.reserve(3 * FRAME_HEADER_BYTES + headers.length + body.length + trailers.length);
    const out = output.buffer;
    at = putFrameHeader(out, at, headers.length, FrameType.HEADERS, Flag.END_HEADERS, streamId);
    out.set(headers, at);
    at = putFrameHeader(out, at + headers.length, body.length, FrameType.DATA, 0, streamId);
    out.set(body, at);
    at += body.length;
    at = putFrameHeader(out, at, trailers.length, FrameType.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, streamId);
    out.set(trailers, at);
  }

  /** A frame whose payload is one 32-bit word: RST_STREAM, WINDOW_UPDATE. */
  word(type: number, streamId: number, value: number): void {
    const at = this.output.reserve(FRAME_HEADER_BYTES + 4);
    putUint32(this.output.buffer, putFrameHeader(this.output.buffer, at, 4, type, 0, streamId), value);
  }

  control(type: number, flags: number, payload: Uint8Array): void {
    this.#frame(type, flags, 0, payload, 0, payload.length);
  }

  #frame(type: number, flags: number, streamId: number, payload: Uint8Array, start: number, end: number): void {
    const bytes = end - start;
    const output = this.output;
    const whole = start === 0 && end === payload.length;
    if (bytes < REFERENCE_BYTES_MIN) {
      const at = output.reserve(FRAME_HEADER_BYTES + bytes);
      const body = putFrameHeader(output.buffer, at, bytes, type, flags, streamId);
      output.buffer.set(whole ? payload : payload.subarray(start, end), body);
      return;
    }
    const at = output.reserve(FRAME_HEADER_BYTES); // before output.buffer is read: it may be another one now
    putFrameHeader(output.buffer, at, bytes, type, flags, streamId);
    output.append(whole ? payload : payload.subarray(start, end));
  }

  // ---- waiting streams

  /** The stream has queued output and a window of its own: it waits for its turn. */
  enqueue(stream: QueuedStream): void {
    this.#ready.add(stream);
    this.#schedulePump();
  }

  forget(stream: QueuedStream): void {
    this.#ready.delete(stream);
  }

  /** Lets waiting streams send, one frame each in turn, as far as window and socket allow. */
  pump(): void {
    if (this.#pumping || this.#closed) return;
    this.#pumping = true;
    for (const stream of this.#ready) {
      if (this.window <= 0 || !this.open) break;
      this.#ready.delete(stream);
      stream.sendQueued();
      if (stream.queuedBytes > 0 && stream.sendWindow > 0) this.#ready.add(stream); // to the end of the line
    }
    this.#pumping = false;
  }

  /** The socket takes output again. */
  drained(): void {
    this.output.blocked = false;
    this.#guard.drained();
    this.pump();
  }

  #flushed(): void {
    if (!this.output.blocked) this.#guard.drained();
    this.#schedulePump();
  }

  /** In a turn of its own, so that one large response never holds up the loop. */
  #schedulePump(): void {
    if (this.#pumpScheduled || this.#ready.size === 0 || this.window <= 0 || this.output.blocked) return;
    this.#pumpScheduled = true;
    setImmediate(() => {
      this.#pumpScheduled = false;
      this.pump();
    });
  }

  close(): void {
    this.#closed = true;
    this.#ready.clear();
    this.output.close();
  }
}
