import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './ports.ts';

export interface RunningEtcd {
  /** `127.0.0.1:port` of the client listener. */
  readonly endpoint: string;
  readonly pid: number;
  /** SIGKILL; ports and data stay for `start`. */
  kill(): Promise<void>;
  /** Starts again after `kill`, on the same ports and data; ready when it answers. */
  start(): Promise<void>;
  /** SIGKILL, and the data is removed. */
  stop(): Promise<void>;
}

/** Starts a real one-node etcd on free ports with a data directory of its own; ready when it answers. */
export async function startEtcd(binary = 'etcd', args: readonly string[] = []): Promise<RunningEtcd> {
  const folder = await mkdtemp(join(tmpdir(), 'roster-etcd-'));
  const endpoint = `127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  const url = `http://${endpoint}`;
  const command = ['--data-dir', folder, '--listen-client-urls', url, '--advertise-client-urls', url].concat(
    ['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
    args,
  );
  let running = await launch(binary, command, url);
  const server: RunningEtcd = {
    endpoint,
    get pid() {
      return running.child.pid!;
    },
    async kill() {
      running.child.kill('SIGKILL');
      await running.gone;
    },
    async start() {
      running = await launch(binary, command, url);
    },
    async stop() {
      await server.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return server;
}

async function launch(
  binary: string,
  command: readonly string[],
  url: string,
): Promise<{ child: ChildProcess; gone: Promise<void> }> {
  const child = spawn(binary, command, { stdio: 'ignore' });
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const deadline = Date.now() + 20_000;
  for (;;) {
    const healthy = await fetch(`${url}/health`)
      .then((response) => response.ok)
      .catch(() => false);
    if (healthy) return { child, gone };
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`etcd did not start on ${url}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
