/** Metrics of the proxy: etcd's names for what its own proxy counts, and what is saved at the store. */
import { Registry } from 'prom-client';
import type { RpcCounts } from '../http/call-counts.ts';
import { plainMetrics } from '../http/plain-metrics.ts';
import { processMetrics } from '../http/process-metrics.ts';
import { rpcMetrics } from '../http/rpc-metrics.ts';
import type { LeaseCounts } from './lease.ts';
import type { ReadCache } from './read-cache.ts';
import type { WatchCounts } from './watch-hub.ts';

export interface ProxyMetricsSources {
  readonly cache: ReadCache;
  readonly watches: WatchCounts;
  readonly leases: LeaseCounts;
  readonly calls: RpcCounts;
  readonly clientBytes: () => { readonly received: number; readonly sent: number };
}

export function proxyMetrics({ cache, watches, leases, calls, clientBytes }: ProxyMetricsSources): Registry {
  const registry = new Registry();
  const { gauge, counter } = plainMetrics(registry);
  const prefix = 'etcd_grpc_proxy_';
  counter(`${prefix}cache_hits_total`, 'Serializable reads answered from the cache.', () => cache.hits);
  counter(`${prefix}cache_misses_total`, 'Serializable reads that the cache had no answer for.', () => cache.misses);
  gauge(`${prefix}cache_keys_total`, 'Answers in the cache.', () => cache.size);
  gauge(`${prefix}watchers_coalescing_total`, 'Watches of clients that need none of their own at the store.', () =>
    Math.max(0, watches.receivers - watches.broadcasts),
  );
  counter(
    `${prefix}events_coalescing_total`,
    'Events sent to clients without one from the store.',
    () => watches.eventsShared,
  );
  gauge('roster_grpc_proxy_cache_bytes', 'Bytes of the answers in the cache.', () => cache.bytes);
  gauge('roster_grpc_proxy_watchers', 'Watches of clients.', () => watches.receivers);
  gauge('roster_grpc_proxy_upstream_watchers', 'Watches at the store that serve them.', () => watches.broadcasts);
  counter('roster_grpc_proxy_lease_renewals_total', 'Renewals that clients have asked for.', () => leases.asked);
  counter(
    'roster_grpc_proxy_upstream_lease_renewals_total',
    'Renewals that were sent to the store.',
    () => leases.sent,
  );
  counter('etcd_network_client_grpc_received_bytes_total', 'Bytes from clients.', () => clientBytes().received);
  counter('etcd_network_client_grpc_sent_bytes_total', 'Bytes to clients.', () => clientBytes().sent);
  rpcMetrics(registry, calls, false);
  processMetrics(registry);
  return registry;
}
