import { describe, expect, it } from 'vitest';
import { Histogram } from '../../bench/histogram.ts';
import { type Figures, type Measurement, type Results, work } from '../../bench/measurement.ts';
import { type GoalRow, goalRows } from '../../bench/report/goals.ts';
import { growthCharts } from '../../bench/report/growth.ts';
import { BEGIN_MARK, END_MARK, generated, withGenerated } from '../../bench/report/page.ts';
import { pairOf } from '../../bench/report/summary.ts';
import { lineChart } from '../../bench/report/svg.ts';

type Numbers = Parameters<typeof work>[1];

function measured(name: string, numbers: Numbers, etcd: readonly Figures[], roster: readonly Figures[]): Measurement[] {
  const of = (server: 'etcd' | 'roster', rounds: readonly Figures[]): Measurement[] =>
    rounds.map((figures, round) => ({ ...work(name, numbers), server, round, figures }));
  return [...of('etcd', etcd), ...of('roster', roster)];
}

function row(measurements: readonly Measurement[], what: string): GoalRow {
  const found = goalRows(measurements).find((each) => each.what.startsWith(what));
  if (found === undefined) throw new Error(`no row ${what}`);
  return found;
}

const put100 = { nodes: 1, clients: 100, valueBytes: 256 };

describe('goals', () => {
  it('hold the median of the rounds’ ratios against the goal', () => {
    const rates = (values: number[]): Figures[] => values.map((perSecond) => ({ perSecond }));
    const measurements = measured('put', put100, rates([100, 200, 1000]), rates([190, 400, 3000]));
    expect(row(measurements, 'put, 1 node, 100 clients')).toMatchObject({
      etcd: 200,
      roster: 400,
      reached: 2,
      verdict: 'met',
    });
    const slower = measured('put', put100, rates([100]), rates([199]));
    expect(row(slower, 'put, 1 node, 100 clients').verdict).toBe('missed');
  });

  it('want p99 to be smaller', () => {
    const at = (p99Ms: number): Figures[] => [{ p99Ms }];
    expect(row(measured('put', put100, at(10), at(7)), 'p99 of put, 1 node, 100').verdict).toBe('met');
    expect(row(measured('put', put100, at(10), at(7.1)), 'p99 of put, 1 node, 100').verdict).toBe('missed');
  });

  it('tell what failed from what was not measured', () => {
    const error = { ...work('put', put100), server: 'roster' as const, round: 0, figures: {}, error: 'gone' };
    const measurements = [...measured('put', put100, [{ perSecond: 1 }], []), error];
    expect(row(measurements, 'put, 1 node, 100 clients').verdict).toBe('failed');
    expect(row(measurements, 'put, 1 node, 1 client').verdict).toBe('not measured');
  });

  it('do not mix works on one member with those on three', () => {
    const figures = [{ perSecond: 1 }];
    const measurements = measured('linearizable range', { nodes: 3, keys: 1, clients: 100 }, figures, figures);
    expect(row(measurements, 'linearizable range of one key, 100').verdict).toBe('not measured');
  });

  it('look at the largest store', () => {
    const mib = (count: number): Figures[] => [{ residentBytes: count * 1024 ** 2 }];
    const measurements = [
      ...measured('stored keys', { keys: 10 }, mib(10), mib(50)),
      ...measured('stored keys', { keys: 1_000_000 }, mib(400), mib(300)),
    ];
    const found = row(measurements, 'resident memory');
    expect(found).toMatchObject({ etcd: 400, roster: 300, reached: 0.75, verdict: 'met' });
    expect(found.what).toContain('1,000,000');
  });

  it('compare compaction with each server’s own idle, and take the longest turn of all', () => {
    const measurements = [
      ...measured('small puts: idle', {}, [{ p99Ms: 1 }], [{ p99Ms: 2, loopP999Ms: 3 }]),
      ...measured('small puts: compaction', { keys: 9 }, [{ p99Ms: 5 }], [{ p99Ms: 2.5, loopP999Ms: 21 }]),
    ];
    expect(row(measurements, 'put p99 during compaction')).toMatchObject({ etcd: 5, roster: 1.25, verdict: 'met' });
    expect(row(measurements, 'longest event-loop turn')).toMatchObject({ reached: 21, verdict: 'missed' });
  });
});

