/**
 * One listening socket for members, http or https. Owns its sockets until they are closed, and the limits that keep
 * strangers from exhausting it. Knows nothing of what is said on them.
 */
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import type { Logger } from '../config/log.ts';
import { createDoor } from '../tls/door.ts';
import { RefusalLog } from '../tls/refusals.ts';
import { Tls } from '../tls/tls.ts';
import type { PeerLimits } from './limits.ts';

export interface PeerListenerOptions {
  readonly tls: Tls | undefined;
  readonly limits: PeerLimits;
  readonly log: Logger;
  /** Shared by all listeners: what they hold counts together. */
  readonly sockets: Set<Socket>;
  readonly onRequest: RequestListener;
  readonly onUpgrade: (request: IncomingMessage, socket: Socket, head: Buffer) => void;
}

export class PeerListener {
  /** With the port it got. */
  url = '';
  readonly #options: PeerListenerOptions;
  readonly #given: string;
  /** Listens: itself, or the TLS in front of it. */
  readonly #server: NetServer;
  readonly #http: Server;

  /** Throws a RosterError when the certificate cannot be used. */
  constructor(url: string, options: PeerListenerOptions) {
    this.#options = options;
    this.#given = url;
    const { limits } = options;
    const http = {
      headersTimeout: limits.requestTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: limits.requestCheckIntervalMs,
      maxHeaderSize: limits.headerBytesMax,
      noDelay: true,
    };
    this.#http = createServer(http, options.onRequest);
    this.#server = url.startsWith('https:') ? this.#door(url) : this.#http;
    // The raw sockets: with TLS they are there before, and without, the handshake's end.
    this.#server.prependListener('connection', (socket: Socket) => this.#accepted(socket));
    this.#http.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      options.onUpgrade(request, socket as Socket, head),
    );
  }

  /** Rejects with a RosterError that names the URL. */
  async listen(): Promise<void> {
    const { protocol, hostname, port } = new URL(this.#given);
    // URL drops a scheme's default port; Go listens on the IPv4 address of localhost.
    const number = port !== '' ? Number(port) : protocol === 'https:' ? 443 : 80;
    const host = hostname === 'localhost' ? '127.0.0.1' : hostname.replace(/^\[|\]$/g, '');
    await new Promise<void>((resolve, reject) => {
      const refused = (error: Error): void => {
        const text = `cannot listen for members on ${this.#given}: ${error.message}`;
        reject(otherError(GrpcStatus.UNAVAILABLE, text, { cause: error }));
      };
      this.#server.once('error', refused);
      this.#server.listen(number, host, () => {
        this.#server.off('error', refused);
        resolve();
      });
    });
    this.url = `${protocol}//${hostname}:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Takes no new connections. Resolves when those there were are closed, which is the business of who owns `sockets`. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      // Its error says that it did not listen.
      this.#server.close(() => resolve());
      this.#http.closeIdleConnections();
      if (this.#http !== this.#server) this.#http.close(() => {});
    });
  }

  #accepted(socket: Socket): void {
    const { sockets, limits } = this.#options;
    // Before anybody else listens an error (a reset) must not be the process's.
    socket.on('error', () => socket.destroy());
    if (sockets.size >= limits.connectionsMax) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  }

  #door(url: string): NetServer {
    const { limits, log, tls = new Tls({}, {}) } = this.#options;
    const refusals = new RefusalLog(log, 'peer');
    let door: NetServer;
    try {
      door = createDoor({
        tls,
        limits: {
          handshakeTimeoutMs: limits.tlsHandshakeTimeoutMs,
          handshakesMax: limits.tlsHandshakesMax,
          handshakePatienceMs: limits.tlsHandshakePatienceMs,
        },
        onSecure: (socket) => this.#http.emit('connection', socket),
        onRefused: (refusal) => refusals.add(refusal),
      });
    } catch (error) {
      const text = `cannot listen for members on ${url}: ${(error as Error).message}`;
      throw otherError(GrpcStatus.FAILED_PRECONDITION, text, { cause: error });
    }
    // The HTTP server never listens itself; but at this event Node begins to keep account of its connections.
    this.#http.emit('listening');
    return door;
  }
}
