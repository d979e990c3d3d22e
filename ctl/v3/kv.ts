/** put, get and del. What the flags mean is requests.ts; what rosterctl adds is here: --ttl, --children. */
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { methods } from '../../client/methods.ts';
import { defaults } from '../../core/wire/binary.ts';
import { RangeResponse } from '../../core/wire/messages.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { goQuote } from '../go-text.ts';
import { printChildren } from '../more/children.ts';
import { printDelete, printPut, printRange } from './kv-answers.ts';
import { integer } from './numbers.ts';
import {
  type DelFlags,
  delFlags,
  delRequest,
  type GetFlags,
  getFlags,
  getRequest,
  PUT_ARGUMENTS,
  type PutFlags,
  putFlags,
  putRequest,
} from './requests.ts';

interface PutCommandFlags extends PutFlags {
  ttl: number;
}

interface GetCommandFlags extends GetFlags {
  stream?: boolean;
  children?: boolean;
  separator: string;
}

export function addKvCommands(program: Command, context: Context): void {
  putFlags(program.command('put [args...]').description('Puts the given key into the store'))
    .option('--ttl <seconds>', 'the key goes after so many seconds (it gets a lease of its own)', integer('ttl'), 0)
    .addHelpText(
      'after',
      '\nExamples:\n  $ rosterctl put /app/port 8080\n  $ rosterctl put /app/conf < app.conf\n  $ rosterctl put /app/seen now --ttl 60\n  $ rosterctl put -- /app/offset -1',
    )
    .action((args: string[], flags: PutCommandFlags) => put(context, args, flags));
  getFlags(program.command('get [args...]').description('Gets the key or a range of keys'))
    .option('--stream', 'have the answer in pieces, as the server reads it (3.7)')
    .option('--children', 'only what is directly below <key>, at one read a child, however many keys are below it')
    .option('--separator <text>', 'what ends the name of a child', '/')
    .addHelpText(
      'after',
      '\nExamples:\n  $ rosterctl get /app/port\n  $ rosterctl get /app/ --prefix --keys-only\n  $ rosterctl get /app/a /app/f          (from the first key to before the second)\n  $ rosterctl get /app/port --rev 1234 -w json\n  $ rosterctl get /services --children',
    )
    .action((args: string[], flags: GetCommandFlags) => get(context, args, flags));
  delFlags(program.command('del [args...]').description('Removes the specified key or range of keys [key, range_end)'))
    .addHelpText('after', '\nExamples:\n  $ rosterctl del /app/port --prev-kv\n  $ rosterctl del /app/ --prefix')
    .action((args: string[], flags: DelFlags) => del(context, args, flags));
}

async function put(context: Context, args: readonly string[], flags: PutCommandFlags): Promise<void> {
  const request = putRequest(args, flags);
  if (flags.ttl > 0 && flags.lease !== '0') {
    throw new CommandError('`--ttl` and `--lease` cannot be set at the same time, choose one', Exit.BAD_ARGUMENTS);
  }
  if (args.length === 1 && !flags.ignoreValue) {
    request.value = await buffer(context.io.stdin);
    // As etcdctl does: nothing on standard input is nothing given. `put KEY ''` writes an empty value.
    if (request.value.length === 0) throw new CommandError(PUT_ARGUMENTS, Exit.BAD_ARGUMENTS);
  }
  if (flags.ttl > 0) request.lease = (await context.client.leaseGrant(flags.ttl, context.call)).ID;
  try {
    printPut(context, await context.client.putRequest(request, context.call));
  } catch (error) {
    // Nothing hangs on it: it would run out by itself, but why keep it.
    if (flags.ttl > 0) await context.client.leaseRevoke(request.lease, context.call).catch(() => {});
    throw error;
  }
}

async function get(context: Context, args: readonly string[], flags: GetCommandFlags): Promise<void> {
  const request = getRequest(args, flags);
  const { format } = context.globals;
  if (flags.children) {
    await printChildren(context, { prefix: args[0]!, separator: flags.separator, revision: flags.rev });
    return;
  }
  if (flags.printValueOnly && format !== 'simple') {
    throw new CommandError('print-value-only is only for `--write-out=simple`', Exit.BAD_ARGUMENTS);
  }
  if (flags.countOnly && format !== 'fields') {
    throw new CommandError('--count-only is only for `--write-out=fields`', Exit.BAD_ARGUMENTS);
  }
  if (!flags.stream) {
    printRange(context, await context.client.range(request, context.call), flags.printValueOnly);
    return;
  }
  const whole: RangeResponse = defaults(RangeResponse);
  for await (const { range_response: piece } of context.client.answers(methods.rangeStream, request, context.call)) {
    if (piece === undefined) continue;
    if (format === 'simple') printRange(context, piece, flags.printValueOnly);
    else Object.assign(whole, piece, { kvs: whole.kvs.concat(piece.kvs) });
  }
  if (format !== 'simple') printRange(context, whole);
}

async function del(context: Context, args: readonly string[], flags: DelFlags): Promise<void> {
  const request = delRequest(args, flags);
  if (args.length === 2 && !flags.range) {
    context.warn(
      `Warning: Keys between ${goQuote(args[0]!)} and ${goQuote(args[1]!)} will be deleted. Please interrupt the command within next 2 seconds to cancel. You can provide \`--range\` flag to avoid the warning.`,
    );
    await sleep(2_000, undefined, context.call);
  }
  printDelete(context, await context.client.deleteRange(request, context.call));
}
