/**
 * The doors clients come through: one listener per client URL, each serving gRPC, the JSON gateway and plain HTTP on
 * one port. Owns sockets and their orderly end; what is behind the doors is given.
 */
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { GrpcStatus, otherError, rosterError } from '../core/errors.ts';
import { AssertionError } from '../core/util/assert.ts';
import type { Logger } from './config/log.ts';
import type { ServeFlags } from './config/serve-flags.ts';
import { type GrpcHandler, grpcHandler, isGrpc } from './grpc/server.ts';
import { jsonBytesMax } from './http/gateway.ts';
import { WebSockets, wantsWebSocket } from './http/web-socket.ts';
import { serveFetch } from './http2/fetch.ts';
import { ErrorCode } from './http2/frames.ts';
import { createListener, type Listener } from './http2/listener.ts';
import type { Http2Stream } from './http2/stream.ts';
import { GRPC_OVERHEAD_BYTES } from './rpc/context.ts';
import type { Method } from './rpc/service.ts';
import { RefusalLog } from './tls/refusals.ts';
import type { Tls } from './tls/tls.ts';

/** HTTP/1.1: from the first byte of a request to the last of its headers. */
const HEADERS_TIMEOUT_MS = 10_000;
/**
 * An idle HTTP/1.1 connection is closed after so long. Node's five seconds are less than most clients keep one for use again:
 * a request that crosses the close is lost, and not every client tries it again. Etcd's stay open for ever.
 */
const IDLE_TIMEOUT_MS = 600_000;
const HEADERS_CHECK_INTERVAL_MS = 2_000;
/** HTTP/1.1 requests under way get this long when the server stops. */
const HTTP1_GRACE_MS = 1000;

/** Of the flags, those that matter here. */
export type ListenerFlags = Pick<
  ServeFlags,
  | 'listen-client-urls'
  | 'listen-client-http-urls'
  | 'listen-metrics-urls'
  | 'max-request-bytes'
  | 'max-concurrent-streams'
  | 'grpc-keepalive-min-time'
  | 'grpc-keepalive-interval'
  | 'grpc-keepalive-timeout'
>;

export interface ClientApps {
  /** The JSON gateway and everything else over HTTP. */
  readonly client: Hono;
  /** What --listen-metrics-urls serves. */
  readonly monitoring: Hono;
}

/** One URL, and what is behind it. */
interface Door {
  readonly url: string;
  readonly grpc: boolean;
  readonly http: HttpSide | undefined;
}

interface HttpSide {
  readonly app: Hono;
  /** Never listens: it is handed sockets. */
  readonly server: Server;
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => void;
}

export class ClientListeners {
  readonly #flags: ListenerFlags;
  readonly #log: Logger;
  readonly #tls: Tls | undefined;
  readonly #grpc: GrpcHandler;
  readonly #client: HttpSide;
  readonly #monitoring: HttpSide;
  readonly #webSockets: WebSockets;
  readonly #listeners: Listener[] = [];
  #urls: string[] = [];

