/**
 * What the parts of the v2 API that are not keys have in common: who calls, JSON bodies, `{"message": ...}` errors, and the
 * RPCs they come down to. Decides nothing.
 */
import type { Context } from 'hono';
import { RosterError } from '../../core/errors.ts';
import { BodyTooLarge, readBody } from '../http/request-body.ts';
import type { RpcContext } from '../rpc/context.ts';
import type { Method } from '../rpc/service.ts';
import { V2Call } from './call.ts';
import type { CredentialCheck } from './credentials.ts';
import { isUnauthorized } from './errors.ts';
import { quoted } from './json.ts';
import { notAllowed } from './keys.ts';
import type { V2Methods } from './methods.ts';

/** An answer instead of what was asked for. */
export class HttpRefusal {
  readonly status: number;
  readonly message: string;
  /** Whether the answer names the cluster: etcd's clients tell by that who refuses. */
  readonly ofCluster: boolean;

  constructor(status: number, message: string, ofCluster = true) {
    this.status = status;
    this.message = message;
    this.ofCluster = ofCluster;
  }
}

export interface AdminOptions {
  readonly context: RpcContext;
  readonly methods: readonly Method[];
  readonly v2: V2Methods;
  readonly credentials: CredentialCheck;
}

export const UNAUTHORIZED = new HttpRefusal(401, 'Insufficient credentials', false);

export class Admin {
  readonly context: RpcContext;
  readonly v2: V2Methods;
  readonly clusterId: Readonly<Record<string, string>>;
  readonly #methods: ReadonlyMap<string, Method>;
  readonly #credentials: CredentialCheck;

  constructor({ context, methods, v2, credentials }: AdminOptions) {
    this.context = context;
    this.v2 = v2;
    this.clusterId = { 'X-Etcd-Cluster-Id': context.identity.clusterId.toString(16) };
    this.#methods = new Map(methods.map((method) => [method.path, method]));
    this.#credentials = credentials;
  }

  /** Runs `work` for one of `allowed` methods, in the name of whoever calls. */
  async run(
    c: Context,
    allowed: readonly string[],
    work: (asked: Asked) => Promise<Response | HttpRefusal | RosterError>,
  ): Promise<Response> {
    if (!allowed.includes(c.req.raw.method)) return notAllowed(allowed);
    const call = new V2Call(c);
    const unknown = await call.identify(this.context, this.#credentials);
    const result = unknown ?? (await work(new Asked(c, call, this)));
    call.over();
    if (result instanceof Response) return result;
    return this.refused(result instanceof RosterError ? refusalOf(result) : result);
  }

  refused({ status, message, ofCluster }: HttpRefusal): Response {
    const headers = { 'Content-Type': 'application/json', ...(ofCluster ? this.clusterId : {}) };
    return new Response(`{"message":${quoted(message)}}`, { status, headers });
  }

  async unary<Res extends object>(call: V2Call, path: string, request: object): Promise<Res | RosterError> {
    return this.handle(this.#methods.get(path)!, call, request);
  }

  handle<Res extends object>(method: Method, call: V2Call, request: object): Promise<Res | RosterError> {
    return new Promise((resolve) => {
      if (method.kind === 'unary') method.handle(call, request, (result) => resolve(result as Res | RosterError));
    });
  }
}

/** One request to an {@link Admin}. */
export class Asked {
  readonly method: string;
  readonly call: V2Call;
  readonly #c: Context;
  readonly #admin: Admin;

  constructor(c: Context, call: V2Call, admin: Admin) {
    this.method = c.req.raw.method;
    this.call = call;
    this.#c = c;
    this.#admin = admin;
  }

  rpc<Res extends object>(path: string, request: object = {}): Promise<Res | RosterError> {
    return this.#admin.unary(this.call, path, request);
  }

  /** The object that the body is, of at most --max-request-bytes; undefined when it is none. */
  async body(): Promise<Record<string, unknown> | undefined> {
    const bytes = await readBody(this.#c, this.#admin.context.limits.maxRequestBytes);
    if (bytes instanceof BodyTooLarge) return undefined;
    try {
      const value: unknown = JSON.parse(bytes.toString('utf8'));
      return typeof value === 'object' && value !== null && !Array.isArray(value)
        ? (value as Record<string, unknown>)
        : undefined;
    } catch {
      return undefined;
    }
  }

  get contentType(): string {
    return this.#c.req.header('content-type') ?? '';
  }

  json(value: unknown, status = 200): Response {
    return new Response(`${goJson(value)}\n`, {
      status,
      headers: { 'Content-Type': 'application/json', ...this.#admin.clusterId },
    });
  }

  /** The same from this member, not from the cluster. */
  ownJson(value: unknown): Response {
    return new Response(`${goJson(value)}\n`, { headers: { 'Content-Type': 'application/json' } });
  }

  /** Done, and there is nothing to tell. */
  done(): Response {
    return new Response('', { headers: { 'Content-Type': 'application/json', ...this.#admin.clusterId } });
  }

  empty(status: number): Response {
    return new Response(null, { status, headers: this.#admin.clusterId });
  }
}

/** An RPC's refusal as the v2 API tells it. */
function refusalOf(error: RosterError): HttpRefusal {
  return isUnauthorized(error) ? UNAUTHORIZED : new HttpRefusal(500, error.message);
}

/** Texts as Go quotes them. */
function goJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export function notFound(): Response {
  return new Response('404 page not found\n', {
    status: 404,
    headers: { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' },
  });
}
