/**
 * One server address and the gRPC channel to it: connect, one unary call, one stream. Turns gRPC's errors into
 * RosterErrors. Never chooses among endpoints and never tries anything twice.
 */
import * as grpc from '@grpc/grpc-js';
import { errorFromText, GrpcStatus, otherError, type RosterError } from '../core/errors.ts';
import { asBuffer } from '../core/util/bytes.ts';
import { decode, encode } from '../core/wire/binary.ts';
import type { Method } from './methods.ts';
import { secureChannel, type TlsOptions } from './tls.ts';
import { onAbort } from './wait.ts';

export type Duplex<Req, Res> = grpc.ClientDuplexStream<Req, Res>;

export interface StreamOptions {
  /** The server ends the stream when it loses its leader, instead of falling silent. */
  requireLeader?: boolean;
  /** When the stream ends in any case (epoch, ms). */
  deadline?: number;
  /** Sent with the request; names in lower case. */
  metadata?: RequestMetadata;
}

export type RequestMetadata = Readonly<Record<string, string>>;

const DEFAULT_PORT = 2379;

const channelOptions: grpc.ChannelOptions = {
  // Connections belong to one client, so that close() closes them.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.service_config_disable_resolution': 1,
  // Whether a request may be sent twice is decided in client.ts, by method.
  'grpc.enable_retries': 0,
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  // A peer that vanished without a word is noticed within 15 s. etcd refuses pings more frequent than every 5 s.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.initial_reconnect_backoff_ms': 50,
  // Less than a call looks for an endpoint that answers: a server that is back is found.
  'grpc.max_reconnect_backoff_ms': 1_000,
};

export interface Address {
  /** An IPv6 address with its brackets. */
  host: string;
  /** `host:port` for gRPC. */
  target: string;
  /** Whether it is to be reached over TLS. */
  secure: boolean;
}

/** Accepts `host`, `host:port`, `http://` and `https://` URLs; `tls` decides where there is no scheme. */
export function parseEndpoint(name: string, tls: boolean): Address {
  const match = /^(?:(https?):\/\/)?(\[[0-9A-Fa-f:.%]+\]|[^\s:/[\]@]+)(?::(\d{1,5}))?\/?$/.exec(name);
  const port = Number(match?.[3] ?? DEFAULT_PORT);
  if (match === null || port > 65_535) {
    throw otherError(GrpcStatus.INVALID_ARGUMENT, `endpoint "${name}" is neither host:port nor an http(s):// URL`);
  }
  const host = match[2]!;
  return { host, target: `${host}:${port}`, secure: match[1] === undefined ? tls : match[1] === 'https' };
}

const identity = (bytes: Buffer): Buffer => bytes;

/** How connections are made, beside TLS. */
export interface ConnectionOptions {
  /** How often a silent connection is asked for a sign of life, and how long it may take. At least 10 s: servers refuse more. */
  keepaliveTimeMs?: number;
  keepaliveTimeoutMs?: number;
  /** Largest messages; no limit by default. */
  sendBytesMax?: number;
  receiveBytesMax?: number;
}

export class Endpoint {
  readonly name: string;
  readonly #client: grpc.Client;
  readonly #calls = new Set<{ cancel(): void }>();
  readonly #token: () => string | undefined;

  constructor(
    name: string,
    tls: TlsOptions | undefined,
    connection: ConnectionOptions = {},
    token: () => string | undefined = () => undefined,
  ) {
    const { host, target, secure } = parseEndpoint(name, tls !== undefined);
    const { credentials, options } = secure
      ? secureChannel(host, tls ?? {})
      : { credentials: grpc.credentials.createInsecure(), options: {} };
    this.name = name;
    this.#token = token;
    this.#client = new grpc.Client(target, credentials, { ...channelOptions, ...limits(connection), ...options });
  }

  /** Whether there is a connection, waiting for one that is being made until `deadline` (epoch, ms). */
  async connect(deadline: number, signal?: AbortSignal): Promise<boolean> {
    const channel = this.#client.getChannel();
    for (;;) {
      const state = channel.getConnectivityState(true);
      if (state === grpc.connectivityState.READY) return true;
      if (state === grpc.connectivityState.TRANSIENT_FAILURE || state === grpc.connectivityState.SHUTDOWN) return false;
      if (Date.now() >= deadline || signal?.aborted) return false;
      await new Promise<void>((resolve) => {
        const forget = onAbort(signal, resolve);
        channel.watchConnectivityState(state, deadline, () => {
          forget();
          resolve();
        });
      });
    }
  }

