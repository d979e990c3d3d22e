/**
 * One HTTP/2 stream as its handler sees it: what arrives, what is sent, flow control both ways (RFC 9113 sections 5, 6.9).
 * Owns the stream's state and its queue of output; reads no frames and writes none but through the Sender.
 */
import { assert } from '../../core/util/assert.ts';
import { allocateBytes } from '../../core/util/bytes.ts';
import { ErrorCode, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameType } from './frames.ts';
import type { HeaderField, RequestHeaders } from './header-list.ts';
import { encodeHeaderBlock } from './hpack.ts';
import { BUFFER_BYTES_MAX, REFERENCE_BYTES_MIN } from './output.ts';
import type { Sender } from './sender.ts';

/** Why a stream is over. `code` is the HTTP/2 error code; `complete` means both sides have said all they had to. */
export interface CloseReason {
  readonly by: 'complete' | 'peer' | 'local' | 'connection';
  readonly code: number;
}

/** The handler of a stream. An object, not closures: there is one per request. */
export interface StreamEvents {
  /** Part of the request body: `bytes[start..end]`, never written to again. Return the credit with `consumed`. */
  data(bytes: Buffer, start: number, end: number): void;
  /** The request is complete. */
  end(): void;
  /** The queue that made `sendData` say false is worked off. */
  drain(): void;
  /** The stream is over, whatever the way; called once, and nothing after it. */
  close(reason: CloseReason): void;
}

/** What a stream asks of its connection. */
export interface StreamOwner {
  readonly sender: Sender;
  readonly remote: string;
  /** Of the peer's verified certificate. */
  readonly commonName: string | undefined;
  /** Milliseconds, monotonic, as of the last tick. */
  readonly coarseNowMs: number;
  /** Takes `bytes` of the connection's receive window back into use. */
  credit(bytes: number): void;
  /** The stream is over; `reset` when an RST_STREAM of ours ended it. */
  closed(stream: Http2Stream, reason: CloseReason, reset: boolean): void;
}

/** Of a frame that is copied: it fits the output's buffer, which is used again once the socket has taken it. */
const COPIED_BYTES_MAX = BUFFER_BYTES_MAX - FRAME_HEADER_BYTES;

const COMPLETE: CloseReason = Object.freeze({ by: 'complete', code: ErrorCode.NO_ERROR });
const SILENT: StreamEvents = Object.freeze({ data() {}, end() {}, drain() {}, close() {} });

export class Http2Stream {
  readonly id: number;
  readonly headers: RequestHeaders;
  /** Set it before `onStream` returns; what arrives without it is lost. */
  events: StreamEvents = SILENT;
  /** The peer has ended its side. */
  requestEnded = false;
  /** The stream is over: whatever is sent from now on goes nowhere. */
  closed = false;

  readonly #owner: StreamOwner;
  readonly #sender: Sender;

  // Receiving.
  /** For the connection: what the peer may still send. */
  receiveWindow: number;
  /** For the connection: body bytes so far, to hold against content-length. */
  receivedBytes = 0;
  #unconsumedBytes = 0;
  #unannouncedBytes = 0;

  // Sending.
  /** For the connection: what we may still send; negative after the peer shrank its windows. */
  sendWindow: number;
  #headersSent = false;
  #ended = false;
  #queue: Uint8Array[] = [];
  /** The chunk at the front, and how much of it is sent. */
  #front = 0;
  #frontSent = 0;
  #queuedBytes = 0;
  #endsWithData = false;
  #trailers: Uint8Array | undefined;
  #tellDrain = false;
  /** Stall detection: when the mark was set and how much had been sent then. */
  #markMs = 0;
  #markBytes = 0;
  #sentBytes = 0;

  constructor(owner: StreamOwner, id: number, headers: RequestHeaders, receiveWindow: number) {
    this.#owner = owner;
    this.#sender = owner.sender;
    this.id = id;
    this.headers = headers;
    this.receiveWindow = receiveWindow;
    this.sendWindow = owner.sender.initialWindow;
  }

  /** Address and port of the peer. */
  get remote(): string {
    return this.#owner.remote;
  }

  /** The common name in the peer's certificate, if it has shown one and that was verified. */
  get commonName(): string | undefined {
    return this.#owner.commonName;
  }

