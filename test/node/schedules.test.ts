/** What callers are told is true, whatever the network and the disks do: the random runs of random-run.ts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits, RandomRun, step } from './random-run.ts';

const RUNS = Number(process.env.NODE_SCHEDULES ?? 120);

describe('three members under a schedule of chance', () => {
  it('do every request at most once, exactly once if they say so; and reads see all that was acknowledged before', () => {
    const seen = { done: 0, timeout: 0, installs: 0 };
    fc.assert(
      fc.property(limits, fc.array(step, { minLength: 50, maxLength: 400, size: 'max' }), (settings, steps) => {
        const run = new RandomRun(settings);
        for (const each of steps) run.act(each);
        run.end();
        for (const { key, told } of run.asked) {
          if (told[0] === key) seen.done++;
          else if (told[0] === 'Timeout') seen.timeout++;
        }
        for (const { events } of run.cluster.benches)
          seen.installs += events.filter((event) => event.startsWith('in force')).length;
      }),
      { numRuns: RUNS },
    );
    // A schedule in which hardly anything comes to pass would prove nothing.
    expect(seen.done).toBeGreaterThan(5 * RUNS);
    expect(seen.timeout).toBeGreaterThan(0);
    expect(seen.installs).toBeGreaterThan(RUNS / 20);
  }, 180_000);
});
