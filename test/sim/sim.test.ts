/** Whole clusters, seed by seed, as `npm run sim` runs them; and what it says when a promise is broken. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUGS } from './bugs.ts';
import { type Compiled, compile } from './compiled.ts';
import { runSeed, type Task } from './seed-run.ts';
import { FAULTS, settingsOf } from './settings.ts';
import { SHRINK_RUNS_MAX, shrink } from './shrink.ts';

/** What fits into a test run; `npm run sim -- --seeds 2000` is a step of its own. */
const SEEDS = 60;
const TIMEOUT_MS = 1_200_000;

let compiled: Compiled;
beforeAll(async () => {
  compiled = await compile();
});
afterAll(() => compiled.remove());

describe('a cluster of production code', () => {
  it(`keeps every promise over ${SEEDS} seeds`, { timeout: TIMEOUT_MS }, async () => {
    const { code, output } = await compiled.sim('--seeds', `${SEEDS}`, '--workers', '1', '--no-shrink');
    console.log(output);
    expect(output).toMatch(new RegExp(`^${SEEDS} of ${SEEDS} seeds, 0 failed; \\d+ a minute`, 'm'));
    expect(code).toBe(0);
    // A fault that never fires proves nothing.
    const fired = /^faults that fired: (.*)$/m.exec(output)![1];
    for (const fault of FAULTS) expect(fired).toContain(`${fault} `);
    for (const what of ['snapshotInstalled', 'member:promote', 'refillDone', 'leasesExpired'])
      expect(output).toContain(what);
  });

  it('is decided by the seed alone, in whichever process', { timeout: TIMEOUT_MS }, async () => {
    for (const seed of [3, 4]) {
      const { output } = await compiled.sim('--seed', `${seed}`);
      expect(JSON.parse(output)).toEqual(runSeed({ seed }));
    }
    expect(runSeed({ seed: 3 })).not.toEqual(runSeed({ seed: 4 }));
  });
});

describe('a run that breaks a promise', () => {
  it('is made smaller for as long as it breaks the same one', { timeout: TIMEOUT_MS }, async () => {
    const run = (task: Task) => Promise.resolve(runSeed(task, BUGS.hastyLog()));
    const failed = await run({ seed: 22 });
    if (failed.ok) return expect.fail('the bug was not found');
    const small = await shrink({ seed: 22 }, failed, run);
    expect(small.settings).toMatchObject({ faults: [], clients: 1, keys: 1, members: 3 });
    expect(small.settings.faultMs).toBeLessThan(settingsOf(22).faultMs / 4);
    expect(small.outcome.checker).toBe('raft');
    expect(small.runs).toBeLessThanOrEqual(SHRINK_RUNS_MAX);
    expect(runSeed({ seed: 22, settings: small.settings }, BUGS.hastyLog())).toEqual(small.outcome);
  });

  it('is told with the commands that replay it', { timeout: TIMEOUT_MS }, async () => {
    const changes = JSON.stringify({ faultMs: 100, clients: 0, watchers: 0, loss: 1, staysDead: 0 });
    const { code, output } = await compiled.sim('--seed', '1', '--settings', changes);
    expect(output).toContain('"ok":true');
    expect(code).toBe(0);
    expect(await compiled.sim('--seeds', 'many')).toMatchObject({ code: 2 });
    expect((await compiled.sim('--help')).output).toContain('--settings JSON');
  });
});
