import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { requirePeers } from '../support/peers.ts';
import { freePort } from '../support/ports.ts';
import { type RunningRoster, rosterMain, startRoster } from '../support/roster.ts';

const run = promisify(execFile);

let store: RunningRoster;
beforeAll(async () => {
  store = await startRoster();
}, 90_000);
afterAll(() => store.stop());

it('etcdctl works through roster gateway start, which ends in order', async (context) => {
  const { etcdctl } = requirePeers(context, 'etcdctl');
  const dead = await freePort();
  const address = `127.0.0.1:${await freePort()}`;
  const flags = ['--listen-addr', address, '--endpoints', `127.0.0.1:${dead},http://${store.endpoint}`];
  const child = spawn(process.execPath, [rosterMain, 'gateway', 'start', ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const gone = new Promise((resolve) => void child.once('exit', resolve));
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  try {
    await expect.poll(() => said, { timeout: 60_000 }).toContain('gateway: taking connections');
    const ctl = (...args: string[]) =>
      run(etcdctl, ['--endpoints', address, ...args], { env: { ...process.env, ETCDCTL_API: '3' } });
    expect((await ctl('put', 'a', 'b')).stdout).toBe('OK\n');
    expect((await ctl('get', 'a')).stdout).toBe('a\nb\n');
    expect(said).toContain(`"endpoint":"127.0.0.1:${dead}","reason":"connect ECONNREFUSED`);
    child.kill('SIGTERM');
    expect(await gone).toBe(0);
  } finally {
    child.kill('SIGKILL');
    await gone;
  }
});
