import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GiveWay } from '../../server/rpc/give-way.ts';

describe('the pause between two pieces of a long answer', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setImmediate', 'setTimeout'] });
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
      vi.advanceTimersByTime(1);
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
    expect([waits(), waits()]).toEqual([true, false]);
    machine.appliedIndex++;
    expect([waits(), waits()]).toEqual([true, false]);
  });
});
