import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RevisionEvents } from '../../core/mvcc/kv-store.ts';
import { MemoryBackend, MemoryDisk } from '../../core/mvcc/memory-backend.ts';
import { MvccStore } from '../../core/mvcc/store.ts';
import { type ByteString, fromByteString } from '../../core/util/bytes.ts';
import { encode } from '../../core/wire/binary.ts';
import { encodedOf } from '../../core/wire/encoded.ts';
import { KeyValue } from '../../core/wire/messages.ts';
import { LeaseMap, Model, plain } from './model.ts';

/** Random histories on a real store and on the naive model, compared after every step. */

const KEYS = ['a', 'aa', 'b', 'b\0', 'c', 'd\xff', 'e', '\xff'];
const ENDS = ['', '\0', ...KEYS];
const key = fc.constantFrom(...KEYS);
const end = fc.constantFrom(...ENDS);

const write = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant('put' as const),
      key,
      value: fc.constantFrom('', 'x', 'y'.repeat(200)),
      lease: fc.constantFrom(0n, 0n, 7n, 8n, -1n),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('delete' as const), key, end }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('read' as const), key, end, back: fc.nat(4) }) },
);
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('txn' as const), writes: fc.array(write, { maxLength: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('compact' as const), back: fc.integer({ min: -1, max: 12 }) }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('slice' as const), budget: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('commit' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('arrive' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('crash' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Write = typeof write extends fc.Arbitrary<infer T> ? T : never;

class Run {
  readonly disk = new MemoryDisk();
  readonly tasks: (() => void)[] = [];
  /** What each commit that has not arrived yet holds. */
  readonly underWay: Model[] = [];
  committed = new Model();
  model = new Model();
  leases = new LeaseMap();
  published: RevisionEvents[] = [];
  backend = new MemoryBackend((task) => this.tasks.push(task), this.disk);
  store = this.#open();

  #open(): MvccStore {
    this.leases = new LeaseMap();
    const store = new MvccStore({
      backend: this.backend,
      leases: this.leases,
      onRevision: (batch) => this.published.push(batch),
      pairCacheBytesMax: 1500,
    });
    for (const rows of store.restore()) expect(rows).toBeGreaterThan(0);
    return store;
  }

  take(step: Step): void {
    if (step.op === 'txn') this.#transaction(step.writes);
    else if (step.op === 'compact') {
      const revision = this.model.current - step.back;
      expect(this.store.compact(revision)).toBe(this.model.compact(revision));
    } else if (step.op === 'slice') this.store.compactSlice(step.budget);
    else if (step.op === 'commit') {
      this.underWay.push(this.model.clone());
      this.backend.commit(() => {
        this.committed = this.underWay.shift()!;
      });
    } else if (step.op === 'arrive') this.tasks.shift()?.();
    else this.crash();
  }

  crash(): void {
    this.tasks.length = 0;
    this.underWay.length = 0;
    this.model = this.committed.clone();
    this.backend = new MemoryBackend((task) => this.tasks.push(task), this.disk);
    this.store = this.#open();
  }

  #transaction(writes: readonly Write[]): void {
    const main = this.model.current + 1;
    const before = this.model.current;
    const writer = this.store.write();
    this.published = [];
    for (const w of writes) {
      if (w.op === 'put') {
        const value = fromByteString(w.value);
        expect(plain(writer.put(w.key, value, w.lease))).toEqual(plain(this.model.put(main, w.key, w.value, w.lease)));
      } else if (w.op === 'delete') {
        expect(writer.deleteRange(w.key, w.end)).toBe(this.model.deleteRange(main, w.key, w.end));
      } else {
        const revision = this.model.current - w.back;
        for (const options of [{}, { revision }]) {
          expect(plain(writer.range(w.key, w.end, options))).toEqual(plain(this.model.range(w.key, w.end, options)));
        }
        expect(writer.meta(w.key)).toEqual(this.model.meta(w.key));
      }
      expect(this.store.revision).toBe(before);
    }
    expect(writer.changed).toBe(this.model.current === main);
    expect(writer.end()).toBe(this.model.current);
    const events = this.model.events(main, () => true).get(main);
    expect(plain(this.published)).toEqual(plain(events === undefined ? [] : [{ revision: main, events }]));
  }

  check(): void {
    const { store, model } = this;
    expect(store.revision).toBe(model.current);
    expect(store.compactRevision).toBe(model.compacted);
    expect(store.keyCount).toBe(model.stateAt(model.current).size);
    expect(new Map([...this.leases.of].sort())).toEqual(new Map([...model.leases()].sort()));
    for (const k of KEYS) expect(store.meta(k)).toEqual(model.meta(k));
  }

  checkReads(revision: number, from: ByteString, to: ByteString, limit: number): void {
    const { store, model } = this;
    for (const options of [{ revision }, { revision, limit }, { revision, limit, countOnly: true }]) {
      const result = store.range(from, to, options);
      expect(plain(result)).toEqual(plain(model.range(from, to, options)));
      if (typeof result === 'string') continue;
      for (const pair of result.kvs) {
        const { key, create_revision, mod_revision, version, value, lease } = pair;
        const fresh = { key, create_revision, mod_revision, version, value, lease };
        expect(Buffer.compare(encodedOf(pair)!, encode(KeyValue, fresh))).toBe(0);
      }
    }
    if (revision > 0 && revision <= model.current) {
      expect(plain(store.at(from, revision))).toEqual(plain(model.at(from, revision)));
    }
  }

  checkEvents(from: number, revisionsMax: number, wanted: (key: ByteString) => boolean): void {
    const expected = this.model.events(from, wanted);
    const seen: RevisionEvents[] = [];
    for (let next = from; next <= this.model.current; ) {
      const slice = this.store.events(next, revisionsMax, wanted);
      expect(slice.next).toBeGreaterThan(next);
      expect(slice.batches.length).toBeLessThanOrEqual(revisionsMax);
      seen.push(...slice.batches);
      next = slice.next;
    }
    expect(plain(seen)).toEqual(plain([...expected].map(([revision, events]) => ({ revision, events }))));
  }

  checkRows(): void {
    while (!this.store.compactSlice(3));
    const rows: ByteString[] = [];
    this.backend.scan('key', '', undefined, (rowKey) => {
      rows.push(rowKey);
      return true;
    });
    expect(rows).toEqual(this.model.rowsKept());
  }
}

describe('MvccStore against the model', () => {
  it('agrees after every step, over compactions, commits and crashes', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 40 }),
        fc.array(fc.record({ key, end, back: fc.integer({ min: -1, max: 30 }), limit: fc.nat(4) }), { minLength: 3 }),
        (steps, reads) => {
          const run = new Run();
          for (const [i, one] of steps.entries()) {
            run.take(one);
            run.check();
            const read = reads[i % reads.length]!;
            run.checkReads(run.model.current - read.back, read.key, read.end, read.limit);
          }
          for (const read of reads) run.checkReads(run.model.current - read.back, read.key, read.end, read.limit);
          const first = Math.max(1, run.model.compacted);
          run.checkEvents(first, 1, () => true);
          run.checkEvents(first, 3, (k) => k < 'c');
          run.checkRows();
          for (const read of reads) run.checkReads(run.model.current - read.back, read.key, read.end, read.limit);
          run.checkEvents(Math.max(1, run.model.compacted), 2, () => true);
        },
      ),
      { numRuns: 400 },
    );
  });

  it('survives a crash after any slice of a compaction', () => {
    const history = fc.array(step, { minLength: 10, maxLength: 30 });
    fc.assert(
      fc.property(history, fc.integer({ min: 1, max: 4 }), fc.nat(12), (steps, budget, slices) => {
        const run = new Run();
        for (const one of steps) if (one.op !== 'crash') run.take(one);
        run.take({ op: 'compact', back: 2 });
        for (let i = 0; i <= slices; i++) {
          run.take({ op: 'commit' });
          while (run.tasks.length > 0) run.take({ op: 'arrive' });
          if (i < slices) run.store.compactSlice(budget);
        }
        run.crash();
        run.check();
        for (let revision = 1; revision <= run.model.current; revision++) run.checkReads(revision, 'a', '\0', 0);
        run.checkEvents(Math.max(1, run.model.compacted), 5, () => true);
        run.checkRows();
      }),
      { numRuns: 150 },
    );
  });
});
