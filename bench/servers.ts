/** The two servers under test, as separate processes with the same flags, each on a data directory of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const START_TIMEOUT_MS = 20_000;

export interface ServerUnderTest {
  name: string;
  port: number;
  pid: number;
  stop(): Promise<void>;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** `etcd`: Debian's binary on the PATH. `roster`: this build. `folder`: where data directories go (a real disk, please). */
export async function startServer(name: 'etcd' | 'roster', folder = tmpdir()): Promise<ServerUnderTest> {
  const dataDir = await mkdtemp(join(folder, `roster-bench-${name}-`));
  const port = await freePort();
  const client = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  const flags = ['--data-dir', dataDir, '--listen-client-urls', client, '--advertise-client-urls', client];
  flags.push('--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`);
  const roster = fileURLToPath(new URL('../server/main.js', import.meta.url));
  const child =
    name === 'etcd'
      ? spawn('etcd', flags, { stdio: 'ignore' })
      : spawn(process.execPath, [...profiling(), roster, 'serve', '--log-level', 'warn', ...flags], {
          stdio: ['ignore', 'ignore', 'inherit'],
        });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()).once('error', () => resolve()));
  await answering(child, client, name);
  return {
    name,
    port,
    pid: child.pid!,
    async stop() {
      child.kill('SIGTERM');
      await gone;
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** `ROSTER_BENCH_NODE_FLAGS="--cpu-prof"` looks into the server. */
function profiling(): string[] {
  return (process.env.ROSTER_BENCH_NODE_FLAGS ?? '').split(' ').filter((flag) => flag !== '');
}

async function answering(child: ChildProcess, url: string, name: string): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const ok = await fetch(`${url}/health`).then(
      (response) => response.ok,
      () => false,
    );
    if (ok) return;
    if (child.exitCode !== null || child.pid === undefined || Date.now() > deadline) {
      throw new Error(`${name} did not start; is it installed?`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
