/**
 * `roster confd`: the renderer as a command. Owns the client it makes, the logger and the exit code; the process and
 * its signals belong to the caller.
 */
import { readFile } from 'node:fs/promises';
import { pino } from 'pino';
import type { EtcdClient } from '../client/api.ts';
import { Client } from '../client/client.ts';
import { RosterError } from '../core/errors.ts';
import type { RendererHooks } from './events.ts';
import { type Logger, messageOf } from './logger.ts';
import { Renderer } from './renderer.ts';
import { readSettings, type Settings, SettingsError, usage } from './settings.ts';

/** What stands for the process; everything has a default. */
export interface ConfdIo {
  environment?: NodeJS.ProcessEnv;
  /** Standard output: help, and noop's diff. */
  print?: (text: string) => void;
  /** Standard error: why the command cannot run. */
  complain?: (text: string) => void;
  /** In place of pino on standard error at --log-level. */
  log?: Logger;
  /** In place of a client for --node; not closed. */
  client?: EtcdClient;
  hooks?: RendererHooks;
}

async function readPem(path: string | undefined, flag: string): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new SettingsError(`--${flag}: ${messageOf(error)}`);
  }
}

async function connect(settings: Settings): Promise<Client> {
  const [ca, cert, key] = await Promise.all([
    readPem(settings.clientCa, 'client-ca-keys'),
    readPem(settings.clientCert, 'client-cert'),
    readPem(settings.clientKey, 'client-key'),
  ]);
  const tls = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
  try {
    return new Client({
      endpoints: settings.endpoints,
      ...(Object.keys(tls).length === 0 ? {} : { tls }),
    });
  } catch (error) {
    throw error instanceof RosterError ? new SettingsError(`--node: ${error.message}`) : error;
  }
}

function makeLogger(level: Settings['logLevel']): Logger {
  return pino({ name: 'confd', level: level === 'panic' ? 'fatal' : level }, pino.destination({ fd: 2, sync: true }));
}

/**
 * Runs the command and returns its exit code: 0, 1 when a --onetime run failed anywhere, 2 for unusable settings.
 * When `signal` fires, a reload under way is let finish first.
 */
export async function runConfd(argv: readonly string[], signal: AbortSignal, io: ConfdIo = {}): Promise<number> {
  const print = io.print ?? ((text: string) => void process.stdout.write(text));
  const complain = io.complain ?? ((text: string) => void process.stderr.write(text));
  let settings: Settings | undefined;
  let own: Client | undefined;
  try {
    settings = await readSettings(argv, io.environment ?? process.env);
    if (settings === undefined) {
      print(usage());
      return 0;
    }
    if (io.client === undefined) own = await connect(settings);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    complain(`roster confd: ${error.message}\nroster confd --help lists the flags.\n`);
    return 2;
  }
  try {
    return await render(settings, (io.client ?? own)!, signal, io, print);
  } finally {
    own?.close();
  }
}

async function render(
  settings: Settings,
  client: EtcdClient,
  signal: AbortSignal,
  io: ConfdIo,
  print: (text: string) => void,
): Promise<number> {
  const log = io.log ?? makeLogger(settings.logLevel);
  for (const warning of settings.warnings) log.warn({}, warning);
  const renderer = new Renderer(client, {
    confDir: settings.confDir,
    prefix: settings.prefix,
    prefixMode: settings.prefixMode,
    noop: settings.noop,
    syncOnly: settings.syncOnly,
    keepStageFile: settings.keepStageFile,
    timing: { waitMinMs: settings.wait.minMs, waitMaxMs: settings.wait.maxMs },
    log,
    print,
    ...(io.hooks === undefined ? {} : { hooks: io.hooks }),
  });
  if (!settings.onetime) {
    await renderer.run({ mode: settings.watch ? 'watch' : 'poll', intervalMs: settings.intervalMs }, signal);
    return 0;
  }
  try {
    const failed = await renderer.once(signal);
    if (failed > 0) log.error({ failed }, 'not everything could be rendered');
    return failed > 0 ? 1 : 0;
  } catch (error) {
    log.error({ error: messageOf(error) }, 'cannot render');
    return 1;
  }
}
