import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { snapshotStatus } from '../../server/snapshot/file.ts';
import { type RunningEtcd, startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { freePort } from '../support/ports.ts';
import { type RunningRoster, rosterMain, startRoster } from '../support/roster.ts';
import { proxyOf, type TestProxy } from './start.ts';

const run = promisify(execFile);
const etcd = findPeer('etcd');
const etcdctl = findPeer('etcdctl');
const TIMEOUT_MS = 120_000;
/** On a busy machine five seconds are not enough for a password. */
const PATIENT = ['--command-timeout', '40s', '--dial-timeout', '20s'];

async function ctl(endpoint: string, ...args: string[]): Promise<string> {
  const env = { PATH: process.env.PATH, ETCDCTL_API: '3' };
  const { stdout, stderr } = await run(etcdctl!, ['--endpoints', endpoint, ...PATIENT, ...args], { env }).catch(
    (error: { stdout: string; stderr: string }) => error,
  );
  return `${stdout}${stderr}`;
}

describe
  .skipIf(etcdctl === undefined)
  .each([
    ['Roster', () => startRoster(['--bcrypt-cost', '4'])],
    ...(etcd === undefined ? [] : [['etcd', () => startEtcd(etcd, ['--bcrypt-cost', '4'])] as const]),
  ] as const)('etcdctl through the proxy of %s', (_, start: () => Promise<RunningRoster | RunningEtcd>) => {
  let store: RunningRoster | RunningEtcd;
  let proxy: TestProxy;
  const folder = mkdtempSync(join(tmpdir(), 'roster-proxy-'));
  beforeAll(async () => {
    store = await start();
    // An age that no test outlives: what is forgotten is forgotten for a reason.
    proxy = await proxyOf(store.endpoint, '--advertise-client-url', '', '--cache-max-age', '10m');
  }, TIMEOUT_MS);
  afterAll(async () => {
    await proxy?.close();
    await store?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it(
    'says what it says without',
    async () => {
      const through = (...args: string[]) => ctl(proxy.endpoint, ...args);
      expect(await through('put', 'a/1', 'one')).toBe('OK\n');
      expect(await through('put', 'a/2', 'two', '--prev-kv')).toBe('OK\n');
      for (const args of [
        ['get', 'a/', '--prefix'],
        ['get', 'a/', '--prefix', '--consistency=s'],
        ['get', 'a/1', '--print-value-only'],
        ['get', 'none'],
        ['get', 'a/1', '--rev', '99999'],
        ['member', 'list'],
        ['alarm', 'list'],
        ['lease', 'list'],
        ['user', 'list'],
        ['role', 'get', 'none'],
        ['lease', 'revoke', '123'],
        ['compaction', '99999'],
        ['auth', 'enable'],
        ['move-leader', '1'],
      ]) {
        const direct = await ctl(store.endpoint, ...args);
        const masked = (text: string) =>
          text
            .replaceAll(store.endpoint, 'EP')
            .replaceAll(proxy.endpoint, 'EP')
            .replace(/"ts":"[^"]*"|client-[0-9a-f-]+/g, '');
        expect([args, masked(await through(...args))]).toEqual([args, masked(direct)]);
      }
      expect(await through('endpoint', 'status', '-w', 'fields')).toContain('"Revision"');
      expect(await through('endpoint', 'health')).toContain('is healthy');
      expect(await through('del', 'a/1', '--prev-kv')).toBe('1\na/1\none\n');
      const granted = await through('lease', 'grant', '60');
      const id = /lease (\S+) granted/.exec(granted)![1]!;
      expect(await through('put', 'leased', 'x', '--lease', id)).toBe('OK\n');
      expect(await through('lease', 'timetolive', id, '--keys')).toContain('attached keys([leased])');
      expect(await through('lease', 'keep-alive', id, '--once')).toBe(`lease ${id} keepalived with TTL(60)\n`);
      expect(await through('get', 'leased', '--consistency=s')).toBe('leased\nx\n');
      expect(await through('lease', 'revoke', id)).toBe(`lease ${id} revoked\n`);
      expect(await through('get', 'leased', '--consistency=s')).toBe('');
      expect(await through('snapshot', 'save', join(folder, 'db'))).toContain('Snapshot saved at');
      // Each kind of file is checked by its own tool.
      if ('dataDir' in store) expect((await snapshotStatus(join(folder, 'db'))).totalKeys).toBeGreaterThan(0);
      else expect(await through('snapshot', 'status', join(folder, 'db'))).toMatch(/^[0-9a-f]+, \d+, \d+, /);
    },
    TIMEOUT_MS,
  );

  it(
    'locks, elects and watches',
    async () => {
      expect(await ctl(proxy.endpoint, 'lock', 'l', 'echo', 'held')).toBe('held\n');
      const env = { PATH: process.env.PATH, ETCDCTL_API: '3' };
      const watch = spawn(etcdctl!, ['--endpoints', proxy.endpoint, 'watch', 'w/', '--prefix', '--rev', '1'], { env });
      const elect = spawn(etcdctl!, ['--endpoints', proxy.endpoint, 'elect', 'e', 'me'], { env });
      try {
        let seen = '';
        watch.stdout.setEncoding('utf8').on('data', (chunk: string) => {
          seen += chunk;
        });
        let elected = '';
        elect.stdout.setEncoding('utf8').on('data', (chunk: string) => {
          elected += chunk;
        });
        await ctl(store.endpoint, 'put', 'w/1', 'x');
        await ctl(proxy.endpoint, 'del', 'w/1');
        await expect.poll(() => seen, { timeout: 30_000 }).toBe('PUT\nw/1\nx\nDELETE\nw/1\n\n');
        await expect.poll(() => elected, { timeout: 30_000 }).toMatch(/^e\/[0-9a-f]+\nme\n$/);
      } finally {
        for (const child of [watch, elect]) {
          child.kill('SIGKILL');
          await once(child, 'close');
        }
      }
    },
    TIMEOUT_MS,
  );

  it(
    'with users: the token goes on, and what is refused there is refused here',
    async () => {
      const through = (...args: string[]) => ctl(proxy.endpoint, ...args);
      for (const args of [
        ['user', 'add', 'root:r'],
        ['user', 'grant-role', 'root', 'root'],
        ['user', 'add', 'u:p'],
        ['role', 'add', 'reader'],
        ['role', 'grant-permission', 'reader', 'read', 'mine/', '--prefix=true'],
        ['user', 'grant-role', 'u', 'reader'],
        ['put', 'mine/1', 'x'],
        ['put', 'yours/1', 'secret'],
        ['get', 'yours/1', '--consistency=s'],
        ['auth', 'enable'],
      ]) {
        await through(...args);
      }
      try {
        const asUser = (...args: string[]) => through('--user', 'u:p', ...args);
        expect(await asUser('get', 'mine/1')).toBe('mine/1\nx\n');
        expect(await asUser('get', 'mine/1', '--consistency=s')).toBe('mine/1\nx\n');
        expect(await asUser('get', 'yours/1')).toContain('etcdserver: permission denied');
        expect(await asUser('put', 'mine/1', 'y')).toContain('etcdserver: permission denied');
        expect(await asUser('watch', 'yours/', '--prefix')).toContain('permission denied');
        // What somebody who may has read is not given to who may not.
        expect(await through('--user', 'root:r', 'get', 'yours/1', '--consistency=s')).toBe('yours/1\nsecret\n');
        expect(await asUser('get', 'yours/1', '--consistency=s')).toContain('etcdserver: permission denied');
        expect(await through('get', 'yours/1', '--consistency=s')).toContain('etcdserver: user name is empty');
        expect(await through('--user', 'u:wrong', 'get', 'mine/1')).toContain('authentication failed');
        // What is taken away is gone at once.
        await through('--user', 'root:r', 'role', 'revoke-permission', 'reader', 'mine/', '--prefix=true');
        expect(await asUser('get', 'mine/1', '--consistency=s')).toContain('etcdserver: permission denied');
      } finally {
        await through('--user', 'root:r', 'auth', 'disable');
      }
    },
    TIMEOUT_MS,
  );
});

describe.skipIf(etcdctl === undefined)('roster grpc-proxy start', () => {
  it(
    'is a process that serves, tells its health and its metrics, and stops in order',
    async () => {
      const store = await startRoster();
      const address = `127.0.0.1:${await freePort()}`;
      const args = [
        'grpc-proxy',
        'start',
        '--listen-addr',
        address,
        '--endpoints',
        store.endpoint,
        '--dial-keepalive-time',
        '5s',
      ];
      const child = spawn(process.execPath, [rosterMain, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
      const gone = once(child, 'exit');
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
        said += chunk;
      });
      try {
        await expect.poll(() => said, { timeout: 60_000 }).toContain('grpc-proxy: serving clients');
        expect(said).toContain('"flags":["--dial-keepalive-time"],"msg":"flags that have no meaning here');
        expect(await ctl(address, 'put', 'a', 'b')).toBe('OK\n');
        for (let i = 0; i < 2; i++) expect(await ctl(address, 'get', 'a', '--consistency=s')).toBe('a\nb\n');
        expect(await ctl(address, 'member', 'list')).toContain(', 127.0.0.1:23790, ');
        expect(await (await fetch(`http://${address}/health`)).json()).toEqual({ health: 'true', reason: '' });
        const metrics = await (await fetch(`http://${address}/proxy/metrics`)).text();
        expect(metrics).toMatch(/^etcd_grpc_proxy_cache_misses_total [12]$/m);
        expect(metrics).toContain('etcd_grpc_proxy_watchers_coalescing_total 0');
        await store.kill();
        const sick = await fetch(`http://${address}/proxy/health`);
        expect([sick.status, await sick.json()]).toMatchObject([503, { health: 'false' }]);
        child.kill('SIGTERM');
        expect(await gone).toEqual([0, null]);
      } finally {
        child.kill('SIGKILL');
        await gone;
        await store.stop();
      }
    },
    TIMEOUT_MS,
  );
});
