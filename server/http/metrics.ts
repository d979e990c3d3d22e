/**
 * Prometheus metrics under etcd's names, so that dashboards made for etcd work. Hot paths only count in plain numbers;
 * everything is copied into the registry when it is scraped.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import { GrpcStatus } from '../../core/errors.ts';
import { AlarmType } from '../../core/wire/messages.ts';
import { FEATURE_GATES } from '../config/feature-gates.ts';
import type { DurationHistogram } from '../duration-histogram.ts';
import type { Measurements } from '../measurements.ts';
import type { RpcContext } from '../rpc/context.ts';
import { ETCD_VERSION } from '../version.ts';
import type { RpcCounts } from './call-counts.ts';
import type { ClientRequests } from './client-requests.ts';
import type { HealthCounts } from './health-counts.ts';
import { histogramMetric } from './histogram-metric.ts';
import { type PeerTraffic, peerMetrics } from './peer-metrics.ts';
import { plainMetrics } from './plain-metrics.ts';
import { processMetrics } from './process-metrics.ts';
import { rpcMetrics } from './rpc-metrics.ts';
import { snapshotMetrics } from './snapshot-metrics.ts';
import { v2Metrics } from './v2-metrics.ts';

export interface Metrics {
  readonly type: string;
  text(): Promise<string>;
}

export interface MetricsSources {
  readonly clients: ClientRequests;
  readonly calls: RpcCounts;
  readonly peers: PeerTraffic;
  readonly leaders: { readonly count: number };
  readonly health: HealthCounts;
  readonly measurements: Measurements;
  /** On the connections of clients. */
  readonly clientBytes: () => { readonly received: number; readonly sent: number };
  /** See --metrics. */
  readonly extensive: boolean;
  /** See --feature-gates. */
  readonly gates: ReadonlyMap<string, boolean>;
}

