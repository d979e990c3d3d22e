/**
 * One of the two servers under comparison: raw calls that send whatever they are given, over gRPC or as JSON, and the
 * record of what its streams say. Judges nothing.
 */
import * as grpc from '@grpc/grpc-js';
import { type Method, methods } from '../../client/methods.ts';
import { decode, defaults, encode } from '../../core/wire/binary.ts';
import { fromJson, toJson } from '../../core/wire/json.ts';
import type * as m from '../../core/wire/messages.ts';
import { WatchCreateRequest, WatchRequest, WatchResponse } from '../../core/wire/messages.ts';
import type { MessageType } from '../../core/wire/schema.ts';
import { JSON_PATHS } from './auth-methods.ts';

/** Long enough for a busy machine; a server that takes longer has not answered. */
export const ANSWER_LIMIT_MS = 20_000;

export interface Refusal {
  code: number;
  text: string;
  /** Of the JSON gateway only. */
  httpStatus?: number;
}
/** What came back: a message, or the reason for none. */
export type Answer<Res extends object = object> = { message: Res } | { refusal: Refusal };

/** A running server, as etcd.ts and roster.ts of the support folder make it. */
export interface Server {
  readonly endpoint: string;
  stop(): Promise<void>;
}

export type Transport = 'grpc' | 'json';

const identity = (bytes: Buffer): Buffer => bytes;

export class Side {
  readonly name: string;
  readonly server: Server;
  /** The id each lease slot stands for here. */
  readonly leaseIds = new Map<number, bigint>();
  /** What to call the ids that the server chose. */
  readonly leaseNames = new Map<bigint, string>();
  readonly #client: grpc.Client;
  #keepAlive: LeaseStream | undefined;

