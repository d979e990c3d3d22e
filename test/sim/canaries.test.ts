/**
 * Known bugs put back, one at a time: the simulator must find each, and say which promise was broken. Here those that
 * show within a few schedules; `npm run sim -- --canaries` looks for all of them and prints how many each took.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CANARIES } from './canaries.ts';
import { type Compiled, compile } from './compiled.ts';
import { patched } from './patch-loader.ts';

const TIMEOUT_MS = 600_000;
const QUICK_SCHEDULES_MAX = 10;

let compiled: Compiled;
beforeAll(async () => {
  compiled = await compile();
});
afterAll(() => compiled.remove());

describe('canaries', () => {
  it('are there to be found: each changes what it names, once', async () => {
    expect(CANARIES.length).toBeGreaterThanOrEqual(50);
    expect(new Set(CANARIES.map(({ name }) => name)).size).toBe(CANARIES.length);
    for (const { patches = [] } of CANARIES) {
      for (const patch of patches) {
        const text = await readFile(join(compiled.folder, `${patch.file}.js`), 'utf8');
        expect(patched(text, patch)).not.toBe(text);
      }
    }
    expect(() => patched('a a', { file: 'x', find: 'a', replace: 'b' })).toThrow('canary: 2 times in x: a');
  });

  const quick = CANARIES.filter(({ schedulesMax }) => schedulesMax <= QUICK_SCHEDULES_MAX);
  it.each(quick)('$name', { timeout: TIMEOUT_MS }, async ({ name }) => {
    const { code, output } = await compiled.sim('--canaries', '--only', name, '--workers', '1');
    console.log(output.trimEnd());
    expect(output).toContain('1 of 1 found');
    expect(code).toBe(0);
  });
});
