import { execFile, execFileSync, spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { rosterMain, startRoster } from '../support/roster.ts';

/** What Debian's `etcdctl` is used for beyond single requests: mirrors, snapshots, alarms, locks that are waited for. */
const etcd = findPeer('etcd') ?? '';
const etcdctl = findPeer('etcdctl') ?? '';
/** A minute of load, whose result depends on the machine. */
const PERF = process.env.ROSTER_CHECK_PERF === '1';
const COMMAND_TIMEOUT_MS = 30_000;
const WAIT = { timeout: 30_000 };
const VALUE_BYTES = 100_000;

interface Server {
  readonly endpoint: string;
  stop(): Promise<void>;
}
interface Output {
  code: number;
  stdout: string;
  stderr: string;
}

let folder: string;
const cleanups: (() => Promise<void> | void)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'roster-etcdctl-'));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  rmSync(folder, { recursive: true, force: true });
});

async function start(kind: 'etcd' | 'roster', args: readonly string[] = []): Promise<Server> {
  const server = kind === 'etcd' ? await startEtcd(etcd, args) : await startRoster(args);
  cleanups.push(() => server.stop());
  return server;
}

const environment = ({ endpoint }: Server) => ({ ...process.env, ETCDCTL_API: '3', ETCDCTL_ENDPOINTS: endpoint });

function run(server: Server, args: readonly string[], timeout = COMMAND_TIMEOUT_MS): Promise<Output> {
  return new Promise((resolve) => {
    execFile(etcdctl, args, { env: environment(server), timeout, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

/** What the command prints; it must succeed. */
async function ok(server: Server, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(server, args);
  expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: expect.any(String) });
  return stdout;
}

/** A command that goes on until it is interrupted, and what it has said so far. */
function go(server: Server, args: readonly string[]): { said(): string; interrupt(): Promise<void> } {
  const child = spawn(etcdctl, args, { env: environment(server), stdio: ['ignore', 'pipe', 'pipe'] });
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
    });
  }
  cleanups.push(async () => {
    child.kill('SIGKILL');
    await gone;
  });
  return {
    said: () => said,
    interrupt: () => {
      child.kill('SIGINT');
      return gone;
    },
  };
}

/** Many at once, as one transaction. */
async function txn({ endpoint }: Server, success: readonly object[]): Promise<void> {
  const response = await fetch(`http://${endpoint}/v3/kv/txn`, { method: 'POST', body: JSON.stringify({ success }) });
  expect(response.status).toBe(200);
}
const base64 = (text: string) => Buffer.from(text).toString('base64');
const put = (key: string, value: string) => ({ request_put: { key: base64(key), value: base64(value) } });

describe.skipIf(etcd === '' || etcdctl === '')('etcdctl make-mirror', () => {
  it.each([
    ['roster', 'roster'],
    ['roster', 'etcd'],
    ['etcd', 'roster'],
  ] as const)('copies %s to %s, and follows', { timeout: 120_000 }, async (from, to) => {
    const [source, target] = await Promise.all([start(from), start(to)]);
    // More than one page of its first copy.
    for (let i = 0; i < 12; i++) {
      await txn(
        source,
        Array.from({ length: 100 }, (_, j) => put(`/m/${i}/${j}`, `${i * 100 + j}`)),
      );
    }
    await ok(source, 'put', '/other', 'not mirrored');
    await ok(target, 'put', '/own', 'stays');
    const mirror = go(source, ['make-mirror', '--prefix=/m/', '--dest-prefix=/copy/', target.endpoint]);
    const moved = go(source, ['make-mirror', '--prefix=/m/', target.endpoint]);
    const count = async (server: Server, prefix: string) =>
      JSON.parse(await ok(server, 'get', prefix, '--prefix', '--limit=1', '-w', 'json')).count as number | undefined;
    await expect.poll(() => count(target, '/m/'), WAIT).toBe(1200);
    await expect.poll(() => count(target, '/copy/'), WAIT).toBe(1200);
    await ok(source, 'del', '/m/1/', '--prefix');
    await txn(source, [
      put('/m/new', 'a'),
      put('/m/0/0', 'changed'),
      { request_delete_range: { key: base64('/m/2/2') } },
    ]);
    await ok(source, 'put', '/m/last', 'x');
    const expected = await ok(source, 'get', '/m/', '--prefix');
    expect(expected).toContain('changed');
    await expect.poll(() => ok(target, 'get', '/m/', '--prefix'), WAIT).toBe(expected);
    await expect.poll(() => ok(target, 'get', '/copy/', '--prefix'), WAIT).toBe(expected.replaceAll('/m/', '/copy/'));
    expect(await ok(target, 'get', '/o', '--prefix')).toBe('/own\nstays\n');
    expect([mirror.said(), moved.said()]).toEqual(['', '']);
    await Promise.all([mirror.interrupt(), moved.interrupt()]);
  });
});

