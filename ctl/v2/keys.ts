/** The v2 verbs for keys and directories: set, mk, mkdir, setdir, update, updatedir, get, ls, rm, rmdir. */
import { buffer } from 'node:stream/consumers';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { parseInteger } from '../go-text.ts';
import { badArguments } from './exit.ts';
import { callKeys, isDirectory, keyPath, type Node2, printEvent, printUnlessPlainDirectory } from './keys-api.ts';

interface WriteFlags {
  ttl: string;
  swapWithValue?: string;
  swapWithIndex: string;
  inOrder?: boolean;
}

interface ListFlags {
  sort?: boolean;
  recursive?: boolean;
  p?: boolean;
  quorum?: boolean;
}

interface RemoveFlags {
  dir?: boolean;
  recursive?: boolean;
  withValue?: string;
  withIndex: string;
}

const TTL = ['--ttl <seconds>', 'key time-to-live in seconds', '0'] as const;
const QUORUM = ['-q, --quorum', 'require quorum for get request'] as const;

export function addKeyCommands(program: Command, context: Context): void {
  addWrites(program, context);
  addDirectories(program, context);
  const verb = (name: string, usage: string, text: string) =>
    program.command(`${name} [args...]`).usage(usage).description(text);
  verb('get', '<key>', 'Retrieves the value of a key')
    .option('--sort', 'returns result in sorted order')
    .option(...QUORUM)
    .action((args: string[], flags: ListFlags) => get(context, args, flags));
  verb('ls', '[key]', 'Retrieves a directory')
    .option('--sort', 'returns result in sorted order')
    .option('-r, --recursive', 'returns all key names recursively for the given path')
    .option('-p', 'append slash (/) to directories')
    .option(...QUORUM)
    .action((args: string[], flags: ListFlags) => ls(context, args, flags));
  verb('rm', '<key>', 'Removes a key or a directory')
    .option('--dir', 'removes the key if it is an empty directory or a key-value pair')
    .option('-r, --recursive', 'removes the key and all child keys (if it is a directory)')
    .option('--with-value <value>', 'previous value')
    .option('--with-index <index>', 'previous index', '0')
    .action((args: string[], flags: RemoveFlags) => rm(context, args, flags));
  verb('rmdir', '<key>', 'Removes the key if it is an empty directory or a key-value pair').action((args: string[]) =>
    rm(context, args, { dir: true, withIndex: '0' }),
  );
}

function addWrites(program: Command, context: Context): void {
  program
    .command('set [args...]')
    .usage('<key> <value>')
    .description('Sets the value of a key')
    .option(...TTL)
    .option('--swap-with-value <value>', 'previous value')
    .option('--swap-with-index <index>', 'previous index', '0')
    .addHelpText('after', '\nExamples:\n  $ rosterctl set /app/port 8080 --ttl 60\n  $ rosterctl set -- /app/offset -1')
    .action(async (args: string[], flags: WriteFlags) => {
      const query = {
        ...(flags.swapWithValue && { prevValue: flags.swapWithValue }),
        ...nonZero('prevIndex', flags.swapWithIndex),
      };
      await write(context, 'PUT', args, flags.ttl, query);
    });
  program
    .command('mk [args...]')
    .usage('<key> <value>')
    .description('Makes a new key with a given value')
    .option('--in-order', 'create in-order key under directory <key>')
    .option(...TTL)
    .action(async (args: string[], flags: WriteFlags) => {
      if (flags.inOrder) await write(context, 'POST', args, flags.ttl, {});
      else await write(context, 'PUT', args, flags.ttl, { prevExist: 'false' });
    });
  program
    .command('update [args...]')
    .usage('<key> <value>')
    .description('Updates an existing key with a given value')
    .option(...TTL)
    .action((args: string[], flags: WriteFlags) => write(context, 'PUT', args, flags.ttl, { prevExist: 'true' }));
}

function addDirectories(program: Command, context: Context): void {
  for (const [name, text, query] of [
    ['mkdir', 'Makes a new directory', { prevExist: 'false' }],
    ['setdir', 'Creates a new directory, or updates the TTL of an existing one', {}],
    ['updatedir', 'Updates an existing directory', { prevExist: 'true' }],
  ] as const) {
    program
      .command(`${name} [args...]`)
      .usage('<key>')
      .description(text)
      .option(...TTL)
      .action(async (args: string[], flags: WriteFlags) => {
        const call = {
          method: 'PUT' as const,
          path: keyPath(keyOf(args)),
          query: { dir: 'true', ...query },
          form: nonZero('ttl', flags.ttl),
        };
        printUnlessPlainDirectory(context, await callKeys(context, call));
      });
  }
}

function keyOf(args: readonly string[]): string {
  if (args[0] === undefined) throw badArguments('key required');
  return args[0];
}

/** A parameter with the integer `text`; none when that is 0. */
function nonZero(name: string, text: string): Record<string, string> {
  const value = parseInteger(text);
  if (typeof value !== 'bigint') throw badArguments(`invalid value "${text}" for ${name}: ${value.complaint}`);
  return value === 0n ? {} : { [name]: String(value) };
}

async function write(
  context: Context,
  method: 'PUT' | 'POST',
  args: readonly string[],
  ttl: string,
  query: Record<string, string>,
): Promise<void> {
  const key = keyOf(args);
  const value = args[1] ?? (await buffer(context.io.stdin)).toString();
  if (args[1] === undefined && value === '') throw badArguments('value required');
  const form = { value, ...nonZero('ttl', ttl) };
  printEvent(context, await callKeys(context, { method, path: keyPath(key), query, form }));
}

async function get(context: Context, args: readonly string[], flags: ListFlags): Promise<void> {
  const key = keyOf(args);
  const query = { sorted: String(flags.sort === true), quorum: String(flags.quorum === true), recursive: 'false' };
  const event = await callKeys(context, { method: 'GET', path: keyPath(key), query });
  if (event.node.dir === true) throw isDirectory(event.node.key ?? key);
  printEvent(context, event);
}

async function ls(context: Context, args: readonly string[], flags: ListFlags): Promise<void> {
  const query = {
    sorted: String(flags.sort === true),
    quorum: String(flags.quorum === true),
    recursive: String(flags.recursive === true),
  };
  const event = await callKeys(context, { method: 'GET', path: keyPath(args[0] ?? '/'), query });
  if (context.store2.settings.output !== 'simple') {
    printEvent(context, event);
    return;
  }
  if (event.node.dir !== true) context.print(event.node.key ?? '');
  for (const node of event.node.nodes ?? []) printTree(context, node, flags.p === true);
}

function printTree(context: Context, node: Node2, slash: boolean): void {
  context.print(`${node.key}${slash && node.dir === true ? '/' : ''}`);
  for (const child of node.nodes ?? []) printTree(context, child, slash);
}

async function rm(context: Context, args: readonly string[], flags: RemoveFlags): Promise<void> {
  const query = {
    ...(flags.dir && { dir: 'true' }),
    ...(flags.recursive && { recursive: 'true' }),
    ...(flags.withValue && { prevValue: flags.withValue }),
    ...nonZero('prevIndex', flags.withIndex),
  };
  const event = await callKeys(context, { method: 'DELETE', path: keyPath(keyOf(args)), query });
  printUnlessPlainDirectory(context, event);
}
