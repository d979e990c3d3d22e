/**
 * A registration agent: its sources, the state they want, and the reconciler that writes it. Owns their order of start
 * and stop; has no opinion about flags, processes or signals.
 */
import type { EtcdClient } from '../client/api.ts';
import { hostAddress } from './address.ts';
import { DesiredState, type Source } from './desired.ts';
import { type EngineAddress, engineAddress } from './docker/engine.ts';
import { DockerSource } from './docker/source.ts';
import { FileSource } from './files.ts';
import { type Log, silentLog } from './log.ts';
import { Reconciler } from './reconcile.ts';
import { normalPrefix, type Service, type ServiceChange } from './service.ts';

export const AGENT_DEFAULTS = {
  prefix: '/services',
  ttlSeconds: 15,
  coalesceMs: 25,
  verifyMs: 30_000,
  resyncMs: 45_000,
  callTimeoutMs: 5_000,
} as const;

export interface AgentOptions {
  /** Goes into every id; two agents that share a store must not share it. */
  hostname: string;
  /** Key layout `<prefix>/<name>/<id>`. */
  prefix?: string;
  /** Seconds after which the services of an agent that died vanish. */
  ttlSeconds?: number;
  /** Publish this address instead of what is detected. */
  ip?: string;
  /** Publish container addresses and ports. */
  internal?: boolean;
  /** Register only what has a name set. */
  explicit?: boolean;
  /** When a container that ended is taken off: always at once, or - if it crashed - after one TTL. */
  deregister?: 'always' | 'on-success';
  /** Tags that every service gets. */
  tags?: readonly string[];
  /** Docker engine to follow, like DOCKER_HOST. @throws EngineError from {@link startAgent} if it is no address. */
  docker?: string;
  /** Directory of service definition files to follow. */
  files?: string;
  /** Further sources, closed with the agent. */
  sources?: readonly Source[];
  /** Remove keys without a TTL that stock registrator left under our host name; on where Docker is followed. */
  sweepUnleased?: boolean;
  /** Told of every service that went up, moved or went down, after the store has acknowledged it. */
  onChange?: (change: ServiceChange) => void;
  coalesceMs?: number;
  verifyMs?: number;
  resyncMs?: number;
  callTimeoutMs?: number;
}

export interface RunningAgent {
  /** Resolves when every source has reported once and the store holds what they want. Pends while either cannot. */
  readonly ready: Promise<void>;
  /** What is wanted on the roster now, by key. */
  services(): ReadonlyMap<string, Service>;
  /** Resolves true once the store holds what is wanted now, false if that takes longer. */
  flush(timeoutMs: number): Promise<boolean>;
  /** Takes every service off the roster and stops. */
  close(): Promise<void>;
}

/**
 * Starts an agent on a client that stays the caller's. Resolves as soon as it runs; a store or an engine that cannot
 * be reached is tried for ever.
 */
export async function startAgent(
  options: AgentOptions,
  parts: { client: EtcdClient; log?: Log },
): Promise<RunningAgent> {
  const log = parts.log ?? silentLog;
  const prefix = normalPrefix(options.prefix ?? AGENT_DEFAULTS.prefix);
  const state = new DesiredState(prefix, log);
  const reconciler = new Reconciler(
    {
      prefix,
      hostname: options.hostname,
      ttlSeconds: options.ttlSeconds ?? AGENT_DEFAULTS.ttlSeconds,
      coalesceMs: options.coalesceMs ?? AGENT_DEFAULTS.coalesceMs,
      verifyMs: options.verifyMs ?? AGENT_DEFAULTS.verifyMs,
      callTimeoutMs: options.callTimeoutMs ?? AGENT_DEFAULTS.callTimeoutMs,
      sweepUnleased: options.sweepUnleased ?? options.docker !== undefined,
    },
    { client: parts.client, log, desired: () => state.services(), onChange: options.onChange },
  );
  state.onChange(() => reconciler.trigger());
  const sources = makeSources(options, log);
  const reported = sources.map(
    (source) =>
      new Promise<void>((resolve) => {
        source.start({ set: (group, services) => state.set(group, services), ready: () => resolve() });
      }),
  );
  const ready = Promise.all(reported).then(async () => {
    reconciler.sourcesReady();
    await reconciler.written();
  });
  reconciler.start();
  return {
    ready,
    services: () => state.services(),
    flush: (timeoutMs) => reconciler.flush(timeoutMs),
    async close() {
      // The keys go first: a source that is slow to close must not keep dead services on the roster.
      await reconciler.close();
      await Promise.all(sources.map((source) => source.close()));
    },
  };
}

function makeSources(options: AgentOptions, log: Log): Source[] {
  const { hostname, ip } = options;
  const tags = options.tags ?? [];
  const sources: Source[] = [...(options.sources ?? [])];
  if (options.files !== undefined) {
    sources.push(new FileSource({ folder: options.files, hostname, ip: () => ip ?? hostAddress(), tags }, log));
  }
  if (options.docker !== undefined) {
    const engine: EngineAddress = engineAddress(options.docker);
    const crashHoldsMs =
      options.deregister === 'on-success' ? (options.ttlSeconds ?? AGENT_DEFAULTS.ttlSeconds) * 1_000 : 0;
    sources.push(
      new DockerSource(
        {
          engine,
          hostname,
          ip,
          hostAddress,
          internal: options.internal ?? false,
          explicit: options.explicit ?? false,
          tags,
          resyncMs: options.resyncMs ?? AGENT_DEFAULTS.resyncMs,
          crashHoldsMs,
        },
        log,
      ),
    );
  }
  return sources;
}