  /** `tls`: for https:// URLs. */
  constructor(flags: ListenerFlags, tls: Tls | undefined, methods: readonly Method[], apps: ClientApps, log: Logger) {
    this.#flags = flags;
    this.#tls = tls;
    this.#log = log;
    this.#grpc = grpcHandler(methods, {
      maxRequestBytes: flags['max-request-bytes'] + GRPC_OVERHEAD_BYTES,
      onBug: (error) => {
        // An assertion says that the state may be wrong: the process stops before it makes things worse.
        if (error instanceof AssertionError) throw error;
        log.error({ error }, 'a call failed in an unforeseen way');
      },
    });
    // Node 24.9 and later ask, and its types do not know that yet.
    this.#client = httpSide(apps.client, { shouldUpgradeCallback: wantsWebSocket });
    this.#monitoring = httpSide(apps.monitoring);
    const { app, server, onRequest } = this.#client;
    this.#webSockets = new WebSockets({
      fetch: app.fetch,
      onRequest,
      limits: { messageBytesMax: jsonBytesMax(flags['max-request-bytes']) },
      onBug: (error) => log.error({ error }, 'a WebSocket failed in an unforeseen way'),
    });
    server.on('upgrade', (request, socket, head) => this.#webSockets.upgrade(request, socket, head));
  }

  /** The URLs listened on, with the ports they got. */
  get urls(): readonly string[] {
    return this.#urls;
  }

  /** What has come from clients and gone to them, over whatever protocol. */
  get bytes(): { received: number; sent: number } {
    let [received, sent] = [0, 0];
    for (const { bytes } of this.#listeners) {
      received += bytes.received;
      sent += bytes.sent;
    }
    return { received, sent };
  }

  /** Rejects with a RosterError that names the URL that could not be listened on. */
  async listen(): Promise<void> {
    const refusals = new RefusalLog(this.#log, 'client');
    for (const door of this.#doors()) {
      const { url, http } = door;
      const { protocol, hostname, port } = new URL(url);
      const listener = createListener({
        ...(protocol === 'https:' ? { tls: this.#tls } : {}),
        onRefused: (refusal) => refusals.add(refusal),
        http2: {
          onStream: (stream) => this.#onStream(stream, protocol === 'https:', door),
          maxConcurrentStreams: this.#flags['max-concurrent-streams'],
          keepaliveMinTimeMs: this.#flags['grpc-keepalive-min-time'],
          ...keepalive(this.#flags),
        },
        onHttp1: (socket) => (http === undefined ? socket.destroy() : http.server.emit('connection', socket)),
        onEnd: (remote, end) => {
          if (end.code !== 0) this.#log.warn({ remote, code: end.code }, `closed a connection: ${end.text}`);
        },
      });
      this.#listeners.push(listener);
      const address = await listener.listen(portOf(port, protocol), hostOf(hostname)).catch((error: Error) => {
        throw otherError(GrpcStatus.UNAVAILABLE, `cannot listen on ${url}: ${error.message}`, { cause: error });
      });
      if (door.grpc) this.#urls.push(`${protocol}//${hostname}:${address.port}`);
    }
    this.#urls = [...this.#urls];
  }

  /** With --listen-client-http-urls the client URLs have gRPC alone, as with etcd. */
  #doors(): Door[] {
    const httpUrls = this.#flags['listen-client-http-urls'];
    const client = this.#client;
    const split = httpUrls.length > 0;
    return [
      ...this.#flags['listen-client-urls'].map((url) => ({ url, grpc: true, http: split ? undefined : client })),
      ...httpUrls.map((url) => ({ url, grpc: false, http: client })),
      ...this.#flags['listen-metrics-urls'].map((url) => ({ url, grpc: false, http: this.#monitoring })),
    ];
  }

  /** Takes no new calls, ends the streams, lets the unary calls finish. */
  async close(): Promise<void> {
    const closed = Promise.all(this.#listeners.map((listener) => listener.close()));
    this.#grpc.endStreams(rosterError('Stopped'));
    // Closes idle connections; its error says that it did not listen, which is so.
    const servers = [this.#client.server, this.#monitoring.server];
    for (const server of servers) server.close(() => {});
    const timer = setTimeout(() => {
      for (const server of servers) server.closeAllConnections();
    }, HTTP1_GRACE_MS);
    await Promise.all([closed, this.#webSockets.close()]);
    clearTimeout(timer);
  }

  /** In cleartext every HTTP/2 stream is gRPC's, as with etcd; over TLS browsers speak HTTP/2 too. */
  #onStream(stream: Http2Stream, secure: boolean, { grpc, http }: Door): void {
    if (grpc && (http === undefined || !secure || isGrpc(stream.headers))) this.#grpc(stream);
    else {
      // The body of a stream is as long as the client likes; who reads it limits each message.
      const limits = { bodyBytesMax: Number.POSITIVE_INFINITY };
      const known = { target: stream.headers.path, cut: () => stream.reset(ErrorCode.CANCEL) };
      const environment = secure ? { ...known, commonName: stream.commonName } : known;
      const fetch = (request: Request) => http!.app.fetch(request, environment);
      serveFetch(stream, fetch, limits, (error) => this.#log.error({ error }, 'an HTTP request failed'));
    }
  }
}

function httpSide(app: Hono, more: object = {}): HttpSide {
  const options: ServerOptions = {
    ...more,
    headersTimeout: HEADERS_TIMEOUT_MS,
    keepAliveTimeout: IDLE_TIMEOUT_MS,
    connectionsCheckingInterval: HEADERS_CHECK_INTERVAL_MS,
    // The body of a watch is open for as long as the client likes.
    requestTimeout: 0,
  };
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    closeAfterRefusal(request, response);
    void listener(request, response);
  };
  const server = createServer(options, onRequest);
  // Our listeners hand it their sockets, so it never listens itself; but at this event Node begins to keep account of
  // connections, without which neither slow headers are cut off nor idle connections found.
  server.emit('listening');
  return { app, server, onRequest };
}

/** Who is answered before his body was read is told that the connection ends with the answer: the next request would be lost. */
function closeAfterRefusal(request: IncomingMessage, response: ServerResponse): void {
  const { 'transfer-encoding': encoding, 'content-length': length } = request.headers;
  if (encoding === undefined && Number(length ?? 0) === 0) return;
  const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => ServerResponse;
  response.writeHead = (...args: unknown[]) => {
    if (!request.complete) response.shouldKeepAlive = false;
    return writeHead(...args);
  };
}

function keepalive(flags: ListenerFlags): { keepaliveTimeMs?: number; keepaliveTimeoutMs: number } {
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
