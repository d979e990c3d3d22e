/** Which address of this machine services are published under. Reads the interfaces; resolves no names. */
import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';

/** Interfaces that engines and hypervisors make; their addresses mean nothing to other machines. */
const INNER = /^(?:docker|br-|veth|virbr|cni|cbr|flannel|podman|lxc|lxd|tun|tap)/;

/** The first IPv4 address that is not loopback, real interfaces before bridges; 127.0.0.1 when there is none. */
export function hostAddress(interfaces: ReturnType<typeof networkInterfaces> = networkInterfaces()): string {
  const found = Object.entries(interfaces).flatMap(([name, addresses]) =>
    (addresses ?? [])
      .filter((entry) => entry.family === 'IPv4' && !entry.internal && !entry.address.startsWith('169.254.'))
      .map((entry) => ({ address: entry.address, inner: INNER.test(name) })),
  );
  return (found.find((entry) => !entry.inner) ?? found[0])?.address ?? '127.0.0.1';
}

/** "Every address of the host": what an engine says of a port published without an address. */
export function isWildcard(ip: string): boolean {
  return ip === '' || ip === '0.0.0.0' || ip === '::';
}

export function isLoopback(ip: string): boolean {
  return ip === '::1' || (isIPv4(ip) && ip.startsWith('127.'));
}
