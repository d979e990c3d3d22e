import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { readServeFlags } from '../../server/config/serve-flags.ts';
import { openDataDir } from '../../server/disk/data-dir.ts';
import { startServer } from '../../server/serve.ts';
import { freePort } from '../support/ports.ts';

let folder: string;
let data: string;
let walDir: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'roster-wal-dir-')));
  data = join(folder, 'data');
  walDir = join(folder, 'disk', 'wal');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = (dir?: string) => openDataDir(data, dir === undefined ? {} : { walDir: dir });

describe('--wal-dir', () => {
  it('is made, and found again with and without the flag', () => {
    open(walDir).close();
    expect(lstatSync(join(data, 'member', 'wal')).isSymbolicLink()).toBe(true);
    for (const again of [walDir, undefined]) {
      const dir = open(again);
      writeFileSync(join(dir.walPath, 'x'), '');
      dir.close();
    }
    expect(readdirSync(walDir)).toEqual(['x']);
  });

  it('must be empty for a new log', () => {
    mkdirSync(join(walDir, 'other'), { recursive: true });
    expect(() => open(walDir)).toThrow(`--wal-dir ${walDir} is not empty`);
    rmSync(join(walDir, 'other'), { recursive: true });
    open(walDir).close();
  });

  it('cannot be another one than the data directory knows', () => {
    open(walDir).close();
    const other = join(folder, 'other');
    expect(() => open(other)).toThrow(`--wal-dir is ${other}, but the log is in ${walDir}`);
    expect(existsSync(other)).toBe(false);
    rmSync(data, { recursive: true });
    open().close();
    expect(() => open(walDir)).toThrow(`--wal-dir is ${walDir}, but the log is in ${join(data, 'member', 'wal')}`);
  });

  it('says so when its disk is not there', () => {
    open(walDir).close();
    renameSync(walDir, `${walDir}-gone`);
    for (const dir of [walDir, undefined]) expect(() => open(dir)).toThrow('which is not there: is its disk mounted?');
    renameSync(`${walDir}-gone`, walDir);
    open().close();
  });

  it('holds the log of a member, which refuses to start when it has been emptied', { timeout: 120_000 }, async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const args = ['--data-dir', data, '--listen-client-urls', url, '--advertise-client-urls', url];
    args.push('--listen-peer-urls', 'http://127.0.0.1:0', '--wal-dir', walDir);
    const start = () => startServer(readServeFlags(args, {}), pino({ level: 'silent' }));
    const server = await start();
    const client = new Client({ endpoints: server.clientUrls });
    await client.put('a', '1');
    client.close();
    await server.stop();
    expect(readdirSync(walDir).some((name) => name.endsWith('.wal'))).toBe(true);
    const again = await start();
    const reader = new Client({ endpoints: again.clientUrls });
    expect((await reader.get('a'))?.version).toBe(1);
    reader.close();
    await again.stop();
    for (const name of readdirSync(walDir)) rmSync(join(walDir, name));
    await expect(start()).rejects.toThrow();
  });
});
