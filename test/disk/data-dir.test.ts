import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DATA_FORMAT, openDataDir } from '../../server/disk/data-dir.ts';

let root: string;
let path: string;
beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'roster-data-'));
  path = join(root, 'a', 'data');
});
afterEach(() => fs.rmSync(root, { recursive: true, force: true }));

const locks = () => fs.readdirSync(path).filter((name) => name.startsWith('lock.'));
const ownLock = () => {
  const dir = openDataDir(path);
  const [name] = locks();
  dir.close();
  return name!;
};

describe('openDataDir', () => {
  it('makes the directory, private, with its layout and marker', () => {
    const dir = openDataDir(path);
    expect(dir).toMatchObject({ path, walPath: join(path, 'member', 'wal'), dbPath: join(path, 'member', 'db') });
    for (const folder of [path, dir.walPath, dir.dbPath]) expect(fs.statSync(folder).mode & 0o777).toBe(0o700);
    expect(JSON.parse(fs.readFileSync(join(path, 'roster.json'), 'utf8'))).toEqual({ format: DATA_FORMAT });
    dir.close();
    expect(fs.readdirSync(path).sort()).toEqual(['member', 'roster.json']);
    openDataDir(path).close();
  });

  it('warns of a directory that others may read, but uses it', () => {
    fs.mkdirSync(path, { recursive: true });
    fs.chmodSync(path, 0o755);
    const warnings: string[] = [];
    openDataDir(path, { warn: (message) => warnings.push(message) }).close();
    expect(warnings).toEqual([`others may read the data directory ${path} (mode 755); run chmod 700 ${path}`]);
    fs.chmodSync(path, 0o700);
    openDataDir(path, { warn: (message) => warnings.push(message) }).close();
    expect(warnings).toHaveLength(1);
  });

  it('finishes a first start that was interrupted', () => {
    fs.mkdirSync(join(path, 'member', 'wal'), { recursive: true });
    fs.writeFileSync(join(path, 'roster.json.tmp'), '{"for');
    fs.mkdirSync(join(path, 'lost+found'));
    openDataDir(path).close();
    expect(fs.existsSync(join(path, 'roster.json'))).toBe(true);
  });

  it("refuses what is not Roster's, and changes nothing there", () => {
    const refused = (prepare: () => void, message: string) => {
      fs.rmSync(path, { recursive: true, force: true });
      fs.mkdirSync(path, { recursive: true });
      prepare();
      const before = fs.readdirSync(path, { recursive: true });
      expect(() => openDataDir(path)).toThrow(message);
      expect(fs.readdirSync(path, { recursive: true })).toEqual(before);
    };
    refused(() => fs.writeFileSync(join(path, 'notes.txt'), ''), 'is not empty (notes.txt)');
    refused(() => fs.mkdirSync(join(path, 'member', 'snap'), { recursive: true }), 'is a data directory of etcd');
    refused(() => {
      fs.mkdirSync(join(path, 'member', 'wal'), { recursive: true });
      fs.writeFileSync(join(path, 'member', 'wal', '0.wal'), '');
    }, 'roster.json is missing');
    refused(() => fs.writeFileSync(join(path, 'roster.json'), '{"format":2}'), 'made by a newer Roster');
    for (const text of ['', '{', '{"format":"1"}', '{"format":0}', 'null', '{}']) {
      refused(() => fs.writeFileSync(join(path, 'roster.json'), text), 'is damaged');
    }
  });

  it('says so when the path is a file, or below one', () => {
    fs.writeFileSync(join(root, 'file'), '');
    expect(() => openDataDir(join(root, 'file'))).toThrow('is not a directory');
    expect(() => openDataDir(join(root, 'file', 'data'))).toThrow(/cannot open .*ENOTDIR/);
  });
});

describe('the lock', () => {
  it('keeps this process from opening it twice', () => {
    const dir = openDataDir(path);
    expect(() => openDataDir(path)).toThrow(`the data directory ${path} is in use by this process`);
    dir.close();
    openDataDir(path).close();
    expect(locks()).toEqual([]);
  });

  it('keeps other processes out while one lives, and no longer', async () => {
    const own = ownLock();
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    try {
      const stat = fs.readFileSync(`/proc/${child.pid}/stat`, 'latin1');
      const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
      const boot = own.split('.')[3];
      const theirs = `lock.${child.pid}.${started}.${boot}`;
      fs.writeFileSync(join(path, theirs), '');
      expect(() => openDataDir(path)).toThrow(`in use by process ${child.pid}`);
      expect(locks()).toEqual([theirs]);
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
      openDataDir(path).close();
      expect(locks()).toEqual([]);
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('takes no notice of the dead: other boot, reused pid, no such process', () => {
    const [, pid, started, boot] = ownLock().split('.');
    const dead = [
      `lock.${pid}.${Number(started) + 1}.${boot}`,
      `lock.${pid}.${started}.00000000-0000-0000-0000-000000000000`,
      `lock.1.1.${boot}`,
      `lock.999999999.5.${boot}`,
    ];
    for (const name of dead) fs.writeFileSync(join(path, name), '');
    const dir = openDataDir(path);
    expect(locks()).toEqual([`lock.${pid}.${started}.${boot}`]);
    dir.close();
  });

  it('belongs to the process, not to its name: a command with spaces and parentheses is read right', () => {
    const script = join(root, ') S 1 (x');
    fs.copyFileSync('/bin/sleep', script);
    fs.chmodSync(script, 0o700);
    const boot = ownLock().split('.')[3];
    const child = spawn(script, ['60'], { stdio: 'ignore' });
    try {
      const started = spawnSync('sh', ['-c', `sed 's/.*) //' /proc/${child.pid}/stat | cut -d' ' -f20`]);
      fs.writeFileSync(join(path, `lock.${child.pid}.${String(started.stdout).trim()}.${boot}`), '');
      expect(() => openDataDir(path)).toThrow(`in use by process ${child.pid}`);
    } finally {
      child.kill('SIGKILL');
    }
  });
});
