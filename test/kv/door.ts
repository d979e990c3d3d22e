/** Requests to `/kv/...` of a member, byte for byte as given: Node's own client sends a target as it is. */
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** Of a JSON body. */
  json: Record<string, unknown>;
}

export interface Asked {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
}

export function send(url: string, path: string, asked: Asked = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = open(url, path, asked, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('latin1');
        const isJson = response.headers['content-type'] === 'application/json' && text !== '';
        const json = isJson ? (JSON.parse(Buffer.concat(chunks).toString('utf8')) as Record<string, unknown>) : {};
        resolve({ status: response.statusCode!, headers: response.headers, text, json });
      });
    });
    sent.on('error', reject);
  });
}

/** A request whose answer is taken by `take`. */
export function open(
  url: string,
  path: string,
  { method = 'GET', headers = {}, body }: Asked,
  take: (response: IncomingMessage) => void,
): ClientRequest {
  const { hostname, port } = new URL(url);
  const sent = request({ hostname, port, path, method, headers, agent: false }, take);
  // With a text behind it, Node would send the head as UTF-8.
  sent.end(typeof body === 'string' ? Buffer.from(body) : body);
  return sent;
}

/** The lines of a body as they come. */
export class Lines {
  readonly lines: string[] = [];
  status: number | undefined;
  type: string | undefined;
  over = false;
  readonly response: Promise<IncomingMessage>;
  readonly #request: ClientRequest;

  constructor(url: string, path: string, headers: Record<string, string> = {}) {
    let opened!: (response: IncomingMessage) => void;
    this.response = new Promise((resolve) => {
      opened = resolve;
    });
    let rest = '';
    this.#request = open(url, path, { headers }, (response) => {
      this.status = response.statusCode!;
      this.type = response.headers['content-type'];
      opened(response);
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop()!;
        this.lines.push(...lines);
      });
      response.on('close', () => {
        this.over = true;
      });
      response.on('error', () => {});
    });
    this.#request.on('error', () => {
      this.over = true;
    });
  }

  /** Of NDJSON. */
  get messages(): Record<string, unknown>[] {
    return this.lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  leave(): void {
    this.#request.destroy();
  }
}
