import { EventEmitter } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../client/index.ts';
import { runRegistrator } from '../../registrator/cli.ts';
import { freePort } from '../support/ports.ts';
import { contents, type RunningStore, recordingLog, startStore } from './store.ts';
import { eventually } from './wait.ts';

async function refused(...argv: string[]): Promise<string> {
  let text = '';
  const write = (part: string): void => {
    text += part;
  };
  expect(await runRegistrator(argv, { env: {}, write, writeError: write, signals: new EventEmitter() })).toBe(2);
  return text;
}

describe('wrong usage', () => {
  it.each([
    [['--no-such-flag'], /unknown option '--no-such-flag'/],
    [['--ttl', '0'], /--ttl.*Expected a whole number from 1 to 86400/],
    [['--ttl', '1.5'], /Expected a whole number/],
    [['--ip', 'host'], /Expected an IPv4 or IPv6 address/],
    [['--hostname', 'a:b'], /Expected a name without/],
    [['--endpoints', ','], /Expected at least one host:port/],
    [['--no-docker', '--endpoints', 'a:b:c'], /a:b:c/],
    [['exec', '--port', '1', '--endpoints', '://', '--', 'true'], /:\/\//],
    [['--deregister', 'never'], /Allowed choices are always, on-success/],
    [['--docker', 'npipe://x'], /not a Docker address: "npipe:\/\/x"/],
    [['exec'], /missing required argument 'command'/],
    [['exec', '--port', '65536', '--', 'true'], /Expected a whole number from 1 to 65535/],
    [['exec', '--', 'true'], /the port is not known: give --port, or set PORT/],
    [['exec', '--port', '1', '--attr', 'x', '--', 'true'], /Expected key=value/],
  ])('%j says what is wrong, and the status is 2', async (argv, message) => {
    expect(await refused(...argv)).toMatch(message);
  });

  it('TLS to the engine is refused rather than left out', async () => {
    let text = '';
    const status = await runRegistrator(['--docker', 'tcp://10.0.0.1:2376'], {
      env: { DOCKER_TLS_VERIFY: '1' },
      writeError: (part) => {
        text += part;
      },
    });
    expect([status, text]).toEqual([
      2,
      'error: DOCKER_TLS_VERIFY is set, but a Docker engine over TLS is not supported\n',
    ]);
  });

  it('an environment that cannot be used is named', async () => {
    let text = '';
    const writeError = (part: string): void => {
      text += part;
    };
    expect(await runRegistrator([], { env: { ETCDCTL_ENDPOINTS: ' , ' }, writeError })).toBe(2);
    expect(text).toBe('error: ETCDCTL_ENDPOINTS: Expected at least one host:port.\n');
  });

  it('help is no error', async () => {
    let text = '';
    const write = (part: string): void => {
      text += part;
    };
    expect(await runRegistrator(['--help'], { env: {}, write })).toBe(0);
    expect(text).toMatch(/--endpoints.*--prefix.*--files/s);
  });
});

describe('running', () => {
  let store: RunningStore;
  let client: Client;
  let folder: string;

  beforeAll(async () => {
    store = await startStore();
    client = new Client({ endpoints: [store.endpoint] });
    folder = await mkdtemp(join(tmpdir(), 'roster-cli-'));
  });
  afterAll(async () => {
    client?.close();
    await store?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });
  const pairs = async (): Promise<Record<string, string>> => (await contents(client, '/')).pairs;

  it('an agent registers a file, and SIGTERM deregisters it', async () => {
    await writeFile(join(folder, 'db.toml'), '[[service]]\nname = "db"\nport = 5432\n');
    const signals = new EventEmitter();
    const changes: string[] = [];
    const status = runRegistrator(
      ['--no-docker', '--files', folder, '--prefix', 'site/', '--hostname', 'h1', '--ip', '10.0.0.9', '--ttl', '5'],
      {
        env: { ETCDCTL_ENDPOINTS: store.endpoint },
        signals,
        log: recordingLog(),
        onChange: ({ kind, key }) => void changes.push(`${kind} ${key}`),
      },
    );
    await eventually('registered', async () => Object.keys(await pairs()).length === 1);
    expect(await pairs()).toEqual({ '/site/db/h1:db:5432': '10.0.0.9:5432' });
    signals.emit('SIGTERM');
    expect(await status).toBe(0);
    expect(await pairs()).toEqual({});
    expect(changes).toEqual(['up /site/db/h1:db:5432', 'down /site/db/h1:db:5432']);
    expect(signals.eventNames()).toEqual([]);
  });

  it('exec takes shared flags from both sides of its name, the port from PORT, and gives the status', async () => {
    const port = await freePort();
    const script = `process.on('SIGTERM', () => process.exit(9));
      require('node:net').createServer().listen(Number(process.env.PORT), '127.0.0.1')`;
    const signals = new EventEmitter();
    const status = runRegistrator(
      ['--endpoints', store.endpoint, '--prefix', '/outer', '--hostname', 'h1', 'exec', '--prefix', '/inner'].concat([
        '--name',
        'app',
        '--ip',
        '127.0.0.1',
        '--',
        process.execPath,
        '-e',
        script,
      ]),
      { env: { PORT: String(port) }, signals, log: recordingLog(), stdio: 'ignore' },
    );
    await eventually('registered', async () => Object.keys(await pairs()).length === 1);
    expect(await pairs()).toEqual({ [`/inner/app/h1:app:${port}`]: `127.0.0.1:${port}` });
    signals.emit('SIGTERM');
    expect(await status).toBe(9);
    expect(await pairs()).toEqual({});
  });
});
