/** The flags of `roster grpc-proxy start`: etcd's names and defaults, and what they need of each other. Reads no file. */
import { srvFlags } from '../config/discovery-flags.ts';
import { type Flag, type FlagTable, type FlagValues, parseFlags, UsageError } from '../config/flag-table.ts';
import { choice, duration, flag, list, optionalUrls, text, whole } from '../config/values.ts';
import { hostPort } from '../tcp-gateway/flags.ts';

const UINT32_MAX = 0xffff_ffff;
const MIB = 1024 * 1024;
const YEARS_MAX = 100;

/** What etcd has and what would silently not happen here. */
function refused(initial: string, reason: string): Flag<string> {
  return {
    initial,
    help: `not supported: ${reason}`,
    parse(value) {
      if (value !== initial && value !== '') throw new UsageError(`is not supported: ${reason}`);
      return initial;
    },
  };
}

export const proxyFlags = {
  'listen-addr': text('127.0.0.1:23790', 'where clients connect, as host:port'),
  endpoints: { ...list('members of the cluster, as host:port or URL'), initial: ['127.0.0.1:2379'] },
  'endpoints-auto-sync-interval': refused('0', 'the endpoints are those of --endpoints or of the SRV records'),
  'discovery-srv': {
    ...srvFlags['discovery-srv'],
    help: 'DNS domain whose SRV records name the endpoints, instead of --endpoints',
  },
  'discovery-srv-name': {
    ...srvFlags['discovery-srv-name'],
    help: 'suffix of the service in those records: _etcd-client-NAME._tcp',
  },
  'discovery-dns-servers': srvFlags['discovery-dns-servers'],
  'insecure-discovery': flag(false, 'use SRV records without TLS, too'),
  namespace: text('', 'prefix of all keys that clients see and write'),
  'advertise-client-url': text(
    '127.0.0.1:23790',
    'what the member list shows in place of the members; empty: the members',
  ),
  'resolver-prefix': text('', 'prefix of the store under which proxies tell of themselves'),
  'resolver-ttl': whole(0, 0, UINT32_MAX, 'seconds after which a proxy that is gone is forgotten there'),
  'cache-max-age': duration(1000, 0, 'how old an answer to a serializable read may be; 0: always ask'),
  'cache-max-bytes': whole(64 * MIB, 0, Number.MAX_SAFE_INTEGER, 'most bytes of such answers'),
  'metrics-addr': optionalUrls('where /metrics and /health are served besides'),
  'max-send-bytes': whole(1.5 * MIB, 1, 64 * MIB, 'largest request'),
  'max-concurrent-streams': whole(10_000, 1, UINT32_MAX, 'most HTTP/2 streams a connection may hold open'),
  'grpc-keepalive-min-time': duration(5000, 0, 'shortest interval at which a client may ping'),
  'grpc-keepalive-interval': duration(7_200_000, 0, 'idle time after which the proxy pings a client; 0: never'),
  'grpc-keepalive-timeout': duration(20_000, 1, 'how long the proxy waits for the answer to its ping'),
  'dial-timeout': duration(5000, 1, 'how long a call looks for an endpoint that answers'),
  cert: text(
    '',
    'PEM certificate shown to the members; it must have no common name, which would be the user of everyone',
  ),
  key: text('', 'PEM key of cert'),
  cacert: text('', 'PEM certificates of the authorities that sign those of the members'),
  'insecure-skip-tls-verify': flag(false, 'dangerous: take any certificate of the members'),
  'cert-file': text('', 'PEM certificate shown to clients, who connect over TLS then'),
  'key-file': text('', 'PEM key of cert-file'),
  'trusted-ca-file': text(
    '',
    'PEM certificates of the authorities that sign those of clients; demands one of every client',
  ),
  'client-crl-file': text('', 'revoked client certificates: X509 CRL, PEM or DER'),
  'auto-tls': flag(false, 'make a self-signed certificate for clients, if cert-file is not given'),
  'self-signed-cert-validity': whole(1, 1, YEARS_MAX, 'years that it is valid'),
  'data-dir': text('default.proxy', 'where the certificate of auto-tls is kept'),
  'listen-cipher-suites': list("cipher suites of TLS 1.2 towards clients, by Go's names"),
  'tls-min-version': choice('TLS1.2', ['TLS1.2', 'TLS1.3'], 'lowest version of TLS'),
  'tls-max-version': choice('', ['', 'TLS1.2', 'TLS1.3'], 'highest version of TLS; default: the highest there is'),
  'experimental-serializable-ordering': flag(false, 'serializable reads never go back in revision; nothing is cached'),
  'experimental-leasing-prefix': refused(
    '',
    'leasing would let a proxy that is cut off serve what others have changed',
  ),
  debug: flag(false, 'the same as --log-level debug'),
  'log-level': choice('info', ['debug', 'info', 'warn', 'error', 'panic', 'fatal'], 'least severity that is logged'),
  'log-format': choice('json', ['json', 'console'], 'json lines, or text for a terminal'),
  'max-recv-bytes': whole(2 ** 31 - 1, 1, Number.MAX_SAFE_INTEGER, 'accepted, of no effect: answers may have any size'),
  'dial-keepalive-time': duration(0, 0, 'accepted, of no effect: connections notice by themselves when they are dead'),
  'dial-keepalive-timeout': duration(20_000, 0, 'accepted, of no effect, as dial-keepalive-time'),
  'permit-without-stream': flag(false, 'accepted, of no effect, as dial-keepalive-time'),
  'enable-pprof': flag(false, 'accepted, of no effect: /debug/pprof belongs to Go'),
  'experimental-enable-grpc-logging': flag(false, 'accepted, of no effect: see --log-level'),
} satisfies FlagTable;

