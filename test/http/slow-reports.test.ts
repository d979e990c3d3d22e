import { describe, expect, it } from 'vitest';
import { SLOW_REPORTS_PER_SECOND_MAX, SlowReports } from '../../server/http/slow-reports.ts';

describe('SlowReports', () => {
  it('lets so many through in a second, and counts the others in the next report', () => {
    let nowMs = 0;
    const reports: object[] = [];
    const slow = new SlowReports<{ i: number }>(
      (one) => reports.push(one),
      () => nowMs,
    );
    for (let i = 0; i < SLOW_REPORTS_PER_SECOND_MAX + 2; i++) slow.add({ i });
    expect(reports).toHaveLength(SLOW_REPORTS_PER_SECOND_MAX);
    expect(reports.at(-1)).toEqual({ i: SLOW_REPORTS_PER_SECOND_MAX - 1 });
    nowMs = 999;
    slow.add({ i: 100 });
    expect(reports).toHaveLength(SLOW_REPORTS_PER_SECOND_MAX);
    nowMs = 1000;
    slow.add({ i: 101 });
    slow.add({ i: 102 });
    expect(reports.slice(-2)).toEqual([{ i: 101, leftOut: 3 }, { i: 102 }]);
  });
});
