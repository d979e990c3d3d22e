/**
 * watch: prints events, or runs a command for each; -i reads what to watch from standard input. Owns what the command
 * line means; following the keys is follow.ts.
 */
import { Command } from 'commander';
import { fromByteString } from '../../core/util/bytes.ts';
import { normalised } from '../arguments.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { argify, goQuote } from '../go-text.ts';
import { linesOf } from '../lines.ts';
import { type Followed, follow } from './follow.ts';
import { keyRange } from './key-range.ts';
import { integer } from './numbers.ts';

interface WatchFlags {
  interactive?: boolean;
  prefix?: boolean;
  rev: number;
  prevKv?: boolean;
  progressNotify?: boolean;
  resume?: boolean;
}

const HELP = `
Interactively, lines are "watch [options] <key> [range_end] [-- command ...]" and "progress".
A watch that was cut off and finds its place compacted goes on from the state of the compaction, and says on standard
error what it missed. With --resume this goes for a --rev that is compacted already, too: an error otherwise.

Examples:
  $ rosterctl watch /app/port
  $ rosterctl watch /app/ --prefix --rev 1234 --prev-kv
  $ rosterctl watch /app/ --prefix -- sh -c 'echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY'`;

export function addWatchCommand(program: Command, context: Context): void {
  watchFlags(program.command('watch [args...]'))
    .description('Watches events stream on keys or prefixes')
    .addHelpText('after', HELP)
    .action((args: string[], flags: WatchFlags) => {
      const { afterDashes } = context;
      const keys = afterDashes === undefined ? args : args.slice(0, args.length - afterDashes.length);
      const [key, end] = [context.io.env.ETCDCTL_WATCH_KEY ?? '', context.io.env.ETCDCTL_WATCH_RANGE_END ?? ''];
      if (key === '' && end !== '') {
        throw badArguments(`ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=${goQuote(end)}`);
      }
      return flags.interactive ? interactive(context) : follow(context, followed(context, keys, flags, afterDashes));
    });
}

function watchFlags(command: Command): Command {
  return command
    .usage('[options] <key> [range_end] [-- command [args...]]')
    .option('-i, --interactive', 'read what to watch from standard input')
    .option('--prefix', 'watch on a prefix if prefix is set')
    .option('--rev <n>', 'revision to start watching', integer('rev'), 0)
    .option('--prev-kv', 'get the previous key-value pair before the event happens')
    .option('--progress-notify', 'get periodic watch progress notification from server')
    .option('--resume', 'go on when the --rev is compacted, and say what was missed');
}

const badArguments = (text: string) => new CommandError(text, Exit.BAD_ARGUMENTS);

/** What is to be watched: keys of the line, or else of the environment. */
function followed(
  { io: { env } }: Context,
  given: readonly string[],
  flags: WatchFlags,
  command: readonly string[] | undefined,
): Followed {
  if (command?.length === 0) throw badArguments('bad number of arguments (found separator --, but no commands)');
  const { ETCDCTL_WATCH_KEY: envKey, ETCDCTL_WATCH_RANGE_END: envEnd } = env;
  if (given.length > 0 && envKey) throw badArguments('bad number of arguments (found conflicting environment key)');
  const keys = envKey ? [envKey, ...(envEnd ? [envEnd] : [])] : given;
  if (keys.length === 0 || keys.length > 2) throw badArguments('bad number of arguments');
  if (keys.length === 2 && flags.prefix) throw badArguments('`range_end` and `--prefix` are mutually exclusive');
  const { key, range_end } = keyRange(keys, flags);
  return {
    key: fromByteString(key),
    rangeEnd: fromByteString(range_end),
    revision: flags.rev,
    prevKv: flags.prevKv === true,
    progressNotify: flags.progressNotify === true,
    resume: flags.resume === true,
    command: command ?? [],
  };
}

/** One watch a line, all of them until the input ends. */
async function interactive(context: Context): Promise<void> {
  const lines = linesOf(context.io.stdin);
  const over = new Promise<undefined>((resolve) => {
    context.io.signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  let failed: (error: unknown) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    failed = reject;
  });
  try {
    for (;;) {
      const line = await Promise.race([lines.next(), over, failure]);
      if (context.io.signal.aborted) return;
      if (line === undefined) {
        throw new CommandError('error reading watch request line: EOF', Exit.INVALID_INPUT);
      }
      const [name] = argify(line);
      if (name === undefined) context.warn(`Invalid command: ${line} (watch and progress supported)`);
      else if (name === 'progress') context.client.requestProgress();
      else if (name === 'watch') watchLine(context, line, failed);
      else context.warn(`Invalid command ${line} (only support watch)`);
    }
  } finally {
    lines.close();
  }
}

function watchLine(context: Context, line: string, failed: (error: unknown) => void): void {
  const words = argify(line).slice(1);
  if (words.length === 0 && !context.io.env.ETCDCTL_WATCH_KEY) {
    context.warn(`Invalid command ${line} (command type or key is not provided)`);
    return;
  }
  const dashes = words.indexOf('--');
  const own = dashes === -1 ? words : words.slice(0, dashes);
  const parser = watchFlags(new Command('watch').argument('[args...]')).exitOverride();
  parser.configureOutput({ writeErr: () => {}, writeOut: () => {} });
  parser.action((args: string[], flags: WatchFlags) => {
    const what = followed(context, args, flags, dashes === -1 ? undefined : words.slice(dashes + 1));
    follow(context, what).catch(failed);
  });
  try {
    parser.parse(normalised(parser, own), { from: 'user' });
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw badArguments((error as Error).message.replace(/^error: /, ''));
  }
}
