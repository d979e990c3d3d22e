/**
 * One member, from flags to a running server and back. Owns the order of start (storage, peers, node, clients) and of
 * stop (leadership handed over, clients drain, node, peers, storage); the process and its signals belong to main.ts.
 */
import { randomBytes } from 'node:crypto';
import zlib from 'node:zlib';
import { RosterError } from '../core/errors.ts';
import { Node } from '../core/node/node.ts';
import { NODE_LIMITS, nodeConfig, type World } from '../core/node/world.ts';
import { Prng } from '../core/util/prng.ts';
import { AutoCompaction } from './auto-compaction.ts';
import { bootstrap, soleMember } from './bootstrap.ts';
import { ClientListeners } from './client-listeners.ts';
import { keepClusterVersion } from './cluster-version.ts';
import type { Logger } from './config/log.ts';
import { parseRetention } from './config/retention.ts';
import type { ServeFlags } from './config/serve-flags.ts';
import { type CorruptionWorld, checkBeforeStart, keepComparing } from './corruption-check.ts';
import { discovered } from './discovery/discover.ts';
import { createApp, createMonitoringApp } from './http/app.ts';
import { counted, type SlowCall } from './http/call-counts.ts';
import { HealthCounts } from './http/health-counts.ts';
import { createMetrics } from './http/metrics.ts';
import { unhealthyReason } from './http/probes.ts';
import { SlowReports } from './http/slow-reports.ts';
import { IdleTurns } from './idle.ts';
import { LeaderChanges } from './leader-changes.ts';
import { Measurements } from './measurements.ts';
import { pause } from './pause.ts';
import type { KeysHash } from './peer/peer-app.ts';
import { fetchMembers } from './peer/peer-client.ts';
import { Peers } from './peers.ts';
import { publish } from './publication.ts';
import { Quota } from './quota.ts';
import { whenReady } from './readiness.ts';
import { type Identity, rpcContext } from './rpc/context.ts';
import { allMethods } from './rpc/methods.ts';
import { readAuthToken } from './security/auth-token.ts';
import { Security } from './security/security.ts';
import { openStorage, type Storage } from './storage.ts';
import { type MemberTls, openMemberTls } from './tls/member-tls.ts';
import { ETCD_VERSION, ROSTER_VERSION, versions } from './version.ts';

export interface RunningServer {
  /** Where clients reach it: the URLs it listens on, with the ports they got. None if it never came to serve. */
  readonly clientUrls: readonly string[];
  /** Settles when the server must be stopped: it cannot go on, or has been removed from the cluster. */
  readonly ended: Promise<RosterError | 'removed'>;
  /** Hands leadership over, refuses new calls, lets those under way finish, makes everything durable. May be called again. */
  stop(): Promise<void>;
}

const NEVER = new AbortController().signal;
/** How long the first election waits to be hastened until another member can be reached (etcd: rafthttp.ConnReadTimeout). */
const TICK_ADVANCE_WAIT_MS = 5000;
const TICK_ADVANCE_CHECK_MS = 20;
/** A compaction goes on after each commit: beside traffic that is so often. */
const WISHED_COMMIT_MS = 1000;
/** Space is looked after this often. */
const UPKEEP_INTERVAL_MS = 250;
/** Ticks that are left for a leader to be heard of. */
const TICKS_LEFT = 2;

/**
 * Resolves when the member serves; or when it will not come to it, because `signal` has fired or the cluster has removed
 * it. Throws a RosterError or UsageError when flags, data directory or ports cannot be used.
 */
export async function startServer(flags: ServeFlags, log: Logger, signal: AbortSignal = NEVER): Promise<RunningServer> {
  // What is wrong with its files must show before anything is made.
  readAuthToken(flags['auth-token']);
  const tls = await openMemberTls(flags, log);
  try {
    return await startWithTls(flags, tls, log, signal);
  } catch (error) {
    tls.close();
    throw error;
  }
}

