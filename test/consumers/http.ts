/** An HTTP client as the consumers' are: posts JSON, reads JSON, or reads the lines of an answer that goes on. */
import { request as httpRequest, type IncomingMessage } from 'node:http';

const ANSWER_LIMIT_MS = 20_000;

export type Json = Record<string, unknown>;

export interface HttpAnswer {
  readonly status: number;
  readonly body: Json;
  readonly text: string;
}

export const base64 = (text: string) => Buffer.from(text).toString('base64');
export const text = (encoded: unknown) => Buffer.from(encoded as string, 'base64').toString();

/** `key` with its last byte one higher. */
export function rangeEnd(key: string): string {
  const bytes = Buffer.from(key);
  bytes[bytes.length - 1]!++;
  return bytes.toString('base64');
}

export class HttpClient {
  readonly base: string;
  headers: Record<string, string> = {};
  readonly #streams: Stream[] = [];

  constructor(base: string) {
    this.base = base;
  }

  async get(path: string): Promise<HttpAnswer> {
    return answerOf(await fetch(`${this.base}${path}`, { signal: AbortSignal.timeout(ANSWER_LIMIT_MS) }));
  }

  async post(path: string, body?: Json): Promise<HttpAnswer> {
    const request = { method: 'POST', headers: this.headers, signal: AbortSignal.timeout(ANSWER_LIMIT_MS) };
    return answerOf(
      await fetch(`${this.base}${path}`, body === undefined ? request : { ...request, body: JSON.stringify(body) }),
    );
  }

  /** Resolves with the answer's head. */
  stream(path: string, body: Json): Promise<Stream> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        `${this.base}${path}`,
        { method: 'POST', headers: { ...this.headers, 'Content-Type': 'application/json' } },
        (response) => {
          const stream = new Stream(response);
          this.#streams.push(stream);
          resolve(stream);
        },
      );
      request.once('error', reject);
      request.end(JSON.stringify(body));
    });
  }

  close(): void {
    for (const stream of this.#streams) stream.close();
  }
}

async function answerOf(response: Response): Promise<HttpAnswer> {
  const body = await response.text();
  return { status: response.status, body: JSON.parse(body) as Json, text: body };
}

export class Stream {
  readonly status: number;
  readonly lines: Json[] = [];
  readonly #response: IncomingMessage;
  #rest = '';

  constructor(response: IncomingMessage) {
    this.#response = response;
    this.status = response.statusCode!;
    response.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (this.#rest + chunk).split('\n');
      this.#rest = lines.pop()!;
      for (const line of lines) if (line !== '') this.lines.push(JSON.parse(line) as Json);
    });
    response.on('error', () => {});
  }

  close(): void {
    this.#response.destroy();
  }
}
