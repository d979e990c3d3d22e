/**
 * A range that is read a little at a time, all of it as it was at one revision, whatever is written meanwhile. While it is
 * held, compaction removes nothing from under it. Owns the place in the range and the count; sorts and filters nothing.
 */
import { GrpcStatus, otherError, type RosterError, rosterError } from '../errors.ts';
import type { KvStore } from '../mvcc/kv-store.ts';
import type { ByteString } from '../util/bytes.ts';
import type { KeyValue, RangeRequest } from '../wire/messages.ts';

/** Keys looked at in one step, whether or not they are in the range at its revision: well under a millisecond. */
export const STEP_LOOKS_MAX = 2000;

export interface StepLimits {
  /** Pairs, and their bytes (at least one pair). */
  readonly pairs: number;
  readonly bytes: number;
}

/** What a reader reads from. */
export interface RangeSource {
  /** The one in force. */
  store(): KvStore;
  /** Keeps compaction from removing anything until what it returns is called. */
  hold(): () => void;
}

export class RangeReader {
  /** What is read. */
  readonly revision: number;
  /** Of the store when the reader was made. */
  readonly storeRevision: number;
  readonly #source: RangeSource;
  readonly #store: KvStore;
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
  #release: (() => void) | undefined;

  private constructor(source: RangeSource, request: RangeRequest) {
    const store = source.store();
    this.#source = source;
    this.#store = store;
    this.storeRevision = store.revision;
    this.revision = request.revision <= 0 ? store.revision : request.revision;
    const { key, range_end: end } = request;
    this.#from = key;
    this.#to = end === '\0' ? undefined : end === '' ? `${key}\0` : end;
    if (this.#to !== undefined && this.#to <= key) this.#from = undefined;
    else this.#count = store.knownCount(key, this.#to, this.revision);
    this.#measureFrom = this.#from;
    this.#limit = request.limit > 0 ? request.limit : Number.POSITIVE_INFINITY;
    this.#countOnly = request.count_only;
    this.#release = source.hold();
  }

  /** `request` has passed checkRange; its order and filters are of no account. Compacted or FutureRev. To be closed. */
  static open(source: RangeSource, request: RangeRequest): RangeReader | RosterError {
    const store = source.store();
    if (request.revision > store.revision) return rosterError('FutureRev');
    if (request.revision > 0 && request.revision < store.compactRevision) return rosterError('Compacted');
    return new RangeReader(source, request);
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
    if (this.#store !== this.#source.store()) return replaced();
    const from = this.#measureFrom;
    if (from === undefined) return true;
    const pairs = this.#countOnly ? 0 : this.#limit - this.#measured;
    const slice = this.#store.measure(from, this.#to, this.revision, { pairs, bytes: 0, looks: STEP_LOOKS_MAX });
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
    if (this.#store !== this.#source.store()) return replaced();
    if (this.done) return [];
    const pairs = this.#wantsPairs ? Math.min(limits.pairs, this.#limit - this.#given) : 0;
    const slice = this.#store.slice(this.#from!, this.#to, this.revision, {
      pairs,
      bytes: limits.bytes,
      looks: STEP_LOOKS_MAX,
    });
    this.#from = slice.next;
    this.#seen += slice.seen;
    this.#given += slice.kvs.length;
    return slice.kvs;
  }

  /** The reader will not come back soon: compaction may go on. */
  letGo(): void {
    this.#release?.();
    this.#release = undefined;
  }

  /** After {@link letGo}: Compacted when what is left to read may be gone. */
  goOn(): RosterError | undefined {
    if (this.#release !== undefined) return undefined;
    if (this.revision < this.#source.store().compactRevision) return rosterError('Compacted');
    this.#release = this.#source.hold();
    return undefined;
  }

  close(): void {
    this.letGo();
  }
}

function replaced(): RosterError {
  return otherError(GrpcStatus.UNAVAILABLE, 'the state was replaced by a snapshot while it was read: read it again');
}
