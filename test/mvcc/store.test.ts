import { beforeEach, describe, expect, it } from 'vitest';
import type { Bucket } from '../../core/mvcc/backend.ts';
import type { RangeResult, RevisionEvents } from '../../core/mvcc/kv-store.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import { RESTORE_SLICE_ROWS } from '../../core/mvcc/restore.ts';
import { parseRevision, revisionKey, tombstoneKey } from '../../core/mvcc/revision.ts';
import { MvccStore } from '../../core/mvcc/store.ts';
import { AssertionError } from '../../core/util/assert.ts';
import { type ByteString, EMPTY_BYTES, fromByteString, toByteString } from '../../core/util/bytes.ts';
import { decode, encode } from '../../core/wire/binary.ts';
import { EventType, KeyValue } from '../../core/wire/messages.ts';
import { LeaseMap } from './model.ts';

/** A memory backend that also counts what compaction is budgeted on. */
class CountingBackend extends MemoryBackend {
  deletes = 0;
  override delete(bucket: Bucket, key: ByteString): void {
    this.deletes++;
    super.delete(bucket, key);
  }
}

let tasks: (() => void)[];
let backend: CountingBackend;
let leases: LeaseMap;
let batches: RevisionEvents[];
let store: MvccStore;

function open(): MvccStore {
  leases = new LeaseMap();
  const opened = new MvccStore({ backend, leases, onRevision: (batch) => batches.push(batch) });
  for (const _ of opened.restore());
  return opened;
}

beforeEach(() => {
  tasks = [];
  batches = [];
  backend = new CountingBackend((task) => tasks.push(task));
  store = open();
});

function commit(): void {
  backend.commit(() => {});
  for (const task of tasks.splice(0)) task();
}

/** Loses everything that was not committed. */
function crash(): void {
  backend = new CountingBackend((task) => tasks.push(task), backend.disk);
  store = open();
}

function put(key: ByteString, value = 'v', lease = 0n): number {
  const writer = store.write();
  writer.put(key, fromByteString(value), lease);
  return writer.end();
}

function remove(key: ByteString, end: ByteString = ''): number {
  const writer = store.write();
  writer.deleteRange(key, end);
  return writer.end();
}

function range(key: ByteString, end: ByteString = '', options = {}): RangeResult {
  const result = store.range(key, end, options);
  if (typeof result === 'string') throw new Error(result);
  return result;
}

function compactFully(revision: number): void {
  expect(store.compact(revision)).toBeUndefined();
  while (!store.compactSlice(1000));
}

function keyRows(): ByteString[] {
  const rows: ByteString[] = [];
  backend.scan('key', '', undefined, (key) => rows.push(key) > 0);
  return rows;
}

const all = () => true;

describe('revisions', () => {
  it('begin at 1, compaction at -1', () => {
    expect([store.revision, store.compactRevision, store.keyCount]).toEqual([1, -1, 0]);
    expect(put('a')).toBe(2);
  });

  it('grow by one per transaction that changed something, and by nothing otherwise', () => {
    put('a');
    const reader = store.write();
    reader.range('a', '');
    expect(reader.deleteRange('x', '\0')).toBe(0);
    expect(reader.changed).toBe(false);
    expect(reader.end()).toBe(2);
    expect(put('a', 'v')).toBe(3);
    const writer = store.write();
    writer.put('b', EMPTY_BYTES, 0n);
    writer.put('c', EMPTY_BYTES, 0n);
    writer.deleteRange('a', 'c');
    expect(writer.end()).toBe(4);
    expect(keyRows().slice(2).map(parseRevision)).toEqual([0, 1, 2, 3].map((sub) => ({ main: 4, sub })));
    expect(batches.map((batch) => [batch.revision, batch.events.length])).toEqual([
      [2, 1],
      [3, 1],
      [4, 4],
    ]);
    expect(batches[2]!.events.map((event) => [event.type, event.kv!.key])).toEqual([
      [EventType.values.PUT, 'b'],
      [EventType.values.PUT, 'c'],
      [EventType.values.DELETE, 'a'],
      [EventType.values.DELETE, 'b'],
    ]);
  });

  it('count versions from 1 in every generation', () => {
    put('a');
    put('a');
    expect(store.meta('a')).toEqual({ create_revision: 2, mod_revision: 3, version: 2 });
    remove('a');
    expect(store.meta('a')).toBeUndefined();
    put('a');
    expect(store.meta('a')).toEqual({ create_revision: 5, mod_revision: 5, version: 1 });
  });
});

