/**
 * The gRPC side of the store's port: takes HTTP/2 streams, finds the method, refuses what is not a call of one, in
 * grpc-go's words. Owns the table of methods and what all calls share; a call itself is in call.ts.
 */
import { GrpcStatus, type RosterError } from '../../core/errors.ts';
import { assert } from '../../core/util/assert.ts';
import { byteStringToUtf8 } from '../../core/util/bytes.ts';
import type { RequestHeaders } from '../http2/header-list.ts';
import type { Http2Stream } from '../http2/stream.ts';
import type { Method } from '../rpc/service.ts';
import type { Call, CallEnvironment } from './call.ts';
import { Deadlines, parseTimeout } from './deadlines.ts';
import { AssemblyMemory } from './message-reader.ts';
import { trailersOnly } from './status.ts';
import { StreamCall } from './stream-call.ts';
import { UnaryCall } from './unary-call.ts';

/** Memory for unfinished request messages of all connections together. */
export const ASSEMBLY_BYTES_MAX = 256 * 1024 * 1024;

export interface GrpcOptions {
  /** The largest request message, after decompression; one byte more is RESOURCE_EXHAUSTED. */
  readonly maxRequestBytes: number;
  /** See {@link ASSEMBLY_BYTES_MAX}. */
  readonly assemblyBytesMax?: number;
  /**
   * A method has thrown something that is no RosterError: a bug. The call is answered INTERNAL first, except after an
   * AssertionError, when nothing is answered: then this must stop the process.
   */
  readonly onBug: (error: unknown) => void;
}

export interface GrpcHandler {
  /** Serves one stream; goes into `Http2Options.onStream`. */
  (stream: Http2Stream): void;
  /** Ends every streaming call with `error`; for a shutdown, since those calls do not end of themselves. */
  endStreams(error: RosterError): void;
}

/** True when the request is for gRPC rather than for the HTTP handlers, going by its content-type. */
export function isGrpc(headers: RequestHeaders): boolean {
  const type = headers.get('content-type');
  if (type === undefined || !type.startsWith('application/grpc')) return false;
  return type.length === 16 || type[16] === '+' || type[16] === ';';
}

/** The handler for streams that call one of `methods`. */
export function grpcHandler(methods: readonly Method[], options: GrpcOptions): GrpcHandler {
  const router = new Router(methods);
  const streaming = new Set<StreamCall>();
  const environment: CallEnvironment = {
    maxRequestBytes: options.maxRequestBytes,
    memory: new AssemblyMemory(options.assemblyBytesMax ?? ASSEMBLY_BYTES_MAX),
    deadlines: new Deadlines(),
    onBug: options.onBug,
  };
  const serve = (stream: Http2Stream): void => {
    const { headers } = stream;
    const timeout = headers.get('grpc-timeout');
    const afterMs = timeout === undefined ? undefined : parseTimeout(timeout);
    const refusal = refuse(headers, afterMs);
    if (refusal !== undefined) {
      stream.sendHeaders(refusal, true);
      return;
    }
    const method = router.find(headers.path);
    if (method === undefined) {
      stream.sendHeaders(trailersOnly(GrpcStatus.UNIMPLEMENTED, router.explain(headers.path)), true);
      return;
    }
    const call: Call =
      method.kind === 'unary'
        ? new UnaryCall(environment, stream, method)
        : new StreamCall(environment, stream, method, streaming);
    stream.events = call;
    if (typeof afterMs === 'number') environment.deadlines.set(call, afterMs);
    if (call instanceof StreamCall) call.start();
  };
  const endStreams = (error: RosterError): void => {
    for (const call of [...streaming]) call.fail(error.status, error.message);
  };
  return Object.assign(serve, { endStreams });
}

/** The response that refuses a request whatever its path, or undefined. `afterMs`: its timeout, read. */
function refuse(headers: RequestHeaders, afterMs: number | string | undefined): Uint8Array | undefined {
  const type = headers.get('content-type');
  if (type !== 'application/grpc' && type !== 'application/grpc+proto' && !isProtoWithParameters(type)) {
    const message = `invalid gRPC request content-type ${JSON.stringify(type ?? '')}`;
    return trailersOnly(GrpcStatus.INVALID_ARGUMENT, message, 415);
  }
  if (typeof afterMs === 'string') {
    return trailersOnly(GrpcStatus.INTERNAL, `malformed grpc-timeout: ${afterMs}`, 400);
  }
  if (headers.method !== 'POST') {
    const method = JSON.stringify(headers.method);
    return trailersOnly(
      GrpcStatus.INTERNAL,
      `Received a HEADERS frame with :method ${method} which should be POST`,
      405,
    );
  }
  if (afterMs !== undefined && afterMs <= 0) {
    return trailersOnly(GrpcStatus.DEADLINE_EXCEEDED, 'context deadline exceeded');
  }
  const encoding = headers.get('grpc-encoding');
  if (encoding !== undefined && encoding !== '' && encoding !== 'identity' && encoding !== 'gzip') {
    const message = `grpc: Decompressor is not installed for grpc-encoding ${JSON.stringify(encoding)}`;
    return trailersOnly(GrpcStatus.UNIMPLEMENTED, message, 200, [['grpc-accept-encoding', 'identity,gzip']]);
  }
  return undefined;
}

function isProtoWithParameters(type: string | undefined): boolean {
  return type !== undefined && /^application\/grpc(?:\+proto)?;/.test(type);
}

/** Methods by path. */
class Router {
  readonly #methods = new Map<string, Method>();
  readonly #services = new Set<string>();

  constructor(methods: readonly Method[]) {
    for (const method of methods) {
      assert(/^\/[^/]+\/[^/]+$/.test(method.path), `method path ${method.path}: not /package.Service/Method`);
      assert(!this.#methods.has(method.path), `method path ${method.path}: given twice`);
      this.#methods.set(method.path, method);
      this.#services.add(method.path.slice(1, method.path.lastIndexOf('/')));
    }
  }

  find(path: string): Method | undefined {
    return this.#methods.get(path);
  }

  /** What is wrong with a path that has no method, in grpc-go's words. */
  explain(path: string): string {
    const text = byteStringToUtf8(path);
    const slash = text.lastIndexOf('/');
    if (!text.startsWith('/') || slash === 0) return `malformed method name: ${JSON.stringify(text)}`;
    const service = text.slice(1, slash);
    if (!this.#services.has(service)) return `unknown service ${service}`;
    return `unknown method ${text.slice(slash + 1)} for service ${service}`;
  }
}