  constructor(name: string, server: Server) {
    this.name = name;
    this.server = server;
    this.#client = new grpc.Client(server.endpoint, grpc.credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      'grpc.enable_retries': 0,
      // Every side has a connection of its own.
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  /** One call. Rejects only when the server is gone or says something that its own message types cannot hold. */
  call<Req extends object, Res extends object>(
    transport: Transport,
    method: Method<Req, Res>,
    request: Partial<Req>,
    token?: string,
  ): Promise<Answer<Res>> {
    return transport === 'grpc' ? this.#grpc(method, request, token) : this.#json(method, request, token);
  }

  watch(token?: string): WatchRecorder {
    return new WatchRecorder(this.name, this.#duplex(methods.watch, token));
  }

  /** Asks on the one stream that stays open. */
  keepAlive(request: Partial<m.LeaseKeepAliveRequest>): Promise<m.LeaseKeepAliveResponse> {
    this.#keepAlive ??= new LeaseStream(this.name, this.#duplex(methods.leaseKeepAlive));
    return this.#keepAlive.ask(request);
  }

  /** Asks on a stream of its own. */
  keepAliveOnce(request: Partial<m.LeaseKeepAliveRequest>, token?: string): Promise<Answer<m.LeaseKeepAliveResponse>> {
    const stream = this.#duplex(methods.leaseKeepAlive, token);
    return new Promise((resolve, reject) => {
      const limit = new Error(`${this.name} did not answer a keep-alive`);
      const timer = setTimeout(() => reject(limit), ANSWER_LIMIT_MS);
      stream.once('data', (message: m.LeaseKeepAliveResponse) => resolve({ message }));
      stream.on('error', (error: grpc.ServiceError) => {
        resolve({ refusal: { code: error.code, text: error.details } });
      });
      stream.on('data', () => clearTimeout(timer)).on('error', () => clearTimeout(timer));
      stream.write(request as m.LeaseKeepAliveRequest);
    }).finally(() => stream.cancel()) as Promise<Answer<m.LeaseKeepAliveResponse>>;
  }

  /** Whether that lease has not run out yet. */
  async hasLease(id: bigint, token?: string): Promise<boolean> {
    const answer = await this.call('grpc', methods.leaseTimeToLive, { ID: id }, token);
    if ('refusal' in answer) throw new Error(`${this.name} does not tell of a lease: ${answer.refusal.text}`);
    return answer.message.grantedTTL > 0;
  }

  /** A POST that may be anything. */
  async post(
    path: string,
    body: string,
    token?: string,
  ): Promise<{ status: number; contentType: string | null; body: string }> {
    const response = await fetch(`http://${this.server.endpoint}${path}`, {
      method: 'POST',
      body,
      headers: token === undefined ? {} : { authorization: token },
      signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
    });
    return {
      status: response.status,
      contentType: response.headers.get('content-type'),
      body: await response.text(),
    };
  }

  /** The lines of a watch through the gateway, up to the event of revision `last`. */
  async jsonWatch(request: Partial<m.WatchCreateRequest>, last: number): Promise<m.WatchResponse[]> {
    const responses: m.WatchResponse[] = [];
    const leave = new AbortController();
    const timer = setTimeout(() => leave.abort(), ANSWER_LIMIT_MS);
    const response = await fetch(`http://${this.server.endpoint}/v3/watch`, {
      method: 'POST',
      body: toJson(WatchRequest, { create_request: { ...defaults(WatchCreateRequest), ...request } }),
      signal: leave.signal,
    });
    let rest = '';
    for await (const chunk of response.body!) {
      const lines = (rest + Buffer.from(chunk).toString('utf8')).split('\n');
      rest = lines.pop()!;
      const results = lines.map((line) => (JSON.parse(line) as { result: object }).result);
      responses.push(...results.map((result) => fromJson(WatchResponse, JSON.stringify(result))));
      if (responses.at(-1)?.events.at(-1)?.kv?.mod_revision === last) break;
    }
    clearTimeout(timer);
    leave.abort();
    return responses;
  }

  async close(): Promise<void> {
    this.#client.close();
    await this.server.stop();
  }

  #grpc<Req extends object, Res extends object>(
    method: Method<Req, Res>,
    request: Partial<Req>,
    token?: string,
  ): Promise<Answer<Res>> {
    const body = Buffer.from(encode(method.request, request));
    return new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + ANSWER_LIMIT_MS };
      this.#client.makeUnaryRequest(
        method.path,
        identity,
        identity,
        body,
        presenting(token),
        options,
        (error, bytes) => {
          if (error === null) resolve({ message: wholly(this.name, method.response, bytes!) });
          else if (isFatal(error.code))
            reject(new Error(`${this.name} did not answer ${method.path}: ${error.message}`));
          else resolve({ refusal: { code: error.code, text: error.details } });
        },
      );
    });
  }

  async #json<Req extends object, Res extends object>(
    method: Method<Req, Res>,
    request: Partial<Req>,
    token?: string,
  ): Promise<Answer<Res>> {
    const path = JSON_PATHS.get(method.path)!;
    const { status, contentType, body } = await this.post(path, toJson(method.request, request), token);
    if (contentType !== 'application/json') throw new Error(`${this.name} answered ${path} with ${contentType}`);
    if (status !== 200) return { refusal: refusalOf(this.name, status, body) };
    const message = fromJson(method.response, body);
    // Nothing may be lost on the way into the message, so that comparing messages compares the texts.
    if (canonicalText(JSON.parse(body)) !== canonicalText(JSON.parse(toJson(method.response, message)))) {
      throw new Error(`${this.name} sent more than a ${method.response.name}: ${body}`);
    }
    return { message };
  }

  #duplex<Req extends object, Res extends object>(
    method: Method<Req, Res>,
    token?: string,
  ): grpc.ClientDuplexStream<Req, Res> {
    return this.#client.makeBidiStreamRequest(
      method.path,
      (request: Req) => Buffer.from(encode(method.request, request)),
      (bytes: Buffer) => wholly(this.name, method.response, bytes),
      presenting(token),
    );
  }
}

function presenting(token: string | undefined): grpc.Metadata {
  const metadata = new grpc.Metadata();
  if (token !== undefined) metadata.set('token', token);
  return metadata;
}

