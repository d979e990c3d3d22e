/**
 * etcd's simple tokens: sixteen random letters and the number of the entry that made it. The cluster keeps them by their
 * hash, so that each is good on every member and over restarts. Owns the time they live: a token ends when it was used
 * nowhere for its time to live. Each member tells the others what is used on it, the leader ends what has run out.
 */
import { createHash, randomInt } from 'node:crypto';
import type { LoginResult } from '../../core/apply/auth-requests.ts';
import type { StateMachine } from '../../core/apply/state-machine.ts';
import type { LoginToken } from '../../core/auth/login-tokens.ts';
import { RosterError } from '../../core/errors.ts';
import type { Node } from '../../core/node/node.ts';
import { type ByteString, toByteString } from '../../core/util/bytes.ts';
import type { Identity, Tokens } from './tokens.ts';

/** etcd's default for --auth-token-ttl. */
export const SIMPLE_TOKEN_TTL_SECONDS = 300;
/** Tokens that one entry renews or ends. */
export const TOKENS_PER_ENTRY_MAX = 1000;
/** How often a member looks after its tokens. */
export const TOKEN_TICK_MS = 1000;
/** A token that is used here is reported to the others after this part of its time. */
const REPORT_PART = 1 / 4;
/** The leader ends a token this long after it was last reported, in times to live: nobody uses it any more by then. */
const END_PART = 3 / 2;

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
const SECRET_LETTERS = 16;
const TOKEN = /^([A-Za-z]{16})\.([1-9][0-9]{0,15})$/;

export interface SimpleTokensOptions {
  readonly node: Pick<Node, 'propose' | 'linearizableRead' | 'status'>;
  readonly machine: Pick<StateMachine, 'auth' | 'appliedIndex'>;
  readonly ttlSeconds: number;
  /** Monotonic. */
  readonly clock: { nowMs(): number };
}

/** What this member knows of a token by its own clock. */
interface Seen {
  /** The renewal that `reportedMs` is about. */
  renewed: number;
  /** When this member learned of it, or reported the token itself. */
  reportedMs: number;
  /** Last use here; 0: none since then. */
  usedMs: number;
}

export class SimpleTokens implements Tokens {
  readonly #options: SimpleTokensOptions;
  readonly #ttlMs: number;
  readonly #seen = new Map<ByteString, Seen>();
  #timer: NodeJS.Timeout | undefined;
  #ending = false;

  constructor(options: SimpleTokensOptions) {
    this.#options = options;
    this.#ttlMs = options.ttlSeconds * 1000;
  }

  identify(token: string, done: (identity: Identity | undefined) => void): void {
    const match = TOKEN.exec(token);
    if (match === null) {
      done(undefined);
      return;
    }
    const hash = hashOf(match[1]!);
    const index = Number(match[2]);
    const known = this.#use(hash, index);
    if (known !== undefined || index <= this.#options.machine.appliedIndex) {
      done(known);
      return;
    }
    // Made by another member, and this one may not have heard of it yet.
    this.#options.node.linearizableRead(() => done(this.#use(hash, index)));
  }

  issue(user: string, revision: number, done: (token: string | RosterError) => void): void {
    let secret = '';
    for (let i = 0; i < SECRET_LETTERS; i++) secret += LETTERS[randomInt(LETTERS.length)]!;
    const auth_login = { user, token_hash: hashOf(secret), auth_revision: revision };
    this.#options.node.propose({ auth_login }, (result) =>
      done(result instanceof RosterError ? result : `${secret}.${(result as LoginResult).index}`),
    );
  }

  start(): void {
    this.#timer = setInterval(() => this.tick(), TOKEN_TICK_MS);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Reports what is used here, and on the leader ends what has run out. */
  tick(): void {
    const { node, machine, clock } = this.#options;
    const { tokens } = machine.auth;
    this.#forgetGone(tokens.size);
    if (tokens.size === 0) return;
    const now = clock.nowMs();
    const used: ByteString[] = [];
    const over: ByteString[] = [];
    for (const token of tokens.all()) {
      const seen = this.#seenOf(token, now);
      if (seen.usedMs > 0 && now - seen.reportedMs >= this.#ttlMs * REPORT_PART) {
        if (used.length < TOKENS_PER_ENTRY_MAX) used.push(token.hash);
      } else if (now - lastUse(seen) >= this.#ttlMs * END_PART && over.length < TOKENS_PER_ENTRY_MAX) {
        over.push(token.hash);
      }
    }
    if (used.length > 0) this.#report(used, now);
    if (over.length === 0 || this.#ending || !node.status().isLeader) return;
    this.#ending = true;
    node.propose({ auth_tokens_end: { hashes: over } }, () => {
      this.#ending = false;
    });
  }

  /** If it gets lost, the next quarter's use is reported. */
  #report(hashes: ByteString[], now: number): void {
    for (const hash of hashes) {
      const seen = this.#seen.get(hash)!;
      seen.reportedMs = now;
      seen.usedMs = 0;
    }
    this.#options.node.propose({ auth_tokens_renew: { hashes } }, () => {});
  }

  #use(hash: ByteString, index: number): Identity | undefined {
    const token = this.#options.machine.auth.tokens.get(hash);
    if (token === undefined || token.index !== index) return undefined;
    const now = this.#options.clock.nowMs();
    const seen = this.#seenOf(token, now);
    if (now - lastUse(seen) >= this.#ttlMs) return undefined;
    seen.usedMs = now;
    return { user: token.user, revision: undefined };
  }

  #seenOf({ hash, renewed }: LoginToken, now: number): Seen {
    let seen = this.#seen.get(hash);
    if (seen === undefined) {
      seen = { renewed, reportedMs: now, usedMs: 0 };
      this.#seen.set(hash, seen);
    } else if (seen.renewed !== renewed) {
      seen.renewed = renewed;
      seen.reportedMs = now;
    }
    return seen;
  }

  #forgetGone(size: number): void {
    if (this.#seen.size <= size) return;
    for (const hash of this.#seen.keys()) {
      if (this.#options.machine.auth.tokens.get(hash) === undefined) this.#seen.delete(hash);
    }
  }
}

function lastUse({ reportedMs, usedMs }: Seen): number {
  return Math.max(reportedMs, usedMs);
}

/** Of the secret part: neither the log nor the store nor a backup of it holds a token that could be used. */
function hashOf(secret: string): ByteString {
  return toByteString(createHash('sha256').update(secret).digest());
}
