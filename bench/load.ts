/** Closed-loop load: each logical client has one call under way, and sends the next when the answer is there. */
import { callHeaders, GrpcConnection } from './grpc-connection.ts';
import { Histogram } from './histogram.ts';

export interface LoadOptions {
  port: number;
  /** Logical clients. */
  clients: number;
  /** Connections they share. */
  connections: number;
  seconds: number;
  path: string;
  /** The next request's bytes. */
  request: () => Uint8Array;
}

export interface LoadResult {
  perSecond: number;
  latencyMs: Histogram;
}

/** Runs the load; a call that fails ends the run with an error. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const count = Math.min(options.connections, options.clients);
  const connections = await Promise.all(Array.from({ length: count }, () => GrpcConnection.open(options.port)));
  try {
    return await drive(connections, options);
  } finally {
    for (const connection of connections) connection.close();
  }
}

function drive(connections: readonly GrpcConnection[], options: LoadOptions): Promise<LoadResult> {
  const headers = callHeaders(options.path, `127.0.0.1:${options.port}`);
  const latencyMs = new Histogram();
  return new Promise((resolve, reject) => {
    const startMs = performance.now();
    const endMs = startMs + options.seconds * 1000;
    let running = options.clients;
    const next = (connection: GrpcConnection) => {
      const sentMs = performance.now();
      if (sentMs >= endMs) {
        if (--running === 0)
          resolve({ perSecond: latencyMs.count / ((performance.now() - startMs) / 1000), latencyMs });
        return;
      }
      connection.call(headers, options.request(), (status) => {
        if (status !== 0) return reject(new Error(`${options.path} answered gRPC status ${status}`));
        latencyMs.record(performance.now() - sentMs);
        next(connection);
      });
    };
    for (const connection of connections) connection.onError = reject;
    for (let i = 0; i < options.clients; i++) next(connections[i % connections.length]!);
  });
}
