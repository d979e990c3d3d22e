import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BODY_BYTES_MAX, EVENT_CHARS_MAX, INSPECTIONS_MAX } from '../../../registrator/docker/engine.ts';
import { DockerSource, type DockerSourceOptions, fingerprint } from '../../../registrator/docker/source.ts';
import type { Service } from '../../../registrator/service.ts';
import { recordingLog } from '../store.ts';
import { eventually, pause } from '../wait.ts';
import { FakeEngine } from './fake-engine.ts';

let engine: FakeEngine;
let source: DockerSource | undefined;
let groups: Map<string, readonly Service[]>;
let ready: boolean;
let log: ReturnType<typeof recordingLog>;

beforeEach(async () => {
  engine = new FakeEngine();
  await engine.open();
  groups = new Map();
  ready = false;
  log = recordingLog();
});
afterEach(async () => {
  await source?.close();
  source = undefined;
  await engine.close();
});

async function follow(over: Partial<DockerSourceOptions> = {}): Promise<void> {
  source = new DockerSource(
    {
      engine: { socketPath: engine.socketPath },
      hostname: 'h1',
      ip: undefined,
      hostAddress: () => '10.0.0.7',
      internal: false,
      explicit: false,
      tags: [],
      resyncMs: 60_000,
      crashHoldsMs: 0,
      callTimeoutMs: 2_000,
      ...over,
    },
    log,
  );
  source.start({
    set: (group, services) => void groups.set(group, services),
    ready: () => {
      ready = true;
    },
  });
}

/** Container -> host ports that are published now. */
function published(): Record<string, number[]> {
  const entries = [...groups].map(([group, services]) => [group.slice('docker:'.length), services.map((s) => s.port)]);
  return Object.fromEntries(entries.filter(([, ports]) => ports!.length > 0).sort());
}
const sees = (expected: Record<string, number[]>) =>
  eventually(`${JSON.stringify(expected)} published`, () => {
    return JSON.stringify(published()) === JSON.stringify(Object.fromEntries(Object.entries(expected).sort()));
  });
const isReady = () => eventually('ready', () => ready);

describe('following an engine', () => {
  it('subscribes first, then lists; ready when all of the list is known', async () => {
    const a = engine.start('a');
    const b = engine.start('b');
    await follow();
    await isReady();
    expect(published()).toEqual({ a: [a], b: [b] });
    expect(engine.requests.slice(0, 3).map((url) => url.replace(/\?.*/, ''))).toEqual([
      '/_ping',
      '/v1.41/events',
      '/v1.41/containers/json',
    ]);
  });

  it('follows start, die, restart on another port, destroy', async () => {
    await follow();
    await isReady();
    await sees({ a: [engine.start('a')] });
    engine.die('a', 1);
    await sees({});
    await sees({ a: [engine.start('a')] });
    engine.destroy('a');
    await sees({});
  });

  it('follows pause, health, rename and network changes', async () => {
    await follow();
    await isReady();
    const a = engine.start('a', { State: { Health: { Status: 'starting' } } });
    const container = engine.containers.get('a')!;
    await pause(30);
    await sees({});
    container.State.Health = { Status: 'healthy' };
    engine.emit('a', 'health_status: healthy');
    await sees({ a: [a] });
    container.State.Health = { Status: 'unhealthy' };
    engine.emit('a', 'health_status: unhealthy');
    await sees({});
    container.State.Health = { Status: 'healthy' };
    engine.emit('a', 'health_status: healthy');
    await sees({ a: [a] });
    container.State.Paused = true;
    engine.emit('a', 'pause');
    await sees({});
    container.State.Paused = false;
    engine.emit('a', 'unpause');
    await sees({ a: [a] });
    container.Name = '/b';
    engine.emit('a', 'rename', { name: 'b' });
    await eventually('renamed', () => groups.get('docker:a')?.[0]?.id === 'h1:b:80');
    container.NetworkSettings!.Ports!['80/tcp'] = [{ HostIp: '', HostPort: '99' }];
    engine.send({ Type: 'network', Action: 'connect', Actor: { ID: 'net', Attributes: { container: 'a' } } });
    await sees({ a: [99] });
  });

  it('looks at a container again when the one whose network it shares changes', async () => {
    engine.start('main', { NetworkSettings: { IPAddress: '172.17.0.2' } });
    engine.start('side', {
      HostConfig: { NetworkMode: 'container:main' },
      Config: { Image: 'side', ExposedPorts: { '9000/tcp': {} } },
      NetworkSettings: { Ports: {} },
    });
    await follow();
    await eventually('known', () => groups.get('docker:side')?.[0]?.ip === '172.17.0.2');
    engine.start('main', { NetworkSettings: { IPAddress: '172.17.0.3' } });
    await eventually('moved', () => groups.get('docker:side')?.[0]?.ip === '172.17.0.3');
  });
});

