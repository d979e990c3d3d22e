import { describe, expect, it } from 'vitest';
import { AUTH_NAME_BYTES_MAX, AuthStore } from '../../core/auth/auth-store.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import type { UserCredentials } from '../../core/wire/stored.ts';
import { bytes, codeOf, text } from '../apply/harness.ts';

const { READ, READWRITE, WRITE } = { READ: 0, WRITE: 1, READWRITE: 2 };
const credentials = (name: string, password = 'hash', no_password = false): UserCredentials => ({
  name,
  password_hash: bytes(password),
  no_password,
});

function fresh() {
  const backend = new MemoryBackend((task) => task());
  const auth = new AuthStore(backend);
  auth.restore();
  return { backend, auth };
}

/** A store with root, role r with `a`..`c`, user u with it; auth is on. */
function ready() {
  const all = fresh();
  const { auth } = all;
  auth.addUser(credentials('root'));
  auth.addRole('root');
  auth.grantRole('root', 'root');
  auth.addUser(credentials('u'));
  auth.addRole('r');
  auth.grantPermission('r', { permType: READWRITE, key: 'a', range_end: 'c' });
  auth.grantRole('u', 'r');
  expect(auth.enable()).toBeUndefined();
  return all;
}

describe('the switch', () => {
  it('needs the user root with the role root', () => {
    const { auth } = fresh();
    expect(codeOf(auth.enable())).toBe('RootUserNotExist');
    auth.addUser(credentials('root'));
    expect(codeOf(auth.enable())).toBe('RootRoleNotExist');
    expect(auth.grantRole('root', 'root'), 'granted without being there').toBeUndefined();
    const { revision } = auth;
    expect(auth.enable()).toBeUndefined();
    expect([auth.enabled, auth.revision]).toEqual([true, revision]);
    expect(auth.enable(), 'again').toBeUndefined();
    auth.disable();
    expect([auth.enabled, auth.revision]).toEqual([false, revision + 1]);
    auth.disable();
    expect(auth.revision).toBe(revision + 1);
  });

  it('guards root while it is on', () => {
    const { auth } = ready();
    expect(codeOf(auth.deleteUser('root'))).toBe('InvalidAuthMgmt');
    expect(codeOf(auth.deleteRole('root'))).toBe('InvalidAuthMgmt');
    expect(codeOf(auth.revokeRole('root', 'root'))).toBe('InvalidAuthMgmt');
    auth.disable();
    expect(auth.revokeRole('root', 'root')).toBeUndefined();
    expect(auth.deleteUser('root')).toBeUndefined();
    expect(auth.deleteRole('root')).toBeUndefined();
  });
});

describe('users', () => {
  it('are refused as etcd refuses them', () => {
    const { auth } = fresh();
    const before = auth.revision;
    expect(before).toBe(1);
    expect(codeOf(auth.addUser(credentials('')))).toBe('UserEmpty');
    expect(codeOf(auth.deleteUser('u'))).toBe('UserNotFound');
    expect(codeOf(auth.changePassword(credentials('u')))).toBe('UserNotFound');
    expect(codeOf(auth.grantRole('u', 'r'))).toBe('UserNotFound');
    expect(codeOf(auth.revokeRole('u', 'r'))).toBe('UserNotFound');
    expect(auth.revision, 'nothing has happened').toBe(before);
    auth.addUser(credentials('u'));
    expect(codeOf(auth.addUser(credentials('u')))).toBe('UserAlreadyExist');
    expect(codeOf(auth.grantRole('u', 'r'))).toBe('RoleNotFound');
    expect(codeOf(auth.revokeRole('u', 'r'))).toBe('RoleNotGranted');
    expect(auth.revision).toBe(before + 1);
  });

  it('hold roles in order, each once', () => {
    const { auth } = fresh();
    for (const role of ['b', 'a', '\u{10000}', '\uffff']) auth.addRole(role);
    auth.addUser(credentials('u'));
    for (const role of ['b', '\u{10000}', '\uffff', 'a']) auth.grantRole('u', role);
    const { revision } = auth;
    expect(auth.grantRole('u', 'a')).toBeUndefined();
    expect(auth.revision, 'granted twice').toBe(revision);
    expect(auth.user('u')?.roles, 'by their bytes').toEqual(['a', 'b', '\uffff', '\u{10000}']);
    auth.deleteRole('b');
    expect(auth.user('u')?.roles).toEqual(['a', '\uffff', '\u{10000}']);
    expect(auth.roleNames()).toEqual(['a', '\uffff', '\u{10000}']);
  });

  it('without a password never get one', () => {
    const { auth } = fresh();
    auth.addUser(credentials('u', 'ignored', true));
    auth.changePassword(credentials('u', 'new'));
    expect(auth.user('u')?.password).toHaveLength(0);
    expect(auth.user('u')?.options?.no_password).toBe(true);
    auth.addUser(credentials('v', 'old'));
    auth.changePassword(credentials('v', 'new'));
    expect(text(auth.user('v')!.password)).toBe('new');
  });

  it('have names that fit a key of the backend', () => {
    const { auth } = fresh();
    expect(auth.addUser(credentials('ü'.repeat(AUTH_NAME_BYTES_MAX / 2)))).toBeUndefined();
    expect(codeOf(auth.addUser(credentials(`${'ü'.repeat(AUTH_NAME_BYTES_MAX / 2)}x`)))).toBe('Other');
    expect(auth.addRole('x'.repeat(AUTH_NAME_BYTES_MAX))).toBeUndefined();
    expect(codeOf(auth.addRole('x'.repeat(AUTH_NAME_BYTES_MAX + 1)))).toBe('Other');
  });
});

