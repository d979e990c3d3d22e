/** auth enable, disable, status; user add, delete, get, list, passwd, grant-role, revoke-role. */
import type { Command } from 'commander';
import { type Method, methods } from '../../client/methods.ts';
import { RosterError } from '../../core/errors.ts';
import { AuthStatusResponse, type ResponseHeader } from '../../core/wire/messages.ts';
import { onByDefault } from '../arguments.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { linesOf } from '../lines.ts';
import { fieldLine, headerLines } from '../output/fields.ts';
import { printAnswer } from '../output/print.ts';
import { askNewPassword } from '../prompt.ts';
import { expectArguments } from './numbers.ts';
import { printRole } from './role.ts';

interface AddFlags {
  interactive: boolean;
  newUserPassword: string;
  password?: boolean;
  noPassword?: boolean;
}

export function addUserCommands(program: Command, context: Context): void {
  addAuth(program, context);
  const user = program.command('user').description('User related commands');
  const interactive = () => onByDefault('--interactive', 'ask for the password on the terminal; =false: read it');
  user
    .command('add [args...]')
    .usage('<user name or user:password> [options]')
    .description('Adds a new user')
    .addOption(interactive())
    .option('--new-user-password <password>', 'supply password from the command line flag', '')
    .option('--no-password', 'create a user without password (CN based auth only)')
    .addHelpText('after', '\nExample:\n  $ rosterctl user add alice --interactive=false < password')
    .action((args: string[], flags: AddFlags) => add(context, args, flags));
  user
    .command('delete [args...]')
    .usage('<user name>')
    .description('Deletes a user')
    .action((args: string[]) => remove(context, args));
  user
    .command('get [args...]')
    .usage('<user name> [options]')
    .description('Gets detailed information of a user')
    .option('--detail', 'show permissions of roles granted to the user')
    .action((args: string[], flags: { detail?: boolean }) => get(context, args, flags.detail === true));
  user
    .command('list [args...]')
    .usage('')
    .description('Lists all users')
    .action((args: string[]) => list(context, args));
  user
    .command('passwd [args...]')
    .usage('<user name> [options]')
    .description('Changes password of user')
    .addOption(interactive())
    .action((args: string[], flags: { interactive: boolean }) => changePassword(context, args, flags.interactive));
  user
    .command('grant-role [args...]')
    .usage('<user name> <role name>')
    .description('Grants a role to a user')
    .action((args: string[]) => grantRole(context, args));
  user
    .command('revoke-role [args...]')
    .usage('<user name> <role name>')
    .description('Revokes a role from a user')
    .action((args: string[]) => revokeRole(context, args));
}

function addAuth(program: Command, context: Context): void {
  const auth = program.command('auth').description('Enable or disable authentication');
  auth
    .command('enable [args...]')
    .usage('')
    .description('Enables authentication')
    .action((args: string[]) => enable(context, args));
  auth
    .command('disable [args...]')
    .usage('')
    .description('Disables authentication')
    .action(async (args: string[]) => {
      expectArguments(args, 0, 'auth disable command does not accept any arguments');
      await context.client.call(methods.authDisable, {}, context.call);
      context.print('Authentication Disabled');
    });
  auth
    .command('status [args...]')
    .usage('')
    .description('Returns authentication status')
    .action((args: string[]) => status(context, args));
}

async function enable(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 0, 'auth enable command does not accept any arguments');
  const { client, call } = context;
  try {
    await client.call(methods.authEnable, {}, call);
  } catch (error) {
    if (!(error instanceof RosterError) || error.code !== 'RootRoleNotExist') throw error;
    await client.call(methods.roleAdd, { name: 'root' }, call);
    await client.call(methods.userGrantRole, { user: 'root', role: 'root' }, call);
    await client.call(methods.authEnable, {}, call);
  }
  context.print('Authentication Enabled');
}

