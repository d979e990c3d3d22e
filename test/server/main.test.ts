import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { freePort } from '../support/ports.ts';
import { rosterMain, startRoster } from '../support/roster.ts';

/** Runs `roster` to its end. */
function roster(args: readonly string[], env: Record<string, string> = {}) {
  return new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
    const child = spawn(process.execPath, [rosterMain, ...args], { env: { ...process.env, ...env } });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

describe('roster', () => {
  it('tells its version, which is that of the package', async () => {
    const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    const { code, stdout } = await roster(['version']);
    expect({ code, first: stdout.split('\n')[0] }).toEqual({ code: 0, first: `roster ${version}` });
  });

  it.each([
    [['serve', '--nmae', 'x'], 'unknown flag --nmae: did you mean --name?'],
    [['serve', '--max-txn-ops', 'many'], 'invalid value "many" for flag --max-txn-ops'],
    [['--initial-cluster-state', 'old'], 'must be one of new, existing'],
    [['sevre'], 'unknown command "sevre"'],
    [['dev', '--fast'], 'roster dev takes no arguments'],
  ])('%j says what is wrong and exits 2', async (args, message) => {
    const { code, stderr } = await roster(args);
    expect(stderr).toContain(message);
    expect(code).toBe(2);
  });

  it('reads ETCD_* and names the variable that is wrong', async () => {
    const { code, stderr } = await roster(['serve'], { ETCD_HEARTBEAT_INTERVAL: '-5' });
    expect(stderr).toContain('environment variable ETCD_HEARTBEAT_INTERVAL');
    expect(code).toBe(2);
  });

  it('lists the flags of serve', async () => {
    const { code, stdout } = await roster(['serve', '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain("--listen-client-urls 'http://localhost:2379'");
  });
});

describe('roster serve', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'roster-main-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('refuses a port that is taken', async () => {
    const store = await startRoster();
    try {
      const url = `http://${store.endpoint}`;
      const other = join(folder, 'other');
      const taken = await roster([
        'serve',
        '--data-dir',
        other,
        '--listen-client-urls',
        url,
        '--advertise-client-urls',
        url,
      ]);
      expect(taken.stderr).toContain(`cannot listen on ${url}`);
      expect(taken.code).toBe(1);
    } finally {
      await store.stop();
    }
  });

  it('refuses a peer port that is taken', async () => {
    const peer = `http://127.0.0.1:${await freePort()}`;
    const store = await startRoster(['--listen-peer-urls', peer]);
    try {
      const client = `http://127.0.0.1:${await freePort()}`;
      const taken = await roster([
        ...['serve', '--data-dir', join(folder, 'peer'), '--listen-peer-urls', peer],
        ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ]);
      expect(taken.stderr).toContain(`cannot listen for members on ${peer}`);
      expect(taken.code).toBe(1);
    } finally {
      await store.stop();
    }
  });

  it('refuses a data directory that is none, or is in use', async () => {
    await writeFile(join(folder, 'file'), '');
    const file = await roster(['serve', '--data-dir', join(folder, 'file')]);
    expect(file.stderr).toContain('not a directory');
    expect(file.code).toBe(1);
    const store = await startRoster();
    try {
      const used = await roster(['serve', '--data-dir', store.dataDir]);
      expect(used.stderr).toContain(`in use by process ${store.pid}`);
      expect(used.code).toBe(1);
    } finally {
      await store.stop();
    }
  });

  it('stops in order on SIGTERM: open streams end, everything is there at the next start', async () => {
    const store = await startRoster(['--log-level', 'info']);
    const client = new Client({ endpoints: [store.endpoint] });
    try {
      const watch = client.watch('/s/', { prefix: true });
      const first = watch.next();
      const lease = await client.leaseGrant(600);
      await client.put('/s/a', '1', { lease: lease.ID });
      expect((await first).value).toMatchObject({ kind: 'events' });
      // An idle HTTP/1.1 connection (fetch keeps one) must not hold up the stop.
      expect(await (await fetch(`http://${store.endpoint}/version`)).json()).toHaveProperty('etcdserver');
      expect(await store.terminate()).toBe(0);
      expect(store.log).toContain('"msg":"stopped"');
      await store.start();
      expect(await client.get('/s/a')).toMatchObject({ lease: lease.ID, version: 1 });
      const resumed = watch.next();
      await client.put('/s/b', '2');
      expect((await resumed).value).toMatchObject({ kind: 'events', revision: 3 });
      await watch.return?.();
    } finally {
      client.close();
      await store.stop();
    }
  });

  it('gives a lease its time again after a kill, and ends it then', async () => {
    const store = await startRoster();
    const client = new Client({ endpoints: [store.endpoint] });
    try {
      const { ID } = await client.leaseGrant(2);
      await client.put('/short', 'x', { lease: ID });
      await store.kill();
      await store.start();
      expect(await client.get('/short'), 'a restart never shortens a lease').toBeDefined();
      await expect.poll(() => client.get('/short'), { timeout: 15_000 }).toBeUndefined();
    } finally {
      client.close();
      await store.stop();
    }
  });

  it('serves on every URL it is given', async () => {
    const second = `http://127.0.0.1:${await freePort()}`;
    const first = `http://127.0.0.1:${await freePort()}`;
    const both = `${first},${second}`;
    const child = spawn(
      process.execPath,
      [rosterMain, 'serve', '--data-dir', join(folder, 'two'), '--listen-client-urls', both].concat([
        '--advertise-client-urls',
        both,
      ]),
      { stdio: 'ignore' },
    );
    try {
      for (const url of [first, second]) {
        await expect
          .poll(
            () =>
              fetch(`${url}/health`).then(
                (response) => response.ok,
                () => false,
              ),
            { timeout: 15_000 },
          )
          .toBe(true);
      }
    } finally {
      child.kill('SIGKILL');
    }
  });
});
