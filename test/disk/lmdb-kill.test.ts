import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Prng } from '../../core/util/prng.ts';
import { LmdbBackend } from '../../server/disk/lmdb-backend.ts';

/** A child writes generation after generation and is killed at any time; what it leaves must be one of them, whole. */

const root = fileURLToPath(new URL('../..', import.meta.url));
const SLOTS = 300;

/** Argument 1: directory; 2: rows beyond the slots, every other round. Prints the generation of each finished commit. */
const CHILD = `
import { LmdbBackend } from './out/server/disk/lmdb-backend.js';
const backend = new LmdbBackend({ directory: process.argv[2] });
const extra = Number(process.argv[3]);
let generation = Number(backend.get('meta', 'generation')?.toString() ?? 0);
function next() {
  const mine = ++generation;
  const value = Buffer.alloc(40 + (mine % 7) * 100, String(mine % 10));
  value.writeUInt32BE(mine, 0);
  for (let i = 0; i < ${SLOTS}; i++) {
    if ((i + mine) % 5 === 0) backend.delete('key', 'slot' + i);
    else backend.put('key', 'slot' + i, value);
  }
  for (let i = 0; i < (mine % 2) * extra; i++) backend.put('lease', 'row' + i, value);
  backend.put('meta', 'generation', Buffer.from(String(mine)));
  backend.commit((error) => {
    process.stdout.write((error === undefined ? mine : 'error: ' + error.message) + '\\n');
    if (error === undefined) setImmediate(next);
    else backend.commit((again) => {
      process.stdout.write('again: ' + (again?.message ?? 'no error') + '\\n', () => process.exit(3));
    });
  });
}
next();
next();
`;

let workshop: string;
let directory: string;

beforeAll(() => {
  workshop = mkdtempSync(join(tmpdir(), 'roster-lmdb-kill-'));
  const config = {
    extends: join(root, 'tsconfig.build.json'),
    compilerOptions: {
      rootDir: root,
      outDir: join(workshop, 'out'),
      incremental: false,
      tsBuildInfoFile: null,
      typeRoots: [join(root, 'node_modules/@types')],
    },
    include: [join(root, 'server/disk/lmdb-backend.ts')],
  };
  writeFileSync(join(workshop, 'tsconfig.json'), JSON.stringify(config));
  writeFileSync(join(workshop, 'package.json'), '{"type":"module"}');
  writeFileSync(join(workshop, 'child.js'), CHILD);
  symlinkSync(join(root, 'node_modules'), join(workshop, 'node_modules'));
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', workshop], { stdio: 'inherit' });
});
afterAll(() => rmSync(workshop, { recursive: true }));
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'roster-lmdb-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function lines(child: ChildProcess): string[] {
  const seen: string[] = [];
  createInterface({ input: child.stdout! }).on('line', (line) => seen.push(line));
  return seen;
}

function exit(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.on('close', (code) => resolve(code)));
}

/** The generation found, after checking that every row is of it. */
async function generationLeft(extra: number): Promise<number> {
  const backend = new LmdbBackend({ directory });
  const generation = Number(Buffer.from(backend.get('meta', 'generation') ?? '0').toString());
  let slots = 0;
  backend.scan('key', '', undefined, (key, value) => {
    slots++;
    expect([key, Buffer.from(value).readUInt32BE(0), value.length]).toEqual([
      key,
      generation,
      40 + (generation % 7) * 100,
    ]);
    expect((Number(key.slice(4)) + generation) % 5).not.toBe(0);
    return true;
  });
  expect(slots).toBe(generation === 0 ? 0 : (SLOTS * 4) / 5);
  let rows = 0;
  const wide = generation % 2 === 1 ? generation : generation - 1;
  backend.scan('lease', '', undefined, (_key, value) => {
    rows++;
    if (Buffer.from(value).readUInt32BE(0) !== wide) expect.fail('a row of another generation');
    return true;
  });
  expect(rows).toBe(generation === 0 ? 0 : extra);
  await new Promise<void>((resolve) => backend.close(() => resolve()));
  return generation;
}

describe('LmdbBackend after SIGKILL', () => {
  // 5,000 rows go through the sliced transaction, 300 through the write thread.
  it.each([0, 5000])(
    'holds exactly one committed generation, none older than acknowledged (%i more rows)',
    async (extra) => {
      const prng = new Prng(extra + 1);
      let before = 0;
      for (let round = 0; round < 8; round++) {
        const child = spawn(process.execPath, ['child.js', directory, String(extra)], { cwd: workshop });
        const seen = lines(child);
        const gone = exit(child);
        const commitsBeforeKill = prng.int(6);
        while (seen.length < commitsBeforeKill) await new Promise((resolve) => setTimeout(resolve, 1));
        await new Promise((resolve) => setTimeout(resolve, 20 + prng.int(40)));
        child.kill('SIGKILL');
        await gone;
        const left = await generationLeft(extra);
        expect(left).toBeGreaterThanOrEqual(Number(seen.at(-1) ?? before));
        before = left;
      }
      expect(before).toBeGreaterThan(0);
    },
  );

  it.each([0, 5000])('reports a full disk, for good, and keeps the generation before (%i more rows)', async (extra) => {
    // The limit on the size of files stands for the full disk; in blocks of 1,024 bytes.
    const limited = `ulimit -f ${extra === 0 ? 700 : 4500}; exec "$@"`;
    const child = spawn('bash', ['-c', limited, 'bash', process.execPath, 'child.js', directory, String(extra)], {
      cwd: workshop,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const seen = lines(child);
    expect(await exit(child)).toBe(3);
    const acknowledged = seen.filter((line) => /^\d+$/.test(line));
    const refused = seen.slice(acknowledged.length);
    expect(refused[0]).toMatch(/^error: the store could not be written: ./);
    expect(refused.at(-1)).toMatch(/^again: /);
    expect(new Set(refused.map((line) => line.replace(/^\w+: /, ''))).size).toBe(1);
    expect(await generationLeft(extra)).toBe(Number(acknowledged.at(-1) ?? 0));
  });
});
