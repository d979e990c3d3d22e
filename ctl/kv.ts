/** put, get, del and compaction. */
import { buffer } from 'node:stream/consumers';
import type { Command } from 'commander';
import { utf8ToByteString } from '../core/util/bytes.ts';
import { defaults } from '../core/wire/binary.ts';
import { PutRequest, type RangeRequest, SortOrder, SortTarget } from '../core/wire/messages.ts';
import { CommandError, type Context, Exit } from './context.ts';
import { parseInteger, parseLeaseId, printPair } from './format.ts';
import { keyRange, type RangeFlags } from './key-range.ts';

interface PutFlags {
  lease: string;
  prevKv?: boolean;
  ignoreValue?: boolean;
  ignoreLease?: boolean;
}

interface GetFlags extends RangeFlags {
  consistency: string;
  order: string;
  sortBy: string;
  limit: number;
  rev: number;
  keysOnly?: boolean;
  countOnly?: boolean;
  printValueOnly?: boolean;
  minCreateRev: number;
  maxCreateRev: number;
  minModRev: number;
  maxModRev: number;
}

interface DelFlags extends RangeFlags {
  prevKv?: boolean;
  range?: boolean;
}

export function addKvCommands(program: Command, context: Context): void {
  program
    .command('put [args...]')
    .usage('[options] <key> [value]')
    .description('Puts the given key into the store; the value comes from stdin when it is not given')
    .option('--lease <id>', 'lease ID (in hexadecimal) to attach to the key', '0')
    .option('--prev-kv', 'return the previous key-value pair before modification')
    .option('--ignore-value', 'updates the key using its current value')
    .option('--ignore-lease', 'updates the key using its current lease')
    .action((args: string[], flags: PutFlags) => put(context, args, flags));
  const integer = (flag: string) => (text: string) => integerFlag(flag, text);
  program
    .command('get [args...]')
    .usage('[options] <key> [range_end]')
    .description('Gets the key or a range of keys')
    .option('--consistency <l|s>', 'Linearizable(l) or Serializable(s)', 'l')
    .option('--order <order>', 'order of results; ASCEND or DESCEND (ASCEND by default)', '')
    .option('--sort-by <target>', 'sort target; CREATE, KEY, MODIFY, VALUE, or VERSION', '')
    .option('--limit <n>', 'maximum number of results', integer('limit'), 0)
    .option('--prefix', 'get keys with matching prefix')
    .option('--from-key', 'get keys that are greater than or equal to the given key using byte compare')
    .option('--rev <n>', 'specify the kv revision', integer('rev'), 0)
    .option('--keys-only', 'get only the keys')
    .option('--count-only', 'get only the count')
    .option('--print-value-only', 'only write values when using the "simple" output format')
    .option('--min-create-rev <n>', 'minimum create revision', integer('min-create-rev'), 0)
    .option('--max-create-rev <n>', 'maximum create revision', integer('max-create-rev'), 0)
    .option('--min-mod-rev <n>', 'minimum modification revision', integer('min-mod-rev'), 0)
    .option('--max-mod-rev <n>', 'maximum modification revision', integer('max-mod-rev'), 0)
    .action((args: string[], flags: GetFlags) => get(context, args, flags));
  program
    .command('del [args...]')
    .usage('[options] <key> [range_end]')
    .description('Removes the specified key or range of keys [key, range_end)')
    .option('--prefix', 'delete keys with matching prefix')
    .option('--prev-kv', 'return deleted key-value pairs')
    .option('--from-key', 'delete keys that are greater than or equal to the given key using byte compare')
    .option('--range', 'delete the range of keys, without a warning')
    .action((args: string[], flags: DelFlags) => del(context, args, flags));
  program
    .command('compaction [args...]')
    .usage('[options] <revision>')
    .description('Compacts the event history')
    .option('--physical', 'wait for compaction to physically remove all old revisions')
    .action((args: string[], flags: { physical?: boolean }) => compaction(context, args, flags));
}

async function put(context: Context, args: readonly string[], flags: PutFlags): Promise<void> {
  if (args.length === 0 || args.length > 2 || (args.length === 2 && flags.ignoreValue)) {
    throw new CommandError('put command needs 1 argument and input from stdin or 2 arguments', Exit.BAD_ARGUMENTS);
  }
  const [key, value] = args;
  const request = {
    ...defaults(PutRequest),
    key: utf8ToByteString(key!),
    lease: parseLeaseId(flags.lease, 'lease ID'),
    prev_kv: flags.prevKv === true,
    ignore_value: flags.ignoreValue === true,
    ignore_lease: flags.ignoreLease === true,
  };
  if (!flags.ignoreValue) request.value = value === undefined ? await buffer(context.io.stdin) : Buffer.from(value);
  const { prev_kv: before } = await context.client.putRequest(request, { signal: context.io.signal });
  context.print('OK');
  if (before !== undefined) printPair(context, before);
}