describe('reads', () => {
  it('count the range whatever the limit, at any revision', () => {
    for (const key of ['a', 'b', 'c', 'd']) put(key);
    remove('b');
    const keys = (result: RangeResult) => result.kvs.map((kv) => kv.key);
    const latest = range('a', '\0', { limit: 2 });
    expect([keys(latest), latest.count, latest.revision]).toEqual([['a', 'c'], 3, 6]);
    const past = range('a', '\0', { limit: 2, revision: 5 });
    expect([keys(past), past.count, past.revision]).toEqual([['a', 'b'], 4, 6]);
    expect(range('a', 'c', { countOnly: true })).toEqual({ kvs: [], count: 1, revision: 6 });
    expect(range('c', 'a')).toEqual({ kvs: [], count: 0, revision: 6 });
    expect(range('\0', '\0').count).toBe(3);
  });

  it('count a past range the same, whether its births and deaths are remembered or not', () => {
    for (let i = 0; i < 40; i++) put(`k${i % 10}`);
    for (let i = 0; i < 10; i += 2) remove(`k${i}`);
    put('k0');
    const count = () =>
      Array.from({ length: store.revision }, (_, i) => range('k', 'k7', { revision: i + 1, countOnly: true }).count);
    const remembered = count();
    expect(remembered.slice(0, 9)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 7]);
    expect(remembered.slice(-7)).toEqual([7, 6, 5, 4, 3, 3, 4]);
    commit();
    crash();
    expect(count()).toEqual(remembered);
  });

  it('do not touch values to count', () => {
    for (let i = 0; i < 100; i++) put(`k${i}`);
    commit();
    crash();
    let gets = 0;
    const get = backend.get.bind(backend);
    backend.get = (bucket, key) => {
      gets++;
      return get(bucket, key);
    };
    expect(range('k', 'l', { countOnly: true }).count).toBe(100);
    expect(gets).toBe(0);
    expect(range('k', 'l', { limit: 3 }).kvs.length).toBe(3);
    expect(gets).toBe(3);
  });

  it('refuse the future and the compacted', () => {
    put('a');
    put('a');
    expect(store.range('a', '', { revision: 4 })).toBe('FutureRev');
    compactFully(3);
    expect(store.range('a', '', { revision: 2 })).toBe('Compacted');
    expect(range('a', '', { revision: 3 }).count).toBe(1);
  });

  it('give a pair the memory of its own encoding, not of the request', () => {
    const request = Buffer.alloc(1000, 'x');
    const writer = store.write();
    const kv = writer.put('key', request.subarray(100, 200), 77n);
    writer.end();
    request.fill('y');
    expect(toByteString(kv.value)).toBe('x'.repeat(100));
    expect(toByteString(range('key').kvs[0]!.value)).toBe('x'.repeat(100));
  });

  it('are not allowed past an open transaction, nor a second one', () => {
    const writer = store.write();
    expect(() => store.range('a', '')).toThrow(AssertionError);
    expect(() => store.write()).toThrow(AssertionError);
    expect(() => store.compactSlice(1)).toThrow(AssertionError);
    writer.end();
    expect(() => writer.put('a', EMPTY_BYTES, 0n)).toThrow(AssertionError);
    expect(() => writer.end()).toThrow(AssertionError);
  });
});

describe('leases', () => {
  it('are attached, moved and detached with the key', () => {
    put('a', 'v', 5n);
    expect(leases.of.get('a')).toBe(5n);
    put('a', 'v', 6n);
    expect(leases.of.get('a')).toBe(6n);
    put('a', 'v', 0n);
    expect(leases.of.has('a')).toBe(false);
    put('a', 'v', 5n);
    put('b', 'v', -5n);
    remove('a', '\0');
    expect(leases.of.size).toBe(0);
  });

  it('come back after a restart as the newest pairs say', () => {
    put('kept', 'v', 5n);
    put('moved', 'v', 5n);
    put('moved', 'v', 6n);
    put('dropped', 'v', 5n);
    put('dropped', 'v', 0n);
    put('deleted', 'v', 5n);
    remove('deleted');
    commit();
    crash();
    expect([...leases.of].sort()).toEqual([
      ['kept', 5n],
      ['moved', 6n],
    ]);
    put('kept', 'v', 0n);
    expect(leases.of.has('kept')).toBe(false);
  });
});

