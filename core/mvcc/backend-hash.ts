/**
 * Hash: one number for a backend as it lies on the disk, every bucket but `meta`: that one holds how far this member has
 * come, which members need not share. Owns one such computation over a view, in slices. To be closed.
 */
import { type ByteString, fromByteString } from '../util/bytes.ts';
import { crc32c } from '../util/crc32.ts';
import { type BackendView, BUCKETS, type Bucket } from './backend.ts';
import { HASH_SLICE_BYTES, HASH_SLICE_ROWS } from './kv-hash.ts';

const HASHED: readonly Bucket[] = BUCKETS.filter((bucket) => bucket !== 'meta');

export class BackendHash {
  readonly #view: BackendView;
  #crc = 0;
  #bucket = 0;
  #from: ByteString = '';

  /** `view` is this one's from now on. */
  constructor(view: BackendView) {
    this.#view = view;
  }

  /** One slice; `undefined`: call again. */
  step(): number | undefined {
    const bucket = HASHED[this.#bucket];
    if (bucket === undefined) return this.#crc;
    if (this.#from === '') this.#crc = crc32c(fromByteString(bucket), this.#crc);
    let rows = HASH_SLICE_ROWS;
    let bytes = HASH_SLICE_BYTES;
    let next: ByteString = '';
    this.#view.scan(bucket, this.#from, undefined, (key, value) => {
      if (rows-- === 0 || bytes <= 0) {
        next = key;
        return false;
      }
      this.#crc = crc32c(value, crc32c(fromByteString(key), this.#crc));
      bytes -= key.length + value.length;
      return true;
    });
    this.#from = next;
    if (next === '') this.#bucket++;
    return this.#bucket === HASHED.length ? this.#crc : undefined;
  }

  close(): void {
    this.#view.close();
  }
}