async function status(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 0, 'auth status command does not accept any arguments');
  const message = await context.client.call(methods.authStatus, {}, context.call);
  const { header, enabled, authRevision } = message;
  printAnswer(context, {
    type: AuthStatusResponse,
    message,
    simple: () => {
      context.print(`Authentication Status: ${enabled}`);
      context.print(`AuthRevision: ${authRevision}`);
    },
    fields: () => [...headerLines(header), fieldLine('Enabled', enabled), fieldLine('AuthRevision', authRevision)],
  });
}

/** Does something whose answer is a header, and says that it is done. */
export async function change<Req extends object, Res extends { header?: ResponseHeader | undefined }>(
  context: Context,
  method: Method<Req, Res>,
  request: Partial<Req>,
  said: string,
): Promise<void> {
  const message = await context.client.call(method, request, context.call);
  const simple = () => context.print(said);
  printAnswer(context, { type: method.response, message, simple, fields: () => headerLines(message.header) });
}

async function add(context: Context, args: readonly string[], flags: AddFlags): Promise<void> {
  expectArguments(args, 1, 'user add command requires user name as its argument');
  const { name, password } = await newUser(context, args[0]!, flags);
  const request = { name, password, options: { no_password: flags.password === false } };
  await change(context, methods.userAdd, request, `User ${name} created`);
}

async function newUser(context: Context, text: string, flags: AddFlags): Promise<{ name: string; password: string }> {
  if (flags.password === false) return { name: text, password: '' };
  if (flags.newUserPassword !== '') return { name: text, password: flags.newUserPassword };
  const colon = text.indexOf(':');
  if (colon === -1) return { name: text, password: await passwordFor(context, text, flags.interactive) };
  if (colon === 0) throw new CommandError('empty user name is not allowed', Exit.BAD_ARGUMENTS);
  return { name: text.slice(0, colon), password: text.slice(colon + 1) };
}

async function passwordFor(context: Context, user: string, interactive: boolean): Promise<string> {
  if (interactive) return askNewPassword(context.io, user);
  const lines = linesOf(context.io.stdin);
  // As much as Go's Scanf takes: a word.
  const word = (await lines.next())?.trim().split(/\s/)[0] ?? '';
  lines.close();
  return word;
}

async function remove(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 1, 'user delete command requires user name as its argument');
  await change(context, methods.userDelete, { name: args[0]! }, `User ${args[0]} deleted`);
}

async function get(context: Context, args: readonly string[], detail: boolean): Promise<void> {
  expectArguments(args, 1, 'user get command requires user name as its argument');
  const name = args[0]!;
  const message = await context.client.call(methods.userGet, { name }, context.call);
  if (!detail) {
    printAnswer(context, {
      type: methods.userGet.response,
      message,
      simple: () => {
        context.print(`User: ${name}`);
        context.print(`Roles:${message.roles.map((role) => ` ${role}`).join('')}`);
      },
    });
    return;
  }
  context.print(`User: ${name}`);
  for (const role of message.roles) {
    context.print('');
    printRole(context, role, await context.client.call(methods.roleGet, { role }, context.call));
  }
}

async function list(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 0, 'user list command requires no arguments');
  const message = await context.client.call(methods.userList, {}, context.call);
  printAnswer(context, {
    type: methods.userList.response,
    message,
    simple: () => {
      for (const user of message.users) context.print(user);
    },
  });
}

async function changePassword(context: Context, args: readonly string[], interactive: boolean): Promise<void> {
  expectArguments(args, 1, 'user passwd command requires user name as its argument');
  const name = args[0]!;
  const password = await passwordFor(context, name, interactive);
  await change(context, methods.userChangePassword, { name, password }, 'Password updated');
}

async function grantRole(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 2, 'user grant command requires user name and role name as its argument');
  const [user, role] = args as [string, string];
  await change(context, methods.userGrantRole, { user, role }, `Role ${role} is granted to user ${user}`);
}

async function revokeRole(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 2, 'user revoke-role requires user name and role name as its argument');
  const [name, role] = args as [string, string];
  await change(context, methods.userRevokeRole, { name, role }, `Role ${role} is revoked from user ${name}`);
}
