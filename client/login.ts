/**
 * Who a client is: a token it was given, or a user and a password that a token is got with, once, and again when the
 * server no longer knows it. Sends the one call that asks for a token; the others get it from `token`.
 */
import { RosterError } from '../core/errors.ts';
import type { Endpoint } from './endpoint.ts';
import { methods } from './methods.ts';

export interface Identity {
  /** With `password`: a token is asked for before the first call. */
  user?: string;
  password?: string;
  /** A token that was made elsewhere (a JWT, say). */
  token?: string;
}

export class Login {
  readonly #user: string | undefined;
  readonly #password: string;
  #token: string | undefined;
  #done: boolean;

  constructor(identity: Identity) {
    this.#user = identity.user;
    this.#password = identity.password ?? '';
    this.#token = identity.token;
    this.#done = identity.user === undefined;
  }

  /** What calls carry as their `token`; undefined where auth is off, or nobody is anybody. */
  get token(): string | undefined {
    return this.#token;
  }

  /** Gets a token from `endpoint` if there is none yet. Rejects with the RosterError of a refused login. */
  async on(endpoint: Endpoint, deadline: number, signal?: AbortSignal): Promise<void> {
    if (this.#done) return;
    try {
      const request = { name: this.#user!, password: this.#password };
      this.#token = (await endpoint.unary(methods.authenticate, request, deadline, signal)).token;
    } catch (error) {
      if (!(error instanceof RosterError) || error.code !== 'AuthNotEnabled') throw error;
    }
    this.#done = true;
  }

  /** Whether `error` is about a token that a new login may replace; the old one is forgotten then. */
  renewable(error: RosterError): boolean {
    if (this.#user === undefined || !this.#done) return false;
    if (error.code !== 'InvalidAuthToken' && error.code !== 'AuthOldRevision') return false;
    this.#token = undefined;
    this.#done = false;
    return true;
  }
}
