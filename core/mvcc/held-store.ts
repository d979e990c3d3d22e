/**
 * The store as it is while somebody reads from it a little at a time: compaction removes nothing from under him until he
 * lets go. Owns the hold, and knows when a snapshot has taken the store's place; the place in the range is the reader's.
 */
import { GrpcStatus, otherError, type RosterError, rosterError } from '../errors.ts';
import type { KvStore } from './kv-store.ts';

/** What is read from. */
export interface StoreSource {
  /** The one in force. */
  store(): KvStore;
  /** Keeps compaction from removing anything until what it returns is called. */
  hold(): () => void;
}

export class HeldStore {
  /** What is read. */
  readonly revision: number;
  /** Of the store when reading began. */
  readonly storeRevision: number;
  /** What all is read from, unless it was {@link replaced}. */
  readonly store: KvStore;
  readonly #source: StoreSource;
  #release: (() => void) | undefined;

  private constructor(source: StoreSource, revision: number) {
    this.#source = source;
    this.store = source.store();
    this.storeRevision = this.store.revision;
    this.revision = revision <= 0 ? this.storeRevision : revision;
  }

  /** The present revision. Not held yet. */
  static now(source: StoreSource): HeldStore {
    return new HeldStore(source, 0);
  }

  /** Held from now on. `revision` 0: the present one. Compacted or FutureRev. */
  static at(source: StoreSource, revision: number): HeldStore | RosterError {
    const store = source.store();
    if (revision > store.revision) return rosterError('FutureRev');
    if (revision > 0 && revision < store.compactRevision) return rosterError('Compacted');
    const held = new HeldStore(source, revision);
    held.hold();
    return held;
  }

  /** Why reading cannot go on: a snapshot has taken the store's place. */
  replaced(): RosterError | undefined {
    if (this.store === this.#source.store()) return undefined;
    return otherError(GrpcStatus.UNAVAILABLE, 'the state was replaced by a snapshot while it was read: read it again');
  }

  hold(): void {
    this.#release ??= this.#source.hold();
  }

  /** The reader is done, or will not come back soon: compaction may go on. */
  letGo(): void {
    this.#release?.();
    this.#release = undefined;
  }

  /** After {@link letGo}: Compacted when what is left to read may be gone. */
  goOn(): RosterError | undefined {
    if (this.#release === undefined && this.revision < this.#source.store().compactRevision) {
      return rosterError('Compacted');
    }
    this.hold();
    return undefined;
  }
}
