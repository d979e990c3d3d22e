/**
 * Serves an HTTP/2 request with a fetch handler (`Request` in, `Response` out). Owns the two bodies and their
 * backpressure; never knows what is served.
 */
import { ErrorCode } from './frames.ts';
import type { HeaderField, RequestHeaders } from './header-list.ts';
import { encodeHeaderBlock } from './hpack.ts';
import type { CloseReason, Http2Stream, StreamEvents } from './stream.ts';

export type FetchHandler = (request: Request) => Response | Promise<Response>;

export interface FetchLimits {
  /** A request body of one byte more is answered 413. */
  readonly bodyBytesMax: number;
}

/** Fields of HTTP/1.1 connections, which HTTP/2 forbids (RFC 9113 section 8.2.2). */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/**
 * Answers `stream` with what `fetch` returns. A handler that fails is told to `onError` and answered 500, or reset when
 * the response had begun. The request's `signal` aborts when the client goes.
 */
export function serveFetch(
  stream: Http2Stream,
  fetch: FetchHandler,
  limits: FetchLimits,
  onError: (error: unknown) => void,
): void {
  const exchange = new Exchange(stream, limits);
  stream.events = exchange;
  exchange.run(fetch).catch((error: unknown) => {
    if (stream.closed) return;
    onError(error);
    if (stream.headersSent) stream.reset(ErrorCode.INTERNAL_ERROR);
    else sendStatus(stream, 500);
  });
}

class Exchange implements StreamEvents {
  readonly #stream: Http2Stream;
  readonly #limits: FetchLimits;
  readonly #abort = new AbortController();
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;
  #bodyBytes = 0;
  /** Delivered to the request's body and not yet pulled out of it. */
  #unread: number[] = [];
  #drained: (() => void) | undefined;

  constructor(stream: Http2Stream, limits: FetchLimits) {
    this.#stream = stream;
    this.#limits = limits;
  }

  async run(fetch: FetchHandler): Promise<void> {
    const request = this.#request();
    if (typeof request === 'number') sendStatus(this.#stream, request);
    else await this.#respond(await fetch(request), request.method === 'HEAD');
  }

  // ---- the request

  /** The request, or the status that refuses it. */
  #request(): Request | number {
    const { headers } = this.#stream;
    const url = urlOf(headers);
    if (url === undefined) return 400;
    if (headers.method === 'CONNECT' || headers.method === 'TRACE' || headers.method === 'TRACK') return 405;
    if (headers.contentLength > this.#limits.bodyBytesMax) return 413;
    const init: RequestInit & { duplex: 'half' } = {
      method: headers.method,
      headers: headersOf(headers),
      signal: this.#abort.signal,
      duplex: 'half',
    };
    if (headers.method !== 'GET' && headers.method !== 'HEAD' && !this.#stream.requestEnded)
      init.body = this.#bodyStream();
    try {
      return new Request(url, init);
    } catch {
      return 400; // a method that is no token
    }
  }

  #bodyStream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#body = controller;
        },
        pull: () => {
          for (const bytes of this.#unread.splice(0)) this.#stream.consumed(bytes);
        },
        cancel: () => {
          this.#body = undefined;
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: 0 }),
    );
  }

  data(bytes: Buffer, start: number, end: number): void {
    const size = end - start;
    this.#bodyBytes += size;
    if (this.#bodyBytes > this.#limits.bodyBytesMax) {
      this.#body?.error(new Error('request body too large'));
      this.#body = undefined;
      if (this.#stream.headersSent) this.#stream.reset(ErrorCode.CANCEL);
      else sendStatus(this.#stream, 413);
    } else if (this.#body === undefined)
      this.#stream.consumed(size); // nobody wants it
    else {
      this.#body.enqueue(bytes.subarray(start, end));
      if ((this.#body.desiredSize ?? 0) < 0) this.#unread.push(size);
      else this.#stream.consumed(size);
    }
  }

  end(): void {
    this.#body?.close();
    this.#body = undefined;
  }

  // ---- the response

  async #respond(response: Response, isHead: boolean): Promise<void> {
    const stream = this.#stream;
    if (stream.closed) {
      await response.body?.cancel();
      return;
    }
    const block = encodeHeaderBlock(fieldsOf(response));
    if (response.body === null || isHead) {
      stream.sendHeaders(block, true);
      await response.body?.cancel();
      return;
    }
    stream.sendHeaders(block);
    const reader = response.body.getReader();
    this.#abort.signal.addEventListener('abort', () => {
      reader.cancel().catch(() => {}); // the stream's source may fail at its end, too: nobody is left to tell
    });
    for (;;) {
      const { done, value } = await reader.read();
      if (stream.closed) return;
      if (done) {
        stream.sendData(new Uint8Array(0), true);
        return;
      }
      if (!stream.sendData(value)) {
        await new Promise<void>((resolve) => {
          this.#drained = resolve;
        });
      }
    }
  }

  drain(): void {
    this.#drained?.();
    this.#drained = undefined;
  }

  close(reason: CloseReason): void {
    this.#body?.error(new Error('the request is over'));
    this.#body = undefined;
    if (reason.by !== 'complete') this.#abort.abort();
    this.drain();
  }
}

function sendStatus(stream: Http2Stream, status: number): void {
  stream.sendHeaders(
    [
      [':status', `${status}`],
      ['content-length', '0'],
    ],
    true,
  );
}

/** The absolute URL of a request, or undefined when its parts are none. */
function urlOf(headers: RequestHeaders): string | undefined {
  const { scheme, authority, path } = headers;
  if (scheme !== 'http' && scheme !== 'https') return undefined;
  if (authority === undefined || !/^[A-Za-z0-9._~%!$&'()*+,;=:[\]-]+$/.test(authority)) return undefined;
  if (!path.startsWith('/') && path !== '*') return undefined;
  const url = `${scheme}://${authority}${path === '*' ? '/' : path}`;
  return URL.canParse(url) ? url : undefined;
}

function headersOf(from: RequestHeaders): Headers {
  const headers = new Headers();
  const cookies: string[] = [];
  for (let i = 0; i < from.fields.length; i += 2) {
    const name = from.fields[i]!;
    // Cookie pairs may come one by one (RFC 9113 section 8.2.3).
    if (name === 'cookie') cookies.push(from.fields[i + 1]!);
    else headers.append(name, from.fields[i + 1]!);
  }
  if (cookies.length > 0) headers.set('cookie', cookies.join('; '));
  if (from.authority !== undefined) headers.set('host', from.authority);
  return headers;
}

function fieldsOf(response: Response): HeaderField[] {
  const fields: HeaderField[] = [[':status', `${response.status}`]];
  for (const [name, value] of response.headers) if (!CONNECTION_FIELDS.has(name)) fields.push([name, value]);
  return fields;
}
