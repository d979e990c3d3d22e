/**
 * A gRPC client that costs next to nothing, so that a benchmark measures the server: unary calls over one HTTP/2
 * connection, requests of a turn in one write. Small messages only (a call fits the stream's first window).
 */
import { connect, type Socket } from 'node:net';
import { FrameReader, type FrameSink } from '../server/http2/frame-reader.ts';
import {
  CLIENT_PREFACE,
  Flag,
  FRAME_HEADER_BYTES,
  FrameType,
  frame,
  INITIAL_WINDOW_BYTES,
  putFrameHeader,
  putUint32,
  readUint31,
  Setting,
  settingsPayload,
} from '../server/http2/frames.ts';
import { encodeHeaderBlock, HpackDecoder } from '../server/http2/hpack.ts';

const RECEIVE_WINDOW_BYTES = 0x3fff_ffff;
const HEADER_LIST_BYTES_MAX = 16_384;
const GRPC_PREFIX_BYTES = 5;

/** `status` is the gRPC status (0 is OK), `reply` the response message's bytes. */
export type CallDone = (status: number, reply: Buffer | undefined) => void;

interface Call {
  done: CallDone;
  reply: Buffer | undefined;
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
  readonly #reader = new FrameReader(this, 1 << 20);
  readonly #decoder = new HpackDecoder(HEADER_LIST_BYTES_MAX);
  readonly #calls = new Map<number, Call>();
  #nextStream = 1;
  #sendWindow = INITIAL_WINDOW_BYTES;
  #received = 0;
  #waiting: { bytes: Buffer; dataBytes: number }[] = [];
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

  call(headers: Buffer, message: Uint8Array, done: CallDone): void {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    this.#calls.set(stream, { done, reply: undefined });
    const dataBytes = GRPC_PREFIX_BYTES + message.length;
    const bytes = Buffer.allocUnsafe(2 * FRAME_HEADER_BYTES + headers.length + dataBytes);
    let at = putFrameHeader(bytes, 0, headers.length, FrameType.HEADERS, Flag.END_HEADERS, stream);
    bytes.set(headers, at);
    at = putFrameHeader(bytes, at + headers.length, dataBytes, FrameType.DATA, Flag.END_STREAM, stream);
    bytes[at] = 0;
    putUint32(bytes, at + 1, message.length);
    bytes.set(message, at + GRPC_PREFIX_BYTES);
    this.#waiting.push({ bytes, dataBytes });
    this.#sendWaiting();
  }

  close(): void {
    this.onError = () => {};
    this.#socket.destroy();
  }

  /** Whole calls go out while the connection's window has room for their data. */
  #sendWaiting(): void {
    while (this.#waiting.length > 0 && this.#waiting[0]!.dataBytes <= this.#sendWindow) {
      const { bytes, dataBytes } = this.#waiting.shift()!;
      this.#sendWindow -= dataBytes;
      this.#write(bytes);
    }
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
    else if (type === FrameType.WINDOW_UPDATE && stream === 0) {
      this.#sendWindow += readUint31(bytes, start);
      this.#sendWaiting();
    } else if (type === FrameType.SETTINGS && (flags & Flag.ACK) === 0) {
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

  #headers(flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    const list = this.#decoder.decode(bytes, start, end);
    if ((flags & Flag.END_STREAM) === 0) return;
    const call = this.#calls.get(stream);
    this.#calls.delete(stream);
    call?.done(Number(list.get('grpc-status') ?? 2), call.reply);
  }

  #data(stream: number, bytes: Buffer, start: number, end: number): void {
    const call = this.#calls.get(stream);
    if (call !== undefined) call.reply = bytes.subarray(start + GRPC_PREFIX_BYTES, end);
    this.#received += end - start;
    if (this.#received < RECEIVE_WINDOW_BYTES / 2) return;
    const credit = Buffer.alloc(4);
    putUint32(credit, 0, this.#received);
    this.#received = 0;
    this.#write(frame(FrameType.WINDOW_UPDATE, 0, 0, credit));
  }
}
