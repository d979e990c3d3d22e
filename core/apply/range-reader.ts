/**
 * A range that is read a little at a time, all of it as it was at one revision, whatever is written meanwhile. While it is
 * held, compaction removes nothing from under it. Owns the place in the range and the count; sorts and filters nothing.
 */
import { RosterError } from '../errors.ts';
import { HeldStore, type StoreSource } from '../mvcc/held-store.ts';
import type { EncodedSlice, KvStore, SliceLimits } from '../mvcc/kv-store.ts';
import type { ByteString } from '../util/bytes.ts';
import type { KeyValue, RangeRequest } from '../wire/messages.ts';

/** Keys looked at in one step, whether or not they are in the range at its revision: well under a millisecond. */
export const STEP_LOOKS_MAX = 2000;

export interface StepLimits {
  /** Pairs, and their bytes (at least one pair). */
  readonly pairs: number;
  readonly bytes: number;
}

type SliceArguments = [from: ByteString, to: ByteString | undefined, revision: number, limits: SliceLimits];

export class RangeReader {
  /** To be let go of in the end. */
  readonly held: HeldStore;
  readonly #to: ByteString | undefined;
  readonly #limit: number;
  readonly #countOnly: boolean;
  /** Where to go on; undefined: everything has been seen. */
  #from: ByteString | undefined;
  #given = 0;
  #seen = 0;
  /** Measuring goes through the same keys before. */
  #measureFrom: ByteString | undefined;
  #measured = 0;
  #measuredSeen = 0;
  /** Known from the beginning unless the revision is long ago. */
  #count: number | undefined;

  private constructor(held: HeldStore, request: RangeRequest) {
    this.held = held;
    const { key, range_end: end } = request;
    this.#from = key;
    this.#to = end === '\0' ? undefined : end === '' ? `${key}\0` : end;
    if (this.#to !== undefined && this.#to <= key) this.#from = undefined;
    else this.#count = held.store.knownCount(key, this.#to, held.revision);
    this.#measureFrom = this.#from;
    this.#limit = request.limit > 0 ? request.limit : Number.POSITIVE_INFINITY;
    this.#countOnly = request.count_only;
  }

  /** `request` has passed checkRange; its order and filters are of no account. Compacted or FutureRev. */
  static open(source: StoreSource, request: RangeRequest): RangeReader | RosterError {
    const held = HeldStore.at(source, request.revision);
    return held instanceof RosterError ? held : new RangeReader(held, request);
  }

  /** Keys in the whole range; only when {@link done} or measured. */
  get count(): number {
    return this.#count ?? this.#seen;
  }

  /** Whether the limit has left something out; only when {@link done}. */
  get more(): boolean {
    return !this.#countOnly && this.count > this.#given;
  }

  /** Whether everything has been read that is wanted, and counted. */
  get done(): boolean {
    return this.#from === undefined || (this.#count !== undefined && !this.#wantsPairs);
  }

  get #wantsPairs(): boolean {
    return !this.#countOnly && this.#given < this.#limit;
  }

  /**
   * Looks at some keys of a range that nothing has been read from yet, and tells `each` the encoded bytes of the pairs that
   * will be read. True when all have been seen; then {@link count} and {@link leavesOut} are known. Refused as `step` is.
   */
  measure(each: (bytes: number) => void): boolean | RosterError {
    const replaced = this.held.replaced();
    if (replaced !== undefined) return replaced;
    const from = this.#measureFrom;
    if (from === undefined) return true;
    const pairs = this.#countOnly ? 0 : this.#limit - this.#measured;
    const slice = this.held.store.measure(from, this.#to, this.held.revision, {
      pairs,
      bytes: 0,
      looks: STEP_LOOKS_MAX,
    });
    for (const bytes of slice.sizes) each(bytes);
    this.#measured += slice.sizes.length;
    this.#measuredSeen += slice.seen;
    this.#measureFrom = slice.next;
    const enough = this.#count !== undefined && this.#measured === this.#limit;
    if (slice.next !== undefined && !enough) return false;
    this.#count ??= this.#measuredSeen;
    return true;
  }

  /** Whether the limit leaves something out; only after {@link measure}. */
  get leavesOut(): boolean {
    return !this.#countOnly && this.count > this.#measured;
  }

  /** Pairs that come next, perhaps none yet. Refused when a snapshot has taken the place of what was being read. */
  step(limits: StepLimits): KeyValue[] | RosterError {
    const kvs: KeyValue[] = [];
    const refused = this.#step(limits, (store, ...args) => {
      const slice = store.slice(...args);
      for (const kv of slice.kvs) kvs.push(kv);
      return { given: slice.kvs.length, seen: slice.seen, next: slice.next };
    });
    return refused ?? kvs;
  }

  /** The same for who only passes the pairs on: `take` gets the encoding of each, lent until it returns. */
  stepEncoded(limits: StepLimits, take: (pair: Uint8Array) => void): RosterError | undefined {
    return this.#step(limits, (store, ...args) => store.encodedSlice(...args, take));
  }

  #step(limits: StepLimits, read: (store: KvStore, ...args: SliceArguments) => EncodedSlice): RosterError | undefined {
    const { held } = this;
    const replaced = held.replaced();
    if (replaced !== undefined || this.done) return replaced;
    const pairs = this.#wantsPairs ? Math.min(limits.pairs, this.#limit - this.#given) : 0;
    const most = { pairs, bytes: limits.bytes, looks: STEP_LOOKS_MAX };
    const { given, seen, next } = read(held.store, this.#from!, this.#to, held.revision, most);
    this.#from = next;
    this.#seen += seen;
    this.#given += given;
    return undefined;
  }
}
