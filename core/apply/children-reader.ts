/**
 * What lies one level below a prefix, read a little at a time, all of it as it was at one revision. While it is held,
 * compaction removes nothing from under it. Owns the place in the range; the search is mvcc's (core/mvcc/children.ts).
 */
import { RosterError } from '../errors.ts';
import { HeldStore, type StoreSource } from '../mvcc/held-store.ts';
import type { Child } from '../mvcc/kv-store.ts';
import { type ByteString, prefixEnd } from '../util/bytes.ts';

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
  /** To be let go of in the end. */
  readonly held: HeldStore;
  readonly #request: ChildrenRequest;
  readonly #to: ByteString | undefined;
  #from: ByteString | undefined;
  #left: number;

  private constructor(held: HeldStore, request: ChildrenRequest) {
    this.held = held;
    this.#request = request;
    const end = prefixEnd(request.prefix);
    this.#to = end === '\0' ? undefined : end;
    this.#from = request.from === '' ? request.prefix : request.from;
    this.#left = request.limit > 0 ? request.limit : Number.POSITIVE_INFINITY;
  }

  /** Compacted or FutureRev. */
  static open(source: StoreSource, request: ChildrenRequest): ChildrenReader | RosterError {
    const held = HeldStore.at(source, request.revision);
    return held instanceof RosterError ? held : new ChildrenReader(held, request);
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
    const replaced = this.held.replaced();
    if (replaced !== undefined) return replaced;
    if (this.done) return [];
    const { prefix, delimiter, revision } = this.#request;
    const slice = this.held.store.children(
      // Long ago, counting would ask every key.
      { prefix, delimiter, from: this.#from!, to: this.#to, revision: this.held.revision, count: revision <= 0 },
      { children: Math.min(most, this.#left), looks: CHILDREN_LOOKS_MAX },
    );
    this.#from = slice.next;
    this.#left -= slice.children.length;
    return slice.children;
  }
}
