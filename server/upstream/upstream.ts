/**
 * Calls to another store, each with metadata of its own: to whichever endpoint answers, again when it may be, for as long as
 * an endpoint is looked for. Knows no RPC in particular and keeps nothing of what passes.
 */

import {
  cancelled,
  type Duplex,
  type Endpoint,
  type RequestMetadata,
  type StreamOptions,
} from '../../client/endpoint.ts';
import { EndpointSet } from '../../client/endpoint-set.ts';
import { LastingStream, type StreamOwner } from '../../client/lasting-stream.ts';
import type { Method } from '../../client/methods.ts';
import type { TlsOptions } from '../../client/tls.ts';
import { Backoff, sleep } from '../../client/wait.ts';
import { GrpcStatus, RosterError } from '../../core/errors.ts';

export interface UpstreamOptions {
  readonly endpoints: readonly string[];
  readonly tls?: TlsOptions | undefined;
  /** How long a call looks for an endpoint that answers. */
  readonly dialTimeoutMs: number;
}

export interface UpstreamCall {
  readonly metadata?: RequestMetadata;
  readonly signal?: AbortSignal;
  /** Milliseconds in all; default: as long as the caller waits. */
  readonly timeoutMs?: number;
}

/** A stream, and the endpoint it goes to. */
export interface UpstreamStream<Req, Res> {
  readonly stream: Duplex<Req, Res>;
  readonly endpoint: Endpoint;
}

export class Upstream {
  readonly #endpoints: EndpointSet;
  readonly #dialTimeoutMs: number;

  /** Throws a RosterError when there are none, too many, or one cannot be read. */
  constructor(options: UpstreamOptions) {
    this.#endpoints = new EndpointSet(options.endpoints, options.tls);
    this.#dialTimeoutMs = options.dialTimeoutMs;
  }

  /** Rejects with a RosterError: what the store said, or UNAVAILABLE. */
  async call<Req extends object, Res extends object>(
    method: Method<Req, Res>,
    request: Req,
    { metadata = {}, signal, timeoutMs = Number.POSITIVE_INFINITY }: UpstreamCall = {},
  ): Promise<Res> {
    const started = Date.now();
    const deadline = started + timeoutMs;
    const backoff = new Backoff();
    for (;;) {
      const endpoint = await this.#endpoints.connected(Math.min(deadline, started + this.#dialTimeoutMs), signal);
      try {
        return await endpoint.unary(method, request, deadline, signal, metadata);
      } catch (error) {
        if (!(error instanceof RosterError) || error.status !== GrpcStatus.UNAVAILABLE) throw error;
        this.#endpoints.failed(endpoint);
        const pause = backoff.next();
        if (!method.repeatable || Date.now() + pause >= started + this.#dialTimeoutMs) throw error;
        await sleep(pause, signal);
      }
    }
  }

  /** Opens a stream on an endpoint that is connected. Rejects with a RosterError. */
  async stream<Req extends object, Res extends object>(
    method: Method<Req, Res>,
    { metadata = {}, signal }: UpstreamCall = {},
  ): Promise<UpstreamStream<Req, Res>> {
    const endpoint = await this.#endpoints.connected(Date.now() + this.#dialTimeoutMs, signal);
    if (signal?.aborted) throw cancelled(signal);
    return { stream: endpoint.stream(method, { metadata }), endpoint };
  }

  /** A stream that is opened again for as long as it is wanted. */
  lasting<Req extends object, Res extends object>(
    method: Method<Req, Res>,
    owner: StreamOwner<Res>,
    options: StreamOptions,
  ): LastingStream<Req, Res> {
    return new LastingStream(this.#endpoints, method, owner, options);
  }

  /** A stream to `endpoint` broke: the next call begins with another. */
  failed(endpoint: Endpoint): void {
    this.#endpoints.failed(endpoint);
  }

  close(): void {
    this.#endpoints.close();
  }
}
