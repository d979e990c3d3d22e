/** The v2 verbs watch and exec-watch: one change, or all from now on, printed or given to a command. */
import { spawn } from 'node:child_process';
import type { Command } from 'commander';
import { sleep } from '../../client/wait.ts';
import { CommandError, type Context } from '../context.ts';
import { parseInteger } from '../go-text.ts';
import { badArguments } from './exit.ts';
import { type Event2, eventOf, keyError, keyPath, printEvent } from './keys-api.ts';

interface WatchFlags {
  forever?: boolean;
  afterIndex: string;
  recursive?: boolean;
}

/** Before a server that ends watches at once is asked again. */
const RETRY_MS = 100;

export function addWatchCommands(program: Command, context: Context): void {
  program
    .command('watch [args...]')
    .usage('<key>')
    .description('Watches a key for changes')
    .option('-f, --forever', 'forever watch a key until CTRL+C')
    .option('--after-index <index>', 'watch after the given index', '0')
    .option('-r, --recursive', 'returns all values for key and child keys')
    .action((args: string[], flags: WatchFlags) => watch(context, args, flags));
  program
    .command('exec-watch [args...]')
    .usage('<key> -- <command> [args...]')
    .description('Watches a key and runs a command for each change')
    .option('--after-index <index>', 'watch after the given index', '0')
    .option('-r, --recursive', 'watch all values for key and child keys')
    .addHelpText('after', "\nExample:\n  $ rosterctl exec-watch /app -r -- sh -c 'echo $ETCD_WATCH_KEY'")
    .action((args: string[], flags: WatchFlags) => execWatch(context, args, flags));
}

/** Changes after the index, or from now on. */
async function* changes(context: Context, key: string, flags: WatchFlags): AsyncGenerator<Event2> {
  const index = parseInteger(flags.afterIndex);
  if (typeof index !== 'bigint') throw badArguments(`invalid value "${flags.afterIndex}" for --after-index`);
  const { signal } = context.io;
  let next = index > 0n ? Number(index) + 1 : 0;
  while (!signal.aborted) {
    const query = {
      wait: 'true',
      recursive: String(flags.recursive === true),
      ...(next > 0 && { waitIndex: String(next) }),
    };
    const reply = await context.store2.call({ method: 'GET', path: keyPath(key), query, patient: true });
    if (reply.status !== 200) throw keyError(reply);
    if (reply.text.trim() === '') {
      // The server has had enough of waiting. What comes before we ask again must not be lost.
      if (next === 0) next = Number(reply.headers['x-etcd-index'] ?? 0) + 1;
      await sleep(RETRY_MS, signal);
      continue;
    }
    const event = eventOf(reply);
    next = (event.node.modifiedIndex ?? 0) + 1;
    yield event;
  }
}

async function watch(context: Context, args: readonly string[], flags: WatchFlags): Promise<void> {
  if (args[0] === undefined) throw badArguments('key required');
  for await (const event of changes(context, args[0], flags)) {
    if (event.node.dir === true) continue;
    if (flags.recursive) context.print(`[${event.action}] ${event.node.key}`);
    printEvent(context, event);
    if (!flags.forever) return;
  }
}

async function execWatch(context: Context, args: readonly string[], flags: WatchFlags): Promise<void> {
  const [key, ...command] = args;
  if (key === undefined || command.length === 0) throw badArguments('key and command to exec required');
  for await (const event of changes(context, key, flags)) {
    if (event.node.dir === true) context.warn(`Ignored dir ${event.node.key} change`);
    else await execute(context, command, event);
  }
}

/** One after the other, so that the commands see the changes in order. What a command returns is its own affair. */
function execute({ io }: Context, command: readonly string[], { action, node }: Event2): Promise<void> {
  const env = {
    ...io.env,
    ETCD_WATCH_ACTION: action,
    ETCD_WATCH_MODIFIED_INDEX: String(node.modifiedIndex ?? 0),
    ETCD_WATCH_KEY: node.key ?? '',
    ETCD_WATCH_VALUE: node.value ?? '',
  };
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], env, signal: io.signal });
  child.stdout.on('data', (chunk: Buffer) => io.stdout.write(chunk));
  child.stderr.on('data', (chunk: Buffer) => io.stderr.write(chunk));
  return new Promise((resolve, reject) => {
    child.once('close', () => resolve());
    child.once('error', (error) => (io.signal.aborted ? resolve() : reject(new CommandError(error.message))));
  });
}