describe('the backend layout', () => {
  it("is etcd's: pairs in full, tombstones with the key alone, compaction marks in meta", () => {
    put('a', 'value', 9n);
    remove('a');
    expect(keyRows()).toEqual([revisionKey(2, 0), tombstoneKey(3, 0)]);
    expect(toByteString(backend.get('key', revisionKey(2, 0))!)).toBe(
      '\x0a\x01a\x10\x02\x18\x02\x20\x01\x2a\x05value\x30\x09',
    );
    expect(toByteString(backend.get('key', tombstoneKey(3, 0))!)).toBe('\x0a\x01a');
    expect(decode(KeyValue, backend.get('key', revisionKey(2, 0))!).lease).toBe(9n);
    compactFully(3);
    for (const mark of ['scheduledCompactRev', 'finishedCompactRev']) {
      expect(toByteString(backend.get('meta', mark)!)).toBe(revisionKey(3, 0));
    }
  });

  it('refuses to write before it was restored, and rows that contradict each other', () => {
    put('a');
    commit();
    const again = new MemoryBackend((task) => tasks.push(task), backend.disk);
    const unread = new MvccStore({ backend: again, leases });
    expect(() => unread.write()).toThrow(AssertionError);
    const stray = { key: 'a', create_revision: 3, mod_revision: 4, version: 2, value: EMPTY_BYTES, lease: 0n };
    again.put('key', revisionKey(4, 0), encode(KeyValue, stray));
    expect(() => [...unread.restore()]).toThrow('the store is damaged');
  });

  it('is read in slices', () => {
    const rows = 2 * RESTORE_SLICE_ROWS + 1;
    const writer = store.write();
    for (let i = 0; i < rows; i++) writer.put(`k${i}`, EMPTY_BYTES, 0n);
    writer.end();
    commit();
    const revived = new MvccStore({ backend: new MemoryBackend(() => {}, backend.disk), leases });
    expect([...revived.restore()]).toEqual([RESTORE_SLICE_ROWS, 2 * RESTORE_SLICE_ROWS, rows]);
    expect(revived.keyCount).toBe(rows);
  });
});

describe('compaction', () => {
  it('refuses as etcd does', () => {
    put('a');
    expect(store.compact(3)).toBe('FutureRev');
    expect(store.compact(2)).toBeUndefined();
    expect(store.compact(2)).toBe('Compacted');
    expect(store.compact(1)).toBe('Compacted');
  });

  it('never does more than its budget', () => {
    for (let i = 0; i < 50; i++) {
      put('hot');
      put(`k${i % 7}`);
    }
    remove('k', 'l');
    store.compact(store.revision);
    const before = backend.deletes;
    for (const budget of [1, 2, 5, 10]) {
      const start = backend.deletes;
      store.compactSlice(budget);
      expect(backend.deletes - start).toBeLessThanOrEqual(budget);
    }
    let slices = 0;
    for (;;) {
      const start = backend.deletes;
      const done = store.compactSlice(3);
      expect(backend.deletes - start).toBeLessThanOrEqual(3);
      slices++;
      if (done) break;
    }
    // 100 puts and 7 tombstones; the newest "hot" and the tombstones at the revision itself stay.
    expect(backend.deletes - before).toBe(99);
    expect(slices).toBeGreaterThanOrEqual(27);
    expect(keyRows().length).toBe(8);
  });

  it('ends although writes go on, and a later one takes over', () => {
    for (let i = 0; i < 20; i++) put(`k${i % 4}`);
    store.compact(10);
    store.compactSlice(2);
    for (let i = 0; i < 20; i++) put(`k${i % 4}`);
    store.compact(30);
    let slices = 0;
    while (!store.compactSlice(2)) {
      put(`k${slices % 4}`);
      slices++;
      expect(slices).toBeLessThan(100);
    }
    expect(store.compactRevision).toBe(30);
    expect(parseRevision(keyRows()[0]!).main).toBeGreaterThan(26);
    commit();
    crash();
    expect(store.compactSlice(1)).toBe(true);
  });

  it('lets go of keys of which nothing is left', () => {
    put('a');
    remove('a');
    put('b');
    compactFully(4);
    expect(keyRows()).toEqual([revisionKey(4, 0)]);
    expect(range('\0', '\0', { revision: 4 }).count).toBe(1);
    put('a');
    expect(store.meta('a')).toEqual({ create_revision: 5, mod_revision: 5, version: 1 });
  });
});

