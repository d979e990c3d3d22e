/** Puts the same load on all servers of a section, in turn, several rounds of it. */
import type { LoadResult } from '../load.ts';
import { type Figures, figuresOf, type Work } from '../measurement.ts';
import type { ClusterUnderTest } from '../servers.ts';
import { clusterCpuSeconds, recorded, recordFailure, type SectionRun, warmUpSeconds, within } from './section.ts';

/** What a load that has been prepared for one cluster can do. Kept over all rounds. */
export interface Prepared {
  run(ms: number): Promise<LoadResult>;
  /** Rejects when the server has not done what it said. Asked after each run. */
  verify?(): Promise<void>;
  close(): void;
}

export interface Comparison {
  readonly what: Work;
  prepare(cluster: ClusterUnderTest): Promise<Prepared>;
  /** Runs end by themselves, and nothing is warmed up: what is prepared is used up by one run. */
  readonly once?: boolean;
}

/** What is under way when a run's time is up may take so much longer. */
const GRACE_MS = 120_000;

export async function compare(
  run: SectionRun,
  clusters: readonly ClusterUnderTest[],
  comparison: Comparison,
): Promise<void> {
  run.progress(describe(comparison.what));
  if (comparison.once === true) await compareOnce(run, clusters, comparison);
  else await compareKept(run, clusters, comparison);
}

/** Prepares each run anew. */
async function compareOnce(
  run: SectionRun,
  clusters: readonly ClusterUnderTest[],
  { what, prepare }: Comparison,
): Promise<void> {
  for (let round = 0; round < run.scale.rounds; round++) {
    for (const cluster of clusters) {
      await recorded(run, what, cluster.name, round, async () => {
        const prepared = await prepare(cluster);
        try {
          return await measured(cluster, prepared, run.scale.seconds * 1000);
        } finally {
          prepared.close();
        }
      });
    }
  }
}

/** Prepares once and warms up. A server that has failed is left out of what follows. */
async function compareKept(
  run: SectionRun,
  clusters: readonly ClusterUnderTest[],
  { what, prepare }: Comparison,
): Promise<void> {
  const { scale } = run;
  const all = new Map<ClusterUnderTest, Prepared>();
  try {
    for (const cluster of clusters) {
      try {
        const prepared = await prepare(cluster);
        all.set(cluster, prepared);
        await within(GRACE_MS, 'the warm-up', prepared.run(warmUpSeconds(scale) * 1000));
      } catch (error) {
        recordFailure(run, what, cluster.name, 0, error);
        drop(all, cluster);
      }
    }
    for (let round = 0; round < scale.rounds; round++) {
      for (const [cluster, prepared] of all) {
        const measure = (): Promise<Figures> => measured(cluster, prepared, scale.seconds * 1000);
        if (!(await recorded(run, what, cluster.name, round, measure))) drop(all, cluster);
      }
    }
  } finally {
    for (const cluster of [...all.keys()]) drop(all, cluster);
  }
}

function drop(all: Map<ClusterUnderTest, Prepared>, cluster: ClusterUnderTest): void {
  all.get(cluster)?.close();
  all.delete(cluster);
}

async function measured(cluster: ClusterUnderTest, prepared: Prepared, ms: number): Promise<Figures> {
  const before = await clusterCpuSeconds(cluster);
  const result = await within(ms + GRACE_MS, 'the run', prepared.run(ms));
  const cpuSeconds = (await clusterCpuSeconds(cluster)) - before;
  await prepared.verify?.();
  return figuresOf(result, cpuSeconds);
}

/** In words, without what has no meaning. */
export function describe({ work, nodes, clients, valueBytes, keys, watchers }: Work): string {
  const parts = [work];
  const add = (count: number, word: string): void => {
    if (count > 0) parts.push(`${count.toLocaleString('en')} ${word}${count === 1 ? '' : 's'}`);
  };
  add(nodes, 'node');
  add(clients, 'client');
  add(keys, 'key');
  add(watchers, 'watcher');
  if (valueBytes > 0) parts.push(`${valueBytes.toLocaleString('en')} B values`);
  return parts.join(', ');
}
