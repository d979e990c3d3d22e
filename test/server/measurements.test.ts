import { afterEach, describe, expect, it, vi } from 'vitest';
import type { World } from '../../core/node/world.ts';
import type { Entry } from '../../core/wire/stored.ts';
import { DurationHistogram } from '../../server/duration-histogram.ts';
import { FOLLOWED_MAX, Measurements, type SlowApply, Stages } from '../../server/measurements.ts';

const entry = (index: number) => ({ index, term: 1 }) as Entry;

function rig(slowApplyMs = 0) {
  const slow: SlowApply[] = [];
  const stages = new Stages({ slowApplyMs, onSlowApply: (one) => slow.push(one) });
  const dones: ((error?: Error) => void)[] = [];
  const runs: (() => void)[] = [];
  const wal = { append: (_entries: readonly Entry[], _state: unknown, done: () => void) => void dones.push(done) };
  const reset = () => {};
  const world = stages.observe({
    wal: { ...wal, reset },
    schedule: (run: () => void) => void runs.push(run),
  } as unknown as World);
  const append = (...indexes: number[]) => world.wal.append(indexes.map(entry), undefined, () => {});
  return { stages, world, append, dones, runs, slow };
}

describe('Measurements', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('counts late ticks of a leader: more than one interval late', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const measurements = new Measurements({ slowApplyMs: 0, onSlowApply: () => {} });
    const late: number[] = [];
    for (const [afterMs, leads] of [
      [0, true],
      [200, true],
      [201, true],
      [500, false],
      [100, true],
      [900, true],
    ] as const) {
      vi.advanceTimersByTime(afterMs);
      measurements.ticked(100, leads);
      late.push(measurements.lateHeartbeats);
    }
    expect(late).toEqual([0, 0, 1, 1, 1, 2]);
  });
});

describe('Stages', () => {
  it('counts each stage when it is over', () => {
    const { stages, world, append, dones, runs } = rig();
    let ran = 0;
    world.schedule(() => ran++);
    expect([ran, stages.turn.count]).toEqual([0, 0]);
    runs[0]!();
    expect([ran, stages.turn.count]).toEqual([1, 1]);
    append(1, 2);
    append();
    append(3);
    expect(stages.log.count).toBe(0);
    for (const done of dones) done();
    expect(stages.log.count).toBe(3);
    stages.applying(2);
    expect([stages.commit.count, stages.apply.count]).toEqual([1, 0]);
    stages.applied();
    stages.answered();
    expect([stages.apply.count, stages.answer.count]).toEqual([1, 1]);
    stages.applying(3);
    expect(stages.commit.count).toBe(2);
  });

  it('forgets what another leader has replaced', () => {
    const { stages, append } = rig();
    append(1);
    append(2, 3);
    append(4);
    append(3);
    stages.applying(4);
    expect(stages.commit.count).toBe(2);
  });

  it('forgets what a snapshot has replaced', () => {
    const { stages, world, append } = rig();
    append(1);
    const hardState = { term: 1, vote: 0n, commit: 9 };
    world.wal.reset(9, 1, hardState, () => {});
    append(10);
    stages.applying(10);
    expect(stages.commit.count).toBe(1);
  });

  it('follows so many writes and no more', () => {
    const { stages, append } = rig();
    for (let index = 1; index <= FOLLOWED_MAX + 1; index++) append(index);
    stages.applying(FOLLOWED_MAX + 1);
    expect(stages.commit.count).toBe(FOLLOWED_MAX);
    append(FOLLOWED_MAX + 2);
    stages.applying(FOLLOWED_MAX + 2);
    expect(stages.commit.count).toBe(FOLLOWED_MAX + 1);
  });

  it('reports batches that take too long, if it is to', () => {
    for (const [limit, reports] of [
      [Number.MIN_VALUE, 1],
      [0, 0],
      [3_600_000, 0],
    ] as const) {
      const { stages, slow } = rig(limit);
      stages.applying(7);
      for (const until = performance.now() + 1; performance.now() < until; );
      stages.applied();
      expect([slow.length, stages.slowApplies]).toEqual([reports, reports]);
      if (reports > 0) expect(slow[0]!.lastIndex).toBe(7);
    }
  });
});

describe('DurationHistogram', () => {
  it('counts up to and including a bound', () => {
    const histogram = DurationHistogram.doubling(1, 3);
    expect(histogram.boundsMs).toEqual([1, 2, 4]);
    for (const ms of [0, 1, 1.5, 2, 4, 4.1, 100]) histogram.observe(ms);
    expect(histogram.counts).toEqual([2, 2, 1, 2]);
    expect(histogram.count).toBe(7);
    expect(histogram.sumMs).toBeCloseTo(112.6);
  });
});
