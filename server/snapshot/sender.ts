/**
 * One snapshot on its way to a client: measures the state, then cuts it into blobs as fast as they are taken, some at a
 * time, so that the event loop stays free. Owns the reader of the state until it is closed. Changes nothing.
 */
import { createHash } from 'node:crypto';
import type { StateReader } from '../../core/node/machine.ts';
import { assert } from '../../core/util/assert.ts';
import type { ByteString } from '../../core/util/bytes.ts';
import { PIECE_PREFIX_BYTES, paddedBytes, SnapshotEncoder, type SnapshotFacts } from './format.ts';

/** etcd's (v3rpc.snapshotSendBufferSize). */
export const BLOB_BYTES = 32 * 1024;
/** Rows read at once, in bytes. */
const PIECE_BYTES = 128 * 1024;

export interface Blob {
  readonly bytes: Buffer;
  /** Of the file, after this one. The hash, which comes last, is not counted. */
  readonly remainingBytes: number;
}

export class SnapshotSender {
  readonly #reader: StateReader;
  readonly #facts: SnapshotFacts;
  readonly #encoder = new SnapshotEncoder();
  readonly #hash = createHash('sha256');
  /** Made and not cut into blobs. */
  #parts: Buffer[] = [];
  #partBytes = 0;
  #from: ByteString | undefined = '';
  #remainingBytes = 0;
  #state: 'measuring' | 'cutting' | 'hashed' = 'measuring';

  /** The reader belongs to the sender from now on. */
  constructor(reader: StateReader, facts: Omit<SnapshotFacts, 'index' | 'term'>) {
    this.#reader = reader;
    const { index, term } = reader.point;
    this.#facts = { ...facts, index, term };
  }

  /** One slice of finding out how long the file will be: call until true. */
  measure(): boolean {
    assert(this.#state === 'measuring' && this.#from !== undefined, 'a snapshot is measured once');
    const { rows, next } = this.#reader.read(this.#from, PIECE_BYTES);
    this.#remainingBytes += pieceBytes(rows);
    this.#from = next;
    if (next !== undefined) return false;
    this.#from = '';
    const head = this.#encoder.head(this.#facts);
    this.#remainingBytes = paddedBytes(head.length + this.#remainingBytes);
    this.#push(head);
    this.#state = 'cutting';
    return true;
  }

  /** The next blob, the hash last; undefined when that was all. */
  next(): Blob | undefined {
    assert(this.#state !== 'measuring', 'a snapshot is measured first');
    if (this.#state === 'hashed') return undefined;
    if (this.#remainingBytes === 0) {
      this.#state = 'hashed';
      return { bytes: this.#hash.digest(), remainingBytes: 0 };
    }
    const length = Math.min(BLOB_BYTES, this.#remainingBytes);
    while (this.#partBytes < length) this.#readOn();
    const bytes = this.#cut(length);
    this.#hash.update(bytes);
    this.#remainingBytes -= length;
    return { bytes, remainingBytes: this.#remainingBytes };
  }

  close(): void {
    this.#reader.close();
  }

  #readOn(): void {
    assert(this.#from !== undefined, 'a state has not become shorter since it was measured');
    const { rows, next } = this.#reader.read(this.#from, PIECE_BYTES);
    this.#from = next;
    if (rows.length > 0) {
      this.#push(this.#encoder.prefix(rows));
      this.#push(Buffer.from(rows.buffer, rows.byteOffset, rows.length));
    }
    if (next === undefined) this.#push(this.#encoder.tail());
  }

  #push(part: Buffer): void {
    this.#parts.push(part);
    this.#partBytes += part.length;
  }

  #cut(length: number): Buffer {
    const blob = Buffer.allocUnsafeSlow(length);
    let at = 0;
    while (at < length) {
      const part = this.#parts[0]!;
      const taken = Math.min(part.length, length - at);
      part.copy(blob, at, 0, taken);
      at += taken;
      if (taken === part.length) this.#parts.shift();
      else this.#parts[0] = part.subarray(taken);
    }
    this.#partBytes -= length;
    return blob;
  }
}

/** A state without rows has no piece. */
function pieceBytes(rows: Uint8Array): number {
  return rows.length === 0 ? 0 : PIECE_PREFIX_BYTES + rows.length;
}
