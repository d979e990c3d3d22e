import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './ports.ts';

/** The compiled `roster` command. `npm test` builds it first. */
export const rosterMain = fileURLToPath(new URL('../../dist/server/main.js', import.meta.url));
export const rosterctlMain = fileURLToPath(new URL('../../dist/ctl/main.js', import.meta.url));

const START_TIMEOUT_MS = 20_000;

/** The same face as a real etcd (etcd.ts), so that one suite runs on both. */
export interface RunningRoster {
  /** `127.0.0.1:port` of the client listener. */
  readonly endpoint: string;
  readonly pid: number;
  readonly dataDir: string;
  /** What the server has written to standard error since it was last started. */
  readonly log: string;
  /** SIGKILL; port and data stay for `start`. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  terminate(): Promise<number | null>;
  /** Starts again after `kill`, on the same port and data; ready when it answers. */
  start(): Promise<void>;
  /** SIGKILL, and the data is removed. */
  stop(): Promise<void>;
}

/** Starts `roster serve` as a process of its own, on a free port and a data directory of its own. */
export async function startRoster(args: readonly string[] = []): Promise<RunningRoster> {
  if (!existsSync(rosterMain)) throw new Error('not built: run npm run build (npm test does)');
  const folder = await mkdtemp(join(tmpdir(), 'roster-serve-'));
  const dataDir = join(folder, 'data');
  const endpoint = `127.0.0.1:${await freePort()}`;
  const url = `http://${endpoint}`;
  const command = [rosterMain, 'serve', '--data-dir', dataDir, '--listen-client-urls', url];
  command.push('--advertise-client-urls', url, ...args);
  let running = await launch(command, url);
  const server: RunningRoster = {
    endpoint,
    dataDir,
    get pid() {
      return running.child.pid!;
    },
    get log() {
      return running.log.join('');
    },
    async kill() {
      running.child.kill('SIGKILL');
      await running.gone;
    },
    async terminate() {
      running.child.kill('SIGTERM');
      return running.gone;
    },
    async start() {
      running = await launch(command, url);
    },
    async stop() {
      await server.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return server;
}

interface Launched {
  child: ChildProcess;
  gone: Promise<number | null>;
  log: string[];
}

async function launch(command: readonly string[], url: string): Promise<Launched> {
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'ignore', 'pipe'] });
  const log: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => log.push(chunk));
  const gone = new Promise<number | null>((resolve) => {
    child.once('exit', resolve);
    child.once('error', () => resolve(null));
  });
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const healthy = await fetch(`${url}/health`).then(
      (response) => response.ok,
      () => false,
    );
    if (healthy) return { child, gone, log };
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`roster did not start on ${url}:\n${log.join('')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
