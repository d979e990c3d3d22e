/**
 * A run of faults against a cluster of real processes under load, and what is left to say at the end: what was done,
 * what was promised, and whether it was kept.
 */
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sleep } from '../../../client/wait.ts';
import { Prng } from '../../../core/util/prng.ts';
import { atExit } from './at-exit.ts';
import { Cluster } from './cluster.ts';
import { SmallDisk } from './disk.ts';
import { type FaultKind, Faults, type Tally } from './faults.ts';
import type { ClusterKind } from './processes.ts';
import { Workload } from './workload.ts';

export interface ChaosOptions {
  kind: ClusterKind;
  size: number;
  seed: number;
  /** At least so many of each; 0 of all three ends the run when every other fault has fired. */
  kills: number;
  pauses: number;
  partitions: number;
  /** Faults that count for none of the three, each so many times. */
  others: Readonly<Partial<Record<FaultKind, number>>>;
  /** The faults must be done by then; the run fails otherwise, and cleans up. */
  secondsMax: number;
  /** Called after each round of faults, for whoever watches a long run. */
  onRound?: (line: string) => void;
}

export interface ChaosReport {
  readonly tally: Tally;
  readonly problems: readonly string[];
  readonly acknowledged: number;
  readonly operations: number;
  readonly keysSearched: number;
  readonly undecided: number;
  readonly revisions: number;
  readonly watchStreams: number;
  readonly compactions: number;
  /** From the end of a fault until every running member acknowledged a write again. */
  readonly recoveryMs: readonly number[];
  readonly seconds: number;
  /** Why there was no disk of its own, when there was none. */
  readonly noDisk: string | undefined;
}

const DISK_MEGABYTES = 600;
/** After the faults of a round are over, every member must serve writes within this. */
const RECOVERY_TIMEOUT_MS = 60_000;
/** A second fault at the same time, in so many rounds of a hundred. */
const TWO_AT_ONCE_PERCENT = 35;
const NO_REST_PERCENT = 20;

/** Short timeouts, so that a run has many elections; a small log, so that it has many snapshots. */
const flags: Readonly<Record<ClusterKind, readonly string[]>> = {
  roster: ['--snapshot-catchup-entries', '500'],
  etcd: ['--snapshot-count', '1000'],
};
const timing = ['--heartbeat-interval', '50', '--election-timeout', '500'];

const killKinds: readonly FaultKind[] = ['kill', 'kill leader', 'kill all'];
const pauseKinds: readonly FaultKind[] = ['pause', 'pause leader'];
const partitionKinds: readonly FaultKind[] = ['partition', 'one-way partition', 'leader isolated', 'cut links'];
/** Faults that need the whole cluster to themselves: a change of members asks for a healthy majority. */
const alone: ReadonlySet<FaultKind> = new Set(['replace member', 'kill all']);

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const prng = new Prng(options.seed);
  const started = performance.now();
  const diskFolder = await DiskFolder.make();
  let cluster: Cluster | undefined;
  let workload: Workload | undefined;
  const over = new AbortController();
  let looking: Promise<void> | undefined;
  try {
    const { disk } = diskFolder;
    cluster = await Cluster.start({
      kind: options.kind,
      size: options.size,
      links: true,
      flags: [...timing, ...flags[options.kind]],
      ...(disk === undefined ? {} : { firstDataDir: `${disk.folder}/data` }),
    });
    const load = new Workload(cluster, { seed: options.seed, writers: 8, sharers: 8, watchers: 3, pauseMsMax: 20 });
    workload = load;
    workload.start();
    const faults = new Faults(cluster, prng, disk, (signal) => load.bulk(signal));
    if (disk !== undefined) looking = faults.lookAfter(cluster.members[0]!, over.signal);
    const recoveryMs = await rounds(options, faults, workload, prng, disk !== undefined);
    const revision = await workload.settle();
    const problems = await atTheEnd(cluster, workload, revision);
    const judgement = workload.judge();
    return {
      tally: faults.tally,
      problems: [...problems, ...judgement.problems],
      acknowledged: workload.acknowledged,
      operations: workload.history.operations.length,
      keysSearched: judgement.keys,
      undecided: judgement.undecided,
      revisions: workload.happened.size,
      watchStreams: workload.streams,
      compactions: workload.compactions,
      recoveryMs,
      seconds: (performance.now() - started) / 1000,
      noDisk: diskFolder.obstacle,
    };
  } finally {
    over.abort();
    await looking;
    await workload?.stop();
    await cluster?.stop();
    await diskFolder.remove();
  }
}

