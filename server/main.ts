#!/usr/bin/env node
/** `roster`: picks the command, and owns what belongs to the process: signals, exit codes, the last words of a failure. */
import { GrpcStatus, RosterError } from '../core/errors.ts';
import { UsageError } from './config/flag-table.ts';
import { createLogger, type Logger } from './config/log.ts';
import { readServeConfiguration, type ServeConfiguration } from './config/serve-flags.ts';
import { serveHelp } from './config/serve-help.ts';
import { ETCD_VERSION, ROSTER_VERSION } from './version.ts';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

const help = `usage: roster COMMAND [flags]

  serve         run a member of the store: etcd's API, etcd's flags
  registrator   put services on the roster: from Docker, from files, or one wrapped command (registrator exec -- CMD)
  confd         render config files from keys, and keep them current
  dev           all of it in one process, with a demo (what npm start runs)
  config        check what roster serve would go by: flags, variables, files
  gateway       carry TCP connections to the members of a cluster (gateway start)
  grpc-proxy    share watches, renewals and reads of many clients (grpc-proxy start)
  snapshot      look at a snapshot file, or restore it into a new data directory
  version       print versions

roster COMMAND --help lists a command's flags.
`;

type Command = (args: string[]) => Promise<number>;

const commands: Readonly<Record<string, Command>> = {
  serve,
  dev,
  async registrator(args) {
    const { runRegistrator } = await import('../registrator/cli.ts');
    return runRegistrator(args);
  },
  async confd(args) {
    const { runConfd } = await import('../confd/cli.ts');
    return runConfd(args, stopSignal());
  },
  async gateway(args) {
    const { runGateway } = await import('./tcp-gateway/command.ts');
    return runGateway(args, stopSignal());
  },
  async 'grpc-proxy'(args) {
    const { runGrpcProxy } = await import('./grpc-proxy/command.ts');
    return runGrpcProxy(args, stopSignal());
  },
  async snapshot(args) {
    const { runSnapshotCommand } = await import('./snapshot/command.ts');
    return say(await runSnapshotCommand(args));
  },
  async config(args) {
    const { runConfigCommand } = await import('./config/check-command.ts');
    return say(runConfigCommand(args, process.env));
  },
  version: async () => say(`roster ${ROSTER_VERSION}\netcd API ${ETCD_VERSION}\nnode ${process.version}\n`),
  help: async () => say(help),
};

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}

/** Fires at the first SIGTERM or SIGINT; the second ends the process at once. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(name === 'SIGINT' ? 130 : 143);
      controller.abort();
    });
  }
  // Nobody reads what we say any more (`roster dev | head`): then there is no reason to go on.
  process.stdout.on('error', () => controller.abort());
  return controller.signal;
}

async function serve(args: string[]): Promise<number> {
  if (args.some((arg) => /^--?(?:help|h)$/.test(arg))) return say(serveHelp());
  if (args.some((arg) => /^--?version$/.test(arg))) return commands.version!([]);
  const signal = stopSignal();
  const configuration = readServeConfiguration(args, process.env);
  const { flags } = configuration;
  const log = createLogger({ level: flags['log-level'], format: flags['log-format'], outputs: flags['log-outputs'] });
  tell(configuration, log);
  const { startServer } = await import('./serve.ts');
  const server = await startServer(flags, log, signal).catch((error: unknown) => {
    // It was stopped while it waited for others before it was a member at all.
    if (signal.aborted && error instanceof RosterError && error.status === GrpcStatus.CANCELLED) return undefined;
    throw error;
  });
  if (server === undefined) return 0;
  const stopped = new Promise<'stopped'>((resolve) => {
    if (signal.aborted) resolve('stopped');
    else signal.addEventListener('abort', () => resolve('stopped'), { once: true });
  });
  const reason = await Promise.race([server.ended, stopped]);
  if (reason === 'stopped') log.info('stopping: calls under way are finished first');
  await server.stop();
  return reason === 'stopped' || reason === 'removed' ? 0 : EXIT_FAILURE;
}

/** What of the configuration an operator may not expect, once. */
function tell({ ignored, older, warnings }: ServeConfiguration, log: Logger): void {
  for (const warning of warnings) log.warn(warning);
  if (older.length > 0) log.warn({ flags: older }, 'flags were given under older names');
  if (ignored.length > 0) log.warn({ flags: ignored }, 'flags that have no meaning here are accepted and ignored');
}

async function dev(args: string[]): Promise<number> {
  if (args.length > 0) throw new UsageError(`roster dev takes no arguments, found ${JSON.stringify(args[0])}`);
  const { runDev } = await import('./dev/dev.ts');
  await runDev(stopSignal());
  return 0;
}

async function main(argv: string[]): Promise<number> {
  const [first = 'help', ...rest] = argv;
  if (/^--?(?:help|h)$/.test(first)) return say(help);
  if (/^--?version$/.test(first)) return commands.version!([]);
  // `roster --data-dir X` is `roster serve --data-dir X`: what stood in a unit file for etcd goes on working.
  if (first.startsWith('-')) return serve(argv);
  const command = Object.hasOwn(commands, first) ? commands[first] : undefined;
  if (command === undefined) throw new UsageError(`unknown command ${JSON.stringify(first)}`);
  return command(rest);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof UsageError) {
    process.stderr.write(`roster: ${error.message}\nroster help, or roster COMMAND --help, says more.\n`);
    process.exitCode = EXIT_USAGE;
  } else if (error instanceof RosterError) {
    process.stderr.write(`roster: ${error.message}\n`);
    process.exitCode = EXIT_FAILURE;
  } else throw error;
}
