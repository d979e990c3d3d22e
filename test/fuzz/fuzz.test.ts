/**
 * Every parser of what comes from outside, with inputs that are nearly right. `ROSTER_FUZZ_EXECUTIONS` makes it long: so
 * many for each target, by its share. `ROSTER_FUZZ_SEED` begins elsewhere, and `ROSTER_FUZZ_REPLAY=target:seed` runs the
 * one input that a report names.
 */
import { describe, expect, it } from 'vitest';
import { fileTargets } from './file-targets.ts';
import { http2Targets } from './http2-targets.ts';
import { restore } from './restore-target.ts';
import { fuzz } from './runner.ts';
import { wireTargets } from './wire-targets.ts';

const LONG = Number(process.env.ROSTER_FUZZ_EXECUTIONS ?? 0);
const SEED = Number(process.env.ROSTER_FUZZ_SEED ?? 20_261_122_000_000);
const [REPLAY, REPLAY_SEED] = (process.env.ROSTER_FUZZ_REPLAY ?? '').split(':');
const targets = [...wireTargets, ...http2Targets, ...fileTargets, restore];

describe('what is nearly right', () => {
  for (const target of targets) {
    const executions = LONG > 0 ? Math.ceil(LONG * target.share) : target.executions;
    it.skipIf(REPLAY !== '' && REPLAY !== target.name)(
      `breaks nothing: ${target.name}`,
      { timeout: 7_200_000 },
      async () => {
        const replayed = REPLAY === target.name;
        const report = await fuzz(target, replayed ? Number(REPLAY_SEED) : SEED, replayed ? 1 : executions);
        console.log(
          `fuzz ${target.name}: ${report.executions} executions, ${report.crashes.length} crashes, ${report.hangs.length} hangs, the slowest ${report.slowestMs.toFixed(1)} ms`,
        );
        expect({ crashes: report.crashes, hangs: report.hangs }).toEqual({ crashes: [], hangs: [] });
        expect(report.executions).toBe(replayed ? 1 : executions);
      },
    );
  }
});
