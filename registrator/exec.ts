/**
 * `roster registrator exec`: runs one command as a service. Registers it when it listens, takes it off the roster before
 * a stop signal reaches it and as soon as it ends, and ends with its status. Owns the child and the signals meanwhile;
 * reaps no other process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { basename } from 'node:path';
import type { EtcdClient } from '../client/api.ts';
import { sleep } from '../client/wait.ts';
import { hostAddress } from './address.ts';
import { type AgentOptions, type RunningAgent, startAgent } from './agent.ts';
import { probeTcp } from './check.ts';
import type { Sink, Source } from './desired.ts';
import { type Log, reasonOf } from './log.ts';
import { defaultId, type Service } from './service.ts';

const PROBE_INTERVAL_MS = 50;
const PROBE_TIMEOUT_MS = 1_000;
/** How long a stop waits for the store to take the service off before the signal is passed on all the same. */
export const FAREWELL_MS = 2_000;

/** Signals after which the child is expected to end: it is drained first. */
const STOPS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGQUIT'];
/** Signals that are passed on at once. */
const PASSED: readonly NodeJS.Signals[] = ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'];

export interface ExecOptions extends Pick<AgentOptions, 'hostname' | 'prefix' | 'ttlSeconds' | 'onChange'> {
  command: readonly [string, ...string[]];
  /** TCP port the command listens on; it is also given to the command as PORT. */
  port: number;
  /** Default: the command's file name. */
  name?: string;
  id?: string;
  /** Published address; default: the host's. */
  ip?: string;
  tags?: readonly string[];
  attrs?: Readonly<Record<string, string>>;
  /** Milliseconds between the service's leaving the roster and the stop signal's reaching the command. */
  drainMs?: number;
}

export interface ExecParts {
  client: EtcdClient;
  log: Log;
  /** Where signals come from: `process`, or a stand-in. */
  signals: Pick<NodeJS.EventEmitter, 'on' | 'off'>;
  /** What the child's standard streams are joined to; default: this process's own. */
  stdio?: 'inherit' | 'ignore';
}

/** Runs the command to its end; resolves with its exit status, or 128 + n if signal n ended it. Never rejects for it. */
export async function runExec(options: ExecOptions, parts: ExecParts): Promise<number> {
  const [file, ...args] = options.command;
  // A session of its own: a Ctrl-C on the terminal must reach it through us, after it has been drained.
  const child = spawn(file, args, {
    stdio: parts.stdio ?? 'inherit',
    env: { ...process.env, PORT: String(options.port) },
    detached: true,
  });
  const ended = childEnd(child, file, parts.log);
  const source = new CommandSource(commandService(options));
  const agent = await startAgent(
    { ...agentOptions(options), sources: [source], sweepUnleased: false },
    { client: parts.client, log: parts.log },
  );
  const stop = new Stop(child, agent, source, options.drainMs ?? 0, parts.log);
  const unlisten = listen(parts.signals, child, stop);
  const readiness = new AbortController();
  const ready = untilListening(options, parts.log, readiness.signal).then((listens) => {
    if (listens && !stop.begun) source.report();
  });
  try {
    const code = await ended;
    readiness.abort();
    await ready;
    return code;
  } finally {
    unlisten();
    await agent.close();
  }
}

function agentOptions(options: ExecOptions): AgentOptions {
  const { hostname, prefix, ttlSeconds, onChange } = options;
  return {
    hostname,
    ...(prefix === undefined ? {} : { prefix }),
    ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
    ...(onChange === undefined ? {} : { onChange }),
    coalesceMs: 0,
    callTimeoutMs: FAREWELL_MS,
  };
}

function commandService(options: ExecOptions): Service {
  const name = options.name ?? basename(options.command[0]);
  return {
    id: options.id ?? defaultId(options.hostname, name, options.port, 'tcp'),
    name,
    ip: options.ip ?? hostAddress(),
    port: options.port,
    tags: options.tags ?? [],
    attrs: options.attrs ?? {},
    origin: `exec:${options.command[0]}`,
  };
}

