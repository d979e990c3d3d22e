/**
 * Whole clusters, seed by seed. A long run: `SIM_SEEDS=2000 SIM_FROM=1 npx vitest run test/sim`; one seed with all that
 * happens in it: `SIM_FROM=17 SIM_SEEDS=1 SIM_TRACE=1 npx vitest run test/sim/sim.test.ts`.
 */
import { describe, expect, it } from 'vitest';
import { FAULTS } from './settings.ts';
import { type Report, Simulation } from './simulation.ts';

const SEEDS = Number(process.env.SIM_SEEDS ?? 60);
const FROM = Number(process.env.SIM_FROM ?? 1);
const TIMEOUT_MS = 24 * 3_600_000;
const print = process.env.SIM_TRACE === undefined ? undefined : (line: string) => console.log(line);

function runSeed(seed: number): Report {
  try {
    return new Simulation(seed, { print }).run();
  } catch (error) {
    const command = `SIM_FROM=${seed} SIM_SEEDS=1 npx vitest run test/sim/sim.test.ts`;
    throw new Error(`seed ${seed} (replay: ${command}): ${(error as Error).message}`, { cause: error });
  }
}

describe('a cluster of production code', () => {
  it(
    `keeps every promise over ${SEEDS} seeds`,
    () => {
      const totals = new Map<string, number>();
      let simulatedMs = 0;
      const failures: string[] = [];
      const beganMs = performance.now();
      for (let seed = FROM; seed < FROM + SEEDS; seed++) {
        if (seed > FROM && (seed - FROM) % 100 === 0) console.log(`${seed - FROM} seeds, ${failures.length} failed`);
        try {
          const report = runSeed(seed);
          simulatedMs += report.simulatedMs;
          for (const [what, count] of report.counts) totals.set(what, (totals.get(what) ?? 0) + count);
        } catch (error) {
          failures.push((error as Error).message);
          if (SEEDS === 1) console.error(error);
        }
      }
      const minutes = (performance.now() - beganMs) / 60_000;
      const counts = [...totals].sort(([a], [b]) => (a < b ? -1 : 1)).map(([what, count]) => `${what} ${count}`);
      console.log(
        `${SEEDS} seeds, ${Math.round(SEEDS / minutes)} a minute, ${Math.round(simulatedMs / 60_000 / minutes)} simulated hours an hour\n${counts.join(', ')}`,
      );
      expect(failures).toEqual([]);
      // A fault that never fires proves nothing.
      if (SEEDS >= 60) for (const fault of FAULTS) expect(totals.get(`nemesis:${fault}`), fault).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );

  it('is decided by the seed alone', { timeout: TIMEOUT_MS }, () => {
    for (const seed of [3, 4]) {
      const [one, two] = [runSeed(seed), runSeed(seed)];
      expect(two.traceHash).toBe(one.traceHash);
      expect(two.counts).toEqual(one.counts);
    }
    expect(runSeed(3).traceHash).not.toBe(runSeed(4).traceHash);
  });
});