export type ProxyFlags = FlagValues<typeof proxyFlags>;

const WITHOUT_EFFECT = Object.entries(proxyFlags)
  .filter(([, { help }]) => help.startsWith('accepted'))
  .map(([name]) => name);

/** Throws UsageError. `ignored`: what was given and does nothing. */
export function readProxyFlags(args: readonly string[]): { flags: ProxyFlags; ignored: string[] } {
  const { values: flags, given } = parseFlags(proxyFlags, args, {});
  hostPort(flags['listen-addr'], 'listen-addr');
  if (flags.endpoints.length === 0) throw new UsageError('--endpoints must name at least one member');
  for (const [cert, key] of [
    ['cert', 'key'],
    ['cert-file', 'key-file'],
  ] as const) {
    if ((flags[cert] === '') !== (flags[key] === ''))
      throw new UsageError(`--${cert} and --${key} must be given together`);
  }
  const { 'resolver-prefix': prefix, 'resolver-ttl': ttl } = flags;
  if (prefix !== '' && ttl < 1) throw new UsageError(`invalid resolver-ttl ${ttl}: --resolver-prefix needs at least 1`);
  if (prefix === '' && ttl > 0) throw new UsageError('invalid resolver-prefix: --resolver-ttl needs it');
  if (prefix !== '' && flags['advertise-client-url'] === '') {
    throw new UsageError('invalid advertise-client-url: --resolver-prefix needs it');
  }
  if (flags['client-crl-file'] !== '' && flags['trusted-ca-file'] === '') {
    throw new UsageError('--client-crl-file needs --trusted-ca-file: otherwise it revokes nothing');
  }
  if (flags['trusted-ca-file'] !== '' && flags['cert-file'] === '' && !flags['auto-tls']) {
    throw new UsageError('--trusted-ca-file needs --cert-file or --auto-tls: otherwise clients connect without TLS');
  }
  if (flags.debug) flags['log-level'] = 'debug';
  return { flags, ignored: WITHOUT_EFFECT.filter((name) => given.has(name)).map((name) => `--${name}`) };
}
