/** The v2 verbs user, role and auth. */
import type { Command } from 'commander';
import { type Context, PlainError } from '../context.ts';
import { askSecret } from '../prompt.ts';
import { Exit2 } from './exit.ts';
import { credentialsOf } from './globals.ts';
import { type Call2, json, messageOf } from './store.ts';

interface Role {
  role: string;
  permissions: { kv: { read: string[] | null; write: string[] | null } };
}

interface User {
  user: string;
  roles: (Role | string)[] | null;
}

export function addAuthCommands(program: Command, context: Context): void {
  const user = program.command('user').description('Adds users, grants and revokes their roles');
  const one = (parent: Command, name: string, usage: string, text: string) =>
    parent.command(`${name} [args...]`).usage(usage).description(text);
  one(user, 'add', '<user>', 'Adds a new user').action((args: string[]) => addUser(context, args));
  one(user, 'get', '<user>', 'Gets details for a user').action((args: string[]) => getUser(context, args));
  one(user, 'list', '', 'Lists all current users').action((args: string[]) => listUsers(context, args));
  one(user, 'remove', '<user>', 'Removes a user').action((args: string[]) => removeUser(context, args));
  for (const verb of ['grant', 'revoke'] as const) {
    one(user, verb, '--roles <list> <user>', `${verb === 'grant' ? 'Grants' : 'Revokes'} roles of a user`)
      .option(
        '--roles <list>',
        'list of roles to grant or revoke',
        (text, all: string[]) => [...all, ...text.split(',')],
        [],
      )
      .action((args: string[], flags: { roles: string[] }) => changeRoles(context, verb, args, flags.roles));
  }
  one(user, 'passwd', '<user>', 'Changes password of a user').action((args: string[]) => passwd(context, args));
  addRoles(program, context);
  const auth = program.command('auth').description('Turns authentication on and off');
  auth
    .command('enable')
    .description('Enables authentication')
    .action(() => turn(context, 'PUT', 'Authentication Enabled'));
  auth
    .command('disable')
    .description('Disables authentication')
    .action(() => turn(context, 'DELETE', 'Authentication Disabled'));
}

const refusal = (text: string) => new PlainError(text, Exit2.BAD_ARGUMENTS);

/** The answer to a call of /v2/auth, when all is well. */
async function call(context: Context, what: Call2): Promise<unknown> {
  const reply = await context.store2.call(what);
  if (reply.status !== 200 && reply.status !== 201) throw refusal(messageOf(reply));
  return reply.text.trim() === '' ? undefined : json(reply);
}

async function turn(context: Context, method: 'PUT' | 'DELETE', said: string): Promise<void> {
  await call(context, { method, path: '/v2/auth/enable' });
  context.print(said);
}

const userPath = (name: string) => `/v2/auth/users/${encodeURIComponent(name)}`;
const rolePath = (name: string) => `/v2/auth/roles/${encodeURIComponent(name)}`;

function nameOf(args: readonly string[], what: string): string {
  if (args.length !== 1) throw refusal(`Please provide a ${what}`);
  return args[0]!;
}

async function exists(context: Context, path: string): Promise<boolean> {
  return (await context.store2.call({ method: 'GET', path })).status === 200;
}

async function addUser(context: Context, args: readonly string[]): Promise<void> {
  const text = nameOf(args, 'username');
  const name = text.split(':')[0]!;
  if (await exists(context, userPath(name))) throw refusal(`User ${name} already exists`);
  const { user, password } = await credentialsOf(text, context, 'New password: ');
  await call(context, { method: 'PUT', path: userPath(user), body: { user, password } });
  context.print(`User ${user} created`);
}

async function getUser(context: Context, args: readonly string[]): Promise<void> {
  const name = nameOf(args, 'username');
  const { user, roles } = (await call(context, { method: 'GET', path: userPath(name) })) as User;
  context.print(`User: ${user}`);
  const names = (roles ?? []).map((role) => (typeof role === 'string' ? role : role.role));
  context.print(`Roles: ${names.map((role) => ` ${role}`).join('')}`);
}

async function listUsers(context: Context, args: readonly string[]): Promise<void> {
  if (args.length > 0) throw refusal('No arguments accepted');
  const { users } = (await call(context, { method: 'GET', path: '/v2/auth/users' })) as { users: User[] | null };
  for (const { user } of users ?? []) context.print(user);
}

async function removeUser(context: Context, args: readonly string[]): Promise<void> {
  const name = nameOf(args, 'username');
  await call(context, { method: 'DELETE', path: userPath(name) });
  context.print(`User ${name} removed`);
}

