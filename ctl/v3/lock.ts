/** lock and elect: held for as long as the command runs, or the one it starts; given up when it ends. */
import { spawn } from 'node:child_process';
import type { Command } from 'commander';
import type { KeptLease } from '../../client/index.ts';
import { methods } from '../../client/methods.ts';
import { onAbort } from '../../client/wait.ts';
import { byteStringToUtf8, utf8ToByteString } from '../../core/util/bytes.ts';
import { defaults } from '../../core/wire/binary.ts';
import { RangeResponse } from '../../core/wire/messages.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { printRange } from './kv-answers.ts';
import { integer } from './numbers.ts';

const SESSION_TTL_SECONDS = 60;
/** For giving up what is held after the user's interrupt, which ends all other calls. */
const FAREWELL_MS = 5_000;

export function addLockCommands(program: Command, context: Context): void {
  program
    .command('lock [args...]')
    .usage('<lockname> [exec-command arg1 arg2 ...]')
    .description('Acquires a named lock')
    .option('--ttl <seconds>', 'how long the lock outlives this command when it is killed', integer('ttl'), 10)
    .addHelpText(
      'after',
      '\nExamples:\n  $ rosterctl lock backup\n  $ rosterctl lock backup -- /usr/local/bin/backup.sh',
    )
    .action((args: string[], flags: { ttl: number }) => lock(context, args, flags.ttl));
  program
    .command('elect [args...]')
    .usage('<election-name> [proposal]')
    .description('Observes and participates in leader election')
    .option('-l, --listen', 'observation mode')
    .addHelpText('after', '\nExamples:\n  $ rosterctl elect workers "$HOSTNAME"\n  $ rosterctl elect -l workers')
    .action((args: string[], flags: { listen?: boolean }) => elect(context, args, flags.listen === true));
}

/** Runs `work` with a lease that is kept, and revokes it in the end, whatever happened. */
async function withLease(context: Context, ttlSeconds: number, work: (lease: KeptLease) => Promise<void>) {
  const lease = await context.client.keepLease(ttlSeconds, context.call);
  try {
    await work(lease);
  } finally {
    await lease.revoke({ timeoutMs: FAREWELL_MS }).catch(() => {});
  }
}

async function lock(context: Context, args: readonly string[], ttlSeconds: number): Promise<void> {
  if (args.length === 0) {
    const text = 'lock takes a lock name argument and an optional command to execute';
    throw new CommandError(text, Exit.BAD_ARGUMENTS);
  }
  const [name, ...command] = args;
  await withLease(context, ttlSeconds, async (lease) => {
    const request = { name: utf8ToByteString(name!), lease: lease.id };
    const { key, header } = await context.client.call(methods.lock, request, {
      timeoutMs: Number.POSITIVE_INFINITY,
      ...context.call,
    });
    if (command.length > 0) {
      await execute(context, command, byteStringToUtf8(key), header?.revision ?? 0);
      return;
    }
    const answer = await context.client.range({ key }, context.call);
    if (answer.kvs.length === 0) throw new CommandError('lock lost on init');
    printRange(context, answer);
    await untilOver(context, lease);
  });
}

/** Until the user interrupts, which is how one ends it; rejects when the lease is lost. */
async function untilOver(context: Context, lease: KeptLease): Promise<void> {
  const over = await new Promise<'interrupted' | 'lost'>((resolve) => {
    onAbort(context.io.signal, () => resolve('interrupted'));
    onAbort(lease.lost, () => resolve('lost'));
  });
  if (over === 'lost') throw new CommandError('session expired');
  context.exitCode = Exit.OK;
}

/** Runs the command with the lock's key in its environment. Its exit code is ours. */
function execute(context: Context, command: readonly string[], key: string, revision: number): Promise<void> {
  const { io } = context;
  const env = { ...io.env, ETCD_LOCK_KEY: key, ETCD_LOCK_REV: String(revision) };
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], env, signal: io.signal });
  child.stdout.on('data', (chunk: Buffer) => io.stdout.write(chunk));
  child.stderr.on('data', (chunk: Buffer) => io.stderr.write(chunk));
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new CommandError(error.message)));
    child.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new CommandError(code === null ? 'the command was killed' : `exit status ${code}`, code ?? 1));
    });
  });
}

async function elect(context: Context, args: readonly string[], listen: boolean): Promise<void> {
  if (args.length !== 1 && args.length !== 2) {
    const text = 'elect takes one election name argument and an optional proposal argument';
    throw new CommandError(text, Exit.BAD_ARGUMENTS);
  }
  if (args.length === 1 && !listen) throw new CommandError('no proposal argument but -l not set', Exit.BAD_ARGUMENTS);
  if (args.length === 2 && listen) throw new CommandError('proposal argument given but -l is set', Exit.BAD_ARGUMENTS);
  if (listen) await observe(context, args[0]!);
  else await campaign(context, args[0]!, args[1]!);
}

async function observe(context: Context, name: string): Promise<void> {
  const leaders = context.client.answers(methods.observe, { name: utf8ToByteString(name) }, context.call);
  for await (const { header, kv } of leaders) {
    if (kv === undefined) continue;
    printRange(context, { ...defaults(RangeResponse), ...(header && { header }), kvs: [kv], count: 1 });
  }
}

async function campaign(context: Context, name: string, proposal: string): Promise<void> {
  await withLease(context, SESSION_TTL_SECONDS, async (lease) => {
    const request = { name: utf8ToByteString(name), lease: lease.id, value: Buffer.from(proposal) };
    const { leader } = await context.client.call(methods.campaign, request, {
      timeoutMs: Number.POSITIVE_INFINITY,
      ...context.call,
    });
    printRange(context, await context.client.range({ key: leader!.key }, context.call));
    try {
      await untilOver(context, lease);
    } catch (error) {
      if (error instanceof CommandError) throw new CommandError('elect: session expired');
      throw error;
    }
  });
}
