/** Metrics of the traffic between members, under etcd's names. Copied into the registry when it is scraped. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { ReceivedCounters } from '../peer/incoming.ts';
import type { SentCounters } from '../peer/transport.ts';
import type { RpcContext } from '../rpc/context.ts';

/** What has gone to each member and come from it. */
export interface PeerTraffic {
  sent(): ReadonlyMap<bigint, Readonly<SentCounters>>;
  received(): ReadonlyMap<bigint, Readonly<ReceivedCounters>>;
}

export function peerMetrics(registry: Registry, context: RpcContext, traffic: PeerTraffic): void {
  const local = context.identity.memberId.toString(16);
  const registers = [registry];
  const ofPeers = (name: string, help: string, read: (sent: Readonly<SentCounters>) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ['Local', 'Remote'],
      registers,
      collect() {
        this.reset();
        for (const [id, sent] of traffic.sent()) this.set({ Local: local, Remote: id.toString(16) }, read(sent));
      },
    });
  const total = <T>(
    name: string,
    help: string,
    label: 'To' | 'From',
    all: () => ReadonlyMap<bigint, T>,
    read: (one: T) => number,
  ) =>
    new Counter({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset();
        for (const [id, one] of all()) this.inc({ [label]: id.toString(16) }, read(one));
      },
    });
  const sent = () => traffic.sent();
  const received = () => traffic.received();

  ofPeers('etcd_network_known_peers', 'Members of the cluster but this one: 1 each.', () => 1);
  ofPeers('etcd_network_active_peers', 'Whether messages reach the member: 1 or 0.', ({ connections }) =>
    Math.min(connections, 1),
  );
  new Counter({
    name: 'etcd_network_disconnected_peers_total',
    help: 'Connections to the member that were lost.',
    labelNames: ['Local', 'Remote'],
    registers,
    collect() {
      this.reset();
      for (const [id, { disconnects }] of sent()) this.inc({ Local: local, Remote: id.toString(16) }, disconnects);
    },
  });
  total('etcd_network_peer_sent_bytes_total', 'Bytes sent to the member.', 'To', sent, (one) => one.sentBytes);
  total(
    'etcd_network_peer_sent_failures_total',
    'Messages dropped on the way out.',
    'To',
    sent,
    (one) => one.sendFailures,
  );
  total(
    'etcd_network_peer_received_bytes_total',
    'Bytes from the member.',
    'From',
    received,
    (one) => one.receivedBytes,
  );
  total(
    'etcd_network_peer_received_failures_total',
    'Frames that were none.',
    'From',
    received,
    (one) => one.receiveFailures,
  );
  roundTrips(registry, sent);
}

/** etcd's buckets: 0.1 ms, doubled 15 times. One observation of each member a scrape. */
function roundTrips(registry: Registry, sent: PeerTraffic['sent']): void {
  new Histogram({
    name: 'etcd_network_peer_round_trip_time_seconds',
    help: 'Time between ping and pong of a member.',
    labelNames: ['To'],
    buckets: Array.from({ length: 16 }, (_, i) => 0.0001 * 2 ** i),
    registers: [registry],
    collect() {
      for (const [id, { roundTripMs, connections }] of sent()) {
        if (connections > 0 && roundTripMs > 0) this.observe({ To: id.toString(16) }, roundTripMs / 1000);
      }
    },
  });
}
