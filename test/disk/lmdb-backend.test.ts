import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { LmdbBackend } from '../../server/disk/lmdb-backend.ts';
import { openError } from '../../server/disk/lmdb-check.ts';
import { backendConformance } from '../conformance/backend.ts';

backendConformance('LmdbBackend', () => {
  const directory = mkdtempSync(join(tmpdir(), 'roster-lmdb-'));
  return {
    open: () => new LmdbBackend({ directory }),
    remove: () => rmSync(directory, { recursive: true }),
  };
});

describe('LmdbBackend', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'roster-lmdb-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  function close(backend: LmdbBackend): Promise<void> {
    return new Promise((resolve, reject) => {
      backend.close((error) => (error === undefined ? resolve() : reject(error)));
    });
  }

  it('makes its directory, parents included', async () => {
    await close(new LmdbBackend({ directory: join(directory, 'member', 'snap') }));
  });

  it('grows beyond the address space it began with', async () => {
    const backend = new LmdbBackend({ directory, mapBytesInitial: 2 ** 20 });
    for (let round = 0; round < 8; round++) {
      for (let i = 0; i < 1000; i++) backend.put('key', `${round}-${i}`, Buffer.alloc(1000, round));
      await new Promise<void>((resolve, reject) => {
        backend.commit((error) => (error === undefined ? resolve() : reject(error)));
      });
      expect(backend.get('key', `0-${round}`)).toEqual(Buffer.alloc(1000, 0));
    }
    expect(backend.size().inUse).toBeGreaterThan(8_000_000);
    await close(backend);
    const again = new LmdbBackend({ directory, mapBytesInitial: 2 ** 20 });
    expect(again.get('key', '7-999')).toEqual(Buffer.alloc(1000, 7));
    await close(again);
  });

  it('reuses the space of what was deleted', async () => {
    const backend = new LmdbBackend({ directory });
    const commit = () =>
      new Promise<void>((resolve, reject) => {
        backend.commit((error) => (error === undefined ? resolve() : reject(error)));
      });
    let peak = 0;
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 500; i++) {
        backend.put('key', `${round}-${i}`, Buffer.alloc(1000));
        backend.delete('key', `${round - 1}-${i}`);
      }
      await commit();
      if (round === 9) peak = backend.size().total;
    }
    expect(backend.size().total).toBeLessThan(peak * 1.5);
    await close(backend);
  });

  function errorOfOpening(path: string): RosterError {
    try {
      new LmdbBackend({ directory: path });
    } catch (error) {
      expect(error).toBeInstanceOf(RosterError);
      return error as RosterError;
    }
    throw new Error('it opened');
  }

  it('says so when the directory is a file, or lies under one', () => {
    const file = join(directory, 'file');
    writeFileSync(file, 'text');
    expect(errorOfOpening(file).message).toBe(`cannot open the store in ${file}: it is not a directory`);
    expect(errorOfOpening(join(file, 'below')).message).toContain('it is not a directory');
  });

  it.each([
    ['text', Buffer.alloc(16384, 'not a store'), 'damaged or not a store'],
    ['a few bytes', Buffer.from('abc'), 'damaged or not a store'],
    ['zeros', Buffer.alloc(16384), 'damaged or not a store'],
  ])('says so when the file holds %s', (_what, content, complaint) => {
    writeFileSync(join(directory, 'data.mdb'), content);
    expect(errorOfOpening(directory).message).toContain(complaint);
  });

  it('says so when the file is cut off, or of another format', async () => {
    await close(new LmdbBackend({ directory }));
    const file = join(directory, 'data.mdb');
    const whole = readFileSync(file);
    writeFileSync(file, whole.subarray(0, 8191));
    expect(errorOfOpening(directory).message).toContain('is cut off');
    whole.writeUInt16LE(1, 28);
    writeFileSync(file, whole);
    expect(errorOfOpening(directory).message).toContain('has format 1 and this program reads 2');
  });

  it('begins a file anew whose making was interrupted', async () => {
    writeFileSync(join(directory, 'data.mdb'), '');
    const backend = new LmdbBackend({ directory });
    expect(backend.get('meta', 'a')).toBeUndefined();
    await close(backend);
  });

  it('tells what the system refused in words', () => {
    const refused = (code: string) => openError('/data', Object.assign(new Error(code), { code })).message;
    expect(refused('EACCES')).toMatch(/^cannot open the store in \/data: permission denied/);
    expect(refused('EROFS')).toContain('read-only');
    expect(refused('ENOSPC')).toContain('no space left');
    expect(refused('EIO')).toContain('EIO');
  });
});
