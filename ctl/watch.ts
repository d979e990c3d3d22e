/** watch: prints events, or runs a command for each. */
import { spawn } from 'node:child_process';
import type { Command } from 'commander';
import { byteStringToUtf8, type Event, fromByteString } from '../client/index.ts';
import { CommandError, type Context, Exit } from './context.ts';
import { printPair } from './format.ts';
import { keyRange } from './key-range.ts';
import { integerFlag } from './kv.ts';

interface WatchFlags {
  prefix?: boolean;
  rev: number;
  prevKv?: boolean;
  progressNotify?: boolean;
}

export function addWatchCommand(program: Command, context: Context): void {
  program
    .command('watch [args...]')
    .usage('[options] <key> [range_end] [-- command [args...]]')
    .description('Watches events stream on keys or prefixes')
    .option('--prefix', 'watch on a prefix if prefix is set')
    .option('--rev <n>', 'revision to start watching', (text) => integerFlag('rev', text), 0)
    .option('--prev-kv', 'get the previous key-value pair before the event happens')
    .option('--progress-notify', 'get periodic watch progress notification from server')
    .action((args: string[], flags: WatchFlags) => watch(context, args, flags));
}

async function watch(context: Context, args: readonly string[], flags: WatchFlags): Promise<void> {
  const { env, signal } = context.io;
  const keys = args.slice(0, args.length - context.afterDashes.length);
  const { ETCDCTL_WATCH_KEY: envKey, ETCDCTL_WATCH_RANGE_END: envEnd } = env;
  if (keys.length === 0 && envKey) keys.push(envKey, ...(envEnd ? [envEnd] : []));
  if (keys.length === 0 || keys.length > 2) throw new CommandError('bad number of arguments', Exit.BAD_ARGUMENTS);
  if (keys.length === 2 && flags.prefix) {
    throw new CommandError('`range_end` and `--prefix` are mutually exclusive', Exit.BAD_ARGUMENTS);
  }
  const { key, range_end } = keyRange(keys, flags);
  const items = context.client.watch(fromByteString(key), {
    rangeEnd: fromByteString(range_end),
    start_revision: flags.rev,
    prev_kv: flags.prevKv === true,
    progress_notify: flags.progressNotify === true,
    signal,
  });
  for await (const item of items) {
    if (item.kind === 'progress') context.print(`progress notify: ${item.revision}`);
    else if (item.kind === 'compacted') {
      context.warn('watch was canceled (etcdserver: mvcc: required revision has been compacted)');
      throw new CommandError('watch is canceled by the server', Exit.INTERRUPTED);
    } else {
      for (const event of item.events) {
        printEvent(context, event);
        if (context.afterDashes.length > 0) await execute(context, event, item.revision);
      }
    }
  }
}

const typeName = (event: Event): string => (event.type === 0 ? 'PUT' : 'DELETE');

function printEvent(context: Context, event: Event): void {
  context.print(typeName(event));
  if (event.prev_kv !== undefined) printPair(context, event.prev_kv);
  if (event.kv !== undefined) printPair(context, event.kv);
}

/** Runs the command for one event and waits for it, so that commands see the events in order. */
function execute(context: Context, event: Event, revision: number): Promise<void> {
  const [command, ...args] = context.afterDashes;
  const child = spawn(command!, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: context.io.signal,
    env: {
      ...context.io.env,
      ETCD_WATCH_REVISION: String(revision),
      ETCD_WATCH_EVENT_TYPE: JSON.stringify(typeName(event)),
      ETCD_WATCH_KEY: JSON.stringify(byteStringToUtf8(event.kv?.key ?? '')),
      ETCD_WATCH_VALUE: JSON.stringify(Buffer.from(event.kv?.value ?? []).toString()),
    },
  });
  child.stdout.on('data', (chunk: Buffer) => context.io.stdout.write(chunk));
  child.stderr.on('data', (chunk: Buffer) => context.io.stderr.write(chunk));
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      if (context.io.signal.aborted) resolve();
      else reject(new CommandError(`command "${context.afterDashes.join(' ')}" failed: ${error.message}`));
    });
    child.once('close', (code) => {
      if (code === 0 || context.io.signal.aborted) resolve();
      else reject(new CommandError(`command "${context.afterDashes.join(' ')}" failed with exit status ${code}`));
    });
  });
}
