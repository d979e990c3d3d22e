/**
 * HashKV: one number for all that can be read from the last compaction up to a revision, by which members are compared.
 * The bytes are etcd's, and depend on revision and compaction alone: what a compaction has yet to remove is left out by
 * asking the index. Owns one such computation, in slices. Writes nothing.
 */
import { type ByteString, fromByteString } from '../util/bytes.ts';
import { crc32c } from '../util/crc32.ts';
import type { Backend } from './backend.ts';
import type { ReadRefusal } from './kv-store.ts';
import { keyOfPair } from './pairs.ts';
import type { View } from './reader.ts';
import { isTombstoneKey, parseRevision, revisionKey } from './revision.ts';

/** Work of one slice: well under a millisecond, unless a single value is larger. */
export const HASH_SLICE_ROWS = 200;
export const HASH_SLICE_BYTES = 128 * 1024;

export interface KvHashResult {
  hash: number;
  /** The revision hashed. */
  revision: number;
  /** The compaction by which it was hashed; results are comparable only if it is the same. */
  compactRevision: number;
}

export class KvHash {
  readonly #backend: Backend;
  readonly #view: View;
  readonly #revision: number;
  #compacted = 0;
  #crc = 0;
  #from: ByteString = '';

  /** `revision` can be read now. */
  constructor(backend: Backend, view: View, revision: number) {
    this.#backend = backend;
    this.#view = view;
    this.#revision = revision;
    this.#begin();
  }

  /**
   * One slice; `undefined`: call again. A compaction in between has taken away what was being hashed: then it begins
   * anew, by that compaction, or ends with Compacted.
   */
  step(): KvHashResult | ReadRefusal | undefined {
    if (this.#view.compacted !== this.#compacted) {
      if (this.#revision < this.#view.compacted) return 'Compacted';
      this.#begin();
    }
    let rows = HASH_SLICE_ROWS;
    let bytes = HASH_SLICE_BYTES;
    let more = false;
    this.#backend.scan('key', this.#from, revisionKey(this.#revision + 1, 0), (rowKey, value) => {
      if (rows-- === 0 || bytes <= 0) {
        this.#from = rowKey;
        more = true;
        return false;
      }
      if (this.#counts(rowKey, value)) this.#crc = crc32c(value, crc32c(fromByteString(rowKey), this.#crc));
      bytes -= rowKey.length + value.length;
      return true;
    });
    if (more) return undefined;
    return { hash: this.#crc, revision: this.#revision, compactRevision: this.#compacted };
  }

  #begin(): void {
    this.#compacted = this.#view.compacted;
    // etcd's hash begins with the name of its bucket.
    this.#crc = crc32c(fromByteString('key'));
    this.#from = '';
  }

  /** Whether a compaction that is done would have left this row. Tombstones at its very revision etcd leaves out, too. */
  #counts(rowKey: ByteString, value: Uint8Array): boolean {
    const { main, sub } = parseRevision(rowKey);
    if (main > this.#compacted) return true;
    if (isTombstoneKey(rowKey)) return false;
    const newest = this.#view.space.any(keyOfPair(value))?.find(this.#compacted);
    return newest !== undefined && newest.main === main && newest.sub === sub;
  }
}
