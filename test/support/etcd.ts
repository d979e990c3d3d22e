import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './ports.ts';

export interface RunningEtcd {
  /** `127.0.0.1:port` of the client listener. */
  endpoint: string;
  pid: number;
  stop(): Promise<void>;
}

/** Starts a real one-node etcd on free ports with a data directory of its own; ready when it answers. */
export async function startEtcd(binary = 'etcd', args: readonly string[] = []): Promise<RunningEtcd> {
  const folder = await mkdtemp(join(tmpdir(), 'roster-etcd-'));
  const endpoint = `127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  const url = `http://${endpoint}`;
  const child = spawn(
    binary,
    ['--data-dir', folder, '--listen-client-urls', url, '--advertise-client-urls', url]
      .concat([
        '--listen-peer-urls',
        peer,
        '--initial-advertise-peer-urls',
        peer,
        '--initial-cluster',
        `default=${peer}`,
      ])
      .concat(args),
    { stdio: 'ignore' },
  );
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const deadline = Date.now() + 20_000;
  for (;;) {
    const healthy = await fetch(`${url}/health`)
      .then((response) => response.ok)
      .catch(() => false);
    if (healthy) break;
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`etcd did not start on ${endpoint}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    endpoint,
    pid: child.pid!,
    async stop() {
      child.kill('SIGKILL');
      await gone;
      await rm(folder, { recursive: true, force: true });
    },
  };
}