describe('roles', () => {
  it('are refused as etcd refuses them', () => {
    const { auth } = fresh();
    expect(codeOf(auth.addRole(''))).toBe('RoleEmpty');
    expect(codeOf(auth.deleteRole('r'))).toBe('RoleNotFound');
    expect(codeOf(auth.grantPermission('r', undefined))).toBe('PermissionNotGiven');
    const grant = (key: string, range_end = '') =>
      codeOf(auth.grantPermission('r', { permType: READ, key, range_end }));
    expect(grant('')).toBe('InvalidAuthMgmt');
    expect(grant('', '\0')).toBe('InvalidAuthMgmt');
    expect(grant('b', 'b')).toBe('InvalidAuthMgmt');
    expect(grant('b', 'a')).toBe('InvalidAuthMgmt');
    expect(grant('a')).toBe('RoleNotFound');
    expect(codeOf(auth.revokePermission('r', 'a', ''))).toBe('RoleNotFound');
    auth.addRole('r');
    expect(codeOf(auth.addRole('r'))).toBe('RoleAlreadyExist');
    expect(grant('b', '\0')).toBe('ok');
    expect(codeOf(auth.revokePermission('r', 'b', ''))).toBe('PermissionNotGranted');
    expect(codeOf(auth.revokePermission('r', 'b', '\0'))).toBe('ok');
  });

  it('hold permissions by key, one for each key and end', () => {
    const { auth } = fresh();
    auth.addRole('r');
    const grant = (permType: number, key: string, range_end = '') =>
      auth.grantPermission('r', { permType, key, range_end });
    grant(READ, 'b');
    grant(READ, 'a', 'z');
    grant(WRITE, 'a');
    grant(WRITE, 'b');
    expect(auth.role('r')?.keyPermission.map((each) => [each.permType, each.key, each.range_end])).toEqual([
      [READ, 'a', 'z'],
      [WRITE, 'a', ''],
      [WRITE, 'b', ''],
    ]);
    expect(auth.revision).toBe(6);
  });
});

describe('permits', () => {
  it('follow every change', () => {
    const { auth } = ready();
    const may = () => auth.permit('u')?.mayRead('b', '');
    expect([may(), auth.permit('nobody')]).toEqual([true, undefined]);
    auth.revokePermission('r', 'a', 'c');
    expect(may()).toBe(false);
    auth.grantPermission('r', { permType: READ, key: 'b', range_end: '' });
    expect([may(), auth.permit('u')?.mayWrite('b', '')]).toEqual([true, false]);
    auth.deleteRole('r');
    expect(may()).toBe(false);
    auth.grantRole('u', 'root');
    expect(may()).toBe(true);
    auth.deleteUser('u');
    expect(may()).toBeUndefined();
  });
});

describe('a restart', () => {
  it('finds everything again', () => {
    const { auth, backend } = ready();
    auth.tokens.add('t'.repeat(32), 'u', 7);
    const again = new AuthStore(backend);
    let changes = 0;
    again.onChange = () => changes++;
    again.restore();
    expect([again.enabled, again.revision, changes]).toEqual([true, auth.revision, 1]);
    expect(again.userNames()).toEqual(['root', 'u']);
    expect(again.roleNames()).toEqual(['r', 'root']);
    expect(text(again.user('u')!.password)).toBe('hash');
    expect(again.user('u')?.roles).toEqual(['r']);
    expect(again.permit('u')?.mayRead('a', 'c')).toBe(true);
    expect(again.tokens.get('t'.repeat(32))).toMatchObject({ user: 'u', index: 7 });
  });

  it('refuses rows that are none', () => {
    for (const [bucket, key, value] of [
      ['auth', 'authEnabled', ''],
      ['auth', 'authRevision', 'x'],
      ['auth', 'authRevision', '\0\0\0\0\0\0\0\0'],
      ['auth', 'token/short', ''],
      ['auth', `token/${'t'.repeat(32)}`, '\xff'],
      ['authUsers', 'u', '\xff'],
      ['authUsers', 'u', ''],
      ['authRoles', 'r', '\xff'],
    ] as const) {
      const { backend, auth } = fresh();
      backend.put(bucket, key, bytes(value));
      expect(() => auth.restore(), `${bucket} ${key}`).toThrow(/damaged/);
    }
  });
});
