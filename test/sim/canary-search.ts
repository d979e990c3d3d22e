/** Looks for the seed that gives a canary away. */
import type { Canary } from './canary.ts';
import { Workers } from './workers.ts';

export interface Found {
  ok: boolean;
  /** Runs that were made, the one that found it included. */
  schedules: number;
  text: string;
}

export async function searchCanary(canary: Canary, workerCount: number): Promise<Found> {
  const { schedulesMax, settings = {}, checkers } = canary;
  const workers = new Workers(workerCount, canary.name);
  const finds: Found[] = [];
  let next = 1;
  const lane = async () => {
    while (next <= schedulesMax && finds.length === 0) {
      const seed = next++;
      const outcome = await workers.run({ seed, settings });
      if (outcome.ok) continue;
      const ok = checkers.includes(outcome.checker);
      finds.push({
        ok,
        schedules: seed,
        text: ok ? outcome.message : `seed ${seed} by another checker: ${outcome.message}`,
      });
    }
  };
  try {
    await Promise.all(Array.from({ length: workerCount }, lane));
  } finally {
    workers.close();
  }
  // Of two that find it at the same time the earlier counts, so that the table is the same every time.
  const [first] = finds.sort((a, b) => a.schedules - b.schedules);
  return first ?? { ok: false, schedules: schedulesMax, text: `not found in ${schedulesMax} schedules` };
}
