/** The flags of `roster gateway start`: etcd's names and defaults, and where the endpoints come from. Opens nothing. */
import { srvFlags } from '../config/discovery-flags.ts';
import { type FlagTable, type FlagValues, UsageError } from '../config/flag-table.ts';
import { choice, duration, flag, list, text, whole } from '../config/values.ts';

const { 'discovery-srv': srv, 'discovery-srv-name': srvName, 'discovery-dns-servers': dnsServers } = srvFlags;

export const gatewayFlags = {
  'listen-addr': text('127.0.0.1:23790', 'where clients connect, as host:port'),
  endpoints: { ...list('members of the cluster, as host:port or URL'), initial: ['127.0.0.1:2379'] },
  'discovery-srv': { ...srv, help: 'DNS domain whose SRV records name the endpoints, instead of --endpoints' },
  'discovery-srv-name': { ...srvName, help: 'suffix of the service in those records: _etcd-client-NAME._tcp' },
  'discovery-dns-servers': dnsServers,
  'insecure-discovery': flag(false, 'use what SRV records name without a proof by TLS, and records without TLS too'),
  'trusted-ca-file': text(
    '',
    'PEM certificates of the authorities that sign those of the endpoints: an endpoint that does not show one is not used',
  ),
  'retry-delay': duration(60_000, 1, 'between two attempts to reach an endpoint that has failed'),
  'max-connections': whole(10_000, 1, 1_000_000, 'most connections of clients at once'),
  'log-level': choice('info', ['debug', 'info', 'warn', 'error', 'panic', 'fatal'], 'least severity that is logged'),
  'log-format': choice('json', ['json', 'console'], 'json lines, or text for a terminal'),
} satisfies FlagTable;

export type GatewayFlags = FlagValues<typeof gatewayFlags>;

export interface HostPort {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

/** `host:port` or `http(s)://host:port`. Throws UsageError that names `flag`. */
export function hostPort(value: string, flagName: string): HostPort {
  const match = /^(?:https?:\/\/)?(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:/[\]@]*)):(\d{1,5})\/?$/.exec(value);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new UsageError(`--${flagName}: ${JSON.stringify(value)} must be host:port`);
  }
  return { host: match[1] ?? match[2]!, port };
}