async function changeRoles(
  context: Context,
  verb: 'grant' | 'revoke',
  args: readonly string[],
  roles: readonly string[],
): Promise<void> {
  if (roles.length === 0) throw refusal('No roles specified; please use `--roles`');
  const user = nameOf(args, 'username');
  await call(context, { method: 'GET', path: userPath(user) });
  await call(context, { method: 'PUT', path: userPath(user), body: { user, [verb]: roles } });
  context.print(`User ${user} updated`);
}

async function passwd(context: Context, args: readonly string[]): Promise<void> {
  const user = nameOf(args, 'username');
  await call(context, { method: 'GET', path: userPath(user) });
  const password = await askSecret(context.io, 'New password: ');
  await call(context, { method: 'PUT', path: userPath(user), body: { user, password } });
  context.print('Password updated');
}

interface PermissionFlags {
  path: string;
  read?: boolean;
  write?: boolean;
  readwrite?: boolean;
}

function addRoles(program: Command, context: Context): void {
  const role = program.command('role').description('Adds roles, grants and revokes paths');
  const one = (name: string, usage: string, text: string) =>
    role.command(`${name} [args...]`).usage(usage).description(text);
  one('add', '<role>', 'Adds a new role').action(async (args: string[]) => {
    const name = nameOf(args, 'role name');
    if (await exists(context, rolePath(name))) throw refusal(`Role ${name} already exists`);
    const body = { role: name, permissions: { kv: { read: null, write: null } } };
    await call(context, { method: 'PUT', path: rolePath(name), body });
    context.print(`Role ${name} created`);
  });
  one('get', '<role>', 'Gets details for a role').action((args: string[]) => getRole(context, args));
  one('list', '', 'Lists all roles').action(async (args: string[]) => {
    if (args.length > 0) throw refusal('No arguments accepted');
    const { roles } = (await call(context, { method: 'GET', path: '/v2/auth/roles' })) as { roles: Role[] | null };
    for (const found of roles ?? []) context.print(found.role);
  });
  one('remove', '<role>', 'Removes a role').action(async (args: string[]) => {
    const name = nameOf(args, 'role name');
    await call(context, { method: 'DELETE', path: rolePath(name) });
    context.print(`Role ${name} removed`);
  });
  for (const verb of ['grant', 'revoke'] as const) {
    const does = verb === 'grant' ? 'Grants' : 'Revokes';
    one(verb, '--path <path> --read|--write|--readwrite <role>', `${does} path matches of a role`)
      .option('--path <path>', 'path that the role may use, or no more; a * at its end stands for anything', '')
      .option('--read', 'read-only access')
      .option('--write', 'write-only access')
      .option('--readwrite', 'read-write access')
      .action((args: string[], flags: PermissionFlags) => changePermission(context, verb, args, flags));
  }
}

async function getRole(context: Context, args: readonly string[]): Promise<void> {
  const { role, permissions } = (await call(context, {
    method: 'GET',
    path: rolePath(nameOf(args, 'role name')),
  })) as Role;
  context.print(`Role: ${role}`);
  context.print('KV Read:');
  for (const path of permissions.kv.read ?? []) context.print(`\t${path}`);
  context.print('KV Write:');
  for (const path of permissions.kv.write ?? []) context.print(`\t${path}`);
}

/** As Go's path.Clean has it, with the slash at the end kept. */
function canonical(path: string): string {
  const segments = path.split('/').filter((segment) => segment !== '' && segment !== '.');
  return `/${segments.join('/')}${path.endsWith('/') && segments.length > 0 ? '/' : ''}`;
}

async function changePermission(
  context: Context,
  verb: 'grant' | 'revoke',
  args: readonly string[],
  { path, read, write, readwrite }: PermissionFlags,
): Promise<void> {
  if (path === '') throw refusal('No path specified; please use `--path`');
  if (canonical(path) !== path) throw refusal(`Not canonical path; please use \`--path=${canonical(path)}\``);
  if ([read, write, readwrite].filter(Boolean).length !== 1) {
    throw refusal('Please specify exactly one of --read, --write or --readwrite');
  }
  const role = nameOf(args, 'role name');
  await call(context, { method: 'GET', path: rolePath(role) });
  const kv = { read: write ? null : [path], write: read ? null : [path] };
  await call(context, { method: 'PUT', path: rolePath(role), body: { role, [verb]: { kv } } });
  context.print(`Role ${role} updated`);
}
