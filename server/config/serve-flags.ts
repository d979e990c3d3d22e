/**
 * The flags of `roster serve`: etcd's names, environment variables and defaults (etcd v3.7 "Configuration options"), for
 * what Roster does so far. Owns the checks that need more than one flag.
 */

import { BCRYPT_COST, BCRYPT_COST_MAX, BCRYPT_COST_MIN } from '../security/bcrypt-cost.ts';
import { checkDiscoveryFlags, discoveryFlags } from './discovery-flags.ts';
import { featureGates, GATES_WITH_EFFECT } from './feature-gates.ts';
import { type FlagTable, type FlagValues, UsageError } from './flag-table.ts';
import { ignoredFlags } from './ignored-flags.ts';
import { parseInitialCluster } from './initial-cluster.ts';
import { logOutputs } from './log.ts';
import { olderFlags, refusedFlags } from './older-flags.ts';
import { parseRetention } from './retention.ts';
import { type Environment, readSources, type Sources } from './sources.ts';
import { checkTlsFlags, tlsFlags } from './tls-flags.ts';
import { choice, duration, flag, optionalUrls, originList, text, urls, whole, wordSet } from './values.ts';

const UINT32_MAX = 0xffff_ffff;
/** Above this a request would not fit the limits of a log record. */
const REQUEST_BYTES_MAX = 64 * 1024 * 1024;
/** A commit of the database is a sync that competes with the log's own. */
const BATCH_INTERVAL_MS = 5000;

/** Where etcd's members listen for each other. */
export const DEFAULT_PEER_URL = 'http://localhost:2380';

export const serveFlags = {
  name: text('default', 'human-readable name of this member'),
  'data-dir': text('', "folder for everything that must survive a restart; default: the member's name + .etcd"),
  'wal-dir': text(
    '',
    'folder for the log, if it is to be on another disk than the rest; only looked at when the data directory is made',
  ),
  'snapshot-count': whole(
    10_000,
    1,
    100_000_000,
    'accepted, of no effect: the log is cut whenever the database has caught up with it',
  ),
  'snapshot-catchup-entries': whole(5000, 1, 100_000_000, 'entries kept in the log for members that are a little late'),
  'heartbeat-interval': whole(100, 1, 60_000, 'milliseconds between heartbeats, the clock tick of consensus'),
  'election-timeout': whole(1000, 10, 50_000, 'milliseconds without a leader before an election'),
  'initial-election-tick-advance': flag(
    true,
    'hold the first election soon after the start, once another member can be reached',
  ),
  'pre-vote': flag(true, 'ask whether an election could be won before holding it'),
  'listen-peer-urls': urls([DEFAULT_PEER_URL], 'where this member listens for the others'),
  'listen-client-urls': urls(['http://localhost:2379'], 'where clients reach this member'),
  'advertise-client-urls': urls(
    ['http://localhost:2379'],
    'client URLs told to the rest of the cluster and to clients',
  ),
  'initial-advertise-peer-urls': urls([DEFAULT_PEER_URL], 'peer URLs told to the rest of the cluster'),
  'initial-cluster': text('', 'members at the first start: name=peerURL,...; default: this one alone'),
  ...discoveryFlags,
  'initial-cluster-state': choice('new', ['new', 'existing'], "'new' founds a cluster, 'existing' joins one"),
  'initial-cluster-token': text('etcd-cluster', 'sets apart clusters that were founded with the same configuration'),
  'strict-reconfig-check': flag(true, 'refuse changes of the members that would cost the quorum'),
  'max-learners': whole(1, 1, 1000, 'most members that do not vote yet'),
  'force-new-cluster': flag(
    false,
    'dangerous: keep the data, drop all other members. For a cluster that has lost its majority for good',
  ),
  'backend-batch-interval': duration(
    BATCH_INTERVAL_MS,
    0,
    'longest time a change waits to be copied from the log into the database; the log alone makes it durable (etcd: 100ms); 0: 5s',
  ),
  'backend-batch-limit': whole(10_000, 0, 10_000_000, 'changes after which they are copied at once; 0: 10000'),
  'quota-backend-bytes': whole(
    0,
    Number.MIN_SAFE_INTEGER,
    Number.MAX_SAFE_INTEGER,
    'most bytes of live keys and retained history before writes are refused; 0: 2 GiB, below 0: no quota',
  ),
  'quota-manual-disarm': flag(
    false,
    'keep the NOSPACE alarm until `alarm disarm`, as etcd does; otherwise it ends when there is room again',
  ),
  'corrupt-check-time': duration(0, 0, 'how often the leader compares the keys of all members; 0: never'),
  'experimental-initial-corrupt-check': flag(
    false,
    'compare the keys with those of the other members before the start, and refuse it when they differ',
  ),
  'quota-compaction-floor': whole(
    1000,
    -1,
    Number.MAX_SAFE_INTEGER,
    'newest revisions that are kept when auto-compaction goes ahead of its time because the quota is nearly used up; -1: it never does',
  ),
  'auto-compaction-mode': choice(
    'periodic',
    ['periodic', 'revision'],
    'whether --auto-compaction-retention is a time or a number of revisions',
  ),
  'auto-compaction-retention': text(
    '0',
    'history kept: hours or a duration, e.g. 1 or 30m; or revisions. Older history is compacted by the leader; 0: never',
  ),
  'max-txn-ops': whole(128, 1, 1_000_000, 'most operations in a transaction'),
  'max-request-bytes': whole(1_572_864, 1, REQUEST_BYTES_MAX, 'largest request the log takes'),
  'max-concurrent-streams': whole(
    10_000,
    1,
    UINT32_MAX,
    'most HTTP/2 streams a connection may hold open (etcd: unlimited)',
  ),
  'grpc-keepalive-min-time': duration(5000, 0, 'shortest interval at which a client may ping'),
  'grpc-keepalive-interval': duration(7_200_000, 0, 'idle time after which the server pings a client; 0: never'),
  'grpc-keepalive-timeout': duration(20_000, 1, 'how long the server waits for the answer to its ping'),
  'enable-grpc-gateway': flag(true, 'serve the JSON API under /v3'),
  'enable-v2': flag(true, 'serve the v2 API under /v2, over the same keys'),
  ...tlsFlags,
  'auth-token': text(
    'simple',
    "how users are known after their password: 'simple', or jwt,sign-method=RS256,priv-key=...,pub-key=...,ttl=5m",
  ),
  'auth-token-ttl': whole(300, 1, UINT32_MAX, 'seconds a simple token lives after its last use'),
  'bcrypt-cost': whole(
    BCRYPT_COST,
    BCRYPT_COST_MIN,
    BCRYPT_COST_MAX,
    'work that a password hash takes, as a power of two',
  ),
  'watch-progress-notify-interval': duration(
    600_000,
    100,
    'idle time after which a watch that asked for it hears of progress',
  ),
  'feature-gates': featureGates,
  'listen-client-http-urls': optionalUrls(
    'where HTTP is served; the client URLs then serve gRPC alone; default: both on the client URLs',
  ),
  cors: originList('origins that browsers may call from'),
  'host-whitelist': wordSet('host names that HTTP requests without TLS may name, against DNS rebinding'),
  'listen-metrics-urls': optionalUrls('where /metrics, /health, /livez and /readyz are served besides'),
  metrics: choice('basic', ['basic', 'extensive'], 'extensive: how long each RPC takes, too'),
  'enable-pprof': flag(false, 'accepted; /debug/pprof/ tells how to profile Node.js instead'),
  'warning-unary-request-duration': duration(300, 0, 'a request that takes longer is named in the log; 0: none is'),
  'warning-apply-duration': duration(
    100,
    0,
    'a batch of entries that takes longer to apply is named in the log; 0: none is',
  ),
  logger: choice('zap', ['zap', 'capnslog'], 'capnslog, of etcd 3.4 and before, is --log-format console'),
  'log-outputs': logOutputs,
  'log-level': choice('info', ['debug', 'info', 'warn', 'error', 'panic', 'fatal'], 'least severity that is logged'),
  'log-format': choice('json', ['json', 'console'], 'json lines, or text for a terminal'),
} as const satisfies FlagTable;

