/** Which clients call, by what they say they are (metadata `client-api-version`), as etcd counts them. */
import { Counter, type Registry } from 'prom-client';
import { CLIENT_API_VERSION } from '../rpc/guard.ts';
import type { CallContext, Method } from '../rpc/service.ts';

/** Different versions that are told apart: a client may say anything. What is more counts as `other`. */
export const CLIENT_VERSIONS_MAX = 100;
/** A longer one is no version. */
const VERSION_CHARS_MAX = 64;

export class ClientRequests {
  readonly #counts = new Map<string, { unary: number; stream: number }>();

  add(kind: Method['kind'], call: CallContext): void {
    this.#count(call.metadata(CLIENT_API_VERSION) ?? 'unknown')[kind]++;
  }

  register(registry: Registry): void {
    const counts = this.#counts;
    new Counter({
      name: 'etcd_server_client_requests_total',
      help: 'Requests by kind and by the version the client gives.',
      labelNames: ['type', 'client_api_version'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [client_api_version, count] of counts) {
          if (count.unary > 0) this.inc({ type: 'unary', client_api_version }, count.unary);
          if (count.stream > 0) this.inc({ type: 'stream', client_api_version }, count.stream);
        }
      },
    });
  }

  #count(version: string): { unary: number; stream: number } {
    const known = this.#counts.get(version);
    if (known !== undefined) return known;
    const fits = this.#counts.size < CLIENT_VERSIONS_MAX && version.length <= VERSION_CHARS_MAX;
    const name = fits ? version : 'other';
    const count = this.#counts.get(name) ?? { unary: 0, stream: 0 };
    this.#counts.set(name, count);
    return count;
  }
}
