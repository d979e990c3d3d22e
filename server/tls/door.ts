/**
 * A TLS server that hands on only who may come in: handshakes with a time and a number, the checks after them, the newest
 * credentials. Owns a connection until it is handed on or refused; knows nothing of what is said on it.
 */
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { refusedAddress } from './address-check.ts';
import type { Refusal } from './refusals.ts';
import type { Tls } from './tls.ts';
import { refusedClient } from './verdict.ts';

export interface DoorLimits {
  /** From the accepted connection to the end of the handshake. */
  readonly handshakeTimeoutMs: number;
  /** Handshakes under way. For one more, the oldest is cut off, if it has had `handshakePatienceMs`; otherwise the new one. */
  readonly handshakesMax: number;
  readonly handshakePatienceMs: number;
}

export interface DoorOptions {
  readonly tls: Tls;
  readonly limits: DoorLimits;
  /** In order of preference; none when absent. */
  readonly alpnProtocols?: string[];
  /** The handshake is over and the other side may come in. */
  readonly onSecure: (socket: TLSSocket) => void;
  readonly onRefused: (refusal: Refusal) => void;
}

/** Not listening yet. Throws what Node throws when the certificate cannot be used. */
export function createDoor(options: DoorOptions): Server {
  const { tls, limits, alpnProtocols } = options;
  const handshakes = new Handshakes(limits);
  const server = createServer(
    {
      ...tls.serverOptions(),
      ...(alpnProtocols === undefined ? {} : { ALPNProtocols: alpnProtocols }),
      handshakeTimeout: limits.handshakeTimeoutMs,
      noDelay: true,
    },
    (socket) => {
      // An error from here on (a reset) must not be the process's.
      socket.on('error', () => socket.destroy());
      enter(socket, options, () => handshakes.over(socket));
    },
  );
  // The raw sockets, before their handshake begins.
  server.prependListener('connection', (socket: Socket) => {
    const remote = addressOf(socket);
    if (!handshakes.begin(socket)) options.onRefused({ remote, reason: 'too many handshakes are under way' });
  });
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    options.onRefused({ remote: addressOf(socket), ...handshakeReason(error, limits) });
    socket.destroy();
  });
  const stop = tls.onReplace(() => server.setSecureContext(tls.serverOptions()));
  server.once('close', stop);
  return server;
}

function enter(socket: TLSSocket, { tls, onSecure, onRefused }: DoorOptions, over: () => void): void {
  // Once the socket is destroyed it does not know any more.
  const remote = addressOf(socket);
  const certificate = tls.policy.demandCertificate ? socket.getPeerCertificate() : undefined;
  const settle = (reason: string | undefined): void => {
    over();
    if (reason === undefined) {
      if (!socket.destroyed) onSecure(socket);
      return;
    }
    onRefused({ remote, reason, ...describe(certificate) });
    socket.destroy();
  };
  const reason = refusedClient(socket, tls);
  if (reason !== undefined || !tls.policy.checkAddress || certificate === undefined) settle(reason);
  else void refusedAddress(remote, certificate).then(settle);
}

function describe(certificate: Partial<ReturnType<TLSSocket['getPeerCertificate']>> | undefined): Partial<Refusal> {
  const { subject, issuer } = certificate ?? {};
  return { ...(subject && { subject: nameText(subject) }), ...(issuer && { issuer: nameText(issuer) }) };
}

function nameText(name: object): string {
  return Object.entries(name)
    .map(([type, value]) => `${type}=${String(value)}`)
    .join(', ');
}

function addressOf(socket: Socket): string {
  return socket.remoteAddress ?? 'unknown';
}

/** OpenSSL's and Node's codes for a handshake that did not come to its end. */
function handshakeReason(error: NodeJS.ErrnoException, limits: DoorLimits): Pick<Refusal, 'reason' | 'harmless'> {
  switch (error.code) {
    case 'ECONNRESET':
    case 'EPIPE':
      return { reason: 'it hung up during the handshake', harmless: true };
    case 'ERR_TLS_HANDSHAKE_TIMEOUT':
      return { reason: `no handshake within ${limits.handshakeTimeoutMs} ms` };
    case 'ERR_SSL_HTTP_REQUEST':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
      return { reason: 'it does not speak TLS: its URL should begin with https://' };
    case 'ERR_SSL_UNSUPPORTED_PROTOCOL':
      return { reason: 'it speaks no version of TLS that is allowed here (--tls-min-version, --tls-max-version)' };
    case 'ERR_SSL_NO_SHARED_CIPHER':
      return { reason: 'it has no cipher suite that is allowed here (--cipher-suites)' };
    case 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA':
      return { reason: "it does not trust the authority that has signed this member's certificate" };
    case 'ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE':
      return {
        reason: "it refuses this member's certificate: an unknown authority, or not for the host it has dialed",
      };
    case 'ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED':
      return { reason: "it refuses this member's certificate: expired" };
    default:
      return { reason: `the handshake failed: ${(error as { reason?: string }).reason ?? error.message}` };
  }
}

/** The handshakes under way, oldest first. A TLS socket and the raw one below it are known by the address they share. */
class Handshakes {
  readonly #limits: DoorLimits;
  readonly #open = new Map<string, { socket: Socket; startedMs: number }>();

  constructor(limits: DoorLimits) {
    this.#limits = limits;
  }

  /** False: `socket` was cut off, there are too many. */
  begin(socket: Socket): boolean {
    if (socket.destroyed) return true;
    const nowMs = performance.now();
    if (this.#open.size >= this.#limits.handshakesMax) {
      const [key, oldest] = this.#open.entries().next().value!;
      if (nowMs - oldest.startedMs < this.#limits.handshakePatienceMs) {
        socket.destroy();
        return false;
      }
      this.#open.delete(key);
      oldest.socket.destroy();
    }
    const key = keyOf(socket);
    const handshake = { socket, startedMs: nowMs };
    this.#open.set(key, handshake);
    socket.once('close', () => {
      if (this.#open.get(key) === handshake) this.#open.delete(key);
    });
    return true;
  }

  over(socket: TLSSocket): void {
    this.#open.delete(keyOf(socket));
  }
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}
