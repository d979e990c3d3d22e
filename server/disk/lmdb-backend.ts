/**
 * The backend on LMDB. Owns one LMDB environment (data.mdb and lock.mdb in a directory) and the writes it does not have
 * yet. Each commit is one LMDB transaction, synced before `done`; it never waits for the disk on the event loop. Does
 * not keep other processes away: the lock on the data directory is taken elsewhere.
 */
import { type Database, open, type RangeOptions, type RootDatabase, type Transaction } from 'lmdb';
import {
  type Backend,
  type BackendSize,
  type BackendView,
  BUCKETS,
  type Bucket,
  type LentRow,
} from '../../core/mvcc/backend.ts';
import { type Generation, lentRow, Overlay, type Row, type RowSource } from '../../core/mvcc/overlay.ts';
import { assert } from '../../core/util/assert.ts';
import { type ByteString, EMPTY_BYTES } from '../../core/util/bytes.ts';
import { checkStoreDirectory, openError } from './lmdb-check.ts';
import { RowWriter } from './lmdb-rows.ts';

/** Address space reserved at first (etcd's initial mmap); LMDB maps more when the file outgrows it. */
export const MAP_BYTES_INITIAL = 10 * 2 ** 30;

/** A row where LMDB has put it: two buffers that are its own. */
class LmdbRow implements LentRow {
  keyBytes: Uint8Array = EMPTY_BYTES;
  keyStart = 0;
  keyEnd = 0;
  valueBytes: Uint8Array = EMPTY_BYTES;
  valueEnd = 0;
}

/** Set while a row is read that is lent: lmdb says it here, and makes neither key nor value of it. */
let lending: LmdbRow | undefined;

/** Keys are byte strings on both sides: written and read as latin1 without an intermediate copy. */
const latin1Keys = {
  writeKey: (key: ByteString, target: Buffer, start: number): number => start + target.write(key, start, 'latin1'),
  readKey: (source: Buffer, start: number, end: number): ByteString => {
    if (lending === undefined) return source.toString('latin1', start, end);
    lending.keyBytes = source;
    lending.keyStart = start;
    lending.keyEnd = end;
    return '';
  },
};

/** Values leave LMDB's scratch buffer as copies in Node's pool: memory of its own for each costs far more than the copy. */
const pooledValues = {
  encode: (value: Uint8Array): Uint8Array => value,
  decode: (scratch: Uint8Array): Uint8Array => {
    // lmdb sets `length` to the size of the value; the buffer itself is larger.
    const { buffer, byteOffset, length } = scratch;
    if (lending === undefined) {
      const value = Buffer.allocUnsafe(length);
      value.set(new Uint8Array(buffer, byteOffset, length));
      return value;
    }
    // Nearly always the same buffer as before, and a view of it costs as much as all else that is done with a row.
    const { valueBytes } = lending;
    if (valueBytes.buffer !== buffer || valueBytes.byteOffset !== byteOffset || valueBytes.length < length) {
      lending.valueBytes = new Uint8Array(buffer, byteOffset);
    }
    lending.valueEnd = length;
    return EMPTY_BYTES;
  },
};

const ROW_OPTIONS = { encoding: 'binary', encoder: pooledValues, keyEncoder: latin1Keys, cache: false } as const;

export type Table = Database<Buffer, ByteString>;

export interface LmdbBackendOptions {
  /** Made if it does not exist. */
  directory: string;
  mapBytesInitial?: number;
  /** A commit has ended. */
  onCommit?: (ms: number) => void;
}

interface Commit {
  generation: Generation;
  done: (error?: Error) => void;
}

export class LmdbBackend implements Backend {
  readonly #root: RootDatabase<Buffer, ByteString>;
  readonly #tables: Readonly<Record<Bucket, Table>>;
  readonly #writer: RowWriter;
  readonly #overlay = new Overlay();
  /** For one row at a time. */
  readonly #lent = new LmdbRow();
  readonly #onCommit: ((ms: number) => void) | undefined;
  readonly #queue: Commit[] = [];
  readonly #views = new Set<LmdbView>();
  #running = false;
  #failure: Error | undefined;
  #size: BackendSize | undefined;
  #whenClosed: ((error?: Error) => void) | undefined;

