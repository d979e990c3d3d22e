/**
 * The source of services from a Docker engine. Owns the connection: subscribe, then list, then follow; all of it again
 * whenever the stream ends, for ever. Events are hints only: what counts is what an inspection finds. While the engine
 * cannot be reached, what was known stays.
 */
import { setMaxListeners } from 'node:events';
import { Backoff, sleep } from '../../client/wait.ts';
import type { Sink, Source } from '../desired.ts';
import { type Log, reasonOf } from '../log.ts';
import { FollowedContainer, STOP_SIGNAL_HOLDS_MS, signalNumber } from './container.ts';
import { type ContainerSummary, DockerEngine, type EngineAddress, EngineError, type EngineEvent } from './engine.ts';
import { type ContainerOptions, containerServices } from './services.ts';

const CONTAINER_EVENTS = ['start', 'restart', 'die', 'stop', 'kill', 'pause', 'unpause', 'rename', 'update', 'destroy'];
const EVENT_FILTERS = {
  type: ['container', 'network'],
  event: [...CONTAINER_EVENTS, 'health_status', 'connect', 'disconnect'],
};

export interface DockerSourceOptions extends ContainerOptions {
  engine: EngineAddress;
  /** The list is compared with what is known this often, so that a lost event is made good. */
  resyncMs: number;
  /** See {@link FollowedContainer}; 0 with `--deregister always`. */
  crashHoldsMs: number;
  /** See {@link STOP_SIGNAL_HOLDS_MS}, the default. */
  stopHoldsMs?: number;
  /** Limit of one call to the engine. */
  callTimeoutMs?: number;
}

/** What the cheap comparison compares: everything of the list that can change what is published. */
export function fingerprint(summary: ContainerSummary): string {
  const ports = (summary.Ports ?? [])
    .map((p) => `${p.IP ?? ''} ${p.PublicPort ?? ''} ${p.PrivatePort} ${p.Type}`)
    .sort();
  const networks = Object.entries(summary.NetworkSettings?.Networks ?? {})
    .map(([name, network]) => `${name} ${network.IPAddress ?? ''} ${network.GlobalIPv6Address ?? ''}`)
    .sort();
  const health = /\((?:healthy|unhealthy|health: starting|Paused)\)/.exec(summary.Status ?? '')?.[0] ?? '';
  return JSON.stringify([summary.Names ?? [], summary.State ?? '', health, ports, networks]);
}

/** When it happened, by the engine's clock. JSON numbers keep such times to about 200 ns, which is near enough. */
function eventTime({ timeNano }: EngineEvent): bigint {
  return typeof timeNano === 'number' && Number.isInteger(timeNano) ? BigInt(timeNano) : 0n;
}

export class DockerSource implements Source {
  readonly name = 'docker';
  readonly #options: DockerSourceOptions;
  readonly #log: Log;
  readonly #engine: DockerEngine;
  readonly #containers = new Map<string, FollowedContainer>();
  readonly #fingerprints = new Map<string, string>();
  readonly #stopping = new AbortController();
  #sink: Sink | undefined;
  #finished: Promise<void> | undefined;
  #ready = false;
  #trouble = '';

  constructor(options: DockerSourceOptions, log: Log) {
    this.#options = options;
    this.#log = log;
    // One listener for every inspection and wait under way.
    setMaxListeners(0, this.#stopping.signal);
    this.#engine = new DockerEngine(options.engine, options.callTimeoutMs);
  }

  start(sink: Sink): void {
    this.#sink = sink;
    this.#finished ??= this.#run();
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    for (const container of this.#containers.values()) container.close();
    await this.#finished;
    this.#engine.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const backoff = new Backoff();
    while (!signal.aborted) {
      const reason = await this.#session(backoff);
      if (signal.aborted) return;
      const waitMs = Math.round(backoff.next());
      const level = reason === this.#trouble ? 'debug' : 'warn';
      this.#trouble = reason;
      this.#log[level]({ reason, waitMs }, 'no connection to the Docker engine; keeping what is known');
      await sleep(waitMs, signal);
    }
  }

  /** One connection, from ping to the end of the event stream; resolves with the reason of the end. */
  async #session(backoff: Backoff): Promise<string> {
    const session = new AbortController();
    const signal = AbortSignal.any([session.signal, this.#stopping.signal]);
    try {
      // The engine answers an event request before it has subscribed us; `since` covers the moment between.
      const sinceSeconds = await this.#engine.ping(signal);
      const stream = await this.#engine.events(EVENT_FILTERS, sinceSeconds, (event) => this.#onEvent(event), signal);
      const ended = stream.ended.finally(() => session.abort());
      await this.#resync(signal, true);
      this.#log.info({ containers: this.#containers.size }, 'following the Docker engine');
      this.#trouble = '';
      backoff.reset();
      while (!signal.aborted) {
        await sleep(this.#options.resyncMs, signal);
        if (!signal.aborted) await this.#resync(signal, false);
      }
      return await ended;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      return reasonOf(error);
    } finally {
      session.abort();
    }
  }

  /** Compares the list with what is known; with `all`, looks at every container whether it seems changed or not. */
  async #resync(signal: AbortSignal, all: boolean): Promise<void> {
    const listed = new Map((await this.#engine.list(signal)).map((summary) => [summary.Id, fingerprint(summary)]));
    const looks: Promise<void>[] = [];
    for (const id of new Set([...listed.keys(), ...this.#containers.keys()])) {
      const print = listed.get(id);
      const changed = this.#fingerprints.get(id) !== print || (print !== undefined && !this.#containers.has(id));
      if (print === undefined) this.#fingerprints.delete(id);
      else this.#fingerprints.set(id, print);
      if (all || changed || this.#containers.get(id)?.unsettled) looks.push(this.#look(id));
    }
    if (!this.#ready) void this.#announceReady(looks);
  }

  /** Ready is when every container of one list has been looked at; the looks outlive a lost connection. */
  async #announceReady(looks: readonly Promise<void>[]): Promise<void> {
    await Promise.all(looks);
    if (this.#ready || this.#stopping.signal.aborted) return;
    this.#ready = true;
    this.#sink?.ready();
  }

  #onEvent(event: EngineEvent): void {
    const { Type: type, Action: action = '', Actor: actor } = event;
    const attributes = actor?.Attributes ?? {};
    const id = type === 'network' ? attributes.container : actor?.ID;
    if (id === undefined || id === '') return;
    if (type === 'container') {
      if (!CONTAINER_EVENTS.includes(action) && !action.startsWith('health_status')) return;
      if (action === 'kill') {
        this.#follow(id).signalled(signalNumber(attributes.signal ?? ''), eventTime(event));
      }
    } else if (type !== 'network') return;
    void this.#look(id);
    for (const container of this.#containers.values()) if (container.peerId === id) void container.refresh();
  }

  #follow(id: string): FollowedContainer {
    let container = this.#containers.get(id);
    if (container === undefined) {
      container = new FollowedContainer(id, {
        inspect: (which, signal) => this.#engine.inspect(which, signal),
        services: (found, peer) => containerServices(found, this.#options, peer),
        publish: (services) => this.#sink?.set(`docker:${id}`, services),
        log: this.#log,
        signal: this.#stopping.signal,
        crashHoldsMs: this.#options.crashHoldsMs,
        stopHoldsMs: this.#options.stopHoldsMs ?? STOP_SIGNAL_HOLDS_MS,
      });
      this.#containers.set(id, container);
    }
    return container;
  }

  async #look(id: string): Promise<void> {
    const container = this.#follow(id);
    await container.refresh();
    if (!container.gone) return;
    container.close();
    this.#containers.delete(id);
  }
}
