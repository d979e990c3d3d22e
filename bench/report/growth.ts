/** The growth curves: which works lie on them, and what grows with what. */
import type { Figures, Measurement, Work } from '../measurement.ts';
import { pairOf, worksOf } from './summary.ts';
import { type Chart, lineChart } from './svg.ts';

type Axis = 'clients' | 'valueBytes' | 'keys' | 'watchers' | 'nodes';

interface Growth {
  /** Of the file. */
  readonly name: string;
  readonly title: string;
  readonly axis: Axis;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly wanted: Partial<Work>;
  readonly figure: keyof Figures;
  /** From the figure to what is drawn. */
  readonly draw?: (value: number, work: Work) => number;
}

const MIB = 1024 * 1024;
const mib = (bytes: number): number => bytes / MIB;
const put = { work: 'put', valueBytes: 256 };

const growths: readonly Growth[] = [
  {
    name: 'put-clients',
    title: 'Puts over clients, 1 node',
    axis: 'clients',
    xLabel: 'clients',
    yLabel: 'puts/s',
    wanted: { ...put, nodes: 1 },
    figure: 'perSecond',
  },
  {
    name: 'put-clients-3',
    title: 'Puts over clients, 3 nodes',
    axis: 'clients',
    xLabel: 'clients',
    yLabel: 'puts/s',
    wanted: { ...put, nodes: 3 },
    figure: 'perSecond',
  },
  {
    name: 'put-nodes',
    title: 'Puts over nodes, 100 clients',
    axis: 'nodes',
    xLabel: 'nodes',
    yLabel: 'puts/s',
    wanted: { ...put, clients: 100 },
    figure: 'perSecond',
  },
  {
    name: 'put-values',
    title: 'Puts over size of value, 100 clients',
    axis: 'valueBytes',
    xLabel: 'bytes',
    yLabel: 'puts/s',
    wanted: { work: 'put', nodes: 1, clients: 100 },
    figure: 'perSecond',
  },
  {
    name: 'range-keys',
    title: 'Keys read over keys in one range',
    axis: 'keys',
    xLabel: 'keys in a range',
    yLabel: 'keys/s',
    wanted: { work: 'linearizable range', nodes: 1 },
    figure: 'perSecond',
    draw: (perSecond, { keys }) => perSecond * keys,
  },
  {
    name: 'watch-watchers',
    title: 'Events delivered over watchers of one key',
    axis: 'watchers',
    xLabel: 'watchers',
    yLabel: 'events/s',
    wanted: { work: 'watch fan-out', keys: 1 },
    figure: 'perSecond',
  },
  {
    name: 'memory-keys',
    title: 'Resident memory over keys of 256 B',
    axis: 'keys',
    xLabel: 'keys',
    yLabel: 'MiB',
    wanted: { work: 'stored keys' },
    figure: 'residentBytes',
    draw: mib,
  },
  {
    name: 'disk-keys',
    title: 'Data directory over keys of 256 B',
    axis: 'keys',
    xLabel: 'keys',
    yLabel: 'MiB',
    wanted: { work: 'stored keys' },
    figure: 'diskBytes',
    draw: mib,
  },
  {
    name: 'start-keys',
    title: 'Start-up over keys of 256 B',
    axis: 'keys',
    xLabel: 'keys',
    yLabel: 'seconds',
    wanted: { work: 'start-up' },
    figure: 'startSeconds',
  },
];

/** By file name, without its end; curves with fewer than two points are left out. */
export function growthCharts(measurements: readonly Measurement[]): Map<string, { title: string; svg: string }> {
  const charts = new Map<string, { title: string; svg: string }>();
  for (const growth of growths) {
    const chart = chartOf(growth, measurements);
    if (chart.series.some(({ points }) => points.length > 1))
      charts.set(growth.name, { title: growth.title, svg: lineChart(chart) });
  }
  return charts;
}

function chartOf(growth: Growth, measurements: readonly Measurement[]): Chart {
  const { title, xLabel, yLabel, wanted, figure, axis, draw = (value) => value } = growth;
  const fields = Object.entries(wanted) as [keyof Work, Work[keyof Work]][];
  const works = worksOf(measurements).filter((work) => fields.every(([name, value]) => work[name] === value));
  const series = (['etcd', 'roster'] as const).map((server) => {
    // Several works at one place of the axis: the fastest of them.
    const points = new Map<number, number>();
    for (const work of works) {
      const value = pairOf(measurements, work, figure)[server];
      if (value === undefined) continue;
      points.set(work[axis], Math.max(points.get(work[axis]) ?? 0, draw(value, work)));
    }
    return { name: server === 'etcd' ? 'etcd' : 'Roster', points: [...points].sort(([a], [b]) => a - b) };
  });
  return { title, xLabel, yLabel, series };
}