describe('stop signals', () => {
  it('take a container off before it dies, and hold for that run only', async () => {
    await follow();
    await isReady();
    await sees({ a: [engine.start('a')] });
    engine.emit('a', 'kill', { signal: '15' });
    await sees({});
    expect(engine.containers.get('a')!.State.Running).toBe(true);
    await sees({ a: [engine.start('a')] });
  });

  it('that arrive after the restart do not count', async () => {
    await follow();
    await isReady();
    engine.deaf = true;
    engine.start('a');
    const killedAt = Date.now() * 1e6 - 5e12;
    engine.deaf = false;
    const port = engine.start('a');
    await sees({ a: [port] });
    engine.send({
      Type: 'container',
      Action: 'kill',
      Actor: { ID: 'a', Attributes: { signal: '15' } },
      timeNano: killedAt,
    });
    const inspections = engine.requests.length;
    await eventually('looked at', () => engine.requests.length > inspections);
    await pause(30);
    expect(published()).toEqual({ a: [port] });
  });

  it('do not keep a container off for ever that ignores them', async () => {
    await follow({ stopHoldsMs: 200 });
    await isReady();
    const a = engine.start('a');
    await sees({ a: [a] });
    engine.emit('a', 'kill', { signal: '15' });
    await sees({});
    await sees({ a: [a] });
  });

  it('are the ones that stop this container', async () => {
    await follow();
    await isReady();
    const a = engine.start('a');
    const q = engine.start('q', { Config: { Image: 'nginx', StopSignal: 'SIGQUIT' } });
    await sees({ a: [a], q: [q] });
    engine.emit('a', 'kill', { signal: '1' });
    engine.emit('a', 'kill', { signal: '3' });
    engine.emit('q', 'kill', { signal: '3' });
    await sees({ a: [a] });
  });
});

describe('a crash with --deregister on-success', () => {
  it('keeps the services for a while; a clean exit and a signal do not', async () => {
    await follow({ crashHoldsMs: 300 });
    await isReady();
    const a = engine.start('a');
    const b = engine.start('b');
    const c = engine.start('c');
    await sees({ a: [a], b: [b], c: [c] });
    engine.die('b', 0);
    engine.die('c', 137);
    engine.die('a', 1);
    await sees({ a: [a] });
    await sees({});
  });

  it('T7: a crash and a restart with another port publishes the new port', async () => {
    await follow({ crashHoldsMs: 60_000 });
    await isReady();
    await sees({ a: [engine.start('a')] });
    engine.die('a', 1);
    await pause(30);
    await sees({ a: [engine.start('a')] });
  });
});

