/**
 * One HTTP/2 connection of the server, from the preface to the last GOAWAY (RFC 9113). Owns the socket, its time limits
 * and its end; receiver.ts keeps the rules of what comes, sender.ts of what goes. Never knows what a request means.
 */
import type { Duplex } from 'node:stream';
import { commonNameOf } from './common-name.ts';
import {
  CLIENT_PREFACE,
  ErrorCode,
  FrameType,
  INITIAL_WINDOW_BYTES,
  putUint32,
  Setting,
  STREAM_ID_MAX,
  settingsPayload,
} from './frames.ts';
import { Guard } from './guard.ts';
import { type Http2Limits, resolveLimits } from './limits.ts';
import { Receiver, type ReceiverOwner } from './receiver.ts';
import { Sender } from './sender.ts';
import type { CloseReason, Http2Stream } from './stream.ts';
import { unwatch, watch } from './ticker.ts';

/** Any of the limits (limits.ts says what each is for), and what to do with a request. */
export interface Http2Options extends Partial<Http2Limits> {
  /** A request has come. Sets `stream.events` before it returns. What it throws is a bug and is not caught. */
  readonly onStream: (stream: Http2Stream) => void;
}

/** Why a connection is over. `code` is that of the GOAWAY, or NO_ERROR; `text` says more, for logs. */
export interface ConnectionEnd {
  readonly code: ErrorCode;
  readonly text: string;
}

const SHUTDOWN_PING: Uint8Array = Buffer.from('shutdown');
const KEEPALIVE_PING: Uint8Array = Buffer.from('are you?');

export class Http2Connection {
  /** Runs once, when the connection is over and the socket destroyed. */
  onClose: ((end: ConnectionEnd) => void) | undefined;
  /** Address and port of the peer. */
  readonly remote: string;

  readonly #socket: Duplex;
  readonly #limits: Http2Limits;
  readonly #sender: Sender;
  readonly #receiver: Receiver;
  readonly #startedMs: number;
  #prefaceBytes = 0;

  /** Something has come since the last tick. */
  #heard = true;
  /** The frame that was not whole at some tick, as a number of frames before it, and since when. */
  #partialFrame = -1;
  #partialSinceMs = 0;
  #writtenBytes = 0;
  #writtenMs: number;

  #shutdownMs: number | undefined;
  #peerLeaves = false;
  /** No frame is read or written any more. */
  #ended = false;
  /** The last frame is written; until then the peer may read it. */
  #lingerUntilMs: number | undefined;
  #end: ConnectionEnd = { code: ErrorCode.NO_ERROR, text: 'closed by the peer' };