describe('a run as a page', () => {
  const rates = (perSecond: number): Figures[] => [{ perSecond, p50Ms: 1, p99Ms: 2, p999Ms: 3, generatorCpuPart: 0.5 }];
  const measurements = [
    ...measured('put', { ...put100, clients: 1 }, rates(10), rates(20)),
    ...measured('put', put100, rates(100), rates(300)),
    { ...work('delete'), server: 'etcd' as const, round: 0, figures: {}, error: 'the server <ended>' },
  ];
  const results: Results = {
    startedAt: '2026-01-02T03:04:05.000Z',
    tookSeconds: 120,
    quick: false,
    machine: { cores: 2, processor: 'P', memoryBytes: 2 ** 33, kernel: '6.1', node: '20.20.2', etcd: '3.4.23' },
    measurements,
  };

  it('has the goals, every work, what failed, and a plot of each growth that was measured', () => {
    const page = generated(results);
    expect(page).toContain('2026-01-02, 2 cores (P), 8 GiB of memory, Linux 6.1, Node 20.20.2, etcd 3.4.23; 2 minutes');
    expect(page).toMatch(/\| put, 1 node, 100 clients +\| +100\/s \| +300\/s \| +3\.00x \| +>= 2x \| met/);
    expect(page).toMatch(/\| put, 1 node, 100 clients, 256 B values +\| +100 \/ 300 \| +3\.00x/);
    expect(page).toContain('- delete, 1 node, etcd: the server <ended>');
    expect([...growthCharts(measurements).keys()]).toEqual(['put-clients']);
    expect(page).toContain('](performance/put-clients.svg)');
  });

  it('takes the place of what was generated before, and of nothing else', () => {
    const page = `# Words\n\n${BEGIN_MARK}\n\nold\n\n${END_MARK}\n\nmore words\n`;
    const once = withGenerated(page, 'new');
    expect(once).toBe(`# Words\n\n${BEGIN_MARK}\n\nnew\n\n${END_MARK}\n\nmore words\n`);
    expect(withGenerated(once, 'newer')).toBe(once.replace('new\n', 'newer\n'));
    expect(() => withGenerated('# Words\n', 'new')).toThrow('has no marks');
  });

  it('draws each point where it belongs', () => {
    const points = [
      [1, 0],
      [10, 50],
      [100, 100],
    ] as const;
    const svg = lineChart({ title: 'a < b & c', xLabel: 'x', yLabel: 'y', series: [{ name: 'one', points }] });
    expect(svg).toContain('a &lt; b &amp; c');
    const circles = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [Number(x), Number(y)]);
    expect(circles).toHaveLength(3);
    // x on a logarithmic scale: ten times as much is as far again. y from zero, upwards.
    expect(circles[1]![0]! - circles[0]![0]!).toBeCloseTo(circles[2]![0]! - circles[1]![0]!, 0);
    expect(circles[0]![1]! - circles[1]![1]!).toBeCloseTo(circles[1]![1]! - circles[2]![1]!, 0);
    expect(circles[2]![1]!).toBeLessThan(circles[0]![1]!);
    const opened = svg.match(/<[a-z]+/g)!.length;
    expect(svg.match(/<\/[a-z]+>|\/>/g)!).toHaveLength(opened);
  });

  it('has no ratio where only one server was measured', () => {
    const alone = measured('put', put100, [], rates(5));
    expect(pairOf(alone, { work: 'put' }, 'perSecond')).toEqual({ etcd: undefined, roster: 5, ratio: undefined });
  });
});

describe('latencies', () => {
  it('have percentiles exact to one per cent', () => {
    const histogram = new Histogram();
    for (let i = 1; i <= 1000; i++) histogram.record(i);
    for (const p of [0.5, 0.99, 0.999]) {
      expect(histogram.percentile(p) / (1000 * p)).toBeGreaterThan(0.99);
      expect(histogram.percentile(p) / (1000 * p)).toBeLessThan(1.01);
    }
    expect([histogram.count, histogram.maxMs]).toEqual([1000, 1000]);
  });
});