async function startWithTls(flags: ServeFlags, tls: MemberTls, log: Logger, signal: AbortSignal): Promise<Server> {
  const measurements = new Measurements({
    slowApplyMs: flags['warning-apply-duration'],
    onSlowApply: (slow) => log.warn(slow, 'applying a batch of entries took too long'),
  });
  const ask = (peerUrl: string, timeoutMs: number) => fetchMembers([peerUrl], { tls: tls.peer, timeoutMs });
  const storage = await openStorage({
    dataDir: flags['data-dir'],
    walDir: flags['wal-dir'],
    bootstrap: async () => bootstrap(await discovered(flags, log, signal), ask, log),
    soleMember: (identity) => soleMember(identity, flags),
    forceNewCluster: flags['force-new-cluster'],
    limits: {
      minTtlSeconds: Math.ceil((1.5 * flags['election-timeout']) / 1000),
      leaseExtensionMs: flags['election-timeout'],
      progressIntervalMs: flags['watch-progress-notify-interval'],
      strictReconfigCheck: flags['strict-reconfig-check'],
      maxLearners: flags['max-learners'],
    },
    clock: monotonic,
    log,
    measurements,
  });
  let server: Server | undefined;
  try {
    server = new Server(flags, tls, log, storage, measurements);
    await server.start(signal);
  } catch (error) {
    await (server === undefined ? storage.close() : server.stop());
    throw error;
  }
  return server;
}

const monotonic = { nowMs: () => performance.now() };

class Server implements RunningServer {
  readonly ended: Promise<RosterError | 'removed'>;
  readonly #flags: ServeFlags;
  readonly #tls: MemberTls;
  readonly #log: Logger;
  readonly #identity: Identity;
  readonly #storage: Storage;
  readonly #measurements: Measurements;
  readonly #peers: Peers;
  readonly #node: Node;
  readonly #leaders = new LeaderChanges();
  readonly #security: Security;
  readonly #listeners: ClientListeners;
  readonly #quota: Quota;
  readonly #comparison: CorruptionWorld;
  readonly #compaction: AutoCompaction | undefined;
  /** Fires when the server stops, or must. */
  readonly #over = new AbortController();
  #end!: (reason: RosterError | 'removed') => void;
  #failure: RosterError | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #upkeepTicker: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;

