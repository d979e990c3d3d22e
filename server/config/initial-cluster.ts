/**
 * What --initial-cluster says: the members at the first start, and whether that fits this one. Consulted only while the
 * data directory is empty, as etcd does; afterwards the directory says who the members are.
 */
import { UsageError } from './flag-table.ts';
import { memberId } from './identity.ts';
import { checkUrl } from './values.ts';

export interface InitialMember {
  /** As a new cluster would have it. */
  readonly id: bigint;
  readonly name: string;
  /** Sorted. */
  readonly peerUrls: readonly string[];
}

/** What of the flags matters here. */
export interface InitialFlags {
  readonly name: string;
  readonly 'initial-cluster': string;
  readonly 'initial-cluster-token': string;
  readonly 'initial-advertise-peer-urls': readonly string[];
}

/** `name=url,name=url,...` -> name and peer URLs; the same name may come several times. Throws UsageError. */
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

/**
 * The initial members, and which of them this one is. Throws UsageError in etcd's words (config.ServerConfig,
 * VerifyBootstrap) when the own name is missing, an URL comes twice, or the advertised URLs are others.
 */
export function initialMembers(flags: InitialFlags): { members: InitialMember[]; own: InitialMember } {
  const token = flags['initial-cluster-token'];
  const members = [...parseInitialCluster(flags['initial-cluster'])].map(([name, urls]) => {
    const peerUrls = urls.sort();
    return { id: memberId(peerUrls, token), name, peerUrls };
  });
  const own = members.find(({ name }) => name === flags.name);
  if (own === undefined) {
    throw new UsageError(
      `couldn't find local name "${flags.name}" in the initial cluster configuration: add ${flags.name}=${flags['initial-advertise-peer-urls'][0]} to --initial-cluster`,
    );
  }
  const urls = members.flatMap(({ peerUrls }) => peerUrls);
  if (new Set(urls).size < urls.length) {
    throw new UsageError(`initial cluster ${flags['initial-cluster']} has duplicate url`);
  }
  checkAdvertised(flags, own);
  return { members, own };
}

function checkAdvertised(flags: InitialFlags, own: InitialMember): void {
  const advertised = flags['initial-advertise-peer-urls'];
  const named = (urls: readonly string[]) => urls.map((url) => `${own.name}=${url}`).join(',');
  const unknown = own.peerUrls.filter((url) => !advertised.includes(url));
  if (unknown.length > 0) {
    throw new UsageError(
      `--initial-cluster has ${named(unknown)} but missing from --initial-advertise-peer-urls=${advertised.join(',')}`,
    );
  }
  const missing = advertised.filter((url) => !own.peerUrls.includes(url));
  if (missing.length > 0) {
    throw new UsageError(
      `--initial-advertise-peer-urls has ${named(missing)} but missing from --initial-cluster=${flags['initial-cluster']}`,
    );
  }
}
