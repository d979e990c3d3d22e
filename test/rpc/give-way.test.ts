import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GiveWay } from '../../server/rpc/give-way.ts';

describe('the pause between two pieces of a long answer', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setImmediate', 'setTimeout', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function begun() {
    const machine = { appliedIndex: 7 };
    const answers = { count: 40 };
    const giveWay = new GiveWay({ machine, answers } as never);
    const waits = () => {
      let ran = false;
      giveWay.before(() => {
        ran = true;
      });
      vi.advanceTimersByTime(0);
      if (ran) return false;
      vi.advanceTimersByTime(2);
      expect(ran).toBe(true);
      return true;
    };
    return { machine, answers, waits };
  }

  it('is none while nobody else is there', () => {
    const { waits } = begun();
    expect([waits(), waits(), waits()]).toEqual([false, false, false]);
  });

  it('leaves a moment to others as long as they are answered, or write through another member', () => {
    const { machine, answers, waits } = begun();
    answers.count++;
    expect(waits()).toBe(true);
    vi.advanceTimersByTime(50);
    expect(waits()).toBe(false);
    machine.appliedIndex++;
    expect(waits()).toBe(true);
  });

  it('stays between the requests of one who asks every few milliseconds, and ends when he has gone', () => {
    const { answers, waits } = begun();
    for (let request = 0; request < 10; request++) {
      answers.count++;
      expect([waits(), waits(), waits(), waits()]).toEqual([true, true, true, true]);
    }
    vi.advanceTimersByTime(50);
    expect([waits(), waits()]).toEqual([false, false]);
  });
});
