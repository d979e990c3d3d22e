/**
 * One member, from flags to a running server and back. Owns the order of start (storage, node, listeners) and of stop
 * (listeners drain, node, storage); the process and its signals belong to main.ts.
 */
import { randomBytes } from 'node:crypto';
import type { RosterError } from '../core/errors.ts';
import { Node } from '../core/node/node.ts';
import { NODE_LIMITS, nodeConfig } from '../core/node/world.ts';
import { Prng } from '../core/util/prng.ts';
import type { Member } from '../core/wire/messages.ts';
import { ClientListeners } from './client-listeners.ts';
import { singleMemberIdentity } from './config/identity.ts';
import type { Logger } from './config/log.ts';
import type { ServeFlags } from './config/serve-flags.ts';
import { createApp } from './http/app.ts';
import { counted, createMetrics } from './http/metrics.ts';
import type { Identity, RpcContext } from './rpc/context.ts';
import { allMethods } from './rpc/methods.ts';
import { openStorage, type Storage } from './storage.ts';
import { ROSTER_VERSION } from './version.ts';

export interface RunningServer {
  /** Where clients reach it: the URLs it listens on, with the ports it got. */
  readonly clientUrls: readonly string[];
  /** Settles when the server cannot go on, with the reason. */
  readonly failed: Promise<RosterError>;
  /** Refuses new calls, lets those under way finish, makes everything durable. Safe to call more than once. */
  stop(): Promise<void>;
}

/** Resolves when the member serves. Throws a RosterError when data directory or ports cannot be used. */
export async function startServer(flags: ServeFlags, log: Logger): Promise<RunningServer> {
  const identity = singleMemberIdentity(flags['initial-advertise-peer-urls'], flags['initial-cluster-token']);
  const storage = await openStorage({
    dataDir: flags['data-dir'],
    identity,
    limits: {
      minTtlSeconds: Math.ceil((1.5 * flags['election-timeout']) / 1000),
      leaseExtensionMs: flags['election-timeout'],
      progressIntervalMs: flags['watch-progress-notify-interval'],
    },
    clock: monotonic,
    log,
  });
  const server = new Server(flags, log, storage);
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

const monotonic = { nowMs: () => performance.now() };

class Server implements RunningServer {
  readonly failed: Promise<RosterError>;
  readonly #flags: ServeFlags;
  readonly #log: Logger;
  readonly #identity: Identity;
  readonly #storage: Storage;
  readonly #node: Node;
  readonly #listeners: ClientListeners;
  #fail!: (error: RosterError) => void;
  #ticker: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;

  constructor(flags: ServeFlags, log: Logger, storage: Storage) {
    this.#flags = flags;
    this.#log = log;
    this.#identity = storage.identity;
    this.#storage = storage;
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.#node = this.#createNode();
    storage.machine.onWork = () => this.#node.requestWork();
    const context: RpcContext = {
      identity: storage.identity,
      node: this.#node,
      machine: storage.machine,
      members: () => [this.#self()],
      limits: { maxTxnOps: flags['max-txn-ops'], maxRequestBytes: flags['max-request-bytes'] },
    };
    const { methods, counts } = counted(allMethods(context));
    const app = createApp({
      context,
      methods,
      metrics: createMetrics(context, counts),
      gateway: flags['enable-grpc-gateway'],
      maxRequestBytes: flags['max-request-bytes'],
      onBug: (error) => log.error({ error }, 'a request failed in an unforeseen way'),
    });
    this.#listeners = new ClientListeners(flags, methods, app, log);
  }

  get clientUrls(): readonly string[] {
    return this.#listeners.urls;
  }

  async start(): Promise<void> {
    this.#node.start();
    this.#ticker = setInterval(() => {
      this.#node.tick();
      this.#storage.machine.hub.tick();
    }, this.#flags['heartbeat-interval']);
    await this.#ready();
    await this.#listeners.listen();
    const { memberId, clusterId } = this.#identity;
    this.#log.info(
      {
        version: ROSTER_VERSION,
        name: this.#flags.name,
        'member-id': memberId.toString(16),
        'cluster-id': clusterId.toString(16),
        'data-dir': this.#flags['data-dir'],
        'client-urls': this.clientUrls,
        revision: this.#storage.machine.store.revision,
      },
      'serving clients',
    );
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    await this.#listeners.close();
    await new Promise<void>((resolve) => {
      this.#node.stop((error) => {
        if (error !== undefined) this.#log.error({ error }, 'the log did not close in order');
        resolve();
      });
    });
    clearInterval(this.#ticker);
    await this.#storage.close();
    this.#log.info('stopped');
  }

  #createNode(): Node {
    const flags = this.#flags;
    const { memberId } = this.#identity;
    const config = nodeConfig(memberId, [memberId], {
      tickMs: flags['heartbeat-interval'],
      electionMs: flags['election-timeout'],
      limits: {
        ...NODE_LIMITS,
        requestBytesMax: flags['max-request-bytes'],
        commitWritesMax: flags['backend-batch-limit'],
        commitTicks: Math.max(1, Math.round(flags['backend-batch-interval'] / flags['heartbeat-interval'])),
        catchupEntries: flags['snapshot-catchup-entries'],
      },
    });
    const world = {
      wal: this.#storage.wal,
      machine: this.#storage.machine,
      transport: { send: () => {} },
      schedule: setImmediate,
      scheduleIdle: setImmediate,
      clock: { nowMs: Date.now },
      prng: new Prng(randomBytes(4).readUInt32BE()),
      onFatal: (error: RosterError) => {
        this.#log.fatal({ error }, 'this member cannot go on');
        this.#fail(error);
      },
    };
    return new Node(config, world, this.#storage.recovered);
  }

  /**
   * Everything in the log is applied, and this member leads. Requests time out after some seconds, but reading a long
   * log takes what it takes: then the question is asked again.
   */
  async #ready(): Promise<void> {
    for (;;) {
      const error = await new Promise<RosterError | undefined>((resolve) => this.#node.linearizableRead(resolve));
      if (error === undefined) return;
      if (error.code !== 'Timeout') throw error;
      const { appliedIndex, commitIndex } = this.#node.status();
      this.#log.info({ appliedIndex, commitIndex }, 'applying the log');
    }
  }

  #self(): Member {
    return {
      ID: this.#identity.memberId,
      name: this.#flags.name,
      peerURLs: [...this.#flags['initial-advertise-peer-urls']],
      clientURLs: [...this.#flags['advertise-client-urls']],
      isLearner: false,
    };
  }
}
