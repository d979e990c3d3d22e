import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { steadyPort } from '../e2e/cluster/ports.ts';
import { freePort } from './ports.ts';

/** The compiled `roster` command. `npm test` builds it first. */
export const rosterMain = fileURLToPath(new URL('../../dist/server/main.js', import.meta.url));
export const rosterctlMain = fileURLToPath(new URL('../../dist/ctl/main.js', import.meta.url));

const START_TIMEOUT_MS = 60_000;

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
  const folder = await mkdtemp(join(tmpdir(), 'roster-serve-'));
  const dataDir = join(folder, 'data');
  const endpoint = `127.0.0.1:${await freePort()}`;
  const flags = ['--data-dir', dataDir, ...clientFlags(endpoint), '--listen-peer-urls', 'http://127.0.0.1:0', ...args];
  const server = new Server(endpoint, dataDir, flags);
  await server.start();
  return {
    endpoint,
    dataDir,
    get pid() {
      return server.pid;
    },
    get log() {
      return server.log;
    },
    kill: () => server.kill(),
    terminate: () => server.terminate(),
    start: () => server.start(),
    async stop() {
      await server.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function clientFlags(endpoint: string): string[] {
  return ['--listen-client-urls', `http://${endpoint}`, '--advertise-client-urls', `http://${endpoint}`];
}

/** A member of a cluster. It may be started again after `kill`, `terminate` or its own end. */
export interface RunningMember {
  readonly name: string;
  /** `127.0.0.1:port` of the client listener. */
  readonly endpoint: string;
  readonly peerUrl: string;
  readonly dataDir: string;
  readonly pid: number;
  /** What it has written to standard error since it was last started. */
  readonly log: string;
  /** Settles with the exit code when the process that was started last is gone. */
  readonly gone: Promise<number | null>;
  kill(): Promise<void>;
  terminate(): Promise<number | null>;
  /** SIGSTOP and SIGCONT. */
  pause(): void;
  resume(): void;
  /** With `more` flags, this time only. Ready when it is healthy: it knows a leader and a read goes through. */
  start(more?: readonly string[]): Promise<void>;
  /** The same, but does not wait for anything. */
  launch(more?: readonly string[]): void;
}

export interface RunningCluster {
  readonly members: RunningMember[];
  /** Of all members. */
  readonly endpoints: string[];
  /**
   * A member that is not running yet, with flags to join (`--initial-cluster-state existing`) those in `members`: take
   * out first who was removed. Its peer URL must be added to the cluster before it is started.
   */
  place(name: string): Promise<RunningMember>;
  /** SIGKILL for all, and the data is removed. */
  stop(): Promise<void>;
}

/**
 * Starts `size` members `m1`, `m2`, ... as one new cluster, each a process of its own; ready when all are healthy. `args`, which
 * may depend on where the members are, win over `--initial-cluster`.
 */
export async function startCluster(
  size: number,
  args: readonly string[] | ((members: readonly RunningMember[]) => readonly string[]) = [],
  peerScheme: 'http' | 'https' = 'http',
): Promise<RunningCluster> {
  const flags = () => (typeof args === 'function' ? args(members) : args);
  const folder = await mkdtemp(join(tmpdir(), 'roster-cluster-'));
  const members: Member[] = [];
  const initial = () => members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',');
  const place = async (name: string): Promise<Member> => {
    const member = new Member(name, folder, await steadyPort(), `${peerScheme}://127.0.0.1:${await steadyPort()}`);
    members.push(member);
    return member;
  };
  const cluster: RunningCluster = {
    members,
    get endpoints() {
      return members.map(({ endpoint }) => endpoint);
    },
    async place(name) {
      const member = await place(name);
      member.more = ['--initial-cluster-state', 'existing', '--initial-cluster', initial(), ...flags()];
      return member;
    },
    async stop() {
      for (const member of members) await member.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
  for (let i = 1; i <= size; i++) await place(`m${i}`);
  for (const member of members) member.more = ['--initial-cluster', initial(), ...flags()];
  await Promise.all(members.map((member) => member.start())).catch(async (error: unknown) => {
    await cluster.stop();
    throw error;
  });
  return cluster;
}

/** One `roster serve`, run again and again on the same places. */
class Server {
  readonly endpoint: string;
  readonly dataDir: string;
  readonly #flags: readonly string[];
  #child: ChildProcess | undefined;
  #log: string[] = [];
  #gone: Promise<number | null> = Promise.resolve(null);

  constructor(endpoint: string, dataDir: string, flags: readonly string[]) {
    if (!existsSync(rosterMain)) throw new Error('not built: run npm run build (npm test does)');
    this.endpoint = endpoint;
    this.dataDir = dataDir;
    this.#flags = flags;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  get log(): string {
    return this.#log.join('');
  }

  get gone(): Promise<number | null> {
    return this.#gone;
  }

  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#gone;
  }

  terminate(): Promise<number | null> {
    this.#child?.kill('SIGTERM');
    return this.#gone;
  }

  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  launch(more: readonly string[] = []): void {
    const command = [rosterMain, 'serve', ...this.#flags, ...more];
    const child = spawn(process.execPath, command, { stdio: ['ignore', 'ignore', 'pipe'] });
    const log: string[] = [];
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => log.push(chunk));
    this.#child = child;
    this.#log = log;
    this.#gone = new Promise((resolve) => {
      child.once('exit', resolve);
      child.once('error', () => resolve(null));
    });
  }

  async start(more: readonly string[] = []): Promise<void> {
    this.launch(more);
    const child = this.#child!;
    const deadline = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      const healthy = await fetch(`http://${this.endpoint}/health`).then(
        (response) => response.ok,
        () => false,
      );
      if (healthy) return;
      if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
        child.kill('SIGKILL');
        throw new Error(`roster did not start on ${this.endpoint}:\n${this.log}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

class Member extends Server implements RunningMember {
  readonly name: string;
  readonly peerUrl: string;
  /** Flags that depend on the rest of the cluster. */
  more: readonly string[] = [];

  constructor(name: string, folder: string, clientPort: number, peerUrl: string) {
    const endpoint = `127.0.0.1:${clientPort}`;
    const dataDir = join(folder, name);
    super(endpoint, dataDir, [
      ...['--name', name, '--data-dir', dataDir, ...clientFlags(endpoint)],
      ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
    ]);
    this.name = name;
    this.peerUrl = peerUrl;
  }

  override launch(more: readonly string[] = []): void {
    super.launch([...this.more, ...more]);
  }
}