  constructor(flags: ServeFlags, tls: MemberTls, log: Logger, storage: Storage, measurements: Measurements) {
    this.#flags = flags;
    this.#tls = tls;
    this.#log = log;
    this.#identity = storage.identity;
    this.#storage = storage;
    this.#measurements = measurements;
    const { machine, identity } = storage;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    // First, since it throws when log and state do not belong together: the rest has something to close.
    this.#node = this.#createNode();
    machine.onWork = () => this.#node.requestWork();
    machine.onCompaction = (underWay) => measurements.compacting(underWay);
    this.#peers = new Peers({
      flags,
      tls: tls.peer,
      identity,
      machine,
      node: this.#node,
      log,
      onRemoved: () => this.#removed(),
      members: () => machine.membership.members,
      version: () => versions(machine.membership.clusterVersion),
      health: () => unhealthyReason({ node: this.#node, machine }, false),
      hashKv: (revision) => this.#hashKeys(revision),
    });
    this.#comparison = {
      selfId: identity.memberId,
      node: this.#node,
      machine,
      askHash: (url, revision, timeoutMs) => this.#peers.hash(url, revision, timeoutMs),
      log,
    };
    const limits = {
      maxTxnOps: flags['max-txn-ops'],
      maxRequestBytes: flags['max-request-bytes'],
      electionMs: flags['election-timeout'],
    };
    this.#security = new Security({
      node: this.#node,
      machine,
      authToken: readAuthToken(flags['auth-token']),
      tokenTtlSeconds: flags['auth-token-ttl'],
      bcryptCost: flags['bcrypt-cost'],
      onLoginFailed: (user, remote) => log.warn({ user, remote }, 'a login failed'),
    });
    this.#quota = new Quota({
      bytesMax: flags['quota-backend-bytes'],
      manualDisarm: flags['quota-manual-disarm'],
      memberId: identity.memberId,
      machine,
      node: this.#node,
      log,
    });
    const retention = parseRetention(flags['auto-compaction-mode'], flags['auto-compaction-retention']);
    if (retention !== undefined) {
      this.#compaction = new AutoCompaction({
        retention,
        floorRevisions: flags['quota-compaction-floor'],
        machine,
        node: this.#node,
        quota: this.#quota,
        clock: monotonic,
        log,
      });
    }
    const context = rpcContext({
      identity,
      node: this.#node,
      machine,
      security: this.#security,
      limits,
      quota: this.#quota,
      stopping: this.#over.signal,
    });
    const slowCalls = new SlowReports((slow: SlowCall) => log.warn(slow, 'a request took too long'));
    const { methods, counts, clients } = counted(allMethods(context), {
      slowMs: flags['warning-unary-request-duration'],
      onSlow: (slow) => slowCalls.add(slow),
    });
    const onBug = (error: Error) => log.error({ error }, 'a request failed in an unforeseen way');
    const health = new HealthCounts();
    const metrics = createMetrics(context, {
      calls: counts,
      clients,
      peers: this.#peers,
      leaders: this.#leaders,
      health,
      clientBytes: () => this.#listeners.bytes,
      measurements,
      extensive: flags.metrics === 'extensive',
      gates: flags['feature-gates'],
    });
    const app = createApp({
      context,
      methods,
      metrics,
      health,
      access: {
        cors: flags.cors,
        hostWhitelist: flags['host-whitelist'],
        onRefused: (host) => log.warn({ host }, 'refused an HTTP request to prevent DNS rebinding (--host-whitelist)'),
      },
      pprof: flags['enable-pprof'],
      gateway: flags['enable-grpc-gateway'],
      v2: flags['enable-v2'] ? { traffic: this.#peers, leaders: this.#leaders } : undefined,
      maxRequestBytes: flags['max-request-bytes'],
      onBug,
    });
    const monitoring = createMonitoringApp({ context, metrics, health, onBug });
    this.#listeners = new ClientListeners(flags, tls.client, methods, { client: app, monitoring }, log);
  }

  get clientUrls(): readonly string[] {
    return this.#listeners.urls;
  }

  async start(signal: AbortSignal): Promise<void> {
    const { machine } = this.#storage;
    this.#warnOfOtherFlags();
    await this.#peers.listen();
    if (this.#flags['experimental-initial-corrupt-check']) await checkBeforeStart(this.#comparison);
    this.#measurements.start();
    this.#node.start();
    const heartbeatMs = this.#flags['heartbeat-interval'];
    this.#ticker = setInterval(() => {
      this.#measurements.ticked(heartbeatMs, this.#node.status().isLeader);
      this.#node.tick();
      machine.hub.tick();
    }, heartbeatMs);
    this.#security.start();
    this.#upkeepTicker = setInterval(() => this.#upkeep(), UPKEEP_INTERVAL_MS);
    void this.#hastenElection();
    const over = this.#over.signal;
    void keepClusterVersion(
      {
        node: this.#node,
        selfId: this.#identity.memberId,
        version: ETCD_VERSION,
        membership: () => machine.membership,
        askVersion: (url, timeoutMs) => this.#peers.version(url, timeoutMs),
      },
      over,
    );
    const { 'election-timeout': electionMs, 'corrupt-check-time': compareMs } = this.#flags;
    if (compareMs > 0) void keepComparing(this.#comparison, compareMs, over);
    const end = AbortSignal.any([signal, over]);
    await whenReady(
      {
        node: this.#node,
        machine,
        log: this.#log,
        patienceMs: 5000 + 2 * electionMs,
        publish: () => this.#publish(),
        reachable: () => machine.membership.members.filter(({ ID }) => this.#peers.reaches(ID)).map(({ name }) => name),
      },
      end,
    );
    if (this.#failure !== undefined) throw this.#failure;
    if (end.aborted) return;
    await this.#listeners.listen();
    this.#announce();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#over.abort();
    clearInterval(this.#upkeepTicker);
    this.#measurements.close();
    // First, while everything still works: the others must not wait for an election.
    await new Promise<void>((resolve) => {
      this.#node.handOver((error) => {
        if (error !== undefined)
          this.#log.warn({ error }, 'leadership was not handed over: the others will elect a leader');
        resolve();
      });
    });
    await this.#listeners.close();
    await this.#security.close();
    await new Promise<void>((resolve) => {
      this.#node.stop((error) => {
        if (error !== undefined) this.#log.error({ error }, 'the log did not close in order');
        resolve();
      });
    });
    clearInterval(this.#ticker);
    await this.#peers.close();
    this.#tls.close();
    await this.#storage.close();
    this.#log.info('stopped');
  }

  #createNode(): Node {
    const flags = this.#flags;
    const { wal, machine, recovered, identity } = this.#storage;
    const ticks = (ms: number) => Math.max(1, Math.round(ms / flags['heartbeat-interval']));
    const config = nodeConfig(identity.memberId, {
      tickMs: flags['heartbeat-interval'],
      electionMs: flags['election-timeout'],
      preVote: flags['pre-vote'],
      limits: {
        ...NODE_LIMITS,
        requestBytesMax: flags['max-request-bytes'],
        commitWritesMax: flags['backend-batch-limit'],
        commitTicks: ticks(flags['backend-batch-interval']),
        wishedCommitTicks: ticks(WISHED_COMMIT_MS),
        catchupEntries: flags['snapshot-catchup-entries'],
      },
    });
    const world: World = {
      wal,
      machine,
      transport: { send: (messages, pace) => this.#peers.send(messages, pace) },
      schedule: setImmediate,
      scheduleIdle: new IdleTurns().schedule,
      crc32: zlib.crc32,
      clock: { nowMs: Date.now },
      prng: new Prng(randomBytes(4).readUInt32BE()),
      onFatal: (error) => {
        this.#log.fatal({ error }, 'this member cannot go on');
        this.#failure = error;
        this.#finish(error);
      },
      onRemoved: () => this.#removed(),
      onLeader: (leader) => {
        this.#leaders.known(leader);
        const fields = { leader: leader.toString(16), term: this.#node.term };
        if (leader === 0n) this.#log.warn(fields, 'the leader is lost');
        else if (leader === identity.memberId) this.#log.info(fields, 'this member leads');
        else this.#log.info(fields, 'a leader is known');
      },
    };
    return new Node(config, this.#measurements.stages.observe(world), recovered);
  }

  #publish(): Promise<void> {
    const { memberId } = this.#identity;
    const attributes = { ID: memberId, name: this.#flags.name, clientURLs: [...this.#flags['advertise-client-urls']] };
    return publish(
      attributes,
      {
        node: this.#node,
        membership: () => this.#storage.machine.membership,
        onRetry: (error) => this.#log.warn({ error }, "the cluster has not taken this member's name yet: trying again"),
      },
      this.#over.signal,
    );
  }

  #hashKeys(revision: number): Promise<KeysHash> {
    const { machine } = this.#storage;
    return new Promise((resolve, reject) => {
      machine.hashKeys(revision, (result) => {
        if (result instanceof RosterError) reject(result);
        else resolve({ ...result, currentRevision: machine.store.revision });
      });
    });
  }

  /** Space: alarms that are due or over, history that may go. */
  #upkeep(): void {
    this.#quota.look();
    this.#compaction?.look();
  }

  /** What etcd calls the advance of the election ticks: who has just started need not wait out a whole timeout. */
  async #hastenElection(): Promise<void> {
    const { membership } = this.#storage.machine;
    // Who asks before an election disturbs nobody when there is a leader after all.
    if (!this.#flags['initial-election-tick-advance'] || !this.#flags['pre-vote']) return;
    for (let waitedMs = 0; waitedMs < TICK_ADVANCE_WAIT_MS; waitedMs += TICK_ADVANCE_CHECK_MS) {
      if (this.#over.signal.aborted || this.#node.status().leader !== 0n) return;
      if (membership.members.some(({ ID }) => this.#peers.reaches(ID))) {
        const electionTicks = Math.round(this.#flags['election-timeout'] / this.#flags['heartbeat-interval']);
        for (let i = TICKS_LEFT; i < electionTicks; i++) this.#node.tick();
        return;
      }
      await pause(TICK_ADVANCE_CHECK_MS, this.#over.signal);
    }
  }

  /** etcd goes by the data directory once there is one, and so does Roster; but the operator may not expect it. */
  #warnOfOtherFlags(): void {
    const { isNew, machine } = this.#storage;
    const { memberId, clusterId } = this.#identity;
    const self = machine.membership.member(memberId);
    if (isNew || self === undefined) return;
    const advertised = this.#flags['initial-advertise-peer-urls'];
    if ([...self.peerURLs].sort().join() === advertised.join()) return;
    this.#log.warn(
      {
        'member-id': memberId.toString(16),
        'cluster-id': clusterId.toString(16),
        'peer-urls': self.peerURLs,
        'initial-advertise-peer-urls': advertised,
      },
      'the data directory was made with other --initial-* flags; what it says goes on to hold (member update changes it)',
    );
  }

  #announce(): void {
    const { memberId, clusterId } = this.#identity;
    this.#log.info(
      {
        version: ROSTER_VERSION,
        name: this.#flags.name,
        'member-id': memberId.toString(16),
        'cluster-id': clusterId.toString(16),
        'data-dir': this.#flags['data-dir'],
        'client-urls': this.clientUrls,
        'peer-urls': this.#peers.urls,
        revision: this.#storage.machine.store.revision,
      },
      'serving clients',
    );
  }

  #removed(): void {
    if (this.#over.signal.aborted) return;
    this.#log.warn(
      { 'member-id': this.#identity.memberId.toString(16), 'data-dir': this.#flags['data-dir'] },
      'this member has been removed from the cluster: it stops. Its data directory is of no use any more and must be removed',
    );
    this.#finish('removed');
  }

  #finish(reason: RosterError | 'removed'): void {
    this.#end(reason);
    this.#over.abort();
  }
}
