import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Done } from '../../core/log/disk.ts';
import { segmentName } from '../../core/log/format.ts';
import { createWal, openWal } from '../../core/log/open.ts';
import { type Recovered, recover } from '../../core/log/recover.ts';
import type { Wal, WalOptions } from '../../core/log/wal.ts';
import { crc32 } from '../../core/util/crc32.ts';
import { diskError } from '../../server/disk/disk-error.ts';
import { LogFiles } from '../../server/disk/log-files.ts';
import { entries, entry, finish, hard, IDENTITY, plain } from '../log/rig.ts';

let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'roster-wal-'));
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

function call(operation: (done: Done) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let returned = false;
    operation((error) => {
      if (!returned) reject(new Error('called back before it returned'));
      else if (error === undefined) resolve();
      else reject(error);
    });
    returned = true;
  });
}

function openLog(disk: LogFiles, options: WalOptions = { segmentBytes: 65536 }): Promise<Wal> {
  const found = finish(recover(disk));
  return new Promise((resolve, reject) => {
    const opened = (error: Error | undefined, wal: Wal | undefined) =>
      wal === undefined ? reject(error ?? new Error('no log')) : resolve(wal);
    if (found.kind === 'damaged') reject(new Error(found.message));
    else if (found.kind === 'empty') createWal(disk, found, IDENTITY, options, opened);
    else openWal(disk, found, options, opened);
  });
}

function read(): Recovered {
  const found = finish(recover(new LogFiles(folder)));
  if (found.kind !== 'recovered') throw new Error(`expected a log, found ${found.kind}`);
  return found;
}

describe('LogFiles', () => {
  it('has the same checksum as core', () => {
    const bytes = new Uint8Array(1000).map((_, i) => (i * i) & 0xff);
    expect(new LogFiles(folder).crc32(bytes, 7)).toBe(crc32(bytes, 7));
  });

  it('creates whole files: content, zeros, private, no leftovers', async () => {
    const disk = new LogFiles(folder);
    const content = [new Uint8Array([1, 2]), new Uint8Array([3])];
    await call((done) => disk.create('a.wal', 600_000, content, done));
    const bytes = fs.readFileSync(join(folder, 'a.wal'));
    expect(bytes.length).toBe(600_000);
    expect([...bytes.subarray(0, 3)]).toEqual([1, 2, 3]);
    expect(bytes.subarray(3).every((byte) => byte === 0)).toBe(true);
    const stat = fs.statSync(join(folder, 'a.wal'));
    expect(stat.mode & 0o777).toBe(0o600);
    expect(stat.blocks * 512).toBeGreaterThanOrEqual(600_000);
    expect(disk.list()).toEqual(['a.wal']);
    await call((done) => disk.close(done));
  });

  it('replaces a file only when the new one is whole', async () => {
    const disk = new LogFiles(folder);
    await call((done) => disk.create('a.wal', 16, [new Uint8Array([1])], done));
    function* broken() {
      yield new Uint8Array([2]);
      throw new Error('the source is gone');
    }
    await expect(call((done) => disk.create('a.wal', 16, broken(), done))).rejects.toThrow('the source is gone');
    expect(disk.list()).toEqual(['a.wal']);
    expect(fs.readFileSync(join(folder, 'a.wal'))[0]).toBe(1);
    await call((done) => disk.write('a.wal', 1, new Uint8Array([9]), { alone: true }, done));
    await call((done) => disk.create('a.wal', 32, [new Uint8Array([3])], done));
    // The descriptor of the file before must not be used any more.
    await call((done) => disk.write('a.wal', 20, new Uint8Array([4]), { alone: true }, done));
    const bytes = fs.readFileSync(join(folder, 'a.wal'));
    expect([bytes.length, bytes[0], bytes[1], bytes[20]]).toEqual([32, 3, 0, 4]);
    await call((done) => disk.close(done));
  });

  it('writes, reads, renames and removes', async () => {
    const disk = new LogFiles(folder);
    for (const alone of [true, false]) {
      await call((done) => disk.create('a.wal', 4096, [], done));
      await call((done) => disk.write('a.wal', 100, new Uint8Array([5, 6, 7]), { alone }, done));
      await call((done) => disk.rename('a.wal', 'b.wal', done));
      await call((done) => disk.write('b.wal', 103, new Uint8Array([8]), { alone }, done));
      const into = new Uint8Array(6);
      expect(disk.read('b.wal', 99, into)).toBe(6);
      expect([...into]).toEqual([0, 5, 6, 7, 8, 0]);
      expect(disk.read('b.wal', 4094, into)).toBe(2);
      expect(disk.size('b.wal')).toBe(4096);
      await call((done) => disk.remove('b.wal', done));
      expect(disk.list()).toEqual([]);
    }
    await call((done) => disk.syncNames(done));
    await call((done) => disk.close(done));
  });

  it('says what failed, and where', async () => {
    const disk = new LogFiles(folder);
    const path = join(folder, 'a.wal');
    await expect(
      call((done) => disk.write('a.wal', 0, new Uint8Array(1), { alone: true }, done)),
    ).rejects.toMatchObject({
      name: 'RosterError',
      message: expect.stringContaining(`cannot write ${path}: ENOENT`),
    });
    await expect(call((done) => disk.remove('a.wal', done))).rejects.toThrow(`cannot remove ${path}`);
    await expect(call((done) => disk.rename('a.wal', 'b.wal', done))).rejects.toThrow(`cannot rename ${path}`);
    const gone = new LogFiles(join(folder, 'none'));
    await expect(call((done) => gone.create('a.wal', 1, [], done))).rejects.toThrow('cannot create');
    await expect(call((done) => gone.syncNames(done))).rejects.toThrow('cannot sync');
    await call((done) => disk.close(done));
  });

  it.runIf(fs.existsSync('/dev/full'))(
    'reports a full disk as NoSpace, alone or not, and acknowledges nothing',
    async () => {
      for (const alone of [true, false]) {
        const disk = new LogFiles('/dev');
        await expect(call((done) => disk.write('full', 0, new Uint8Array(8), { alone }, done))).rejects.toMatchObject({
          code: 'NoSpace',
          message: 'cannot write /dev/full: there is no space left on the disk',
        });
        await call((done) => disk.close(done));
      }
    },
  );

  it('tells a full disk and a full quota from other errors', () => {
    const error = (code: string) => Object.assign(new Error(`${code}: it failed`), { code });
    expect(diskError('create', '/x', error('ENOSPC')).code).toBe('NoSpace');
    expect(diskError('create', '/x', error('EDQUOT'))).toMatchObject({
      code: 'NoSpace',
      message: 'cannot create /x: the disk quota is used up',
    });
    expect(diskError('write', '/x', error('EIO'))).toMatchObject({
      code: 'Other',
      message: 'cannot write /x: EIO: it failed',
    });
  });

  it('close waits for what is under way', async () => {
    const disk = new LogFiles(folder);
    const order: string[] = [];
    disk.create('a.wal', 1_000_000, [], () => order.push('created'));
    await call((done) => disk.close(done));
    order.push('closed');
    expect(order).toEqual(['created', 'closed']);
  });

  it('keeps few files open', async () => {
    if (!fs.existsSync('/proc/self/fd')) return;
    const disk = new LogFiles(folder);
    const opened = () =>
      fs.readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder);
        } catch {
          return false;
        }
      }).length;
    for (let i = 0; i < 10; i++) {
      await call((done) => disk.create(`${i}.wal`, 8, [], done));
      await call((done) => disk.write(`${i}.wal`, 0, new Uint8Array(8), { alone: true }, done));
    }
    await expect.poll(opened).toBe(2);
    await call((done) => disk.close(done));
    await expect.poll(opened).toBe(0);
  });
});