  /**
   * Why there is no connection, in gRPC's words. Asks by a call: without a connection it fails at once and tells the
   * reason; with one, it is a health check.
   */
  reason(): Promise<string> {
    return new Promise((resolve) => {
      const options = { deadline: Date.now() + 100 };
      const path = '/grpc.health.v1.Health/Check';
      this.#client.makeUnaryRequest(path, identity, identity, Buffer.alloc(0), options, (error) => {
        const text =
          error?.code === GrpcStatus.DEADLINE_EXCEEDED ? 'no answer' : (error?.details ?? 'it came back just now');
        resolve(text.replace(/^No connection established\. Last error: (?:Error: )?| Resolution note: .*$/g, ''));
      });
    });
  }

  /** One call, sent once. Rejects with a RosterError. */
  unary<Req extends object, Res extends object>(
    method: Method<Req, Res>,
    request: Partial<Req>,
    deadline: number,
    signal?: AbortSignal,
    metadata: RequestMetadata = {},
  ): Promise<Res> {
    const body = asBuffer(encode(method.request, request));
    const parse = (bytes: Buffer) => decode(method.response, bytes);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(cancelled(signal));
        return;
      }
      const call = this.#client.makeUnaryRequest(
        method.path,
        identity,
        parse,
        body,
        this.#metadata(metadata),
        { deadline },
        (error, response) => {
          forget();
          this.#calls.delete(call);
          if (error === null) resolve(response!);
          else reject(signal?.aborted ? cancelled(signal) : this.#rosterError(error));
        },
      );
      this.#calls.add(call);
      const forget = onAbort(signal, () => call.cancel());
    });
  }

  /** Opens a stream both ways. */
  stream<Req extends object, Res extends object>(method: Method<Req, Res>, options: StreamOptions): Duplex<Req, Res> {
    const metadata = this.#metadata(options.metadata);
    if (options.requireLeader) metadata.set('hasleader', 'true');
    return this.#client.makeBidiStreamRequest(
      method.path,
      (request: Req) => asBuffer(encode(method.request, request)),
      (bytes: Buffer) => decode(method.response, bytes),
      metadata,
      options.deadline === undefined ? {} : { deadline: options.deadline },
    );
  }

  /** One request, many answers. Fails with a RosterError. */
  async *answers<Req extends object, Res extends object>(
    method: Method<Req, Res>,
    request: Partial<Req>,
    signal?: AbortSignal,
  ): AsyncGenerator<Res, void> {
    const body = asBuffer(encode(method.request, request));
    const parse = (bytes: Buffer) => decode(method.response, bytes);
    const call = this.#client.makeServerStreamRequest(method.path, identity, parse, body, this.#metadata(), {});
    this.#calls.add(call);
    const forget = onAbort(signal, () => call.cancel());
    try {
      for await (const answer of call) yield answer as Res;
    } catch (error) {
      throw signal?.aborted ? cancelled(signal) : this.#rosterError(error as grpc.ServiceError);
    } finally {
      forget();
      this.#calls.delete(call);
      call.cancel();
    }
  }

  /** The RosterError for what a call or stream of this endpoint ended with. */
  errorOf(error: Error): RosterError {
    return this.#rosterError(error as grpc.ServiceError);
  }

  close(): void {
    for (const call of this.#calls) call.cancel();
    this.#client.close();
  }

  #metadata(entries: RequestMetadata = {}): grpc.Metadata {
    const metadata = new grpc.Metadata();
    for (const [name, value] of Object.entries(entries)) metadata.set(name, value);
    const token = this.#token();
    if (token !== undefined) metadata.set('token', token);
    return metadata;
  }

  #rosterError(error: grpc.ServiceError): RosterError {
    const status = (error.code ?? GrpcStatus.UNKNOWN) as GrpcStatus;
    const text = error.details ?? error.message;
    const known = errorFromText(status, text, { cause: error });
    // What the server said stands as it is; where nobody answered, say who did not.
    const silent = status === GrpcStatus.UNAVAILABLE || status === GrpcStatus.DEADLINE_EXCEEDED;
    return known.code === 'Other' && silent ? otherError(status, `${this.name}: ${text}`, { cause: error }) : known;
  }
}

function limits(connection: ConnectionOptions): grpc.ChannelOptions {
  const { keepaliveTimeMs, keepaliveTimeoutMs, sendBytesMax, receiveBytesMax } = connection;
  return {
    ...(keepaliveTimeMs && { 'grpc.keepalive_time_ms': Math.max(keepaliveTimeMs, 10_000) }),
    ...(keepaliveTimeoutMs && { 'grpc.keepalive_timeout_ms': keepaliveTimeoutMs }),
    ...(sendBytesMax && { 'grpc.max_send_message_length': sendBytesMax }),
    ...(receiveBytesMax && { 'grpc.max_receive_message_length': receiveBytesMax }),
  };
}

/** The error of a call whose AbortSignal fired. */
export function cancelled(signal: AbortSignal): RosterError {
  return otherError(GrpcStatus.CANCELLED, 'the call was cancelled', { cause: signal.reason });
}