export function createMetrics(context: RpcContext, sources: MetricsSources): Metrics {
  const { calls, clients, peers, leaders, health, measurements } = sources;
  const registry = new Registry();
  clients.register(registry);
  const { gauge, counter } = plainMetrics(registry);
  const { node, machine } = context;

  gauge('etcd_server_has_leader', 'Whether a leader exists: 1 or 0.', () => (node.status().leader === 0n ? 0 : 1));
  gauge('etcd_server_is_leader', 'Whether this member leads: 1 or 0.', () => (node.status().isLeader ? 1 : 0));
  gauge('etcd_server_is_learner', 'Whether this member is a learner: 1 or 0.', () => (context.isLearner() ? 1 : 0));
  counter('etcd_server_leader_changes_seen_total', 'Changes of the leader.', () => leaders.count);
  counter(
    'etcd_server_proposals_committed_total',
    'Index of the last committed entry.',
    () => node.status().commitIndex,
  );
  gauge('etcd_server_proposals_pending', 'Requests without a result.', () => node.pendingProposals);
  counter('etcd_server_proposals_applied_total', 'Index of the last applied entry.', () => node.status().appliedIndex);
  gauge('etcd_mvcc_db_total_size_in_bytes', 'Bytes the backend occupies.', () => machine.backend.size().total);
  gauge(
    'etcd_debugging_mvcc_db_total_size_in_bytes',
    'The same, by its older name.',
    () => machine.backend.size().total,
  );
  gauge('etcd_mvcc_db_total_size_in_use_in_bytes', 'Bytes of the backend in use.', () => machine.backend.size().inUse);
  counter('etcd_server_proposals_failed_total', 'Writes whose outcome the client was not told.', () =>
    failedWrites(calls),
  );
  counter(
    'etcd_server_slow_apply_total',
    'Batches of entries that took too long.',
    () => measurements.stages.slowApplies,
  );
  counter('etcd_network_client_grpc_received_bytes_total', 'Bytes from clients.', () => sources.clientBytes().received);
  counter('etcd_network_client_grpc_sent_bytes_total', 'Bytes to clients.', () => sources.clientBytes().sent);
  counter(
    'etcd_server_read_indexes_failed_total',
    'Linearizable reads that could not be confirmed.',
    () => node.failedReads,
  );
  counter(
    'etcd_server_slow_read_indexes_total',
    'Rounds of linearizable reads that had to be begun again.',
    () => node.slowReads,
  );
  counter(
    'etcd_server_heartbeat_send_failures_total',
    'Heartbeats of this leader that left late.',
    () => measurements.lateHeartbeats,
  );
  counter('etcd_mvcc_put_total', 'Puts applied.', () => machine.store.changes.puts);
  counter('etcd_mvcc_delete_total', 'Deletes applied.', () => machine.store.changes.deletes);
  counter('etcd_mvcc_txn_total', 'Transactions of several changes applied.', () => machine.store.changes.txns);
  counter('etcd_mvcc_range_total', 'Ranges.', () => startedOf(calls, 'Range') + startedOf(calls, 'RangeStream'));
  counter('etcd_debugging_mvcc_events_total', 'Events made.', () => {
    const { puts, deletes } = machine.store.changes;
    return puts + deletes;
  });
  counter('etcd_debugging_lease_granted_total', 'Leases granted.', () => machine.leaseCounts.granted);
  counter('etcd_debugging_lease_revoked_total', 'Leases ended.', () => machine.leaseCounts.revoked);
  counter('etcd_debugging_lease_renewed_total', 'Leases kept alive here.', () => machine.leaseCounts.renewed);
  counter(
    'etcd_debugging_server_lease_expired_total',
    'Leases this leader has begun to end.',
    () => node.expiredLeases,
  );
  counter('etcd_server_health_success', 'Times /health was well.', () => health.successes);
  counter('etcd_server_health_failures', 'Times /health was not.', () => health.failures);
  gauge('etcd_debugging_auth_revision', 'Changes of users and roles so far.', () => machine.auth.revision);
  gauge('etcd_server_quota_backend_bytes', 'Space quota.', () => context.quota?.bytesMax ?? 0);
  gauge('roster_store_live_bytes', 'Bytes of the newest pairs of living keys.', () => machine.store.bytes.live);
  gauge('roster_store_history_bytes', 'Bytes of what compaction may free.', () => machine.store.bytes.history);
  gauge('roster_store_used_bytes', 'Bytes that count against the quota.', () => machine.usedBytes);
  alarms(registry, context);
  gauge('etcd_debugging_mvcc_keys_total', 'Live keys.', () => machine.store.keyCount);
  gauge('etcd_debugging_mvcc_watch_stream_total', 'Watch streams.', () => machine.hub.counts.streams);
  gauge('etcd_debugging_mvcc_watcher_total', 'Watchers.', () => machine.hub.counts.watchers);
  gauge('etcd_debugging_mvcc_slow_watcher_total', 'Watchers that catch up.', () => machine.hub.counts.unsynced);
  gauge('etcd_debugging_mvcc_current_revision', 'Current revision of the store.', () => machine.store.revision);
  counter(
    'etcd_debugging_mvcc_db_compaction_keys_total',
    'Revisions that compactions have removed.',
    () => machine.store.compactedRows,
  );
  gauge(
    'etcd_debugging_mvcc_db_compaction_last',
    'When the last compaction was done, in seconds since 1970.',
    () => measurements.compactedAtMs / 1000,
  );
  gauge('etcd_debugging_mvcc_compact_revision', 'Last compacted revision.', () => machine.store.compactRevision);
  identity(registry, context);
  peerMetrics(registry, context, peers);
  snapshotMetrics(registry, node);
  v2Metrics(registry, machine.v2Counts);
  rpcMetrics(registry, calls, sources.extensive);
  histogramMetric(
    registry,
    'etcd_server_range_duration_seconds',
    'Time of ranges, from the request to the answer.',
    () => {
      const ranges = calls.get('/etcdserverpb.KV/Range');
      if (ranges === undefined) return [];
      return [
        { labels: { success: 'true' }, histogram: ranges.succeeded },
        { labels: { success: 'false' }, histogram: ranges.failed },
      ];
    },
  );
  measured(registry, measurements);
  checks(registry, health);
  features(registry, sources.gates);
  processMetrics(registry);
  return { type: registry.contentType, text: () => registry.metrics() };
}

const WRITES = ['KV/Put', 'KV/DeleteRange', 'KV/Txn', 'KV/Compact', 'Lease/LeaseGrant', 'Lease/LeaseRevoke'];
/** Timed out or without a leader; whether it happened is open. */
const FAILED = [GrpcStatus.CANCELLED, GrpcStatus.DEADLINE_EXCEEDED, GrpcStatus.UNAVAILABLE];

function failedWrites(calls: RpcCounts): number {
  let failed = 0;
  for (const write of WRITES) {
    const handled = calls.get(`/etcdserverpb.${write}`)?.handled;
    for (const status of FAILED) failed += handled?.[status] ?? 0;
  }
  return failed;
}

function startedOf(calls: RpcCounts, method: string): number {
  return calls.get(`/etcdserverpb.KV/${method}`)?.started ?? 0;
}

