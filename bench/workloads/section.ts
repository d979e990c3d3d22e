/**
 * A section of the suite: a few works on servers of its own. What fails is recorded and the rest goes on; sections decide
 * what is done, the suite (bench/table.ts) in which order and how large.
 */
import type { Figures, Measurement, Subject, Work } from '../measurement.ts';
import { cpuSecondsOf } from '../proc.ts';
import { type ClusterUnderTest, type ServerName, startServers } from '../servers.ts';

/** How large everything is. */
export interface Scale {
  /** Of one run. */
  readonly seconds: number;
  /** Runs of each server, in turn. */
  readonly rounds: number;
  readonly clients: readonly number[];
  readonly valueBytes: readonly number[];
  /** Keys in the store, ascending. */
  readonly sizes: readonly number[];
  /** That are compacted at once. */
  readonly revisions: number;
  /** Of the store that is read as a whole, 1 KiB each. */
  readonly bigKeys: number;
  /** Puts while a follower is down. */
  readonly missedPuts: number;
  readonly watchers: readonly number[];
}

export interface SectionRun {
  readonly scale: Scale;
  readonly servers: readonly ServerName[];
  readonly folder: string | undefined;
  record(measurement: Measurement): void;
  progress(text: string): void;
}

export interface Section {
  readonly name: string;
  estimateSeconds(scale: Scale): number;
  run(run: SectionRun): Promise<void>;
}

/** Both have room for all that is written, so that no alarm ends a run. */
const ROOMY = ['--quota-backend-bytes', String(16 * 1024 ** 3)];
const STARTING_SECONDS = 3;

/** Beside the load itself: connections, warm-up, starting and stopping. */
export function loadSeconds(scale: Scale, cases: number, nodes = 1): number {
  const run = scale.seconds + 0.5;
  return 2 * (STARTING_SECONDS * nodes + cases * (run * scale.rounds + warmUpSeconds(scale)));
}

export function warmUpSeconds(scale: Scale): number {
  return Math.min(2, scale.seconds);
}

/** Runs `body` with all servers up, so that they can be measured in turn. */
export async function together(
  run: SectionRun,
  nodes: number,
  body: (clusters: readonly ClusterUnderTest[]) => Promise<void>,
): Promise<void> {
  const clusters: ClusterUnderTest[] = [];
  try {
    for (const name of run.servers)
      clusters.push(await startServers(name, nodes, { folder: run.folder, flags: ROOMY }));
    await body(clusters);
  } finally {
    for (const cluster of clusters) await cluster.stop();
  }
}

/** Runs `body` with one server after the other; when it fails with one, `what` is recorded as failed. */
export async function oneByOne(
  run: SectionRun,
  nodes: number,
  what: Work,
  body: (cluster: ClusterUnderTest) => Promise<void>,
): Promise<void> {
  for (const name of run.servers) {
    try {
      const cluster = await startServers(name, nodes, { folder: run.folder, flags: ROOMY });
      try {
        await body(cluster);
      } finally {
        await cluster.stop();
      }
    } catch (error) {
      recordFailure(run, what, name, 0, error);
    }
  }
}

/** Returns whether there are figures. */
export async function recorded(
  run: SectionRun,
  what: Work,
  server: Subject,
  round: number,
  measure: () => Promise<Figures>,
): Promise<boolean> {
  try {
    run.record({ ...what, server, round, figures: await measure() });
    return true;
  } catch (error) {
    recordFailure(run, what, server, round, error);
    return false;
  }
}

export function recordFailure(run: SectionRun, what: Work, server: Subject, round: number, error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  run.record({ ...what, server, round, figures: {}, error: text });
}

/** Processor time of all members, so far. */
export async function clusterCpuSeconds({ members }: ClusterUnderTest): Promise<number> {
  let seconds = 0;
  for (const { pid } of members) seconds += await cpuSecondsOf(pid);
  return seconds;
}

/** Ends a wait for what may never come. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} has not ended within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
