/** /v2/auth/users (etcd: v2http.authHandler), by way of the Auth RPCs: each change of a user is an entry of its own. */
import { ROOT_ROLE } from '../../core/auth/permit.ts';
import { RosterError } from '../../core/errors.ts';
import type { AuthUserGetResponse, AuthUserListResponse } from '../../core/wire/messages.ts';
import { type Asked, HttpRefusal } from './admin.ts';
import { noSuchRole, patternsOfRole, type ShownRole, shownRole } from './roles.ts';

const AUTH = '/etcdserverpb.Auth/';
/** Who may everything, under this name alone. */
export const ROOT_USER = 'root';

type Outcome = Response | HttpRefusal | RosterError;

interface UserBody {
  readonly user: string;
  readonly password: string;
  readonly roles: readonly string[];
  readonly grant: readonly string[];
  readonly revoke: readonly string[];
}

export async function listUsers(asked: Asked): Promise<Outcome> {
  const listed = await asked.rpc<AuthUserListResponse>(`${AUTH}UserList`);
  if (listed instanceof RosterError) return listed;
  const users: object[] = [];
  for (const user of listed.users) {
    const roles = await rolesOf(asked, user);
    if (roles instanceof RosterError) return roles;
    if (roles !== undefined) users.push(await withRoles(asked, user, roles));
  }
  return asked.json({ users: users.length === 0 ? null : users });
}

export async function ofUser(asked: Asked, user: string): Promise<Outcome> {
  const roles = await rolesOf(asked, user);
  if (roles instanceof RosterError) return roles;
  if (asked.method === 'GET') {
    return roles === undefined ? noSuchUser(user) : asked.json(await withRoles(asked, user, roles));
  }
  return asked.method === 'PUT' ? put(asked, user, roles) : remove(asked, user, roles);
}

/** Names; undefined: there is no such user. */
async function rolesOf(asked: Asked, name: string): Promise<readonly string[] | undefined | RosterError> {
  const got = await asked.rpc<AuthUserGetResponse>(`${AUTH}UserGet`, { name });
  if (!(got instanceof RosterError)) return got.roles;
  return got.code === 'UserNotFound' ? undefined : got;
}

/** Roles that are gone meanwhile are left out. */
async function withRoles(asked: Asked, user: string, names: readonly string[]): Promise<object> {
  const roles: ShownRole[] = [];
  for (const name of names) {
    const patterns = await patternsOfRole(asked, name);
    if (patterns !== undefined && !(patterns instanceof RosterError)) roles.push(shownRole(name, patterns));
  }
  return roles.length === 0 ? { user } : { user, roles };
}

async function put(asked: Asked, user: string, known: readonly string[] | undefined): Promise<Outcome> {
  const body = readUser(await asked.body());
  if (body === undefined) return new HttpRefusal(400, 'Invalid JSON in request body.');
  if (body.user !== user) return new HttpRefusal(400, 'User JSON name does not match the name in the URL');
  const { roles, grant, revoke } = body;
  if (grant.length === 0 && revoke.length === 0) {
    if (known === undefined) return create(asked, body);
    if (roles.length > 0) return new HttpRefusal(409, `auth: User ${user} already exists.`);
  } else if (roles.length > 0) return new HttpRefusal(400, 'User JSON contains both roles and grant/revoke');
  return known === undefined ? noSuchUser(user) : update(asked, body, known);
}

async function create(asked: Asked, { user, password, roles }: UserBody): Promise<Outcome> {
  if (password === '') return new HttpRefusal(400, `auth: Cannot create user ${user} with an empty password`);
  const wanted = user === ROOT_USER ? [...new Set([...roles, ROOT_ROLE])] : roles;
  const missing = await firstMissing(asked, wanted);
  if (missing !== undefined) return missing;
  const added = await asked.rpc(`${AUTH}UserAdd`, { name: user, password, options: undefined, hashedPassword: '' });
  if (added instanceof RosterError) return added;
  const refusal = await grantAll(asked, user, wanted);
  if (refusal !== undefined) return refusal;
  // etcd answers 200 to a user that is made with roles.
  return asked.json({ user, roles: wanted.length === 0 ? null : wanted }, roles.length === 0 ? 201 : 200);
}

async function update(asked: Asked, body: UserBody, known: readonly string[]): Promise<Outcome> {
  const { user, password, grant, revoke } = body;
  const twice = grant.find((role) => known.includes(role));
  if (twice !== undefined) return new HttpRefusal(409, `auth: Granting duplicate role ${twice} for user ${user}`);
  const missing = await firstMissing(asked, grant);
  if (missing !== undefined) return missing;
  const revoked = revoke.filter((role) => known.includes(role));
  if (password === '' && grant.length === 0 && revoked.length === 0) {
    return new HttpRefusal(400, 'auth: User not updated. Use grant/revoke/password to update the user.');
  }
  if (password !== '') {
    const changed = await asked.rpc(`${AUTH}UserChangePassword`, { name: user, password, hashedPassword: '' });
    if (changed instanceof RosterError) return changed;
  }
  const refusal = await grantAll(asked, user, grant);
  if (refusal !== undefined) return refusal;
  for (const role of revoked) {
    const result = await asked.rpc(`${AUTH}UserRevokeRole`, { name: user, role });
    if (result instanceof RosterError) return result;
  }
  const roles = [...known.filter((role) => !revoked.includes(role)), ...grant];
  return asked.json({ user, roles });
}

async function remove(asked: Asked, user: string, known: readonly string[] | undefined): Promise<Outcome> {
  if (known === undefined) return new HttpRefusal(404, `auth: User ${user} does not exist`);
  const result = await asked.rpc(`${AUTH}UserDelete`, { name: user });
  if (result instanceof RosterError && result.code === 'InvalidAuthMgmt') {
    return new HttpRefusal(403, 'auth: Cannot delete root user while auth is enabled.');
  }
  return result instanceof RosterError ? result : asked.done();
}

/** A user of v3 may have a role that is not there; it would get what that role permits one day. */
async function firstMissing(asked: Asked, roles: readonly string[]): Promise<HttpRefusal | RosterError | undefined> {
  for (const role of roles) {
    const patterns = await patternsOfRole(asked, role);
    if (patterns instanceof RosterError) return patterns;
    if (patterns === undefined) return noSuchRole(role);
  }
  return undefined;
}

async function grantAll(asked: Asked, user: string, roles: readonly string[]): Promise<RosterError | undefined> {
  for (const role of roles) {
    if (role === ROOT_ROLE) {
      const made = await asked.rpc(`${AUTH}RoleAdd`, { name: ROOT_ROLE });
      if (made instanceof RosterError && made.code !== 'RoleAlreadyExist') return made;
    }
    const result = await asked.rpc(`${AUTH}UserGrantRole`, { user, role });
    if (result instanceof RosterError) return result;
  }
  return undefined;
}

function noSuchUser(user: string): HttpRefusal {
  return new HttpRefusal(404, `auth: User ${user} does not exist.`);
}

function readUser(body: Record<string, unknown> | undefined): UserBody | undefined {
  if (body === undefined) return undefined;
  const { user, password = '' } = body;
  const [roles, grant, revoke] = [body.roles, body.grant, body.revoke].map(names);
  if (typeof user !== 'string' || typeof password !== 'string') return undefined;
  if (roles === undefined || grant === undefined || revoke === undefined) return undefined;
  return { user, password, roles, grant, revoke };
}

function names(value: unknown): readonly string[] | undefined {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) && value.every((each) => typeof each === 'string') ? [...new Set(value)] : undefined;
}
