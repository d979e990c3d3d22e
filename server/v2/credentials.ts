/**
 * Basic credentials, which v2 clients send with every request. Owns the memory of which have been found right lately: a
 * comparison takes a tenth of a second in the passwords' thread, so it is made once for a password, not once for a request.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { RosterError, rosterError } from '../../core/errors.ts';
import { bytesEqual } from '../../core/util/bytes.ts';
import type { RpcContext } from '../rpc/context.ts';

/** Credentials that are remembered; the one longest unused goes first. */
export const CREDENTIALS_REMEMBERED_MAX = 1000;

const BASIC = /^basic +([A-Za-z0-9+/=_-]+) *$/i;

export interface BasicCredentials {
  readonly user: string;
  readonly password: string;
}

/** Undefined: the header is no Basic one. */
export function readBasic(header: string | undefined): BasicCredentials | undefined {
  const match = header === undefined ? null : BASIC.exec(header);
  if (match === null) return undefined;
  const text = Buffer.from(match[1]!, 'base64').toString('utf8');
  const at = text.indexOf(':');
  return at < 0 ? undefined : { user: text.slice(0, at), password: text.slice(at + 1) };
}

export class CredentialCheck {
  readonly #context: Pick<RpcContext, 'machine' | 'node' | 'security'>;
  /** What was right, by a digest that tells nobody the password; and the hash that it was right for. */
  readonly #right = new Map<string, Uint8Array>();
  readonly #secret = randomBytes(32);

  constructor(context: Pick<RpcContext, 'machine' | 'node' | 'security'>) {
    this.#context = context;
  }

  /** Perhaps before it returns. AuthFailed when they are wrong; RequestTooManyRequests. */
  check(credentials: BasicCredentials, remote: string, done: (error?: RosterError) => void): void {
    const digest = this.#digest(credentials);
    const known = this.#right.get(digest);
    const stored = this.#storedHash(credentials.user);
    if (known !== undefined && stored !== undefined && bytesEqual(known, stored)) {
      // The last one used is the last to go.
      this.#right.delete(digest);
      this.#right.set(digest, known);
      done();
      return;
    }
    // This member may be behind: it must not refuse who has just got a password.
    this.#context.node.linearizableRead((error) => {
      if (error === undefined) this.#compare(credentials, digest, remote, done);
      else done(error);
    });
  }

  #compare(credentials: BasicCredentials, digest: string, remote: string, done: (error?: RosterError) => void): void {
    const { security } = this.#context;
    const { user, password } = credentials;
    if (!security.gate.enter(remote, user)) {
      done(rosterError('RequestTooManyRequests'));
      return;
    }
    const hash = this.#storedHash(user);
    security.passwords.compare(password, hash, (same) => {
      security.gate.leave(remote, user, same === false);
      if (same instanceof RosterError) return done(same);
      if (!same || hash === undefined) {
        security.onLoginFailed(user, remote);
        return done(rosterError('AuthFailed'));
      }
      this.#remember(digest, hash);
      done();
    });
  }

  #remember(digest: string, hash: Uint8Array): void {
    this.#right.delete(digest);
    if (this.#right.size >= CREDENTIALS_REMEMBERED_MAX) {
      for (const oldest of this.#right.keys()) {
        this.#right.delete(oldest);
        break;
      }
    }
    this.#right.set(digest, hash);
  }

  /** A user without a password logs in nowhere. */
  #storedHash(user: string): Uint8Array | undefined {
    const stored = this.#context.machine.auth.user(user)?.password;
    return stored === undefined || stored.length === 0 ? undefined : stored;
  }

  #digest({ user, password }: BasicCredentials): string {
    return createHmac('sha256', this.#secret).update(`${user.length}:${user}:${password}`).digest('base64');
  }
}