function isFatal(code: grpc.status): boolean {
  return code === grpc.status.UNAVAILABLE || code === grpc.status.DEADLINE_EXCEEDED;
}

/** The message; throws when decoding it lost something, which no comparison of messages would see. */
function wholly<T extends object>(side: string, type: MessageType<T>, bytes: Buffer): T {
  const message = decode(type, bytes);
  if (!bytes.equals(encode(type, message))) {
    throw new Error(`${side} sent a ${type.name} that is not encoded as expected: ${bytes.toString('hex')}`);
  }
  return message;
}

/** JSON text with the keys of every object in one order. */
function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Of both gateways: etcd 3.4 says the text twice, as `error` and as `message`. */
function refusalOf(side: string, httpStatus: number, body: string): Refusal {
  const { code, message, ...rest } = JSON.parse(body) as { code: number; message: string; error?: string };
  const extra = Object.keys(rest).filter((name) => name !== 'error');
  if (extra.length > 0 || (rest.error !== undefined && rest.error !== message)) {
    throw new Error(`${side} sent an unexpected error body: ${body}`);
  }
  return { code, text: message, httpStatus };
}

/** Keep-alives, answered one by one. */
class LeaseStream {
  readonly #side: string;
  readonly #stream: grpc.ClientDuplexStream<m.LeaseKeepAliveRequest, m.LeaseKeepAliveResponse>;
  #waiting: ((response: m.LeaseKeepAliveResponse) => void) | undefined;

  constructor(side: string, stream: grpc.ClientDuplexStream<m.LeaseKeepAliveRequest, m.LeaseKeepAliveResponse>) {
    this.#side = side;
    this.#stream = stream;
    stream.on('data', (response: m.LeaseKeepAliveResponse) => this.#waiting?.(response));
    stream.on('error', () => {});
  }

  ask(request: Partial<m.LeaseKeepAliveRequest>): Promise<m.LeaseKeepAliveResponse> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${this.#side} did not answer a keep-alive`)), ANSWER_LIMIT_MS);
      this.#waiting = (response) => {
        clearTimeout(timer);
        resolve(response);
      };
      this.#stream.write(request as m.LeaseKeepAliveRequest);
    });
  }
}

/** Everything one watch stream of one server has said, and a way to wait until it has said enough. */
export class WatchRecorder {
  readonly side: string;
  readonly responses: m.WatchResponse[] = [];
  /** Revision of the last event of each watch, since it was created. */
  readonly lastEvent = new Map<bigint, number>();
  /** Answers to creations. */
  created = 0;
  /** Answers to progress requests. */
  progress = 0;
  /** Ends of watches that had begun. */
  ended = 0;
  failure: Error | undefined;
  readonly #stream: grpc.ClientDuplexStream<m.WatchRequest, m.WatchResponse>;
  #check: (() => void) | undefined;

  constructor(side: string, stream: grpc.ClientDuplexStream<m.WatchRequest, m.WatchResponse>) {
    this.side = side;
    this.#stream = stream;
    stream.on('data', (response: m.WatchResponse) => this.#take(response));
    stream.on('error', (error: Error) => {
      this.failure = error;
      this.#check?.();
    });
  }

  send(request: m.WatchRequest): void {
    this.#stream.write(request);
  }

  halfClose(): void {
    this.#stream.end();
  }

  close(): void {
    this.#stream.removeAllListeners('error').on('error', () => {});
    this.#stream.cancel();
  }

  /** Resolves with true once `condition` holds, with false when it still does not after `limitMs`. */
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
        else if (this.failure !== undefined) settle(false);
      };
    });
  }

  #take(response: m.WatchResponse): void {
    this.responses.push(response);
    const { watch_id: id, created, canceled, events } = response;
    if (created) {
      this.created++;
      this.lastEvent.delete(id);
    }
    if (canceled && !created) this.ended++;
    if (!created && !canceled && events.length === 0) this.progress++;
    if (events.length > 0 && !response.fragment) this.lastEvent.set(id, events.at(-1)!.kv!.mod_revision);
    this.#check?.();
  }
}
