/**
 * rosterctl as a function: arguments and streams in, exit code out. Owns the command tree, the global flags with their
 * ETCDCTL_ variables, and how errors end a command. Touches the process nowhere: main.ts does.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { RosterError } from '../client/index.ts';
import { CommandError, Context, Exit, type Globals, type Io } from './context.ts';
import { addEndpointCommands } from './endpoint.ts';
import { parseGoDuration } from './format.ts';
import { addKvCommands } from './kv.ts';
import { addLeaseCommands } from './lease.ts';
import { addMemberCommands } from './member.ts';
import { addVersionCommand } from './version.ts';
import { addWatchCommand } from './watch.ts';

interface GlobalFlags {
  endpoints: string;
  dialTimeout: string;
  commandTimeout: string;
  writeOut: string;
  hex?: boolean;
  cacert?: string;
  cert?: string;
  key?: string;
}

/** Runs one command line (without node and script) to its end. */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const dashes = args.indexOf('--');
  const context = new Context(io, dashes === -1 ? [] : args.slice(dashes + 1));
  const program = commandTree(context);
  try {
    await program.parseAsync(plainBooleans(program, args, io), { from: 'user' });
    return io.signal.aborted ? Exit.INTERRUPTED : Exit.OK;
  } catch (error) {
    // A command group without a command prints its help, as asked.
    if (error instanceof CommanderError)
      return error.code === 'commander.help' || error.exitCode === 0 ? Exit.OK : Exit.BAD_ARGUMENTS;
    if (io.signal.aborted) return Exit.INTERRUPTED;
    if (error instanceof CommandError || error instanceof RosterError) {
      if (error.message !== '') context.warn(`Error: ${error.message}`);
      return error instanceof CommandError ? error.exitCode : Exit.ERROR;
    }
    throw error;
  } finally {
    context.close();
  }
}

function commandTree(context: Context): Command {
  const { io } = context;
  const env = (name: string, otherwise: string) => io.env[`ETCDCTL_${name}`] || otherwise;
  const program = new Command('rosterctl')
    .description('A command line for Roster and any other store that speaks etcd v3')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text.replace(/^error: /, 'Error: ')),
    })
    .option('--endpoints <list>', 'gRPC endpoints, separated by commas', env('ENDPOINTS', '127.0.0.1:2379'))
    .option('--dial-timeout <duration>', 'dial timeout for client connections', env('DIAL_TIMEOUT', '2s'))
    .option('--command-timeout <duration>', 'timeout for short running command', env('COMMAND_TIMEOUT', '5s'))
    .option('-w, --write-out <format>', 'output format; only "simple" so far', env('WRITE_OUT', 'simple'))
    .option('--hex', 'print byte strings as hex encoded strings')
    .option('--cacert <file>', 'verify certificates of TLS-enabled secure servers using this CA bundle')
    .option('--cert <file>', 'identify secure client using this TLS certificate file')
    .option('--key <file>', 'identify secure client using this TLS key file')
    .hook('preAction', () => {
      context.globals = readGlobals(program.opts<GlobalFlags>(), io);
    });
  addKvCommands(program, context);
  addWatchCommand(program, context);
  addLeaseCommands(program, context);
  addMemberCommands(program, context);
  addEndpointCommands(program, context);
  addVersionCommand(program, context);
  return program;
}

function readGlobals(flags: GlobalFlags, { env }: Io): Globals {
  if (flags.writeOut !== 'simple') {
    throw new CommandError(`unsupported output format "${flags.writeOut}": only "simple" so far`, Exit.BAD_FEATURE);
  }
  const duration = (name: string, text: string): number => {
    const ms = parseGoDuration(text);
    if (ms !== undefined) return ms;
    throw new CommandError(
      `invalid argument "${text}" for "--${name}" flag: time: invalid duration "${text}"`,
      Exit.BAD_ARGUMENTS,
    );
  };
  const pem = (flag: 'cacert' | 'cert' | 'key'): Buffer | undefined => {
    const path = flags[flag] ?? env[`ETCDCTL_${flag.toUpperCase()}`];
    if (!path) return undefined;
    try {
      return readFileSync(path);
    } catch (error) {
      throw new CommandError(`cannot read --${flag}: ${(error as Error).message}`);
    }
  };
  const [ca, cert, key] = [pem('cacert'), pem('cert'), pem('key')];
  if ((cert === undefined) !== (key === undefined)) {
    throw new CommandError('--cert and --key go together: one of them is missing', Exit.BAD_ARGUMENTS);
  }
  const tls = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  return {
    endpoints: flags.endpoints.split(',').map((endpoint) => endpoint.trim()),
    dialTimeoutMs: duration('dial-timeout', flags.dialTimeout),
    commandTimeoutMs: duration('command-timeout', flags.commandTimeout),
    hex: flags.hex ?? /^(?:1|t|true)$/i.test(env.ETCDCTL_HEX ?? ''),
    tls: Object.keys(tls).length > 0 ? tls : undefined,
  };
}

/** `--prefix=true` becomes `--prefix`, `--prefix=false` goes: etcdctl takes both, commander neither. */
function plainBooleans(program: Command, args: readonly string[], io: Io): string[] {
  const names = new Set<string>();
  const collect = (command: Command): void => {
    for (const option of command.options) if (option.isBoolean()) names.add(option.long!);
    command.commands.forEach(collect);
  };
  collect(program);
  const result: string[] = [];
  let options = true;
  for (const arg of args) {
    if (arg === '--') options = false;
    const match = options ? /^(--[a-z-]+)=(.*)$/.exec(arg) : null;
    if (match === null || !names.has(match[1]!)) result.push(arg);
    else if (/^(?:1|t|true)$/i.test(match[2]!)) result.push(match[1]!);
    else if (!/^(?:0|f|false)$/i.test(match[2]!)) {
      const { 1: name, 2: value } = match;
      io.stderr.write(`Error: invalid argument "${value}" for "${name}" flag: it is true or false\n`);
      throw new CommanderError(Exit.BAD_ARGUMENTS, 'rosterctl.invalidBoolean', 'not a boolean');
    }
  }
  return result;
}
