/**
 * The JSON gateway: etcd's `/v3/...` paths over the same handlers that gRPC calls (grpc-gateway's dialect, see
 * core/wire/json.ts). Owns paths, bodies, streams of lines and error bodies; knows no RPC by name but its path.
 */
import type { Context, Hono } from 'hono';
import { GrpcStatus, otherError, RosterError } from '../../core/errors.ts';
import { AssertionError } from '../../core/util/assert.ts';
import { encode } from '../../core/wire/binary.ts';
import { fromJson, toJson } from '../../core/wire/json.ts';
import type { MessageType } from '../../core/wire/schema.ts';
import { tooLarge } from '../grpc/message-reader.ts';
import { GRPC_OVERHEAD_BYTES } from '../rpc/context.ts';
import type { CallContext, Method, Responder, StreamMethod, UnaryMethod } from '../rpc/service.ts';
import { errorBody, httpStatusOf } from './grpc-status.ts';
import { JsonSequence } from './json-sequence.ts';

/** A JSON body is larger than the message it stands for: base64 and names. */
const JSON_OVERHEAD = 2;
/** Responses a stream may hold for a reader that is behind, before its handler is told to wait. */
const STREAM_LINES_MAX = 64;

/** Path -> RPC; some paths have an older twin. */
export const routes: readonly (readonly [string, string])[] = [
  ['/v3/kv/range', '/etcdserverpb.KV/Range'],
  ['/v3/kv/put', '/etcdserverpb.KV/Put'],
  ['/v3/kv/deleterange', '/etcdserverpb.KV/DeleteRange'],
  ['/v3/kv/txn', '/etcdserverpb.KV/Txn'],
  ['/v3/kv/compaction', '/etcdserverpb.KV/Compact'],
  ['/v3/watch', '/etcdserverpb.Watch/Watch'],
  ['/v3/lease/grant', '/etcdserverpb.Lease/LeaseGrant'],
  ['/v3/lease/revoke', '/etcdserverpb.Lease/LeaseRevoke'],
  ['/v3/kv/lease/revoke', '/etcdserverpb.Lease/LeaseRevoke'],
  ['/v3/lease/keepalive', '/etcdserverpb.Lease/LeaseKeepAlive'],
  ['/v3/lease/timetolive', '/etcdserverpb.Lease/LeaseTimeToLive'],
  ['/v3/kv/lease/timetolive', '/etcdserverpb.Lease/LeaseTimeToLive'],
  ['/v3/lease/leases', '/etcdserverpb.Lease/LeaseLeases'],
  ['/v3/kv/lease/leases', '/etcdserverpb.Lease/LeaseLeases'],
  ['/v3/lock/lock', '/v3lockpb.Lock/Lock'],
  ['/v3/lock/unlock', '/v3lockpb.Lock/Unlock'],
  ['/v3/election/campaign', '/v3electionpb.Election/Campaign'],
  ['/v3/election/proclaim', '/v3electionpb.Election/Proclaim'],
  ['/v3/election/leader', '/v3electionpb.Election/Leader'],
  ['/v3/election/observe', '/v3electionpb.Election/Observe'],
  ['/v3/election/resign', '/v3electionpb.Election/Resign'],
  ['/v3/cluster/member/add', '/etcdserverpb.Cluster/MemberAdd'],
  ['/v3/cluster/member/remove', '/etcdserverpb.Cluster/MemberRemove'],
  ['/v3/cluster/member/update', '/etcdserverpb.Cluster/MemberUpdate'],
  ['/v3/cluster/member/list', '/etcdserverpb.Cluster/MemberList'],
  ['/v3/cluster/member/promote', '/etcdserverpb.Cluster/MemberPromote'],
  ['/v3/maintenance/status', '/etcdserverpb.Maintenance/Status'],
  ['/v3/maintenance/alarm', '/etcdserverpb.Maintenance/Alarm'],
  ['/v3/maintenance/defragment', '/etcdserverpb.Maintenance/Defragment'],
  ['/v3/maintenance/downgrade', '/etcdserverpb.Maintenance/Downgrade'],
  ['/v3/maintenance/snapshot', '/etcdserverpb.Maintenance/Snapshot'],
  ['/v3/maintenance/hash', '/etcdserverpb.Maintenance/Hash'],
  ['/v3/maintenance/hashkv', '/etcdserverpb.Maintenance/HashKV'],
  ['/v3/maintenance/transfer-leadership', '/etcdserverpb.Maintenance/MoveLeader'],
  ['/v3/auth/enable', '/etcdserverpb.Auth/AuthEnable'],
  ['/v3/auth/disable', '/etcdserverpb.Auth/AuthDisable'],
  ['/v3/auth/status', '/etcdserverpb.Auth/AuthStatus'],
  ['/v3/auth/authenticate', '/etcdserverpb.Auth/Authenticate'],
  ['/v3/auth/user/add', '/etcdserverpb.Auth/UserAdd'],
  ['/v3/auth/user/get', '/etcdserverpb.Auth/UserGet'],
  ['/v3/auth/user/list', '/etcdserverpb.Auth/UserList'],
  ['/v3/auth/user/delete', '/etcdserverpb.Auth/UserDelete'],
  ['/v3/auth/user/changepw', '/etcdserverpb.Auth/UserChangePassword'],
  ['/v3/auth/user/grant', '/etcdserverpb.Auth/UserGrantRole'],
  ['/v3/auth/user/revoke', '/etcdserverpb.Auth/UserRevokeRole'],
  ['/v3/auth/role/add', '/etcdserverpb.Auth/RoleAdd'],
  ['/v3/auth/role/get', '/etcdserverpb.Auth/RoleGet'],
  ['/v3/auth/role/list', '/etcdserverpb.Auth/RoleList'],
  ['/v3/auth/role/delete', '/etcdserverpb.Auth/RoleDelete'],
  ['/v3/auth/role/grant', '/etcdserverpb.Auth/RoleGrantPermission'],
  ['/v3/auth/role/revoke', '/etcdserverpb.Auth/RoleRevokePermission'],
];

