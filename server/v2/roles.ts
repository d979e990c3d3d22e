/** /v2/auth/roles (etcd: v2http.authHandler), by way of the Auth RPCs: each change of a role is an entry of its own. */

import { ROOT_ROLE } from '../../core/auth/permit.ts';
import { RosterError } from '../../core/errors.ts';
import type { AuthRoleGetResponse, AuthRoleListResponse } from '../../core/wire/messages.ts';
import { type Asked, HttpRefusal } from './admin.ts';
import { NO_PATTERNS, type Patterns, patternsOf, ROOT_PATTERNS, rangeOf, typeOf } from './patterns.ts';

const AUTH = '/etcdserverpb.Auth/';

export interface ShownRole {
  readonly role: string;
  readonly permissions: {
    readonly kv: { readonly read: readonly string[] | null; readonly write: readonly string[] | null };
  };
}

type Outcome = Response | HttpRefusal | RosterError;

export function shownRole(role: string, { read, write }: Patterns): ShownRole {
  const orNull = (list: readonly string[]) => (list.length === 0 ? null : list);
  return { role, permissions: { kv: { read: orNull(read), write: orNull(write) } } };
}

/** What the role permits; undefined: there is none. The root role always is there. */
export async function patternsOfRole(asked: Asked, role: string): Promise<Patterns | undefined | RosterError> {
  if (role === ROOT_ROLE) return ROOT_PATTERNS;
  const got = await asked.rpc<AuthRoleGetResponse>(`${AUTH}RoleGet`, { role });
  if (!(got instanceof RosterError)) return patternsOf(got.perm);
  return got.code === 'RoleNotFound' ? undefined : got;
}

export async function listRoles(asked: Asked): Promise<Outcome> {
  const listed = await asked.rpc<AuthRoleListResponse>(`${AUTH}RoleList`);
  if (listed instanceof RosterError) return listed;
  const roles: ShownRole[] = [];
  for (const name of [...new Set([...listed.roles, ROOT_ROLE])].sort()) {
    const patterns = await patternsOfRole(asked, name);
    if (patterns instanceof RosterError) return patterns;
    if (patterns !== undefined) roles.push(shownRole(name, patterns));
  }
  return asked.json({ roles });
}

export async function ofRole(asked: Asked, role: string): Promise<Outcome> {
  const known = await patternsOfRole(asked, role);
  if (known instanceof RosterError) return known;
  if (asked.method === 'GET') {
    return known === undefined ? noSuchRole(role) : asked.json(shownRole(role, known));
  }
  return asked.method === 'PUT' ? put(asked, role, known) : remove(asked, role, known);
}

async function put(asked: Asked, role: string, known: Patterns | undefined): Promise<Outcome> {
  const body = await asked.body();
  if (body === undefined) return new HttpRefusal(400, 'Invalid JSON in request body.');
  if (body.role !== role) return new HttpRefusal(400, 'Role JSON name does not match the name in the URL');
  const [given, grant, revoke] = [body.permissions, body.grant, body.revoke].map(readPatterns);
  if (given === undefined || grant === undefined || revoke === undefined) {
    return new HttpRefusal(400, 'a pattern must begin with /: write /a for a key, /a* for all that begin so');
  }
  if (isEmpty(grant) && isEmpty(revoke)) return create(asked, role, known, given);
  if (!isEmpty(given)) return new HttpRefusal(400, 'Role JSON contains both permissions and grant/revoke');
  return update(asked, role, known, grant, revoke);
}

async function create(asked: Asked, role: string, known: Patterns | undefined, given: Patterns): Promise<Outcome> {
  if (role === ROOT_ROLE) return rootRole();
  if (known !== undefined) return new HttpRefusal(409, `auth: Role ${role} already exists.`);
  const added = await asked.rpc(`${AUTH}RoleAdd`, { name: role });
  if (added instanceof RosterError) return added;
  const refusal = await change(asked, role, NO_PATTERNS, given);
  return refusal ?? asked.json(shownRole(role, given), 201);
}

async function update(
  asked: Asked,
  role: string,
  known: Patterns | undefined,
  grant: Patterns,
  revoke: Patterns,
): Promise<Outcome> {
  if (role === ROOT_ROLE) return rootRole();
  if (known === undefined) return noSuchRole(role);
  for (const kind of ['read', 'write'] as const) {
    const twice = grant[kind].find((pattern) => known[kind].includes(pattern));
    if (twice !== undefined) return new HttpRefusal(409, `auth: Granting duplicate ${kind} permission ${twice}`);
  }
  const merged = {
    read: merge(known.read, grant.read, revoke.read),
    write: merge(known.write, grant.write, revoke.write),
  };
  if (merged.read.join() === known.read.join() && merged.write.join() === known.write.join()) {
    return new HttpRefusal(400, 'auth: Role not updated. Use grant/revoke to update the role.');
  }
  const refusal = await change(asked, role, known, merged);
  return refusal ?? asked.json(shownRole(role, merged));
}

/** Makes of `from` what is in `to`, pattern by pattern. */
async function change(asked: Asked, role: string, from: Patterns, to: Patterns): Promise<RosterError | undefined> {
  for (const pattern of new Set([...from.read, ...from.write, ...to.read, ...to.write])) {
    const permType = typeOf(pattern, to);
    if (permType === typeOf(pattern, from)) continue;
    const range = rangeOf(pattern)!;
    const result =
      permType === undefined
        ? await asked.rpc(`${AUTH}RoleRevokePermission`, { role, ...range })
        : await asked.rpc(`${AUTH}RoleGrantPermission`, { name: role, perm: { permType, ...range } });
    if (result instanceof RosterError) return result;
  }
  return undefined;
}

async function remove(asked: Asked, role: string, known: Patterns | undefined): Promise<Outcome> {
  if (role === ROOT_ROLE) return rootRole();
  if (known === undefined) return new HttpRefusal(404, `auth: Role ${role} doesn't exist.`);
  const result = await asked.rpc(`${AUTH}RoleDelete`, { role });
  return result instanceof RosterError ? result : asked.done();
}

function merge(known: readonly string[], grant: readonly string[], revoke: readonly string[]): string[] {
  return [...new Set([...known, ...grant])].filter((pattern) => !revoke.includes(pattern)).sort();
}

function rootRole(): HttpRefusal {
  return new HttpRefusal(403, 'auth: Cannot modify role root: is root role.');
}

export function noSuchRole(role: string): HttpRefusal {
  return new HttpRefusal(404, `auth: Role ${role} does not exist.`);
}

function isEmpty({ read, write }: Patterns): boolean {
  return read.length === 0 && write.length === 0;
}

/** `{"kv":{"read":[],"write":[]}}`; undefined: it holds something that is no pattern. */
function readPatterns(value: unknown): Patterns | undefined {
  const kv = (value as { kv?: { read?: unknown; write?: unknown } } | undefined)?.kv;
  const read = readList(kv?.read);
  const write = readList(kv?.write);
  return read === undefined || write === undefined ? undefined : { read, write };
}

function readList(value: unknown): string[] | undefined {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || !value.every((each) => typeof each === 'string' && rangeOf(each) !== undefined)) {
    return undefined;
  }
  return [...new Set(value as string[])].map((each) => (each === '*' ? '/*' : each)).sort();
}
