import { afterAll, expect, it } from 'vitest';
import { findPeer } from '../../support/peers.ts';
import { type ChaosOptions, type ChaosReport, runChaos } from './chaos.ts';
import type { ClusterKind } from './processes.ts';

/**
 * Clusters of real processes under load while they are killed, paused, partitioned, terminated, replaced, and run out of
 * disk. Nothing acknowledged may be lost, every answer must fit an order, every watcher must be told everything once.
 *
 * A long run: `CHAOS_KILLS=300 CHAOS_PAUSES=100 CHAOS_PARTITIONS=100 npx vitest run test/e2e/cluster/chaos.test.ts`;
 * `CHAOS_KIND=etcd` does it to etcd, `CHAOS_SEED=n` in another order, `CLUSTER_LOGS=folder` keeps the members' logs.
 */
const number = (name: string, otherwise: number): number => Number(process.env[`CHAOS_${name}`] ?? otherwise);
const long = ['KILLS', 'PAUSES', 'PARTITIONS'].some((name) => process.env[`CHAOS_${name}`] !== undefined);
const kind = (process.env.CHAOS_KIND ?? 'roster') as ClusterKind;
const seed = number('SEED', 20_261_122);
const sizes = (process.env.CHAOS_SIZES ?? '3,5').split(',').map(Number);

/** A busy machine takes many times what an idle one does. */
const secondsMax = long ? 4 * 3600 : 300;
/** Recovery from the last fault, settling and judging have limits of their own. */
const SETTLE_SECONDS = 240;

const lines: string[] = [];
afterAll(() => console.log(lines.join('\n')));

function optionsFor(size: number): ChaosOptions {
  const share = 1 / sizes.length;
  const part = (name: string, shortRun: number): number => (long ? Math.ceil(number(name, 0) * share) : shortRun);
  const some = long ? Math.ceil(number('OTHERS', 10) * share) : 1;
  return {
    kind,
    size,
    seed: seed + size,
    secondsMax,
    kills: part('KILLS', 4),
    pauses: part('PAUSES', 1),
    partitions: part('PARTITIONS', 2),
    others: {
      terminate: some,
      'replace member': some,
      ...(long || size === 3 ? { 'full disk': some, 'slow disk': some, 'slow links': some } : {}),
    },
    ...(long ? { onRound: (line: string) => process.stderr.write(`${size} members, ${line}\n`) } : {}),
  };
}

function tell(report: ChaosReport, size: number): void {
  const { tally } = report;
  const kinds = [...tally.byKind].map(([name, times]) => `${name} ${times}`).join(', ');
  const recovery = [...report.recoveryMs].sort((a, b) => a - b);
  const at = (p: number) => (recovery[Math.min(recovery.length - 1, Math.floor(recovery.length * p))] ?? 0).toFixed(0);
  lines.push(
    `${size} members of ${kind}, ${report.seconds.toFixed(0)} s: ${tally.kills} kills, ${tally.pauses} pauses, ${tally.partitions} partitions (${kinds}); the one with a disk of its own gave up ${tally.gaveUp} times`,
    `  ${report.acknowledged} writes acknowledged, ${report.problems.length} problems; ${report.operations} operations, an order searched for on ${report.keysSearched} keys (${report.undecided} given up)`,
    `  ${report.revisions} revisions told to each watcher over ${report.watchStreams} streams in all; ${report.compactions} compactions`,
    `  writes through every member again after p50 ${at(0.5)} ms, longest ${at(1)} ms`,
  );
  if (report.noDisk !== undefined) lines.push(`  no full and no slow disk: ${report.noDisk}`);
}

for (const size of sizes) {
  const installed = kind === 'roster' || findPeer('etcd') !== undefined;
  it.skipIf(!installed)(
    `keeps its promises with ${size} members`,
    { timeout: (secondsMax + SETTLE_SECONDS) * 1000 },
    async () => {
      const report = await runChaos(optionsFor(size));
      tell(report, size);
      expect(report.problems.slice(0, 20)).toEqual([]);
      expect(report.undecided).toBe(0);
      expect(report.acknowledged).toBeGreaterThan(100);
      expect(report.keysSearched).toBeGreaterThan(3);
    },
  );
}