export function mountGateway(app: Hono, methods: readonly Method[], maxRequestBytes: number): void {
  const byPath = new Map(methods.map((method) => [method.path, method]));
  const messageBytesMax = maxRequestBytes + GRPC_OVERHEAD_BYTES;
  for (const [path, rpc] of routes) {
    const method = byPath.get(rpc);
    if (method === undefined) continue;
    app.post(path, (c) =>
      method.kind === 'unary' ? unary(c, method, messageBytesMax) : stream(c, method, messageBytesMax),
    );
    app.all(path, (c) => errorResponse(c, otherError(GrpcStatus.UNIMPLEMENTED, 'Method Not Allowed')));
  }
  app.all('/v3/*', (c) => errorResponse(c, otherError(GrpcStatus.NOT_FOUND, 'Not Found')));
}

function errorResponse(c: Context, error: RosterError): Response {
  return c.json(errorBody(error), httpStatusOf(error) as 500);
}

/** A handler may only fail with a RosterError; anything else is a bug and goes on to stop the process. */
function expected(error: unknown): RosterError {
  if (error instanceof RosterError) return error;
  throw error;
}

function callContext(c: Context): CallContext {
  const { signal } = c.req.raw;
  return {
    metadata: (name) => c.req.header(name),
    remote: (c.env as { incoming?: { socket?: { remoteAddress?: string } } })?.incoming?.socket?.remoteAddress ?? '',
    get cancelled() {
      return signal.aborted;
    },
    onCancel(listener) {
      if (signal.aborted) listener();
      else signal.addEventListener('abort', listener, { once: true });
    },
  };
}

