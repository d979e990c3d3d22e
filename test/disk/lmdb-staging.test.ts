import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import type { Backend } from '../../core/mvcc/backend.ts';
import { AssertionError } from '../../core/util/assert.ts';
import { DbFolder } from '../../server/disk/db-folder.ts';
import { LmdbStaging } from '../../server/disk/lmdb-staging.ts';

let member: string;
let open: LmdbStaging[];
let warnings: Error[];

beforeEach(() => {
  member = fs.mkdtempSync(join(tmpdir(), 'roster-staging-'));
  open = [];
  warnings = [];
});
afterEach(async () => {
  for (const staging of open) await staging.close();
  fs.rmSync(member, { recursive: true });
});

function start(): LmdbStaging {
  const staging = new LmdbStaging({ folder: new DbFolder(member), warn: (error) => warnings.push(error) });
  open.push(staging);
  return staging;
}

async function stop(staging: LmdbStaging): Promise<void> {
  open.splice(open.indexOf(staging), 1);
  await staging.close();
}

function called(begin: (done: (error?: Error) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    begin((error) => (error === undefined ? resolve() : reject(error)));
  });
}

async function write(backend: Backend, value: string): Promise<void> {
  backend.put('meta', 'who', Buffer.from(value));
  await called((done) => backend.commit(done));
}

const who = (backend: Backend) => Buffer.from(backend.get('meta', 'who') ?? []).toString();
const entries = () => fs.readdirSync(member).sort();

/** A database in force and one that is about to take its place, both with content, and nobody has them open. */
async function staged(): Promise<void> {
  const staging = start();
  await write(staging.first, 'old');
  await write(staging.begin(), 'new');
  await stop(staging);
  expect(entries()).toEqual(['db', 'db.1']);
}

/** Starts, as after a crash, and says which database is in force; nothing else may be left. */
async function survivor(): Promise<string> {
  const staging = start();
  const found = who(staging.first);
  await stop(staging);
  expect(entries().filter((name) => name !== 'db.current').length).toBe(1);
  const again = start();
  expect(who(again.first)).toBe(found);
  await stop(again);
  return found;
}

describe('staging on LMDB', () => {
  it('makes what was staged the database, for good, and removes the old one', async () => {
    const staging = start();
    await write(staging.first, 'old');
    const fresh = staging.begin();
    expect(who(fresh)).toBe('');
    await write(fresh, 'new');
    await called((done) => staging.adopt(fresh, done));
    expect([who(staging.first), who(fresh)]).toEqual(['old', 'new']);
    staging.retire(staging.first);
    await write(fresh, 'newer');
    await stop(staging);
    expect(entries()).toEqual(['db.1', 'db.current']);
    expect(await survivor()).toBe('newer');
    expect(warnings).toEqual([]);
  });

  it('does so again and again, never under a name that was used', async () => {
    let staging = start();
    let inForce = staging.first;
    for (let round = 1; round <= 5; round++) {
      staging.discard(staging.begin());
      const next = staging.begin();
      expect(who(next)).toBe('');
      await write(next, `round ${round}`);
      await called((done) => staging.adopt(next, done));
      staging.retire(inForce);
      inForce = next;
      if (round !== 3) continue;
      await stop(staging);
      staging = start();
      inForce = staging.first;
      expect(who(inForce)).toBe('round 3');
    }
    await stop(staging);
    expect(await survivor()).toBe('round 5');
    expect(warnings).toEqual([]);
  });

  it('forgets what is discarded, and what was not adopted when the process ends', async () => {
    const staging = start();
    await write(staging.first, 'old');
    const unwanted = staging.begin();
    await write(unwanted, 'new');
    staging.discard(unwanted);
    expect(() => unwanted.get('meta', 'who')).toThrow(AssertionError);
    const late = staging.begin();
    late.put('meta', 'who', Buffer.from('never committed'));
    expect(() => staging.begin()).toThrow('one state is staged at a time');
    await stop(staging);
    expect(await survivor()).toBe('old');
  });

  it('keeps serving an old database until it is retired', async () => {
    const staging = start();
    await write(staging.first, 'old');
    const view = staging.first.view();
    const next = staging.begin();
    await write(next, 'new');
    await called((done) => staging.adopt(next, done));
    await write(next, 'newer');
    expect(Buffer.from(view.get('meta', 'who')!).toString()).toBe('old');
    view.close();
    staging.retire(staging.first);
    await stop(staging);
    expect(await survivor()).toBe('newer');
  });

  it('says so when the switch fails, and when a folder cannot be removed', async () => {
    const staging = start();
    await write(staging.first, 'old');
    const next = staging.begin();
    fs.mkdirSync(join(member, 'db.current.tmp'));
    await expect(called((done) => staging.adopt(next, done))).rejects.toThrow(/^cannot switch to the database in/);
    fs.rmdirSync(join(member, 'db.current.tmp'));
    fs.rmSync(join(member, 'db.1'), { recursive: true });
    staging.retire(next);
    await stop(staging);
    expect(warnings.map((error) => error.message)).toEqual([expect.stringMatching(/^cannot remove .*db\.1: ENOENT/)]);
    expect(await survivor()).toBe('old');
  });
});