describe.skipIf(etcdctl === '')('etcdctl snapshot save', () => {
  it('saves a file from which a new member has everything', { timeout: 120_000 }, async () => {
    const source = await start('roster');
    for (let i = 0; i < 20; i++) {
      await txn(
        source,
        Array.from({ length: 100 }, (_, j) => put(`/s/${i}/${j}`, 'x'.repeat(500))),
      );
    }
    await ok(source, 'del', '/s/3/', '--prefix');
    const lease = /lease ([0-9a-f]+)/.exec(await ok(source, 'lease', 'grant', '600'))![1]!;
    await ok(source, 'put', `--lease=${lease}`, '/leased', 'x');
    await ok(source, 'user', 'add', 'alice:secret');
    await ok(source, 'role', 'add', 'app');
    const file = join(folder, 'saved.db');
    expect(await ok(source, 'snapshot', 'save', file)).toContain(`Snapshot saved at ${file}`);
    expect(existsSync(`${file}.part`)).toBe(false);
    expect(statSync(file).size % 512).toBe(32);
    const before = await ok(source, 'get', '/', '--prefix', '-w', 'json');

    const data = join(folder, 'restored');
    const status = execFileSync(process.execPath, [rosterMain, 'snapshot', 'status', file], { encoding: 'utf8' });
    expect(status).toMatch(/^[0-9a-f]+, \d+, \d+, /);
    execFileSync(process.execPath, [rosterMain, 'snapshot', 'restore', file, '--data-dir', data], { encoding: 'utf8' });
    const restored = await start('roster', ['--data-dir', data]);
    const kvs = (text: string) => {
      const { header, ...rest } = JSON.parse(text) as { header: { revision: number } };
      return { revision: header.revision, ...rest };
    };
    expect(kvs(await ok(restored, 'get', '/', '--prefix', '-w', 'json'))).toEqual(kvs(before));
    expect(await ok(restored, 'lease', 'timetolive', lease, '--keys')).toContain('[/leased]');
    expect([await ok(restored, 'user', 'list'), await ok(restored, 'role', 'list')]).toEqual(['alice\n', 'app\n']);
    const hashOf = async (server: Server) => (await ok(server, 'endpoint', 'hashkv')).split(', ')[1];
    expect(await hashOf(restored)).toBe(await hashOf(source));
  });
});