async function readBody(c: Context, bytesMax: number): Promise<string> {
  const body = c.req.raw.body;
  if (body === null) return '';
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body as unknown as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > bytesMax) {
      throw otherError(GrpcStatus.RESOURCE_EXHAUSTED, `request body larger than max (${bytes} vs. ${bytesMax})`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

const jsonHeaders = { 'Content-Type': 'application/json', 'Grpc-Metadata-Content-Type': 'application/grpc' };

/** The request that `text` describes. etcd's gateway hands it on by gRPC, so that limit is this one's, too. */
function parseRequest(type: MessageType<object>, text: string, messageBytesMax: number): object {
  const request = fromJson(type, text.trim() === '' ? {} : text);
  if (text.length > messageBytesMax) {
    const { length } = encode(type, request);
    if (length > messageBytesMax) throw tooLarge(length, messageBytesMax);
  }
  return request;
}

async function unary(c: Context, method: UnaryMethod, messageBytesMax: number): Promise<Response> {
  try {
    const body = await readBody(c, messageBytesMax * JSON_OVERHEAD);
    const request = parseRequest(method.request, body, messageBytesMax);
    const result = await new Promise<object>((resolve) => method.handle(callContext(c), request, resolve));
    if (result instanceof RosterError) return errorResponse(c, result);
    return c.body(toJson(method.response, result), 200, jsonHeaders);
  } catch (error) {
    // What is left of the body is not read, so nothing more can come on this connection.
    c.header('Connection', 'close');
    return errorResponse(c, expected(error));
  }
}

/** A chunked answer, one JSON object a line; requests are read from the body for as long as it comes. */
function stream(c: Context, method: StreamMethod, messageBytesMax: number): Promise<Response> {
  return new Promise((resolve) => {
    const answer = new LineAnswer(c, method, resolve);
    const handler = method.open(callContext(c), answer);
    answer.onCancel = () => handler.cancel();
    const feed = async () => {
      const sequence = new JsonSequence(messageBytesMax * JSON_OVERHEAD);
      const body = (c.req.raw.body ?? []) as unknown as AsyncIterable<Uint8Array>;
      for await (const chunk of body) {
        for (const text of sequence.push(chunk)) handler.message(parseRequest(method.request, text, messageBytesMax));
      }
      sequence.end();
      handler.halfClose();
    };
    feed().catch((error: unknown) => {
      if (error instanceof AssertionError) throw error;
      // Anything but a RosterError is the connection's: a body that broke off.
      if (error instanceof RosterError) answer.refuse(error);
      else answer.leave();
    });
    c.req.raw.signal.addEventListener('abort', () => answer.leave(), { once: true });
  });
}

/** The responder of one streamed answer. The HTTP status is settled by what comes first: a line, or a failure. */
class LineAnswer implements Responder<object> {
  onDrain: (() => void) | undefined;
  /** Tells the handler to release everything; called at most once, and not after `end`. */
  onCancel: () => void = () => {};
  readonly #context: Context;
  readonly #method: StreamMethod;
  readonly #resolve: (response: Response) => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #slow = false;
  #over = false;

  constructor(context: Context, method: StreamMethod, resolve: (response: Response) => void) {
    this.#context = context;
    this.#method = method;
    this.#resolve = resolve;
  }

  send(response: object): boolean {
    if (this.#over) return true;
    this.#line(`{"result":${toJson(this.#method.response, response)}}\n`);
    this.#slow = (this.#controller!.desiredSize ?? 0) <= 0;
    return !this.#slow;
  }

  end(error?: RosterError): void {
    if (this.#over) return;
    if (error !== undefined && this.#controller === undefined) {
      this.#over = true;
      this.#resolve(this.#context.json({ error: errorBody(error) }, httpStatusOf(error) as 500));
      return;
    }
    if (error !== undefined) this.#line(`${JSON.stringify({ error: errorBody(error) })}\n`);
    this.#over = true;
    this.#open().close();
  }

  /** The reader has gone. */
  leave(): void {
    if (this.#over) return;
    this.#over = true;
    this.onCancel();
  }

  /** The request cannot be read on. */
  refuse(error: RosterError): void {
    if (this.#over) return;
    this.onCancel();
    this.end(error);
  }

  #line(text: string): void {
    this.#open().enqueue(Buffer.from(text, 'utf8'));
  }

  #open(): ReadableStreamDefaultController<Uint8Array> {
    if (this.#controller !== undefined) return this.#controller;
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => {
          if (!this.#slow) return;
          this.#slow = false;
          this.onDrain?.();
        },
        cancel: () => this.leave(),
      },
      { highWaterMark: STREAM_LINES_MAX },
    );
    this.#resolve(this.#context.body(body, 200, jsonHeaders));
    return this.#controller!;
  }
}
