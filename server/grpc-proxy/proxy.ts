/**
 * One gRPC proxy, from flags to a listening server and back: what stands between its clients and the store, in which order
 * it starts and stops. The process and its signals belong to main.ts.
 */
import { X509Certificate } from 'node:crypto';
import { hostname } from 'node:os';
import type { ClientOptions } from '../../client/client.ts';
import { methods } from '../../client/methods.ts';
import { GrpcStatus, otherError, RosterError } from '../../core/errors.ts';
import { utf8ToByteString } from '../../core/util/bytes.ts';
import { defaults } from '../../core/wire/binary.ts';
import { RangeRequest } from '../../core/wire/messages.ts';
import { ClientListeners, type ListenerFlags } from '../client-listeners.ts';
import type { Logger } from '../config/log.ts';
import { Dns } from '../discovery/dns.ts';
import { endpointsBySrv } from '../discovery/srv.ts';
import { counted } from '../http/call-counts.ts';
import { electionMethods } from '../rpc/election.ts';
import { healthMethods } from '../rpc/health.ts';
import { InnerMethods } from '../rpc/inner-calls.ts';
import { lockMethods } from '../rpc/lock.ts';
import type { Method, UnaryMethod } from '../rpc/service.ts';
import { type HostPort, hostPort } from '../tcp-gateway/flags.ts';
import { upstreamTls } from '../upstream/tls-options.ts';
import { Upstream } from '../upstream/upstream.ts';
import { clusterMethods } from './cluster.ts';
import type { ProxyFlags } from './flags.ts';
import { forwarded, forwardedStream } from './forward.ts';
import { proxyApps } from './http.ts';
import { type KvWorld, kvMethods } from './kv.ts';
import { type LeaseCounts, leaseMethods } from './lease.ts';
import { openListenerTls } from './listener-tls.ts';
import { proxyMetrics } from './metrics.ts';
import { Namespace } from './namespace.ts';
import { ReadCache } from './read-cache.ts';
import { Registration } from './registration.ts';
import { Revisions } from './revisions.ts';
import { passedThrough, snapshot } from './rpcs.ts';
import { watchMethods } from './watch.ts';
import type { WatchCounts } from './watch-hub.ts';

export interface RunningProxy {
  /** Where clients reach it, with the port it got. */
  readonly url: string;
  readonly watches: Readonly<WatchCounts>;
  readonly leases: Readonly<LeaseCounts>;
  readonly cache: ReadCache;
  /** Refuses new calls, ends the streams, lets the calls under way finish. */
  close(): Promise<void>;
}

/** Answers in the cache. */
const CACHE_ENTRIES_MAX = 16_384;
/** How long a probe waits for the store. */
const HEALTH_TIMEOUT_MS = 1000;

/** Changes what callers may read, or the keys themselves, in ways that no key in the request tells of. */
const CHANGES_MUCH = /^\/etcdserverpb\.(?:Auth\/(?!Authenticate$|AuthStatus$)|Lease\/LeaseRevoke$)/;

/** Throws UsageError or RosterError when flags, files or the port cannot be used. */
export async function startProxy(flags: ProxyFlags, log: Logger): Promise<RunningProxy> {
  const tls = storeTls(flags);
  const endpoints = await endpointsOf(flags);
  const client = { endpoints, ...(tls === undefined ? {} : { tls }) };
  const upstream = new Upstream({ ...client, dialTimeoutMs: flags['dial-timeout'] });
  const at = hostPort(flags['listen-addr'], 'listen-addr');
  const listenerTls = await openListenerTls(flags, at.host, log);
  const registration = registrationOf(flags, client, log);
  const stopping = new AbortController();
  const watches: WatchCounts = { receivers: 0, broadcasts: 0, created: 0, eventsShared: 0 };
  const leases: LeaseCounts = { asked: 0, sent: 0 };
  const world = worldOf(flags, upstream);
  const basic: Method[] = [
    ...kvMethods(world),
    ...watchMethods({ ...world, counts: watches }),
    ...leaseMethods({ ...world, leases }),
    ...clusterMethods({ upstream, advertised: flags['advertise-client-url'], registration }),
    ...passedThrough.map((rpc) => noted(world, forwarded(upstream, rpc))),
    forwardedStream(upstream, snapshot, { request: (request) => request, response: (response) => response }),
    ...healthMethods(),
  ];
  // Made of the others, so that they keep to the namespace and share watches.
  const inner = new InnerMethods(basic, stopping.signal);
  const all = counted([...basic, ...lockMethods(inner), ...electionMethods(inner)], { slowMs: 0, onSlow: () => {} });
  const metrics = proxyMetrics({
    cache: world.cache,
    watches,
    leases,
    calls: all.counts,
    clientBytes: () => listeners.bytes,
  });
  const apps = proxyApps(
    metrics,
    () => health(upstream),
    (error) => log.error({ error }, 'an HTTP request failed'),
  );
  const listeners: ClientListeners = new ClientListeners(
    listenerFlags(flags, at, listenerTls !== undefined),
    listenerTls?.tls,
    all.methods,
    apps,
    log,
  );
  const close = async () => {
    stopping.abort();
    await registration?.close();
    await listeners.close();
    upstream.close();
    listenerTls?.close();
  };
  try {
    await listeners.listen();
  } catch (error) {
    await close();
    throw error;
  }
  const url = listeners.urls[0]!;
  log.info({ url, endpoints, namespace: flags.namespace }, 'grpc-proxy: serving clients');
  return { url, watches, leases, cache: world.cache, close };
}

