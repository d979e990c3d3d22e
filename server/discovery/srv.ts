/**
 * Who the members are, by SRV records: the founders with their peer URLs, or the endpoints for clients. etcd's names of the
 * records (`_etcd-server-ssl._tcp`, `_etcd-server._tcp`, `_etcd-client-ssl._tcp`, `_etcd-client._tcp`).
 */
import { GrpcStatus, otherError, type RosterError } from '../../core/errors.ts';
import type { Dns, SrvRecord } from './dns.ts';

export interface SrvDomain {
  /** See --discovery-srv. */
  readonly domain: string;
  /** See --discovery-srv-name. */
  readonly serviceName: string;
}

export interface SrvUrl {
  readonly url: string;
  readonly priority: number;
  readonly weight: number;
}

interface Found extends SrvRecord {
  readonly scheme: 'http' | 'https';
  readonly url: string;
}

export interface DiscoveredMembers {
  /** As for --initial-cluster. Others have numbers for names until they tell their own. */
  readonly initialCluster: string;
  /** Of the member that asks, as the records have them. Sorted. */
  readonly ownUrls: readonly string[];
}

/**
 * The founders. The member that asks is the record whose host and port, or whose address and port, are those of one of
 * its advertised URLs. RosterError when there are no records, or it is in none of them.
 */
export async function membersBySrv(
  dns: Pick<Dns, 'srv' | 'addresses'>,
  at: SrvDomain,
  self: { readonly name: string; readonly advertised: readonly string[] },
): Promise<DiscoveredMembers> {
  const found = await recordsOf(dns, 'etcd-server', at);
  const own = new Map<string, string>();
  for (const url of self.advertised) for (const place of await placesOf(dns, hostAndPort(url))) own.set(place, url);
  const parts: string[] = [];
  const ownUrls: string[] = [];
  const reasons: string[] = [];
  let others = 0;
  for (const record of found) {
    const places = await placesOf(dns, record);
    const place = places.find((one) => own.has(one));
    const advertised = place === undefined ? undefined : own.get(place)!;
    if (advertised !== undefined && !advertised.startsWith(`${record.scheme}:`)) {
      reasons.push(`${record.url} has another scheme than --initial-advertise-peer-urls ${advertised}`);
    } else if (advertised !== undefined) {
      parts.push(`${self.name}=${record.url}`);
      ownUrls.push(record.url);
    } else parts.push(`${nameOf(others++, self.name)}=${record.url}`);
  }
  if (ownUrls.length === 0) {
    const records = found.map(({ url }) => url).join(', ');
    const why = [
      ...reasons,
      `the records name ${records}, --initial-advertise-peer-urls ${self.advertised.join(', ')}`,
    ];
    throw refusal(`cannot find local etcd member "${self.name}" in SRV records of ${at.domain}: ${why.join('; ')}`);
  }
  return { initialCluster: parts.join(','), ownUrls: ownUrls.sort() };
}

/** Where clients reach the cluster, the lowest priority first. RosterError when there are no records. */
export async function endpointsBySrv(dns: Pick<Dns, 'srv'>, at: SrvDomain): Promise<SrvUrl[]> {
  return (await recordsOf(dns, 'etcd-client', at)).map(({ url, priority, weight }) => ({ url, priority, weight }));
}

/** Those of both schemes together, as etcd has it. One scheme that cannot be asked for does not hide the other. */
async function recordsOf(dns: Pick<Dns, 'srv'>, service: string, at: SrvDomain): Promise<Found[]> {
  const suffix = at.serviceName === '' ? '' : `-${at.serviceName}`;
  const names = { https: `_${service}-ssl${suffix}._tcp.${at.domain}`, http: `_${service}${suffix}._tcp.${at.domain}` };
  const errors: RosterError[] = [];
  const found: Found[] = [];
  for (const scheme of ['https', 'http'] as const) {
    const records = await dns.srv(names[scheme]).catch((error: RosterError) => {
      errors.push(error);
      return [];
    });
    for (const record of records) {
      const host = record.host.includes(':') ? `[${record.host}]` : record.host;
      found.push({ ...record, scheme, url: `${scheme}://${host}:${record.port}` });
    }
  }
  if (found.length > 0) return found;
  throw errors[0] ?? refusal(`there are no SRV records ${names.https} or ${names.http}`);
}

/** The name a URL has, and the addresses behind it: `host:port` each. */
async function placesOf(dns: Pick<Dns, 'addresses'>, at: { host: string; port: number }): Promise<string[]> {
  const hosts = [at.host.toLowerCase(), ...(await dns.addresses(at.host))];
  return hosts.map((host) => `${host}:${at.port}`);
}

function hostAndPort(url: string): { host: string; port: number } {
  const { protocol, hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  return { host, port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port) };
}

/** A number, unless that is what this member is called. */
function nameOf(index: number, ownName: string): string {
  return String(index) === ownName ? `_${index}` : String(index);
}

function refusal(message: string): RosterError {
  return otherError(GrpcStatus.FAILED_PRECONDITION, message);
}
