import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DEADLINE_TICK_MS, Deadlines, parseTimeout, Timed } from '../../server/grpc/deadlines.ts';

class Alarm extends Timed {
  rangAtMs: number | undefined;
  onRing: () => void = () => {};

  expire(): void {
    expect(this.rangAtMs).toBeUndefined();
    this.rangAtMs = performance.now();
    this.onRing();
  }
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('Deadlines', () => {
  it('are never early, at most two ticks late, and silent once cleared', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            startMs: fc.nat({ max: 30_000 }),
            afterMs: fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 60_000 })),
            clearMs: fc.option(fc.nat({ max: 60_000 }), { nil: undefined }),
          }),
          { maxLength: 30 },
        ),
        (plans) => {
          const deadlines = new Deadlines();
          const originMs = performance.now();
          const steps: [number, () => void][] = [];
          const alarms = plans.map((plan) => {
            const alarm = new Alarm();
            steps.push([plan.startMs, () => deadlines.set(alarm, plan.afterMs)]);
            if (plan.clearMs !== undefined) steps.push([plan.startMs + plan.clearMs, () => deadlines.clear(alarm)]);
            return alarm;
          });
          steps.sort((a, b) => a[0] - b[0]);
          for (const [atMs, act] of steps) {
            vi.advanceTimersByTime(atMs - (performance.now() - originMs));
            act();
          }
          vi.advanceTimersByTime(70_000);
          plans.forEach((plan, i) => {
            const due = originMs + plan.startMs + plan.afterMs;
            const rang = alarms[i]!.rangAtMs;
            const clearedMs = plan.clearMs === undefined ? undefined : originMs + plan.startMs + plan.clearMs;
            if (clearedMs !== undefined && clearedMs < due) expect(rang).toBeUndefined();
            else if (clearedMs === undefined || clearedMs >= due + 2 * DEADLINE_TICK_MS) {
              expect(rang).toBeGreaterThanOrEqual(due);
              expect(rang).toBeLessThanOrEqual(due + 2 * DEADLINE_TICK_MS);
            }
          });
          expect(deadlines.size).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('one that rings may clear another that is due, or set a new one', () => {
    const deadlines = new Deadlines();
    const [first, second, third] = [new Alarm(), new Alarm(), new Alarm()] as const;
    deadlines.set(first, 100);
    deadlines.set(second, 100);
    const other = (one: Alarm) => (one === first ? second : first);
    for (const one of [first, second]) {
      one.onRing = () => {
        deadlines.clear(other(one));
        deadlines.set(third, 0);
      };
    }
    vi.advanceTimersByTime(1_000);
    expect([first.rangAtMs, second.rangAtMs].filter((ms) => ms === undefined)).toHaveLength(1);
    expect(third.rangAtMs).toBeDefined();
  });

  it('the timer stops when there is nothing to wait for, and starts again', () => {
    const deadlines = new Deadlines();
    deadlines.set(new Alarm(), 10);
    vi.advanceTimersByTime(100);
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(5_000);
    expect(vi.getTimerCount()).toBe(0);
    const alarm = new Alarm();
    deadlines.set(alarm, 10);
    vi.advanceTimersByTime(60);
    expect(alarm.rangAtMs).toBeDefined();
    vi.advanceTimersByTime(5_000);
  });

  it('a loop that was held up for long rings everything that is due', () => {
    const deadlines = new Deadlines();
    const alarms = Array.from({ length: 100 }, (_, i) => {
      const alarm = new Alarm();
      deadlines.set(alarm, i * 500);
      return alarm;
    });
    const real = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => real() + 60_000);
    vi.advanceTimersByTime(DEADLINE_TICK_MS);
    expect(alarms.every((alarm) => alarm.rangAtMs !== undefined)).toBe(true);
    vi.restoreAllMocks();
  });
});

describe('parseTimeout', () => {
  it('knows the units', () => {
    expect(['2H', '3M', '4S', '5m', '6u', '7n', '99999999H'].map(parseTimeout)).toEqual([
      7_200_000,
      180_000,
      4_000,
      5,
      0.006,
      7e-6,
      99_999_999 * 3_600_000,
    ]);
  });

  it('says what is wrong', () => {
    expect(parseTimeout('')).toContain('too short');
    expect(parseTimeout('1234567890')).toContain('too long');
    expect(parseTimeout('1s')).toContain('unit is not recognized');
    expect(parseTimeout('1h')).toContain('unit is not recognized');
    expect(parseTimeout('x1S')).toContain('invalid syntax');
  });
});
