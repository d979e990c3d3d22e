/**
 * A hand-driven HTTP/2 client on an in-memory socket: tests say which bytes arrive, in which pieces, whether the peer
 * reads, and see every frame the server wrote.
 */
import { Duplex } from 'node:stream';
import { type ConnectionEnd, Http2Connection, type Http2Options } from '../../server/http2/connection.ts';
import { FrameReader } from '../../server/http2/frame-reader.ts';
import {
  CLIENT_PREFACE,
  ErrorCode,
  Flag,
  FrameType,
  frame,
  putUint32,
  readUint32,
  settingsPayload,
} from '../../server/http2/frames.ts';
import type { HeaderField, HeaderList } from '../../server/http2/header-list.ts';
import { encodeHeaderBlock, HpackDecoder } from '../../server/http2/hpack.ts';
import type { CloseReason, Http2Stream, StreamEvents } from '../../server/http2/stream.ts';

export interface ReceivedFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** Lets everything happen that no timer holds back. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** The server's end of the wire. */
class Wire extends Duplex {
  readonly onWrite: (chunk: Buffer, done: () => void) => void;
  readonly onFinal: () => void;

  constructor(onWrite: (chunk: Buffer, done: () => void) => void, onFinal: () => void) {
    super();
    this.onWrite = onWrite;
    this.onFinal = onFinal;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.onWrite(chunk, done);
  }

  override _final(done: () => void): void {
    this.onFinal();
    done();
  }
}

const clients = new Set<Client>();

/** For afterEach: no connection of a test may keep the ticker from the next one's clock. */
export function destroyClients(): void {
  for (const client of clients) client.destroy();
  clients.clear();
}

export class Client {
  readonly wire: Wire;
  readonly connection: Http2Connection;
  readonly frames: ReceivedFrame[] = [];
  readonly streams: Http2Stream[] = [];
  /** Number of times the server has written to the socket. */
  writes = 0;
  /** The server has closed its side. */
  finished = false;
  ended: ConnectionEnd | undefined;
  /** False: what the server writes is not taken any more. */
  reading = true;
  #held: (() => void)[] = [];
  readonly #decoder = new HpackDecoder(1 << 20);

  constructor(options: Partial<Http2Options> = {}) {
    clients.add(this);
    const reader = new FrameReader(
      {
        frame: (type, flags, streamId, bytes, start, end) => {
          this.frames.push({ type, flags, streamId, payload: Buffer.from(bytes.subarray(start, end)) });
          return true;
        },
        oversizedFrame: () => {
          throw new Error('the server sent a frame that is too large');
        },
      },
      16_384,
    );
    this.wire = new Wire(
      (chunk, done) => {
        this.writes++;
        reader.push(Buffer.from(chunk));
        if (this.reading) done();
        else this.#held.push(done);
      },
      () => {
        this.finished = true;
      },
    );
    const onStream = options.onStream ?? answerOk;
    this.connection = new Http2Connection(this.wire, {
      ...options,
      onStream: (stream) => {
        this.streams.push(stream);
        onStream(stream);
      },
    });
    this.connection.onClose = (end) => {
      this.ended = end;
    };
  }

