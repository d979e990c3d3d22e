/** Entries that concern users, roles and tokens, applied to the auth store; each yields the response of its RPC. */
import type { AuthStore, Refusal } from '../auth/auth-store.ts';
import { type RosterError, rosterError } from '../errors.ts';
import type { ResponseHeader } from '../wire/messages.ts';
import type { InternalRequest, Login } from '../wire/stored.ts';
import { headerAt } from './header.ts';

interface Answered {
  header: ResponseHeader;
}

/** What {@link Login} comes to: the number that is part of the token. */
export interface LoginResult extends Answered {
  index: number;
}

/** Entry `index`; `revision` is the store's, for the header. `undefined`: it does not concern auth. */
export function applyAuthRequest(
  auth: AuthStore,
  request: InternalRequest,
  index: number,
  revision: number,
): Answered | RosterError | undefined {
  const answer = (refusal: Refusal) => refusal ?? { header: headerAt(revision) };
  if (request.auth_login !== undefined) return login(auth, request.auth_login, index, revision);
  if (request.auth_tokens_renew !== undefined) {
    auth.tokens.renew(request.auth_tokens_renew.hashes, index);
    return answer(undefined);
  }
  if (request.auth_tokens_end !== undefined) {
    auth.tokens.end(request.auth_tokens_end.hashes);
    return answer(undefined);
  }
  const change = changeOf(auth, request);
  return change === undefined ? undefined : answer(change());
}

/** The password was checked as of a revision: if users or roles have changed since, it must be looked at again. */
function login(
  auth: AuthStore,
  { user, token_hash, auth_revision }: Login,
  index: number,
  revision: number,
): LoginResult | RosterError {
  if (!auth.enabled) return rosterError('AuthNotEnabled');
  if (auth_revision !== auth.revision) return rosterError('AuthOldRevision');
  if (auth.user(user) === undefined) return rosterError('AuthFailed');
  auth.tokens.add(token_hash, user, index);
  return { header: headerAt(revision), index };
}

function changeOf(auth: AuthStore, request: InternalRequest): (() => Refusal) | undefined {
  const { auth_user_add, auth_user_change_password, auth_user_grant_role, auth_user_revoke_role } = request;
  const { auth_role_grant_permission: grant, auth_role_revoke_permission: revoke } = request;
  if (request.auth_enable !== undefined) return () => auth.enable();
  if (request.auth_disable !== undefined) return () => auth.disable();
  if (auth_user_add !== undefined) return () => auth.addUser(auth_user_add);
  if (request.auth_user_delete !== undefined) return () => auth.deleteUser(request.auth_user_delete!.name);
  if (auth_user_change_password !== undefined) return () => auth.changePassword(auth_user_change_password);
  if (auth_user_grant_role !== undefined)
    return () => auth.grantRole(auth_user_grant_role.user, auth_user_grant_role.role);
  if (auth_user_revoke_role !== undefined)
    return () => auth.revokeRole(auth_user_revoke_role.name, auth_user_revoke_role.role);
  if (request.auth_role_add !== undefined) return () => auth.addRole(request.auth_role_add!.name);
  if (request.auth_role_delete !== undefined) return () => auth.deleteRole(request.auth_role_delete!.role);
  if (grant !== undefined) return () => auth.grantPermission(grant.name, grant.perm);
  if (revoke !== undefined) return () => auth.revokePermission(revoke.role, revoke.key, revoke.range_end);
  return undefined;
}
