/** One server under the v2 suite: raw requests, and their answers without what differs between two servers that agree. */
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';

export const ANSWER_LIMIT_MS = 20_000;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

export type Json = Record<string, unknown>;

export interface Step {
  readonly method: string;
  /** What follows /v2/keys, with its query. */
  readonly path: string;
  /** A form. */
  readonly body?: string;
  readonly headers?: Record<string, string>;
}

export class Side {
  readonly name: string;
  readonly base: string;
  readonly #agent = new Agent({ keepAlive: true, timeout: 3_000 });

  constructor(name: string, endpoint: string) {
    this.name = name;
    this.base = `http://${endpoint}`;
  }

  keys(step: Step): Promise<Answer> {
    return this.ask(step.method, `/v2/keys${step.path}`, step.body, step.headers);
  }

  ask(method: string, path: string, body?: string, headers: Record<string, string> = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const form = {
        'Content-Type': 'application/x-www-form-urlencoded',
        'Content-Length': Buffer.byteLength(body ?? ''),
      };
      const all = body === undefined ? headers : { ...form, ...headers };
      const request = httpRequest(
        `${this.base}${path}`,
        { method, headers: all, timeout: ANSWER_LIMIT_MS, agent: this.#agent },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => {
            text += chunk;
          });
          response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }));
          response.on('error', reject);
        },
      );
      request.on('timeout', () => request.destroy(new Error(`${this.name} did not answer ${method} ${path}`)));
      request.on('error', reject);
      request.end(body);
    });
  }

  async index(): Promise<number> {
    const { headers } = await this.keys({ method: 'GET', path: '/' });
    return Number(headers['x-etcd-index']);
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Opens a wait; resolves when its head has come. */
  wait(path: string): Promise<Waiting> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(`${this.base}/v2/keys${path}`, { agent: false }, (response) => {
        resolve(new Waiting(response));
      });
      request.on('error', reject);
      request.end();
    });
  }
}

/** A wait or stream under way. */
export class Waiting {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly lines: Json[] = [];
  ended = false;
  readonly #response: IncomingMessage;
  #rest = '';
  #check: (() => void) | undefined;

  constructor(response: IncomingMessage) {
    this.#response = response;
    this.status = response.statusCode!;
    this.headers = response.headers;
    response.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (this.#rest + chunk).split('\n');
      this.#rest = lines.pop()!;
      for (const line of lines) if (line !== '') this.lines.push(JSON.parse(line) as Json);
      this.#check?.();
    });
    const end = () => {
      this.ended = true;
      this.#check?.();
    };
    response.on('end', end).on('error', end).on('close', end);
  }

  /** False when it did not come to it in time. */
  until(condition: () => boolean, limitMs = ANSWER_LIMIT_MS): Promise<boolean> {
    if (condition()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const settle = (result: boolean) => {
        clearTimeout(timer);
        this.#check = undefined;
        resolve(result);
      };
      const timer = setTimeout(() => settle(false), limitMs);
      this.#check = () => {
        if (condition()) settle(true);
      };
    });
  }

  /** Reads nothing more for now. */
  pause(): void {
    this.#response.pause();
  }

  resume(): void {
    this.#response.resume();
  }

  close(): void {
    this.#response.destroy();
  }
}

/** An answer, as it would be if the store had been at index 0 when the case began. */
export function masked({ status, headers, text }: Answer, base: number): Json {
  const body = maskedText(text, base);
  const index = headers['x-etcd-index'];
  return {
    status,
    contentType: headers['content-type'],
    allow: headers.allow,
    location: headers.location,
    // etcd's own errors, found before the store is asked, have no index.
    index: index === undefined || index === '0' ? index : Number(index) - base,
    raft: headers['x-raft-index'] !== undefined && headers['x-raft-term'] !== undefined,
    cluster: headers['x-etcd-cluster-id'] !== undefined,
    body,
  };
}

function maskedText(text: string, base: number): unknown {
  if (!text.startsWith('{')) return text;
  return maskedEvent(JSON.parse(text) as Json, base);
}

/** See {@link masked}. */
export function maskedEvent(value: unknown, base: number): unknown {
  if (Array.isArray(value)) return value.map((each) => maskedEvent(each, base)).sort(byKey);
  if (typeof value === 'string') return maskedNumbers(value, base);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).map(([name, field]) => {
    if (name === 'modifiedIndex' || name === 'createdIndex') return [name, (field as number) - base];
    if (name === 'index') return [name, field === 0 ? 0 : (field as number) - base];
    if (name === 'expiration') return [name, Number.isNaN(Date.parse(field as string)) ? field : 'a time'];
    // A second may pass anywhere.
    if (name === 'ttl') return [name, `about ${Math.round((field as number) / 10) * 10}`];
    return [name, maskedEvent(field, base)];
  });
  return Object.fromEntries(fields);
}

/** Names of in-order keys, and indexes in the causes of errors. */
function maskedNumbers(text: string, base: number): string {
  const relative = (number: string) => {
    const n = Number(number);
    return n < base || !Number.isSafeInteger(n) ? number : `base + ${n - base}`;
  };
  return text
    .replace(/\b0\d{19}\b/g, (number) => `in order ${Number(number) - base}`)
    .replace(
      /\[(\d+) != (\d+)\]/g,
      (_, given: string, actual: string) => `[${relative(given)} != ${relative(actual)}]`,
    );
}

function byKey(a: unknown, b: unknown): number {
  return (a as { key: string }).key < (b as { key: string }).key ? -1 : 1;
}
