/**
 * Watch fan-out: keys with many watchers each. A key is written again when all its watchers have the write before; the
 * rate is that of events delivered, latency is from the call of the put to each watcher's event.
 */
import { defaults, encode } from '../../core/wire/binary.ts';
import { PutRequest, WatchCreateRequest, WatchRequest } from '../../core/wire/messages.ts';
import { callHeaders, GrpcConnection } from '../grpc-connection.ts';
import { MessageCutter } from '../grpc-sinks.ts';
import { work } from '../measurement.ts';
import { CONNECTIONS_MAX, PUT_PATH, VALUE_BYTES } from '../puts.ts';
import type { ClusterUnderTest } from '../servers.ts';
import { type Comparison, compare, type Prepared } from './compare.ts';
import { RoundTrips } from './round-trips.ts';
import { loadSeconds, type Scale, type Section, together, within } from './section.ts';
import { scanWatchResponse } from './watch-scan.ts';

/** On one stream, as a client has that multiplexes its watches. */
const WATCHERS_PER_STREAM = 10;
/** Keys that are written at the same time. */
const WRITERS_MAX = 100;
const CREATE_TIMEOUT_MS = 60_000;
const CREATE_SECONDS = 2;

const value = Buffer.alloc(VALUE_BYTES, 'v');

/** A key and the round of writing it. */
interface Group {
  readonly put: Uint8Array;
  sentMs: number;
  /** Events and the put's own reply. */
  awaited: number;
}

class FanOut implements Prepared {
  readonly #connections: readonly GrpcConnection[];
  readonly #putHeaders: Buffer;
  readonly #watchHeaders: Buffer;
  readonly #watchersEach: number;
  readonly #groups: readonly Group[];
  readonly #trips = new RoundTrips();
  #uncreated: number;
  #allCreated: () => void = () => {};

  static async open({ members }: ClusterUnderTest, keys: number, watchersEach: number): Promise<FanOut> {
    const { port } = members[0]!;
    const opening = Array.from({ length: CONNECTIONS_MAX }, () => GrpcConnection.open(port));
    const fanOut = new FanOut(await Promise.all(opening), `127.0.0.1:${port}`, keys, watchersEach);
    try {
      await within(CREATE_TIMEOUT_MS, `creating ${keys * watchersEach} watchers`, fanOut.#createWatchers());
    } catch (error) {
      fanOut.close();
      throw error;
    }
    return fanOut;
  }

  private constructor(connections: readonly GrpcConnection[], authority: string, keys: number, watchersEach: number) {
    this.#connections = connections;
    this.#putHeaders = callHeaders(PUT_PATH, authority);
    this.#watchHeaders = callHeaders('/etcdserverpb.Watch/Watch', authority);
    this.#watchersEach = watchersEach;
    this.#uncreated = keys * watchersEach;
    this.#groups = Array.from({ length: keys }, (_, i) => ({
      put: encode(PutRequest, { key: `watched-${i}`, value }),
      sentMs: 0,
      awaited: 0,
    }));
    for (const connection of connections) connection.onError = (error) => this.#trips.fail(error);
  }

  run(ms: number): ReturnType<Prepared['run']> {
    const writers = Math.min(WRITERS_MAX, this.#groups.length);
    return this.#trips.run(ms, () => {
      for (let writer = 0; writer < writers; writer++) this.#write(writer);
    });
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
  }

  /** Ids say which key a watcher is for: they begin at 1, and watchers of a key follow one another. */
  #createWatchers(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#allCreated = resolve;
      const fail = (status: number, text: string): void => {
        const error = new Error(`a watch stream ended with gRPC status ${status}: ${text}`);
        reject(error);
        this.#trips.fail(error);
      };
      const watchers = this.#uncreated;
      for (let first = 0; first < watchers; first += WATCHERS_PER_STREAM) {
        const connection = this.#connections[(first / WATCHERS_PER_STREAM) % this.#connections.length]!;
        const sink = new MessageCutter((bytes, start, end) => this.#received(bytes, start, end), fail);
        const stream = connection.open(this.#watchHeaders, this.#create(first), sink);
        const end = Math.min(first + WATCHERS_PER_STREAM, watchers);
        for (let watcher = first + 1; watcher < end; watcher++) connection.send(stream, this.#create(watcher));
      }
    });
  }

  #create(watcher: number): Uint8Array {
    const key = `watched-${Math.floor(watcher / this.#watchersEach)}`;
    return encode(WatchRequest, {
      create_request: { ...defaults(WatchCreateRequest), key, watch_id: BigInt(watcher + 1) },
    });
  }

  #received(bytes: Buffer, start: number, end: number): void {
    const response = scanWatchResponse(bytes, start, end);
    if (response.canceled) this.#trips.fail(new Error(`watcher ${response.watchId} has been cancelled`));
    if (response.created && --this.#uncreated === 0) this.#allCreated();
    const index = Math.floor((response.watchId - 1) / this.#watchersEach);
    for (let event = 0; event < response.events; event++) {
      const group = this.#groups[index];
      if (group === undefined) {
        this.#trips.fail(new Error(`an event for watcher ${response.watchId}`));
        return;
      }
      this.#trips.record(performance.now() - group.sentMs);
      this.#arrived(index, group);
    }
  }

  #write(index: number): void {
    if (!this.#trips.goesOn()) return;
    const group = this.#groups[index]!;
    group.awaited = this.#watchersEach + 1;
    group.sentMs = performance.now();
    const connection = this.#connections[index % this.#connections.length]!;
    connection.callCounted(this.#putHeaders, group.put, (status, _bytes, text) => {
      if (status === 0) this.#arrived(index, group);
      else this.#trips.fail(new Error(`Put answered gRPC status ${status}: ${text}`));
    });
  }

  /** Each writer goes round the keys that are its own. */
  #arrived(index: number, group: Group): void {
    group.awaited--;
    if (group.awaited < 0) this.#trips.fail(new Error('an event came twice'));
    if (group.awaited !== 0) return;
    const next = index + WRITERS_MAX;
    this.#trips.ended(() => this.#write(next < this.#groups.length ? next : index % WRITERS_MAX));
  }
}

function cases(scale: Scale): Comparison[] {
  const fanOut = (keys: number, watchersEach: number): Comparison => ({
    what: work('watch fan-out', { keys, watchers: watchersEach, valueBytes: VALUE_BYTES }),
    prepare: (cluster) => FanOut.open(cluster, keys, watchersEach),
  });
  return [...scale.watchers.map((watchers) => fanOut(1, watchers)), fanOut(1000, 10)];
}

export const watchSection: Section = {
  name: 'watch',
  estimateSeconds: (scale) => loadSeconds(scale, scale.watchers.length + 1) + 2 * CREATE_SECONDS,
  run: (run) =>
    together(run, 1, async (clusters) => {
      for (const each of cases(run.scale)) await compare(run, clusters, each);
    }),
};
