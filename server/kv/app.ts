/**
 * Plain HTTP for people and scripts: `/kv/KEY`. Owns methods, credentials and error answers; whatever touches the store is
 * one of the RPCs, with every check that stands before it.
 */
import { type Context, Hono } from 'hono';
import { type ErrorCode, RosterError } from '../../core/errors.ts';
import type { HttpEnvironment } from '../http/access-control.ts';
import type { RpcContext } from '../rpc/context.ts';
import type { Method } from '../rpc/service.ts';
import { BasicLogins } from './basic-logins.ts';
import { type ChangeRequest, deleteKey, deletePrefix, putKey, readBody } from './change-key.ts';
import { childrenMethod } from './children-call.ts';
import { conditionsOf } from './conditions.ts';
import { badRequest, errorResponse, HttpError } from './errors.ts';
import { type Credentials, credentialsOf, KvCall } from './kv-call.ts';
import { type ListRequest, listChildren, listPrefix } from './list.ts';
import { openApiDocument } from './openapi.ts';
import { Parameters } from './parameters.ts';
import { readKey } from './read-key.ts';
import { Rpcs } from './rpcs.ts';
import { keyTarget, parseTarget, type Target } from './target.ts';
import { TtlLeases } from './ttl-leases.ts';
import { Watches } from './watch.ts';
import { WATCH_TIMES, type WatchTimes } from './watch-answer.ts';

export interface KvAppOptions {
  readonly context: RpcContext;
  /** All RPCs, guarded. */
  readonly methods: readonly Method[];
  /** The largest value. */
  readonly maxRequestBytes: number;
  /** Whether the JSON gateway is there, to be told of. */
  readonly gateway: boolean;
  readonly watchTimes?: WatchTimes;
}

const METHODS = 'GET, HEAD, PUT, DELETE';
/** With these a token that was got for a password may just be good no more. */
const STALE: ReadonlySet<ErrorCode | 'Other'> = new Set(['InvalidAuthToken', 'AuthOldRevision', 'UserEmpty']);

/** What a listener may know of a connection besides. */
interface Connection extends HttpEnvironment {
  readonly webSocket?: true;
  /** Ends an HTTP/2 stream. */
  readonly cut?: () => void;
}

export function kvApp(options: KvAppOptions): Hono {
  const door = new Door(options);
  const app = new Hono();
  app.all('/kv/*', (c) => door.serve(c));
  app.get('/openapi.json', (c) => c.json(openApiDocument({ gateway: options.gateway })));
  return app;
}

class Door {
  readonly #options: KvAppOptions;
  readonly #rpcs: Rpcs;
  readonly #children: ReturnType<typeof childrenMethod>;
  readonly #leases: TtlLeases;
  readonly #logins = new BasicLogins();
  readonly #watches: Watches;

  constructor(options: KvAppOptions) {
    const { context, methods } = options;
    this.#options = options;
    this.#rpcs = new Rpcs(methods);
    this.#children = childrenMethod(context);
    this.#leases = new TtlLeases(this.#rpcs, () => context.machine.lessor);
    const times = options.watchTimes ?? WATCH_TIMES;
    this.#watches = new Watches(this.#rpcs, times, () => this.#compactRevision, context.stopping);
  }

  get #compactRevision(): number {
    return this.#options.context.machine.store.compactRevision;
  }

  async serve(c: Context): Promise<Response> {
    try {
      return await this.#answer(c);
    } catch (error) {
      if (error instanceof RosterError) return errorResponse(error, this.#compactRevision);
      throw error;
    }
  }

  async #answer(c: Context): Promise<Response> {
    const method = this.#methodOf(c);
    const target = parseTarget(keyTarget(c.req.raw, c.env)!);
    const parameters = Parameters.parse(method, target.query);
    this.#check(c, target, parameters);
    const body = method === 'PUT' ? await readBody(c.req.raw, this.#options.maxRequestBytes) : undefined;
    return this.#identified(c, (call) => this.#run(c, call, target, parameters, body));
  }

  /** A WebSocket is a watch, whatever it came as. */
  #methodOf(c: Context): string {
    if ((c.env as Connection | undefined)?.webSocket === true) return 'GET';
    const { method } = c.req.raw;
    if (METHODS.split(', ').includes(method)) return method;
    throw new HttpError(`${method} is none of the methods here`, {
      ...{ status: 405, code: 'BadMethod' },
      hint: `There are: ${METHODS}.`,
      headers: { Allow: METHODS },
    });
  }

  #check(c: Context, { key }: Target, { use }: Parameters): void {
    const { webSocket } = (c.env ?? {}) as Connection;
    if (key === '' && (use === 'read' || use === 'put' || use === 'delete')) {
      throw badRequest(
        'EmptyKey',
        'there is no key in the path',
        'Name a key after /kv/, or add ?prefix to mean all keys.',
      );
    }
    if (webSocket === true && use !== 'watch') {
      throw badRequest('BadParameter', 'a WebSocket here is a watch', 'Add ?watch, or ask without Upgrade.');
    }
    if (c.req.raw.method === 'HEAD' && use !== 'read') {
      throw badRequest('BadMethod', 'HEAD is about one key', 'Ask with GET; ?count says how many keys there are.');
    }
  }

  async #run(
    c: Context,
    call: KvCall,
    { key }: Target,
    parameters: Parameters,
    body: Uint8Array | undefined,
  ): Promise<Response> {
    const { use } = parameters;
    const accept = c.req.header('accept') ?? '';
    const conditions = conditionsOf((name) => c.req.header(name));
    const change: ChangeRequest = { call, key, parameters, conditions };
    const list: ListRequest = { call, key, parameters, lines: accept.includes('application/x-ndjson') };
    if (use === 'put') return putKey(this.#rpcs, this.#leases, change, body!);
    if (use === 'delete') return deleteKey(this.#rpcs, this.#leases, change);
    if (use === 'delete-prefix') return deletePrefix(this.#rpcs, change);
    if (use === 'list') return listPrefix(this.#rpcs, list);
    if (use === 'children') return listChildren(this.#children, list);
    if (use === 'read') return readKey(this.#rpcs, { ...change, json: accept.includes('application/json') });
    const { webSocket, incoming, cut } = (c.env ?? {}) as Connection;
    return this.#watches.watch({
      ...{ call, key, parameters },
      serverSentEvents: webSocket !== true && accept.includes('text/event-stream'),
      lastEventId: c.req.header('last-event-id'),
      cut: cut ?? (() => void incoming?.socket.destroy()),
    });
  }

  // ---- who

  /** Runs it as who calls. A token that a password has been exchanged for may have ended: then once more with a new one. */
  async #identified(c: Context, run: (call: KvCall) => Promise<Response>): Promise<Response> {
    const credentials = credentialsOf(c);
    try {
      return await run(new KvCall(c, await this.#tokenOf(c, credentials, false)));
    } catch (error) {
      const stale = error instanceof RosterError && STALE.has(error.code);
      if (!stale || credentials.kind !== 'password') throw error;
      this.#logins.forget(credentials.name, credentials.password);
      return run(new KvCall(c, await this.#tokenOf(c, credentials, true)));
    }
  }

  /** `surely`: this member may not know yet that auth is on. */
  async #tokenOf(c: Context, credentials: Credentials, surely: boolean): Promise<string | undefined> {
    if (credentials.kind === 'none') return undefined;
    if (credentials.kind === 'token') return credentials.token;
    const { name, password } = credentials;
    if (!surely && !this.#options.context.machine.auth.enabled) return undefined;
    return this.#logins.token(name, password, () => this.#rpcs.login(new KvCall(c, undefined), name, password));
  }
}
