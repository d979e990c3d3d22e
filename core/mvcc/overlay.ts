/**
 * Writes a backend holds in memory until the disk has them: generations, oldest first, the last one open. Owns their
 * order and the merge of what they hold with what lies below. Never touches a disk.
 */
import { assert } from '../util/assert.ts';
import { BTree, type BTreeCursor } from '../util/btree.ts';
import { type ByteString, fromByteString } from '../util/bytes.ts';
import { BACKEND_KEY_BYTES_MAX, BUCKETS, type Bucket, type LentRow } from './backend.ts';

/** A key's new value; null: deleted. */
export type Row = Uint8Array | null;

/** The writes between two commits. */
export class Generation {
  readonly rows: Readonly<Record<Bucket, BTree<Row>>>;
  /** Calls of put and delete, for pendingWrites; a key written twice counts twice. */
  writes = 0;

  constructor() {
    this.rows = Object.fromEntries(BUCKETS.map((bucket) => [bucket, new BTree<Row>()])) as Record<Bucket, BTree<Row>>;
  }
}

/** Rows of one bucket below the overlay, in ascending key order. */
export interface RowSource {
  /** The key under the cursor; `undefined` past the last one. */
  readonly key: ByteString | undefined;
  readonly value: Row;
  advance(): void;
}

export class Overlay {
  /** Oldest first; the last one takes the writes. */
  readonly #generations: Generation[] = [new Generation()];

  get pendingWrites(): number {
    return this.#open.writes;
  }

  /** The newest row of `key`; `undefined` when only the disk can tell. */
  get(bucket: Bucket, key: ByteString): Row | undefined {
    for (let i = this.#generations.length - 1; i >= 0; i--) {
      const tree = this.#generations[i]!.rows[bucket];
      if (tree.size === 0) continue;
      const row = tree.get(key);
      if (row !== undefined) return row;
    }
    return undefined;
  }

  set(bucket: Bucket, key: ByteString, row: Row): void {
    assert(key.length > 0 && key.length <= BACKEND_KEY_BYTES_MAX, 'a backend key has 1 to BACKEND_KEY_BYTES_MAX bytes');
    const generation = this.#open;
    generation.rows[bucket].set(key, row);
    generation.writes++;
  }

  /** Closes the open generation and returns it. It stays visible until it is dropped. */
  seal(): Generation {
    const sealed = this.#open;
    this.#generations.push(new Generation());
    return sealed;
  }

  /** Forgets the oldest generation: the disk has it now. */
  drop(generation: Generation): void {
    assert(this.#generations.length > 1 && this.#generations[0] === generation, 'generations leave in order');
    this.#generations.shift();
  }

  /** Whether there is nothing in `bucket`: then what lies below is all there is. */
  isEmpty(bucket: Bucket): boolean {
    return this.#generations.every(({ rows }) => rows[bucket].size === 0);
  }

  /** Visits the merge of `below` and all generations, newest wins, deleted keys left out. See Backend.scan. */
  scan(
    bucket: Bucket,
    from: ByteString,
    to: ByteString | undefined,
    below: RowSource,
    visit: (key: ByteString, value: Uint8Array) => boolean,
  ): void {
    const sources: RowSource[] = [];
    for (let i = this.#generations.length - 1; i >= 0; i--) {
      const tree = this.#generations[i]!.rows[bucket];
      if (tree.size > 0) sources.push(tree.cursor(from) satisfies BTreeCursor<Row>);
    }
    sources.push(below);
    for (;;) {
      const newest = smallest(sources);
      const key = newest?.key;
      if (newest === undefined || key === undefined || (to !== undefined && key >= to)) return;
      const row = newest.value;
      // Before any source goes on: it may lend its value only until then.
      if (row !== null && !visit(key, row)) return;
      for (const source of sources) if (source.key === key) source.advance();
    }
  }

  get #open(): Generation {
    return this.#generations[this.#generations.length - 1]!;
  }
}

/** A row in memory, for who takes rows that are lent. */
export function lentRow(key: ByteString, value: Uint8Array): LentRow {
  return { keyBytes: fromByteString(key), keyStart: 0, keyEnd: key.length, valueBytes: value, valueEnd: value.length };
}

/** The source with the smallest key; of equal ones the first, which is the newest. */
function smallest(sources: readonly RowSource[]): RowSource | undefined {
  let best: RowSource | undefined;
  let bestKey: ByteString | undefined;
  for (const source of sources) {
    const key = source.key;
    if (key === undefined || (bestKey !== undefined && key >= bestKey)) continue;
    best = source;
    bestKey = key;
  }
  return best;
}