function worldOf(flags: ProxyFlags, upstream: Upstream): KvWorld {
  const ordered = flags['experimental-serializable-ordering'];
  const cache = new ReadCache({
    ageMaxMs: ordered ? 0 : flags['cache-max-age'],
    bytesMax: flags['cache-max-bytes'],
    entriesMax: CACHE_ENTRIES_MAX,
  });
  const namespace = new Namespace(utf8ToByteString(flags.namespace));
  return { upstream, namespace, cache, revisions: new Revisions(), ordered };
}

function listenerFlags(flags: ProxyFlags, { host, port }: HostPort, secure: boolean): ListenerFlags {
  const name = host === '' ? '[::]' : host.includes(':') ? `[${host}]` : host;
  return {
    ...flags,
    'max-request-bytes': flags['max-send-bytes'],
    'listen-client-urls': [`${secure ? 'https' : 'http'}://${name}:${port}`],
    'listen-client-http-urls': [],
    'listen-metrics-urls': flags['metrics-addr'],
  };
}

/** The same, with what the proxy must know of it. */
function noted({ cache, revisions }: KvWorld, method: UnaryMethod): Method {
  const changesMuch = CHANGES_MUCH.test(method.path);
  return {
    ...method,
    handle: (call, request, done) =>
      method.handle(call, request, (result) => {
        if (changesMuch) cache.clear();
        done(result instanceof RosterError ? result : revisions.seen(result));
      }),
  };
}

/** As etcd's proxy: a read that must go through the leader, or that the store refuses for want of a token. */
async function health(upstream: Upstream): Promise<string> {
  try {
    const request = { ...defaults(RangeRequest), key: 'a' };
    await upstream.call(methods.range, request, { timeoutMs: HEALTH_TIMEOUT_MS });
    return '';
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    const refused = error.code === 'UserEmpty' || error.code === 'PermissionDenied';
    return refused ? '' : error.message;
  }
}

function storeTls(flags: ProxyFlags) {
  const tls = upstreamTls({
    cert: flags.cert,
    key: flags.key,
    caCert: flags.cacert,
    insecureSkipVerify: flags['insecure-skip-tls-verify'],
    insecureTransport: true,
  });
  if (tls?.cert !== undefined) refuseCommonName(flags.cert, tls.cert);
  return tls;
}

/** The store takes the common name of a certificate for the user of who sends no token: here, everybody (CVE-2018-16886). */
function refuseCommonName(file: string, pem: string | Uint8Array): void {
  let subject: string;
  try {
    ({ subject } = new X509Certificate(pem));
  } catch (error) {
    throw otherError(GrpcStatus.FAILED_PRECONDITION, `cannot use the TLS file ${file}: ${(error as Error).message}`);
  }
  const name = /^CN=(.+)$/m.exec(subject)?.[1];
  if (name === undefined) return;
  const text = `--cert: cert has non empty Common Name (${name}): ${file}. Whoever comes through the proxy would be that user: use a certificate without one`;
  throw otherError(GrpcStatus.FAILED_PRECONDITION, text);
}

async function endpointsOf(flags: ProxyFlags): Promise<readonly string[]> {
  const domain = flags['discovery-srv'];
  if (domain === '') return flags.endpoints;
  const dns = new Dns(flags['discovery-dns-servers']);
  const found = await endpointsBySrv(dns, { domain, serviceName: flags['discovery-srv-name'] });
  const usable = found.filter(({ url }) => flags['insecure-discovery'] || url.startsWith('https:'));
  if (usable.length > 0) return usable.map(({ url }) => url);
  const text = `the SRV records of ${domain} name ${found.map(({ url }) => url).join(', ')}, which cannot be verified: give the members TLS and _etcd-client-ssl records, or --insecure-discovery`;
  throw otherError(GrpcStatus.FAILED_PRECONDITION, text);
}

function registrationOf(flags: ProxyFlags, client: ClientOptions, log: Logger): Registration | undefined {
  if (flags['resolver-prefix'] === '') return undefined;
  return new Registration({
    client,
    prefix: `${flags.namespace}${flags['resolver-prefix']}`,
    address: flags['advertise-client-url'],
    name: hostname(),
    ttlSeconds: flags['resolver-ttl'],
    log,
  });
}
