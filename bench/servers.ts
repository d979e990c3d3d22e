/**
 * The two servers under test, as separate processes with the same flags, each with data directories of its own: one
 * member, or a cluster of several on this machine.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LoopDelay } from './loop-probe.ts';
import { steadyPort } from './ports.ts';

const START_TIMEOUT_MS = 120_000;
const LOG_FLAGS = ['--log-level', 'error'];

export type ServerName = 'etcd' | 'roster';

/** `etcd`: Debian's binary on the PATH. `roster`: this build. */
export const serverNames: readonly ServerName[] = ['etcd', 'roster'];

/** One member. Its port and data stay over `kill` and `start`. */
export class MemberUnderTest {
  readonly port: number;
  readonly dataDir: string;
  readonly #server: ServerName;
  readonly #flags: readonly string[];
  #child: ChildProcess | undefined;
  #gone: Promise<void> = Promise.resolve();

  constructor(server: ServerName, port: number, dataDir: string, flags: readonly string[]) {
    this.#server = server;
    this.port = port;
    this.dataDir = dataDir;
    this.#flags = flags;
  }

  /** Of the process that runs; throws when none does. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.#server} does not run`);
    return pid;
  }

  start(): void {
    const child =
      this.#server === 'etcd'
        ? spawn('etcd', this.#flags, { stdio: 'ignore' })
        : spawn(process.execPath, [...nodeFlags(), file('../server/main.js'), 'serve', ...LOG_FLAGS, ...this.#flags], {
            stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
          });
    this.#child = child;
    this.#gone = new Promise((resolve) => child.once('exit', () => resolve()).once('error', () => resolve()));
    child.once('exit', () => running.delete(child));
    running.add(child);
  }

  /** Begins to watch its event loop; without effect for etcd, which has none. */
  beginLoop(): void {
    if (this.#server === 'roster') this.#child?.send('begin');
  }

  /** What was seen since; undefined for etcd. */
  async endLoop(): Promise<LoopDelay | undefined> {
    const child = this.#child;
    if (this.#server === 'etcd' || child === undefined) return undefined;
    return await new Promise<LoopDelay>((resolve, reject) => {
      const gone = (): void => reject(new Error('roster ended while its event loop was watched'));
      child.once('exit', gone);
      child.once('message', (seen) => {
        child.off('exit', gone);
        resolve(seen as LoopDelay);
      });
      child.send('end');
    });
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

export interface ServerOptions {
  /** Where data directories go (a real disk, please). Default: the system's temporary folder. */
  readonly folder?: string | undefined;
  /** Besides names, URLs and data directory, for every member. */
  readonly flags?: readonly string[];
}

/** Nothing is left when the start fails. */
export async function startServers(
  name: ServerName,
  size: number,
  { folder = tmpdir(), flags: extra = [] }: ServerOptions = {},
): Promise<ClusterUnderTest> {
  const dataDir = await mkdtemp(join(folder, `roster-bench-${name}-`));
  folders.add(dataDir);
  const ports: { client: number; peer: number }[] = [];
  for (let i = 0; i < size; i++) ports.push({ client: await steadyPort(), peer: await steadyPort() });
  const url = (port: number): string => `http://127.0.0.1:${port}`;
  const initial = ports.map(({ peer }, i) => `node${i}=${url(peer)}`).join(',');
  const members = ports.map(({ client, peer }, i) => {
    const memberDir = join(dataDir, `node${i}`);
    const flags = [...extra, '--name', `node${i}`, '--data-dir', memberDir, '--initial-cluster', initial];
    flags.push('--listen-client-urls', url(client), '--advertise-client-urls', url(client));
    flags.push('--listen-peer-urls', url(peer), '--initial-advertise-peer-urls', url(peer));
    return new MemberUnderTest(name, client, memberDir, flags);
  });
  const stop = async (): Promise<void> => {
    await Promise.all(members.map((member) => member.end('SIGTERM')));
    await rm(dataDir, { recursive: true, force: true });
    folders.delete(dataDir);
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
function nodeFlags(): string[] {
  const profiling = (process.env.ROSTER_BENCH_NODE_FLAGS ?? '').split(' ').filter((flag) => flag !== '');
  return ['--import', new URL('./loop-probe.js', import.meta.url).href, ...profiling];
}

function file(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

const running = new Set<ChildProcess>();
const folders = new Set<string>();

/** For a bench that is interrupted: ends all servers at once and removes their data. */
export function endAllServers(): void {
  for (const child of running) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}