async function get(context: Context, args: readonly string[], flags: GetFlags): Promise<void> {
  if (args.length === 0 || args.length > 2) {
    throw new CommandError(
      'get command needs one argument as key and an optional argument as range_end',
      Exit.BAD_ARGUMENTS,
    );
  }
  if (flags.keysOnly && flags.countOnly) {
    throw new CommandError(
      '`--keys-only` and `--count-only` cannot be set at the same time, choose one',
      Exit.BAD_ARGUMENTS,
    );
  }
  if (flags.countOnly) {
    throw new CommandError('--count-only is only for `--write-out=fields`', Exit.BAD_ARGUMENTS);
  }
  const request: Partial<RangeRequest> = {
    ...keyRange(args, flags),
    serializable: serializable(flags.consistency),
    limit: flags.limit,
    revision: flags.rev,
    sort_order: named(SortOrder.values, 'sort order', flags.order, SortOrder.values.NONE),
    sort_target: named(SORT_TARGETS, 'sort target', flags.sortBy, SortTarget.values.KEY),
    keys_only: flags.keysOnly === true,
    min_create_revision: flags.minCreateRev,
    max_create_revision: flags.maxCreateRev,
    min_mod_revision: flags.minModRev,
    max_mod_revision: flags.maxModRev,
  };
  const { kvs } = await context.client.range(request, { signal: context.io.signal });
  for (const pair of kvs) printPair(context, pair, flags.printValueOnly);
}

async function del(context: Context, args: readonly string[], flags: DelFlags): Promise<void> {
  if (args.length === 0 || args.length > 2) {
    throw new CommandError(
      'del command needs one argument as key and an optional argument as range_end',
      Exit.BAD_ARGUMENTS,
    );
  }
  const range = keyRange(args, flags);
  const request = { ...range, prev_kv: flags.prevKv === true };
  const answer = await context.client.deleteRange(request, { signal: context.io.signal });
  context.print(String(answer.deleted));
  for (const pair of answer.prev_kvs) printPair(context, pair);
}

async function compaction(context: Context, args: readonly string[], flags: { physical?: boolean }): Promise<void> {
  if (args.length !== 1) throw new CommandError('compaction command needs 1 argument', Exit.BAD_ARGUMENTS);
  const revision = parseInteger(args[0]!);
  if (typeof revision !== 'bigint') throw new CommandError(revision.complaint);
  const physical = flags.physical === true;
  await context.client.compact(Number(revision), { physical, signal: context.io.signal });
  context.print(`compacted revision ${revision}`);
}

const SORT_TARGETS = {
  CREATE: SortTarget.values.CREATE,
  KEY: SortTarget.values.KEY,
  MODIFY: SortTarget.values.MOD,
  VALUE: SortTarget.values.VALUE,
  VERSION: SortTarget.values.VERSION,
};

function named(values: Readonly<Record<string, number>>, what: string, text: string, otherwise: number): number {
  const name = text.toUpperCase();
  if (name === '') return otherwise;
  if (name === 'NONE' || !Object.hasOwn(values, name)) throw new CommandError(`bad ${what} ${text}`, Exit.BAD_FEATURE);
  return values[name]!;
}

/** Whether `--consistency` asks for a read that any member may answer by itself. */
export function serializable(consistency: string): boolean {
  if (consistency === 's') return true;
  if (consistency === 'l') return false;
  throw new CommandError(`unknown consistency flag "${consistency}"`, Exit.BAD_FEATURE);
}

/** The integer of a flag. Revisions beyond 2^53 do not exist, so a number holds it. */
export function integerFlag(flag: string, text: string): number {
  const value = parseInteger(text);
  if (typeof value === 'bigint') {
    const max = BigInt(Number.MAX_SAFE_INTEGER);
    return Number(value > max ? max : value < -max ? -max : value);
  }
  throw new CommandError(`invalid argument "${text}" for "--${flag}" flag: ${value.complaint}`, Exit.BAD_ARGUMENTS);
}
