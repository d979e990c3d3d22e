import { describe, expect, it } from 'vitest';
import { fuzz, HANG_MS, type Target } from './runner.ts';

/** Whether the harness would notice. */
const target = (run: Target['run']): Target => ({ name: 'planted', executions: 1, share: 1, run });

describe('the fuzz runner', () => {
  it('tells the seed of what throws, rejects or takes too long, and of nothing else', async () => {
    const thrown = await fuzz(
      target((chance) => {
        if (chance.int(50) === 7) throw new TypeError('planted');
      }),
      1000,
      200,
    );
    expect(thrown.crashes.length).toBeGreaterThan(0);
    const seed = Number(/^planted:(\d+): TypeError: planted/.exec(thrown.crashes[0]!)![1]);
    const again = await fuzz(
      target((chance) => {
        if (chance.int(50) === 7) throw new TypeError('planted');
      }),
      seed,
      1,
    );
    expect(again.crashes).toHaveLength(1);

    const rejected = await fuzz(
      target(async () => Promise.reject(new Error('later'))),
      1,
      3,
    );
    expect(rejected.crashes).toHaveLength(3);

    const slow = await fuzz(
      target(() => {
        const { user, system } = process.cpuUsage();
        for (let used = 0; used < HANG_MS * 1100; ) {
          const now = process.cpuUsage();
          used = now.user + now.system - user - system;
        }
      }),
      5,
      1,
    );
    expect(slow.hangs).toEqual([expect.stringMatching(/^planted:5: 1\d\d\d ms$/)]);

    const quiet = await fuzz(
      target(() => {}),
      1,
      100,
    );
    expect(quiet).toMatchObject({ executions: 100, crashes: [], hangs: [] });
  });
});