async function rounds(
  options: ChaosOptions,
  faults: Faults,
  workload: Workload,
  prng: Prng,
  hasDisk: boolean,
): Promise<number[]> {
  const deadlineMs = performance.now() + options.secondsMax * 1000;
  const recoveryMs: number[] = [];
  const { tally } = faults;
  for (let round = 1; ; round++) {
    const due = dueFaults(options, tally, hasDisk);
    if (due.length === 0) {
      await workload.progress(RECOVERY_TIMEOUT_MS);
      return recoveryMs;
    }
    if (performance.now() > deadlineMs) {
      throw new Error(`after ${options.secondsMax} s these faults are still due: ${[...new Set(due)].join(', ')}`);
    }
    const first = due[prng.int(due.length)]!;
    const second = due[prng.int(due.length)]!;
    const both = prng.int(100) < TWO_AT_ONCE_PERCENT && !alone.has(first) && !alone.has(second) && first !== second;
    const kinds = both ? [first, second] : [first];
    await sleep(prng.int(300));
    await Promise.all(kinds.map((kind) => faults.run(kind)));
    const healed = performance.now();
    // Now and then the next fault comes before the cluster has got over this one.
    const waits = prng.int(100) >= NO_REST_PERCENT;
    if (waits) {
      await workload.progress(RECOVERY_TIMEOUT_MS);
      recoveryMs.push(performance.now() - healed);
    }
    options.onRound?.(
      `${round}: ${kinds.join(' + ')}, ${waits ? `recovered after ${recoveryMs.at(-1)!.toFixed(0)} ms` : 'no rest'}; ` +
        `${tally.kills} kills, ${tally.pauses} pauses, ${tally.partitions} partitions, ${workload.acknowledged} writes`,
    );
  }
}

/** What has still to be done: often what is far from its number. */
function dueFaults(options: ChaosOptions, tally: Tally, hasDisk: boolean): FaultKind[] {
  const due: FaultKind[] = [];
  if (tally.kills < options.kills) due.push(...killKinds);
  if (tally.pauses < options.pauses) due.push(...pauseKinds);
  if (tally.partitions < options.partitions) due.push(...partitionKinds);
  for (const [kind, times] of Object.entries(options.others) as [FaultKind, number][]) {
    if (kind.endsWith('disk') && !hasDisk) continue;
    if ((tally.byKind.get(kind) ?? 0) < times) due.push(kind);
  }
  return due;
}

/** Every member by itself: the same hash, and everything that was acknowledged. */
async function atTheEnd(cluster: Cluster, workload: Workload, revision: number): Promise<string[]> {
  const problems: string[] = [];
  const hashes = new Map<string, string[]>();
  for (const member of cluster.members) {
    await workload.caughtUp(member, revision);
    const admin = cluster.admin(member);
    const { hash, compact_revision } = await admin.hashKv(revision);
    const text = `${hash} (compacted ${compact_revision})`;
    hashes.set(text, [...(hashes.get(text) ?? []), member.name]);
    const kvs = await admin.content(revision);
    for (const problem of workload.ledger.problemsWith(kvs, revision)) problems.push(`${member.name}: ${problem}`);
  }
  if (hashes.size > 1) problems.push(`hashes differ: ${JSON.stringify([...hashes])}`);
  return problems;
}

/** A small disk in a folder of its own, or the reason why there is none. */
class DiskFolder {
  readonly #folder: string;
  readonly #forget: () => void;
  readonly disk: SmallDisk | undefined;
  readonly obstacle: string | undefined;

  private constructor(folder: string, made: SmallDisk | string, forget: () => void) {
    this.#folder = folder;
    this.#forget = forget;
    this.disk = typeof made === 'string' ? undefined : made;
    this.obstacle = typeof made === 'string' ? made : undefined;
  }

  static async make(): Promise<DiskFolder> {
    const folder = await mkdtemp(join(tmpdir(), 'roster-disk-'));
    // Before the disk's own: undone after it.
    const forget = atExit(() => rmSync(folder, { recursive: true, force: true }));
    return new DiskFolder(folder, await SmallDisk.make(folder, DISK_MEGABYTES), forget);
  }

  async remove(): Promise<void> {
    await this.disk?.remove();
    await rm(this.#folder, { recursive: true, force: true });
    this.#forget();
  }
}
