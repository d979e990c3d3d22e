import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recover } from '../../core/log/recover.ts';
import { LogFiles } from '../../server/disk/log-files.ts';
import { entry, finish, plain } from '../log/rig.ts';

/** A process that appends is killed again and again. `npm test` builds the code it runs. */

const dist = fileURLToPath(new URL('../../dist', import.meta.url));
const KILLS = 12;

/** Appends for ever, several at a time, and prints each acknowledged index. */
const PROGRAM = `
import { writeSync } from 'node:fs';
import { createWal, openWal } from '${dist}/core/log/open.js';
import { recover } from '${dist}/core/log/recover.js';
import { LogFiles } from '${dist}/server/disk/log-files.js';
const disk = new LogFiles(process.argv[1]);
const steps = recover(disk);
let step;
do step = steps.next(); while (!step.done);
const found = step.value;
const options = { segmentBytes: 65536 };
const identity = { clusterId: 1n, memberId: 2n, nonce: 3n };
const data = (index) => new Uint8Array(20).map((_, i) => (index * 31 + 7 + i) & 0xff);
function opened(error, wal) {
  if (error) throw error;
  const next = () => {
    const index = wal.lastIndex + 1;
    wal.append([{ index, term: 1, type: 0, data: data(index) }], undefined, (failure) => {
      if (failure) throw failure;
      writeSync(1, index + '\\n');
      if (index % 50 === 0) wal.release(index - 500 > 0 ? index - 500 : 0);
      next();
    });
  };
  for (let i = 0; i < 4; i++) next();
}
if (found.kind === 'damaged') throw new Error(found.message);
if (found.kind === 'empty') createWal(disk, found, identity, options, opened);
else openWal(disk, found, options, opened);
`;

/** Runs the program and kills it after it has acknowledged `count` appends; returns the last one acknowledged. */
function runAndKill(folder: string, count: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, folder]);
    let printed = '';
    let complaints = '';
    child.stdout.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
      if (printed.split('\n').length > count) child.kill('SIGKILL');
    });
    child.stderr.on('data', (chunk: Buffer) => {
      complaints += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', (_code, signal) => {
      if (signal !== 'SIGKILL') reject(new Error(`the program ended by itself: ${complaints}`));
      // The last line may have been cut off by the kill.
      else resolve(Number(printed.split('\n').at(-2)));
    });
  });
}

describe.runIf(fs.existsSync(join(dist, 'server/disk/log-files.js')))('a process killed while it appends', () => {
  let folder: string;
  beforeAll(() => {
    folder = fs.mkdtempSync(join(tmpdir(), 'roster-kill-'));
  });
  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

  it('has lost nothing that it acknowledged', async () => {
    let before = 0;
    for (let i = 0; i < KILLS; i++) {
      const acknowledged = await runAndKill(folder, 1 + i * 40);
      expect(acknowledged).toBeGreaterThan(before);
      const found = finish(recover(new LogFiles(folder)));
      if (found.kind !== 'recovered') throw new Error(`found ${JSON.stringify(found)}`);
      expect(found.lastIndex).toBeGreaterThanOrEqual(acknowledged);
      expect(plain(found.entries)).toEqual(plain(found.entries.map(({ index }) => entry(index, 1))));
      expect(found.firstIndex).toBeLessThanOrEqual(Math.max(1, acknowledged - 499));
      before = found.lastIndex;
    }
  });
});