  /** Opens or makes the environment. Throws a RosterError that says what is wrong with the directory. */
  constructor({ directory, mapBytesInitial = MAP_BYTES_INITIAL, onCommit }: LmdbBackendOptions) {
    checkStoreDirectory(directory);
    try {
      this.#root = open<Buffer, ByteString>({
        path: directory,
        noSubdir: false,
        mapSize: mapBytesInitial,
        maxDbs: BUCKETS.length,
        overlappingSync: false,
        eventTurnBatching: false,
        ...ROW_OPTIONS,
      });
      const entries = BUCKETS.map((bucket) => [bucket, this.#root.openDB<Buffer, ByteString>(bucket, ROW_OPTIONS)]);
      this.#tables = Object.fromEntries(entries) as Record<Bucket, Table>;
    } catch (error) {
      throw openError(directory, error as Error);
    }
    this.#onCommit = onCommit;
    this.#writer = new RowWriter(this.#root, this.#tables);
  }

  get pendingWrites(): number {
    return this.#overlay.pendingWrites;
  }

  get(bucket: Bucket, key: ByteString): Uint8Array | undefined {
    this.#assertOpen();
    const row = this.#overlay.get(bucket, key);
    return row === undefined ? this.#tables[bucket].get(key) : (row ?? undefined);
  }

