/**
 * An in-order queue: items under `<name>/` whose keys sort in the order in which they were put, each taken by exactly
 * one consumer. Two items of which one was put after the other had been acknowledged come out in that order.
 */
import { randomBytes } from 'node:crypto';
import { EventType, type KeyValue } from '../../core/wire/messages.ts';
import type { CallOptions, EtcdClient } from '../api.ts';
import { prefixRange } from '../key.ts';
import { reasonOf, untilAnswered } from './line.ts';
import { absent, del, put, unchanged, valueBytes } from './ops.ts';

/** Decimal digits of a revision in a key: enough for 2^63. */
const REVISION_DIGITS = 20;
/** So that those put at the same revision differ. */
const CHANCE_BYTES = 8;
/** Consumers that find the first item taken look at the next ones, up to so many. */
const CANDIDATES = 16;

export class Queue {
  readonly #client: EtcdClient;
  readonly #prefix: string;

  constructor(client: EtcdClient, name: string) {
    this.#client = client;
    this.#prefix = `${name}/`;
  }

  /** Resolves with the item's key when the item is in the queue, once, whatever happens to connections meanwhile. */
  async put(value: string | Uint8Array, options: CallOptions = {}): Promise<string> {
    const signal = options.signal ?? new AbortController().signal;
    const read = () => this.#client.range({ ...prefixRange(this.#prefix), limit: 1, keys_only: true }, options);
    const { header } = await untilAnswered(signal, read);
    const place = String(header!.revision).padStart(REVISION_DIGITS, '0');
    const key = `${this.#prefix}${place}-${randomBytes(CHANCE_BYTES).toString('hex')}`;
    // Nobody else takes this key: if it is there already, an earlier attempt was done and its answer lost. (If the item
    // has been consumed meanwhile as well, it is put a second time: at least once, as every queue.)
    await untilAnswered(signal, () =>
      this.#client.txn({ compare: [absent(key)], success: [put(key, valueBytes(value))] }, options),
    );
    return key;
  }

  /**
   * Takes the first item; waits for one. Rejects with the reason of `signal`; and with UNAVAILABLE when the answer was
   * lost on the way: the item may be taken then, and is nobody's.
   */
  async take(options: CallOptions = {}): Promise<KeyValue> {
    const signal = options.signal ?? new AbortController().signal;
    for (;;) {
      const read = () => this.#client.range({ ...prefixRange(this.#prefix), limit: CANDIDATES }, options);
      const { kvs, header } = await untilAnswered(signal, read);
      for (const item of kvs) if (await this.#claim(item, options)) return item;
      if (kvs.length === 0) await this.#untilPut(header!.revision + 1, signal);
    }
  }

  /** Items that wait. */
  async size(options?: CallOptions): Promise<number> {
    return (await this.#client.range({ ...prefixRange(this.#prefix), count_only: true }, options)).count;
  }

  async #claim({ key, mod_revision }: KeyValue, options: CallOptions): Promise<boolean> {
    const bytes = Buffer.from(key, 'latin1');
    return (await this.#client.txn({ compare: [unchanged(bytes, mod_revision)], success: [del(bytes)] }, options))
      .succeeded;
  }

  async #untilPut(fromRevision: number, signal: AbortSignal): Promise<void> {
    for await (const item of this.#client.watch(this.#prefix, { prefix: true, start_revision: fromRevision, signal })) {
      if (item.kind === 'compacted') return;
      if (item.kind === 'events' && item.events.some(({ type }) => type === EventType.values.PUT)) return;
    }
    throw reasonOf(signal);
  }
}
