/**
 * The endpoints of a client and which one is in use. Finds one that is connected; stays with it until a caller says it
 * failed. Sends no requests of its own.
 */
import { GrpcStatus, otherError } from '../core/errors.ts';
import { type ConnectionOptions, cancelled, Endpoint } from './endpoint.ts';
import { type Identity, Login } from './login.ts';
import type { TlsOptions } from './tls.ts';
import { Backoff, sleep } from './wait.ts';

/** A login takes as long as a password's hash does, whatever is left of the time to connect. */
const LOGIN_MS_MIN = 2_000;
/** More addresses than any cluster has. */
export const ENDPOINTS_MAX = 64;

export class EndpointSet {
  readonly #endpoints: readonly Endpoint[];
  /** Endpoints outside the list that were asked for by name. */
  readonly #others = new Map<string, Endpoint>();
  readonly #make: (name: string) => Endpoint;
  /** Who asks, on every endpoint the same. */
  readonly login: Login;
  #current = 0;
  #closed = false;

  constructor(
    names: readonly string[],
    tls: TlsOptions | undefined,
    connection: ConnectionOptions = {},
    identity: Identity = {},
  ) {
    if (names.length === 0 || names.length > ENDPOINTS_MAX) {
      throw otherError(
        GrpcStatus.INVALID_ARGUMENT,
        `a client needs 1 to ${ENDPOINTS_MAX} endpoints, not ${names.length}`,
      );
    }
    this.login = new Login(identity);
    this.#make = (name) => new Endpoint(name, tls, connection, () => this.login.token);
    this.#endpoints = names.map(this.#make);
  }

  /** The endpoint of that name, in the list or not. */
  named(name: string): Endpoint {
    const known = this.#endpoints.find((endpoint) => endpoint.name === name) ?? this.#others.get(name);
    if (known !== undefined) return known;
    if (this.#others.size >= ENDPOINTS_MAX) {
      throw otherError(GrpcStatus.RESOURCE_EXHAUSTED, `a client asks at most ${ENDPOINTS_MAX} other endpoints`);
    }
    const endpoint = this.#make(name);
    this.#others.set(name, endpoint);
    return endpoint;
  }

  /**
   * An endpoint that is connected. Goes round them until `deadline` (epoch, ms), then rejects with UNAVAILABLE and the
   * reason each gave. Nothing has been sent when it rejects.
   */
  async connected(deadline: number, signal?: AbortSignal, only?: Endpoint): Promise<Endpoint> {
    const candidates = only === undefined ? this.#endpoints : [only];
    const first = only === undefined ? this.#current : 0;
    const backoff = new Backoff();
    for (;;) {
      for (let i = 0; i < candidates.length; i++) {
        const index = (first + i) % candidates.length;
        const endpoint = candidates[index]!;
        const share = (deadline - Date.now()) / (candidates.length - i);
        const connected = await endpoint.connect(Date.now() + share, signal);
        if (this.#closed) throw otherError(GrpcStatus.CANCELLED, 'the client is closed');
        if (signal?.aborted) throw cancelled(signal);
        if (connected) {
          if (only === undefined) this.#current = index;
          await this.login.on(endpoint, Math.max(deadline, Date.now() + LOGIN_MS_MIN), signal);
          return endpoint;
        }
      }
      const pause = backoff.next();
      if (Date.now() + pause >= deadline) break;
      await sleep(pause, signal);
    }
    const reasons = await Promise.all(candidates.map(async (one) => `${one.name}: ${await one.reason()}`));
    throw otherError(GrpcStatus.UNAVAILABLE, reasons.join('; '));
  }

  /** `endpoint` did not do what was asked of it: the next call begins with another. */
  failed(endpoint: Endpoint): void {
    if (this.#endpoints[this.#current] === endpoint) this.#current = (this.#current + 1) % this.#endpoints.length;
  }

  close(): void {
    this.#closed = true;
    for (const endpoint of this.#endpoints) endpoint.close();
    for (const endpoint of this.#others.values()) endpoint.close();
  }
}
