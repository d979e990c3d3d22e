/**
 * What lies one level below a prefix, read a little at a time, all of it as it was at one revision. While it is held,
 * compaction removes nothing from under it. Owns the place in the range; the search is mvcc's (core/mvcc/children.ts).
 */
import { GrpcStatus, otherError, type RosterError, rosterError } from '../errors.ts';
import type { Child, KvStore } from '../mvcc/kv-store.ts';
import { type ByteString, prefixEnd } from '../util/bytes.ts';
import type { RangeSource } from './range-reader.ts';

/** Keys looked at in one step: well under a millisecond, a search per group included. */
export const CHILDREN_LOOKS_MAX = 1000;

export interface ChildrenRequest {
  /** '': all keys. */
  readonly prefix: ByteString;
  /** Not empty. */
  readonly delimiter: ByteString;
  /** The first key or group to be given, which begins with the prefix; '': the first there is. */
  readonly from: ByteString;
  /** 0: the present one. */
  readonly revision: number;
  /** Most children; 0: all. */
  readonly limit: number;
}

export class ChildrenReader {
  /** What is read. */
  readonly revision: number;
  /** Of the store when the reader was made. */
  readonly storeRevision: number;
  readonly #source: RangeSource;
  readonly #store: KvStore;
  readonly #request: ChildrenRequest;
  readonly #to: ByteString | undefined;
  #from: ByteString | undefined;
  #left: number;
  #release: (() => void) | undefined;

  private constructor(source: RangeSource, request: ChildrenRequest) {
    const store = source.store();
    this.#source = source;
    this.#store = store;
    this.#request = request;
    this.storeRevision = store.revision;
    this.revision = request.revision <= 0 ? store.revision : request.revision;
    const end = prefixEnd(request.prefix);
    this.#to = end === '\0' ? undefined : end;
    this.#from = request.from === '' ? request.prefix : request.from;
    this.#left = request.limit > 0 ? request.limit : Number.POSITIVE_INFINITY;
    this.#release = source.hold();
  }

  /** Compacted or FutureRev. To be closed. */
  static open(source: RangeSource, request: ChildrenRequest): ChildrenReader | RosterError {
    const store = source.store();
    if (request.revision > store.revision) return rosterError('FutureRev');
    if (request.revision > 0 && request.revision < store.compactRevision) return rosterError('Compacted');
    return new ChildrenReader(source, request);
  }

  /** Whether everything has been read that is wanted. */
  get done(): boolean {
    return this.#from === undefined || this.#left === 0;
  }

  /** Where the next reader would go on; undefined: nothing is left. That something lives there is not sure. */
  get next(): ByteString | undefined {
    return this.#from;
  }

  /** Children that come next, at most `most`, perhaps none yet. Refused when a snapshot has taken the place of what was read. */
  step(most: number): Child[] | RosterError {
    if (this.#store !== this.#source.store()) {
      return otherError(
        GrpcStatus.UNAVAILABLE,
        'the state was replaced by a snapshot while it was read: read it again',
      );
    }
    if (this.done) return [];
    const { prefix, delimiter, revision } = this.#request;
    const slice = this.#store.children(
      // Long ago, counting would ask every key.
      { prefix, delimiter, from: this.#from!, to: this.#to, revision: this.revision, count: revision <= 0 },
      { children: Math.min(most, this.#left), looks: CHILDREN_LOOKS_MAX },
    );
    this.#from = slice.next;
    this.#left -= slice.children.length;
    return slice.children;
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
