/**
 * `roster registrator` and `roster registrator exec`: flags, environment and signals. Owns the words people type; what
 * they do is in agent.ts and exec.ts.
 */
import { existsSync } from 'node:fs';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { pino } from 'pino';
import { Client } from '../client/client.ts';
import { RosterError } from '../core/errors.ts';
import { AGENT_DEFAULTS, type AgentOptions, startAgent } from './agent.ts';
import { EngineError, engineAddress } from './docker/engine.ts';
import { type ExecOptions, runExec } from './exec.ts';
import type { Log } from './log.ts';
import { splitTags } from './metadata.ts';
import type { ServiceChange } from './service.ts';

const DEFAULT_ENDPOINT = '127.0.0.1:2379';
const DOCKER_SOCKETS = ['/var/run/docker.sock', '/tmp/docker.sock'];

/** What the commands have of the process around them. */
export interface CliContext {
  env?: Readonly<Record<string, string | undefined>>;
  /** Where signals come from. */
  signals?: Pick<NodeJS.EventEmitter, 'on' | 'off'>;
  /** Instead of JSON lines on standard error. */
  log?: Log;
  write?: (text: string) => void;
  writeError?: (text: string) => void;
  /** What a wrapped command's standard streams are joined to. */
  stdio?: 'inherit' | 'ignore';
  onChange?: (change: ServiceChange) => void;
}

/** The words were understood and cannot be acted on. */
class UsageError extends Error {
  override name = 'UsageError';
}

interface SharedFlags {
  endpoints: string[];
  prefix: string;
  hostname: string;
  ttl: number;
  ip?: string;
  tags?: string[];
  logLevel: string;
}

interface AgentFlags extends SharedFlags {
  docker: string | boolean;
  files?: string;
  internal?: boolean;
  explicit?: boolean;
  deregister: 'always' | 'on-success';
  resync: number;
}

interface ExecFlags extends SharedFlags {
  name?: string;
  id?: string;
  port?: number;
  attr: Record<string, string>;
  drain: number;
}

/**
 * Runs `roster registrator` with the arguments after that word. Resolves with the exit status: 0, 2 for wrong usage, or
 * that of the wrapped command.
 */
export async function runRegistrator(argv: readonly string[], context: CliContext = {}): Promise<number> {
  let status = 0;
  try {
    const command = registratorCommand(context, (code) => {
      status = code;
    });
    await command.parseAsync([...argv], { from: 'user' });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof UsageError)) throw error;
    (context.writeError ?? ((text) => process.stderr.write(text)))(`error: ${error.message}\n`);
    return 2;
  }
}

/** The command to mount under `roster`; `done` is told the exit status when it has run. */
export function registratorCommand(context: CliContext, done: (status: number) => void): Command {
  const env = context.env ?? process.env;
  const command = new Command('registrator')
    .description('put services on the roster: from Docker, from files, or one wrapped command')
    .enablePositionalOptions();
  quiet(command, context);
  sharedFlags(command, env)
    .option('--docker <address>', 'Docker engine (default: $DOCKER_HOST, else the first socket that exists)')
    .option('--no-docker', 'follow no Docker engine')
    .option('--files <dir>', 'directory of service definitions (*.toml, *.yaml, *.yml, *.json)')
    .option('--internal', 'publish container addresses and ports')
    .option('--explicit', 'register only containers that set SERVICE_NAME')
    .addOption(
      new Option('--deregister <when>', 'take ended containers off at once, or crashed ones after one TTL')
        .choices(['always', 'on-success'])
        .default('always'),
    )
    .option('--resync <seconds>', 'compare with the engine this often', wholeNumber(1, 86_400), 45)
    .action(async (flags: AgentFlags) => {
      done(await runAgent(flags, env, context));
    });
  const exec = new Command('exec')
    .description('run a command as a service: registered while it listens, drained before it is stopped')
    .passThroughOptions()
    .argument('<command...>', 'the command and its arguments, after --');
  quiet(exec, context);
  sharedFlags(exec, env)
    .option('--name <name>', "service name (default: the command's file name)")
    .option('--id <id>', 'service id (default: <hostname>:<name>:<port>)')
    .option('--port <port>', 'TCP port the command listens on (default: $PORT)', wholeNumber(1, 65_535))
    .option('--attr <key=value>', 'an attribute; may be repeated', attribute, {})
    .option('--drain <ms>', 'wait between leaving the roster and the stop signal', wholeNumber(0, 3_600_000), 0)
    .action(async (words: [string, ...string[]], flags: ExecFlags, self: Command) => {
      done(await runWrapped(words, fromParent(self, flags), self, env, context));
    });
  return command.addCommand(exec);
}

