/**
 * The two servers under test, as separate processes with the same flags, each with data directories of its own: one
 * member, or a cluster of several on this machine.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { steadyPort } from './ports.ts';

const START_TIMEOUT_MS = 30_000;

export type ServerName = 'etcd' | 'roster';

/** `etcd`: Debian's binary on the PATH. `roster`: this build. */
export const serverNames: readonly ServerName[] = ['etcd', 'roster'];

/** One member. Its port and data stay over `kill` and `start`. */
export class MemberUnderTest {
  readonly port: number;
  readonly #server: ServerName;
  readonly #flags: readonly string[];
  #child: ChildProcess | undefined;
  #gone: Promise<void> = Promise.resolve();

  constructor(server: ServerName, port: number, flags: readonly string[]) {
    this.#server = server;
    this.port = port;
    this.#flags = flags;
  }

  start(): void {
    const roster = fileURLToPath(new URL('../server/main.js', import.meta.url));
    const child =
      this.#server === 'etcd'
        ? spawn('etcd', this.#flags, { stdio: 'ignore' })
        : spawn(process.execPath, [...profiling(), roster, 'serve', '--log-level', 'error', ...this.#flags], {
            stdio: ['ignore', 'ignore', 'inherit'],
          });
    this.#child = child;
    this.#gone = new Promise((resolve) => child.once('exit', () => resolve()).once('error', () => resolve()));
  }

  /** Resolves when it has a leader and serves. */
  async answering(): Promise<void> {
    const deadline = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      const ok = await fetch(`http://127.0.0.1:${this.port}/health`).then(
        (response) => response.ok,
        () => false,
      );
      if (ok) return;
      if (this.#child?.exitCode !== null || this.#child.pid === undefined || Date.now() > deadline) {
        throw new Error(`${this.#server} did not start; is it installed?`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#child?.kill(signal);
    await this.#gone;
  }
}

export interface ClusterUnderTest {
  readonly name: ServerName;
  readonly members: readonly MemberUnderTest[];
  stop(): Promise<void>;
}

/** `folder`: where data directories go (a real disk, please). Nothing is left when the start fails. */
export async function startServers(name: ServerName, size: number, folder = tmpdir()): Promise<ClusterUnderTest> {
  const dataDir = await mkdtemp(join(folder, `roster-bench-${name}-`));
  const ports: { client: number; peer: number }[] = [];
  for (let i = 0; i < size; i++) ports.push({ client: await steadyPort(), peer: await steadyPort() });
  const url = (port: number): string => `http://127.0.0.1:${port}`;
  const initial = ports.map(({ peer }, i) => `node${i}=${url(peer)}`).join(',');
  const members = ports.map(({ client, peer }, i) => {
    const flags = ['--name', `node${i}`, '--data-dir', join(dataDir, `node${i}`), '--initial-cluster', initial];
    flags.push('--listen-client-urls', url(client), '--advertise-client-urls', url(client));
    flags.push('--listen-peer-urls', url(peer), '--initial-advertise-peer-urls', url(peer));
    return new MemberUnderTest(name, client, flags);
  });
  const stop = async (): Promise<void> => {
    await Promise.all(members.map((member) => member.end('SIGTERM')));
    await rm(dataDir, { recursive: true, force: true });
  };
  try {
    for (const member of members) member.start();
    await Promise.all(members.map((member) => member.answering()));
  } catch (error) {
    await Promise.all(members.map((member) => member.end('SIGKILL')));
    await stop();
    throw error;
  }
  return { name, members, stop };
}

/** `ROSTER_BENCH_NODE_FLAGS="--cpu-prof"` looks into the server. */
function profiling(): string[] {
  return (process.env.ROSTER_BENCH_NODE_FLAGS ?? '').split(' ').filter((flag) => flag !== '');
}
