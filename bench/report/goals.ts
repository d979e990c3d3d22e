/** The goals: what a run is held to, and whether it came up to it. */
import type { Figures, Measurement, Work } from '../measurement.ts';
import { matching, pairOf, valuesOf } from './summary.ts';

export type Verdict = 'met' | 'missed' | 'failed' | 'not measured';

export interface GoalRow {
  readonly what: string;
  /** Of the two values. */
  readonly unit: '/s' | 'ms' | 's' | 'MiB' | 'x';
  readonly etcd: number | undefined;
  readonly roster: number | undefined;
  /** What is held against the goal: Roster's part of etcd's, or Roster's own value. */
  readonly reached: number | undefined;
  /** Ratios are `x`; other goals have Roster's unit. */
  readonly goal: { readonly atLeast?: number; readonly atMost?: number; readonly unit: 'x' | 'ms' };
  readonly verdict: Verdict;
}

/** Throughput, at least so many times etcd's. */
const rates: readonly (readonly [what: string, wanted: Partial<Work>, atLeast: number])[] = [
  ['put, 1 node, 1 client', { work: 'put', nodes: 1, clients: 1, valueBytes: 256 }, 1],
  ['put, 1 node, 100 clients', { work: 'put', nodes: 1, clients: 100, valueBytes: 256 }, 2],
  ['put, 1 node, 1,000 clients', { work: 'put', nodes: 1, clients: 1000, valueBytes: 256 }, 2.5],
  ['put, 3 nodes, 1 client', { work: 'put', nodes: 3, clients: 1, valueBytes: 256 }, 1],
  ['put, 3 nodes, 100 clients', { work: 'put', nodes: 3, clients: 100, valueBytes: 256 }, 1.8],
  ['put, 3 nodes, 1,000 clients', { work: 'put', nodes: 3, clients: 1000, valueBytes: 256 }, 2.5],
  ['linearizable range of one key, 100 clients', { work: 'linearizable range', nodes: 1, keys: 1, clients: 100 }, 2],
  [
    'linearizable range of one key, 1,000 clients',
    { work: 'linearizable range', nodes: 1, keys: 1, clients: 1000 },
    2.5,
  ],
  [
    'serializable range of one key, 1,000 clients',
    { work: 'serializable range', nodes: 1, keys: 1, clients: 1000 },
    2.5,
  ],
  ['range of 10,000 keys', { work: 'linearizable range', nodes: 1, keys: 10_000 }, 1.2],
  ['txn compare-and-swap, 100 clients', { work: 'txn compare-and-swap', clients: 100 }, 2],
  ['lease keep-alive, 1,000 clients', { work: 'lease keep-alive', clients: 1000 }, 2],
  ['watch fan-out, 10,000 watchers on one key', { work: 'watch fan-out', keys: 1, watchers: 10_000 }, 4],
];
const P99_AT_MOST = 0.7;
const MEMORY_AT_MOST = 1;
const START_AT_MOST = 1;
const COMPACTION_AT_MOST = 1.5;
const LOOP_MS_AT_MOST = 20;
/** Of the goals; small runs have fewer. */
const KEYS_WANTED = 1_000_000;
const REVISIONS_WANTED = 1_000_000;
const MIB = 1024 * 1024;

export function goalRows(measurements: readonly Measurement[]): GoalRow[] {
  return [
    ...rates.map(([what, wanted, atLeast]) => ratioRow(measurements, what, wanted, 'perSecond', { atLeast })),
    ...rates.map(([what, wanted]) =>
      ratioRow(measurements, `p99 of ${what}`, wanted, 'p99Ms', { atMost: P99_AT_MOST }),
    ),
    largestRow(measurements, 'resident memory', 'stored keys', 'residentBytes', MEMORY_AT_MOST),
    largestRow(measurements, 'start-up', 'start-up', 'startSeconds', START_AT_MOST),
    compactionRow(measurements),
    loopRow(measurements),
  ];
}

type Bounds = Pick<GoalRow['goal'], 'atLeast' | 'atMost'>;

const units: Partial<Record<keyof Figures, GoalRow['unit']>> = {
  perSecond: '/s',
  residentBytes: 'MiB',
  startSeconds: 's',
};

function ratioRow(
  measurements: readonly Measurement[],
  what: string,
  wanted: Partial<Work>,
  figure: keyof Figures,
  bounds: Bounds,
): GoalRow {
  const { etcd, roster, ratio } = pairOf(measurements, wanted, figure);
  const unit = units[figure] ?? 'ms';
  const scaled = (value: number | undefined): number | undefined =>
    value === undefined || unit !== 'MiB' ? value : value / MIB;
  const found = matching(measurements, wanted);
  const sizes = { etcd: scaled(etcd), roster: scaled(roster) };
  return {
    what,
    unit,
    ...sizes,
    reached: ratio,
    goal: { ...bounds, unit: 'x' },
    verdict: verdict(ratio, bounds, found),
  };
}

/** Of the largest store that was measured. */
function largestRow(
  measurements: readonly Measurement[],
  what: string,
  work: string,
  figure: keyof Figures,
  atMost: number,
): GoalRow {
  const sizes = matching(measurements, { work }).map((measurement) => measurement.keys);
  const keys = sizes.length === 0 ? KEYS_WANTED : Math.max(...sizes);
  const named = `${what}, ${keys.toLocaleString('en')} keys of 256 B`;
  return ratioRow(measurements, named, { work, keys }, figure, { atMost });
}

/** Each against its own idle p99. */
function compactionRow(measurements: readonly Measurement[]): GoalRow {
  const compacting = matching(measurements, { work: 'small puts: compaction' });
  const idle = pairOf(measurements, { work: 'small puts: idle' }, 'p99Ms');
  const during = pairOf(compacting, {}, 'p99Ms');
  const times = (server: 'etcd' | 'roster'): number | undefined =>
    idle[server] === undefined || during[server] === undefined ? undefined : during[server] / idle[server];
  const revisions = compacting[0]?.keys ?? REVISIONS_WANTED;
  const bounds = { atMost: COMPACTION_AT_MOST };
  const reached = times('roster');
  return {
    what: `put p99 during compaction of ${revisions.toLocaleString('en')} revisions, times its own idle p99`,
    unit: 'x',
    etcd: times('etcd'),
    roster: reached,
    reached,
    goal: { ...bounds, unit: 'x' },
    verdict: verdict(reached, bounds, compacting),
  };
}

/** Of all works during which it was watched, the longest. */
function loopRow(measurements: readonly Measurement[]): GoalRow {
  const watched = measurements.filter(({ work }) => work.startsWith('small puts: '));
  const seen = valuesOf(watched, 'roster', 'loopP999Ms');
  const reached = seen.length === 0 ? undefined : Math.max(...seen);
  const bounds = { atMost: LOOP_MS_AT_MOST };
  return {
    what: 'longest event-loop turn p99.9: list, snapshot, compaction, restore',
    unit: 'ms',
    etcd: undefined,
    roster: reached,
    reached,
    goal: { ...bounds, unit: 'ms' },
    verdict: verdict(reached, bounds, watched),
  };
}

function verdict(reached: number | undefined, { atLeast, atMost }: Bounds, found: readonly Measurement[]): Verdict {
  if (reached === undefined) return found.some(({ error }) => error !== undefined) ? 'failed' : 'not measured';
  const met = (atLeast === undefined || reached >= atLeast) && (atMost === undefined || reached <= atMost);
  return met ? 'met' : 'missed';
}
