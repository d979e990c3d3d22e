/**
 * The flags by which a member learns who the founders of its cluster are, other than by --initial-cluster: from SRV records
 * or from a discovery service. etcd's names and defaults, and what they need of each other.
 */
import { type FlagTable, type FlagValues, UsageError } from './flag-table.ts';
import { duration, flag, list, text } from './values.ts';

/** For whoever looks up SRV records: members, gateway and proxy alike. */
export const srvFlags = {
  'discovery-srv': text('', 'DNS domain whose SRV records name the members'),
  'discovery-srv-name': text('', 'suffix of the service in those records: _etcd-server-NAME._tcp'),
  'discovery-dns-servers': list(
    "DNS servers asked for the records and the names in them, as address or address:port; default: the system's",
  ),
} as const satisfies FlagTable;

export const discoveryFlags = {
  ...srvFlags,
  'discovery-token': text('', 'name of the new cluster at the discovery service'),
  'discovery-endpoints': list('an etcd or Roster cluster through which the founders of the new one find each other'),
  'discovery-dial-timeout': duration(2000, 1, 'how long an endpoint of the discovery service is looked for'),
  'discovery-request-timeout': duration(5000, 1, 'how long a request to the discovery service may take'),
  'discovery-insecure-transport': flag(
    true,
    'reach endpoints of the discovery service that are given without http:// or https:// without TLS',
  ),
  'discovery-insecure-skip-tls-verify': flag(false, 'dangerous: take any certificate of the discovery service'),
  'discovery-cert': text('', 'PEM certificate shown to the discovery service'),
  'discovery-key': text('', 'PEM key of discovery-cert'),
  'discovery-cacert': text('', 'PEM certificates of the authorities that sign that of the discovery service'),
  'discovery-user': text('', 'user[:password] at the discovery service'),
  'discovery-password': text('', 'password of discovery-user, if that does not have it'),
} as const satisfies FlagTable;

export type SrvFlags = FlagValues<typeof srvFlags>;
export type DiscoveryFlags = FlagValues<typeof discoveryFlags>;

/** Whether the members are to be discovered. Throws UsageError when the flags contradict each other. */
export function checkDiscoveryFlags(flags: DiscoveryFlags & { readonly 'initial-cluster': string }): boolean {
  const endpoints = flags['discovery-endpoints'];
  const ways = [flags['initial-cluster'] !== '', endpoints.length > 0, flags['discovery-srv'] !== ''];
  if (ways.filter((way) => way).length > 1) {
    throw new UsageError(
      'multiple discovery or bootstrap flags are set: choose one of --initial-cluster, --discovery-endpoints and --discovery-srv',
    );
  }
  if (endpoints.length > 0 !== (flags['discovery-token'] !== '')) {
    throw new UsageError('--discovery-endpoints and --discovery-token must be given together');
  }
  // They are part of keys.
  if (/[/\s]/.test(flags['discovery-token'])) throw new UsageError('--discovery-token must have no slash and no space');
  if ((flags['discovery-cert'] === '') !== (flags['discovery-key'] === '')) {
    throw new UsageError('--discovery-cert and --discovery-key must be given together');
  }
  if (flags['discovery-srv'] === '' && flags['discovery-srv-name'] !== '') {
    throw new UsageError('--discovery-srv-name needs --discovery-srv');
  }
  return flags['discovery-srv'] !== '' || endpoints.length > 0;
}
