/**
 * etcdserverpb.Auth/Authenticate: a password for a token. Owns that it takes as long for users that do not exist, and that
 * the token is made only if the user's password is still the one that was checked.
 */
import { RosterError, rosterError } from '../../core/errors.ts';
import { bytesEqual } from '../../core/util/bytes.ts';
import * as m from '../../core/wire/messages.ts';
import { header, type RpcContext } from './context.ts';
import { type Method, type UnaryDone, unary } from './service.ts';

/** How often a token is asked for again because auth has changed since the password was checked. */
export const TOKEN_TRIES_MAX = 8;

export function authenticate(context: RpcContext): Method {
  const path = '/etcdserverpb.Auth/Authenticate';
  return unary(path, m.AuthenticateRequest, m.AuthenticateResponse, (call, { name, password }, done) =>
    context.node.linearizableRead((error) => {
      if (error === undefined) checkPassword(context, call.remote, name, password, done);
      else done(error);
    }),
  );
}

function checkPassword(
  context: RpcContext,
  remote: string,
  name: string,
  password: string,
  done: UnaryDone<m.AuthenticateResponse>,
): void {
  const { security, machine } = context;
  if (!machine.auth.enabled) {
    done(rosterError('AuthNotEnabled'));
    return;
  }
  if (!security.gate.enter(remote, name)) {
    done(rosterError('RequestTooManyRequests'));
    return;
  }
  // Without a password nobody logs in: etcd says so, and thereby who exists.
  const stored = machine.auth.user(name)?.password;
  const hash = stored === undefined || stored.length === 0 ? undefined : stored;
  security.passwords.compare(password, hash, (same) => {
    security.gate.leave(remote, name, same === false);
    if (same instanceof RosterError) return done(same);
    if (!same || hash === undefined) {
      security.onLoginFailed(name, remote);
      return done(rosterError('AuthFailed'));
    }
    issue(context, name, hash, TOKEN_TRIES_MAX, done);
  });
}

/** `hash` is the one that the password was found to be right for. */
function issue(
  context: RpcContext,
  name: string,
  hash: Uint8Array,
  tries: number,
  done: UnaryDone<m.AuthenticateResponse>,
): void {
  const { security, machine } = context;
  const { auth } = machine;
  if (!auth.enabled) {
    done(rosterError('AuthNotEnabled'));
    return;
  }
  const now = auth.user(name);
  if (now === undefined || !bytesEqual(now.password, hash)) {
    done(rosterError('AuthFailed'));
    return;
  }
  security.tokens.issue(name, auth.revision, (token) => {
    if (!(token instanceof RosterError)) done({ header: header(context, machine.store.revision), token });
    else if (token.code === 'AuthOldRevision' && tries > 1) issue(context, name, hash, tries - 1, done);
    else done(token);
  });
}
