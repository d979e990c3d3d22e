/**
 * One server as anybody reaches it: any RPC over gRPC or as JSON, and its answer as JSON, so that the answers of two doors
 * and of two servers can be laid side by side. Judges nothing.
 */
import * as grpc from '@grpc/grpc-js';
import { decode, defaults, encode } from '../../core/wire/binary.ts';
import { toJson } from '../../core/wire/json.ts';
import { GATEWAY_PATHS } from '../../server/http/gateway-paths.ts';
import type { Method } from '../../server/rpc/service.ts';

export type DoorName = 'gRPC' | 'JSON';
export type Json = Record<string, unknown>;
/** What came back: messages, or the reason for none, or messages and then that. */
export interface Seen {
  messages: Json[];
  refusal?: { code: number; text: string; httpStatus?: number };
}

const ANSWER_LIMIT_MS = 30_000;
const JSON_PATHS: ReadonlyMap<string, string> = new Map(GATEWAY_PATHS.map(([path, rpc]) => [rpc, path]));

/** Whether the gateway has a path for it. */
export function hasJson(method: Method): boolean {
  return JSON_PATHS.has(method.path);
}

export class Door {
  token = '';
  readonly #endpoint: string;
  readonly #client: grpc.Client;

  constructor(endpoint: string) {
    this.#endpoint = endpoint;
    this.#client = new grpc.Client(endpoint, grpc.credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
    });
  }

  close(): void {
    this.#client.close();
  }

  /** Sends `requests` (several of a stream only) and waits for `count` messages or a refusal. */
  call(door: DoorName, method: Method, requests: readonly object[], count: number): Promise<Seen> {
    const full = requests.map((request) => ({ ...defaults(method.request), ...request }));
    return door === 'gRPC' ? this.#grpc(method, full, count) : this.#json(method, full, count);
  }

  #grpc(method: Method, requests: readonly object[], count: number): Promise<Seen> {
    const same = (bytes: Buffer) => bytes;
    const metadata = new grpc.Metadata();
    if (this.token !== '') metadata.set('token', this.token);
    const options = { deadline: Date.now() + ANSWER_LIMIT_MS };
    const call = this.#client.makeBidiStreamRequest(method.path, same, same, metadata, options);
    const messages: Json[] = [];
    return new Promise((resolve) => {
      call.on('data', (bytes: Buffer) => {
        messages.push(JSON.parse(toJson(method.response, decode(method.response, bytes))) as Json);
        if (messages.length < count) return;
        resolve({ messages });
        if (method.kind === 'stream') call.cancel();
      });
      call.on('error', (error: grpc.ServiceError) =>
        resolve({ messages, refusal: { code: error.code, text: error.details } }),
      );
      call.on('end', () => resolve({ messages }));
      for (const request of requests) call.write(Buffer.from(encode(method.request, request)));
      if (method.kind === 'unary' || method.single) call.end();
    });
  }

  async #json(method: Method, requests: readonly object[], count: number): Promise<Seen> {
    const leave = new AbortController();
    const timer = setTimeout(() => leave.abort(), ANSWER_LIMIT_MS);
    const response = await fetch(`http://${this.#endpoint}${JSON_PATHS.get(method.path)!}`, {
      method: 'POST',
      body: requests.map((request) => toJson(method.request, request)).join('\n'),
      headers: this.token === '' ? {} : { Authorization: this.token },
      signal: leave.signal,
    });
    const messages: Json[] = [];
    const refused = (answer: Json): Seen => {
      const body = (answer.error instanceof Object ? answer.error : answer) as Json;
      const code = (body.code ?? body.grpc_code) as number;
      return { messages, refusal: { code, text: body.message as string, httpStatus: response.status } };
    };
    try {
      if (method.kind === 'unary') {
        const text = await response.text();
        // 3.4 has no JSON for a path it does not know.
        if (!text.startsWith('{')) {
          return { messages, refusal: { code: -1, text: text.trim(), httpStatus: response.status } };
        }
        const answer = JSON.parse(text) as Json;
        return response.ok ? { messages: [answer] } : refused(answer);
      }
      let rest = '';
      for await (const chunk of response.body!) {
        const lines = (rest + Buffer.from(chunk).toString('utf8')).split('\n');
        rest = lines.pop()!;
        for (const line of lines) {
          const { result, error } = JSON.parse(line) as { result?: Json; error?: Json };
          if (error !== undefined) return refused({ error });
          if (messages.push(result!) === count) return { messages };
        }
      }
      return rest === '' ? { messages } : refused(JSON.parse(rest) as Json);
    } finally {
      clearTimeout(timer);
      leave.abort();
    }
  }
}
