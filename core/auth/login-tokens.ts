/**
 * The tokens that were given out for a password, as the cluster knows them: on every member, over restarts, in
 * snapshots. Owns their rows in the bucket `auth`; knows a token by its SHA-256 only. Has no clock: what ends a token is an
 * entry of the log, a change of its user, or the bound on their number.
 */
import { GrpcStatus, otherError, RosterError } from '../errors.ts';
import type { Backend } from '../mvcc/backend.ts';
import type { ByteString } from '../util/bytes.ts';
import { decode, encode } from '../wire/binary.ts';
import { StoredToken } from '../wire/stored.ts';

/** Tokens of all users; one more ends the one that was renewed longest ago. */
export const LOGIN_TOKENS_MAX = 20_000;
/** Tokens of one user, so that nobody drives out the others'. */
export const LOGIN_TOKENS_PER_USER_MAX = 2_000;
/** Length of a token's hash. */
export const TOKEN_HASH_BYTES = 32;

const PREFIX = 'token/';
const PREFIX_END = 'token0';

export interface LoginToken extends Readonly<StoredToken> {
  readonly hash: ByteString;
}

export interface LoginTokensLimits {
  total: number;
  perUser: number;
}

const LIMITS: LoginTokensLimits = { total: LOGIN_TOKENS_MAX, perUser: LOGIN_TOKENS_PER_USER_MAX };

export class LoginTokens {
  readonly #limits: LoginTokensLimits;
  #backend: Backend;
  /** Both in the order of renewal, longest ago first. */
  readonly #byHash = new Map<ByteString, LoginToken>();
  readonly #byUser = new Map<string, Map<ByteString, LoginToken>>();

  constructor(backend: Backend, limits: LoginTokensLimits = LIMITS) {
    this.#backend = backend;
    this.#limits = limits;
  }

  /** Reads all tokens from `backend`, where they lie from now on. Throws a RosterError DATA_LOSS. */
  restore(backend: Backend): void {
    const tokens: LoginToken[] = [];
    backend.scan('auth', PREFIX, PREFIX_END, (key, value) => {
      tokens.push(readToken(key.slice(PREFIX.length), value));
      return true;
    });
    tokens.sort((a, b) => a.renewed - b.renewed || a.place - b.place);
    this.#backend = backend;
    this.#byHash.clear();
    this.#byUser.clear();
    for (const token of tokens) this.#keep(token);
  }

  get size(): number {
    return this.#byHash.size;
  }

  get(hash: ByteString): LoginToken | undefined {
    return this.#byHash.get(hash);
  }

  /** Longest unrenewed first. Must not be changed meanwhile. */
  all(): Iterable<LoginToken> {
    return this.#byHash.values();
  }

  // ---- changes, in the order of the log; `index` is the entry's

  add(hash: ByteString, user: string, index: number): void {
    this.#remove(hash);
    this.#put({ hash, user, index, renewed: index, place: 0 });
    const ofUser = this.#byUser.get(user)!;
    if (ofUser.size > this.#limits.perUser) this.#removeFirst(ofUser);
    if (this.#byHash.size > this.#limits.total) this.#removeFirst(this.#byHash);
  }

  /** They have been used. Those that are gone stay so. */
  renew(hashes: readonly ByteString[], index: number): void {
    let place = 0;
    for (const hash of hashes) {
      const token = this.#byHash.get(hash);
      if (token === undefined) continue;
      this.#remove(hash);
      this.#put({ ...token, renewed: index, place: place++ });
    }
  }

  end(hashes: readonly ByteString[]): void {
    for (const hash of hashes) this.#remove(hash);
  }

  endOf(user: string): void {
    const tokens = this.#byUser.get(user);
    if (tokens !== undefined) this.end([...tokens.keys()]);
  }

  endAll(): void {
    this.end([...this.#byHash.keys()]);
  }

  // ---- inner

  #put(token: LoginToken): void {
    const { hash, user, index, renewed, place } = token;
    this.#keep(token);
    this.#backend.put('auth', PREFIX + hash, encode(StoredToken, { user, index, renewed, place }));
  }

  #keep(token: LoginToken): void {
    this.#byHash.set(token.hash, token);
    const ofUser = this.#byUser.get(token.user);
    if (ofUser === undefined) this.#byUser.set(token.user, new Map([[token.hash, token]]));
    else ofUser.set(token.hash, token);
  }

  #removeFirst(tokens: ReadonlyMap<ByteString, LoginToken>): void {
    for (const hash of tokens.keys()) {
      this.#remove(hash);
      return;
    }
  }

  #remove(hash: ByteString): void {
    const token = this.#byHash.get(hash);
    if (token === undefined) return;
    this.#byHash.delete(hash);
    const ofUser = this.#byUser.get(token.user)!;
    ofUser.delete(hash);
    if (ofUser.size === 0) this.#byUser.delete(token.user);
    this.#backend.delete('auth', PREFIX + hash);
  }
}

function readToken(hash: ByteString, value: Uint8Array): LoginToken {
  try {
    if (hash.length === TOKEN_HASH_BYTES) return { hash, ...decode(StoredToken, value) };
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
  }
  throw otherError(GrpcStatus.DATA_LOSS, 'the store is damaged: a token is not one');
}
