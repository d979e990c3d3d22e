import { EventEmitter } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Client } from '../../client/index.ts';
import { type ExecOptions, runExec } from '../../registrator/exec.ts';
import { freePort } from '../support/ports.ts';
import { contents, type RunningStore, recordEvents, recordingLog, startRelay, startStore } from './store.ts';
import { eventually } from './wait.ts';

/** Listens on $PORT after `delay` ms, notes in a file what happens and when, and ends on SIGTERM and SIGINT. */
const SERVER = `
  const [, file, delay, code] = process.argv;
  const note = (text) => require('node:fs').appendFileSync(file, text + ' ' + Date.now() + '\\n');
  for (const name of ['SIGHUP', 'SIGUSR2']) process.on(name, () => note(name));
  for (const name of ['SIGTERM', 'SIGINT']) process.on(name, () => { note(name); process.exit(Number(code)); });
  note('started');
  setTimeout(() => {
    const server = require('node:net').createServer((socket) => socket.on('data', () => process.exit(7)));
    server.listen(Number(process.env.PORT), '127.0.0.1', () => note('listening'));
  }, Number(delay));
  setInterval(() => {}, 1000);
`;

describe('a wrapped command', () => {
  let store: RunningStore;
  let client: Client;
  let folder: string;
  let notes: string;
  let port: number;
  let prefix: string;
  let round = 0;
  let signals: EventEmitter;
  let log: ReturnType<typeof recordingLog>;
  let running: Promise<number> | undefined;
  const stop = new AbortController();

  beforeAll(async () => {
    store = await startStore();
    client = new Client({ endpoints: [store.endpoint] });
    folder = await mkdtemp(join(tmpdir(), 'roster-exec-'));
  });
  afterAll(async () => {
    stop.abort();
    client?.close();
    await store?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    prefix = `/test-${round++}`;
    notes = join(folder, `notes-${round}`);
    port = await freePort();
    signals = new EventEmitter();
    log = recordingLog();
    running = undefined;
  });
  afterEach(async () => {
    // A test that failed half-way must not leave its child behind.
    signals.emit('SIGTERM');
    signals.emit('SIGTERM');
    await running;
  });

  function exec(over: Partial<ExecOptions> = {}, args: { delay?: number; code?: number } = {}, through = client) {
    const command = [process.execPath, '-e', SERVER, notes, String(args.delay ?? 0), String(args.code ?? 0)] as const;
    running = runExec(
      { command: [...command], port, hostname: 'h1', prefix, name: 'app', ip: '127.0.0.1', ...over },
      { client: through, log, signals, stdio: 'ignore' },
    );
    return running;
  }
  const pairs = async (): Promise<Record<string, string>> => (await contents(client, prefix)).pairs;
  const registered = () => eventually('registered', async () => Object.keys(await pairs()).length === 1);
  const noted = async (): Promise<string[]> =>
    (await readFile(notes, 'utf8').catch(() => '')).split('\n').filter(Boolean);

  it('is registered when it listens, not before', async () => {
    const events = await recordEvents(client, prefix, stop.signal);
    const code = exec({ attrs: { zone: 'a' } }, { delay: 300, code: 3 });
    await registered();
    expect((await noted())[1]).toMatch(/^listening/);
    expect(await pairs()).toEqual({ [`${prefix}/app/h1:app:${port}`]: `127.0.0.1:${port}` });
    signals.emit('SIGTERM');
    expect(await code).toBe(3);
    await eventually('two events', () => events.length === 2);
    expect(events[1]).toBe(`delete ${prefix}/app/h1:app:${port}`);
  });

  it('T10: is off the roster before the stop signal reaches it, by the drain time', async () => {
    const events = await recordEvents(client, prefix, stop.signal);
    const code = exec({ drainMs: 300 });
    await registered();
    signals.emit('SIGTERM');
    await eventually('off the roster', () => events.length === 2);
    const offAt = Date.now();
    expect(await noted()).toHaveLength(2);
    expect(await code).toBe(0);
    const termAt = Number((await noted())[2]!.split(' ')[1]);
    expect(termAt).toBeGreaterThan(offAt);
  });

  it('a second stop signal does not wait', async () => {
    const code = exec({ drainMs: 3_600_000 });
    await registered();
    signals.emit('SIGTERM');
    await eventually('off the roster', async () => Object.keys(await pairs()).length === 0);
    signals.emit('SIGINT');
    expect(await code).toBe(0);
    expect((await noted())[2]).toMatch(/^SIGINT/);
  });

  it('other signals pass at once and leave it on the roster', async () => {
    const code = exec();
    await registered();
    signals.emit('SIGHUP');
    signals.emit('SIGUSR2');
    await eventually('both', async () => (await noted()).length === 4);
    expect(Object.keys(await pairs())).toHaveLength(1);
    signals.emit('SIGTERM');
    expect(await code).toBe(0);
  });

  it('is off the roster when it ends by itself, with its status', async () => {
    const code = exec();
    await registered();
    connect(port, '127.0.0.1')
      .on('error', () => {})
      .end('end');
    expect(await code).toBe(7);
    expect(await pairs()).toEqual({});
  });

  it('a signal that ends it makes 128 + n', async () => {
    running = runExec(
      { command: ['/bin/sh', '-c', 'kill -9 $$'], port, hostname: 'h1', prefix },
      { client, log, signals, stdio: 'ignore' },
    );
    expect(await running).toBe(137);
  });

  it.each([
    ['no-such-command-anywhere', 127],
    ['/etc/passwd', 126],
  ])('%s ends with %i', async (command, status) => {
    running = runExec({ command: [command], port, hostname: 'h1', prefix }, { client, log, signals, stdio: 'ignore' });
    expect(await running).toBe(status);
    expect(log.lines).toContain('error the command could not be started');
  });

  it('a stop before it listens is passed on at once', async () => {
    const code = exec({ drainMs: 3_600_000 }, { delay: 3_600_000, code: 4 });
    await eventually('started', async () => (await noted()).length === 1);
    signals.emit('SIGTERM');
    expect(await code).toBe(4);
  });

  it('a store that is gone delays the stop by no more than the limit', async () => {
    const relay = await startRelay(store.endpoint);
    const far = new Client({ endpoints: [relay.endpoint] });
    try {
      const code = exec({}, { code: 5 }, far);
      await registered();
      relay.cut();
      signals.emit('SIGTERM');
      expect(await code).toBe(5);
      expect(log.lines).toContain('warn the store did not answer in time; stopping all the same');
    } finally {
      far.close();
      await relay.close();
    }
  });
});
