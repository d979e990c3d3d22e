/**
 * Software transactional memory: reads of one moment, writes all at once, and again from the start if anything read has
 * changed meanwhile. Serializable; what etcd's Go package calls SerializableSnapshot reads.
 */
import { GrpcStatus, otherError } from '../../core/errors.ts';
import type { ByteString } from '../../core/util/bytes.ts';
import type { KeyValue, RequestOp } from '../../core/wire/messages.ts';
import type { CallOptions, EtcdClient, Key } from '../api.ts';
import { keyBytes } from '../key.ts';
import { Backoff, sleep } from '../wait.ts';
import { reasonOf } from './line.ts';
import { del, put, unchanged, valueBytes } from './ops.ts';

/** What the function given to `atomically` reads and writes with. */
export interface Memory {
  get(key: Key): Promise<Uint8Array | undefined>;
  put(key: Key, value: string | Uint8Array): void;
  delete(key: Key): void;
}

export interface AtomicallyOptions extends CallOptions {
  /** Default 100. */
  attemptsMax?: number;
}

export const ATOMICALLY_ATTEMPTS_MAX = 100;

/**
 * Runs `work` until what it has written could be written together, with all that it has read unchanged; resolves with
 * its result. It may run several times: it should do nothing else. ABORTED after `attemptsMax` attempts.
 */
export async function atomically<T>(
  client: EtcdClient,
  work: (memory: Memory) => Promise<T>,
  options: AtomicallyOptions = {},
): Promise<T> {
  const { attemptsMax = ATOMICALLY_ATTEMPTS_MAX, signal } = options;
  const backoff = new Backoff();
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    if (signal?.aborted) throw reasonOf(signal);
    const memory = new Attempt(client, options);
    const result = await work(memory);
    if (await memory.commit()) return result;
    // The first few losers try again at once; a crowd spreads out.
    if (attempt > 3) await sleep(backoff.next(), signal);
  }
  throw otherError(GrpcStatus.ABORTED, `what was read has changed in each of ${attemptsMax} attempts`);
}

class Attempt implements Memory {
  readonly #client: EtcdClient;
  readonly #options: CallOptions;
  /** Of the first read; all others are of the same moment. */
  #revision = 0;
  readonly #read = new Map<ByteString, KeyValue | undefined>();
  readonly #written = new Map<ByteString, { op: RequestOp; value: Uint8Array | undefined }>();

  constructor(client: EtcdClient, options: CallOptions) {
    this.#client = client;
    this.#options = options;
  }

  async get(key: Key): Promise<Uint8Array | undefined> {
    const bytes = keyBytes(key);
    const own = this.#written.get(bytes);
    if (own !== undefined) return own.value;
    if (!this.#read.has(bytes)) {
      const { kvs, header } = await this.#client.range({ key: bytes, revision: this.#revision }, this.#options);
      if (this.#revision === 0) this.#revision = header!.revision;
      this.#read.set(bytes, kvs[0]);
    }
    return this.#read.get(bytes)?.value;
  }

  put(key: Key, value: string | Uint8Array): void {
    const bytes = valueBytes(value);
    this.#written.set(keyBytes(key), { op: put(key, bytes), value: bytes });
  }

  delete(key: Key): void {
    this.#written.set(keyBytes(key), { op: del(key), value: undefined });
  }

  /** False: something it has read is no longer so. */
  async commit(): Promise<boolean> {
    if (this.#written.size === 0) return true;
    const compare = [...this.#read].map(([key, pair]) =>
      unchanged(Buffer.from(key, 'latin1'), pair?.mod_revision ?? 0),
    );
    const success = [...this.#written.values()].map(({ op }) => op);
    return (await this.#client.txn({ compare, success }, this.#options)).succeeded;
  }
}
