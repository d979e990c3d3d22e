import { unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dockerObstacle, httpCommand, type RunningDocker, startDocker } from '../../support/docker.ts';
import { findPeer } from '../../support/peers.ts';
import { freePort } from '../../support/ports.ts';
import { type RunningRoster, rosterMain, startRoster } from '../../support/roster.ts';
import { Actor, childOf, type NginxStage, serviceSource, startNginx, stopNginx } from './stage.ts';
import { Crowd, follows } from './visitor.ts';

/**
 * The main road with real traffic: containers, a service from a file and a wrapped command come and go in every way;
 * nginx's upstreams must follow. Times are printed, and held only against the TTL, which is a promise.
 */
const TTL_SECONDS = 3;
const DRAIN_MS = 1500;

const nginxBinary = findPeer('nginx');
const dockerd = findPeer('dockerd');
const busybox = findPeer('busybox');
const missing = [
  nginxBinary === undefined ? 'nginx' : '',
  dockerd === undefined ? 'docker.io' : '',
  busybox === undefined ? 'busybox-static' : '',
  dockerObstacle() ?? '',
].filter((line) => line !== '');

describe.skipIf(missing.length > 0)(`the road${missing.length > 0 ? ` (missing: ${missing.join(', ')})` : ''}`, () => {
  let docker: RunningDocker;
  let store: RunningRoster;
  let stage: NginxStage;
  let agent: Actor;
  let renderer: Actor;
  let services: string;
  const actors: Actor[] = [];
  const live = new Set<string>();
  const times: string[] = [];

  const act = (args: readonly string[]): Actor => {
    const actor = new Actor(process.execPath, args);
    actors.push(actor);
    return actor;
  };
  const startAgent = async () => {
    const actor = act(
      [rosterMain, 'registrator', '--endpoints', store.endpoint, '--docker', docker.host, '--files', services].concat([
        '--ip',
        '127.0.0.1',
        '--hostname',
        'road',
        '--ttl',
        String(TTL_SECONDS),
        '--log-level',
        'info',
      ]),
    );
    await actor.says('registrator started');
    return actor;
  };
  /** Waits until nginx serves exactly who is live; notes how long that took since `sinceMs`. */
  const followed = async (what: string, sinceMs: number): Promise<number> => {
    const ms = await follows(stage, [...live], sinceMs);
    times.push(`${what}: ${Math.round(ms)} ms`);
    return ms;
  };

  beforeAll(async () => {
    [docker, store, stage] = await Promise.all([
      startDocker(dockerd, busybox),
      startRoster(),
      startNginx(nginxBinary!),
    ]);
    services = stage.folder;
    renderer = act([rosterMain, 'confd', '--watch', '--node', store.endpoint, '--confdir', stage.confDir]);
    agent = await startAgent();
  }, 120_000);

  afterAll(async () => {
    for (const actor of actors) actor.child.kill('SIGKILL');
    await Promise.all(actors.map((actor) => actor.gone));
    if (stage !== undefined) await stopNginx(stage);
    await Promise.all([docker?.stop(), store?.stop()]);
    console.log(times.join('\n'));
  }, 60_000);

  const runContainer = async (name: string) => {
    await docker.start(name, {
      command: httpCommand(8080, name),
      publish: ['8080/tcp'],
      labels: { SERVICE_NAME: 'web' },
    });
    live.add(name);
  };

  it('follows what starts', { timeout: 120_000 }, async () => {
    for (const name of ['box-1', 'box-2']) {
      await runContainer(name);
      await followed(`container ${name} started`, performance.now());
    }
    await startFileService();
    await startWrapped();
  });

  let fileService: Actor;
  let filePort: number;
  async function startFileService(): Promise<void> {
    filePort ??= await freePort();
    fileService = act(['-e', serviceSource('from-file', filePort)]);
    await fileService.listening;
    const sinceMs = performance.now();
    // A definition appears as a whole, as an editor or a package manager would put it there.
    await writeFile(
      join(services, 'web.toml'),
      `[[service]]\nname = "web"\nid = "from-file"\nport = ${filePort}\ncheck = { tcp = true, interval = "100ms", fall = 1 }\n`,
    );
    live.add('from-file');
    await followed('service file written', sinceMs);
  }

  let wrapped: Actor;
  async function startWrapped(): Promise<void> {
    wrapped = act(
      [rosterMain, 'registrator', 'exec', '--endpoints', store.endpoint, '--name', 'web', '--id', 'wrapped']
        .concat(['--ip', '127.0.0.1', '--port', String(await freePort()), '--drain', String(DRAIN_MS)])
        .concat(['--ttl', String(TTL_SECONDS), '--log-level', 'warn', '--'])
        .concat([process.execPath, '-e', serviceSource('wrapped', 'env')]),
    );
    await wrapped.listening;
    live.add('wrapped');
    await followed('wrapped command listens', performance.now());
  }

  it('loses no request of services that are drained', { timeout: 120_000 }, async () => {
    const crowd = new Crowd(stage.port, 4);
    const drainedMs = performance.now();
    live.delete('wrapped');
    wrapped.child.kill('SIGTERM');
    const tookMs = await followed('wrapped command told to stop', drainedMs);
    expect(tookMs, 'off the upstreams before it stops').toBeLessThan(DRAIN_MS);
    await wrapped.gone;
    await crowd.stop();
    times.push(`drain: ${crowd.visits} requests, ${crowd.failures} failed`);
    expect(crowd.visits).toBeGreaterThan(50);
    expect(crowd.failures).toBe(0);
    await startWrapped();
  });

  it('follows what is stopped', { timeout: 120_000 }, async () => {
    live.delete('box-1');
    let sinceMs = performance.now();
    await docker.api('POST', '/containers/box-1/stop');
    await followed('container stopped', sinceMs);
    live.delete('from-file');
    sinceMs = performance.now();
    await unlink(join(services, 'web.toml'));
    await followed('service file removed', sinceMs);
    await fileService.end('SIGTERM');
  });

  it('follows what is killed', { timeout: 120_000 }, async () => {
    await docker.api('POST', '/containers/box-1/start');
    live.add('box-1');
    await followed('container started again', performance.now());
    await startFileService();

    live.delete('box-2');
    let sinceMs = performance.now();
    await docker.api('POST', '/containers/box-2/kill');
    await followed('container killed', sinceMs);

    live.delete('from-file');
    sinceMs = performance.now();
    fileService.child.kill('SIGKILL');
    await followed('service of a file killed', sinceMs);

    live.delete('wrapped');
    sinceMs = performance.now();
    process.kill(childOf(wrapped.child.pid!), 'SIGKILL');
    await followed("wrapped command's process killed", sinceMs);
    expect(await wrapped.gone).toBe(137);
  });

  it('follows within the TTL when agents are killed', { timeout: 120_000 }, async () => {
    await startWrapped();
    live.delete('wrapped');
    let sinceMs = performance.now();
    const orphan = childOf(wrapped.child.pid!);
    wrapped.child.kill('SIGKILL');
    expect(await followed('wrapper killed', sinceMs)).toBeLessThan((TTL_SECONDS + 1) * 1000 + SLOW_MACHINE_MS);
    process.kill(orphan, 'SIGKILL');

    live.delete('box-1');
    sinceMs = performance.now();
    agent.child.kill('SIGKILL');
    expect(await followed('agent killed', sinceMs)).toBeLessThan((TTL_SECONDS + 1) * 1000 + SLOW_MACHINE_MS);

    live.add('box-1');
    sinceMs = performance.now();
    agent = await startAgent();
    await followed('agent started again', sinceMs);
    live.delete('box-1');
    sinceMs = performance.now();
    await agent.end('SIGTERM');
    await followed('agent told to stop', sinceMs);
    expect(renderer.child.exitCode, renderer.errors).toBeNull();
  });
});

/** Two cores shared with everything else the test runs. */
const SLOW_MACHINE_MS = 2000;
