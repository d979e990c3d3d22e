/**
 * JSON web tokens (RFC 7519) in etcd's form: claims `username`, `revision` and `exp`, signed with a key that all members
 * share, so that none of them has to remember a token. One of an older auth revision is good for nothing.
 */
import type { KeyObject } from 'node:crypto';
import type { JWTPayload, JWTVerifyResult } from 'jose';
import { GrpcStatus, otherError, type RosterError } from '../../core/errors.ts';
import type { Identity, Tokens } from './tokens.ts';

/** Tokens whose signature need not be checked again. */
export const VERIFIED_MAX = 4096;

export interface JwtOptions {
  /** `RS256` and so on: the only one that is accepted. */
  readonly method: string;
  /** Undefined: tokens are only checked; somebody else makes them. */
  readonly signKey: KeyObject | undefined;
  readonly verifyKey: KeyObject;
  readonly ttlSeconds: number;
}

interface Verified {
  readonly identity: Identity;
  /** Seconds since 1970; Infinity when the token never expires. */
  readonly expires: number;
}

export class JwtTokens implements Tokens {
  readonly #options: JwtOptions;
  /** Oldest first. */
  readonly #verified = new Map<string, Verified>();

  constructor(options: JwtOptions) {
    this.#options = options;
  }

  identify(token: string, done: (identity: Identity | undefined) => void): void {
    const known = this.#verified.get(token);
    if (known !== undefined) {
      const valid = known.expires > nowSeconds();
      if (!valid) this.#verified.delete(token);
      done(valid ? known.identity : undefined);
      return;
    }
    void settle(this.#verify(token), (verified) =>
      done(verified instanceof Error ? undefined : this.#accept(token, verified.payload)),
    );
  }

  issue(user: string, revision: number, done: (token: string | RosterError) => void): void {
    const { signKey, ttlSeconds } = this.#options;
    if (signKey === undefined) {
      done(otherError(GrpcStatus.UNKNOWN, 'auth: token signing attempted with verify-only key'));
      return;
    }
    const claims = { username: user, revision, exp: nowSeconds() + ttlSeconds };
    void settle(this.#sign(claims, signKey), (token) => {
      if (token instanceof Error) done(otherError(GrpcStatus.INTERNAL, 'the token cannot be signed', { cause: token }));
      else done(token);
    });
  }

  start(): void {}

  close(): void {}

  async #verify(token: string): Promise<JWTVerifyResult> {
    const { jwtVerify } = await loadJose();
    return jwtVerify(token, this.#options.verifyKey, { algorithms: [this.#options.method] });
  }

  async #sign(claims: JWTPayload, key: KeyObject): Promise<string> {
    const { SignJWT } = await loadJose();
    return new SignJWT(claims).setProtectedHeader({ alg: this.#options.method, typ: 'JWT' }).sign(key);
  }

  /** Whoever else signs with the key may have put anything into the claims (etcd PR 15676). */
  #accept(token: string, { username, revision, exp }: JWTPayload): Identity | undefined {
    if (typeof username !== 'string' || username === '') return undefined;
    if (typeof revision !== 'number' || !Number.isSafeInteger(revision) || revision < 0) return undefined;
    const identity = { user: username, revision };
    if (this.#verified.size >= VERIFIED_MAX) {
      for (const oldest of this.#verified.keys()) {
        this.#verified.delete(oldest);
        break;
      }
    }
    this.#verified.set(token, { identity, expires: exp ?? Number.POSITIVE_INFINITY });
    return identity;
  }
}

/** Most members never see such a token: their start does without the library. */
const loadJose = () => import('jose');

/** Calls `done` with what the promise comes to. What `done` itself throws is a bug: nobody catches it. */
async function settle<T>(promise: Promise<T>, done: (result: T | Error) => void): Promise<void> {
  let result: T | Error;
  try {
    result = await promise;
  } catch (error) {
    result = error as Error;
  }
  done(result);
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
