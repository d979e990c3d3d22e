import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../../client/index.ts';
import { type RunningAgent, startAgent } from '../../../registrator/agent.ts';
import { dockerObstacle, httpCommand, type RunningDocker, startDocker } from '../../support/docker.ts';
import { findPeer } from '../../support/peers.ts';
import { contents, type RunningStore, recordingLog, startStore } from '../store.ts';
import { eventually } from '../wait.ts';

const dockerd = findPeer('dockerd');
const busybox = findPeer('busybox');
const impossible = dockerd === undefined || busybox === undefined || dockerObstacle() !== undefined;

describe.skipIf(impossible)('a real engine', () => {
  let docker: RunningDocker;
  let store: RunningStore;
  let client: Client;
  let agent: RunningAgent;
  const log = recordingLog();

  beforeAll(async () => {
    [docker, store] = await Promise.all([startDocker(dockerd, busybox), startStore()]);
    client = new Client({ endpoints: [store.endpoint] });
    agent = await startAgent(
      { hostname: 'h1', docker: docker.host, tags: ['site'], callTimeoutMs: 5_000 },
      { client, log },
    );
    await agent.ready;
  });
  afterAll(async () => {
    await agent?.close();
    client?.close();
    await Promise.all([docker?.stop(), store?.stop()]);
  });

  afterEach(async () => {
    const containers = (await docker.api('GET', '/containers/json?all=1')) as { Id: string }[];
    for (const { Id } of containers) await docker.api('DELETE', `/containers/${Id}?force=1`);
    await sees({});
  });

  const keys = async (): Promise<Record<string, string>> => (await contents(client, '/services/')).pairs;
  const sees = (expected: Record<string, string>) =>
    eventually(`${JSON.stringify(expected)} in the store`, async () => {
      const found = await keys();
      return JSON.stringify(found) === JSON.stringify(Object.fromEntries(Object.entries(expected).sort()));
    });

  it('a published port appears with its labels, answers, follows stop and start, and goes', async () => {
    await docker.start('web-1', {
      command: httpCommand(8080, 'one'),
      publish: ['8080/tcp'],
      env: ['SERVICE_NAME=env', 'SERVICE_ZONE=a'],
      labels: { SERVICE_NAME: 'web', SERVICE_TAGS: 'x,y' },
    });
    const port = await docker.hostPort('web-1', '8080/tcp');
    await sees({ '/services/web/h1:web-1:8080': `127.0.0.1:${port}` });
    expect(agent.services().get('/services/web/h1:web-1:8080')).toMatchObject({
      tags: ['x', 'y', 'site'],
      attrs: { zone: 'a' },
      origin: 'docker:web-1',
    });
    await eventually('an answer', async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
      return (await answer?.text())?.trim() === 'one';
    });
    await docker.api('POST', '/containers/web-1/stop');
    await sees({});
    await docker.api('POST', '/containers/web-1/start');
    await sees({ '/services/web/h1:web-1:8080': `127.0.0.1:${await docker.hostPort('web-1', '8080/tcp')}` });
    await docker.api('POST', '/containers/web-1/kill');
    await sees({});
    await docker.api('POST', '/containers/web-1/start');
    await sees({ '/services/web/h1:web-1:8080': `127.0.0.1:${await docker.hostPort('web-1', '8080/tcp')}` });
    await docker.api('DELETE', '/containers/web-1?force=1');
    await sees({});
  });

  it('T10: a container is off the roster while it still handles its stop signal', async () => {
    const script = `trap 'stopping=1' TERM; while [ ! -e /done ]; do /bin/busybox sleep 0.05; done`;
    await docker.start('slow', { command: ['/bin/sh', '-c', script], publish: ['80/tcp'] });
    await eventually('registered', async () => Object.keys(await keys()).length === 1);
    const stopped = docker.api('POST', '/containers/slow/stop?t=30');
    await sees({});
    const inspect = (await docker.api('GET', '/containers/slow/json')) as { State: { Running: boolean } };
    expect(inspect.State.Running).toBe(true);
    await docker.api('POST', '/containers/slow/kill');
    await stopped;
  });

  it('T9: follows HEALTHCHECK, pause and rename', async () => {
    await docker.start('sick', {
      command: ['/bin/sh', '-c', '/bin/busybox mkdir -p /tmp; while true; do /bin/busybox sleep 1; done'],
      publish: ['80/tcp'],
      health: 'test -e /tmp/ok',
    });
    const value = `127.0.0.1:${await docker.hostPort('sick', '80/tcp')}`;
    const exec = async (command: string, name = 'sick'): Promise<void> => {
      const { Id } = (await docker.api('POST', `/containers/${name}/exec`, { Cmd: ['/bin/sh', '-c', command] })) as {
        Id: string;
      };
      await docker.api('POST', `/exec/${Id}/start`, { Detach: true });
    };
    expect(await keys()).toEqual({});
    await exec('echo > /tmp/ok');
    await sees({ '/services/busybox/h1:sick:80': value });
    await docker.api('POST', '/containers/sick/pause');
    await sees({});
    await docker.api('POST', '/containers/sick/unpause');
    await sees({ '/services/busybox/h1:sick:80': value });
    await docker.api('POST', '/containers/sick/rename?name=sane');
    await sees({ '/services/busybox/h1:sane:80': value });
    await exec('/bin/busybox rm /tmp/ok', 'sane');
    await sees({});
  });

  it('host networking, a shared network, and several ports', async () => {
    await docker.start('host', {
      command: ['/bin/busybox', 'sleep', '1000'],
      network: 'host',
      exposed: ['9001/tcp', '9001/udp'],
      labels: { SERVICE_NAME: 'h', SERVICE_9001_UDP_NAME: 'hu' },
    });
    const main = await docker.start('main', { command: ['/bin/busybox', 'sleep', '1000'] });
    await docker.start('side', {
      command: ['/bin/busybox', 'sleep', '1000'],
      network: `container:${main}`,
    });
    const found = await eventually('the host service', async () => {
      const now = await keys();
      return Object.keys(now).length === 2 && now;
    });
    expect(Object.keys(found)).toEqual(['/services/h-9001/h1:host:9001', '/services/hu/h1:host:9001:udp']);
  });

  it('T1: ten quick restarts end with the port that is published', { timeout: 60_000 }, async () => {
    await docker.start('fast', { command: ['/bin/busybox', 'sleep', '1000'], publish: ['80/tcp'] });
    for (let i = 0; i < 10; i++) await docker.api('POST', '/containers/fast/restart?t=0');
    await sees({ '/services/busybox/h1:fast:80': `127.0.0.1:${await docker.hostPort('fast', '80/tcp')}` });
  });

  it('an agent that stops leaves nothing', async () => {
    await docker.start('last', { command: ['/bin/busybox', 'sleep', '1000'], publish: ['80/tcp'] });
    await eventually('registered', async () => Object.keys(await keys()).length === 1);
    await agent.close();
    expect(await keys()).toEqual({});
    expect(log.lines.filter((line) => line.startsWith('error'))).toEqual([]);
  });
});