describe('bugs of others', () => {
  it('etcd #17780: a crash between compaction slices does not take the revision back', () => {
    put('a');
    put('b');
    remove('a', '\0');
    const revision = store.revision;
    store.compact(revision);
    for (let slices = 0; ; slices++) {
      commit();
      crash();
      expect([store.revision, store.compactRevision, store.keyCount]).toEqual([revision, revision, 0]);
      let done = false;
      for (let i = 0; i <= slices && !done; i++) done = store.compactSlice(1);
      if (done) break;
      expect(slices).toBeLessThan(10);
    }
    commit();
    crash();
    expect(store.compactSlice(1)).toBe(true);
    expect(put('c')).toBe(revision + 1);
  });

  it('etcd #18089: compacting at a delete does not drop it', () => {
    put('a');
    const deleted = remove('a');
    put('b');
    compactFully(deleted);
    const { batches: history } = store.events(deleted, 10, all);
    expect(
      history.map((batch) => batch.events.map((event) => [event.type, event.kv!.key, event.kv!.mod_revision])),
    ).toEqual([[[EventType.values.DELETE, 'a', deleted]], [[EventType.values.PUT, 'b', deleted + 1]]]);
  });

  it('etcd #19179: a watch from the compacted revision sees a delete in it, also after a restart', () => {
    const writer = store.write();
    writer.put('a', EMPTY_BYTES, 0n);
    writer.put('b', EMPTY_BYTES, 0n);
    writer.end();
    const deleted = remove('a', 'c');
    compactFully(deleted);
    commit();
    crash();
    const { batches: history, next } = store.events(deleted, 10, all);
    expect(history.map((batch) => [batch.revision, batch.events.length])).toEqual([[deleted, 2]]);
    expect(next).toBe(deleted + 1);
  });

  it('etcd #17529: a slow reader of history loses nothing to a compaction it is ahead of', () => {
    for (let i = 0; i < 10; i++) put('a', String(i));
    const first = store.events(2, 4, all);
    compactFully(first.next);
    const rest = store.events(first.next, 100, all);
    expect([...first.batches, ...rest.batches].map((batch) => batch.revision)).toEqual([
      2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    ]);
    expect(() => store.events(first.next - 1, 1, all)).toThrow(AssertionError);
  });

  it('etcd #13766: what a commit holds is whole, the applied index beside the rows', () => {
    for (let index = 1; index <= 20; index++) {
      put('a', String(index));
      backend.put('meta', 'consistent_index', fromByteString(String(index)));
      if (index % 3 === 0) backend.commit(() => {});
    }
    for (const task of tasks.splice(0, 4)) task();
    tasks.length = 0;
    crash();
    expect(toByteString(backend.get('meta', 'consistent_index')!)).toBe('12');
    expect(toByteString(range('a').kvs[0]!.value)).toBe('12');
    expect(store.revision).toBe(13);
  });

  it('etcd PR 17230: a read after a delete does not see the buffer of before', () => {
    put('a', 'old');
    commit();
    put('a', 'new');
    remove('a');
    expect(range('a').count).toBe(0);
    expect(toByteString(range('a', '', { revision: 2 }).kvs[0]!.value)).toBe('old');
    put('a', 'again');
    expect(toByteString(range('a').kvs[0]!.value)).toBe('again');
    expect(toByteString(store.at('a', 3)!.value)).toBe('new');
    expect(store.at('a', 4)).toBeUndefined();
  });

  it('etcd #18667: a range at a compacted revision inside a transaction is refused before anything is written', () => {
    put('a');
    put('a');
    compactFully(3);
    const writer = store.write();
    expect(writer.range('a', '', { revision: 2 })).toBe('Compacted');
    expect(writer.range('a', '', { revision: 4 })).toBe('FutureRev');
    expect(writer.end()).toBe(3);
  });
});