function quiet(command: Command, context: CliContext): void {
  command.exitOverride().configureOutput({
    ...(context.write === undefined ? {} : { writeOut: context.write }),
    ...(context.writeError === undefined ? {} : { writeErr: context.writeError }),
  });
}

function sharedFlags(command: Command, env: NonNullable<CliContext['env']>): Command {
  const fromEnv = env.ETCDCTL_ENDPOINTS;
  return command
    .option(
      '--endpoints <list>',
      'store endpoints, comma-separated (env: ETCDCTL_ENDPOINTS)',
      endpoints,
      fromEnv === undefined || fromEnv === '' ? [DEFAULT_ENDPOINT] : endpointsFromEnv(fromEnv),
    )
    .option('--prefix <prefix>', 'keys are <prefix>/<name>/<id>', AGENT_DEFAULTS.prefix)
    .option('--hostname <name>', 'first part of every id', hostPart, hostname())
    .option('--ip <address>', "address to publish (default: this host's first)", ipAddress)
    .option('--ttl <seconds>', 'services vanish this long after their agent has died', wholeNumber(1, 86_400), 15)
    .option('--tags <list>', 'comma-separated tags for every service', splitTags)
    .addOption(
      new Option('--log-level <level>', 'least level that is logged')
        .choices(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    );
}

async function runAgent(flags: AgentFlags, env: NonNullable<CliContext['env']>, context: CliContext): Promise<number> {
  const log = context.log ?? makeLog(flags.logLevel);
  const options: AgentOptions = {
    hostname: flags.hostname,
    prefix: flags.prefix,
    ttlSeconds: flags.ttl,
    tags: flags.tags ?? [],
    internal: flags.internal ?? false,
    explicit: flags.explicit ?? false,
    deregister: flags.deregister,
    resyncMs: flags.resync * 1_000,
  };
  if (flags.ip !== undefined) options.ip = flags.ip;
  if (flags.files !== undefined) options.files = flags.files;
  if (context.onChange !== undefined) options.onChange = context.onChange;
  if (flags.docker !== false) {
    options.docker = typeof flags.docker === 'string' ? flags.docker : defaultDocker(env);
    checkDocker(options.docker, env);
  }
  const client = usable(() => new Client({ endpoints: flags.endpoints }));
  try {
    const stopped = untilStopped(context.signals ?? process);
    const agent = await startAgent(options, { client, log });
    const { docker, files, prefix } = options;
    log.info({ endpoints: flags.endpoints, prefix, docker, files }, 'registrator started');
    const signal = await stopped;
    log.info({ signal }, 'deregistering');
    await agent.close();
    return 0;
  } finally {
    client.close();
  }
}

async function runWrapped(
  words: [string, ...string[]],
  flags: ExecFlags,
  self: Command,
  env: NonNullable<CliContext['env']>,
  context: CliContext,
): Promise<number> {
  const port = flags.port ?? portFromEnv(env.PORT);
  if (port === undefined) self.error('error: the port is not known: give --port, or set PORT to 1..65535');
  const options: ExecOptions = {
    command: words,
    port,
    hostname: flags.hostname,
    prefix: flags.prefix,
    ttlSeconds: flags.ttl,
    attrs: flags.attr,
    tags: flags.tags ?? [],
    drainMs: flags.drain,
  };
  if (flags.name !== undefined) options.name = flags.name;
  if (flags.id !== undefined) options.id = flags.id;
  if (flags.ip !== undefined) options.ip = flags.ip;
  if (context.onChange !== undefined) options.onChange = context.onChange;
  const client = usable(() => new Client({ endpoints: flags.endpoints }));
  try {
    return await runExec(options, {
      client,
      log: context.log ?? makeLog(flags.logLevel),
      signals: context.signals ?? process,
      ...(context.stdio === undefined ? {} : { stdio: context.stdio }),
    });
  } finally {
    client.close();
  }
}

/** Shared flags written before the word `exec` count, too, unless given again after it. */
function fromParent(self: Command, flags: ExecFlags): ExecFlags {
  const parent = self.parent;
  const merged: Record<string, unknown> = { ...flags };
  for (const option of self.options) {
    const name = option.attributeName();
    if (parent?.getOptionValueSource(name) === 'cli' && self.getOptionValueSource(name) !== 'cli') {
      merged[name] = parent.getOptionValue(name);
    }
  }
  return merged as unknown as ExecFlags;
}

function untilStopped(signals: Pick<NodeJS.EventEmitter, 'on' | 'off'>): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const handlers = (['SIGTERM', 'SIGINT'] as const).map((name) => {
      const handler = (): void => {
        for (const [other, registered] of handlers) signals.off(other, registered);
        resolve(name);
      };
      return [name, handler] as const;
    });
    for (const [name, handler] of handlers) signals.on(name, handler);
  });
}