describe('a start after a crash', () => {
  it.each<[string, 'old' | 'new', () => void]>([
    ['before the switch', 'old', () => {}],
    ['in the making of the new database', 'old', () => fs.truncateSync(join(member, 'db.1', 'data.mdb'), 5000)],
    ['while the new folder was made', 'old', () => fs.rmSync(join(member, 'db.1', 'data.mdb'))],
    ['with an empty pointer on its way', 'old', () => fs.writeFileSync(join(member, 'db.current.tmp'), '')],
    ['with a pointer on its way', 'old', () => fs.writeFileSync(join(member, 'db.current.tmp'), 'db.1\n')],
    ['right after the switch', 'new', () => fs.writeFileSync(join(member, 'db.current'), 'db.1\n')],
    [
      'in the removal of the old database',
      'new',
      () => {
        fs.writeFileSync(join(member, 'db.current'), 'db.1\n');
        fs.rmSync(join(member, 'db', 'data.mdb'));
      },
    ],
    [
      'after the removal of the old database',
      'new',
      () => {
        fs.writeFileSync(join(member, 'db.current'), 'db.1\n');
        fs.rmSync(join(member, 'db'), { recursive: true });
      },
    ],
  ])('%s finds the %s database', async (_when, expected, crash) => {
    await staged();
    crash();
    expect(await survivor()).toBe(expected);
  });

  it.each<[string, RegExp, () => void]>([
    ['the pointer leads nowhere', /db\.2 is missing, which .*db\.current names$/, () => point('db.2\n')],
    ['the pointer is damaged', /db\.current is damaged/, () => point('\0\0\0')],
    ['the pointer is empty', /db\.current is damaged/, () => point('')],
    ['the pointer leads out of the folder', /db\.current is damaged/, () => point('../db.1')],
    [
      'the pointer is lost',
      /\(db\.1\), but the file .* is missing/,
      () => fs.rmSync(join(member, 'db'), { recursive: true }),
    ],
  ])('is refused, and nothing removed, when %s', async (_what, complaint, spoil) => {
    await staged();
    spoil();
    const before = entries();
    expect(() => new DbFolder(member)).toThrow(RosterError);
    expect(() => new DbFolder(member)).toThrow(complaint);
    expect(entries()).toEqual(before);
  });

  function point(text: string): void {
    fs.writeFileSync(join(member, 'db.current'), text);
  }

  it('leaves alone what is not a database', async () => {
    await staged();
    for (const name of ['db.old', 'db.01', 'database', 'wal']) fs.mkdirSync(join(member, name));
    const staging = start();
    expect(entries()).toEqual(['database', 'db', 'db.01', 'db.old', 'wal']);
    await stop(staging);
  });
});
