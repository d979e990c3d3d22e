/**
 * The doors clients come through: one listener per client URL, each serving gRPC, the JSON gateway and plain HTTP on
 * one port. Owns sockets and their orderly end; what is behind the doors is given.
 */
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { TlsOptions } from 'node:tls';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { GrpcStatus, otherError, rosterError } from '../core/errors.ts';
import { AssertionError } from '../core/util/assert.ts';
import type { Logger } from './config/log.ts';
import type { ServeFlags } from './config/serve-flags.ts';
import { type GrpcHandler, grpcHandler, isGrpc } from './grpc/server.ts';
import { serveFetch } from './http2/fetch.ts';
import { createListener, type Listener } from './http2/listener.ts';
import type { Http2Stream } from './http2/stream.ts';
import { GRPC_OVERHEAD_BYTES } from './rpc/context.ts';
import type { Method } from './rpc/service.ts';

/** A JSON body stands for a message about this much smaller. */
const JSON_OVERHEAD = 2;
/** HTTP/1.1: from the first byte of a request to the last of its headers. */
const HEADERS_TIMEOUT_MS = 10_000;
const HEADERS_CHECK_INTERVAL_MS = 2_000;
/** HTTP/1.1 requests under way get this long when the server stops. */
const HTTP1_GRACE_MS = 1000;

export class ClientListeners {
  readonly #flags: ServeFlags;
  readonly #log: Logger;
  readonly #grpc: GrpcHandler;
  readonly #http: Server;
  readonly #app: Hono;
  readonly #listeners: Listener[] = [];
  #urls: string[] = [];

  constructor(flags: ServeFlags, methods: readonly Method[], app: Hono, log: Logger) {
    this.#flags = flags;
    this.#log = log;
    this.#app = app;
    this.#grpc = grpcHandler(methods, {
      maxRequestBytes: flags['max-request-bytes'] + GRPC_OVERHEAD_BYTES,
      onBug: (error) => {
        // An assertion says that the state may be wrong: the process stops before it makes things worse.
        if (error instanceof AssertionError) throw error;
        log.error({ error }, 'a call failed in an unforeseen way');
      },
    });
    const options = {
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: HEADERS_CHECK_INTERVAL_MS,
      // The body of a watch is open for as long as the client likes.
      requestTimeout: 0,
    };
    this.#http = createServer(options, (request, response) => {
      void requestListener(request, response);
    });
    const requestListener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
    // Our listeners hand it their sockets, so it never listens itself; but at this event Node begins to keep account of
    // connections, without which neither slow headers are cut off nor idle connections found.
    this.#http.emit('listening');
  }

  /** The URLs listened on, with the ports they got. */
  get urls(): readonly string[] {
    return this.#urls;
  }

  /** Rejects with a RosterError that names the URL that could not be listened on. */
  async listen(): Promise<void> {
    for (const url of this.#flags['listen-client-urls']) {
      const { protocol, hostname, port } = new URL(url);
      const listener = createListener({
        ...(protocol === 'https:' ? { tls: tlsOptions(this.#flags) } : {}),
        http2: {
          onStream: (stream) => this.#onStream(stream, protocol === 'https:'),
          maxConcurrentStreams: this.#flags['max-concurrent-streams'],
          keepaliveMinTimeMs: this.#flags['grpc-keepalive-min-time'],
          ...keepalive(this.#flags),
        },
        onHttp1: (socket) => this.#http.emit('connection', socket),
        onEnd: (remote, end) => {
          if (end.code !== 0) this.#log.warn({ remote, code: end.code }, `closed a connection: ${end.text}`);
        },
      });
      this.#listeners.push(listener);
      const address = await listener.listen(portOf(port, protocol), hostOf(hostname)).catch((error: Error) => {
        throw otherError(GrpcStatus.UNAVAILABLE, `cannot listen on ${url}: ${error.message}`, { cause: error });
      });
      this.#urls.push(`${protocol}//${hostname}:${address.port}`);
    }
    this.#urls = [...this.#urls];
  }

  /** Takes no new calls, ends the streams, lets the unary calls finish. */
  async close(): Promise<void> {
    const closed = Promise.all(this.#listeners.map((listener) => listener.close()));
    this.#grpc.endStreams(rosterError('Stopped'));
    // Closes idle connections; its error says that it did not listen, which is so.
    this.#http.close(() => {});
    const timer = setTimeout(() => this.#http.closeAllConnections(), HTTP1_GRACE_MS);
    await closed;
    clearTimeout(timer);
  }

  /** In cleartext every HTTP/2 stream is gRPC's, as with etcd; over TLS browsers speak HTTP/2 too. */
  #onStream(stream: Http2Stream, secure: boolean): void {
    if (!secure || isGrpc(stream.headers)) this.#grpc(stream);
    else {
      const limits = { bodyBytesMax: this.#flags['max-request-bytes'] * JSON_OVERHEAD };
      const fetch = (request: Request) => this.#app.fetch(request, { commonName: stream.commonName });
      serveFetch(stream, fetch, limits, (error) => this.#log.error({ error }, 'an HTTP request failed'));
    }
  }
}

function keepalive(flags: ServeFlags): { keepaliveTimeMs?: number; keepaliveTimeoutMs: number } {
  const interval = flags['grpc-keepalive-interval'];
  return {
    keepaliveTimeoutMs: flags['grpc-keepalive-timeout'],
    ...(interval === 0 ? {} : { keepaliveTimeMs: interval }),
  };
}

/** Go listens on the IPv4 address of `localhost`; clients that know only 127.0.0.1 count on it. */
function hostOf(hostname: string): string {
  return hostname === 'localhost' ? '127.0.0.1' : hostname.replace(/^\[|\]$/g, '');
}

/** URL drops a scheme's default port. */
function portOf(port: string, protocol: string): number {
  if (port !== '') return Number(port);
  return protocol === 'https:' ? 443 : 80;
}

function tlsOptions(flags: ServeFlags): TlsOptions {
  const read = (name: 'cert-file' | 'key-file' | 'trusted-ca-file') => {
    try {
      return readFileSync(flags[name]);
    } catch (error) {
      throw otherError(GrpcStatus.FAILED_PRECONDITION, `--${name}: ${(error as Error).message}`, { cause: error });
    }
  };
  return {
    cert: read('cert-file'),
    key: read('key-file'),
    ...(flags['trusted-ca-file'] === '' ? {} : { ca: read('trusted-ca-file') }),
    requestCert: flags['client-cert-auth'],
    rejectUnauthorized: flags['client-cert-auth'],
    minVersion: 'TLSv1.2',
  };
}
