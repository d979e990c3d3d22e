/**
 * Takes a state in, piece by piece, into a staged backend, and commits that in slices so that memory stays bounded. Owns
 * the order of the rows; what they mean is found out when the state is restored from them.
 */
import { GrpcStatus, otherError, RosterError } from '../errors.ts';
import { type Backend, BUCKETS } from '../mvcc/backend.ts';
import type { StatePoint, StateWriter } from '../node/machine.ts';
import { ConfState } from '../raft/messages.ts';
import { assert } from '../util/assert.ts';
import { type ByteString, bytesEqual } from '../util/bytes.ts';
import { encode } from '../wire/binary.ts';
import { readApplied, writeApplied } from './applied.ts';
import { writeSnapshotMark } from './snapshot-mark.ts';
import { decodeRows, placeOf, ROW_OVERHEAD_BYTES } from './state-rows.ts';

/** Received bytes that make one commit of the staged backend. */
export const STAGED_COMMIT_BYTES = 4 * 1024 * 1024;
/** So many commits' worth of bytes may wait for the disk before the writer is congested. */
const COMMITS_AHEAD_MAX = 4;

export class StagedWriter implements StateWriter {
  readonly backend: Backend;
  readonly #commitBytes: number;
  readonly #onDiscard: () => void;
  /** Of the last row. */
  #last: ByteString = '';
  /** Written since the last commit, and all that is not durable yet. */
  #openBytes = 0;
  #waitingBytes = 0;
  #failure: RosterError | undefined;
  #over = false;

  constructor(backend: Backend, commitBytes: number, onDiscard: () => void) {
    this.backend = backend;
    this.#commitBytes = commitBytes;
    this.#onDiscard = onDiscard;
  }

  get congested(): boolean {
    return this.#failure === undefined && this.#waitingBytes >= COMMITS_AHEAD_MAX * this.#commitBytes;
  }

  /** After an error only {@link discard} makes sense. `rows` belong to the writer from now on. */
  write(rows: Uint8Array): RosterError | undefined {
    assert(!this.#over, 'the state writer has been closed');
    const refusal = this.#failure ?? this.#write(rows);
    this.#failure ??= refusal;
    return this.#failure;
  }

  discard(): void {
    assert(!this.#over, 'the state writer has been closed');
    this.#over = true;
    this.#onDiscard();
  }

  /**
   * No more rows come. `done` when they, and the mark that the log has not followed, are durable; with an error when they
   * are not the state at `point`.
   */
  finish(point: StatePoint, done: (error?: Error) => void): void {
    assert(!this.#over, 'the state writer has been closed');
    this.#over = true;
    const wrong = this.#failure ?? this.#complete(point);
    this.backend.commit((error) => done(wrong ?? error));
  }

  #write(piece: Uint8Array): RosterError | undefined {
    const rows = decodeRows(piece);
    if (rows instanceof RosterError) return rows;
    for (const { bucket, key, value } of rows) {
      const place = placeOf(bucket, key);
      if (place <= this.#last) return otherError(GrpcStatus.DATA_LOSS, 'a snapshot holds rows out of order');
      this.#last = place;
      this.backend.put(BUCKETS[bucket]!, key, value);
      this.#openBytes += key.length + value.length + ROW_OVERHEAD_BYTES;
    }
    if (this.#openBytes >= this.#commitBytes) this.#commit();
    return undefined;
  }

  #commit(): void {
    const bytes = this.#openBytes;
    this.#openBytes = 0;
    this.#waitingBytes += bytes;
    this.backend.commit((error) => {
      this.#waitingBytes -= bytes;
      if (error === undefined) return;
      const text = `a snapshot cannot be stored: ${error.message}`;
      this.#failure ??= otherError(GrpcStatus.INTERNAL, text, { cause: error });
    });
  }

  /** Checks the rows against what they were announced as, and adds the mark. */
  #complete(point: StatePoint): RosterError | undefined {
    try {
      const { index, term, conf } = readApplied(this.backend);
      if (index !== point.index || term !== point.term) {
        const text = `a snapshot of entry ${point.index}, term ${point.term}, holds the state of entry ${index}, term ${term}`;
        return otherError(GrpcStatus.DATA_LOSS, text);
      }
      if (conf.voters.length > 0 && !bytesEqual(encode(ConfState, conf), encode(ConfState, point.conf))) {
        return otherError(GrpcStatus.DATA_LOSS, `the snapshot of entry ${index} holds another configuration`);
      }
    } catch (error) {
      if (error instanceof RosterError) return error;
      throw error;
    }
    writeApplied(this.backend, point);
    writeSnapshotMark(this.backend, point);
    return undefined;
  }
}
