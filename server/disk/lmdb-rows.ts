/**
 * How generations of rows get into LMDB: one transaction for all that is given, without a long turn of the event loop.
 * Owns the choice between LMDB's write thread and a sliced transaction; knows nothing of what the rows mean.
 */
import type { RootDatabase } from 'lmdb';
import { BUCKETS, type Bucket } from '../../core/mvcc/backend.ts';
import type { Generation } from '../../core/mvcc/overlay.ts';
import type { ByteString } from '../../core/util/bytes.ts';
import type { Table } from './lmdb-backend.ts';

/**
 * Up to this many rows are handed to LMDB's write thread in one go: about 0.4 us per row on the loop, no copy of values.
 * More are put row by row inside a transaction that stays open over several turns: 1.3 us per row, but in slices.
 */
export const BATCH_ROWS_MAX = 4000;
/** A slice ends after so many rows or bytes: well below a millisecond. */
const SLICE_ROWS = 400;
const SLICE_BYTES = 1 << 18;

/** lmdb's error when a commit fails; the reason comes later, as a promise of its own. */
interface CommitFailure extends Error {
  commitError?: Promise<unknown>;
}

export class RowWriter {
  readonly #root: RootDatabase<Buffer, ByteString>;
  readonly #tables: Readonly<Record<Bucket, Table>>;

  constructor(root: RootDatabase<Buffer, ByteString>, tables: Readonly<Record<Bucket, Table>>) {
    this.#root = root;
    this.#tables = tables;
  }

  /** Writes all rows of `generations`, oldest first, or none. Resolves when they are on the disk, to the error if any. */
  async write(generations: readonly Generation[]): Promise<Error | undefined> {
    let rows = 0;
    for (const generation of generations) for (const bucket of BUCKETS) rows += generation.rows[bucket].size;
    try {
      if (rows === 0) await turn();
      else if (rows <= BATCH_ROWS_MAX) await this.#root.batch(() => this.#putAll(generations));
      // A child transaction, because lmdb commits a plain one even when its callback fails.
      else await this.#root.childTransaction(() => this.#putSliced(generations));
      return undefined;
    } catch (error) {
      return await reasonOf(error as CommitFailure);
    }
  }

  #putAll(generations: readonly Generation[]): void {
    for (const generation of generations) {
      for (const bucket of BUCKETS) {
        const table = this.#tables[bucket];
        generation.rows[bucket].scan('', undefined, (key, row) => {
          void (row === null ? table.remove(key) : table.put(key, row as Buffer));
          return true;
        });
      }
    }
  }

  async #putSliced(generations: readonly Generation[]): Promise<void> {
    let rows = 0;
    let bytes = 0;
    for (const generation of generations) {
      for (const bucket of BUCKETS) {
        const table = this.#tables[bucket];
        for (const cursor = generation.rows[bucket].cursor(''); cursor.key !== undefined; cursor.advance()) {
          const row = cursor.value;
          void (row === null ? table.remove(cursor.key) : table.put(cursor.key, row as Buffer));
          rows++;
          bytes += row?.length ?? 0;
          if (rows < SLICE_ROWS && bytes < SLICE_BYTES) continue;
          rows = 0;
          bytes = 0;
          await turn();
        }
      }
    }
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function reasonOf(error: CommitFailure): Promise<Error> {
  const reason = await Promise.race([error.commitError?.catch((cause: unknown) => cause), turn()]);
  const text = reason instanceof Error ? reason.message : error.message;
  return new Error(`the store could not be written: ${text}`, { cause: error });
}
