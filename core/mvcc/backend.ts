/**
 * The contract of what lies under the MVCC store: ordered buckets of byte strings, written in memory and made durable
 * by `commit`. Two implementations (memory-backend.ts, server/disk/lmdb-backend.ts), one conformance suite
 * (test/conformance/backend.ts). Knows nothing of revisions.
 */
import type { ByteString } from '../util/bytes.ts';

/** etcd's bucket names, so that a reader of both is at home. */
export const BUCKETS = [
  'key',
  'meta',
  'lease',
  'alarm',
  'cluster',
  'members',
  'members_removed',
  'auth',
  'authUsers',
  'authRoles',
] as const;
export type Bucket = (typeof BUCKETS)[number];

export interface BackendSize {
  /** Bytes the store occupies. As of the last finished commit. */
  total: number;
  /** Bytes of `total` that hold live pages. */
  inUse: number;
}

/** Longest key a backend takes; what users name (users, roles) is limited by whoever stores it. The empty key is none. */
export const BACKEND_KEY_BYTES_MAX = 1024;

/**
 * A backend as it was at one moment, whatever is written since. To be closed, at the latest by the backend's own end: an
 * open view keeps old pages alive.
 */
export interface BackendView {
  /** See {@link Backend.scan}. */
  scan(
    bucket: Bucket,
    from: ByteString,
    to: ByteString | undefined,
    visit: (key: ByteString, value: Uint8Array) => boolean,
  ): void;
  get(bucket: Bucket, key: ByteString): Uint8Array | undefined;
  close(): void;
}

/** A row that is only lent: what it says is true until its visitor returns or reads something else from the backend. */
export interface LentRow {
  /** The key is bytes `keyStart..keyEnd` of this. */
  readonly keyBytes: Uint8Array;
  readonly keyStart: number;
  readonly keyEnd: number;
  /** The value is the first `valueEnd` bytes of this. */
  readonly valueBytes: Uint8Array;
  readonly valueEnd: number;
}

/** Reads always see every earlier write of this process, committed or not. All calls are synchronous but `commit` and `close`. */
export interface Backend {
  /** The returned bytes stay valid and as they are, whatever is written later. They are shared: never change them. */
  get(bucket: Bucket, key: ByteString): Uint8Array | undefined;
  /** As {@link get}, for who copies them at once: they are only lent, until something else is read from the backend. */
  getLent(bucket: Bucket, key: ByteString): Uint8Array | undefined;
  /**
   * Visits keys in ascending byte order from `from` (inclusive) to `to` (exclusive; `undefined`: to the end), until
   * `visit` returns false. `visit` must not write to the backend.
   */
  scan(
    bucket: Bucket,
    from: ByteString,
    to: ByteString | undefined,
    visit: (key: ByteString, value: Uint8Array) => boolean,
  ): void;
  /** As {@link scan}, for who reads many rows and keeps none: nothing is copied, not even into objects of its own. */
  scanLent(bucket: Bucket, from: ByteString, to: ByteString | undefined, visit: (row: LentRow) => boolean): void;
  /** `value` must not be changed by the caller afterwards. */
  put(bucket: Bucket, key: ByteString, value: Uint8Array): void;
  delete(bucket: Bucket, key: ByteString): void;
  /** Writes since the last call of `commit`. */
  readonly pendingWrites: number;
  /**
   * Makes all writes so far durable in one atomic step, in the background; later writes belong to a later commit.
   * Commits are finished in the order of the calls. An error is final: the process must stop (fsync is not retried).
   */
  commit(done: (error?: Error) => void): void;
  size(): BackendSize;
  /** What the last finished commit made durable: nothing of what was written since. */
  view(): BackendView;
  /** Waits for commits under way and ends all views; writes not committed are lost, as after a crash. */
  close(done: (error?: Error) => void): void;
}
