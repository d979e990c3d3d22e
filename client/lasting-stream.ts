/**
 * A stream to whichever endpoint answers, opened again for as long as it is wanted. Owns connecting, backoff and
 * moving on to the next endpoint; what is said on the stream, and said again after a break, is its owner's business.
 */
import { GrpcStatus, otherError, RosterError } from '../core/errors.ts';
import type { Duplex, StreamOptions } from './endpoint.ts';
import type { EndpointSet } from './endpoint-set.ts';
import type { Method } from './methods.ts';
import { Backoff, onAbort, sleep } from './wait.ts';

/** How long one attempt to find an endpoint may take before the owner hears of it. */
const CONNECT_MS = 5_000;

export interface StreamOwner<Res> {
  /** A new stream: nothing said on earlier ones holds. */
  opened(): void;
  message(response: Res): void;
  /** The stream ended, or could not be opened. Another attempt follows unless `stop` is called. */
  broken(error: RosterError): void;
}

export class LastingStream<Req extends object, Res extends object> {
  readonly #endpoints: EndpointSet;
  readonly #method: Method<Req, Res>;
  readonly #owner: StreamOwner<Res>;
  readonly #options: StreamOptions;
  #life: AbortController | undefined;
  #stream: Duplex<Req, Res> | undefined;

  constructor(endpoints: EndpointSet, method: Method<Req, Res>, owner: StreamOwner<Res>, options: StreamOptions) {
    this.#endpoints = endpoints;
    this.#method = method;
    this.#owner = owner;
    this.#options = options;
  }

  /** Wants the stream from now on. No effect while it is wanted already. */
  start(): void {
    if (this.#life !== undefined) return;
    this.#life = new AbortController();
    void this.#run(this.#life.signal);
  }

  /** Ends the stream and wants no other. */
  stop(): void {
    this.#life?.abort();
    this.#life = undefined;
    this.#stream = undefined;
  }

  /** Gives the present stream up, as if it had broken. */
  restart(): void {
    this.#stream?.cancel();
  }

  /** Sends on the present stream. False when there is none: `opened` will be called. */
  send(request: Req): boolean {
    if (this.#stream === undefined) return false;
    this.#stream.write(request);
    return true;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff();
    while (!signal.aborted) {
      const error = await this.#once(signal, backoff);
      if (signal.aborted) return;
      this.#stream = undefined;
      this.#owner.broken(error);
      await sleep(backoff.next(), signal);
    }
  }

  /** Opens one stream and stays with it to its end. Resolves with what ended it. */
  async #once(signal: AbortSignal, backoff: Backoff): Promise<RosterError> {
    try {
      const endpoint = await this.#endpoints.connected(Date.now() + CONNECT_MS, signal);
      const stream = endpoint.stream(this.#method, this.#options);
      const ended = new Promise<RosterError>((resolve) => {
        stream.on('error', (error: Error) => resolve(endpoint.errorOf(error)));
        stream.on('end', () => resolve(otherError(GrpcStatus.UNAVAILABLE, `${endpoint.name}: the stream ended`)));
      });
      stream.on('data', (response: Res) => {
        if (this.#stream !== stream) return;
        backoff.reset();
        this.#owner.message(response);
      });
      const forget = onAbort(signal, () => stream.cancel());
      if (!signal.aborted) {
        this.#stream = stream;
        this.#owner.opened();
      }
      const error = await ended;
      forget();
      // A token that ran out while the stream was away is no reason to give up: the next attempt brings a new one.
      if (this.#endpoints.login.renewable(error)) {
        return otherError(GrpcStatus.UNAVAILABLE, `${endpoint.name}: ${error.message}`, { cause: error });
      }
      this.#endpoints.failed(endpoint);
      return error;
    } catch (error) {
      if (error instanceof RosterError) return error;
      throw error;
    }
  }
}
