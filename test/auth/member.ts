/** A whole member in this process, with its real doors, and calls through them that send whatever they are given. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import pino from 'pino';
import { decode, defaults, encode } from '../../core/wire/binary.ts';
import { fromJson, toJson } from '../../core/wire/json.ts';
import type * as m from '../../core/wire/messages.ts';
import { readServeFlags } from '../../server/config/serve-flags.ts';
import { GATEWAY_PATHS } from '../../server/http/gateway-paths.ts';
import type { Method } from '../../server/rpc/service.ts';
import { type RunningServer, startServer } from '../../server/serve.ts';
import { Rig } from '../rpc/rig.ts';
import { freePort } from '../support/ports.ts';

export const METHODS: ReadonlyMap<string, Method> = new Map(new Rig().methods.map((method) => [method.path, method]));

/** Paths of the JSON gateway, by that of the RPC. */
export const JSON_PATHS: ReadonlyMap<string, string> = new Map(GATEWAY_PATHS.map(([path, rpc]) => [rpc, path]));

/** What came back: a message, or the text that refused it. */
export type Outcome = { message: object } | { code: number; text: string };
export type Headers = Readonly<Record<string, string>>;

const CALL_LIMIT_MS = 20_000;

export class TestMember {
  /** What it has logged. */
  readonly lines: string[] = [];
  readonly folder: string;
  readonly #flags: readonly string[];
  #server: RunningServer | undefined;
  #client: grpc.Client | undefined;

  constructor(folder: string, flags: readonly string[]) {
    this.folder = folder;
    this.#flags = flags;
  }

  /** On a data directory of its own, with the cheapest hashes there are. */
  static async start(...flags: string[]): Promise<TestMember> {
    const member = new TestMember(await mkdtemp(join(tmpdir(), 'roster-auth-')), flags);
    await member.start();
    return member;
  }

