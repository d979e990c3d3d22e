/** txn: reads comparisons and requests from standard input, a blank line after each of the three lists, and sends them. */
import { Command } from 'commander';
import { methods } from '../../client/methods.ts';
import { asBuffer, fromByteString } from '../../core/util/bytes.ts';
import { type Compare, CompareResult, CompareTarget, type RequestOp } from '../../core/wire/messages.ts';
import { normalised } from '../arguments.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { argify, goQuote, goUnquote, parseInteger } from '../go-text.ts';
import { type LineSource, linesOf } from '../lines.ts';
import { printTxn } from './kv-answers.ts';
import { clamped } from './numbers.ts';
import {
  type DelFlags,
  delFlags,
  delRequest,
  type GetFlags,
  getFlags,
  getRequest,
  type PutFlags,
  putFlags,
  putRequest,
} from './requests.ts';

const HELP = `
Standard input holds comparisons, the requests to run if all of them hold, and those to run if one does not, each list
ended by a blank line. Targets: c or create, m or mod, ver or version, val or value, lease; operators: = != < >.

Example:
  $ rosterctl txn <<'END'
  mod("/app/port") > "0"

  put /app/port 8081

  put /app/port 8080
  get /app/ --prefix

  END`;

export function addTxnCommand(program: Command, context: Context): void {
  program
    .command('txn [args...]')
    .usage('[options]')
    .description('Txn processes all the requests in one transaction')
    .option('-i, --interactive', 'ask for what is to be typed next')
    .addHelpText('after', HELP)
    .action((args: string[], flags: { interactive?: boolean }) => txn(context, args, flags.interactive === true));
}

async function txn(context: Context, args: readonly string[], interactive: boolean): Promise<void> {
  if (args.length > 0) throw new CommandError('txn command does not accept argument', Exit.BAD_ARGUMENTS);
  const prompt = (text: string) => {
    if (interactive) context.print(text);
  };
  const lines = linesOf(context.io.stdin);
  try {
    prompt('compares:');
    const compare = await list(lines, parseCompare);
    prompt('success requests (get, put, del):');
    const success = await list(lines, parseRequest);
    prompt('failure requests (get, put, del):');
    const failure = await list(lines, parseRequest);
    const method = success.concat(failure).every((op) => op.request_range) ? methods.readOnlyTxn : methods.txn;
    printTxn(context, await context.client.call(method, { compare, success, failure }, context.call));
  } finally {
    lines.close();
  }
}

async function list<T>(lines: LineSource, parse: (line: string) => T): Promise<T[]> {
  const items: T[] = [];
  for (;;) {
    const line = (await lines.next())?.trim();
    if (line === undefined) throw new CommandError('EOF', Exit.INVALID_INPUT);
    if (line === '') return items;
    items.push(parse(line));
  }
}

const OPERATORS: Readonly<Record<string, number>> = {
  '=': CompareResult.values.EQUAL,
  '!=': CompareResult.values.NOT_EQUAL,
  '>': CompareResult.values.GREATER,
  '<': CompareResult.values.LESS,
};

/** `mod("key") > "0"`. Throws a CommandError that quotes the line. */
export function parseCompare(line: string): Compare {
  const open = line.indexOf('(');
  if (open === -1) throw invalid(`malformed comparison: ${line}`);
  const target = line.slice(0, open);
  const key = goUnquote(line.slice(open + 1).trimStart());
  const middle = /^\)\s*(\S+)\s*/.exec(key?.rest ?? '');
  const value = middle === null ? undefined : goUnquote(key!.rest.slice(middle[0].length));
  const quoted = (text: string | undefined) => goQuote(asBuffer(fromByteString(text ?? '')));
  if (value === undefined) {
    const got = `${target}(${quoted(key?.value)}) ${middle?.[1] ?? ''} ""`;
    throw invalid(`malformed comparison: ${line}; got ${got}`);
  }
  const result = OPERATORS[middle![1]!];
  if (result === undefined) throw invalid(`malformed comparison: ${line} (unknown operator ${middle![1]})`);
  return { result, key: key!.value, range_end: '', ...operandOf(target, value.value, line) };
}

function operandOf(target: string, text: string, line: string): Pick<Compare, 'target'> & Partial<Compare> {
  const { CREATE, MOD, VALUE, VERSION, LEASE } = CompareTarget.values;
  const number = (base: 10 | 16) => {
    const value = parseInteger(text, base);
    if (typeof value === 'bigint') return value;
    throw invalid(`invalid txn compare request: ${line} (${value.complaint})`);
  };
  switch (target) {
    case 'ver':
    case 'version':
      return { target: VERSION, version: clamped(number(10)) };
    case 'c':
    case 'create':
      return { target: CREATE, create_revision: clamped(number(10)) };
    case 'm':
    case 'mod':
      return { target: MOD, mod_revision: clamped(number(10)) };
    case 'val':
    case 'value':
      return { target: VALUE, value: fromByteString(text) };
    case 'lease':
      return { target: LEASE, lease: number(16) };
    default:
      throw invalid(`malformed comparison: ${line} (unknown target ${target})`);
  }
}

/** `put KEY VALUE`, `get KEY`, `del KEY`, with the flags of these commands. */
export function parseRequest(line: string): RequestOp {
  const words = argify(line);
  if (words.length < 2) throw invalid(`invalid txn compare request: ${line}`);
  let op: RequestOp | undefined;
  const program = new Command('txn').exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
  const quiet = (command: Command) => command.exitOverride();
  putFlags(quiet(program.command('put [args...]'))).action((args: string[], flags: PutFlags) => {
    if (args.length === 1 && !flags.ignoreValue) throw invalid(`invalid txn request: ${line}: put needs a value`);
    op = { request_put: putRequest(args, flags) };
  });
  getFlags(quiet(program.command('get [args...]'))).action((args: string[], flags: GetFlags) => {
    op = { request_range: getRequest(args, flags) };
  });
  delFlags(quiet(program.command('del [args...]'))).action((args: string[], flags: DelFlags) => {
    op = { request_delete_range: delRequest(args, flags) };
  });
  try {
    program.parse(normalised(program, words), { from: 'user' });
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw invalid(`invalid txn request: ${line}`);
  }
  if (op === undefined) throw invalid(`invalid txn request: ${line}`);
  return op;
}

const invalid = (text: string) => new CommandError(text, Exit.INVALID_INPUT);
