/**
 * The flags of a first start with the founders filled in, where they are to be discovered. Asked only while the data
 * directory is empty: afterwards it says who the members are.
 */

import { GrpcStatus, otherError } from '../../core/errors.ts';
import type { BootstrapFlags } from '../bootstrap.ts';
import type { DiscoveryFlags } from '../config/discovery-flags.ts';
import { memberId } from '../config/identity.ts';
import type { Logger } from '../config/log.ts';
import { upstreamTls } from '../upstream/tls-options.ts';
import { Dns } from './dns.ts';
import { membersBySrv } from './srv.ts';

/** Resolves with `flags` themselves where nothing is to be discovered. RosterError, UsageError: it cannot be. */
export async function discovered<Flags extends BootstrapFlags & DiscoveryFlags>(
  flags: Flags,
  log: Logger,
  signal: AbortSignal,
): Promise<Flags> {
  if (flags['discovery-srv'] !== '') return bySrv(flags, log);
  if (flags['discovery-endpoints'].length > 0) return byRegistry(flags, log, signal);
  return flags;
}

async function bySrv<Flags extends BootstrapFlags & DiscoveryFlags>(flags: Flags, log: Logger): Promise<Flags> {
  const domain = flags['discovery-srv'];
  const { initialCluster, ownUrls } = await membersBySrv(
    new Dns(flags['discovery-dns-servers']),
    { domain, serviceName: flags['discovery-srv-name'] },
    { name: flags.name, advertised: flags['initial-advertise-peer-urls'] },
  );
  log.info({ domain, 'initial-cluster': initialCluster }, 'got the members from SRV records');
  // What the records say counts: it is the same for all founders.
  return { ...flags, 'initial-cluster': initialCluster, 'initial-advertise-peer-urls': ownUrls };
}

async function byRegistry<Flags extends BootstrapFlags & DiscoveryFlags>(
  flags: Flags,
  log: Logger,
  signal: AbortSignal,
): Promise<Flags> {
  const { name, 'discovery-token': token, 'discovery-endpoints': endpoints } = flags;
  if (flags['initial-cluster-state'] === 'existing') {
    const text = 'a discovery service founds new clusters: to join an existing one, use --initial-cluster';
    throw otherError(GrpcStatus.FAILED_PRECONDITION, text);
  }
  // With them comes a whole gRPC client, which hardly any start needs.
  const [{ Upstream }, { Registry }] = await Promise.all([import('../upstream/upstream.ts'), import('./registry.ts')]);
  const peerUrls = flags['initial-advertise-peer-urls'];
  const founder = { id: memberId(peerUrls, token), urls: peerUrls.map((url) => `${name}=${url}`).join(',') };
  const upstream = new Upstream({ endpoints, tls: tlsOf(flags), dialTimeoutMs: flags['discovery-dial-timeout'] });
  try {
    log.info({ endpoints, token }, 'registering with the discovery service');
    const registry = new Registry({
      upstream,
      token,
      ...userOf(flags),
      log,
      requestTimeoutMs: flags['discovery-request-timeout'],
    });
    const initialCluster = await registry.join(founder, signal);
    log.info({ 'initial-cluster': initialCluster }, 'got the members from the discovery service');
    // As with etcd, the token sets the cluster apart.
    return { ...flags, 'initial-cluster': initialCluster, 'initial-cluster-token': token };
  } finally {
    upstream.close();
  }
}

function tlsOf(flags: DiscoveryFlags) {
  return upstreamTls({
    cert: flags['discovery-cert'],
    key: flags['discovery-key'],
    caCert: flags['discovery-cacert'],
    insecureSkipVerify: flags['discovery-insecure-skip-tls-verify'],
    insecureTransport: flags['discovery-insecure-transport'],
  });
}

/** As etcdctl takes it: a password after the colon, unless there is one of its own. */
function userOf(flags: DiscoveryFlags): { user: string; password: string } {
  const { 'discovery-user': text, 'discovery-password': given } = flags;
  const colon = text.indexOf(':');
  if (given !== '' || colon === -1) return { user: text, password: given };
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
