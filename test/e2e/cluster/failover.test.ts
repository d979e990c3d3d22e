import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPeer } from '../../support/peers.ts';
import { Cluster } from './cluster.ts';
import { killLeader, terminateLeader } from './failover.ts';
import type { ClusterKind } from './processes.ts';

/**
 * The leader goes, and another one serves. Times are printed; only bounds that hold on the busiest machine are asserted.
 * For figures: `FAILOVER_KILLS=50 FAILOVER_TERMS=20 npx vitest run test/e2e/cluster/failover.test.ts`, with
 * `FAILOVER_KIND=etcd` for etcd's.
 */
const kills = Number(process.env.FAILOVER_KILLS ?? 3);
const terms = Number(process.env.FAILOVER_TERMS ?? 3);
const kind = (process.env.FAILOVER_KIND ?? 'roster') as ClusterKind;
const installed = kind === 'roster' || findPeer('etcd') !== undefined;

const BOUND_MS = 30_000;

describe.skipIf(!installed)('failover', () => {
  let cluster: Cluster;
  const lines: string[] = [];
  beforeAll(async () => {
    cluster = await Cluster.start({ kind, size: 3 });
  });
  afterAll(async () => {
    await cluster?.stop();
    console.log(lines.join('\n'));
  });

  const tell = (what: string, times: readonly number[]): void => {
    const sorted = [...times].sort((a, b) => a - b);
    const at = (p: number) => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * p) - 1)]!.toFixed(0);
    lines.push(`${kind}, ${what}: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms of ${times.length}`);
  };

  it(`serves writes again after the leader was killed, ${kills} times`, {
    timeout: 60_000 + kills * BOUND_MS,
  }, async () => {
    const times: number[] = [];
    for (let i = 0; i < kills; i++) times.push(await killLeader(cluster));
    tell('next acknowledged write after SIGKILL of the leader', times);
    expect(Math.max(...times)).toBeLessThan(BOUND_MS);
  });

  it(`hands over when the leader is told to stop, ${terms} times`, { timeout: 60_000 + terms * BOUND_MS }, async () => {
    const gaps: number[] = [];
    const silences: number[] = [];
    let failed = 0;
    for (let i = 0; i < terms; i++) {
      const handover = await terminateLeader(cluster);
      gaps.push(handover.longestGapMs);
      silences.push(handover.silenceMs);
      failed += handover.failed;
      expect(handover.acknowledged).toBeGreaterThan(10);
    }
    tell(`longest gap of a writer around SIGTERM of the leader (${failed} writes failed)`, gaps);
    tell('longest silence of all writers together', silences);
    expect(Math.max(...gaps)).toBeLessThan(BOUND_MS);
  });
});
