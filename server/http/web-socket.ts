/**
 * WebSockets at the paths of the JSON gateway and of plain HTTP, by the conventions of etcd's (grpc-websocket-proxy): a text message in is one
 * request, a message out is one answer, and when the call is over the socket is closed. Owns the sockets, their limits and
 * both directions' flow; what is asked and answered is the gateway's. Looks at no cookie: a page of another site has those, too.
 */
import { type IncomingMessage, type RequestListener, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { currentPath } from './gateway-paths.ts';

export interface WebSocketLimits {
  /** Open sockets; one more is answered 503. */
  readonly socketsMax: number;
  /** One message of a client; a larger one closes the socket with 1009. */
  readonly messageBytesMax: number;
  /** Requests that wait for the gateway before nothing more is read. */
  readonly requestBytesMax: number;
  /** Answers on their way to the client before the gateway is told to wait. */
  readonly answerBytesMax: number;
  /** A client is asked this often whether it is there, and given up when it has not answered by the next time. */
  readonly pingIntervalMs: number;
  /** What `close` gives clients to close their side. */
  readonly closeGraceMs: number;
}

export const WEB_SOCKET_DEFAULTS: WebSocketLimits = Object.freeze({
  socketsMax: 10_000,
  messageBytesMax: 4 * 1024 * 1024,
  requestBytesMax: 256 * 1024,
  answerBytesMax: 1024 * 1024,
  pingIntervalMs: 30_000,
  closeGraceMs: 1_000,
});

export interface WebSocketsOptions {
  /** The app; its environment says where the request came from. */
  readonly fetch: (request: Request, environment: object) => Response | Promise<Response>;
  /** Serves what asks for another upgrade, or at another path: as if it had not asked. */
  readonly onRequest: RequestListener;
  readonly limits?: Partial<WebSocketLimits>;
  readonly onBug: (error: unknown) => void;
}

/** Close codes of RFC 6455 section 7.4.1. */
const NORMAL = 1000;
const GOING_AWAY = 1001;
const INTERNAL = 1011;

/** Whether `request` is for us; what is not should be served without an upgrade. */
export function wantsWebSocket(request: IncomingMessage): boolean {
  const path = currentPath(request.url ?? '');
  return request.headers.upgrade?.toLowerCase() === 'websocket' && /^\/(?:v3|kv)\//.test(path);
}

export class WebSockets {
  readonly #options: WebSocketsOptions;
  readonly #limits: WebSocketLimits;
  readonly #server: WebSocketServer;
  readonly #open = new Set<Exchange>();
  #timer: NodeJS.Timeout | undefined;
  #closing = false;

  constructor(options: WebSocketsOptions) {
    this.#options = options;
    this.#limits = { ...WEB_SOCKET_DEFAULTS, ...options.limits };
    this.#server = new WebSocketServer({
      noServer: true,
      maxPayload: this.#limits.messageBytesMax,
      perMessageDeflate: false,
      // `Bearer, TOKEN`: the second one is no protocol, and no secret is sent back.
      handleProtocols: (protocols) => {
        const [first] = protocols;
        return first?.toLowerCase() === 'bearer' ? 'Bearer' : false;
      },
    });
  }

  get size(): number {
    return this.#open.size;
  }

  /** For the `upgrade` event of an HTTP server. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    if (!wantsWebSocket(request)) {
      this.#serve(request, socket);
      return;
    }
    if (this.#closing || this.#open.size >= this.#limits.socketsMax) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      const exchange = new Exchange(webSocket, this.#limits);
      this.#open.add(exchange);
      this.#timer ??= setInterval(() => this.#ping(), this.#limits.pingIntervalMs);
      this.#timer.unref();
      exchange
        .run(requestOf(request, exchange), (each) =>
          this.#options.fetch(each, { incoming: { socket, url: request.url }, webSocket: true }),
        )
        .catch((error: unknown) => {
          webSocket.close(INTERNAL);
          this.#options.onBug(error);
        })
        .finally(() => this.#ended(exchange));
    });
  }

  /** Tells every client; those that do not go are cut off after `closeGraceMs`. */
  async close(): Promise<void> {
    this.#closing = true;
    const left = [...this.#open];
    const timer = setTimeout(() => {
      for (const exchange of left) exchange.terminate();
    }, this.#limits.closeGraceMs);
    await Promise.all(left.map((exchange) => exchange.shutDown()));
    clearTimeout(timer);
    this.#server.close();
  }

  #ended(exchange: Exchange): void {
    this.#open.delete(exchange);
    if (this.#open.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #ping(): void {
    for (const exchange of this.#open) exchange.ping();
  }

  /** Before Node 24.9 a server with this event gets every request for any upgrade here, with its body unread. */
  #serve(request: IncomingMessage, socket: Duplex): void {
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Parameters<ServerResponse['assignSocket']>[0]);
    response.once('finish', () => socket.end());
    const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
    if (encoding === undefined && (length === undefined || length === '0')) {
      this.#options.onRequest(request, response);
      return;
    }
    response.writeHead(400, { 'Content-Type': 'text/plain' });
    response.end('cannot upgrade the connection with a request that has a body: send it without Upgrade\n');
  }
}