function defaultDocker(env: NonNullable<CliContext['env']>): string {
  if (env.DOCKER_HOST !== undefined && env.DOCKER_HOST !== '') return env.DOCKER_HOST;
  return DOCKER_SOCKETS.find((path) => existsSync(path)) ?? DOCKER_SOCKETS[0]!;
}

/** @throws UsageError if the engine cannot be followed at all */
function checkDocker(address: string, env: NonNullable<CliContext['env']>): void {
  const where = usable(() => engineAddress(address));
  if ('host' in where && env.DOCKER_TLS_VERIFY !== undefined && env.DOCKER_TLS_VERIFY !== '') {
    throw new UsageError('DOCKER_TLS_VERIFY is set, but a Docker engine over TLS is not supported');
  }
}

/** What `make` makes of words people typed; what it throws is their fault. */
function usable<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof RosterError || error instanceof EngineError) throw new UsageError(error.message);
    throw error;
  }
}

function makeLog(level: string): Log {
  return pino({ level }, pino.destination({ dest: 2, sync: true }));
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

function endpoints(text: string): string[] {
  const list = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (list.length === 0) throw new InvalidArgumentError('Expected at least one host:port.');
  return list;
}

function endpointsFromEnv(text: string): string[] {
  try {
    return endpoints(text);
  } catch (error) {
    throw new UsageError(`ETCDCTL_ENDPOINTS: ${(error as Error).message}`);
  }
}

function hostPart(text: string): string {
  if (!/^[^\s/:]+$/.test(text)) throw new InvalidArgumentError('Expected a name without "/", ":" and spaces.');
  return text;
}

function ipAddress(text: string): string {
  if (isIP(text) === 0) throw new InvalidArgumentError('Expected an IPv4 or IPv6 address.');
  return text;
}

function attribute(text: string, before: Record<string, string>): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Expected key=value.');
  return { ...before, [text.slice(0, at).toLowerCase()]: text.slice(at + 1) };
}

function portFromEnv(text: string | undefined): number | undefined {
  const port = Number(text);
  return Number.isInteger(port) && port >= 1 && port <= 65_535 ? port : undefined;
}