  /** Takes what was held back, and everything from now on. */
  resumeReading(): void {
    this.reading = true;
    for (const done of this.#held.splice(0)) done();
  }

  /** Delivers bytes in one piece, and lets the server work on them. */
  async send(...parts: Uint8Array[]): Promise<void> {
    this.wire.push(Buffer.concat(parts));
    await settle();
  }

  /** The client's half of the beginning. */
  async greet(settings: readonly (readonly [number, number])[] = []): Promise<void> {
    await this.send(CLIENT_PREFACE, frame(FrameType.SETTINGS, 0, 0, settingsPayload(settings)));
    await this.send(frame(FrameType.SETTINGS, Flag.ACK, 0, new Uint8Array(0)));
    this.frames.length = 0;
  }

  of(type: number): ReceivedFrame[] {
    return this.frames.filter((one) => one.type === type);
  }

  /** The code of the GOAWAY that ended the connection, by name. */
  get goaway(): string | undefined {
    const last = this.of(FrameType.GOAWAY).at(-1);
    return last && nameOf(readUint32(last.payload, 4));
  }

  get goawayDebug(): string | undefined {
    return this.of(FrameType.GOAWAY).at(-1)?.payload.toString('latin1', 8);
  }

  /** RST_STREAM frames as `id CODE`. */
  get resets(): string[] {
    return this.of(FrameType.RST_STREAM).map((one) => `${one.streamId} ${nameOf(readUint32(one.payload, 0))}`);
  }

  /** Response bodies by stream. */
  body(streamId: number): Buffer {
    return Buffer.concat(this.of(FrameType.DATA).flatMap((one) => (one.streamId === streamId ? [one.payload] : [])));
  }

  /** Header sections sent on a stream. Stateless blocks only, which is all the server sends. */
  headers(streamId: number): HeaderList[] {
    const lists: HeaderList[] = [];
    let block: Buffer[] = [];
    for (const one of this.frames) {
      if (one.streamId !== streamId) continue;
      if (one.type !== FrameType.HEADERS && one.type !== FrameType.CONTINUATION) continue;
      block.push(one.payload);
      if ((one.flags & Flag.END_HEADERS) === 0) continue;
      lists.push(this.#decoder.decode(Buffer.concat(block)));
      block = [];
    }
    return lists;
  }

  status(streamId: number): string | undefined {
    return this.headers(streamId)[0]?.get(':status');
  }

  destroy(): void {
    this.connection.destroy();
  }
}

export function nameOf(code: number): string {
  return Object.keys(ErrorCode).find((name) => ErrorCode[name as keyof typeof ErrorCode] === code) ?? `${code}`;
}

/** Answers 200 `ok` when the request is complete. */
export function answerOk(stream: Http2Stream): void {
  record(stream, {
    end: () => {
      stream.sendHeaders([[':status', '200']]);
      stream.sendData(Buffer.from('ok'), true);
    },
  });
}

export interface Recorded {
  body: Buffer[];
  ended: boolean;
  drains: number;
  reason: CloseReason | undefined;
  closes: number;
}

/** Gives the stream a handler that consumes and writes everything down. */
export function record(stream: Http2Stream, more: Partial<StreamEvents> = {}): Recorded {
  const seen: Recorded = { body: [], ended: false, drains: 0, reason: undefined, closes: 0 };
  stream.events = {
    data: (bytes, start, end) => {
      seen.body.push(Buffer.from(bytes.subarray(start, end)));
      if (more.data === undefined) stream.consumed(end - start);
      else more.data(bytes, start, end);
    },
    end: () => {
      seen.ended = true;
      more.end?.();
    },
    drain: () => {
      seen.drains++;
      more.drain?.();
    },
    close: (reason) => {
      seen.reason = reason;
      seen.closes++;
      more.close?.(reason);
    },
  };
  return seen;
}

// ---- frames by hand

export const hex = (text: string): Buffer => Buffer.from(text.replace(/[\s|]/g, ''), 'hex');

export const REQUEST: readonly HeaderField[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'test'],
];

export const POST: readonly HeaderField[] = [[':method', 'POST'], ...REQUEST.slice(1)];

export function headers(
  streamId: number,
  fields: readonly HeaderField[] = REQUEST,
  flags: number = Flag.END_STREAM | Flag.END_HEADERS,
): Buffer {
  return frame(FrameType.HEADERS, flags, streamId, encodeHeaderBlock(fields));
}

/** HEADERS that leave the request open. */
export const open = (streamId: number, fields: readonly HeaderField[] = POST): Buffer =>
  headers(streamId, fields, Flag.END_HEADERS);

export const data = (streamId: number, payload: string | Uint8Array, endStream = false): Buffer =>
  frame(FrameType.DATA, endStream ? Flag.END_STREAM : 0, streamId, Buffer.from(payload));

export function word(type: number, streamId: number, value: number): Buffer {
  const payload = Buffer.alloc(4);
  putUint32(payload, 0, value);
  return frame(type, 0, streamId, payload);
}

export const windowUpdate = (streamId: number, bytes: number): Buffer => word(FrameType.WINDOW_UPDATE, streamId, bytes);
export const rst = (streamId: number, code: number = ErrorCode.CANCEL): Buffer =>
  word(FrameType.RST_STREAM, streamId, code);
export const ping = (payload = 'abcdefgh', flags = 0): Buffer => frame(FrameType.PING, flags, 0, Buffer.from(payload));
export const settings = (entries: readonly (readonly [number, number])[]): Buffer =>
  frame(FrameType.SETTINGS, 0, 0, settingsPayload(entries));
