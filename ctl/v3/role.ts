/** role add, delete, get, list, grant-permission, revoke-permission. */
import type { Command } from 'commander';
import { methods } from '../../client/methods.ts';
import { byteStringToUtf8, prefixEnd, utf8ToByteString } from '../../core/util/bytes.ts';
import { AuthRoleGetResponse, type Permission, PermissionType } from '../../core/wire/messages.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { goQuote } from '../go-text.ts';
import { fieldLine, headerLines, keyLine } from '../output/fields.ts';
import { printAnswer } from '../output/print.ts';
import { expectArguments } from './numbers.ts';
import { change } from './user.ts';

interface RangeFlags {
  prefix?: boolean;
  fromKey?: boolean;
}

export function addRoleCommands(program: Command, context: Context): void {
  const role = program.command('role').description('Role related commands');
  role
    .command('add [args...]')
    .usage('<role name>')
    .description('Adds a new role')
    .action((args: string[]) => {
      expectArguments(args, 1, 'role add command requires role name as its argument');
      return change(context, methods.roleAdd, { name: args[0]! }, `Role ${args[0]} created`);
    });
  role
    .command('delete [args...]')
    .usage('<role name>')
    .description('Deletes a role')
    .action((args: string[]) => {
      expectArguments(args, 1, 'role delete command requires role name as its argument');
      return change(context, methods.roleDelete, { role: args[0]! }, `Role ${args[0]} deleted`);
    });
  role
    .command('get [args...]')
    .usage('<role name>')
    .description('Gets detailed information of a role')
    .action(async (args: string[]) => {
      expectArguments(args, 1, 'role get command requires role name as its argument');
      printRole(context, args[0]!, await context.client.call(methods.roleGet, { role: args[0]! }, context.call));
    });
  role
    .command('list [args...]')
    .usage('')
    .description('Lists all roles')
    .action((args: string[]) => list(context, args));
  role
    .command('grant-permission [args...]')
    .usage('[options] <role name> <permission type> <key> [endkey]')
    .description('Grants a key to a role')
    .option('--prefix', 'grant a prefix permission')
    .option('--from-key', 'grant a permission of keys that are greater than or equal to the given key')
    .addHelpText('after', '\nExample:\n  $ rosterctl role grant-permission app readwrite /app/ --prefix')
    .action((args: string[], flags: RangeFlags) => grantPermission(context, args, flags));
  role
    .command('revoke-permission [args...]')
    .usage('[options] <role name> <key> [endkey]')
    .description('Revokes a key from a role')
    .option('--prefix', 'revoke a prefix permission')
    .option('--from-key', 'revoke a permission of keys that are greater than or equal to the given key')
    .action((args: string[], flags: RangeFlags) => revokePermission(context, args, flags));
}

async function list(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 0, 'role list command requires no arguments');
  const message = await context.client.call(methods.roleList, {}, context.call);
  printAnswer(context, {
    type: methods.roleList.response,
    message,
    simple: () => {
      for (const role of message.roles) context.print(role);
    },
    fields: () => [
      ...headerLines(message.header),
      `"Roles" :${message.roles.map((one) => ` ${goQuote(one)}`).join('')}`,
    ],
  });
}

const TYPES = PermissionType.values;

/** What a role may read and write. */
export function printRole(context: Context, role: string, message: AuthRoleGetResponse): void {
  printAnswer(context, {
    type: AuthRoleGetResponse,
    message,
    simple: () => {
      context.print(`Role ${role}`);
      context.print('KV Read:');
      for (const one of message.perm) if (one.permType !== TYPES.WRITE) context.print(rangeText(one));
      context.print('KV Write:');
      for (const one of message.perm) if (one.permType !== TYPES.READ) context.print(rangeText(one));
    },
    fields: () => [
      ...headerLines(message.header),
      ...message.perm.flatMap(({ permType, key, range_end }) => [
        fieldLine('PermType', ` ${Object.keys(TYPES)[permType]}`),
        keyLine('Key', key),
        keyLine('RangeEnd', range_end),
      ]),
    ],
  });
}

function rangeText({ key, range_end: end }: Permission): string {
  const text = byteStringToUtf8(key);
  if (end === '') return `\t${text}`;
  const range = end === '\0' ? `[${text}, <open ended>` : `[${text}, ${byteStringToUtf8(end)})`;
  return `\t${range}${prefixEnd(key) === end ? ` (prefix ${text})` : ''}`;
}

const ENDS = '--from-key and --prefix flags are mutually exclusive';

function rangeOf(args: readonly string[], flags: RangeFlags): { key: string; end: string } {
  const bad = (text: string) => new CommandError(text, Exit.BAD_ARGUMENTS);
  const [key, end] = args as [string, string | undefined];
  if (end === undefined) {
    if (flags.fromKey && flags.prefix) throw bad(ENDS);
    const bytes = utf8ToByteString(key);
    if (flags.prefix) return bytes === '' ? { key: '\0', end: '\0' } : { key: bytes, end: prefixEnd(bytes) };
    if (flags.fromKey) return { key: bytes === '' ? '\0' : bytes, end: '\0' };
    return { key: bytes, end: '' };
  }
  if (flags.prefix) throw bad('unexpected endkey argument with --prefix flag');
  if (flags.fromKey) throw bad('unexpected endkey argument with --from-key flag');
  return { key: utf8ToByteString(key), end: utf8ToByteString(end) };
}

async function grantPermission(context: Context, args: readonly string[], flags: RangeFlags): Promise<void> {
  if (args.length < 3 || args.length > 4) {
    const text = 'role grant command requires role name, permission type, and key [endkey] as its argument';
    throw new CommandError(text, Exit.BAD_ARGUMENTS);
  }
  const [name, type] = args as [string, string];
  const permType = Object.entries(TYPES).find(([word]) => word === type.toUpperCase())?.[1];
  if (permType === undefined) throw new CommandError(`invalid permission type: ${type}`, Exit.BAD_ARGUMENTS);
  const { key, end } = rangeOf(args.slice(2), flags);
  const perm = { permType, key, range_end: end };
  await change(context, methods.roleGrantPermission, { name, perm }, `Role ${name} updated`);
}

async function revokePermission(context: Context, args: readonly string[], flags: RangeFlags): Promise<void> {
  if (args.length < 2 || args.length > 3) {
    const text = 'role revoke-permission command requires role name and key [endkey] as its argument';
    throw new CommandError(text, Exit.BAD_ARGUMENTS);
  }
  const role = args[0]!;
  const { key, end } = rangeOf(args.slice(1), flags);
  const [from, to] = [byteStringToUtf8(key), byteStringToUtf8(end)];
  const what = end === '' ? `key ${from}` : `range [${from}, ${end === '\0' ? '<open ended>' : `${to})`}`;
  const said = `Permission of ${what} is revoked from role ${role}`;
  await change(context, methods.roleRevokePermission, { role, key, range_end: end }, said);
}