  /** Takes over a socket whose first bytes are, or should be, the client's preface. */
  constructor(socket: Duplex, options: Http2Options) {
    const limits = resolveLimits(options);
    const nowMs = performance.now();
    this.#socket = socket;
    this.#limits = limits;
    this.#startedMs = nowMs;
    this.#writtenMs = nowMs;
    this.remote = remoteOf(socket);
    const guard = new Guard(limits);
    this.#sender = new Sender(socket, limits, guard);
    const owner: ReceiverOwner = {
      remote: this.remote,
      commonName: commonNameOf(socket),
      onStream: options.onStream,
      fail: (code, text) => this.#fail(code, text),
      idle: () => this.#endIfDone(),
      peerLeaves: () => {
        this.#peerLeaves = true;
        this.#endIfDone();
      },
      pong: (payload) => {
        if (this.#shutdownMs !== undefined && payload.equals(SHUTDOWN_PING)) this.#finalGoaway();
      },
    };
    this.#receiver = new Receiver(owner, this.#sender, guard, limits, nowMs);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('end', () => this.destroy());
    socket.on('drain', () => this.#drained());
    socket.on('error', (error: Error) => {
      this.#note(ErrorCode.NO_ERROR, error.message);
      this.destroy();
    });
    socket.on('close', () => this.destroy());
    watch(this);
    this.#greet();
  }

  /** Streams that are open. */
  get streamCount(): number {
    return this.#receiver.streams.size;
  }

  /** Output that has not reached the system: what waits in streams and what the socket holds. */
  get queuedBytes(): number {
    return this.#sender.queuedBytes + this.#sender.output.unsentBytes;
  }

  /** Sends what has been written in this turn of the loop now instead of at its end. */
  flush(): void {
    this.#sender.output.flush();
  }

  /**
   * Ends the connection in order (RFC 9113 section 6.8): announces it, serves the requests that were under way, refuses
   * later ones, closes after the last stream. A stream that never ends keeps it open: its handler's affair, or `destroy`.
   */
  shutdown(): void {
    if (this.#shutdownMs !== undefined || this.#ended) return;
    this.#note(ErrorCode.NO_ERROR, 'shut down');
    this.#shutdownMs = performance.now();
    this.#goaway(STREAM_ID_MAX, ErrorCode.NO_ERROR, 'server is shutting down');
    this.#sender.control(FrameType.PING, 0, SHUTDOWN_PING);
  }

  /** Closes the socket at once; every open stream hears of it. */
  destroy(): void {
    this.#endStreams({ by: 'connection', code: ErrorCode.CANCEL });
    this.#sender.close();
    unwatch(this);
    this.#socket.destroy();
    const onClose = this.onClose;
    this.onClose = undefined;
    onClose?.(this.#end);
  }

  // ---- input and output

  #receive(chunk: Buffer): void {
    this.#heard = true;
    if (this.#ended) return;
    let at = 0;
    if (this.#prefaceBytes < CLIENT_PREFACE.length) {
      for (; at < chunk.length && this.#prefaceBytes < CLIENT_PREFACE.length; at++) {
        if (chunk[at] !== CLIENT_PREFACE[this.#prefaceBytes++]) {
          this.#fail(ErrorCode.PROTOCOL_ERROR, 'invalid connection preface');
          return;
        }
      }
    }
    this.#receiver.reader.push(chunk, at);
    const { output } = this.#sender;
    if (this.#ended || output.unsentBytes <= this.#limits.outputPauseBytes) return;
    this.flush();
    if (output.blocked) this.#socket.pause(); // until it drains: a peer that does not read is not read
  }

  #drained(): void {
    this.#sender.drained();
    if (this.#socket.isPaused()) this.#socket.resume();
  }

  #greet(): void {
    const { maxConcurrentStreams, streamWindowBytes, headerListBytesMax, connectionWindowBytes } = this.#limits;
    const settings = settingsPayload([
      [Setting.MAX_CONCURRENT_STREAMS, maxConcurrentStreams],
      [Setting.INITIAL_WINDOW_SIZE, streamWindowBytes],
      [Setting.MAX_HEADER_LIST_SIZE, headerListBytesMax],
    ]);
    this.#sender.control(FrameType.SETTINGS, 0, settings);
    const more = connectionWindowBytes - INITIAL_WINDOW_BYTES;
    if (more > 0) this.#sender.word(FrameType.WINDOW_UPDATE, 0, more);
  }

  // ---- the end

  #goaway(lastStreamId: number, code: ErrorCode, debug: string): void {
    const text = Buffer.from(debug);
    const payload = Buffer.allocUnsafe(8 + text.length);
    putUint32(payload, putUint32(payload, 0, lastStreamId), code);
    payload.set(text, 8);
    this.#sender.control(FrameType.GOAWAY, 0, payload);
  }

  /** The second GOAWAY: the peer has seen the first, so whatever it opens from now on it can safely send elsewhere. */
  #finalGoaway(): void {
    const { streams } = this.#receiver;
    if (streams.servedId !== STREAM_ID_MAX || this.#ended) return;
    streams.servedId = streams.lastId;
    this.#goaway(streams.lastId, ErrorCode.NO_ERROR, 'server is shutting down');
    this.#endIfDone();
  }

  #endIfDone(): void {
    const { streams } = this.#receiver;
    if (this.#ended || streams.size > 0 || !(this.#peerLeaves || streams.servedId !== STREAM_ID_MAX)) return;
    this.#close();
  }

  /** A connection error: GOAWAY, streams closed, and a moment for the peer to read it. */
  #fail(code: ErrorCode, text: string): void {
    if (this.#ended) return;
    this.#note(code, text);
    this.#goaway(this.#receiver.streams.lastId, code, text);
    this.#endStreams({ by: 'connection', code });
    this.#close();
  }

  #endStreams(reason: CloseReason): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#receiver.stop();
    for (const stream of this.#receiver.streams.values()) stream.abandon(reason);
  }

  #close(): void {
    this.#ended = true;
    this.#receiver.stop();
    this.flush();
    this.#lingerUntilMs = performance.now() + this.#limits.lingerMs;
    this.#socket.end();
    this.#socket.resume(); // what still comes is read and dropped: unread bytes would make the system drop our GOAWAY
  }

  #note(code: ErrorCode, text: string): void {
    if (!this.#ended) this.#end = { code, text };
  }

  // ---- time

  /** For the ticker. */
  tick(nowMs: number): void {
    this.#receiver.coarseNowMs = nowMs;
    if (this.#lingerUntilMs !== undefined) {
      if (nowMs >= this.#lingerUntilMs) this.destroy();
      return;
    }
    const late = this.#overdue(nowMs);
    if (late !== undefined) {
      this.#fail(ErrorCode.ENHANCE_YOUR_CALM, late);
      return;
    }
    if (this.#writeStalled(nowMs)) {
      this.#note(ErrorCode.NO_ERROR, 'the peer does not read');
      this.destroy();
      return;
    }
    if (this.#sender.queuedBytes > 0) {
      for (const stream of this.#receiver.streams.values()) {
        // INTERNAL_ERROR, so that a gRPC client takes it for the transport's fault and tries again.
        if (stream.stalled(nowMs)) stream.reset(ErrorCode.INTERNAL_ERROR);
      }
    }
    if (this.#shutdownMs !== undefined && nowMs - this.#shutdownMs >= this.#limits.shutdownNoticeMs) {
      this.#finalGoaway();
    }
    this.#checkPeer(nowMs);
  }

  /** What the peer has begun and not finished in time. */
  #overdue(nowMs: number): string | undefined {
    const limits = this.#limits;
    const { greeted, block, reader } = this.#receiver;
    if (!greeted && nowMs - this.#startedMs >= limits.prefaceTimeoutMs) return 'no preface in time';
    if (block !== undefined && nowMs - block.startedMs >= limits.headerTimeoutMs) {
      return 'header block not finished in time';
    }
    if (!reader.midFrame || reader.frames !== this.#partialFrame) {
      this.#partialFrame = reader.midFrame ? reader.frames : -1;
      this.#partialSinceMs = nowMs;
      return undefined;
    }
    return nowMs - this.#partialSinceMs >= limits.frameTimeoutMs ? 'frame not finished in time' : undefined;
  }

  #writeStalled(nowMs: number): boolean {
    const waiting = this.#socket.writableLength;
    const written = this.#sender.output.flushedBytes - waiting;
    if (waiting === 0 || written !== this.#writtenBytes) {
      this.#writtenBytes = written;
      this.#writtenMs = nowMs;
      return false;
    }
    return nowMs - this.#writtenMs >= this.#limits.writeStallTimeoutMs;
  }

  #checkPeer(nowMs: number): void {
    const { keepalive } = this.#receiver;
    if (this.#heard) {
      this.#heard = false;
      keepalive.heard(nowMs);
      return;
    }
    const verdict = keepalive.check(nowMs);
    if (verdict === 'ask') this.#sender.control(FrameType.PING, 0, KEEPALIVE_PING);
    else if (verdict === 'give up') {
      this.#note(ErrorCode.NO_ERROR, 'keepalive ping not answered');
      this.destroy();
    }
  }
}

function remoteOf(socket: Duplex): string {
  const { remoteAddress, remotePort } = socket as { remoteAddress?: string; remotePort?: number };
  if (remoteAddress === undefined) return '';
  return remoteAddress.includes(':') ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
}
