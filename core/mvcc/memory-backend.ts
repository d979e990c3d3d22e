/**
 * A backend without a disk, for the simulator and for tests. Owns nothing that outlives the process; what "survives" a
 * crash is the MemoryDisk, which a new MemoryBackend can be opened on.
 */
import { assert } from '../util/assert.ts';
import { BTree } from '../util/btree.ts';
import type { ByteString } from '../util/bytes.ts';
import { type Backend, type BackendSize, type BackendView, BUCKETS, type Bucket, type LentRow } from './backend.ts';
import { type Generation, lentRow, Overlay, type Row } from './overlay.ts';

/** What has been committed. */
export class MemoryDisk {
  readonly rows: Readonly<Record<Bucket, BTree<Uint8Array>>>;
  /** Bytes of all keys and values. */
  bytes = 0;
  /** Commits that arrived here. */
  commits = 0;
  /** The open views of the process that runs. */
  readonly views = new Set<MemoryView>();

  constructor() {
    const entries = BUCKETS.map((bucket) => [bucket, new BTree<Uint8Array>()]);
    this.rows = Object.fromEntries(entries) as Record<Bucket, BTree<Uint8Array>>;
  }

  /** Takes one generation, whole. */
  write(generation: Generation): void {
    for (const bucket of BUCKETS) {
      const tree = this.rows[bucket];
      generation.rows[bucket].scan('', undefined, (key, row) => {
        const old = tree.get(key);
        for (const view of this.views) view.keep(bucket, key, old ?? null);
        if (old !== undefined) this.bytes -= key.length + old.length;
        if (row === null) tree.delete(key);
        else {
          tree.set(key, row);
          this.bytes += key.length + row.length;
        }
        return true;
      });
    }
    this.commits++;
  }
}

/** The disk as it was: keeps each row that was changed since, and reads the others from the disk. */
class MemoryView implements BackendView {
  readonly #disk: MemoryDisk;
  /** What rows were before they were changed. */
  readonly #kept = new Overlay();

  constructor(disk: MemoryDisk) {
    this.#disk = disk;
    disk.views.add(this);
  }

  /** `row` is about to be changed; null: made. */
  keep(bucket: Bucket, key: ByteString, row: Row): void {
    if (this.#kept.get(bucket, key) === undefined) this.#kept.set(bucket, key, row);
  }

  get(bucket: Bucket, key: ByteString): Uint8Array | undefined {
    this.#assertOpen();
    const row = this.#kept.get(bucket, key);
    return row === undefined ? this.#disk.rows[bucket].get(key) : (row ?? undefined);
  }

  scan(
    bucket: Bucket,
    from: ByteString,
    to: ByteString | undefined,
    visit: (key: ByteString, value: Uint8Array) => boolean,
  ): void {
    this.#assertOpen();
    this.#kept.scan(bucket, from, to, this.#disk.rows[bucket].cursor(from), visit);
  }

  close(): void {
    this.#disk.views.delete(this);
  }

  #assertOpen(): void {
    assert(this.#disk.views.has(this), 'the view is closed');
  }
}

export class MemoryBackend implements Backend {
  readonly disk: MemoryDisk;
  readonly #defer: (task: () => void) => void;
  readonly #overlay = new Overlay();
  #underWay = 0;
  #whenIdle: (() => void) | undefined;
  #closed = false;

  /**
   * `defer` runs a task later and in order, never at once (a simulator's queue; `queueMicrotask` in tests): a commit
   * reaches the disk when its task runs. Tasks that never run are what a crash loses.
   */
  constructor(defer: (task: () => void) => void, disk: MemoryDisk = new MemoryDisk()) {
    this.#defer = defer;
    this.disk = disk;
    // They belonged to a process that is no more.
    disk.views.clear();
  }

  get pendingWrites(): number {
    return this.#overlay.pendingWrites;
  }

  get(bucket: Bucket, key: ByteString): Uint8Array | undefined {
    this.#assertOpen();
    const row = this.#overlay.get(bucket, key);
    return row === undefined ? this.disk.rows[bucket].get(key) : (row ?? undefined);
  }

  getLent(bucket: Bucket, key: ByteString): Uint8Array | undefined {
    return this.get(bucket, key);
  }

  scan(
    bucket: Bucket,
    from: ByteString,
    to: ByteString | undefined,
    visit: (key: ByteString, value: Uint8Array) => boolean,
  ): void {
    this.#assertOpen();
    this.#overlay.scan(bucket, from, to, this.disk.rows[bucket].cursor(from), visit);
  }

  scanLent(bucket: Bucket, from: ByteString, to: ByteString | undefined, visit: (row: LentRow) => boolean): void {
    this.scan(bucket, from, to, (key, value) => visit(lentRow(key, value)));
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
    const generation = this.#overlay.seal();
    this.#underWay++;
    this.#defer(() => {
      this.disk.write(generation);
      this.#overlay.drop(generation);
      this.#underWay--;
      done();
      if (this.#underWay === 0) this.#whenIdle?.();
    });
  }

  size(): BackendSize {
    return { total: this.disk.bytes, inUse: this.disk.bytes };
  }

  view(): BackendView {
    this.#assertOpen();
    return new MemoryView(this.disk);
  }

  close(done: (error?: Error) => void): void {
    this.#assertOpen();
    this.#closed = true;
    this.disk.views.clear();
    if (this.#underWay === 0) this.#defer(() => done());
    else this.#whenIdle = () => done();
  }

  #assertOpen(): void {
    assert(!this.#closed, 'the backend is closed');
  }
}
