/**
 * `roster gateway start`: a TCP gateway for programs that know one address only. Owns what the flags come to; the process
 * and its signals belong to main.ts.
 */
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import { describeFlags, parseFlags, UsageError } from '../config/flag-table.ts';
import { createLogger, type Logger } from '../config/log.ts';
import { Dns } from '../discovery/dns.ts';
import { endpointsBySrv } from '../discovery/srv.ts';
import { type GatewayFlags, gatewayFlags, type HostPort, hostPort } from './flags.ts';
import { Gateway } from './gateway.ts';
import { type Proof, type RemoteAddress, Remotes } from './remotes.ts';

const help = `usage: roster gateway start [flags]

Carries TCP connections to the members of a cluster, in turn, past those that cannot be reached. TLS goes through as it is.

${describeFlags(gatewayFlags)}
`;

/** Resolves with the exit code when `signal` has fired and all is closed. Throws UsageError or RosterError. */
export async function runGateway(args: readonly string[], signal: AbortSignal): Promise<number> {
  const [command, ...rest] = args;
  if (command === undefined || args.some((arg) => /^--?(?:help|h)$/.test(arg))) {
    process.stdout.write(help);
    return 0;
  }
  if (command !== 'start') throw new UsageError(`roster gateway ${JSON.stringify(command)}: there is start`);
  const { values: flags } = parseFlags(gatewayFlags, rest, {});
  const log = createLogger({ level: flags['log-level'], format: flags['log-format'], outputs: ['default'] });
  const gateway = await startGateway(flags, log);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await gateway.close();
  log.info('stopped');
  return 0;
}

/** A gateway that listens. Throws UsageError or RosterError. */
export async function startGateway(flags: GatewayFlags, log: Logger): Promise<Gateway & { readonly port: number }> {
  const at = hostPort(flags['listen-addr'], 'listen-addr');
  const addresses = await endpointsOf(flags);
  const dns = new Dns(flags['discovery-dns-servers']);
  for (const address of addresses) await refuseItself(dns, at, address);
  const remotes = new Remotes(addresses, proofOf(flags), (remote, error) => {
    if (error === undefined) log.info({ endpoint: remote.name }, 'an endpoint is in use');
    else log.warn({ endpoint: remote.name, reason: error.message }, 'an endpoint cannot be used');
  });
  const gateway = new Gateway({
    remotes,
    log,
    retryDelayMs: flags['retry-delay'],
    connectionsMax: flags['max-connections'],
  });
  const { address, port } = await gateway.listen(at.host === '' ? '::' : at.host, at.port);
  log.info({ address, port, endpoints: remotes.all.map(({ name }) => name) }, 'gateway: taking connections');
  return Object.assign(gateway, { port });
}

async function endpointsOf(flags: GatewayFlags): Promise<RemoteAddress[]> {
  const domain = flags['discovery-srv'];
  if (domain === '') {
    if (flags.endpoints.length === 0) throw new UsageError('--endpoints must name at least one member');
    return flags.endpoints.map((endpoint) => {
      return { ...endpointOf(endpoint), priority: 0, weight: 0 };
    });
  }
  const dns = new Dns(flags['discovery-dns-servers']);
  const found = await endpointsBySrv(dns, { domain, serviceName: flags['discovery-srv-name'] });
  const usable = found.filter(({ url }) => flags['insecure-discovery'] || url.startsWith('https:'));
  if (usable.length === 0) {
    const text = `the SRV records of ${domain} name ${found.map(({ url }) => url).join(', ')}, which cannot be verified: give the members TLS and _etcd-client-ssl records, or --insecure-discovery`;
    throw otherError(GrpcStatus.FAILED_PRECONDITION, text);
  }
  return usable.map(({ url, priority, weight }) => ({ ...endpointOf(url), priority, weight }));
}

function endpointOf(value: string): HostPort {
  const address = hostPort(value, 'endpoints');
  if (address.host === '') throw new UsageError(`--endpoints: ${JSON.stringify(value)} must be host:port`);
  return address;
}

/** What DNS says is believed of members only that prove it, for the domain that was asked (as with etcd). */
function proofOf(flags: GatewayFlags): Proof | undefined {
  const file = flags['trusted-ca-file'];
  const domain = flags['discovery-srv'];
  const discovered = domain !== '' && !flags['insecure-discovery'];
  if (file === '' && !discovered) return undefined;
  let ca: string | undefined;
  try {
    if (file !== '') ca = readFileSync(file, 'utf8');
  } catch (error) {
    const text = `cannot use the TLS file ${file}: ${(error as Error).message}`;
    throw otherError(GrpcStatus.FAILED_PRECONDITION, text, { cause: error });
  }
  return { ca, serverName: discovered ? domain : undefined };
}

/** A gateway that is among its own endpoints would go round until there are no sockets left (CVE-2020-15114). */
async function refuseItself(dns: Dns, listen: HostPort, endpoint: HostPort): Promise<void> {
  if (listen.port === 0 || listen.port !== endpoint.port) return;
  const own = /^(?:|0\.0\.0\.0|::)$/.test(listen.host) ? localAddresses() : await dns.addresses(listen.host);
  const theirs = await dns.addresses(endpoint.host);
  if (!theirs.some((address) => own.includes(address))) return;
  throw new UsageError(`--endpoints: ${endpoint.host}:${endpoint.port} is where the gateway itself listens`);
}

function localAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return ['127.0.0.1', '::1', ...all.map(({ address }) => address)];
}
