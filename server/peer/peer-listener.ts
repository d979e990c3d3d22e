/**
 * One listening socket for members, http or https. Owns its sockets until they are closed, and the limits that keep
 * strangers from exhausting it. Knows nothing of what is said on them.
 */
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import type { Logger } from '../config/log.ts';
import type { PeerLimits } from './limits.ts';
import { isAllowed, listenTls, type PeerTls } from './peer-tls.ts';

export interface PeerListenerOptions {
  readonly tls: PeerTls | undefined;
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
  readonly #server: Server;

  /** Throws a RosterError when the certificate cannot be used. */
  constructor(url: string, options: PeerListenerOptions) {
    this.#options = options;
    this.#given = url;
    const { limits, tls } = options;
    const http = {
      headersTimeout: limits.requestTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: limits.requestCheckIntervalMs,
      maxHeaderSize: limits.headerBytesMax,
      noDelay: true,
    };
    if (url.startsWith('https:')) {
      this.#server = secureServer(url, { ...http, ...listenTls(tls), handshakeTimeout: limits.tlsHandshakeTimeoutMs });
      this.#server.on('tlsClientError', (_error: Error, socket: TLSSocket) => socket.destroy());
      this.#server.prependListener('secureConnection', (socket: TLSSocket) => this.#secured(socket));
      this.#server.on('request', options.onRequest);
    } else this.#server = createServer(http, options.onRequest);
    // The raw sockets: with TLS they are there before, and without, the handshake's end.
    this.#server.prependListener('connection', (socket: Socket) => this.#accepted(socket));
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
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
      this.#server.closeIdleConnections();
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

  #secured(socket: TLSSocket): void {
    const { tls, log } = this.#options;
    socket.on('error', () => socket.destroy());
    if (tls === undefined || isAllowed(socket, tls)) return;
    log.warn({ remote: socket.remoteAddress }, 'refused a certificate: it has none of the allowed names');
    socket.destroy();
  }
}

function secureServer(url: string, options: ServerOptions): Server {
  try {
    return createSecureServer(options);
  } catch (error) {
    const text = `cannot listen for members on ${url}: ${(error as Error).message}`;
    throw otherError(GrpcStatus.FAILED_PRECONDITION, text, { cause: error });
  }
}
