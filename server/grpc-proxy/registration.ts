/**
 * `--resolver-prefix`: this proxy tells of itself under a prefix of the store for as long as it lives, and lists the proxies
 * that do (etcd: clientv3/naming/endpoints). Owns one lease.
 */
import { Client, type ClientOptions } from '../../client/client.ts';
import { byteStringToUtf8 } from '../../core/util/bytes.ts';
import type { KeyValue, Member } from '../../core/wire/messages.ts';
import type { Logger } from '../config/log.ts';
import { pause } from '../pause.ts';

export interface RegistrationOptions {
  readonly client: ClientOptions;
  /** Below which every proxy has a key of its own. */
  readonly prefix: string;
  /** What clients reach this proxy by. */
  readonly address: string;
  /** What it is called. */
  readonly name: string;
  readonly ttlSeconds: number;
  readonly log: Logger;
}

/** After a lease is lost or could not be had. */
const RETRY_MS = 1000;

export class Registration {
  readonly #options: RegistrationOptions;
  readonly #client: Client;
  readonly #over = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: RegistrationOptions) {
    this.#options = options;
    this.#client = new Client(options.client);
    this.#running = this.#run(this.#over.signal);
  }

  /** The proxies that are registered, this one or not. Rejects with a RosterError. */
  async members(): Promise<Member[]> {
    const { kvs } = await this.#client.getPrefix(`${this.#options.prefix}/`);
    return kvs.flatMap((kv) => memberOf(kv) ?? []);
  }

  /** Takes the own registration back. */
  async close(): Promise<void> {
    this.#over.abort();
    await this.#running;
    this.#client.close();
  }

  async #run(over: AbortSignal): Promise<void> {
    const { prefix, address, name, ttlSeconds, log } = this.#options;
    const key = `${prefix}/${address}`;
    const value = JSON.stringify({ Op: 0, Addr: address, Metadata: JSON.stringify({ name }) });
    while (!over.aborted) {
      try {
        const lease = await this.#client.keepLease(ttlSeconds, { signal: over });
        await this.#client.put(key, value, { lease: lease.id, signal: over });
        log.info({ key }, 'registered with the resolver prefix');
        await new Promise<void>((resolve) => {
          const either = AbortSignal.any([over, lease.lost]);
          if (either.aborted) resolve();
          else either.addEventListener('abort', () => resolve(), { once: true });
        });
        if (over.aborted) await lease.revoke();
        else log.warn({ key }, 'the registration is lost: registering again');
      } catch (error) {
        if (!over.aborted) log.warn({ key, error }, 'cannot register with the resolver prefix: trying again');
      }
      await pause(RETRY_MS, over);
    }
  }
}

/** Undefined: somebody has put something else there. */
function memberOf(kv: KeyValue): Member | undefined {
  const read = (text: string): Record<string, unknown> => {
    try {
      const value: unknown = JSON.parse(text);
      return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
    } catch {
      return {};
    }
  };
  const { Addr: address, Metadata: metadata } = read(Buffer.from(kv.value).toString());
  if (typeof address !== 'string') return undefined;
  const name = typeof metadata === 'string' ? read(metadata).name : undefined;
  return proxyMember(typeof name === 'string' ? name : byteStringToUtf8(kv.key), address);
}

/** A proxy as a member list shows it: it has no id and no peers. */
export function proxyMember(name: string, address: string): Member {
  return { ID: 0n, name, peerURLs: [], clientURLs: [address], isLearner: false };
}
