/**
 * The JSON gateway: etcd's `/v3/...` paths over the same handlers that gRPC calls (grpc-gateway's dialect, see
 * core/wire/json.ts). Owns bodies and error bodies; knows no RPC by name but its path. A WebSocket comes here, too, as a
 * request whose body does not end (web-socket.ts).
 */
import { isUtf8 } from 'node:buffer';
import type { Context, Hono } from 'hono';
import { GrpcStatus, otherError, RosterError, rosterError } from '../../core/errors.ts';
import { AssertionError } from '../../core/util/assert.ts';
import { encode } from '../../core/wire/binary.ts';
import { fromJson, toJson } from '../../core/wire/json.ts';
import type { MessageType } from '../../core/wire/schema.ts';
import { tooLarge } from '../grpc/message-reader.ts';
import { GRPC_OVERHEAD_BYTES } from '../rpc/context.ts';
import type { Method, StreamMethod, UnaryMethod } from '../rpc/service.ts';
import { GATEWAY_PATHS, isOldPath } from './gateway-paths.ts';
import { errorBody, httpStatusOf } from './grpc-status.ts';
import { HttpCall } from './http-call.ts';
import { JsonSequence } from './json-sequence.ts';
import { JSON_HEADERS, LineAnswer } from './line-answer.ts';
import { BodyTooLarge, readBody } from './request-body.ts';

/** A JSON body is larger than the message it stands for: base64 and names. */
const JSON_OVERHEAD = 2;

/** The largest JSON text that stands for one request. */
export function jsonBytesMax(maxRequestBytes: number): number {
  return (maxRequestBytes + GRPC_OVERHEAD_BYTES) * JSON_OVERHEAD;
}

/** When `stopping` fires, the streams that are open end. */
export function mountGateway(
  app: Hono,
  methods: readonly Method[],
  maxRequestBytes: number,
  stopping?: AbortSignal,
): void {
  const open = new Set<LineAnswer>();
  stopping?.addEventListener('abort', () => {
    for (const answer of [...open]) answer.refuse(rosterError('Stopped'));
  });
  const byPath = new Map(methods.map((method) => [method.path, method]));
  const messageBytesMax = maxRequestBytes + GRPC_OVERHEAD_BYTES;
  for (const [path, rpc] of GATEWAY_PATHS) {
    const method = byPath.get(rpc);
    if (method === undefined) continue;
    app.post(path, (c) => {
      if (method.kind === 'unary') return unary(c, method, messageBytesMax);
      const serve = method.single === true ? serverStream : duplex;
      return serve(c, method, messageBytesMax, open);
    });
    app.all(path, (c) => errorResponse(c, otherError(GrpcStatus.UNIMPLEMENTED, 'Method Not Allowed')));
  }
  app.all('/v3/*', (c) => errorResponse(c, otherError(GrpcStatus.NOT_FOUND, 'Not Found')));
}

function errorResponse(c: Context, error: RosterError): Response {
  const old = isOldPath(new URL(c.req.url).pathname);
  return c.json(errorBody(error, old), httpStatusOf(error, old) as 500);
}

/** A handler may only fail with a RosterError; anything else is a bug and goes on to stop the process. */
function expected(error: unknown): RosterError {
  if (error instanceof RosterError) return error;
  throw error;
}

/** The request that `text` describes. etcd's gateway hands it on by gRPC, so that limit is this one's, too. */
function parseRequest(type: MessageType<object>, text: string, messageBytesMax: number): object {
  const request = fromJson(type, text.trim() === '' ? '{}' : text);
  if (text.length > messageBytesMax) {
    const { length } = encode(type, request);
    if (length > messageBytesMax) throw tooLarge(length, messageBytesMax);
  }
  return request;
}

/** The one request there is. */
async function readRequest(c: Context, type: MessageType<object>, messageBytesMax: number): Promise<object> {
  const bytesMax = messageBytesMax * JSON_OVERHEAD;
  const body = await readBody(c, bytesMax);
  if (body instanceof BodyTooLarge) {
    throw otherError(GrpcStatus.RESOURCE_EXHAUSTED, `request body larger than max (${body.bytes} vs. ${bytesMax})`);
  }
  if (!isUtf8(body)) {
    throw otherError(GrpcStatus.INVALID_ARGUMENT, 'proto: syntax error: invalid UTF-8 in string');
  }
  return parseRequest(type, body.toString('utf8'), messageBytesMax);
}

async function unary(c: Context, method: UnaryMethod, messageBytesMax: number): Promise<Response> {
  const call = new HttpCall(c);
  try {
    const request = await readRequest(c, method.request, messageBytesMax);
    const result = await new Promise<object>((resolve) => {
      call.limit(resolve);
      method.handle(call, request, resolve);
    });
    if (result instanceof RosterError) return errorResponse(c, result);
    return c.body(toJson(method.response, result), 200, JSON_HEADERS);
  } catch (error) {
    return errorResponse(c, expected(error));
  } finally {
    call.over();
  }
}

/** One request, a chunked answer. */
async function serverStream(
  c: Context,
  method: StreamMethod,
  messageBytesMax: number,
  open: Set<LineAnswer>,
): Promise<Response> {
  let request: object;
  try {
    request = await readRequest(c, method.request, messageBytesMax);
  } catch (error) {
    return errorResponse(c, expected(error));
  }
  return answered(c, method, open, async (handler) => {
    handler.message(request);
    handler.halfClose();
  });
}

/** A chunked answer; requests are read from the body for as long as it comes. */
function duplex(c: Context, method: StreamMethod, messageBytesMax: number, open: Set<LineAnswer>): Promise<Response> {
  return answered(c, method, open, async (handler) => {
    const sequence = new JsonSequence(messageBytesMax * JSON_OVERHEAD);
    const body = (c.req.raw.body ?? []) as unknown as AsyncIterable<Uint8Array>;
    for await (const chunk of body) {
      for (const text of sequence.push(chunk)) handler.message(parseRequest(method.request, text, messageBytesMax));
    }
    sequence.end();
    handler.halfClose();
  });
}

function answered(
  c: Context,
  method: StreamMethod,
  open: Set<LineAnswer>,
  feed: (handler: ReturnType<StreamMethod['open']>) => Promise<void>,
): Promise<Response> {
  return new Promise((resolve) => {
    const call = new HttpCall(c);
    const answer = new LineAnswer(method, resolve);
    open.add(answer);
    answer.onOver = () => {
      open.delete(answer);
      call.over();
    };
    call.onCancel(() => answer.leave());
    try {
      call.limit((error) => answer.refuse(error));
    } catch (error) {
      answer.end(expected(error));
      return;
    }
    const handler = method.open(call, answer);
    answer.onCancel = () => handler.cancel();
    feed(handler).catch((error: unknown) => {
      if (error instanceof AssertionError) throw error;
      // Anything but a RosterError is the connection's: a body that broke off.
      if (error instanceof RosterError) answer.refuse(undecodable(error));
      else answer.leave();
    });
  });
}

/** In grpc-gateway's words, where more than one message may come. */
function undecodable(error: RosterError): RosterError {
  if (error.status !== GrpcStatus.INVALID_ARGUMENT) return error;
  return otherError(error.status, `Failed to decode request: ${error.message}`, { cause: error });
}
