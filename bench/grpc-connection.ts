/**
 * A gRPC client that costs next to nothing, so that a benchmark measures the server: unary calls and streams over one
 * HTTP/2 connection, requests of a turn in one write. Replies are counted, and kept only for those who ask.
 */
import { connect, type Socket } from 'node:net';
import { FrameReader, type FrameSink } from '../server/http2/frame-reader.ts';
import {
  CLIENT_PREFACE,
  Flag,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  FrameType,
  frame,
  INITIAL_WINDOW_BYTES,
  putFrameHeader,
  putUint32,
  readUint31,
  readUint32,
  Setting,
  settingsPayload,
} from '../server/http2/frames.ts';
import { encodeHeaderBlock, HpackDecoder } from '../server/http2/hpack.ts';
import { GRPC_PREFIX_BYTES, type StreamSink, UnaryReply, UnaryReplyBytes } from './grpc-sinks.ts';

const RECEIVE_WINDOW_BYTES = 0x3fff_ffff;
const HEADER_LIST_BYTES_MAX = 16_384;
const RECEIVED_FRAME_BYTES_MAX = 1 << 20;

/** `status` is the gRPC status (0 is OK), `reply` the response message's bytes, `text` the status' message. */
export type CallDone = (status: number, reply: Buffer | undefined, text: string) => void;
/** `replyBytes`: of the response message. */
export type CallCounted = (status: number, replyBytes: number, text: string) => void;

interface Stream {
  readonly sink: StreamSink;
  readonly id: number;
  sendWindow: number;
  /** Not credited yet. */
  received: number;
}

/** What waits for room in a window. */
interface Waiting {
  readonly stream: Stream;
  readonly bytes: Buffer;
  readonly dataBytes: number;
}

/** An RPC's constant header block. */
export function callHeaders(path: string, authority: string): Buffer {
  return encodeHeaderBlock([
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', authority],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
  ]);
}

export class GrpcConnection implements FrameSink {
  readonly #socket: Socket;
  readonly #reader = new FrameReader(this, RECEIVED_FRAME_BYTES_MAX);
  readonly #decoder = new HpackDecoder(HEADER_LIST_BYTES_MAX);
  readonly #streams = new Map<number, Stream>();
  #nextStream = 1;
  #sendWindow = INITIAL_WINDOW_BYTES;
  #peerStreamWindow = INITIAL_WINDOW_BYTES;
  #received = 0;
  #waiting: Waiting[] = [];
  #out: Buffer[] = [];
  #flushing = false;
  onError: (error: Error) => void = () => {};

