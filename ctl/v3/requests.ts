/** put, get and del as requests: their flags and what they mean, for commands of their own and as lines of a txn. */
import type { Command } from 'commander';
import { utf8ToByteString } from '../../core/util/bytes.ts';
import { defaults } from '../../core/wire/binary.ts';
import { DeleteRangeRequest, PutRequest, RangeRequest, SortOrder, SortTarget } from '../../core/wire/messages.ts';
import type { Decoded } from '../../core/wire/schema.ts';
import { CommandError, Exit } from '../context.ts';
import { keyRange, type RangeFlags } from './key-range.ts';
import { integer, parseLeaseId } from './numbers.ts';

export interface PutFlags {
  lease: string;
  prevKv?: boolean;
  ignoreValue?: boolean;
  ignoreLease?: boolean;
}

export interface GetFlags extends RangeFlags {
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

export interface DelFlags extends RangeFlags {
  prevKv?: boolean;
  range?: boolean;
}

export function putFlags(command: Command): Command {
  return command
    .usage('[options] <key> <value> (<value> can also be given from stdin)')
    .option('--lease <id>', 'lease ID (in hexadecimal) to attach to the key', '0')
    .option('--prev-kv', 'return the previous key-value pair before modification')
    .option('--ignore-value', 'updates the key using its current value')
    .option('--ignore-lease', 'updates the key using its current lease');
}

export const PUT_ARGUMENTS = 'put command needs 1 argument and input from stdin or 2 arguments';

/** Without its value, when that is to come from standard input. */
export function putRequest(args: readonly string[], flags: PutFlags): Decoded<typeof PutRequest> {
  if (args.length === 0 || args.length > 2 || (args.length === 2 && flags.ignoreValue)) {
    throw new CommandError(PUT_ARGUMENTS, Exit.BAD_ARGUMENTS);
  }
  return {
    ...defaults(PutRequest),
    key: utf8ToByteString(args[0]!),
    value: Buffer.from(args[1] ?? ''),
    lease: parseLeaseId(flags.lease, 'lease ID'),
    prev_kv: flags.prevKv === true,
    ignore_value: flags.ignoreValue === true,
    ignore_lease: flags.ignoreLease === true,
  };
}

export function getFlags(command: Command): Command {
  return command
    .usage('[options] <key> [range_end]')
    .option('--consistency <l|s>', 'Linearizable(l) or Serializable(s)', 'l')
    .option('--order <order>', 'order of results; ASCEND or DESCEND (ASCEND by default)', '')
    .option('--sort-by <target>', 'sort target; CREATE, KEY, MODIFY, VALUE, or VERSION', '')
    .option('--limit <n>', 'maximum number of results', integer('limit'), 0)
    .option('--prefix', 'get keys with matching prefix')
    .option('--from-key', 'get keys that are greater than or equal to the given key using byte compare')
    .option('--rev <n>', 'specify the kv revision', integer('rev'), 0)
    .option('--keys-only', 'get only the keys')
    .option('--count-only', 'get only the count (with -w fields)')
    .option('--print-value-only', 'only write values when using the "simple" output format')
    .option('--min-create-rev <n>', 'minimum create revision', integer('min-create-rev'), 0)
    .option('--max-create-rev <n>', 'maximum create revision', integer('max-create-rev'), 0)
    .option('--min-mod-rev <n>', 'minimum modification revision', integer('min-mod-rev'), 0)
    .option('--max-mod-rev <n>', 'maximum modification revision', integer('max-mod-rev'), 0);
}

export function getRequest(args: readonly string[], flags: GetFlags): Decoded<typeof RangeRequest> {
  const complaint = 'get command needs one argument as key and an optional argument as range_end';
  if (args.length === 0 || args.length > 2) throw new CommandError(complaint, Exit.BAD_ARGUMENTS);
  if (flags.keysOnly && flags.countOnly) {
    throw new CommandError(
      '`--keys-only` and `--count-only` cannot be set at the same time, choose one',
      Exit.BAD_ARGUMENTS,
    );
  }
  return {
    ...defaults(RangeRequest),
    ...keyRange(args, flags),
    serializable: serializable(flags.consistency),
    limit: flags.limit,
    revision: flags.rev,
    sort_order: named(SortOrder.values, 'sort order', flags.order, SortOrder.values.NONE),
    sort_target: named(SORT_TARGETS, 'sort target', flags.sortBy, SortTarget.values.KEY),
    keys_only: flags.keysOnly === true,
    count_only: flags.countOnly === true,
    min_create_revision: flags.minCreateRev,
    max_create_revision: flags.maxCreateRev,
    min_mod_revision: flags.minModRev,
    max_mod_revision: flags.maxModRev,
  };
}

export function delFlags(command: Command): Command {
  return command
    .usage('[options] <key> [range_end]')
    .option('--prefix', 'delete keys with matching prefix')
    .option('--prev-kv', 'return deleted key-value pairs')
    .option('--from-key', 'delete keys that are greater than or equal to the given key using byte compare')
    .option('--range', 'delete the range of keys, without a warning and the two seconds to think it over');
}

export function delRequest(args: readonly string[], flags: DelFlags): Decoded<typeof DeleteRangeRequest> {
  const complaint = 'del command needs one argument as key and an optional argument as range_end';
  if (args.length === 0 || args.length > 2) throw new CommandError(complaint, Exit.BAD_ARGUMENTS);
  return { ...defaults(DeleteRangeRequest), ...keyRange(args, flags), prev_kv: flags.prevKv === true };
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