describe('a log on files', () => {
  it('survives orderly restarts and being abandoned, on the same bytes as in memory', async () => {
    const log = entries(1, 60, 1, 1000);
    for (let life = 0; life < 6; life++) {
      const disk = new LogFiles(folder, { inline: life % 2 === 0 });
      const wal = await openLog(disk);
      expect(wal.lastIndex).toBe(life * 10);
      const next = log.slice(life * 10, life * 10 + 10);
      await Promise.all(
        next.map((item) => call((done) => wal.append([item], item.index === 1 ? hard(1, 0) : undefined, done))),
      );
      wal.noteCommit(wal.lastIndex);
      // Every other process is abandoned, as if it had been killed: only its descriptors are let go.
      if (life % 2 === 0) await call((done) => wal.close(done));
      await call((done) => disk.close(done));
      expect(plain(read().entries)).toEqual(plain(log.slice(0, life * 10 + 10)));
      expect(read().tail.trusted).toBe(life % 2 === 0);
    }
    expect(read().hardState.commit).toBe(50);
  });

  it('rolls over and recycles files', async () => {
    const disk = new LogFiles(folder);
    const wal = await openLog(disk);
    const inodes = new Set<number>();
    for (let i = 1; i <= 400; i++) {
      await call((done) => wal.append([entry(i, 1, 2000)], undefined, done));
      if (i % 20 === 0) wal.release(i - 3);
      for (const name of disk.list()) {
        // Files are renamed and removed in the background.
        const stat = fs.statSync(join(folder, name), { throwIfNoEntry: false });
        if (stat !== undefined && !name.endsWith('.tmp')) inodes.add(stat.ino);
      }
    }
    await call((done) => wal.close(done));
    await call((done) => disk.close(done));
    const found = read();
    expect(found.lastIndex).toBe(400);
    expect(found.firstIndex).toBeGreaterThan(300);
    const made = Number.parseInt(disk.list().at(-1)!, 16);
    expect(made).toBeGreaterThan(12);
    expect(inodes.size).toBeLessThan(made - 2);
  });

  it('goes on after a file was cut by hand only when told by nobody: it refuses', async () => {
    const disk = new LogFiles(folder);
    const wal = await openLog(disk);
    await call((done) => wal.append(entries(1, 5, 1), undefined, done));
    await call((done) => wal.close(done));
    await call((done) => disk.close(done));
    fs.truncateSync(join(folder, segmentName(1)), 5000);
    const found = finish(recover(new LogFiles(folder)));
    expect(found).toMatchObject({ kind: 'damaged', reason: 'wrong-size', file: segmentName(1) });
  });
});