describe('faults', () => {
  it('T2: ten broken streams, with changes nobody heard of in between', async () => {
    await follow();
    await isReady();
    let port = engine.start('a');
    await sees({ a: [port] });
    for (let i = 0; i < 10; i++) {
      await eventually('subscribed', () => engine.streams === 1);
      engine.deaf = true;
      if (i % 2 === 0) engine.endStreams();
      else engine.breakStreams();
      engine.die('a');
      engine.start(`b${i}`);
      engine.destroy(`b${i}`);
      port = engine.start('a');
      engine.deaf = false;
      await sees({ a: [port] });
    }
  });

  it('an engine that is away keeps what is known; what changed meanwhile is seen on its return', async () => {
    const a = engine.start('a');
    engine.start('b');
    await follow();
    await isReady();
    await engine.hide();
    await eventually('a warning', () => log.lines.some((line) => line.includes('no connection')));
    expect(Object.keys(published())).toEqual(['a', 'b']);
    engine.die('b');
    const c = engine.start('c');
    await engine.open();
    await sees({ a: [a], c: [c] });
  });

  it('an engine that answers 500 is asked until it does not; ready waits', async () => {
    engine.failStatus = 500;
    const a = engine.start('a');
    await follow();
    await eventually('three attempts', () => engine.requests.filter((url) => url.includes('/events')).length >= 3);
    expect(ready).toBe(false);
    engine.failStatus = 0;
    await isReady();
    expect(published()).toEqual({ a: [a] });
  });

  it('lost events are made good by the periodic comparison, which inspects only what changed', async () => {
    const a = engine.start('a');
    engine.start('b');
    await follow({ resyncMs: 20 });
    await isReady();
    engine.deaf = true;
    engine.requests.length = 0;
    const c = engine.start('c');
    engine.die('b');
    await sees({ a: [a], c: [c] });
    const lists = engine.requests.filter((url) => url.endsWith('/containers/json')).length;
    await eventually('more comparisons', () => {
      return engine.requests.filter((url) => url.endsWith('/containers/json')).length > lists + 2;
    });
    const inspections = engine.requests.filter((url) => /containers\/[abc]\/json$/.test(url)).sort();
    expect(inspections).toEqual(['/v1.41/containers/b/json', '/v1.41/containers/c/json']);
  });

  it('a slow inspection of one container delays no other', async () => {
    engine.inspectDelayMs = (id) => (id === 'slow' ? 1_000 : 0);
    await follow();
    await isReady();
    const slow = engine.start('slow');
    const quick = engine.start('quick');
    await sees({ quick: [quick] });
    await sees({ quick: [quick], slow: [slow] });
  });

  it('an inspection answered late with an old state is not the last word', async () => {
    await follow();
    await isReady();
    engine.staleInspections = true;
    engine.inspectDelayMs = () => 100;
    engine.start('a');
    await pause(30);
    engine.die('a');
    const port = engine.start('a');
    await sees({ a: [port] });
  });

  it('T1: a storm of starts and stops, events late, doubled, dropped and out of order, ends consistent', async () => {
    await follow({ resyncMs: 50 });
    await isReady();
    const step = fc.record({
      id: fc.constantFrom('a', 'b', 'c'),
      act: fc.constantFrom('start', 'die', 'kill', 'destroy', 'deaf', 'break', 'pause'),
    });
    const steps = fc.sample(fc.array(step, { minLength: 300, maxLength: 300, size: 'max' }), {
      numRuns: 1,
      seed: 7,
    })[0]!;
    engine.inspectDelayMs = () => (engine.requests.length % 5) * 3;
    for (const { id, act } of steps) {
      const known = engine.containers.get(id);
      if (act === 'start') engine.start(id);
      else if (act === 'deaf') engine.deaf = !engine.deaf;
      else if (act === 'break') engine.breakStreams();
      else if (act === 'pause') await pause(2);
      else if (known?.State.Running && act === 'die') engine.die(id, 1);
      else if (known?.State.Running && act === 'kill') {
        engine.emit(id, 'kill', { signal: '9' });
        engine.die(id, 137);
      } else if (known !== undefined && act === 'destroy') {
        engine.destroy(id);
        // Out of order: what happened before its end is told after it.
        engine.emit(id, 'start');
      }
    }
    const running = [...engine.containers.values()].filter(({ State }) => State.Running);
    await sees(
      Object.fromEntries(running.map((c) => [c.Id, [Number(c.NetworkSettings!.Ports!['80/tcp']![0]!.HostPort)]])),
    );
  });
});

describe('limits', () => {
  it('as many inspections at a time as named, and not one more', async () => {
    engine.inspectDelayMs = () => 30;
    for (let i = 0; i <= INSPECTIONS_MAX; i++) engine.start(`c${i}`);
    await follow();
    await isReady();
    expect(Object.keys(published())).toHaveLength(INSPECTIONS_MAX + 1);
    expect(engine.inspectionsAtOnceMax).toBe(INSPECTIONS_MAX);
  });

  it('an event that is too long ends the stream, and nothing else', async () => {
    await follow();
    await isReady();
    engine.emit('a', 'rename', { name: 'x'.repeat(EVENT_CHARS_MAX) });
    await eventually('a warning', () => log.reasons.some((reason) => reason.startsWith('an event of more than')));
    await eventually('subscribed again', () => engine.streams === 1);
    await sees({ a: [engine.start('a')] });
  });

  it('an answer that is too long is refused', async () => {
    await follow();
    await isReady();
    engine.start('a', { Config: { Image: 'x'.repeat(BODY_BYTES_MAX) } });
    await eventually('a warning', () => log.reasons.some((reason) => reason.startsWith('an answer of more than')));
    expect(published()).toEqual({});
  });
});

describe('the cheap comparison', () => {
  it('sees ports, names, health and networks, but not the age', () => {
    const base = {
      Id: 'a',
      Names: ['/a'],
      State: 'running',
      Status: 'Up 3 minutes (healthy)',
      Ports: [
        { IP: '0.0.0.0', PublicPort: 1, PrivatePort: 80, Type: 'tcp' },
        { IP: '::', PublicPort: 1, PrivatePort: 80, Type: 'tcp' },
      ],
      NetworkSettings: { Networks: { x: { IPAddress: '10.0.0.2' } } },
    };
    const print = fingerprint(base);
    expect(fingerprint({ ...base, Status: 'Up 2 hours (healthy)', Ports: [...base.Ports].reverse() })).toBe(print);
    for (const change of [
      { Status: 'Up 3 minutes (unhealthy)' },
      { Names: ['/b'] },
      { State: 'paused' },
      { Ports: base.Ports.slice(1) },
      { NetworkSettings: { Networks: { x: { IPAddress: '10.0.0.3' } } } },
    ]) {
      expect(fingerprint({ ...base, ...change })).not.toBe(print);
    }
  });
});
