/** How users, roles, switch and revision of auth lie in the backend: etcd's buckets and names. Owns the form only. */
import { GrpcStatus, otherError, RosterError } from '../errors.ts';
import type { Backend } from '../mvcc/backend.ts';
import { type ByteString, utf8ToByteString } from '../util/bytes.ts';
import { decode, encode } from '../wire/binary.ts';
import { Role, User } from '../wire/messages.ts';
import type { MessageType } from '../wire/schema.ts';

const ENABLED = 'authEnabled';
const REVISION = 'authRevision';
/** etcd begins with it. */
const FIRST_REVISION = 1;

export interface AuthRecords {
  enabled: boolean;
  revision: number;
  users: User[];
  roles: Role[];
}

/** Throws a RosterError DATA_LOSS when a row is not what it should be. */
export function readRecords(backend: Backend): AuthRecords {
  const enabled = backend.get('auth', ENABLED);
  if (enabled !== undefined && enabled.length !== 1) throw damaged('whether auth is on');
  const users: User[] = [];
  backend.scan('authUsers', '', undefined, (key, value) => {
    users.push(readRow(User, key, value, 'a user'));
    return true;
  });
  const roles: Role[] = [];
  backend.scan('authRoles', '', undefined, (key, value) => {
    roles.push(readRow(Role, key, value, 'a role'));
    return true;
  });
  return { enabled: enabled?.[0] === 1, revision: readRevision(backend.get('auth', REVISION)), users, roles };
}

export function writeEnabled(backend: Backend, enabled: boolean): void {
  backend.put('auth', ENABLED, Uint8Array.of(enabled ? 1 : 0));
}

/** 8 bytes, big endian. */
export function writeRevision(backend: Backend, revision: number): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(revision));
  backend.put('auth', REVISION, bytes);
}

export function writeUser(backend: Backend, user: User): void {
  backend.put('authUsers', rowKey(user.name), encode(User, user));
}

export function writeRole(backend: Backend, role: Role): void {
  backend.put('authRoles', rowKey(role.name), encode(Role, role));
}

export function deleteUserRow(backend: Backend, name: string): void {
  backend.delete('authUsers', rowKey(name));
}

export function deleteRoleRow(backend: Backend, name: string): void {
  backend.delete('authRoles', rowKey(name));
}

export function rowKey(name: string): ByteString {
  return utf8ToByteString(name);
}

/** The order of names in etcd's answers: by their bytes in UTF-8. */
export function byName(a: string, b: string): number {
  const [x, y] = [rowKey(a), rowKey(b)];
  if (x === y) return 0;
  return x < y ? -1 : 1;
}

function readRow<T extends { name: string }>(
  type: MessageType<T>,
  key: ByteString,
  value: Uint8Array,
  what: string,
): T {
  try {
    const row = decode(type, value);
    if (rowKey(row.name) === key) return row;
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
  }
  throw damaged(what);
}

function readRevision(bytes: Uint8Array | undefined): number {
  if (bytes === undefined) return FIRST_REVISION;
  if (bytes.length === 8) {
    const revision = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0));
    if (Number.isSafeInteger(revision) && revision >= FIRST_REVISION) return revision;
  }
  throw damaged('the revision of auth');
}

function damaged(what: string): RosterError {
  return otherError(GrpcStatus.DATA_LOSS, `the store is damaged: ${what} cannot be read`);
}
