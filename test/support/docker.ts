/**
 * A real Docker engine for tests: Debian's dockerd with a data directory, a socket and a containerd of its own. What was
 * learned about it: it must be root; `--iptables=false` with the userland proxy publishes ports on 127.0.0.1 without
 * touching the host's rules; `--bridge=none` leaves no docker0 behind, so containers go on a network that is made here
 * and removed again; host networking leaves one nsfs mount, which is unmounted at the end.
 */
import { execFile, spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, rmdir, symlink } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** Enough for the mounts, the bridge and the proxies of a few containers on a busy machine. */
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 20_000;

export interface DockerOptions {
  /** `CMD` of the container; the image has `/bin/busybox` and `/bin/sh` only. */
  command: string[];
  /** Ports to publish on 127.0.0.1 at a number the engine chooses, like `8080/tcp`. */
  publish?: string[];
  /** Host address of published ports; default 127.0.0.1. */
  hostIp?: string;
  env?: string[];
  labels?: Record<string, string>;
  /** Network name, `host`, or `container:<id>`; default: the network made at the start. */
  network?: string;
  exposed?: string[];
  stopSignal?: string;
  /** A health command run by `/bin/sh` every half second. */
  health?: string;
}

export interface RunningDocker {
  socketPath: string;
  /** For DOCKER_HOST and `--docker`. */
  host: string;
  pid: number;
  /** Name of the image of {@link busyboxImage}, once made. */
  image: string;
  /** One call of the Engine API; rejects on a status of 400 and above. */
  api(method: string, path: string, body?: object): Promise<unknown>;
  /** Creates and starts a container; resolves with its id. */
  start(name: string, options: DockerOptions): Promise<string>;
  /** Host port of a published port of a running container. */
  hostPort(name: string, port: string): Promise<number>;
  /** Removes every container, ends the engine and leaves neither process nor mount nor bridge. */
  stop(): Promise<void>;
}

/** Why an engine cannot run here, or undefined: for `describe.skipIf`. Throws where peers are required. */
export function dockerObstacle(): string | undefined {
  if (process.getuid?.() === 0) return undefined;
  if (process.env.ROSTER_REQUIRE_PEERS) throw new Error('dockerd needs root');
  return 'dockerd needs root';
}

/** Starts dockerd (`binary`), makes the network `roster` and, from `busybox` (a static one), the image `busybox`. */
export async function startDocker(binary = 'dockerd', busybox = '/bin/busybox'): Promise<RunningDocker> {
  const folder = await mkdtemp(join(tmpdir(), 'roster-docker-'));
  const socketPath = join(folder, 'docker.sock');
  const flags = { 'data-root': join(folder, 'data'), 'exec-root': join(folder, 'exec'), pidfile: join(folder, 'pid') };
  const engine = spawn(
    binary,
    [
      ...['--storage-driver', 'vfs', '--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-masq=false'],
      ...['--log-level', 'error', '--shutdown-timeout', '1', '--host', `unix://${socketPath}`],
      ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]),
    ],
    { stdio: 'ignore', env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } },
  );
  const ended = new Promise<void>((resolve) => {
    engine.once('exit', () => resolve());
    engine.once('error', () => resolve());
  });
  const api = (method: string, path: string, body?: object): Promise<unknown> => call(socketPath, method, path, body);
  const docker: RunningDocker = {
    socketPath,
    host: `unix://${socketPath}`,
    pid: engine.pid!,
    image: 'busybox',
    api,
    start: (name, options) => startContainer(api, name, options),
    async hostPort(name, port) {
      const found = (await api('GET', `/containers/${name}/json`)) as {
        NetworkSettings: { Ports: Record<string, { HostPort: string }[]> };
      };
      return Number(found.NetworkSettings.Ports[port]![0]!.HostPort);
    },
    async stop() {
      if (engine.exitCode === null && engine.signalCode === null) await removeEverything(api);
      engine.kill('SIGTERM');
      const timer = setTimeout(() => engine.kill('SIGKILL'), STOP_LIMIT_MS);
      await ended;
      clearTimeout(timer);
      await unmountUnder(folder);
      await rm(folder, { recursive: true, force: true });
      // Made by every dockerd; not removed where another one uses it.
      for (const made of ['/run/docker/plugins', '/run/docker']) await rmdir(made).catch(() => {});
    },
  };
  try {
    await untilReady(api, () => engine.exitCode !== null);
    await api('POST', '/networks/create', { Name: 'roster', Driver: 'bridge' });
    await busyboxImage(docker, busybox);
    return docker;
  } catch (error) {
    await docker.stop();
    throw error;
  }
}

