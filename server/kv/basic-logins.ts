/**
 * `Authorization: Basic`: a password is exchanged for a token once, and the token used from then on, so that a request
 * costs no bcrypt. Owns which passwords have a token; keeps neither: a header is known by a keyed hash. The token itself
 * ends with the user's password, so nothing here outlives a change of it.
 */
import { createHmac, randomBytes } from 'node:crypto';

/** Credentials that are remembered; one more drives out the one used longest ago. */
export const LOGINS_MAX = 1000;

/** Exchanges a password for a token; rejects with a RosterError. */
export type Login = (name: string, password: string) => Promise<string>;

export class BasicLogins {
  readonly #secret = randomBytes(32);
  /** Used longest ago first. */
  readonly #tokens = new Map<string, Promise<string>>();
  readonly #loginsMax: number;

  constructor(loginsMax: number = LOGINS_MAX) {
    this.#loginsMax = loginsMax;
  }

  get size(): number {
    return this.#tokens.size;
  }

  /** The token for these credentials. Who asks while a login is under way waits for that one. Failures are not remembered. */
  async token(name: string, password: string, login: Login): Promise<string> {
    const id = this.#idOf(name, password);
    const known = this.#tokens.get(id);
    const token = known ?? login(name, password);
    this.#tokens.delete(id);
    this.#tokens.set(id, token);
    if (this.#tokens.size > this.#loginsMax) this.#forgetOldest();
    try {
      return await token;
    } catch (error) {
      if (this.#tokens.get(id) === token) this.#tokens.delete(id);
      throw error;
    }
  }

  /** The token for these credentials is good no more. */
  forget(name: string, password: string): void {
    this.#tokens.delete(this.#idOf(name, password));
  }

  #forgetOldest(): void {
    for (const oldest of this.#tokens.keys()) {
      this.#tokens.delete(oldest);
      return;
    }
  }

  #idOf(name: string, password: string): string {
    const hash = createHmac('sha256', this.#secret);
    return hash.update(`${Buffer.byteLength(name)}:${name}${password}`).digest('base64');
  }
}
