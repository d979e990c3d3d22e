/**
 * One member of a cluster as a real process: etcd or Roster, started with the same flags on its own ports, data
 * directory and log. Stopped by pid only. Knows nothing of the other members.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rosterMain } from '../../support/roster.ts';
import { atExit } from './at-exit.ts';
import { steadyPort } from './ports.ts';

export type ClusterKind = 'roster' | 'etcd';

const HEALTHY_TIMEOUT_MS = 60_000;
/** What is shown of a log when something went wrong. */
const LOG_TAIL_LINES = 30;

/** Ends the child when this process is killed in a way that leaves it no time to do so. */
const ORPHANS_DIE = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL', '--'] : [];

export interface MemberPlace {
  readonly kind: ClusterKind;
  readonly name: string;
  /** For the data directory; may be a mount. */
  readonly dataDir: string;
  readonly logFile: string;
  readonly clientPort: number;
  /** Where it listens for other members. */
  readonly peerPort: number;
  /** Where other members find it: a proxy's port, or the same. */
  readonly advertisedPeerPort: number;
}

export interface Launch {
  /** Flags beyond its own places. */
  flags: readonly string[];
  /** With this, name and advertised peer URL are left to it (`etcdctl member add` prints such an environment). */
  env?: Readonly<Record<string, string>>;
}

/** Ports and folders for one more member. */
export async function placeMember(
  kind: ClusterKind,
  name: string,
  folder: string,
  dataDir = join(folder, name, 'data'),
): Promise<Omit<MemberPlace, 'advertisedPeerPort'>> {
  mkdirSync(join(folder, name), { recursive: true });
  const [clientPort, peerPort] = [await steadyPort(), await steadyPort()];
  return { kind, name, dataDir, logFile: join(folder, name, 'log'), clientPort, peerPort };
}

export class Member {
  readonly place: MemberPlace;
  #launch: Launch;
  #child: ChildProcess | undefined;
  #gone: Promise<number | null> = Promise.resolve(null);
  #paused = false;

  constructor(place: MemberPlace, launch: Launch) {
    this.place = place;
    this.#launch = launch;
  }

  get name(): string {
    return this.place.name;
  }

  /** `127.0.0.1:port` for clients. */
  get endpoint(): string {
    return `127.0.0.1:${this.place.clientPort}`;
  }

  /** As other members know it. */
  get peerUrl(): string {
    return `http://127.0.0.1:${this.place.advertisedPeerPort}`;
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Resolves with the exit code of the present process; null after a signal. */
  get gone(): Promise<number | null> {
    return this.#gone;
  }

  /** Starts the process; `healthy` waits for its service. `launch` replaces what the next starts use. */
  start(launch: Launch = this.#launch): void {
    if (this.#child !== undefined) throw new Error(`${this.name} is running already`);
    this.#launch = launch;
    const [file, ...args] = [...ORPHANS_DIE, ...this.#command()];
    const log = openSync(this.place.logFile, 'a');
    const env = { ...process.env, ...launch.env };
    const child = spawn(file!, args, { stdio: ['ignore', 'ignore', log], env });
    closeSync(log);
    const forget = atExit(() => child.kill('SIGKILL'));
    this.#child = child;
    this.#paused = false;
    this.#gone = new Promise((resolve) => {
      const end = (code: number | null): void => {
        forget();
        if (this.#child === child) this.#child = undefined;
        resolve(code);
      };
      child.once('exit', end);
      child.once('error', () => end(null));
    });
  }

  /** Resolves once it says that it is healthy: it has a leader. Rejects when it ends first, or with its log's tail. */
  async healthy(timeoutMs = HEALTHY_TIMEOUT_MS): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (this.running) {
      const signal = AbortSignal.timeout(1000);
      const ok = await fetch(`http://${this.endpoint}/health`, { signal }).then(
        async (response) => response.ok && (await response.text()).includes('true'),
        () => false,
      );
      if (ok) return;
      if (Date.now() > deadline) throw new Error(`${this.name} is not healthy after ${timeoutMs} ms:\n${this.tail()}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`${this.name} has ended:\n${this.tail()}`);
  }

  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#gone;
  }

  /** SIGTERM; resolves with the exit code. */
  terminate(): Promise<number | null> {
    this.#child?.kill('SIGTERM');
    return this.#gone;
  }

  pause(): void {
    if (this.#child?.kill('SIGSTOP')) this.#paused = true;
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
    this.#paused = false;
  }

  /** The last lines of its log, over all its starts. */
  tail(lines = LOG_TAIL_LINES): string {
    return readFileSync(this.place.logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  }

  #command(): string[] {
    const { kind, name, dataDir, clientPort, peerPort } = this.place;
    const client = `http://127.0.0.1:${clientPort}`;
    const program = kind === 'etcd' ? ['etcd'] : [process.execPath, rosterMain, 'serve'];
    const places = ['--data-dir', dataDir, '--listen-client-urls', client, '--advertise-client-urls', client].concat([
      '--listen-peer-urls',
      `http://127.0.0.1:${peerPort}`,
    ]);
    const names = ['--name', name, '--initial-advertise-peer-urls', this.peerUrl];
    return [...program, ...places, ...(this.#launch.env === undefined ? names : []), ...this.#launch.flags];
  }
}
