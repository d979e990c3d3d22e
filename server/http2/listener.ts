/**
 * One port for HTTP/2 and HTTP/1.1, cleartext or TLS: the first bytes, or ALPN, tell which. Owns the listening socket and
 * every connection until it is handed over or closed. Speaks neither protocol itself.
 */
import { type AddressInfo, createServer as createNetServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { createDoor } from '../tls/door.ts';
import type { Refusal } from '../tls/refusals.ts';
import type { Tls } from '../tls/tls.ts';
import { ignoreCommonName } from './common-name.ts';
import { type ConnectionEnd, Http2Connection, type Http2Options } from './connection.ts';
import { CLIENT_PREFACE } from './frames.ts';

export interface ListenerLimits {
  /** Open sockets of any kind; one more is closed as soon as it is accepted. */
  readonly connectionsMax: number;
  /** From the accepted connection (with TLS: from the end of the handshake) to the bytes that tell the protocol. */
  readonly firstBytesTimeoutMs: number;
  readonly tlsHandshakeTimeoutMs: number;
  /** TLS handshakes under way. For one more, the oldest that has had this much time is cut off, or the new one. */
  readonly tlsHandshakesMax: number;
  readonly tlsHandshakePatienceMs: number;
  /** What `close` gives open requests before it closes their connections. */
  readonly closeGraceMs: number;
}

export const LISTENER_DEFAULTS: ListenerLimits = Object.freeze({
  connectionsMax: 20_000,
  firstBytesTimeoutMs: 10_000,
  tlsHandshakeTimeoutMs: 10_000,
  tlsHandshakesMax: 1000,
  tlsHandshakePatienceMs: 1000,
  closeGraceMs: 5_000,
});

export interface ListenerOptions {
  /** With it the port speaks TLS only. ALPN is the listener's own. */
  readonly tls?: Tls | undefined;
  /** With TLS: somebody was not let in. */
  readonly onRefused?: (refusal: Refusal) => void;
  readonly http2: Http2Options;
  /** An HTTP/1.1 connection, none of its bytes consumed: for `httpServer.emit('connection', socket)`. */
  readonly onHttp1: (socket: Duplex) => void;
  readonly limits?: Partial<ListenerLimits>;
  /** An HTTP/2 connection is over. */
  readonly onEnd?: (remote: string, end: ConnectionEnd) => void;
}

export interface Listener {
  /** Resolves when connections are accepted; rejects with the system's error (EADDRINUSE and the like). */
  listen(port: number, host: string): Promise<AddressInfo>;
  /**
   * Stops accepting, says GOAWAY on every HTTP/2 connection and waits for the open streams, and for the HTTP/1.1 sockets
   * to be closed by their owner; what is left after `closeGraceMs` is destroyed.
   */
  close(): Promise<void>;
  /** Stops accepting and destroys every socket. `close`, before or after, still resolves. */
  destroy(): void;
  /** Open sockets. */
  readonly connections: number;
  /** Bytes on all sockets so far, those included that are closed. */
  readonly bytes: { readonly received: number; readonly sent: number };
}

export function createListener(options: ListenerOptions): Listener {
  return new PortListener(options);
}

class PortListener implements Listener {
  readonly #options: ListenerOptions;
  readonly #limits: ListenerLimits;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #http2 = new Set<Http2Connection>();
  #closing: Promise<void> | undefined;
  /** On sockets that are closed. */
  #receivedBytes = 0;
  #sentBytes = 0;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#limits = { ...LISTENER_DEFAULTS, ...options.limits };
    if (options.tls === undefined) {
      this.#server = createNetServer({ noDelay: true }, (socket) => this.#sniff(socket));
    } else {
      const { tls, onRefused = () => {} } = options;
      this.#server = createDoor({
        tls,
        limits: {
          handshakeTimeoutMs: this.#limits.tlsHandshakeTimeoutMs,
          handshakesMax: this.#limits.tlsHandshakesMax,
          handshakePatienceMs: this.#limits.tlsHandshakePatienceMs,
        },
        alpnProtocols: ['h2', 'http/1.1'],
        onSecure: (socket) => {
          if (!tls.policy.nameIsUser) ignoreCommonName(socket);
          this.#secured(socket);
        },
        onRefused,
      });
    }
    // The raw sockets: with TLS they are there before, and without, the handshake's end.
    this.#server.prependListener('connection', (socket: Socket) => this.#accepted(socket));
  }

  get connections(): number {
    return this.#sockets.size;
  }

  get bytes(): { received: number; sent: number } {
    let received = this.#receivedBytes;
    let sent = this.#sentBytes;
    for (const { bytesRead, bytesWritten } of this.#sockets) {
      received += bytesRead;
      sent += bytesWritten;
    }
    return { received, sent };
  }

  listen(port: number, host: string): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        resolve(this.#server.address() as AddressInfo);
      });
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#http2) connection.shutdown();
    const grace = setTimeout(() => this.destroy(), this.#limits.closeGraceMs);
    await closed;
    clearTimeout(grace);
    for (const socket of this.#sockets) await new Promise((resolve) => socket.once('close', resolve));
  }

  destroy(): void {
    this.#server.close();
    for (const connection of this.#http2) connection.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accepted(socket: Socket): void {
    if (this.#sockets.size >= this.#limits.connectionsMax) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.#receivedBytes += socket.bytesRead;
      this.#sentBytes += socket.bytesWritten;
    });
    // Until an owner listens, an error here (a reset while we sniff) must not be the process's.
    socket.on('error', () => socket.destroy());
  }

  #secured(socket: TLSSocket): void {
    if (socket.alpnProtocol === 'h2') this.#startHttp2(socket);
    else if (socket.alpnProtocol === 'http/1.1') this.#options.onHttp1(socket);
    else this.#sniff(socket);
  }

  /** Reads as far as the bytes tell HTTP/2's preface from anything else, and puts them back. */
  #sniff(socket: Socket): void {
    let seen: Buffer = Buffer.alloc(0);
    const timer = setTimeout(() => socket.destroy(), this.#limits.firstBytesTimeoutMs);
    const settle = (): void => {
      clearTimeout(timer);
      socket.off('data', onData);
      socket.off('close', settle);
    };
    const onData = (chunk: Buffer): void => {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const compared = Math.min(seen.length, CLIENT_PREFACE.length);
      const isHttp2 = seen.compare(CLIENT_PREFACE, 0, compared, 0, compared) === 0;
      if (isHttp2 && compared < CLIENT_PREFACE.length) return;
      settle();
      socket.pause();
      socket.unshift(seen);
      if (isHttp2) this.#startHttp2(socket);
      else this.#options.onHttp1(socket);
      socket.resume();
    };
    socket.on('data', onData);
    socket.on('close', settle);
  }

  #startHttp2(socket: Socket): void {
    const connection = new Http2Connection(socket, this.#options.http2);
    this.#http2.add(connection);
    connection.onClose = (end) => {
      this.#http2.delete(connection);
      this.#options.onEnd?.(connection.remote, end);
    };
    if (this.#closing !== undefined) connection.shutdown();
  }
}
