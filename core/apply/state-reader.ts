/** Reads a state out of a view of its backend, piece by piece. Owns the view until it is closed. */
import type { BackendView } from '../mvcc/backend.ts';
import { BUCKETS } from '../mvcc/backend.ts';
import type { StatePoint, StateReader } from '../node/machine.ts';
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import { readApplied } from './applied.ts';
import { encodeRows, isOwnRow, parsePlace, placeOf, ROW_OVERHEAD_BYTES, type StateRow } from './state-rows.ts';

export class ViewReader implements StateReader {
  readonly point: StatePoint;
  readonly #view: BackendView;
  readonly #onClose: () => void;
  #closed = false;

  /** Throws a RosterError DATA_LOSS when the view does not say how far it goes; the view is closed then. */
  constructor(view: BackendView, onClose: () => void) {
    this.#view = view;
    this.#onClose = onClose;
    try {
      this.point = readApplied(view);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** See {@link StateReader.read}. */
  read(from: ByteString, bytesMax: number): { rows: Uint8Array; next: ByteString | undefined } {
    assert(!this.#closed, 'the state reader is closed');
    const rows: StateRow[] = [];
    const begin = parsePlace(from);
    let bytes = 0;
    let next: ByteString | undefined;
    for (let number = begin.bucket; number < BUCKETS.length && next === undefined; number++) {
      const bucket = BUCKETS[number]!;
      this.#view.scan(bucket, number === begin.bucket ? begin.rowKey : '', undefined, (key, value) => {
        if (isOwnRow(bucket, key)) return true;
        if (rows.length > 0 && bytes >= bytesMax) {
          next = placeOf(number, key);
          return false;
        }
        rows.push({ bucket: number, key, value });
        bytes += key.length + value.length + ROW_OVERHEAD_BYTES;
        return true;
      });
    }
    return { rows: encodeRows(rows), next };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#view.close();
    this.#onClose();
  }
}
