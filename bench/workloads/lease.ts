/** Leases: granted, and kept alive over a stream for each client. */
import { decode, encode } from '../../core/wire/binary.ts';
import {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
} from '../../core/wire/messages.ts';
import { callHeaders, GrpcConnection } from '../grpc-connection.ts';
import { MessageCutter } from '../grpc-sinks.ts';
import { work } from '../measurement.ts';
import { CONNECTIONS_MAX } from '../puts.ts';
import type { ClusterUnderTest } from '../servers.ts';
import { type Comparison, compare, type Prepared } from './compare.ts';
import { unary } from './put.ts';
import { RoundTrips } from './round-trips.ts';
import { loadSeconds, type Section, together } from './section.ts';

/** Nobody's lease ends meanwhile. */
const TTL_SECONDS = 3600n;
const GRANT_PATH = '/etcdserverpb.Lease/LeaseGrant';
const KEEP_ALIVE_CLIENTS = [100, 1000];

const grantRequest = encode(LeaseGrantRequest, { TTL: TTL_SECONDS, ID: 0n });

const grants: Comparison = {
  what: work('lease grant', { clients: 100 }),
  prepare: (cluster) => unary(cluster, 100, [{ path: GRANT_PATH, request: () => grantRequest }]),
};

/** Each client sends again when it has been answered. */
async function prepareKeepAlives(cluster: ClusterUnderTest, clients: number): Promise<Prepared> {
  const { port } = cluster.members[0]!;
  const authority = `127.0.0.1:${port}`;
  const opening = Array.from({ length: Math.min(clients, CONNECTIONS_MAX) }, () => GrpcConnection.open(port));
  const connections = await Promise.all(opening);
  const trips = new RoundTrips();
  for (const connection of connections) connection.onError = (error) => trips.fail(error);
  const headers = callHeaders('/etcdserverpb.Lease/LeaseKeepAlive', authority);
  const keepers: KeepAliver[] = [];
  for (let client = 0; client < clients; client++) {
    const connection = connections[client % connections.length]!;
    keepers.push(new KeepAliver(connection, headers, await grant(connection, authority), trips));
  }
  return {
    run: (ms) =>
      trips.run(ms, () => {
        for (const keeper of keepers) keeper.next();
      }),
    close: () => {
      for (const connection of connections) connection.close();
    },
  };
}

function grant(connection: GrpcConnection, authority: string): Promise<bigint> {
  return new Promise((resolve, reject) => {
    connection.call(callHeaders(GRANT_PATH, authority), grantRequest, (status, reply, text) => {
      if (status !== 0 || reply === undefined) reject(new Error(`LeaseGrant answered gRPC status ${status}: ${text}`));
      else resolve(decode(LeaseGrantResponse, reply).ID);
    });
  });
}

class KeepAliver {
  readonly #connection: GrpcConnection;
  readonly #headers: Buffer;
  readonly #request: Uint8Array;
  readonly #trips: RoundTrips;
  #stream: number | undefined;
  #sentMs = 0;

  constructor(connection: GrpcConnection, headers: Buffer, lease: bigint, trips: RoundTrips) {
    this.#connection = connection;
    this.#headers = headers;
    this.#request = encode(LeaseKeepAliveRequest, { ID: lease });
    this.#trips = trips;
  }

  next(): void {
    if (!this.#trips.goesOn()) return;
    this.#sentMs = performance.now();
    if (this.#stream !== undefined) {
      this.#connection.send(this.#stream, this.#request);
      return;
    }
    const sink = new MessageCutter(
      (bytes, start, end) => this.#answered(bytes, start, end),
      (status, text) => this.#trips.fail(new Error(`LeaseKeepAlive ended with gRPC status ${status}: ${text}`)),
    );
    this.#stream = this.#connection.open(this.#headers, this.#request, sink);
  }

  #answered(bytes: Buffer, start: number, end: number): void {
    if (decode(LeaseKeepAliveResponse, bytes, start, end).TTL <= 0) this.#trips.fail(new Error('a lease has ended'));
    this.#trips.record(performance.now() - this.#sentMs);
    this.#trips.ended(() => this.next());
  }
}

export const leaseSection: Section = {
  name: 'lease',
  estimateSeconds: (scale) => loadSeconds(scale, 1 + KEEP_ALIVE_CLIENTS.length) + 4,
  run: (run) =>
    together(run, 1, async (clusters) => {
      for (const clients of KEEP_ALIVE_CLIENTS) {
        const prepare = (cluster: ClusterUnderTest): Promise<Prepared> => prepareKeepAlives(cluster, clients);
        await compare(run, clusters, { what: work('lease keep-alive', { clients }), prepare });
      }
      await compare(run, clusters, grants);
    }),
};