  static open(port: number, host = '127.0.0.1'): Promise<GrpcConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, host);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new GrpcConnection(socket));
      });
    });
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#reader.push(chunk));
    socket.on('error', (error) => this.onError(error));
    socket.on('close', () => this.onError(new Error('connection closed')));
    const settings = settingsPayload([
      [Setting.ENABLE_PUSH, 0],
      [Setting.INITIAL_WINDOW_SIZE, RECEIVE_WINDOW_BYTES],
    ]);
    const window = Buffer.alloc(4);
    putUint32(window, 0, RECEIVE_WINDOW_BYTES - INITIAL_WINDOW_BYTES);
    socket.write(
      Buffer.concat([
        CLIENT_PREFACE,
        frame(FrameType.SETTINGS, 0, 0, settings),
        frame(FrameType.WINDOW_UPDATE, 0, 0, window),
      ]),
    );
  }

  /** A unary call; its reply is kept. */
  call(headers: Buffer, message: Uint8Array, done: CallDone): void {
    this.#sendMessage(this.#newStream(new UnaryReply(done)), headers, message, true);
  }

  /** A unary call of whose reply only the length is told. */
  callCounted(headers: Buffer, message: Uint8Array, done: CallCounted): void {
    this.#sendMessage(this.#newStream(new UnaryReplyBytes(done)), headers, message, true);
  }

  /** Begins a stream with its first message. Returns its id, for `send`. */
  open(headers: Buffer, message: Uint8Array, sink: StreamSink, last = false): number {
    const stream = this.#newStream(sink);
    this.#sendMessage(stream, headers, message, last);
    return stream.id;
  }

  send(streamId: number, message: Uint8Array): void {
    const stream = this.#streams.get(streamId);
    if (stream !== undefined) this.#sendMessage(stream, undefined, message, false);
  }

  close(): void {
    this.onError = () => {};
    this.#socket.destroy();
  }

  #newStream(sink: StreamSink): Stream {
    const id = this.#nextStream;
    this.#nextStream += 2;
    const stream = { sink, id, sendWindow: this.#peerStreamWindow, received: 0 };
    this.#streams.set(id, stream);
    return stream;
  }

  #sendMessage(stream: Stream, headers: Buffer | undefined, message: Uint8Array, last: boolean): void {
    const dataBytes = GRPC_PREFIX_BYTES + message.length;
    const first = Math.min(dataBytes, FRAME_BYTES_MAX);
    const headerBytes = headers === undefined ? 0 : FRAME_HEADER_BYTES + headers.length;
    const bytes = Buffer.allocUnsafe(headerBytes + FRAME_HEADER_BYTES + first);
    let at = 0;
    if (headers !== undefined) {
      putFrameHeader(bytes, 0, headers.length, FrameType.HEADERS, Flag.END_HEADERS, stream.id);
      bytes.set(headers, FRAME_HEADER_BYTES);
      at = headerBytes;
    }
    const flags = last && first === dataBytes ? Flag.END_STREAM : 0;
    at = putFrameHeader(bytes, at, first, FrameType.DATA, flags, stream.id);
    bytes[at] = 0;
    putUint32(bytes, at + 1, message.length);
    const taken = first - GRPC_PREFIX_BYTES;
    bytes.set(taken === message.length ? message : message.subarray(0, taken), at + GRPC_PREFIX_BYTES);
    this.#waiting.push({ stream, bytes, dataBytes: first });
    if (first < dataBytes) this.#sendRest(stream, message, taken, last);
    this.#sendWaiting();
  }

  #sendRest(stream: Stream, message: Uint8Array, from: number, last: boolean): void {
    for (let at = from; at < message.length; at += FRAME_BYTES_MAX) {
      const piece = message.subarray(at, at + FRAME_BYTES_MAX);
      const ends = last && at + piece.length === message.length;
      const bytes = frame(FrameType.DATA, ends ? Flag.END_STREAM : 0, stream.id, piece);
      this.#waiting.push({ stream, bytes, dataBytes: piece.length });
    }
  }

  /** In order: one that waits for its stream's window holds up those behind it. */
  #sendWaiting(): void {
    const waiting = this.#waiting;
    let sent = 0;
    for (; sent < waiting.length; sent++) {
      const { stream, bytes, dataBytes } = waiting[sent]!;
      if (dataBytes > this.#sendWindow || dataBytes > stream.sendWindow) break;
      this.#sendWindow -= dataBytes;
      stream.sendWindow -= dataBytes;
      this.#write(bytes);
    }
    if (sent === waiting.length) waiting.length = 0;
    else if (sent > 0) waiting.splice(0, sent);
  }

  #write(bytes: Buffer): void {
    this.#out.push(bytes);
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      const out = this.#out;
      this.#out = [];
      this.#socket.write(out.length === 1 ? out[0]! : Buffer.concat(out));
    });
  }

  frame(type: number, flags: number, stream: number, bytes: Buffer, start: number, end: number): boolean {
    if (type === FrameType.HEADERS) this.#headers(flags, stream, bytes, start, end);
    else if (type === FrameType.DATA) this.#data(stream, bytes, start, end);
    else if (type === FrameType.WINDOW_UPDATE) this.#windowUpdate(stream, readUint31(bytes, start));
    else if (type === FrameType.SETTINGS && (flags & Flag.ACK) === 0) {
      this.#settings(bytes, start, end);
      this.#write(frame(FrameType.SETTINGS, Flag.ACK, 0, new Uint8Array(0)));
    } else if (type === FrameType.PING && (flags & Flag.ACK) === 0) {
      this.#write(frame(FrameType.PING, Flag.ACK, 0, bytes.subarray(start, end)));
    } else if (type === FrameType.RST_STREAM || type === FrameType.GOAWAY) {
      this.onError(new Error(`server sent frame type ${type} on stream ${stream}`));
    }
    return true;
  }

  oversizedFrame(): void {
    this.onError(new Error('frame too large'));
  }

  #settings(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at + 6 <= end; at += 6) {
      if (bytes.readUInt16BE(at) !== Setting.INITIAL_WINDOW_SIZE) continue;
      const window = readUint32(bytes, at + 2);
      for (const stream of this.#streams.values()) stream.sendWindow += window - this.#peerStreamWindow;
      this.#peerStreamWindow = window;
    }
    this.#sendWaiting();
  }

  #windowUpdate(streamId: number, credit: number): void {
    if (streamId === 0) this.#sendWindow += credit;
    else {
      const stream = this.#streams.get(streamId);
      if (stream === undefined) return;
      stream.sendWindow += credit;
    }
    if (this.#waiting.length > 0) this.#sendWaiting();
  }

  #headers(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const list = this.#decoder.decode(bytes, start, end);
    if ((flags & Flag.END_STREAM) === 0) return;
    const stream = this.#streams.get(streamId);
    this.#streams.delete(streamId);
    const status = Number(list.get('grpc-status') ?? 2);
    stream?.sink.end(status, status === 0 ? '' : decodeURIComponent(list.get('grpc-message') ?? ''));
  }

  #data(streamId: number, bytes: Buffer, start: number, end: number): void {
    const stream = this.#streams.get(streamId);
    if (stream !== undefined) {
      stream.sink.data(bytes, start, end);
      stream.received += end - start;
      if (stream.received >= RECEIVE_WINDOW_BYTES / 2) {
        this.#credit(streamId, stream.received);
        stream.received = 0;
      }
    }
    this.#received += end - start;
    if (this.#received < RECEIVE_WINDOW_BYTES / 2) return;
    this.#credit(0, this.#received);
    this.#received = 0;
  }

  #credit(streamId: number, receivedBytes: number): void {
    const payload = Buffer.alloc(4);
    putUint32(payload, 0, receivedBytes);
    this.#write(frame(FrameType.WINDOW_UPDATE, 0, streamId, payload));
  }
}