/** One socket, which is one call. */
class Exchange {
  readonly body: ReadableStream<Uint8Array>;
  readonly #socket: WebSocket;
  readonly #limits: WebSocketLimits;
  readonly #gone = new AbortController();
  readonly #closed: Promise<void>;
  #body!: ReadableStreamDefaultController<Uint8Array>;
  #bodyOver = false;
  #answered = true;

  constructor(socket: WebSocket, limits: WebSocketLimits) {
    this.#socket = socket;
    this.#limits = limits;
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#body = controller;
        },
        pull: () => socket.resume(),
        cancel: () => this.#ignoreRequests(),
      },
      { highWaterMark: limits.requestBytesMax, size: (message) => message!.length },
    );
    socket.on('message', (data) => this.#message(data));
    socket.on('pong', () => {
      this.#answered = true;
    });
    // What was wrong is in the close code; the socket closes after it.
    socket.on('error', () => {});
    this.#closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#endBody();
        this.#gone.abort();
        resolve();
      });
    });
  }

  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  async run(request: Request, fetch: (request: Request) => Response | Promise<Response>): Promise<void> {
    const response = await fetch(request);
    const reader = response.body?.getReader();
    const cancel = () => {
      reader?.cancel().catch(() => {}); // nobody is left to tell
    };
    if (this.#gone.signal.aborted) cancel();
    else this.#gone.signal.addEventListener('abort', cancel, { once: true });
    let rest = '';
    const decoder = new TextDecoder();
    for (;;) {
      const read = await reader?.read();
      rest += read?.value === undefined ? decoder.decode() : decoder.decode(read.value, { stream: true });
      const lines = rest.split('\n');
      rest = lines.pop()!;
      if (read === undefined || read.done) {
        if (rest !== '') lines.push(rest);
        rest = '';
      }
      for (const line of lines) if (line !== '') await this.#send(line);
      if (read === undefined || read.done) break;
    }
    this.#socket.close(NORMAL);
    await this.#closed;
  }

  ping(): void {
    // Paused for the gateway's sake, it cannot hear the answer.
    if (this.#socket.isPaused) return;
    if (this.#answered) this.#socket.ping();
    else this.terminate();
    this.#answered = false;
  }

  shutDown(): Promise<void> {
    this.#socket.close(GOING_AWAY, 'server is shutting down');
    return this.#closed;
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #message(data: RawData): void {
    if (this.#bodyOver) return;
    const bytes = Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as ArrayBuffer);
    this.#body.enqueue(Buffer.concat([bytes, NEWLINE]));
    if ((this.#body.desiredSize ?? 0) <= 0) this.#socket.pause();
  }

  /** Whoever reads has what it wanted. Control frames must still be read. */
  #ignoreRequests(): void {
    this.#bodyOver = true;
    this.#socket.resume();
  }

  #endBody(): void {
    if (this.#bodyOver) return;
    this.#bodyOver = true;
    this.#body.close();
  }

  /** Resolves when there is room for more. */
  async #send(line: string): Promise<void> {
    const { signal } = this.#gone;
    const sent = new Promise<void>((resolve) => this.#socket.send(line, () => resolve()));
    if (this.#socket.bufferedAmount > this.#limits.answerBytesMax && !signal.aborted) await sent;
  }
}

const NEWLINE = Buffer.from('\n');

/** The request that the gateway gets: a POST, whoever asks. */
function requestOf(from: IncomingMessage, exchange: Exchange): Request {
  const headers = new Headers();
  for (const name of ['host', 'origin', 'referer', 'authorization'] as const) {
    const value = from.headers[name];
    if (value !== undefined) headers.set(name, value);
  }
  const token = bearer(from.headers['sec-websocket-protocol']);
  if (token !== undefined) headers.set('authorization', token);
  const { body, signal } = exchange;
  const request = { method: 'POST', headers, body, duplex: 'half', signal };
  return new Request(new URL(from.url ?? '/', 'http://gateway'), request as RequestInit);
}

/** A browser can set no other header than the list of protocols: `Bearer, TOKEN`. */
function bearer(protocols: string | undefined): string | undefined {
  const token = protocols?.split('Bearer,', 2)[1]?.trim();
  return token === undefined ? undefined : `Bearer ${token}`;
}
