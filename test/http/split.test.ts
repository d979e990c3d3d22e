import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { freePort } from '../support/ports.ts';
import { rosterMain } from '../support/roster.ts';

/** A server whose configuration is a file, and whose HTTP has a port of its own. */
let folder: string;
let grpc: string;
let http: string;
let child: ChildProcess;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'roster-split-'));
  grpc = `http://127.0.0.1:${await freePort()}`;
  http = `http://127.0.0.1:${await freePort()}`;
  const path = join(folder, 'etcd.conf.yml');
  await writeFile(
    path,
    [
      'name: filed',
      `data-dir: ${join(folder, 'data')}`,
      `wal-dir: ${join(folder, 'wal')}`,
      `listen-client-urls: ${grpc}`,
      `advertise-client-urls: ${grpc}`,
      `listen-client-http-urls: [${http}]`,
      'listen-peer-urls: http://127.0.0.1:0',
      `log-outputs: [${join(folder, 'log')}, stderr]`,
      'warning-unary-request-duration: 1',
    ].join('\n'),
  );
  const env = { ...process.env, ETCD_NAME: 'ignored' };
  child = spawn(process.execPath, [rosterMain, `--config-file=${path}`], { env, stdio: 'ignore' });
  const healthy = () =>
    fetch(`${http}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await healthy())) {
    if (child.exitCode !== null) throw new Error(`it did not start: exit code ${child.exitCode}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}, 90_000);
afterAll(async () => {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  if (child.kill('SIGKILL')) await gone;
  await rm(folder, { recursive: true, force: true });
});

const log = () => readFile(join(folder, 'log'), 'utf8');

describe('--config-file and --listen-client-http-urls', () => {
  it('serves gRPC on one port and HTTP on the other', async () => {
    const client = new Client({ endpoints: [grpc] });
    try {
      await client.put('/split/key', '1');
    } finally {
      client.close();
    }
    await expect(fetch(`${grpc}/health`), 'HTTP on the port of gRPC').rejects.toThrow();
    const range = await fetch(`${http}/v3/kv/range`, {
      method: 'POST',
      body: JSON.stringify({ key: Buffer.from('/split/key').toString('base64') }),
    });
    expect(await range.json()).toMatchObject({ count: '1' });
  });

  it('has taken the file and told what it has not taken', async () => {
    expect(await log()).toContain('replaces all flags and variables; ignored: ETCD_NAME');
    const members = await fetch(`${http}/v3/cluster/member/list`, { method: 'POST', body: '{}' });
    expect(await members.json()).toMatchObject({ members: [{ name: 'filed' }] });
  });

  it('names requests that took longer than they may, with who asked for what', async () => {
    // A nanosecond is over for each.
    await expect.poll(log, { timeout: 20_000 }).toContain('a request took too long');
    const line = (await log()).split('\n').find((one) => one.includes('KV/Put') && one.includes('took too long'));
    expect(JSON.parse(line ?? '{}')).toMatchObject({
      method: '/etcdserverpb.KV/Put',
      key: '/split/key',
      code: 'OK',
      remote: expect.stringContaining('127.0.0.1'),
    });
  });
});