  /** Output that waits for the peer's window or the socket. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get headersSent(): boolean {
    return this.#headersSent;
  }

  // ---- the handler's side

  /** Returns flow-control credit for body bytes that `data` delivered. Until then the peer cannot send as many more. */
  consumed(bytes: number): void {
    assert(bytes <= this.#unconsumedBytes, 'consumed: more than was delivered');
    if (this.closed) return; // the close has returned it
    this.#unconsumedBytes -= bytes;
    this.#owner.credit(bytes);
    if (this.requestEnded) return;
    this.#unannouncedBytes += bytes;
    if (this.#unannouncedBytes * 2 < this.#sender.limits.streamWindowBytes) return;
    this.receiveWindow += this.#unannouncedBytes;
    this.#sender.word(FrameType.WINDOW_UPDATE, this.id, this.#unannouncedBytes);
    this.#unannouncedBytes = 0;
  }

  /** Sends the response's header section: a block from `encodeHeaderBlock`, or fields. */
  sendHeaders(block: Uint8Array | readonly HeaderField[], endStream = false): void {
    if (this.closed) return;
    assert(!this.#headersSent, 'sendHeaders: the response has begun');
    this.#headersSent = true;
    this.#sender.headers(this.id, block instanceof Uint8Array ? block : encodeHeaderBlock(block), endStream);
    if (endStream) this.#finish();
  }

  /**
   * Sends part of the body. The chunk is the stream's from now on: it must not be written to. False when more than
   * `streamHighWaterBytes` wait: stop until `drain`.
   */
  sendData(chunk: Uint8Array, endStream = false): boolean {
    if (this.closed) return true;
    assert(this.#headersSent && !this.#ended, 'sendData: outside the body');
    const sent = this.#queuedBytes === 0 ? this.#sendNow(chunk, endStream) : 0;
    if (sent === chunk.length && this.#queuedBytes === 0) {
      if (endStream) this.#finish();
      return true;
    }
    if (endStream) {
      this.#endsWithData = true;
      this.#ended = true;
    }
    return this.#enqueue(sent === 0 ? chunk : chunk.subarray(sent));
  }

  /** As {@link sendData}, but the chunk stays the caller's: what has to wait is copied, what has not goes at once. */
  sendLent(chunk: Uint8Array): boolean {
    if (this.closed) return true;
    let sent = 0;
    while (sent < chunk.length) {
      const bytes = Math.min(chunk.length - sent, this.sendWindow, this.#sender.window, COPIED_BYTES_MAX);
      const room = bytes > 0 ? this.room(bytes) : undefined;
      if (room === undefined) break;
      room.set(chunk.subarray(sent, sent + bytes));
      sent += bytes;
    }
    if (sent === chunk.length) return true;
    const rest = allocateBytes(chunk.length - sent);
    rest.set(chunk.subarray(sent));
    return this.sendData(rest);
  }

  /**
   * Memory for the next `bytes` bytes of the body, to be filled before anything else happens; they count as sent. None
   * when they would have to wait or do not fit one frame: send them with `sendData` then.
   */
  room(bytes: number): Uint8Array | undefined {
    const sender = this.#sender;
    if (this.closed || this.#queuedBytes > 0 || bytes > FRAME_BYTES_MAX) return undefined;
    if (bytes > this.sendWindow || bytes > sender.window || !sender.open) return undefined;
    assert(this.#headersSent && !this.#ended, 'room: outside the body');
    this.sendWindow -= bytes;
    const at = sender.dataFrame(this.id, bytes, false);
    return sender.output.buffer.subarray(at, at + bytes);
  }

  /** Ends the response with a trailer section. */
  sendTrailers(block: Uint8Array): void {
    if (this.closed) return;
    assert(this.#headersSent && !this.#ended, 'sendTrailers: outside the body');
    if (this.#queuedBytes > 0) {
      this.#ended = true;
      this.#trailers = block;
      return;
    }
    this.#sender.headers(this.id, block, true);
    this.#finish();
  }

  /** A whole response at once: the fast path of a unary call, one copy and no frame objects. */
  respond(headers: Uint8Array, body: Uint8Array, trailers: Uint8Array): void {
    if (this.closed) return;
    assert(!this.#headersSent, 'respond: the response has begun');
    const sender = this.#sender;
    const bytes = body.length;
    if (bytes < REFERENCE_BYTES_MIN && bytes <= this.sendWindow && bytes <= sender.window && sender.open) {
      this.#headersSent = true;
      this.sendWindow -= bytes;
      sender.response(this.id, headers, body, trailers);
      this.#finish();
      return;
    }
    this.sendHeaders(headers);
    this.sendData(body);
    this.sendTrailers(trailers);
  }

  /** Ends the stream with RST_STREAM, both ways. */
  reset(code: ErrorCode): void {
    if (this.closed) return;
    this.#sender.word(FrameType.RST_STREAM, this.id, code);
    this.#close({ by: 'local', code }, true);
  }

  // ---- the connection's side

  /** Body bytes have arrived and are within the window. */
  receive(bytes: Buffer, start: number, end: number): void {
    this.#unconsumedBytes += end - start;
    this.events.data(bytes, start, end);
  }

  /** The stream ended without a word of ours: the peer's reset, or the connection's end. */
  abandon(reason: CloseReason): void {
    if (!this.closed) this.#close(reason, false);
  }

  /** Adds to the peer's window; the caller has checked the sum. */
  widen(bytes: number): void {
    const before = this.sendWindow;
    this.sendWindow += bytes;
    if (before <= 0 && this.sendWindow > 0 && this.#queuedBytes > 0) this.#sender.enqueue(this);
  }

  /** For the Sender: writes one frame of the queue. */
  sendQueued(): void {
    const sender = this.#sender;
    const bytes = Math.min(this.#queuedBytes, this.sendWindow, sender.window, FRAME_BYTES_MAX);
    if (bytes <= 0) return;
    const last = bytes === this.#queuedBytes;
    const front = this.#queue[this.#front]!;
    this.sendWindow -= bytes;
    this.#sentBytes += bytes;
    const endStream = last && this.#endsWithData;
    if (bytes >= REFERENCE_BYTES_MIN && front.length - this.#frontSent >= bytes) {
      sender.data(this.id, front, this.#frontSent, this.#frontSent + bytes, endStream);
      this.#take(bytes);
    } else {
      let at = sender.dataFrame(this.id, bytes, endStream);
      for (let left = bytes; left > 0; ) {
        const chunk = this.#queue[this.#front]!;
        const part = Math.min(left, chunk.length - this.#frontSent);
        sender.output.buffer.set(chunk.subarray(this.#frontSent, this.#frontSent + part), at);
        at += part;
        left -= part;
        this.#take(part);
      }
    }
    this.#queuedBytes -= bytes;
    sender.queuedBytes -= bytes;
    if (last) this.#queueEmptied();
    if (this.#tellDrain && !this.closed && this.#queuedBytes * 2 <= sender.limits.streamHighWaterBytes) {
      this.#tellDrain = false;
      this.events.drain();
    }
  }

  /** True when output has waited too long (limits.streamStallTimeoutMs). Called at every tick. */
  stalled(nowMs: number): boolean {
    if (this.#queuedBytes === 0) return false;
    const limits = this.#sender.limits;
    if (nowMs - this.#markMs < limits.streamStallTimeoutMs) return false;
    if (this.#sentBytes - this.#markBytes < limits.streamStallBytesMin) return true;
    this.#mark(nowMs);
    return false;
  }

  // ---- inner parts

  /** Sends what the windows and the socket allow at once; returns how much. */
  #sendNow(chunk: Uint8Array, endStream: boolean): number {
    const sender = this.#sender;
    if (chunk.length === 0) {
      if (endStream) sender.data(this.id, chunk, 0, 0, true);
      return 0;
    }
    let sent = 0;
    while (sent < chunk.length && sender.open) {
      const bytes = Math.min(chunk.length - sent, this.sendWindow, sender.window, FRAME_BYTES_MAX);
      if (bytes <= 0) break;
      sender.data(this.id, chunk, sent, sent + bytes, endStream && sent + bytes === chunk.length);
      this.sendWindow -= bytes;
      sent += bytes;
    }
    return sent;
  }

  /** Queues a rest. False when the stream is to hold back. */
  #enqueue(chunk: Uint8Array): boolean {
    if (chunk.length === 0) return this.#queuedBytes <= this.#sender.limits.streamHighWaterBytes;
    const { sender } = this.#owner;
    const { limits } = sender;
    if (this.#queuedBytes >= limits.streamQueueBytesMax || sender.queuedBytes >= limits.connectionQueueBytesMax) {
      // INTERNAL_ERROR, so that a gRPC client takes it for the transport's fault and tries again.
      this.reset(ErrorCode.INTERNAL_ERROR);
      return true;
    }
    if (this.#queuedBytes === 0) this.#mark(this.#owner.coarseNowMs);
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
    sender.queuedBytes += chunk.length;
    if (this.sendWindow > 0) sender.enqueue(this);
    if (this.#queuedBytes <= limits.streamHighWaterBytes) return true;
    this.#tellDrain = true;
    return false;
  }

  #take(bytes: number): void {
    this.#frontSent += bytes;
    if (this.#frontSent < this.#queue[this.#front]!.length) return;
    this.#queue[this.#front] = SENT;
    this.#front++;
    this.#frontSent = 0;
    if (this.#front === this.#queue.length) {
      this.#queue = [];
      this.#front = 0;
    } else if (this.#front >= 1024 && this.#front * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#front);
      this.#front = 0;
    }
  }

  #queueEmptied(): void {
    if (this.#trailers !== undefined) {
      this.#sender.headers(this.id, this.#trailers, true);
      this.#finish();
    } else if (this.#endsWithData) this.#finish();
  }

  #mark(nowMs: number): void {
    this.#markMs = nowMs;
    this.#markBytes = this.#sentBytes;
  }

  /** Our side has ended. A request that is still under way is not wanted any more (RFC 9113 section 8.1). */
  #finish(): void {
    this.#ended = true;
    if (!this.requestEnded) this.#sender.word(FrameType.RST_STREAM, this.id, ErrorCode.NO_ERROR);
    this.#close(COMPLETE, !this.requestEnded);
  }

  #close(reason: CloseReason, reset: boolean): void {
    this.closed = true;
    if (this.#queuedBytes > 0) {
      this.#sender.queuedBytes -= this.#queuedBytes;
      this.#queuedBytes = 0;
      this.#queue = [];
      this.#sender.forget(this);
    }
    if (this.#unconsumedBytes > 0) this.#owner.credit(this.#unconsumedBytes);
    this.#owner.closed(this, reason, reset);
    this.events.close(reason);
  }
}

const SENT = new Uint8Array(0);