describe.skipIf(etcd === '' || etcdctl === '')('etcdctl alarm', () => {
  /** From a store that is full to one that takes writes again; `manual`: as etcd does it. */
  async function session(kind: 'etcd' | 'roster'): Promise<string[]> {
    const manual = kind === 'roster' ? ['--quota-manual-disarm'] : [];
    const server = await start(kind, ['--quota-backend-bytes', '2097152', ...manual]);
    const value = 'v'.repeat(VALUE_BYTES);
    let refused: Output | undefined;
    for (let i = 0; i < 100 && refused === undefined; i++) {
      const output = await run(server, ['put', `/full/${i % 3}`, value]);
      if (output.code !== 0) refused = output;
    }
    const said = [`put: ${refused?.stderr}`];
    const tell = async (...args: string[]) => {
      const { code, stdout, stderr } = await run(server, args);
      said.push(`${args.join(' ').slice(0, 40)}: ${stdout}${stderr}${code}`);
    };
    await tell('alarm', 'list');
    await tell('endpoint', 'health');
    await tell('put', 'small', 'x');
    await tell('lease', 'grant', '60');
    await tell('get', 'small');
    await tell('del', '/full/0');
    const { header } = JSON.parse(await ok(server, 'get', 'x', '-w', 'json')) as { header: { revision: number } };
    await ok(server, 'compaction', '--physical', String(header.revision));
    await tell('defrag');
    await tell('alarm', 'list');
    await tell('alarm', 'disarm');
    await tell('alarm', 'list');
    await tell('put', 'small', 'x');
    const masks: [RegExp, string][] = [
      [/memberID:\d+/g, 'memberID:#'],
      [/lease [0-9a-f]+/g, 'lease #'],
      [/\{"level":"warn","ts":"[^"]*","caller":"[^"]*"/g, '{"level":"warn"'],
      [/"target":"[^"]*"/g, '"target":"#"'],
      [/took = [^\s"]+/g, 'took = #'],
    ];
    return said.map((line) =>
      masks.reduce((text, [pattern, by]) => text.replace(pattern, by), line.replaceAll(server.endpoint, '<endpoint>')),
    );
  }

  it('NOSPACE is raised, told and disarmed as with etcd', { timeout: 180_000 }, async () => {
    const [expected, actual] = [await session('etcd'), await session('roster')];
    expect(expected.join('\n')).toContain('alarm:NOSPACE');
    expect(actual).toEqual(expected);
  });
});

describe.skipIf(etcdctl === '')('etcdctl lock and elect', () => {
  it('let one in at a time', { timeout: 120_000 }, async () => {
    const server = await start('roster');
    const journal = join(folder, 'journal');
    appendFileSync(journal, '');
    const work = (name: string) => `echo in ${name} >> ${journal}; sleep 0.2; echo out ${name} >> ${journal}`;
    const outputs = await Promise.all(
      ['a', 'b', 'c', 'd'].map((name) => run(server, ['lock', '/lock', '--', 'sh', '-c', work(name)])),
    );
    expect(outputs.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
    const lines = readFileSync(journal, 'utf8').trim().split('\n');
    expect(lines).toHaveLength(8);
    for (let i = 0; i < lines.length; i += 2) expect(lines[i + 1]).toBe(lines[i]!.replace('in', 'out'));
    expect((await run(server, ['lock', '/lock', '--', 'sh', '-c', 'exit 3'])).code).not.toBe(0);
  });

  it('elect the next when one leaves, and tell who listens', { timeout: 120_000 }, async () => {
    const server = await start('roster');
    const listener = go(server, ['elect', '-l', '/mayor']);
    const first = go(server, ['elect', '/mayor', 'one']);
    await expect.poll(() => first.said(), WAIT).toMatch(/^\/mayor\/[0-9a-f]+\none\n/);
    const second = go(server, ['elect', '/mayor', 'two']);
    await expect.poll(() => listener.said(), WAIT).toContain('one');
    // In the order of their leases' ids, which is none.
    const candidates = async () =>
      (await ok(server, 'get', '/mayor', '--prefix', '--print-value-only')).split('\n').sort();
    await expect.poll(candidates, WAIT).toEqual(['', 'one', 'two']);
    expect(second.said()).toBe('');
    await first.interrupt();
    await expect.poll(() => second.said(), WAIT).toMatch(/^\/mayor\/[0-9a-f]+\ntwo\n/);
    await expect.poll(() => listener.said(), WAIT).toContain('two');
    await second.interrupt();
    await listener.interrupt();
  });
});

describe.skipIf(etcdctl === '' || !PERF)('etcdctl check perf', () => {
  it.each(['s', 'm'])('runs its load %s to the end, and clears up', { timeout: 240_000 }, async (load) => {
    const server = await start('roster');
    const { stdout, stderr } = await run(
      server,
      ['check', 'perf', `--load=${load}`, '--auto-compact', '--auto-defrag'],
      200_000,
    );
    console.log(stdout.split('\r').at(-1)!.trim());
    expect(stdout + stderr).toMatch(/Throughput/);
    expect(stdout).toMatch(/Compacting with revision \d+/);
    expect(await ok(server, 'get', '/etcdctl-check-perf/', '--prefix', '--limit=1', '-w', 'json')).not.toContain(
      'count',
    );
  });
});
