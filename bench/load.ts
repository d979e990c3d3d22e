/**
 * Closed-loop load: each logical client has one call under way, and sends the next when the answer is there. With
 * several members each client goes round them, call by call, as etcd's own Go client does.
 */
import { callHeaders, GrpcConnection } from './grpc-connection.ts';
import { Histogram } from './histogram.ts';

export interface LoadOptions {
  /** Of the members that are called, each equally often. */
  ports: readonly number[];
  /** Logical clients. */
  clients: number;
  /** Connections they share, in all; at least one to each member. */
  connections: number;
  path: string;
  /** The next request's bytes. */
  request: () => Uint8Array;
}

export interface LoadResult {
  perSecond: number;
  latencyMs: Histogram;
}

interface Lane {
  readonly connection: GrpcConnection;
  readonly headers: Buffer;
}

/** Runs the load for so long; a call that fails ends the run with an error. */
export async function runLoad(options: LoadOptions & { seconds: number }): Promise<LoadResult> {
  const load = await Load.open(options);
  try {
    return await load.run(options.seconds * 1000);
  } finally {
    load.close();
  }
}

/** Connections that are kept over several runs. */
export class Load {
  readonly #options: LoadOptions;
  /** By member. */
  readonly #lanes: readonly (readonly Lane[])[];

  private constructor(options: LoadOptions, lanes: readonly (readonly Lane[])[]) {
    this.#options = options;
    this.#lanes = lanes;
  }

  static async open(options: LoadOptions): Promise<Load> {
    const { ports, path } = options;
    const each = Math.ceil(Math.min(options.connections, options.clients) / ports.length);
    const lanes: Lane[][] = [];
    for (const port of ports) {
      const headers = callHeaders(path, `127.0.0.1:${port}`);
      const opening = Array.from({ length: each }, () => GrpcConnection.open(port));
      lanes.push((await Promise.all(opening)).map((connection) => ({ connection, headers })));
    }
    return new Load(options, lanes);
  }

  /** `end`: milliseconds, or what is asked before each call whether to go on. Calls under way are waited for. */
  run(end: number | ((calls: number) => boolean)): Promise<LoadResult> {
    const { clients, path, request } = this.#options;
    const latencyMs = new Histogram();
    return new Promise((resolve, reject) => {
      const startMs = performance.now();
      const goesOn = typeof end === 'number' ? () => performance.now() < startMs + end : end;
      let running = clients;
      let calls = 0;
      const next = (client: number, call: number): void => {
        if (!goesOn(calls)) {
          if (--running > 0) return;
          resolve({ perSecond: latencyMs.count / ((performance.now() - startMs) / 1000), latencyMs });
          return;
        }
        calls++;
        const lanes = this.#lanes[(client + call) % this.#lanes.length]!;
        const { connection, headers } = lanes[client % lanes.length]!;
        const sentMs = performance.now();
        connection.call(headers, request(), (status) => {
          if (status !== 0) return reject(new Error(`${path} answered gRPC status ${status}`));
          latencyMs.record(performance.now() - sentMs);
          next(client, call + 1);
        });
      };
      for (const { connection } of this.#lanes.flat()) connection.onError = reject;
      for (let client = 0; client < clients; client++) next(client, 0);
    });
  }

  close(): void {
    for (const { connection } of this.#lanes.flat()) connection.close();
  }
}
