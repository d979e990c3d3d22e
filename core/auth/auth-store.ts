/**
 * Users, roles and whether auth is on, by etcd's rules (server/auth/store.go), the same on every replica. Owns their rows
 * in the backend and the auth revision, which counts the changes. Knows passwords as hashes only, and never who is
 * asking: that is needs.ts.
 */
import { GrpcStatus, otherError, type RosterError, rosterError } from '../errors.ts';
import { BACKEND_KEY_BYTES_MAX, type Backend } from '../mvcc/backend.ts';
import { type ByteString, utf8Length } from '../util/bytes.ts';
import type { Permission, Role, User } from '../wire/messages.ts';
import type { UserCredentials } from '../wire/stored.ts';
import { LoginTokens } from './login-tokens.ts';
import { Permit, ROOT_ROLE } from './permit.ts';
import { keyRange } from './ranges.ts';
import {
  byName,
  deleteRoleRow,
  deleteUserRow,
  readRecords,
  writeEnabled,
  writeRevision,
  writeRole,
  writeUser,
} from './records.ts';

/** Must be there, with the role of that name, for auth to be on. */
export const ROOT_USER = 'root';
/** Longest name of a user or a role, in UTF-8: it is a key of the backend. */
export const AUTH_NAME_BYTES_MAX = BACKEND_KEY_BYTES_MAX;

/** What a change comes to: undefined when it has happened, else why nothing has. */
export type Refusal = RosterError | undefined;

export class AuthStore {
  /** Called after every change of users, roles or the switch, and after {@link restore}. Must not write to the store. */
  onChange: (() => void) | undefined;
  readonly tokens: LoginTokens;
  #backend: Backend;
  #enabled = false;
  #revision = 1;
  /** The records are immutable: a change makes new ones. */
  #users = new Map<string, User>();
  #roles = new Map<string, Role>();
  /** Of the present revision, made when first asked for. */
  readonly #permits = new Map<string, Permit>();

  /** Empty, whatever the backend holds: see {@link restore}. */
  constructor(backend: Backend) {
    this.#backend = backend;
    this.tokens = new LoginTokens(backend);
  }