  getLent(bucket: Bucket, key: ByteString): Uint8Array | undefined {
    this.#assertOpen();
    const row = this.#overlay.get(bucket, key);
    if (row !== undefined) return row ?? undefined;
    lending = this.#lent;
    try {
      if (this.#tables[bucket].get(key) === undefined) return undefined;
    } finally {
      lending = undefined;
    }
    return this.#lent.valueBytes.subarray(0, this.#lent.valueEnd);
  }

  scan(
    bucket: Bucket,
    from: ByteString,
    to: ByteString | undefined,
    visit: (key: ByteString, value: Uint8Array) => boolean,
  ): void {
    this.#assertOpen();
    if (to !== undefined && to <= from) return;
    const below = new TableCursor(this.#tables[bucket], from, to, undefined);
    try {
      this.#overlay.scan(bucket, from, to, below, visit);
    } finally {
      below.close();
    }
  }

  scanLent(bucket: Bucket, from: ByteString, to: ByteString | undefined, visit: (row: LentRow) => boolean): void {
    if (!this.#overlay.isEmpty(bucket)) {
      this.scan(bucket, from, to, (key, value) => visit(lentRow(key, value)));
      return;
    }
    this.#assertOpen();
    if (to !== undefined && to <= from) return;
    const rows = this.#tables[bucket].getRange(rangeOf(from, to))[Symbol.iterator]();
    const row = new LmdbRow();
    try {
      while (!lent(rows, row) && visit(row));
    } finally {
      rows.return?.();
    }
  }

  put(bucket: Bucket, key: ByteString, value: Uint8Array): void {
    this.#assertOpen();
    this.#overlay.set(bucket, key, value);
  }

  delete(bucket: Bucket, key: ByteString): void {
    this.#assertOpen();
    this.#overlay.set(bucket, key, null);
  }

  commit(done: (error?: Error) => void): void {
    this.#assertOpen();
    this.#queue.push({ generation: this.#overlay.seal(), done });
    if (!this.#running) void this.#run();
  }

  size(): BackendSize {
    this.#assertOpen();
    if (this.#size === undefined || !this.#running) this.#size ??= this.#measure();
    return this.#size;
  }

  view(): BackendView {
    this.#assertOpen();
    const view = new LmdbView(this.#tables, this.#root.useReadTransaction(), () => this.#views.delete(view));
    this.#views.add(view);
    return view;
  }

  close(done: (error?: Error) => void): void {
    this.#assertOpen();
    this.#whenClosed = done;
    // LMDB does not survive a transaction that is ended after its environment.
    for (const view of this.#views) view.close();
    if (!this.#running) void this.#closeRoot(done);
  }

  /** Writes what is queued, all of it at once when several commits wait, until nothing is. */
  async #run(): Promise<void> {
    this.#running = true;
    while (this.#queue.length > 0) {
      const commits = this.#queue.splice(0);
      const beganMs = performance.now();
      this.#failure ??= await this.#writer.write(commits.map((commit) => commit.generation));
      this.#onCommit?.(performance.now() - beganMs);
      if (this.#failure === undefined) {
        this.#size = undefined;
        for (const commit of commits) this.#overlay.drop(commit.generation);
      }
      for (const commit of commits) commit.done(this.#failure);
    }
    this.#running = false;
    if (this.#whenClosed !== undefined) await this.#closeRoot(this.#whenClosed);
  }

  async #closeRoot(done: (error?: Error) => void): Promise<void> {
    const error = await this.#root.close().then(
      () => undefined,
      (reason: unknown) => (reason instanceof Error ? reason : new Error(String(reason))),
    );
    done(error);
  }

  /** Live pages are those of the tables, of the table of tables, of LMDB's free list, and its two headers. */
  #measure(): BackendSize {
    const environment = this.#root.getStats() as EnvironmentStats;
    let pages = 2 + pagesOf(environment.root) + pagesOf(environment.free);
    for (const bucket of BUCKETS) pages += pagesOf(this.#tables[bucket].getStats() as TreeStats);
    const pageBytes = environment.root.pageSize;
    return { total: (environment.lastPageNumber + 1) * pageBytes, inUse: pages * pageBytes };
  }

  #assertOpen(): void {
    assert(this.#whenClosed === undefined, 'the backend is closed');
  }
}

interface TreeStats {
  pageSize: number;
  treeBranchPageCount: number;
  treeLeafPageCount: number;
  overflowPages: number;
}

interface EnvironmentStats {
  lastPageNumber: number;
  root: TreeStats;
  free: TreeStats;
}

function pagesOf(stats: TreeStats): number {
  return stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages;
}

/**
 * A read transaction of LMDB, which sees what was committed when it began. It holds up nothing; but while it is open no
 * page that it can see is used again, so the file grows by what is written meanwhile.
 */
class LmdbView implements BackendView {
  readonly #tables: Readonly<Record<Bucket, Table>>;
  readonly #onClose: () => void;
  #transaction: Transaction | undefined;

  constructor(tables: Readonly<Record<Bucket, Table>>, transaction: Transaction, onClose: () => void) {
    this.#tables = tables;
    this.#transaction = transaction;
    this.#onClose = onClose;
  }

  get(bucket: Bucket, key: ByteString): Uint8Array | undefined {
    // lmdb's own `get` would read from a write transaction that is open, whatever transaction it is given.
    let found: Uint8Array | undefined;
    this.scan(bucket, key, `${key}\0`, (_key, value) => {
      found = value;
      return false;
    });
    return found;
  }

  scan(
    bucket: Bucket,
    from: ByteString,
    to: ByteString | undefined,
    visit: (key: ByteString, value: Uint8Array) => boolean,
  ): void {
    const transaction = this.#transaction;
    assert(transaction !== undefined, 'the view is closed');
    if (to !== undefined && to <= from) return;
    const rows = new TableCursor(this.#tables[bucket], from, to, transaction);
    try {
      for (; rows.key !== undefined; rows.advance()) if (!visit(rows.key, rows.value!)) return;
    } finally {
      rows.close();
    }
  }

  close(): void {
    this.#transaction?.done();
    this.#transaction = undefined;
    this.#onClose();
  }
}

/** LMDB has no empty key: nothing sorts below "\0". */
function rangeOf(from: ByteString, to: ByteString | undefined): RangeOptions {
  const start = from === '' ? '\0' : from;
  return to === undefined ? { start } : { start, end: to };
}

/** Reads the next row into `row`. True when there is none. */
function lent(rows: Iterator<unknown>, row: LmdbRow): boolean {
  lending = row;
  try {
    return rows.next().done === true;
  } finally {
    lending = undefined;
  }
}

/** The rows LMDB holds. Keys and values are copies, which outlive the read transaction. */
class TableCursor implements RowSource {
  key: ByteString | undefined;
  value: Row = null;
  readonly #rows: Iterator<{ key: ByteString; value: Uint8Array }>;

  /** As of now, or as of `transaction`. */
  constructor(table: Table, from: ByteString, to: ByteString | undefined, transaction: Transaction | undefined) {
    const range = rangeOf(from, to);
    if (transaction !== undefined) range.transaction = transaction;
    this.#rows = table.getRange(range)[Symbol.iterator]();
    this.advance();
  }

  advance(): void {
    const step = this.#rows.next();
    if (step.done === true) {
      this.key = undefined;
      return;
    }
    this.key = step.value.key;
    this.value = step.value.value;
  }

  close(): void {
    this.#rows.return?.();
  }
}
