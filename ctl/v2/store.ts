/**
 * A cluster that speaks etcd's v2 API, over HTTP: which member is asked, how long, as whom, and what its answers mean.
 * Owns no verb.
 */
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as secureRequest } from 'node:https';
import type { CommandError, Context } from '../context.ts';
import { Exit2, failure } from './exit.ts';

export interface Settings2 {
  endpoints: string[];
  sync: boolean;
  debug: boolean;
  output: 'simple' | 'extended' | 'json';
  timeoutMs: number;
  totalTimeoutMs: number;
  tls: { ca: Buffer | undefined; cert: Buffer | undefined; key: Buffer | undefined };
  credentials: { user: string; password: string } | undefined;
}

export interface Call2 {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  path: string;
  query?: Record<string, string>;
  /** Sent as a form. */
  form?: Record<string, string>;
  /** Sent as JSON. */
  body?: unknown;
  /** A watch: waits for as long as it takes. */
  patient?: boolean;
}

export interface Reply2 {
  status: number;
  text: string;
  headers: IncomingMessage['headers'];
}

export interface Member2 {
  id: string;
  name: string;
  peerURLs: string[];
  clientURLs: string[];
}

export class Store2 {
  readonly settings: Settings2;
  readonly #context: Context;
  readonly #deadline: number;
  #endpoints: readonly string[];
  #synced = false;

  constructor(context: Context, settings: Settings2) {
    this.#context = context;
    this.settings = settings;
    this.#endpoints = settings.endpoints;
    this.#deadline = Date.now() + settings.totalTimeoutMs;
  }

  /** The answer of the first member that gives one. Rejects with a CommandError that names those that did not. */
  async call(call: Call2): Promise<Reply2> {
    if (this.settings.sync && !this.#synced) await this.#sync();
    return this.direct(call);
  }

  /** The same without learning of the members first. */
  async direct(call: Call2): Promise<Reply2> {
    const problems: string[] = [];
    for (const endpoint of this.#endpoints) {
      const { reply, problem, sent } = await this.ask(endpoint, call);
      if (reply !== undefined && reply.status < 500) return reply;
      problems.push(
        reply === undefined ? `${endpoint}: ${problem}` : `${endpoint}: ${reply.status} ${reply.text.trim()}`,
      );
      if (this.#context.io.signal.aborted) break;
      // It may have been done all the same: done twice, an in-order key would be there twice.
      if (sent && call.method !== 'GET') throw doubtful(problems);
    }
    throw unavailable(problems);
  }

  /** What one address answers, or why it does not. */
  async ask(endpoint: string, call: Call2): Promise<{ reply?: Reply2; problem?: string; sent: boolean }> {
    if (!/^https?:\/\//.test(endpoint)) return { problem: 'it is no http:// or https:// URL', sent: false };
    const url = new URL(endpoint.replace(/\/$/, '') + call.path);
    for (const [name, value] of Object.entries(call.query ?? {})) url.searchParams.set(name, value);
    this.debug(() => `cURL Command: ${curl(url, call)}`);
    try {
      return { reply: await this.#send(url, call), sent: true };
    } catch (error) {
      const { name, message, code } = error as NodeJS.ErrnoException;
      const problem = name === 'TimeoutError' ? 'no answer in time' : message;
      return { problem, sent: !NEVER_CONNECTED.has(code ?? '') };
    }
  }

  debug(line: () => string): void {
    if (this.settings.debug) this.#context.warn(line());
  }

  /** All requests from now on go to the addresses that the members advertise. */
  async #sync(): Promise<void> {
    this.#synced = true;
    this.debug(() => `start to sync cluster using endpoints(${this.#endpoints.join(',')})`);
    const reply = await this.direct({ method: 'GET', path: '/v2/members' });
    // Who may not know the members can still ask those he was told of.
    if (reply.status === 401) return;
    const found = [...new Set(membersOf(reply).flatMap(({ clientURLs }) => clientURLs ?? []))];
    if (found.length > 0) this.#endpoints = found;
    this.debug(() => `got endpoints(${found.join(',')}) after sync`);
    this.debug(() => `Cluster-Endpoints: ${this.#endpoints.join(', ')}`);
  }

  async members(): Promise<Member2[]> {
    return membersOf(await this.direct({ method: 'GET', path: '/v2/members' }));
  }

  async #send(url: URL, call: Call2): Promise<Reply2> {
    const { credentials, tls } = this.settings;
    const body = bodyOf(call);
    const request = url.protocol === 'https:' ? secureRequest : plainRequest;
    const signals = [this.#context.io.signal];
    if (!call.patient) {
      const left = Math.max(Math.min(this.settings.timeoutMs, this.#deadline - Date.now()), 1);
      signals.push(AbortSignal.timeout(left));
    }
    const options = {
      method: call.method,
      agent: false,
      signal: AbortSignal.any(signals),
      headers: {
        ...(body && { 'content-type': body.type, 'content-length': Buffer.byteLength(body.text) }),
        ...(credentials && { authorization: `Basic ${base64(`${credentials.user}:${credentials.password}`)}` }),
      },
      ...tls,
    };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request(url, options as object, resolve)
        .once('error', reject)
        .end(body?.text);
    }).catch((error: unknown) => {
      const signal = options.signal as AbortSignal;
      throw signal.aborted ? signal.reason : error;
    });
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    return { status: response.statusCode ?? 0, text, headers: response.headers };
  }
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

function bodyOf({ form, body }: Call2): { type: string; text: string } | undefined {
  if (form !== undefined) {
    return { type: 'application/x-www-form-urlencoded', text: new URLSearchParams(form).toString() };
  }
  return body === undefined ? undefined : { type: 'application/json', text: JSON.stringify(body) };
}

function curl(url: URL, call: Call2): string {
  const body = bodyOf(call);
  return `curl -X ${call.method} ${url}${body === undefined ? '' : ` -d ${JSON.stringify(body.text)}`}`;
}

/** Errors of a connection that never was. */
const NEVER_CONNECTED = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN']);

function doubtful(problems: readonly string[]): CommandError {
  const failed = failure(`the answer is missing: ${problems.join('; ')}`, Exit2.BAD_CONNECTION);
  failed.hint = 'it may have been done all the same: look before you try again';
  return failed;
}

function unavailable(problems: readonly string[]): CommandError {
  const text = `no member of the cluster answered: ${problems.join('; ')}`;
  const failed = failure(text, Exit2.BAD_CONNECTION);
  failed.hint = 'is the server running with the v2 API (etcd: --enable-v2), and are these the --endpoints?';
  return failed;
}

/** A JSON answer. Rejects what is none with a CommandError: it was no etcd that answered. */
export function json(reply: Reply2): unknown {
  try {
    return JSON.parse(reply.text);
  } catch {
    const failed = failure(`the answer is no JSON (HTTP ${reply.status})`, Exit2.SERVER_ERROR);
    failed.hint = 'does this server have the v2 API? etcd: --enable-v2';
    throw failed;
  }
}

/** What an answer of the members and auth APIs says is wrong. */
export function messageOf(reply: Reply2): string {
  try {
    const { message } = JSON.parse(reply.text) as { message?: string };
    if (message) return message;
  } catch {
    // Plain text, then.
  }
  return reply.text.trim() || `HTTP ${reply.status}`;
}

function membersOf(reply: Reply2): Member2[] {
  if (reply.status !== 200) throw failure(messageOf(reply), Exit2.SERVER_ERROR);
  return (json(reply) as { members: Member2[] }).members;
}