/** Makes the image `busybox` of nothing but a static busybox. `/bin/sh` works, and any applet as `busybox NAME`. */
export async function busyboxImage(docker: Pick<RunningDocker, 'socketPath'>, busybox: string): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'roster-image-'));
  try {
    await mkdir(join(root, 'bin'));
    await copyFile(busybox, join(root, 'bin', 'busybox'));
    await symlink('busybox', join(root, 'bin', 'sh'));
    const { stdout } = await run('tar', ['-C', root, '-c', '.'], { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 });
    await call(docker.socketPath, 'POST', '/images/create?fromSrc=-&repo=busybox&tag=latest', stdout);
    return 'busybox';
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** A command that serves `body` over HTTP on `port` and ends at once on SIGTERM, which busybox as process 1 would ignore. */
export function httpCommand(port: number, body: string): string[] {
  const script = `trap 'exit 0' TERM; /bin/busybox mkdir -p /www; echo '${body}' > /www/index.html
    /bin/busybox httpd -f -p ${port} -h /www & wait`;
  return ['/bin/sh', '-c', script];
}

type Api = RunningDocker['api'];

async function startContainer(api: Api, name: string, options: DockerOptions): Promise<string> {
  const publish = options.publish ?? [];
  const exposed = [...publish, ...(options.exposed ?? [])];
  const { Id } = (await api('POST', `/containers/create?name=${name}`, {
    Image: 'busybox',
    Cmd: options.command,
    Env: options.env ?? [],
    Labels: options.labels ?? {},
    ExposedPorts: Object.fromEntries(exposed.map((port) => [port, {}])),
    ...(options.stopSignal === undefined ? {} : { StopSignal: options.stopSignal }),
    ...(options.health === undefined
      ? {}
      : { Healthcheck: { Test: ['CMD-SHELL', options.health], Interval: 5e8, Timeout: 1e9, Retries: 1 } }),
    HostConfig: {
      NetworkMode: options.network ?? 'roster',
      PortBindings: Object.fromEntries(
        publish.map((port) => [port, [{ HostIp: options.hostIp ?? '127.0.0.1', HostPort: '' }]]),
      ),
    },
  })) as { Id: string };
  await api('POST', `/containers/${Id}/start`);
  return Id;
}

async function untilReady(api: Api, hasEnded: () => boolean): Promise<void> {
  const deadline = Date.now() + START_LIMIT_MS;
  while (
    !(await api('GET', '/_ping').then(
      () => true,
      () => false,
    ))
  ) {
    if (hasEnded() || Date.now() > deadline) throw new Error('dockerd did not start');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function removeEverything(api: Api): Promise<void> {
  try {
    const containers = (await api('GET', '/containers/json?all=1')) as { Id: string }[];
    await Promise.all(containers.map(({ Id }) => api('DELETE', `/containers/${Id}?force=1&v=1`)));
    const networks = (await api('GET', '/networks')) as { Id: string; Driver: string }[];
    for (const { Id, Driver } of networks) if (Driver === 'bridge') await api('DELETE', `/networks/${Id}`);
  } catch {
    // The engine is going down by itself.
  }
}

async function unmountUnder(folder: string): Promise<void> {
  const mounts = (await readFile('/proc/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
  for (const mount of mounts.filter((path) => path.startsWith(`${folder}/`)).reverse()) {
    await run('umount', [mount]).catch(() => {});
  }
}

function call(socketPath: string, method: string, path: string, body?: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const raw = Buffer.isBuffer(body);
    const data = body === undefined ? undefined : raw ? body : Buffer.from(JSON.stringify(body));
    const headers = {
      ...(data === undefined ? {} : { 'content-length': data.length }),
      'content-type': raw ? 'application/x-tar' : 'application/json',
    };
    const outgoing = request({ socketPath, method, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if ((response.statusCode ?? 500) >= 400) reject(new Error(`${method} ${path}: ${text.trim()}`));
        else resolve(/^[[{]/.test(text) && !raw ? JSON.parse(text) : text);
      });
    });
    outgoing.on('error', reject);
    outgoing.end(data);
  });
}
