/** Metrics of the RPCs, under the names of grpc-go's and etcd's. */
import { Counter, type Registry } from 'prom-client';
import { GO_STATUS_NAMES } from '../rpc/go-status.ts';
import type { CallCounts, RpcCounts } from './call-counts.ts';
import { histogramMetric, merged } from './histogram-metric.ts';

/** With `extensive`, how long calls took, too. */
export function rpcMetrics(registry: Registry, counts: RpcCounts, extensive: boolean): void {
  const total = (name: string, help: string, read: (count: CallCounts) => number) =>
    new Counter({
      name,
      help,
      labelNames: ['grpc_type', 'grpc_service', 'grpc_method'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [path, count] of counts) this.inc(labelsOf(path, count), read(count));
      },
    });
  total('grpc_server_started_total', 'RPCs started on the server.', ({ started }) => started);
  total('grpc_server_msg_received_total', 'Messages received from clients.', ({ received }) => received);
  total('grpc_server_msg_sent_total', 'Messages sent to clients.', ({ sent }) => sent);
  new Counter({
    name: 'grpc_server_handled_total',
    help: 'RPCs completed on the server, by status.',
    labelNames: ['grpc_type', 'grpc_service', 'grpc_method', 'grpc_code'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [path, count] of counts) {
        count.handled.forEach((handled, status) => {
          this.inc({ ...labelsOf(path, count), grpc_code: GO_STATUS_NAMES[status] ?? 'Unknown' }, handled);
        });
      }
    },
  });
  histogramMetric(registry, 'etcd_server_request_duration_seconds', 'Time of unary requests.', () =>
    unary(counts).flatMap(([path, { succeeded, failed }]) => {
      const type = path.slice(path.lastIndexOf('/') + 1);
      return [
        { labels: { type, success: 'true' }, histogram: succeeded },
        { labels: { type, success: 'false' }, histogram: failed },
      ];
    }),
  );
  if (!extensive) return;
  histogramMetric(registry, 'grpc_server_handling_seconds', 'Time of unary RPCs.', () =>
    unary(counts).map(([path, count]) => ({
      labels: labelsOf(path, count),
      histogram: merged(count.succeeded, count.failed),
    })),
  );
}

/** Those that have been called: the others would only fill the page. */
function unary(counts: RpcCounts): [string, CallCounts][] {
  return [...counts].filter(([, { kind, started }]) => kind === 'unary' && started > 0);
}

const STREAM_TYPES: Readonly<Record<string, string>> = {
  Watch: 'bidi_stream',
  LeaseKeepAlive: 'bidi_stream',
};

function labelsOf(path: string, { kind }: CallCounts): Record<string, string> {
  const [, service = '', method = ''] = path.split('/');
  const type = kind === 'unary' ? 'unary' : (STREAM_TYPES[method] ?? 'server_stream');
  return { grpc_type: type, grpc_service: service, grpc_method: method };
}
