/**
 * The flags of `roster serve`: etcd's names, environment variables and defaults (etcd v3.7 "Configuration options"), for
 * what Roster does so far. Owns the checks that need more than one flag.
 */
import { type FlagTable, type FlagValues, parseFlags, UsageError } from './flag-table.ts';
import { checkUrl, choice, duration, flag, text, urls, whole } from './values.ts';

const UINT32_MAX = 0xffff_ffff;
/** Above this a request would not fit the limits of a log record. */
const REQUEST_BYTES_MAX = 64 * 1024 * 1024;

export const serveFlags = {
  name: text('default', 'human-readable name of this member'),
  'data-dir': text('', "folder for everything that must survive a restart; default: the member's name + .etcd"),
  'snapshot-catchup-entries': whole(5000, 1, 100_000_000, 'entries kept in the log behind a cut'),
  'heartbeat-interval': whole(100, 1, 60_000, 'milliseconds between heartbeats, the clock tick of consensus'),
  'election-timeout': whole(1000, 10, 50_000, 'milliseconds without a leader before an election'),
  'listen-peer-urls': urls(
    ['http://localhost:2380'],
    'where other members will reach this one; a sole member does not listen there',
  ),
  'listen-client-urls': urls(['http://localhost:2379'], 'where clients reach this member'),
  'advertise-client-urls': urls(
    ['http://localhost:2379'],
    'client URLs told to the rest of the cluster and to clients',
  ),
  'initial-advertise-peer-urls': urls(['http://localhost:2380'], 'peer URLs told to the rest of the cluster'),
  'initial-cluster': text('', 'members at the first start: name=peerURL,...; default: this one alone'),
  'initial-cluster-state': choice('new', ['new', 'existing'], "'new' founds a cluster, 'existing' joins one"),
  'initial-cluster-token': text('etcd-cluster', 'sets apart clusters that were founded with the same configuration'),
  'backend-batch-interval': duration(
    1000,
    0,
    'longest time a change waits to be copied from the log into the database; the log alone makes it durable (etcd: 100ms); 0: 1s',
  ),
  'backend-batch-limit': whole(10_000, 0, 10_000_000, 'changes after which they are copied at once; 0: 10000'),
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
  'cert-file': text('', 'PEM certificate of the client listener (with https:// listen URLs)'),
  'key-file': text('', 'PEM key of the client listener'),
  'trusted-ca-file': text('', 'PEM certificates that sign client certificates'),
  'client-cert-auth': flag(false, 'demand a client certificate signed by trusted-ca-file'),
  'watch-progress-notify-interval': duration(
    600_000,
    100,
    'idle time after which a watch that asked for it hears of progress',
  ),
  'log-level': choice('info', ['debug', 'info', 'warn', 'error', 'panic', 'fatal'], 'least severity that is logged'),
  'log-format': choice('json', ['json', 'console'], 'json lines, or text for a terminal'),
} as const satisfies FlagTable;

export type ServeFlags = FlagValues<typeof serveFlags>;

/** Parses and checks. Throws UsageError. */
export function readServeFlags(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): ServeFlags {
  const { values, given } = parseFlags(serveFlags, args, environment);
  if (values['data-dir'] === '') values['data-dir'] = `${values.name}.etcd`;
  if (values['backend-batch-interval'] === 0) values['backend-batch-interval'] = 1000;
  if (values['backend-batch-limit'] === 0) values['backend-batch-limit'] = 10_000;
  if (values['election-timeout'] < 5 * values['heartbeat-interval']) {
    throw new UsageError(
      `--election-timeout[${values['election-timeout']}ms] should be at least as 5 times as --heartbeat-interval[${values['heartbeat-interval']}ms]`,
    );
  }
  if (given.has('listen-client-urls') && !given.has('advertise-client-urls')) {
    throw new UsageError('--advertise-client-urls is required when --listen-client-urls is set explicitly');
  }
  checkTls(values);
  checkCluster(values);
  return values;
}

function checkTls(values: ServeFlags): void {
  const secure = values['listen-client-urls'].some((url) => url.startsWith('https:'));
  const both = values['cert-file'] !== '' && values['key-file'] !== '';
  if ((values['cert-file'] === '') !== (values['key-file'] === '')) {
    throw new UsageError('--cert-file and --key-file must be given together');
  }
  if (secure && !both) throw new UsageError('an https:// URL in --listen-client-urls needs --cert-file and --key-file');
  if (values['client-cert-auth'] && values['trusted-ca-file'] === '') {
    throw new UsageError('--client-cert-auth needs --trusted-ca-file');
  }
}

/** `name=url,name=url,...` -> name and peer URLs; the same name may come several times. */
export function parseInitialCluster(value: string): Map<string, string[]> {
  const members = new Map<string, string[]>();
  for (const part of value.split(',')) {
    const at = part.indexOf('=');
    if (at <= 0) throw new UsageError(`--initial-cluster: ${JSON.stringify(part)} must be name=http://host:port`);
    const name = part.slice(0, at).trim();
    members.set(name, [...(members.get(name) ?? []), checkUrl(part.slice(at + 1).trim())]);
  }
  return members;
}

function checkCluster(values: ServeFlags): void {
  if (values['initial-cluster'] === '') {
    values['initial-cluster'] = values['initial-advertise-peer-urls'].map((url) => `${values.name}=${url}`).join(',');
  }
  const members = parseInitialCluster(values['initial-cluster']);
  const own = members.get(values.name);
  if (own === undefined) {
    throw new UsageError(
      `couldn't find local name "${values.name}" in the initial cluster configuration: add ${values.name}=${values['initial-advertise-peer-urls'][0]} to --initial-cluster`,
    );
  }
  if (members.size > 1 || values['initial-cluster-state'] === 'existing') {
    throw new UsageError(
      'clusters of several members are not supported yet: start one member with --initial-cluster-state new',
    );
  }
  if (own.sort().join() !== [...values['initial-advertise-peer-urls']].join()) {
    throw new UsageError(
      `--initial-cluster has ${values.name}=${own.join(',')} but --initial-advertise-peer-urls is ${values['initial-advertise-peer-urls'].join(',')}: they must be the same`,
    );
  }
}