function measured(registry: Registry, measurements: Measurements): void {
  const { walWrite, backendCommit, compaction, loopLag, stages } = measurements;
  const one = (name: string, help: string, histogram: DurationHistogram) =>
    histogramMetric(registry, name, help, () => [{ labels: {}, histogram }]);
  one('etcd_disk_wal_fsync_duration_seconds', 'Time of a durable write of the log.', walWrite);
  one('etcd_disk_wal_write_duration_seconds', 'The same: write and sync are one call.', walWrite);
  histogramMetric(
    registry,
    'etcd_debugging_mvcc_db_compaction_total_duration_milliseconds',
    'Time of a compaction, until the last revision is removed.',
    () => [{ labels: {}, histogram: compaction }],
    1,
  );
  one('etcd_disk_backend_commit_duration_seconds', 'Time of a commit of the database.', backendCommit);
  one('etcd_server_apply_duration_seconds', 'Time in which a batch of entries is applied.', stages.apply);
  one('roster_event_loop_lag_seconds', 'How late the event loop was, looked at ten times a second.', loopLag);
  histogramMetric(registry, 'roster_stage_duration_seconds', 'Stages of writes, a batch at a time.', () => [
    { labels: { stage: 'turn' }, histogram: stages.turn },
    { labels: { stage: 'log' }, histogram: stages.log },
    { labels: { stage: 'commit' }, histogram: stages.commit },
    { labels: { stage: 'apply' }, histogram: stages.apply },
    { labels: { stage: 'answer' }, histogram: stages.answer },
  ]);
  new Gauge({
    name: 'etcd_disk_wal_write_bytes_total',
    help: 'Bytes written to the log.',
    registers: [registry],
    collect() {
      this.set(measurements.walWriteBytes);
    },
  });
  new Counter({
    name: 'roster_event_loop_busy_seconds_total',
    help: 'Time in which the event loop was not idle.',
    registers: [registry],
    collect() {
      this.reset();
      this.inc(performance.eventLoopUtilization().active / 1000);
    },
  });
}

function checks(registry: Registry, health: HealthCounts): void {
  new Gauge({
    name: 'etcd_server_healthcheck',
    help: 'The last result of a check of /livez or /readyz: 1 or 0.',
    labelNames: ['type', 'name'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { type, name, well } of health.checks) this.set({ type, name }, well ? 1 : 0);
    },
  });
  new Counter({
    name: 'etcd_server_healthchecks_total',
    help: 'Results of the checks of /livez and /readyz.',
    labelNames: ['type', 'name', 'status'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { type, name, success, error } of health.checks) {
        this.inc({ type, name, status: 'success' }, success);
        this.inc({ type, name, status: 'error' }, error);
      }
    },
  });
}

function features(registry: Registry, gates: ReadonlyMap<string, boolean>): void {
  const gauge = new Gauge({
    name: 'etcd_server_feature_enabled',
    help: 'Feature gates: 1 or 0.',
    labelNames: ['name', 'stage'],
    registers: [registry],
  });
  for (const [name, { stage, initial }] of Object.entries(FEATURE_GATES)) {
    gauge.set({ name, stage }, (gates.get(name) ?? initial) ? 1 : 0);
  }
}

function identity(registry: Registry, context: RpcContext): void {
  const one = (name: string, help: string, label: string, value: string) =>
    new Gauge({ name, help, labelNames: [label], registers: [registry] }).set({ [label]: value }, 1);
  one('etcd_server_version', 'Version of the API this server speaks.', 'server_version', ETCD_VERSION);
  new Gauge({
    name: 'etcd_cluster_version',
    help: 'Version the cluster has agreed on.',
    labelNames: ['cluster_version'],
    registers: [registry],
    collect() {
      this.reset();
      const { clusterVersion } = context.machine.membership;
      if (clusterVersion !== '') this.set({ cluster_version: clusterVersion.replace(/\.\d+$/, '') }, 1);
    },
  });
  one('etcd_server_go_version', 'What the server runs on.', 'server_go_version', `node ${process.version}`);
  one('etcd_server_id', 'ID of this member.', 'server_id', context.identity.memberId.toString(16));
}

function alarms(registry: Registry, context: RpcContext): void {
  new Gauge({
    name: 'etcd_debugging_server_alarms',
    help: 'Alarms that are raised: 1 for the member and the kind.',
    labelNames: ['server_id', 'alarm_type'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { memberID, alarm } of context.machine.alarms.list()) {
        this.set({ server_id: memberID.toString(16), alarm_type: ALARM_NAMES.get(alarm) ?? String(alarm) }, 1);
      }
    },
  });
}

const ALARM_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(AlarmType.values).map(([name, number]) => [number, name]),
);