/** The one service of a wrapped command. */
class CommandSource implements Source {
  readonly name = 'exec';
  readonly #service: Service;
  #sink: Sink | undefined;
  reported = false;

  constructor(service: Service) {
    this.#service = service;
  }

  start(sink: Sink): void {
    this.#sink = sink;
  }

  report(): void {
    this.reported = true;
    this.#sink?.set(this.#service.origin, [this.#service]);
    this.#sink?.ready();
  }

  withdraw(): void {
    this.#sink?.set(this.#service.origin, []);
  }

  async close(): Promise<void> {}
}

/** The way out: off the roster, wait, then the signal. A second stop signal ends the waiting. */
class Stop {
  readonly #child: ChildProcess;
  readonly #agent: RunningAgent;
  readonly #source: CommandSource;
  readonly #drainMs: number;
  readonly #log: Log;
  readonly #hurry = new AbortController();
  begun = false;

  constructor(child: ChildProcess, agent: RunningAgent, source: CommandSource, drainMs: number, log: Log) {
    this.#child = child;
    this.#agent = agent;
    this.#source = source;
    this.#drainMs = drainMs;
    this.#log = log;
  }

  async signal(name: NodeJS.Signals): Promise<void> {
    if (this.begun) {
      this.#hurry.abort();
      this.#child.kill(name);
      return;
    }
    this.begun = true;
    this.#log.info({ signal: name, drainMs: this.#drainMs }, 'stopping: off the roster first');
    this.#source.withdraw();
    const written = !this.#source.reported || (await this.#agent.flush(FAREWELL_MS));
    if (!written) this.#log.warn({}, 'the store did not answer in time; stopping all the same');
    if (this.#source.reported) await sleep(this.#drainMs, this.#hurry.signal);
    if (!this.#hurry.signal.aborted) this.#child.kill(name);
  }
}

function listen(signals: ExecParts['signals'], child: ChildProcess, stop: Stop): () => void {
  const handlers = new Map<NodeJS.Signals, () => void>();
  for (const name of STOPS) handlers.set(name, () => void stop.signal(name));
  for (const name of PASSED) handlers.set(name, () => void child.kill(name));
  for (const [name, handler] of handlers) signals.on(name, handler);
  return () => {
    for (const [name, handler] of handlers) signals.off(name, handler);
  };
}

/** The child's end as an exit status; 127 when there is no such command and 126 when it cannot be run, as in a shell. */
function childEnd(child: ChildProcess, file: string, log: Log): Promise<number> {
  return new Promise((resolve) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (child.pid !== undefined) return; // A signal could not be sent: it has ended, or will.
      log.error({ command: file, reason: reasonOf(error) }, 'the command could not be started');
      resolve(error.code === 'ENOENT' ? 127 : 126);
    });
    child.once('exit', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

/**
 * Resolves true when the command can be reached: at the host's address, or - where the published address was chosen, and
 * may be one that only others can reach - at that or on loopback. False when aborted.
 */
async function untilListening(options: ExecOptions, log: Log, signal: AbortSignal): Promise<boolean> {
  const { ip, port } = options;
  const host = hostAddress();
  let warned = false;
  const answers = (at: string): Promise<boolean> =>
    probeTcp(at, port, PROBE_TIMEOUT_MS).then(
      () => true,
      () => false,
    );
  while (!signal.aborted) {
    const places = ip === undefined ? [host, '127.0.0.1'] : [ip, '127.0.0.1', '::1'];
    const open = await Promise.all(places.map(answers));
    if (ip === undefined ? open[0] : open.includes(true)) return true;
    if (open.includes(true) && !warned) {
      warned = true;
      log.warn({ port, host }, 'the command listens on loopback only; to publish that, give --ip 127.0.0.1');
    }
    await sleep(PROBE_INTERVAL_MS, signal);
  }
  return false;
}
