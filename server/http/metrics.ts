/**
 * Prometheus metrics under etcd's names, so that dashboards made for etcd work. Hot paths only count in plain numbers;
 * everything is copied into the registry when it is scraped.
 */
import { readdirSync } from 'node:fs';
import { Counter, Gauge, Registry } from 'prom-client';
import { RosterError } from '../../core/errors.ts';
import { AlarmType } from '../../core/wire/messages.ts';
import type { RpcContext } from '../rpc/context.ts';
import { GO_STATUS_NAMES } from '../rpc/go-status.ts';
import type { Method, StreamMethod, UnaryMethod } from '../rpc/service.ts';
import { ETCD_VERSION } from '../version.ts';
import { type PeerTraffic, peerMetrics } from './peer-metrics.ts';

export interface Metrics {
  readonly type: string;
  text(): Promise<string>;
}

/** What one RPC has done so far, by gRPC status. */
interface CallCounts {
  started: number;
  readonly handled: number[];
}

export type RpcCounts = ReadonlyMap<string, CallCounts>;

/** The same methods, counted. */
export function counted(methods: readonly Method[]): { methods: Method[]; counts: RpcCounts } {
  const counts = new Map<string, CallCounts>();
  const wrapped = methods.map((method) => {
    const count: CallCounts = { started: 0, handled: [] };
    counts.set(method.path, count);
    return method.kind === 'unary' ? countUnary(method, count) : countStream(method, count);
  });
  return { methods: wrapped, counts };
}

function add(count: CallCounts, status: number): void {
  count.handled[status] = (count.handled[status] ?? 0) + 1;
}

function countUnary(method: UnaryMethod, count: CallCounts): UnaryMethod {
  return {
    ...method,
    handle(call, request, done) {
      count.started++;
      method.handle(call, request, (result) => {
        add(count, result instanceof RosterError ? result.status : 0);
        done(result);
      });
    },
  };
}

function countStream(method: StreamMethod, count: CallCounts): StreamMethod {
  return {
    ...method,
    open(call, responder) {
      count.started++;
      const { end } = responder;
      responder.end = (error) => {
        add(count, error?.status ?? 0);
        end.call(responder, error);
      };
      call.onCancel(() => add(count, 1));
      return method.open(call, responder);
    },
  };
}

export interface MetricsSources {
  readonly calls: RpcCounts;
  readonly peers: PeerTraffic;
  readonly leaders: { readonly count: number };
}

export function createMetrics(context: RpcContext, { calls, peers, leaders }: MetricsSources): Metrics {
  const registry = new Registry();
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
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
  counter('etcd_server_proposals_applied_total', 'Index of the last applied entry.', () => node.status().appliedIndex);
  gauge('etcd_mvcc_db_total_size_in_bytes', 'Bytes the backend occupies.', () => machine.backend.size().total);
  gauge('etcd_mvcc_db_total_size_in_use_in_bytes', 'Bytes of the backend in use.', () => machine.backend.size().inUse);
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
  gauge('etcd_debugging_mvcc_compact_revision', 'Last compacted revision.', () => machine.store.compactRevision);
  identity(registry, context);
  peerMetrics(registry, context, peers);
  rpcs(registry, calls);
  processMetrics(registry);
  return { type: registry.contentType, text: () => registry.metrics() };
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

function rpcs(registry: Registry, counts: RpcCounts): void {
  const split = (path: string) => {
    const [, service = '', method = ''] = path.split('/');
    return { grpc_service: service, grpc_method: method };
  };
  new Counter({
    name: 'grpc_server_started_total',
    help: 'RPCs started on the server.',
    labelNames: ['grpc_service', 'grpc_method'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [path, count] of counts) this.inc(split(path), count.started);
    },
  });
  new Counter({
    name: 'grpc_server_handled_total',
    help: 'RPCs completed on the server, by status.',
    labelNames: ['grpc_service', 'grpc_method', 'grpc_code'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [path, count] of counts) {
        count.handled.forEach((handled, status) => {
          this.inc({ ...split(path), grpc_code: GO_STATUS_NAMES[status] ?? 'Unknown' }, handled);
        });
      }
    },
  });
}

function processMetrics(registry: Registry): void {
  const startSeconds = Date.now() / 1000 - process.uptime();
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory.',
    registers: [registry],
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Gauge({
    name: 'process_start_time_seconds',
    help: 'Start of the process, Unix time.',
    registers: [registry],
  }).set(startSeconds);
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time.',
    registers: [registry],
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  new Gauge({
    name: 'process_open_fds',
    help: 'Open file descriptors.',
    registers: [registry],
    collect() {
      this.set(openDescriptors());
    },
  });
}

/** Linux tells; elsewhere 0. */
function openDescriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}
