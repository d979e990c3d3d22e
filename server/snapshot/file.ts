/**
 * Snapshot files, read: whether a file is whole, and its rows in order. Refuses what is damaged with the reason. Reads
 * only, a piece at a time.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { decodeRows, placeOf, type StateRow } from '../../core/apply/state-rows.ts';
import { GrpcStatus, otherError, RosterError } from '../../core/errors.ts';
import { BUCKETS } from '../../core/mvcc/backend.ts';
import { revisionIn } from '../../core/mvcc/revision.ts';
import { type ByteString, fromByteString } from '../../core/util/bytes.ts';
import { crc32c } from '../../core/util/crc32.ts';
import { systemCode } from '../disk/disk-error.ts';
import { damaged, HASH_BYTES, SnapshotDecoder, type SnapshotFacts } from './format.ts';

const READ_BYTES = 1024 * 1024;
const BLOCK_BYTES = 512;

export interface SnapshotFileOptions {
  /** For a file that was copied from a data directory or has lost its hash: what it holds is checked all the same. */
  readonly skipHashCheck?: boolean;
  /** Told how many of the file's bytes have been read, of how many, whenever there are more. */
  readonly onRead?: ((bytes: number, total: number) => void) | undefined;
}

/** An open file whose hash has been checked. To be closed. */
export class SnapshotFile {
  readonly facts: SnapshotFacts;
  /** Of the file. */
  readonly bytes: number;
  readonly #handle: FileHandle;
  readonly #decoder: SnapshotDecoder;
  #last: ByteString = '';

  private constructor(handle: FileHandle, decoder: SnapshotDecoder, facts: SnapshotFacts, bytes: number) {
    this.#handle = handle;
    this.#decoder = decoder;
    this.facts = facts;
    this.bytes = bytes;
  }

  /** Throws a RosterError that says why the file at `path` is no snapshot. */
  static async open(path: string, options: SnapshotFileOptions = {}): Promise<SnapshotFile> {
    const handle = await open(path, 'r').catch((error: unknown) => {
      throw otherError(GrpcStatus.NOT_FOUND, `cannot read the snapshot ${path}: ${systemCode(error) || String(error)}`);
    });
    try {
      const { size } = await handle.stat();
      const hashed = size % BLOCK_BYTES === HASH_BYTES;
      if (options.skipHashCheck !== true) await checkHash(handle, size, hashed);
      const fileBytes = hashed ? size - HASH_BYTES : size;
      const decoder = new SnapshotDecoder(counted(reader(handle), fileBytes, options.onRead), fileBytes);
      return new SnapshotFile(handle, decoder, await decoder.head(), size);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** The next rows, in the order of {@link placeOf}; undefined at the end. Throws a RosterError. */
  async rows(): Promise<StateRow[] | undefined> {
    const piece = await this.#decoder.piece();
    if (piece === undefined) return undefined;
    const rows = decodeRows(piece);
    if (rows instanceof RosterError) throw damaged(rows.message);
    for (const { bucket, key } of rows) {
      const place = placeOf(bucket, key);
      if (place <= this.#last) throw damaged('its rows are out of order');
      this.#last = place;
    }
    return rows;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** What can be told of a snapshot without restoring it. */
export interface SnapshotStatus {
  /** What Maintenance.Hash of the member would have answered. */
  readonly hash: number;
  readonly revision: number;
  /** Rows of all kinds, as etcd counts them. */
  readonly totalKeys: number;
  readonly totalBytes: number;
  /** Storage version, in etcd's terms. */
  readonly version: string;
  readonly facts: SnapshotFacts;
}

/** Reads the whole file. Throws a RosterError when it is damaged. */
export async function snapshotStatus(path: string): Promise<SnapshotStatus> {
  const file = await SnapshotFile.open(path);
  try {
    const hash = new RowHash();
    let totalKeys = 0;
    let revision = 1;
    for (let rows = await file.rows(); rows !== undefined; rows = await file.rows()) {
      totalKeys += rows.length;
      for (const row of rows) {
        hash.add(row);
        revision = Math.max(revision, revisionTold(row));
      }
    }
    const { facts, bytes } = file;
    return {
      hash: hash.end(),
      revision,
      totalKeys,
      totalBytes: bytes - HASH_BYTES,
      version: facts.storage_version,
      facts,
    };
  } finally {
    await file.close();
  }
}

/** The revision that a row tells of: its own, or that of a compaction, which may have taken the newest rows. */
function revisionTold({ bucket, key, value }: StateRow): number {
  const name = BUCKETS[bucket];
  if (name === 'key') return revisionIn(fromByteString(key))?.main ?? 0;
  if (name !== 'meta' || !/^(?:scheduled|finished)CompactRev$/.test(key)) return 0;
  return revisionIn(value)?.main ?? 0;
}

/** The hash of core/mvcc/backend-hash.ts, of rows that pass by. */
class RowHash {
  #crc = 0;
  #next = 0;

  add({ bucket, key, value }: StateRow): void {
    if (BUCKETS[bucket] === 'meta') return;
    this.#enter(bucket);
    this.#crc = crc32c(value, crc32c(fromByteString(key), this.#crc));
  }

  end(): number {
    this.#enter(BUCKETS.length - 1);
    return this.#crc;
  }

  #enter(bucket: number): void {
    for (; this.#next <= bucket; this.#next++) {
      const name = BUCKETS[this.#next]!;
      if (name !== 'meta') this.#crc = crc32c(fromByteString(name), this.#crc);
    }
  }
}

async function checkHash(handle: FileHandle, size: number, hashed: boolean): Promise<void> {
  if (!hashed) {
    throw damaged(
      `it has ${size} bytes and no hash at its end: it is not whole, or was not made by a snapshot (--skip-hash-check restores it all the same)`,
    );
  }
  const hash = createHash('sha256');
  const take = reader(handle, 0);
  for (let left = size - HASH_BYTES; left > 0; ) {
    const bytes = await take(Math.min(left, READ_BYTES));
    hash.update(bytes);
    left -= bytes.length;
  }
  const expected = await take(HASH_BYTES);
  const actual = hash.digest();
  if (!actual.equals(expected)) {
    throw damaged(`its SHA-256 is ${actual.toString('hex')}, but should be ${expected.toString('hex')}`);
  }
}

function counted(
  take: (length: number) => Promise<Buffer>,
  total: number,
  onRead: SnapshotFileOptions['onRead'],
): (length: number) => Promise<Buffer> {
  if (onRead === undefined) return take;
  let bytes = 0;
  return async (length) => {
    const piece = await take(length);
    bytes += length;
    onRead(bytes, total);
    return piece;
  };
}

function reader(handle: FileHandle, from = 0): (length: number) => Promise<Buffer> {
  let at = from;
  return async (length) => {
    const bytes = Buffer.allocUnsafeSlow(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await handle.read(bytes, done, length - done, at);
      if (bytesRead === 0) throw damaged('it ends too soon');
      done += bytesRead;
      at += bytesRead;
    }
    return bytes;
  };
}
