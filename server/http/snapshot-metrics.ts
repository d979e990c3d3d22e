/** Snapshots between members, under etcd's names. */
import type { Registry } from 'prom-client';
import type { Node } from '../../core/node/node.ts';
import { plainMetrics } from './plain-metrics.ts';

export function snapshotMetrics(registry: Registry, node: Pick<Node, 'snapshotCounts'>): void {
  const { gauge, counter } = plainMetrics(registry);
  for (const [way, done] of [
    ['send', 'sent'],
    ['receive', 'received'],
  ] as const) {
    const counts = () => node.snapshotCounts[done];
    counter(`etcd_network_snapshot_${way}_success`, `Snapshots ${done} whole.`, () => counts().succeeded);
    counter(`etcd_network_snapshot_${way}_failures`, `Snapshots not ${done} whole.`, () => counts().failed);
    gauge(`etcd_network_snapshot_${way}_inflights_total`, `Snapshots being ${done}.`, () => counts().underWay);
  }
  gauge(
    'etcd_server_snapshot_apply_in_progress_total',
    'Whether a snapshot is being put in force: 1 or 0.',
    () => node.snapshotCounts.installing,
  );
}