  async start(scheme: 'http' | 'https' = 'http'): Promise<void> {
    const url = `${scheme}://127.0.0.1:${await freePort()}`;
    const args = ['--data-dir', join(this.folder, 'data'), '--listen-client-urls', url, '--advertise-client-urls', url];
    args.push('--listen-peer-urls', 'http://127.0.0.1:0', '--bcrypt-cost', '4', ...this.#flags);
    const log = pino({ level: 'debug' }, { write: (line: string) => void this.lines.push(line) });
    this.#server = await startServer(readServeFlags(args, {}), log);
    this.#client = new grpc.Client(this.endpoint, grpc.credentials.createInsecure(), { 'grpc.enable_retries': 0 });
  }

  get url(): string {
    return this.#server!.clientUrls[0]!;
  }

  get endpoint(): string {
    return new URL(this.url).host;
  }

  /** Everything is durable, and the data stays for another start. */
  async pause(): Promise<void> {
    this.#client?.close();
    await this.#server?.stop();
    this.#server = undefined;
  }

  async stop(): Promise<void> {
    await this.pause();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Whether `text` is anywhere in what it has stored, or logged. */
  async holds(text: string): Promise<boolean> {
    if (this.lines.some((line) => line.includes(text))) return true;
    const files = await readdir(this.folder, { recursive: true, withFileTypes: true });
    for (const file of files) {
      if (file.isFile() && (await readFile(join(file.parentPath, file.name))).includes(text)) return true;
    }
    return false;
  }

  grpc(path: string, request: object = {}, headers: Headers = {}, client = this.#client!): Promise<Outcome> {
    const method = METHODS.get(path)!;
    const body = Buffer.from(encode(method.request, { ...defaults(method.request), ...request }));
    return new Promise((resolve) => {
      const options = { deadline: Date.now() + CALL_LIMIT_MS };
      client.makeUnaryRequest(path, same, same, body, metadata(headers), options, (error, bytes) => {
        if (error === null) resolve({ message: decode(method.response, bytes!) });
        else resolve({ code: error.code, text: error.details });
      });
    });
  }

  /** The first answer of a stream that is sent one message; or how it was refused. */
  grpcStream(path: string, request: object, headers: Headers = {}, client = this.#client!): Promise<Outcome> {
    const stream = this.duplex(path, headers, client);
    stream.send(request);
    return stream.next().finally(() => stream.cancel());
  }

  duplex(path: string, headers: Headers = {}, client = this.#client!): Duplex {
    const call = client.makeBidiStreamRequest(path, same, same, metadata(headers), {
      deadline: Date.now() + CALL_LIMIT_MS,
    });
    return new Duplex(METHODS.get(path)!, call);
  }

  /** Unary, or the first line of a stream. */
  async json(path: string, request: object = {}, headers: Headers = {}): Promise<Outcome> {
    const method = METHODS.get(path)!;
    const leave = new AbortController();
    const timer = setTimeout(() => leave.abort(), CALL_LIMIT_MS);
    const response = await fetch(`${this.url}${JSON_PATHS.get(path)!}`, {
      method: 'POST',
      body: toJson(method.request, { ...defaults(method.request), ...request }),
      headers: asGatewayHeaders(headers),
      signal: leave.signal,
    });
    let text = '';
    if (method.kind === 'unary') text = await response.text();
    else {
      for await (const chunk of response.body!) {
        text += Buffer.from(chunk).toString('utf8');
        if (text.includes('\n')) break;
      }
      leave.abort();
    }
    clearTimeout(timer);
    const [first] = text.split('\n', 1) as [string];
    const answer = JSON.parse(first) as { code?: number; message?: string; result?: object; error?: object };
    const failure = (answer.error ?? answer) as { code?: number; message?: string };
    if (!response.ok || answer.error !== undefined) return { code: failure.code!, text: failure.message! };
    return { message: fromJson(method.response, JSON.stringify(method.kind === 'unary' ? answer : answer.result!)) };
  }

  /** The answer of a call that must succeed. */
  async ok<T extends object>(path: string, request: object = {}, headers: Headers = {}): Promise<T> {
    const outcome = await this.grpc(path, request, headers);
    if (!('message' in outcome)) throw new Error(`${path}: ${outcome.text}`);
    return outcome.message as T;
  }

  async login(name: string, password: string): Promise<string> {
    const { token } = await this.ok<m.AuthenticateResponse>('/etcdserverpb.Auth/Authenticate', { name, password });
    return token;
  }
}

/** What has come on a stream. */
export class Duplex {
  readonly #method: Method;
  readonly #call: grpc.ClientDuplexStream<Buffer, Buffer>;
  readonly #come: Outcome[] = [];
  #waiting: ((outcome: Outcome) => void) | undefined;

  constructor(method: Method, call: grpc.ClientDuplexStream<Buffer, Buffer>) {
    this.#method = method;
    this.#call = call;
    call.on('data', (bytes: Buffer) => this.#took({ message: decode(method.response, bytes) }));
    call.on('error', (error: grpc.ServiceError) => this.#took({ code: error.code, text: error.details }));
  }

  send(request: object): void {
    this.#call.write(Buffer.from(encode(this.#method.request, { ...defaults(this.#method.request), ...request })));
  }

  halfClose(): void {
    this.#call.end();
  }

  next(): Promise<Outcome> {
    const outcome = this.#come.shift();
    if (outcome !== undefined) return Promise.resolve(outcome);
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  async message<T>(): Promise<T> {
    const outcome = await this.next();
    if (!('message' in outcome)) throw new Error(outcome.text);
    return outcome.message as T;
  }

  cancel(): void {
    this.#call.cancel();
  }

  #took(outcome: Outcome): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#come.push(outcome);
    else waiting(outcome);
  }
}

/** Only `Authorization` becomes metadata as it is. */
function asGatewayHeaders(headers: Headers): Headers {
  const named = Object.entries(headers).map(([name, value]) => [
    name === 'authorization' ? name : `grpc-metadata-${name}`,
    value,
  ]);
  return Object.fromEntries(named) as Headers;
}

function metadata(headers: Headers): grpc.Metadata {
  const all = new grpc.Metadata();
  for (const [name, value] of Object.entries(headers)) all.set(name, value);
  return all;
}

const same = (bytes: Buffer): Buffer => bytes;
