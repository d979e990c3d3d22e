/**
 * One service on the roster: what every source produces and what the reconciler writes. Owns the key layout
 * `<prefix>/<name>/<id>` = `ip:port` (gliderlabs/registrator's). Knows nothing of where services come from.
 */
import { isIPv6 } from 'node:net';

export type Protocol = 'tcp' | 'udp' | 'sctp';

export interface Service {
  /** Unique under its name: `<hostname>:<container>:<exposed port>[:udp]` unless someone chose another. */
  readonly id: string;
  readonly name: string;
  /** Address clients connect to; IPv6 without brackets. */
  readonly ip: string;
  readonly port: number;
  readonly tags: readonly string[];
  /** Every other SERVICE_* key, names in lower case. */
  readonly attrs: Readonly<Record<string, string>>;
  /** Where it comes from, for people: `docker:web-1`, `file:/etc/roster/db.toml`, `exec:node`. */
  readonly origin: string;
}

/** What happened to one service, once the store has acknowledged it. */
export interface ServiceChange {
  readonly kind: 'up' | 'moved' | 'down';
  readonly service: Service;
  readonly key: string;
  /** `ip:port` now; for `down`, what it was. */
  readonly value: string;
  /** For `moved`: the value before. */
  readonly previous?: string;
}

/** `<hostname>:<unit>:<port>`, with the protocol at the end unless it is TCP. */
export function defaultId(hostname: string, unit: string, port: number, protocol: Protocol): string {
  return `${hostname}:${unit}:${port}${protocol === 'tcp' ? '' : `:${protocol}`}`;
}

/** True for ids of the {@link defaultId} form that begin with `hostname`: written by an agent of this host. */
export function isIdOfHost(id: string, hostname: string): boolean {
  return id.startsWith(`${hostname}:`) && /^[^:]+:\d+(?::(?:udp|sctp))?$/.test(id.slice(hostname.length + 1));
}

/** `/services`, `services/` and `services` all mean the same tree; the empty prefix is the root. */
export function normalPrefix(prefix: string): string {
  const inner = prefix.replace(/^\/+|\/+$/g, '');
  return inner === '' ? '' : `/${inner}`;
}

/** The key of a service under a {@link normalPrefix}. */
export function serviceKey(prefix: string, service: Pick<Service, 'name' | 'id'>): string {
  return `${prefix}/${service.name}/${service.id}`;
}

/** `ip:port`, an IPv6 address in brackets. */
export function serviceValue(service: Pick<Service, 'ip' | 'port'>): string {
  return `${isIPv6(service.ip) ? `[${service.ip}]` : service.ip}:${service.port}`;
}

/** The last path element of an image, without tag or digest: the name a container has when it chose none. */
export function imageName(image: string): string {
  const last = image.slice(image.lastIndexOf('/') + 1);
  return last.split(/[:@]/, 1)[0]!;
}
