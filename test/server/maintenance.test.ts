import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { readServeFlags } from '../../server/config/serve-flags.ts';
import { type RunningServer, startServer } from '../../server/serve.ts';
import { runSnapshotCommand } from '../../server/snapshot/command.ts';
import { startEtcd } from '../support/etcd.ts';
import { requirePeers } from '../support/peers.ts';
import { freePort } from '../support/ports.ts';

/** Maintenance, locks and elections of one real member within this process; and the same words from etcdctl on both. */

const execute = promisify(execFile);
const TIMEOUT_MS = 120_000;

let folder: string;
let servers: RunningServer[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'roster-maintenance-'));
  servers = [];
});
afterEach(async () => {
  for (const server of servers) await server.stop();
  await rm(folder, { recursive: true, force: true });
});

async function start(dataDir: string, ...more: string[]): Promise<RunningServer> {
  const url = `http://127.0.0.1:${await freePort()}`;
  const args = ['--data-dir', join(folder, dataDir), '--listen-client-urls', url, '--advertise-client-urls', url];
  args.push('--listen-peer-urls', 'http://127.0.0.1:0', '--heartbeat-interval', '20', '--election-timeout', '200');
  const server = await startServer(readServeFlags([...args, ...more], {}), pino({ level: 'silent' }));
  servers.push(server);
  return server;
}

async function stop(server: RunningServer): Promise<void> {
  servers = servers.filter((other) => other !== server);
  await server.stop();
}

const urlOf = (server: RunningServer) => server.clientUrls[0]!;
const base64 = (text: string) => Buffer.from(text).toString('base64');

// biome-ignore lint/suspicious/noExplicitAny: JSON
async function json(server: RunningServer, path: string, body: object, signal?: AbortSignal): Promise<any> {
  const options = { method: 'POST', body: JSON.stringify(body), ...(signal === undefined ? {} : { signal }) };
  return (await fetch(`${urlOf(server)}/v3/${path}`, options)).json();
}

