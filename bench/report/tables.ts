/** The tables of a run, as Markdown that is also fit for a terminal. */
import type { Figures, Measurement, Results, Work } from '../measurement.ts';
import { describe } from '../workloads/compare.ts';
import { type GoalRow, goalRows } from './goals.ts';
import { matching, medianOf, pairOf, valuesOf, worksOf } from './summary.ts';

const MIB = 1024 * 1024;
const NONE = '-';
const CALM = 'small puts: ';

/** Columns are padded to the same width; those of `right` are aligned to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], right: readonly number[]): string {
  const widths = head.map((title, i) => Math.max(title.length, 3, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join(' | ')} |`;
  const rule = widths.map((width, i) => (right.includes(i) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

/** Three digits that count. */
export function short(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return NONE;
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}

export function goalTable(measurements: readonly Measurement[]): string {
  const rows = goalRows(measurements).map((row) => [
    row.what,
    amount(row.etcd, row.unit),
    amount(row.roster, row.unit),
    amount(row.reached, row.goal.unit),
    bound(row),
    row.verdict,
  ]);
  return table(['work', 'etcd', 'Roster', 'reached', 'goal', 'verdict'], rows, [1, 2, 3, 4]);
}

function amount(value: number | undefined, unit: GoalRow['unit']): string {
  if (value === undefined) return NONE;
  return unit === 'x' || unit === '/s' ? `${short(value)}${unit}` : `${short(value)} ${unit}`;
}

function bound({ goal }: GoalRow): string {
  const [sign, value] = goal.atLeast === undefined ? ['<=', goal.atMost!] : ['>=', goal.atLeast];
  return `${sign} ${value}${goal.unit === 'x' ? 'x' : ` ${goal.unit}`}`;
}

/** Everything that has a rate: one line for each work, etcd / Roster in one cell. */
export function rateTable(measurements: readonly Measurement[]): string {
  const works = worksOf(measurements).filter(
    (work) => !isCalm(work) && pairOf(measurements, work, 'perSecond').roster !== undefined,
  );
  const rows = works.map((work) => {
    const figure = (name: keyof Figures): string => {
      const { etcd, roster } = pairOf(measurements, work, name);
      return `${short(etcd)} / ${short(roster)}`;
    };
    const { ratio } = pairOf(measurements, work, 'perSecond');
    const generator = medianOf(valuesOf(matching(measurements, work), 'roster', 'generatorCpuPart'));
    return [
      describe(work),
      figure('perSecond'),
      ratio === undefined ? NONE : `${short(ratio)}x`,
      figure('p50Ms'),
      figure('p99Ms'),
      figure('p999Ms'),
      figure('cpuSecondsPer10k'),
      generator === undefined ? NONE : `${Math.round(generator * 100)} %`,
    ];
  });
  const head = ['work', 'per second', 'ratio', 'p50 ms', 'p99 ms', 'p99.9 ms', 'CPU s per 10,000', 'generator'];
  return table(head, rows, [1, 2, 3, 4, 5, 6, 7]);
}

/** Memory, disk and start-up by keys. */
export function sizeTable(measurements: readonly Measurement[]): string {
  const rows = worksOf(matching(measurements, { work: 'stored keys' })).map(({ keys }) => {
    const mib = (name: keyof Figures): string => {
      const { etcd, roster } = pairOf(measurements, { work: 'stored keys', keys }, name);
      return [etcd, roster].map((value) => short(value === undefined ? undefined : value / MIB)).join(' / ');
    };
    const start = pairOf(measurements, { work: 'start-up', keys }, 'startSeconds');
    const cells = [mib('residentBytes'), mib('peakBytes'), mib('diskBytes')];
    return [keys.toLocaleString('en'), ...cells, `${short(start.etcd)} / ${short(start.roster)}`];
  });
  const head = ['keys', 'resident MiB', 'most MiB', 'on disk MiB', 'start s'];
  return table(head, rows, [0, 1, 2, 3, 4]);
}

/** What small puts feel of large works, and the event loop's turns. */
export function calmTable(measurements: readonly Measurement[]): string {
  const works = worksOf(measurements).filter(isCalm);
  const rows = works.map((work) => {
    const figure = (name: keyof Figures): string => {
      const { etcd, roster } = pairOf(measurements, work, name);
      return `${short(etcd)} / ${short(roster)}`;
    };
    const loop = (name: keyof Figures): string => short(pairOf(measurements, work, name).roster);
    const latencies = [figure('p50Ms'), figure('p99Ms'), figure('maxMs')];
    return [work.work, ...latencies, figure('tookSeconds'), loop('loopP999Ms'), loop('loopMaxMs')];
  });
  const head = ['small puts during', 'p50 ms', 'p99 ms', 'longest ms', 'took s', 'turn p99.9 ms', 'longest turn ms'];
  return table(
    head,
    rows.map(([what, ...cells]) => [what!.slice(CALM.length), ...cells]),
    [1, 2, 3, 4, 5, 6],
  );
}

function isCalm({ work }: Work): boolean {
  return work.startsWith(CALM);
}

/** How fast the load generator is by itself. */
export function generatorTable(measurements: readonly Measurement[]): string {
  const own = measurements.filter(({ server }) => server === 'generator');
  const rows = worksOf(own).map((work: Work) => {
    const [figures] = matching(own, work).map((measurement) => measurement.figures);
    const part = figures?.generatorCpuPart;
    return [
      `${work.clients.toLocaleString('en')}`,
      short(figures?.perSecond),
      short(figures?.p99Ms),
      part === undefined ? NONE : `${Math.round(part * 100)} %`,
    ];
  });
  return table(['clients', 'calls/s', 'p99 ms', 'generator, of a core'], rows, [0, 1, 2, 3]);
}

export function failures(measurements: readonly Measurement[]): string[] {
  return measurements.flatMap((measurement) =>
    measurement.error === undefined ? [] : [`${describe(measurement)}, ${measurement.server}: ${measurement.error}`],
  );
}

export function machineLine({ machine, startedAt, tookSeconds, quick }: Results): string {
  const { cores, processor, memoryBytes, kernel, node, etcd } = machine;
  const gib = (memoryBytes / 1024 ** 3).toFixed(0);
  return (
    `${startedAt.slice(0, 10)}, ${cores} cores (${processor}), ${gib} GiB of memory, Linux ${kernel}, Node ${node}, etcd ${etcd}; ` +
    `${quick ? 'a quick run, ' : ''}${Math.round(tookSeconds / 60)} minutes`
  );
}
