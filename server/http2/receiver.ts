/**
 * The receiving half of a connection: every rule for the frames of a client (RFC 9113 sections 5 and 6), the receive
 * windows, the way from frames to streams. Breaks off with a ConnectionError; owns neither socket nor timers.
 */
import { ConnectionError } from './connection-error.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import {
  ErrorCode,
  Flag,
  FRAME_BYTES_MAX,
  FrameType,
  INITIAL_WINDOW_BYTES,
  readUint31,
  readUint32,
  WINDOW_BYTES_MAX,
} from './frames.ts';
import type { Guard } from './guard.ts';
import { HeaderBlock } from './header-block.ts';
import type { HeaderList } from './header-list.ts';
import { encodeHeaderBlock, HpackDecoder, HpackError } from './hpack.ts';
import { Keepalive } from './keepalive.ts';
import type { Http2Limits } from './limits.ts';
import type { Sender } from './sender.ts';
import { readSettings } from './settings.ts';
import { type CloseReason, Http2Stream, type StreamOwner } from './stream.ts';
import { StreamTable } from './stream-table.ts';

/** What the receiving half asks of the connection. */
export interface ReceiverOwner {
  readonly remote: string;
  readonly commonName: string | undefined;
  onStream(stream: Http2Stream): void;
  /** The connection cannot go on. */
  fail(code: ErrorCode, text: string): void;
  /** The last open stream is over. */
  idle(): void;
  /** The peer has sent GOAWAY. */
  peerLeaves(): void;
  /** The peer has answered a PING of ours; `payload` are its 8 bytes. */
  pong(payload: Buffer): void;
}

const NO_BYTES = new Uint8Array(0);
const HEADERS_TOO_LARGE = encodeHeaderBlock([
  [':status', '431'],
  ['content-length', '0'],
]);

export class Receiver implements FrameSink, StreamOwner {
  readonly sender: Sender;
  readonly guard: Guard;
  readonly keepalive: Keepalive;
  readonly streams = new StreamTable();
  coarseNowMs: number;
  /** The client's SETTINGS have come. */
  greeted = false;
  /** The header block that is under way. */
  block: HeaderBlock | undefined;
  readonly reader: FrameReader;

  readonly #owner: ReceiverOwner;
  readonly #limits: Http2Limits;
  readonly #decoder: HpackDecoder;
  #stopped = false;
  #window: number;
  #unannouncedBytes = 0;
  /** What a new stream may send: at least the protocol's default until the peer has seen our setting. */
  #streamWindow: number;
  #settingsAcknowledged = false;

  constructor(owner: ReceiverOwner, sender: Sender, guard: Guard, limits: Http2Limits, nowMs: number) {
    this.#owner = owner;
    this.sender = sender;
    this.guard = guard;
    this.#limits = limits;
    this.keepalive = new Keepalive(limits, nowMs);
    this.reader = new FrameReader(this, FRAME_BYTES_MAX);
    this.#decoder = new HpackDecoder(limits.headerListBytesMax);
    this.coarseNowMs = nowMs;
    this.#window = limits.connectionWindowBytes;
    this.#streamWindow = Math.max(limits.streamWindowBytes, INITIAL_WINDOW_BYTES);
  }

  get remote(): string {
    return this.#owner.remote;
  }

  get commonName(): string | undefined {
    return this.#owner.commonName;
  }

  /** Nothing more is taken. */
  stop(): void {
    this.#stopped = true;
  }