  /**
   * Reads everything from `backend`, in which it lies from now on: at start, and when a snapshot has taken the backend's
   * place (etcd #14571). Throws a RosterError DATA_LOSS when a row is not what it should be.
   */
  restore(backend: Backend = this.#backend): void {
    const { enabled, revision, users, roles } = readRecords(backend);
    this.tokens.restore(backend);
    this.#backend = backend;
    this.#enabled = enabled;
    this.#revision = revision;
    this.#users = new Map(users.map((user) => [user.name, user]));
    this.#roles = new Map(roles.map((role) => [role.name, role]));
    this.#permits.clear();
    this.onChange?.();
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** 1 in the beginning, 1 more after every change of users or roles and when auth is turned off. */
  get revision(): number {
    return this.#revision;
  }

  user(name: string): User | undefined {
    return this.#users.get(name);
  }

  role(name: string): Role | undefined {
    return this.#roles.get(name);
  }

  /** By their bytes. */
  userNames(): string[] {
    return [...this.#users.keys()].sort(byName);
  }

  roleNames(): string[] {
    return [...this.#roles.keys()].sort(byName);
  }

  /** What `name` may do now; undefined: there is no such user. */
  permit(name: string): Permit | undefined {
    const known = this.#permits.get(name);
    if (known !== undefined) return known;
    const user = this.#users.get(name);
    if (user === undefined) return undefined;
    const roles = user.roles.map((role) => this.#roles.get(role)).filter((role) => role !== undefined);
    const permit = new Permit(name, user.roles, roles);
    this.#permits.set(name, permit);
    return permit;
  }

  // ---- the switch

  enable(): Refusal {
    if (this.#enabled) return undefined;
    const root = this.#users.get(ROOT_USER);
    if (root === undefined) return rosterError('RootUserNotExist');
    if (!root.roles.includes(ROOT_ROLE)) return rosterError('RootRoleNotExist');
    this.#switch(true);
    // As with etcd, this alone is no change of revision.
    this.onChange?.();
    return undefined;
  }

  /** All tokens end with it. */
  disable(): Refusal {
    if (!this.#enabled) return undefined;
    this.#switch(false);
    this.tokens.endAll();
    this.#changed();
    return undefined;
  }

  #switch(enabled: boolean): void {
    this.#enabled = enabled;
    writeEnabled(this.#backend, enabled);
  }

  // ---- users

  addUser({ name, password_hash, no_password }: UserCredentials): Refusal {
    if (name === '') return rosterError('UserEmpty');
    if (this.#users.has(name)) return rosterError('UserAlreadyExist');
    if (utf8Length(name) > AUTH_NAME_BYTES_MAX) return nameTooLong('user');
    const password = no_password ? new Uint8Array(0) : password_hash;
    this.#putUser({ name, password, roles: [], options: { no_password } });
    this.#changed();
    return undefined;
  }

  deleteUser(name: string): Refusal {
    if (this.#enabled && name === ROOT_USER) return rosterError('InvalidAuthMgmt');
    if (!this.#users.delete(name)) return rosterError('UserNotFound');
    deleteUserRow(this.#backend, name);
    this.tokens.endOf(name);
    this.#changed();
    return undefined;
  }

  /** A user without a password stays one. */
  changePassword({ name, password_hash }: UserCredentials): Refusal {
    const user = this.#users.get(name);
    if (user === undefined) return rosterError('UserNotFound');
    const password = user.options?.no_password === true ? new Uint8Array(0) : password_hash;
    this.#putUser({ ...user, password });
    this.tokens.endOf(name);
    this.#changed();
    return undefined;
  }

  /** Granting it again changes nothing. The root role need not exist. */
  grantRole(name: string, role: string): Refusal {
    const user = this.#users.get(name);
    if (user === undefined) return rosterError('UserNotFound');
    if (role !== ROOT_ROLE && !this.#roles.has(role)) return rosterError('RoleNotFound');
    if (user.roles.includes(role)) return undefined;
    this.#putUser({ ...user, roles: [...user.roles, role].sort(byName) });
    this.#changed();
    return undefined;
  }

  revokeRole(name: string, role: string): Refusal {
    if (this.#enabled && name === ROOT_USER && role === ROOT_ROLE) return rosterError('InvalidAuthMgmt');
    const user = this.#users.get(name);
    if (user === undefined) return rosterError('UserNotFound');
    if (!user.roles.includes(role)) return rosterError('RoleNotGranted');
    this.#putUser({ ...user, roles: user.roles.filter((other) => other !== role) });
    this.#changed();
    return undefined;
  }

  // ---- roles

  addRole(name: string): Refusal {
    if (name === '') return rosterError('RoleEmpty');
    if (this.#roles.has(name)) return rosterError('RoleAlreadyExist');
    if (utf8Length(name) > AUTH_NAME_BYTES_MAX) return nameTooLong('role');
    this.#putRole({ name, keyPermission: [] });
    this.#changed();
    return undefined;
  }

  /** It is taken from all users, too. */
  deleteRole(name: string): Refusal {
    if (this.#enabled && name === ROOT_ROLE) return rosterError('InvalidAuthMgmt');
    if (!this.#roles.delete(name)) return rosterError('RoleNotFound');
    deleteRoleRow(this.#backend, name);
    for (const user of this.#users.values()) {
      if (user.roles.includes(name)) this.#putUser({ ...user, roles: user.roles.filter((role) => role !== name) });
    }
    this.#changed();
    return undefined;
  }

  /** The same key and end as one that is there: its type is changed. */
  grantPermission(name: string, permission: Permission | undefined): Refusal {
    if (permission === undefined) return rosterError('PermissionNotGiven');
    const { key, range_end } = permission;
    if (key === '' || keyRange(key, range_end) === undefined) return rosterError('InvalidAuthMgmt');
    const role = this.#roles.get(name);
    if (role === undefined) return rosterError('RoleNotFound');
    const keyPermission = [...role.keyPermission];
    const at = keyPermission.findIndex((each) => each.key === key && each.range_end === range_end);
    if (at >= 0) keyPermission[at] = permission;
    else keyPermission.push(permission);
    keyPermission.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    this.#putRole({ name, keyPermission });
    this.#changed();
    return undefined;
  }

  /** Of exactly this key and end. */
  revokePermission(name: string, key: ByteString, rangeEnd: ByteString): Refusal {
    const role = this.#roles.get(name);
    if (role === undefined) return rosterError('RoleNotFound');
    const keyPermission = role.keyPermission.filter((each) => each.key !== key || each.range_end !== rangeEnd);
    if (keyPermission.length === role.keyPermission.length) return rosterError('PermissionNotGranted');
    this.#putRole({ name, keyPermission });
    this.#changed();
    return undefined;
  }

  // ---- inner

  #putUser(user: User): void {
    this.#users.set(user.name, user);
    writeUser(this.#backend, user);
  }

  #putRole(role: Role): void {
    this.#roles.set(role.name, role);
    writeRole(this.#backend, role);
  }

  #changed(): void {
    this.#revision++;
    writeRevision(this.#backend, this.#revision);
    this.#permits.clear();
    this.onChange?.();
  }
}

function nameTooLong(what: 'user' | 'role'): RosterError {
  return otherError(
    GrpcStatus.INVALID_ARGUMENT,
    `etcdserver: the name of a ${what} is longer than ${AUTH_NAME_BYTES_MAX} bytes`,
  );
}