describe('the space quota', { timeout: TIMEOUT_MS }, () => {
  it('refuses writes when it is used up, and takes them again by itself once history is compacted', async () => {
    const server = await start('data', '--quota-backend-bytes', '200000');
    const client = new Client({ endpoints: server.clientUrls });
    const value = 'v'.repeat(1000);
    let refusal: Error | undefined;
    for (let i = 0; i < 300 && refusal === undefined; i++) {
      await client.put('k', value).catch((error: Error) => {
        refusal = error;
      });
    }
    expect(refusal?.message).toBe('etcdserver: mvcc: database space exceeded');
    const status = await json(server, 'maintenance/status', {});
    expect(status).toMatchObject({
      dbSizeQuota: '200000',
      errors: [expect.stringMatching(/^memberID:\d+ alarm:NOSPACE$/)],
    });
    expect((await client.alarms()).map(({ alarm }) => alarm)).toEqual([1]);
    const metrics = await (await fetch(`${urlOf(server)}/metrics`)).text();
    expect(metrics).toContain('etcd_server_quota_backend_bytes 200000');
    expect(metrics).toMatch(/etcd_debugging_server_alarms\{server_id="[0-9a-f]+",alarm_type="NOSPACE"\} 1/);
    expect(metrics).toMatch(/roster_store_history_bytes 1\d{5}/);
    const { revision } = await client.getPrefix('k');
    await client.compact(revision);
    await expect.poll(() => client.alarms(), { timeout: 20_000 }).toEqual([]);
    await client.put('k', value);
    client.close();
  });

  it('is never used up by overwriting while auto-compaction is on', async () => {
    const flags = [
      '--quota-backend-bytes',
      '300000',
      '--auto-compaction-retention',
      '1',
      '--quota-compaction-floor',
      '50',
    ];
    const server = await start('data', ...flags);
    const client = new Client({ endpoints: server.clientUrls });
    const value = 'v'.repeat(1000);
    const until = Date.now() + 2500;
    let puts = 0;
    // Slow enough for the upkeep, which looks some times a second.
    for (; Date.now() < until || puts < 600; puts++) {
      await client.put(`k${puts % 3}`, value);
      if (puts % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await client.alarms()).toEqual([]);
    expect((await client.getPrefix('k')).kvs).toHaveLength(3);
    client.close();
  });
});

describe('a snapshot', { timeout: TIMEOUT_MS }, () => {
  it('is saved by etcdctl and goes on as a new cluster', async (context) => {
    const { etcdctl } = requirePeers(context, 'etcdctl');
    const server = await start('data');
    const client = new Client({ endpoints: server.clientUrls });
    for (let i = 0; i < 200; i++) await client.put(`k${i % 50}`, `${i} ${'x'.repeat(1000)}`);
    const file = join(folder, 'saved.db');
    const env = { ...process.env, ETCDCTL_API: '3', ETCDCTL_ENDPOINTS: urlOf(server) };
    const { stdout } = await execute(etcdctl, ['snapshot', 'save', file], { env });
    expect(stdout).toContain(`Snapshot saved at ${file}`);
    expect((await stat(file)).size % 512).toBe(32);
    const before = await client.getPrefix('k');
    client.close();
    await stop(server);
    const status = await runSnapshotCommand(['status', file]);
    expect(status).toMatch(/^[0-9a-f]+, 201, \d+, \d+ kB, 3\.7\.0\n$/);
    await runSnapshotCommand([
      'restore',
      file,
      '--data-dir',
      join(folder, 'restored'),
      '--initial-cluster-token',
      'two',
    ]);
    const restored = await start('restored');
    const again = new Client({ endpoints: restored.clientUrls });
    const after = await again.getPrefix('k');
    expect(after.revision).toBe(before.revision);
    expect(after.kvs.map(({ key, value, mod_revision }) => [key, Buffer.from(value).toString(), mod_revision])).toEqual(
      before.kvs.map(({ key, value, mod_revision }) => [key, Buffer.from(value).toString(), mod_revision]),
    );
    expect((await again.put('new', 'x')).header?.revision).toBe(202);
    again.close();
    // And once more, now that there are entries in the log.
    await stop(restored);
    const third = new Client({ endpoints: (await start('restored')).clientUrls });
    expect((await third.getPrefix('new')).kvs).toHaveLength(1);
    third.close();
  });

  it('comes through the gateway, too', async () => {
    const server = await start('data');
    const response = await fetch(`${urlOf(server)}/v3/maintenance/snapshot`, { method: 'POST', body: '{}' });
    const lines = (await response.text()).trim().split('\n');
    const blobs = lines.map((line) => Buffer.from(JSON.parse(line).result.blob, 'base64'));
    expect(Buffer.concat(blobs).length % 512).toBe(32);
    expect(blobs.at(-1)).toHaveLength(32);
  });
});

describe('locks and elections', { timeout: TIMEOUT_MS }, () => {
  it('wait over HTTP, and give way when the waiting connection is closed', async () => {
    const server = await start('data');
    await json(server, 'lease/grant', { ID: 1, TTL: 60 });
    await json(server, 'lease/grant', { ID: 2, TTL: 60 });
    await json(server, 'lease/grant', { ID: 3, TTL: 60 });
    const name = base64('l');
    expect(await json(server, 'lock/lock', { name, lease: 1 })).toMatchObject({ key: base64('l/1') });
    const leaving = new AbortController();
    const left = json(server, 'lock/lock', { name, lease: 2 }, leaving.signal).catch((error: Error) => error.name);
    const waiting = json(server, 'lock/lock', { name, lease: 3 });
    const queue = async () =>
      (await json(server, 'kv/range', { key: base64('l/'), range_end: base64('l0'), keys_only: true })).count;
    await expect.poll(queue).toBe('3');
    leaving.abort();
    expect(await left).toBe('AbortError');
    await expect.poll(queue).toBe('2');
    await json(server, 'lock/unlock', { key: base64('l/1') });
    expect(await waiting).toMatchObject({ key: base64('l/3') });
    const leader = await json(server, 'election/campaign', { name: base64('e'), lease: 1, value: base64('one') });
    expect(leader.leader).toMatchObject({ key: base64('e/1'), lease: '1' });
    expect(await json(server, 'election/leader', { name: base64('none') })).toMatchObject({
      code: 2,
      message: 'election: no leader',
    });
  });

  it('do not hold up a stop', async () => {
    const server = await start('data');
    await json(server, 'lease/grant', { ID: 1, TTL: 60 });
    await json(server, 'lease/grant', { ID: 2, TTL: 60 });
    await json(server, 'lock/lock', { name: base64('l'), lease: 1 });
    const waiting = json(server, 'lock/lock', { name: base64('l'), lease: 2 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const [answer] = await Promise.all([waiting, stop(server)]);
    expect(answer).toMatchObject({ message: 'etcdserver: server stopped' });
  });
});

describe('etcdctl', { timeout: TIMEOUT_MS }, () => {
  /** What it prints, without what is bound to differ: addresses, ids, times, lease ids in keys. */
  async function session(etcdctl: string, url: string): Promise<string[]> {
    const env = { ...process.env, ETCDCTL_API: '3', ETCDCTL_ENDPOINTS: url };
    const file = join(folder, `snapshot-${url.replace(/\W/g, '')}.db`);
    const run = async (...args: string[]) => {
      const { stdout, stderr } = await execute(etcdctl, args, { env }).catch(
        (error: { stdout: string; stderr: string }) => error,
      );
      return `$ ${args.join(' ')}\n${stdout}${stderr}`
        .replaceAll(url, 'URL')
        .replaceAll(file, 'FILE')
        .replace(/\{"level".*\n/g, '')
        .replace(/memberID:\d+/g, 'memberID:N')
        .replace(/\/[0-9a-f]{12,16}\b/g, '/LEASE')
        .replace(/ \n/g, '\n');
    };
    const { header } = (await (await fetch(`${url}/v3/maintenance/status`, { method: 'POST', body: '{}' })).json()) as {
      header: { member_id: string };
    };
    const alarm = (action: string) =>
      fetch(`${url}/v3/maintenance/alarm`, {
        method: 'POST',
        body: JSON.stringify({ action, memberID: header.member_id, alarm: 'NOSPACE' }),
      });
    const said = [
      await run('put', 'k', 'v'),
      await run('lock', 'l', 'echo', 'held'),
      await run('lock', 'l', '--ttl', '5', 'sh', '-c', 'echo $ETCD_LOCK_REV'),
      await run('defrag'),
      await run('alarm', 'list'),
    ];
    await alarm('ACTIVATE');
    said.push(
      await run('alarm', 'list'),
      await run('put', 'k', 'w'),
      await run('lease', 'grant', '60'),
      await run('del', 'k'),
      await run('compaction', '2'),
      await run('alarm', 'disarm'),
      await run('alarm', 'list'),
      await run('put', 'k', 'w'),
      await run('snapshot', 'save', file),
    );
    expect((await readFile(file)).length % 512).toBe(32);
    return said;
  }

  it('says the same of locks, alarms, defrag and snapshots as to etcd', async (context) => {
    const { etcd, etcdctl } = requirePeers(context, 'etcd', 'etcdctl');
    const reference = await startEtcd(etcd);
    try {
      const expected = await session(etcdctl, `http://${reference.endpoint}`);
      const actual = await session(etcdctl, urlOf(await start('data')));
      expect(expected.join('\n')).toContain('alarm:NOSPACE');
      expect(expected.join('\n')).toContain('held');
      expect(actual).toEqual(expected);
    } finally {
      await reference.stop();
    }
  });

  it('and the RPCs of locks and elections answer as those of etcd', async (context) => {
    const { etcd } = requirePeers(context, 'etcd');
    /** Paths, bodies, and what of the answers must be the same. */
    const talk = async (url: string) => {
      const said: unknown[] = [];
      const call = async (path: string, body: object) => {
        const response = await fetch(`${url}/v3/${path}`, { method: 'POST', body: JSON.stringify(body) });
        const { header, key, leader, kv, code, message } = (await response.json()) as Record<
          string,
          { revision?: string }
        >;
        said.push([path, response.status, header?.revision, key, leader, kv, code, message]);
      };
      const [name, value] = [base64('e'), base64('one')];
      await call('lease/grant', { ID: 5, TTL: 60 });
      await call('lease/grant', { ID: -255, TTL: 60 });
      await call('lock/lock', { name: base64('l'), lease: 77 });
      await call('lock/lock', { name: base64('l'), lease: 5 });
      await call('lock/lock', { name: base64('l'), lease: 5 });
      await call('lock/unlock', { key: base64('none') });
      await call('lock/unlock', {});
      await call('lock/unlock', { key: base64('l/5') });
      await call('lock/lock', { name: base64('m'), lease: -255 });
      await call('lock/lock', { lease: 5 });
      await call('election/leader', { name });
      await call('election/proclaim', { value });
      await call('election/resign', {});
      await call('election/campaign', { name, lease: 99, value });
      await call('election/campaign', { name, lease: 5, value });
      await call('election/campaign', { name, lease: 5, value: base64('two') });
      await call('election/leader', { name });
      const leader = { name, key: base64('e/5'), rev: 2, lease: 5 };
      await call('election/proclaim', { leader, value });
      await call('election/resign', { leader });
      await call('election/proclaim', { leader: { ...leader, rev: 9 }, value });
      await call('election/leader', { name });
      return said;
    };
    const reference = await startEtcd(etcd);
    try {
      const expected = await talk(`http://${reference.endpoint}`);
      expect(await talk(urlOf(await start('data')))).toEqual(expected);
      expect(expected).toHaveLength(21);
    } finally {
      await reference.stop();
    }
  });

  it('elects', async (context) => {
    const { etcdctl } = requirePeers(context, 'etcdctl');
    const url = urlOf(await start('data'));
    const env = { ...process.env, ETCDCTL_API: '3', ETCDCTL_ENDPOINTS: url };
    const elected = execFile(etcdctl, ['elect', 'e', 'me'], { env });
    const listening = execFile(etcdctl, ['elect', '-l', 'e'], { env });
    let heard = '';
    listening.stdout!.on('data', (chunk: Buffer) => {
      heard += chunk.toString();
    });
    try {
      await expect.poll(() => heard, { timeout: 20_000 }).toMatch(/^e\/[0-9a-f]+\nme\n$/);
    } finally {
      listening.kill('SIGKILL');
      elected.kill('SIGKILL');
    }
  });
});