  /** For the FrameReader. */
  frame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): boolean {
    try {
      if (!this.greeted && (type !== FrameType.SETTINGS || (flags & Flag.ACK) !== 0)) {
        throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'the first frame is not SETTINGS');
      }
      if (this.block !== undefined && (type !== FrameType.CONTINUATION || streamId !== this.block.streamId)) {
        throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'a header block is interrupted');
      }
      this.#dispatch(type, flags, streamId, bytes, start, end);
    } catch (error) {
      if (error instanceof ConnectionError) this.#owner.fail(error.code, error.message);
      else if (error instanceof HpackError) this.#owner.fail(ErrorCode.COMPRESSION_ERROR, error.message);
      else throw error;
    }
    return !this.#stopped;
  }

  /** For the FrameReader. */
  oversizedFrame(): void {
    this.#owner.fail(ErrorCode.FRAME_SIZE_ERROR, 'frame larger than SETTINGS_MAX_FRAME_SIZE');
  }

  #dispatch(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case FrameType.DATA:
        this.#onData(flags, streamId, bytes, start, end);
        break;
      case FrameType.HEADERS:
        this.#onHeaders(flags, streamId, bytes, start, end);
        break;
      case FrameType.WINDOW_UPDATE:
        this.#onWindowUpdate(streamId, bytes, start, end);
        break;
      case FrameType.RST_STREAM:
        this.#onReset(streamId, bytes, start, end);
        break;
      case FrameType.PING:
        this.#onPing(flags, streamId, bytes, start, end);
        break;
      case FrameType.SETTINGS:
        this.#onSettings(flags, streamId, bytes, start, end);
        break;
      case FrameType.CONTINUATION:
        this.#onContinuation(flags, bytes, start, end);
        break;
      case FrameType.PRIORITY:
        this.#onPriority(streamId, bytes, start, end);
        break;
      case FrameType.GOAWAY:
        this.#onGoaway(streamId, end - start);
        break;
      case FrameType.PUSH_PROMISE:
        throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'PUSH_PROMISE from a client');
      default: // RFC 9113 section 5.5
        this.guard.chargeControl(1);
    }
  }

  // ---- frames

  #onData(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'DATA on stream 0');
    const flowBytes = end - start;
    if ((flags & Flag.PADDED) !== 0) [start, end] = unpad(bytes, start, end);
    this.#window -= flowBytes;
    if (this.#window < 0) throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'connection window exceeded');
    const endStream = (flags & Flag.END_STREAM) !== 0;
    if (end > start) this.guard.progress();
    else if (!endStream) this.guard.chargeControl(1);
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      this.#onClosedStream(streamId, 'DATA');
      this.credit(flowBytes);
      return;
    }
    stream.receiveWindow -= flowBytes;
    stream.receivedBytes += end - start;
    if (flowBytes > end - start) this.credit(flowBytes - (end - start)); // padding is nobody's to consume
    const { contentLength } = stream.headers;
    let error: ErrorCode | undefined;
    if (stream.requestEnded) error = ErrorCode.STREAM_CLOSED;
    else if (stream.receiveWindow < 0) error = ErrorCode.FLOW_CONTROL_ERROR;
    else if (
      contentLength >= 0 &&
      (endStream ? stream.receivedBytes !== contentLength : stream.receivedBytes > contentLength)
    )
      error = ErrorCode.PROTOCOL_ERROR;
    if (error !== undefined) {
      this.credit(end - start);
      this.#refuse(stream, error);
      return;
    }
    if (endStream) stream.requestEnded = true;
    if (end > start) stream.receive(bytes, start, end);
    if (endStream && !stream.closed) stream.events.end();
  }

  #onHeaders(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if ((streamId & 1) === 0)
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'HEADERS on a stream not the client’s');
    if ((flags & Flag.PADDED) !== 0) [start, end] = unpad(bytes, start, end);
    let selfDependent = false;
    if ((flags & Flag.PRIORITY) !== 0) {
      if (end - start < 5) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'HEADERS too short for its priority');
      selfDependent = readUint31(bytes, start) === streamId;
      start += 5;
    }
    const endStream = (flags & Flag.END_STREAM) !== 0;
    if ((flags & Flag.END_HEADERS) !== 0) {
      this.#onHeaderList(streamId, this.#decoder.decode(bytes, start, end), endStream, selfDependent);
      return;
    }
    const first = bytes.subarray(start, end);
    this.block = new HeaderBlock(this.#limits, streamId, endStream, selfDependent, first, performance.now());
  }

  #onContinuation(flags: number, bytes: Buffer, start: number, end: number): void {
    const block = this.block;
    if (block === undefined) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'CONTINUATION without HEADERS');
    block.add(bytes.subarray(start, end));
    if ((flags & Flag.END_HEADERS) === 0) return;
    this.block = undefined;
    this.#onHeaderList(block.streamId, this.#decoder.decode(block.join()), block.endStream, block.selfDependent);
  }

  #onHeaderList(streamId: number, list: HeaderList, endStream: boolean, selfDependent: boolean): void {
    if (streamId > this.streams.lastId) {
      this.#open(streamId, list, endStream, selfDependent);
      return;
    }
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      if (!this.streams.mayLinger(streamId) && !this.streams.endedLately(streamId)) {
        throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'stream ids must grow');
      }
      this.#onClosedStream(streamId, 'HEADERS');
      this.guard.chargeControl(1);
      return;
    }
    const { contentLength } = stream.headers;
    if (stream.requestEnded) this.#refuse(stream, ErrorCode.STREAM_CLOSED);
    else if (!endStream || selfDependent || !list.isTrailerSection) this.#refuse(stream, ErrorCode.PROTOCOL_ERROR);
    else if (contentLength >= 0 && contentLength !== stream.receivedBytes) {
      this.#refuse(stream, ErrorCode.PROTOCOL_ERROR);
    } else {
      stream.requestEnded = true;
      stream.events.end();
    }
  }

  /** A new request (RFC 9113 section 5.1.1). */
  #open(streamId: number, list: HeaderList, endStream: boolean, selfDependent: boolean): void {
    this.streams.lastId = streamId;
    if (streamId > this.streams.servedId) {
      this.guard.chargeControl(1); // the GOAWAY has told the peer that this one is not looked at
      return;
    }
    const headers = list.request;
    if (this.streams.size >= this.#limits.maxConcurrentStreams) this.#refuseNew(streamId, ErrorCode.REFUSED_STREAM);
    else if (list.tooLarge) {
      this.sender.headers(streamId, HEADERS_TOO_LARGE, true);
      if (!endStream) this.#refuseNew(streamId, ErrorCode.NO_ERROR);
    } else if (headers === undefined || selfDependent || (endStream && headers.contentLength > 0)) {
      this.#refuseNew(streamId, ErrorCode.PROTOCOL_ERROR);
    } else {
      this.guard.progress();
      const stream = new Http2Stream(this, streamId, headers, this.#streamWindow);
      stream.requestEnded = endStream;
      this.streams.add(stream);
      this.#owner.onStream(stream);
      if (endStream && !stream.closed) stream.events.end();
    }
  }

  #onWindowUpdate(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'WINDOW_UPDATE is not 4 bytes');
    this.guard.chargeControl(1);
    const increment = readUint31(bytes, start);
    const sender = this.sender;
    if (streamId === 0) {
      if (increment === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0');
      sender.window += increment;
      if (sender.window > WINDOW_BYTES_MAX) {
        throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'connection window beyond 2^31-1');
      }
      sender.pump();
      return;
    }
    const stream = this.streams.get(streamId);
    if (stream === undefined) this.#requireUsed(streamId, 'WINDOW_UPDATE');
    else if (increment === 0) this.#refuse(stream, ErrorCode.PROTOCOL_ERROR);
    else if (stream.sendWindow + increment > WINDOW_BYTES_MAX) this.#refuse(stream, ErrorCode.FLOW_CONTROL_ERROR);
    else stream.widen(increment);
  }

  #onReset(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'RST_STREAM is not 4 bytes');
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      this.#requireUsed(streamId, 'RST_STREAM');
      this.guard.chargeControl(1);
      return;
    }
    stream.abandon({ by: 'peer', code: readUint32(bytes, start) });
    this.guard.chargeReset();
  }

  #onPing(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'PING on a stream');
    if (end - start !== 8) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'PING is not 8 bytes');
    this.guard.chargeControl(1);
    if ((flags & Flag.ACK) !== 0) {
      this.#owner.pong(bytes.subarray(start, end));
      return;
    }
    this.guard.chargeReply();
    this.sender.control(FrameType.PING, Flag.ACK, bytes.subarray(start, end));
    const replied = this.sender.repliedSincePing;
    this.sender.repliedSincePing = false;
    if (!this.keepalive.ping(performance.now(), replied, this.streams.size)) {
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'too_many_pings');
    }
  }

  #onSettings(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (streamId !== 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'SETTINGS on a stream');
    if ((flags & Flag.ACK) !== 0) {
      if (length !== 0)
        throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'a SETTINGS acknowledgement with a payload');
      this.guard.chargeControl(1);
      this.#onSettingsAck();
      return;
    }
    if (length % 6 !== 0)
      throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS is not a multiple of 6 bytes');
    if (length / 6 > this.#limits.settingsEntriesMax) {
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'too many settings in one frame');
    }
    this.greeted = true;
    const { initialWindow } = readSettings(bytes, start, end);
    // A changed window touches every stream: the budget pays for that, too.
    this.guard.chargeControl(1 + length / 6 + (initialWindow === undefined ? 0 : this.streams.size >>> 5));
    if (initialWindow !== undefined) this.#changeInitialWindow(initialWindow);
    this.guard.chargeReply();
    this.sender.control(FrameType.SETTINGS, Flag.ACK, NO_BYTES);
  }

  /** RFC 9113 section 6.9.2: open streams' windows move by the difference and may become negative. */
  #changeInitialWindow(initialWindow: number): void {
    const difference = initialWindow - this.sender.initialWindow;
    this.sender.initialWindow = initialWindow;
    if (difference === 0) return;
    for (const stream of this.streams.values()) {
      if (stream.sendWindow + difference > WINDOW_BYTES_MAX) {
        throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'a stream window beyond 2^31-1');
      }
      stream.widen(difference);
    }
  }

  /** The peer knows our stream window: if it is below the default, it holds from now on. */
  #onSettingsAck(): void {
    if (this.#settingsAcknowledged) return;
    this.#settingsAcknowledged = true;
    const difference = this.#limits.streamWindowBytes - this.#streamWindow;
    this.#streamWindow = this.#limits.streamWindowBytes;
    if (difference === 0) return;
    for (const stream of this.streams.values()) stream.receiveWindow += difference;
  }

  #onPriority(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'PRIORITY on stream 0');
    if (end - start !== 5) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'PRIORITY is not 5 bytes');
    this.guard.chargeControl(1);
    if (readUint31(bytes, start) !== streamId) return;
    const stream = this.streams.get(streamId);
    if (stream === undefined) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'a stream that depends on itself');
    this.#refuse(stream, ErrorCode.PROTOCOL_ERROR);
  }

  #onGoaway(streamId: number, length: number): void {
    if (streamId !== 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'GOAWAY on a stream');
    if (length < 8) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'GOAWAY is less than 8 bytes');
    this.guard.chargeControl(1);
    this.#owner.peerLeaves();
  }

  // ---- rules

  /** A frame on a stream that is over. Those we reset may still get what was on its way (RFC 9113 section 5.1). */
  #onClosedStream(streamId: number, what: string): void {
    this.#requireUsed(streamId, what);
    if (!this.streams.mayLinger(streamId)) {
      throw new ConnectionError(ErrorCode.STREAM_CLOSED, `${what} on a closed stream`);
    }
  }

  #requireUsed(streamId: number, what: string): void {
    if (!this.streams.wasUsed(streamId)) {
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, `${what} on an idle stream`);
    }
  }

  /** Resets a stream for the peer's fault, which counts like a reset of the peer's own (CVE-2025-8671). */
  #refuse(stream: Http2Stream, code: ErrorCode): void {
    this.guard.chargeReply();
    stream.reset(code);
    this.guard.chargeReset();
  }

  /** The same for a request that did not become a stream. */
  #refuseNew(streamId: number, code: ErrorCode): void {
    this.guard.chargeReply();
    this.sender.word(FrameType.RST_STREAM, streamId, code);
    this.streams.rememberReset(streamId);
    this.guard.chargeReset();
  }

  // ---- for streams

  /** The connection's share of the receive window, announced when half of it has come back. */
  credit(bytes: number): void {
    this.#unannouncedBytes += bytes;
    if (this.#unannouncedBytes * 2 < this.#limits.connectionWindowBytes || this.#stopped) return;
    this.#window += this.#unannouncedBytes;
    this.sender.word(FrameType.WINDOW_UPDATE, 0, this.#unannouncedBytes);
    this.#unannouncedBytes = 0;
  }

  closed(stream: Http2Stream, reason: CloseReason, reset: boolean): void {
    this.streams.remove(stream.id, reset);
    if (reason.by === 'complete') this.guard.streamCompleted();
    if (this.streams.size === 0) this.#owner.idle();
  }
}

/** Strips the padding: the payload's new start and end (RFC 9113 section 6.1). */
function unpad(bytes: Buffer, start: number, end: number): [start: number, end: number] {
  if (start === end) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'a padded frame without a pad length');
  const unpadded = end - bytes[start]!;
  if (unpadded <= start) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'padding longer than the frame');
  return [start + 1, unpadded];
}