export type ServeFlags = FlagValues<typeof serveFlags>;

/** Accepted, checked, and without effect. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set(['snapshot-count']);

export interface ServeConfiguration extends Omit<Sources<typeof serveFlags>, 'values'> {
  readonly flags: ServeFlags;
}

/** Parses and checks. Throws UsageError. */
export function readServeFlags(args: readonly string[], environment: Environment): ServeFlags {
  return readServeConfiguration(args, environment).flags;
}

/** The same, with all that can be said about where the values come from. Throws UsageError. */
export function readServeConfiguration(args: readonly string[], environment: Environment): ServeConfiguration {
  const names = { table: serveFlags, older: olderFlags, ignored: ignoredFlags, refused: refusedFlags };
  const { values, ...sources } = readSources(names, args, environment);
  const { origins } = sources;
  const gates = [...values['feature-gates']].filter(([name, on]) => on && !GATES_WITH_EFFECT.has(name));
  const ignored = [
    ...[...origins.keys()].filter((name) => WITHOUT_EFFECT.has(name)).map((name) => `--${name}`),
    ...sources.ignored,
    ...gates.map(([name]) => `--feature-gates ${name}`),
  ];
  if (values['feature-gates'].get('InitialCorruptCheck') === true) values['experimental-initial-corrupt-check'] = true;
  if (values.logger === 'capnslog' && !origins.has('log-format')) values['log-format'] = 'console';
  return { ...sources, ignored, flags: settle(values, origins) };
}

/** What follows from other flags, and what must not be together. */
function settle(values: ServeFlags, given: { has(name: string): boolean }): ServeFlags {
  if (values['data-dir'] === '') values['data-dir'] = `${values.name}.etcd`;
  if (values['backend-batch-interval'] === 0) values['backend-batch-interval'] = BATCH_INTERVAL_MS;
  if (values['backend-batch-limit'] === 0) values['backend-batch-limit'] = 10_000;
  if (values['election-timeout'] < 5 * values['heartbeat-interval']) {
    throw new UsageError(
      `--election-timeout[${values['election-timeout']}ms] should be at least as 5 times as --heartbeat-interval[${values['heartbeat-interval']}ms]`,
    );
  }
  if (given.has('listen-client-urls') && !given.has('advertise-client-urls')) {
    throw new UsageError('--advertise-client-urls is required when --listen-client-urls is set explicitly');
  }
  checkTlsFlags(values);
  const discovers = checkDiscoveryFlags(values);
  if (values['initial-cluster'] === '' && !discovers) {
    values['initial-cluster'] = values['initial-advertise-peer-urls'].map((url) => `${values.name}=${url}`).join(',');
  }
  if (!discovers) parseInitialCluster(values['initial-cluster']);
  parseRetention(values['auto-compaction-mode'], values['auto-compaction-retention']);
  return values;
}
