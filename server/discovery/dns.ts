/**
 * Questions to the DNS: SRV records and addresses, of the system's servers or of those that are named. Owns the wording of
 * failures; what the answers mean is srv.ts's business.
 */
import { lookup, Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import { UsageError } from '../config/flag-table.ts';

export interface SrvRecord {
  /** Without the dot at the end. */
  readonly host: string;
  readonly port: number;
  /** The lowest is used first. */
  readonly priority: number;
  /** A share among those of the same priority. */
  readonly weight: number;
}

/** More records than any cluster has members. */
export const SRV_RECORDS_MAX = 64;

export class Dns {
  readonly #resolver: Resolver;
  /** /etc/hosts counts only where the system's own way of resolving is used. */
  readonly #system: boolean;

  /** `servers`: addresses with or without a port; none: the system's. Throws UsageError. */
  constructor(servers: readonly string[] = []) {
    this.#resolver = new Resolver();
    this.#system = servers.length === 0;
    if (this.#system) return;
    try {
      this.#resolver.setServers(servers);
    } catch (error) {
      throw new UsageError(
        `--discovery-dns-servers must be addresses such as 10.0.0.1:53: ${(error as Error).message}`,
      );
    }
  }

  /** Sorted by priority, then by host and port. None where there is no such name. RosterError when the DNS does not answer. */
  async srv(name: string): Promise<SrvRecord[]> {
    const found = await this.#resolver.resolveSrv(name).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOTFOUND' || error.code === 'ENODATA') return [];
      throw otherError(GrpcStatus.UNAVAILABLE, `cannot look up the SRV records of ${name}: ${error.message}`);
    });
    if (found.length > SRV_RECORDS_MAX) {
      const text = `${name} has ${found.length} SRV records: at most ${SRV_RECORDS_MAX} can be members of a cluster`;
      throw otherError(GrpcStatus.FAILED_PRECONDITION, text);
    }
    const records = found.map(({ name: host, port, priority, weight }) => {
      return { host: host.replace(/\.$/, ''), port, priority, weight };
    });
    return records.sort((a, b) => a.priority - b.priority || order(a.host, b.host) || a.port - b.port);
  }

  /** None when the name has none, for whatever reason. */
  async addresses(host: string): Promise<string[]> {
    if (isIP(host) !== 0) return [host];
    // A loopback name needs no server (RFC 6761).
    if (host === 'localhost') return ['127.0.0.1', '::1'];
    if (this.#system) {
      const found = await lookup(host, { all: true }).catch(() => []);
      return found.map(({ address }) => address);
    }
    const both = [this.#resolver.resolve4(host), this.#resolver.resolve6(host)];
    return (await Promise.all(both.map((answer) => answer.catch(() => [])))).flat();
  }
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
