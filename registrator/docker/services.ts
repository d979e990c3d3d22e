/**
 * What one container puts on the roster: its published ports, the address each is reached under, and whether it is fit
 * to be found at all. Pure: an inspect answer in, services out.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { isLoopback, isWildcard } from '../address.ts';
import { nameService, portMetadata } from '../metadata.ts';
import { imageName, type Protocol, type Service } from '../service.ts';
import type { ContainerInspect, PortBinding } from './engine.ts';

export interface ContainerOptions {
  hostname: string;
  /** Published instead of every host address, if set. */
  ip: string | undefined;
  /** Address of this host, for ports published on all of its addresses. */
  hostAddress: () => string;
  /** Publish container address and container port. */
  internal: boolean;
  explicit: boolean;
  tags: readonly string[];
}

/** One port of a container that clients can reach. */
export interface ReachablePort {
  /** The container's own number: what names, ids and settings speak of. */
  readonly exposed: number;
  readonly protocol: Protocol;
  readonly ip: string;
  readonly port: number;
}

/** Why a container is not on the roster, or undefined when it may be. */
export function unfitReason(container: ContainerInspect): string | undefined {
  const { State: state } = container;
  if (!state.Running || state.Restarting) return 'not running';
  if (state.Paused) return 'paused';
  const health = state.Health?.Status ?? 'none';
  if (health !== 'none' && health !== '' && health !== 'healthy') return `health: ${health}`;
  return undefined;
}

/** The id of the container whose network this one shares (`--network container:<id>`). */
export function networkPeer(container: ContainerInspect): string | undefined {
  const mode = container.HostConfig?.NetworkMode ?? '';
  return mode.startsWith('container:') ? mode.slice('container:'.length) : undefined;
}

/** The services of a running container; `peer` is the container whose network it shares, if it does. */
export function containerServices(
  container: ContainerInspect,
  options: ContainerOptions,
  peer?: ContainerInspect,
): Service[] {
  const unit = container.Name.replace(/^\//, '');
  const ports = reachablePorts(container, options, peer);
  const services: Service[] = [];
  for (const { exposed, protocol, ip, port } of ports) {
    const metadata = portMetadata(container.Config.Env ?? [], container.Config.Labels ?? {}, exposed, protocol);
    const named = nameService(metadata, exposed, protocol, {
      hostname: options.hostname,
      unit,
      defaultName: imageName(container.Config.Image ?? '') || unit,
      explicit: options.explicit,
      severalPorts: ports.length > 1,
      extraTags: options.tags,
    });
    if (named !== undefined) services.push({ ...named, ip, port, origin: `docker:${unit}` });
  }
  return services;
}

/** The ports of a container that can be reached, by number and then protocol. */
export function reachablePorts(
  container: ContainerInspect,
  options: ContainerOptions,
  peer?: ContainerInspect,
): ReachablePort[] {
  const mode = container.HostConfig?.NetworkMode ?? '';
  const published = container.NetworkSettings?.Ports ?? {};
  const shared = networkPeer(container) !== undefined;
  const names = new Set(Object.keys(published));
  // Ports that are only exposed count where no translation stands between the container and its clients.
  if (mode === 'host' || shared || options.internal) {
    for (const name of Object.keys(container.Config.ExposedPorts ?? {})) names.add(name);
  }
  const result: ReachablePort[] = [];
  for (const name of names) {
    const [number, protocol = 'tcp'] = name.split('/');
    const exposed = Number(number);
    if (!Number.isInteger(exposed) || exposed < 1 || !['tcp', 'udp', 'sctp'].includes(protocol)) continue;
    const place = portPlace(published[name] ?? [], exposed, container, options, peer);
    if (place !== undefined) result.push({ exposed, protocol: protocol as Protocol, ...place });
  }
  return result.sort((a, b) => a.exposed - b.exposed || a.protocol.localeCompare(b.protocol));
}

function portPlace(
  bindings: readonly PortBinding[],
  exposed: number,
  container: ContainerInspect,
  options: ContainerOptions,
  peer: ContainerInspect | undefined,
): { ip: string; port: number } | undefined {
  const host = (ip: string): string => options.ip ?? (isWildcard(ip) ? options.hostAddress() : ip);
  const atHost = (container.HostConfig?.NetworkMode ?? '') === 'host';
  if (networkPeer(container) !== undefined) {
    // As in registrator: the address of the other container wins over every option.
    if (peer?.HostConfig?.NetworkMode === 'host') return { ip: host(''), port: exposed };
    const ip = peer === undefined ? undefined : containerAddress(peer);
    return ip === undefined ? undefined : { ip, port: exposed };
  }
  if (atHost) return { ip: host(''), port: exposed };
  if (options.internal) {
    const ip = containerAddress(container);
    return ip === undefined ? undefined : { ip, port: exposed };
  }
  const binding = chooseBinding(bindings);
  return binding === undefined ? undefined : { ip: host(binding.HostIp ?? ''), port: Number(binding.HostPort) };
}

/**
 * The binding that is published where a port has several: IPv4 before IPv6, then anything before loopback, then the
 * lowest port, then the lowest address, so that the choice is the same after every restart.
 */
export function chooseBinding(bindings: readonly PortBinding[]): PortBinding | undefined {
  const rank = (binding: PortBinding): [number, number, number, string] => {
    const ip = binding.HostIp ?? '';
    return [isIPv6(ip) ? 1 : 0, isLoopback(ip) ? 1 : 0, Number(binding.HostPort), ip];
  };
  return bindings
    .filter((binding) => Number(binding.HostPort) > 0)
    .map((binding) => ({ binding, order: rank(binding) }))
    .sort((a, b) => {
      const at = a.order.findIndex((part, i) => part !== b.order[i]);
      return at < 0 ? 0 : a.order[at]! < b.order[at]! ? -1 : 1;
    })[0]?.binding;
}

/**
 * A container's own address. With several networks: the one it was created on, then the others by name; IPv4 before
 * IPv6. Undefined when it has none.
 */
export function containerAddress(container: ContainerInspect): string | undefined {
  const mode = container.HostConfig?.NetworkMode ?? '';
  const first = mode === 'default' ? 'bridge' : mode;
  const networks = Object.entries(container.NetworkSettings?.Networks ?? {})
    .sort(([a], [b]) => Number(b === first) - Number(a === first) || (a < b ? -1 : 1))
    .map(([, network]) => network);
  const candidates = [...networks, container.NetworkSettings];
  for (const candidate of candidates) if (isIPv4(candidate?.IPAddress ?? '')) return candidate!.IPAddress!;
  for (const candidate of candidates) {
    if (isIPv6(candidate?.GlobalIPv6Address ?? '')) return candidate!.GlobalIPv6Address!;
  }
  return undefined;
}
