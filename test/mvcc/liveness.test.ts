import { describe, expect, it } from 'vitest';
import { Liveness } from '../../core/mvcc/liveness.ts';

describe('Liveness', () => {
  it('knows the growth of a range since a revision', () => {
    const liveness = new Liveness();
    liveness.born(2, 'a');
    liveness.born(3, 'b');
    liveness.died(4, 'a');
    liveness.born(4, 'c');
    const growth = (main: number) => liveness.growthSince(main, 'a', 'c');
    expect([1, 2, 3, 4, 9].map(growth)).toEqual([1, 0, -1, 0, 0]);
    expect(liveness.growthSince(1, 'b', undefined)).toBe(2);
  });

  it('forgets half of what it knows at one more than its limit, and says so', () => {
    const liveness = new Liveness(4);
    for (let main = 2; main <= 5; main++) liveness.born(main, 'a');
    expect(liveness.length).toBe(4);
    expect(liveness.growthSince(1, 'a', 'b')).toBe(4);
    liveness.born(6, 'a');
    expect(liveness.length).toBe(3);
    expect([1, 2, 3, 4, 5, 6].map((main) => liveness.growthSince(main, 'a', 'b'))).toEqual([
      undefined,
      undefined,
      3,
      2,
      1,
      0,
    ]);
  });

  it('never splits what happened in one transaction', () => {
    const liveness = new Liveness(4);
    for (let i = 0; i < 5; i++) liveness.born(7, `a${i}`);
    expect(liveness.growthSince(6, 'a', 'b')).toBeUndefined();
    expect(liveness.growthSince(7, 'a', 'b')).toBe(0);
  });
});
