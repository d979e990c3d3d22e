import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChildrenReader, type ChildrenRequest } from '../../core/apply/children-reader.ts';
import { RosterError } from '../../core/errors.ts';
import type { Child } from '../../core/mvcc/kv-store.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import { MvccStore } from '../../core/mvcc/store.ts';
import { EMPTY_BYTES } from '../../core/util/bytes.ts';
import { LeaseMap } from './model.ts';

const now = (task: () => void) => task();

function newStore(): MvccStore {
  return new MvccStore({ backend: new MemoryBackend(now), leases: new LeaseMap() });
}

function put(store: MvccStore, ...keys: string[]): void {
  const writer = store.write();
  for (const key of keys) writer.put(key, EMPTY_BYTES, 0n);
  writer.end();
}

function remove(store: MvccStore, key: string): void {
  const writer = store.write();
  writer.deleteRange(key, '');
  writer.end();
}

/** Everything, in steps of `most`. */
function childrenOf(store: MvccStore, request: Partial<ChildrenRequest>, most = 100): Child[] {
  const source = { store: () => store, hold: () => () => {} };
  const reader = ChildrenReader.open(source, {
    ...{ prefix: '', delimiter: '/', from: '', revision: 0, limit: 0 },
    ...request,
  });
  if (reader instanceof RosterError) throw reader;
  const all: Child[] = [];
  while (!reader.done) {
    const read = reader.step(most);
    if (read instanceof RosterError) throw read;
    expect(read.length).toBeLessThanOrEqual(most);
    all.push(...read);
  }
  reader.held.letGo();
  return all;
}

const names = (children: Child[]) => children.map(({ name }) => name);

describe('children', () => {
  it('are keys and groups, in key order, each once', () => {
    const store = newStore();
    put(store, 'app/db', 'app/db-x', 'app/db/1', 'app/db/2/3', 'app/', 'app//x', 'app/port', 'apq', 'a');
    expect(childrenOf(store, { prefix: 'app/' })).toEqual([
      { name: 'app/', group: false, modRevision: 2, keys: 1 },
      { name: 'app//', group: true, modRevision: undefined, keys: 1 },
      { name: 'app/db', group: false, modRevision: 2, keys: 1 },
      { name: 'app/db-x', group: false, modRevision: 2, keys: 1 },
      { name: 'app/db/', group: true, modRevision: undefined, keys: 2 },
      { name: 'app/port', group: false, modRevision: 2, keys: 1 },
    ]);
    expect(names(childrenOf(store, {}))).toEqual(['a', 'app/', 'apq']);
    expect(names(childrenOf(store, { prefix: 'app/', delimiter: 'b' }))).toEqual([
      'app/',
      'app//x',
      'app/db',
      'app/port',
    ]);
    expect(childrenOf(store, { prefix: 'none/' })).toEqual([]);
    expect(names(childrenOf(store, { prefix: 'app/', from: 'app/db-', limit: 2 }))).toEqual(['app/db-x', 'app/db/']);
  });

  it('a group that ends the key space ends the list', () => {
    const store = newStore();
    put(store, '\xff\xff\xff1', '\xff\xff\xff2');
    expect(childrenOf(store, { delimiter: '\xff\xff' })).toMatchObject([{ name: '\xff\xff', keys: 2 }]);
    expect(names(childrenOf(store, { prefix: '\xff', delimiter: '\xff' }))).toEqual(['\xff\xff']);
  });

  it('are those of an earlier revision', () => {
    const store = newStore();
    put(store, 'a/1', 'b/1');
    put(store, 'c/1');
    remove(store, 'a/1');
    put(store, 'a');
    expect(names(childrenOf(store, { revision: 2 }))).toEqual(['a/', 'b/']);
    expect(childrenOf(store, { revision: 3 })[0]).toMatchObject({ name: 'a/', keys: undefined });
    expect(names(childrenOf(store, { revision: 4 }))).toEqual(['b/', 'c/']);
    expect(childrenOf(store, { revision: 5 })[0]).toMatchObject({ name: 'a', modRevision: 5 });
    store.compact(4);
    const codeAt = (revision: number) => {
      try {
        return childrenOf(store, { revision }).length;
      } catch (error) {
        return (error as RosterError).code;
      }
    };
    expect([codeAt(3), codeAt(4), codeAt(6)]).toEqual(['Compacted', 2, 'FutureRev']);
  });

  it('stay those of the revision at which a reader began, whatever is written meanwhile', () => {
    const store = newStore();
    put(store, 'a/1', 'b/1', 'd');
    const reader = ChildrenReader.open(
      { store: () => store, hold: () => () => {} },
      { prefix: '', delimiter: '/', from: '', revision: 0, limit: 0 },
    ) as ChildrenReader;
    expect(reader.step(1)).toMatchObject([{ name: 'a/' }]);
    put(store, 'b/2', 'c/1', 'e');
    remove(store, 'd');
    expect(reader.step(10)).toMatchObject([
      { name: 'b/', keys: 1 },
      { name: 'd', modRevision: 2 },
    ]);
    expect([reader.done, reader.next]).toEqual([true, undefined]);
  });

  it('cost a look per child, not per key', () => {
    const store = newStore();
    const keys: string[] = [];
    for (let group = 0; group < 10; group++) for (let i = 0; i < 1000; i++) keys.push(`${group}/${i}`);
    put(store, ...keys);
    const query = { prefix: '', delimiter: '/', from: '', to: undefined, revision: store.revision, count: true };
    const slice = store.children(query, { children: 100, looks: 10 });
    expect(slice.children.map(({ keys: count }) => count)).toEqual(Array.from({ length: 10 }, () => 1000));
    // Groups '0/' to '8/'; all below '80' has been passed over.
    expect(store.children(query, { children: 100, looks: 9 })).toMatchObject({ next: '80' });
    const nine = store.children(query, { children: 9, looks: 100 });
    expect([nine.children.length, nine.next]).toEqual([9, '80']);
  });

  it('agree with the keys there are, for any prefix, delimiter and revision', () => {
    const part = fc.constantFrom('a', 'b', '/', '-', '\xff', '//');
    const name = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join(''));
    const change = fc.record({ key: name, put: fc.boolean() });
    const ask = fc.record({
      prefix: fc.constantFrom('', 'a', 'a/', '/', 'b/a', '\xff', '\xff/'),
      delimiter: fc.constantFrom('/', '//', '\xff', 'a'),
      back: fc.nat(6),
      most: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 40 }),
        fc.array(ask, { minLength: 1, maxLength: 6 }),
        (changes, asks) => {
          const store = newStore();
          const history: string[][] = [[], []];
          const alive = new Set<string>();
          for (const { key, put: isPut } of changes) {
            if (!isPut && !alive.has(key)) continue;
            if (isPut) put(store, key);
            else remove(store, key);
            if (isPut) alive.add(key);
            else alive.delete(key);
            history.push([...alive].sort());
          }
          for (const { prefix, delimiter, back, most } of asks) {
            const revision = Math.max(1, store.revision - back);
            const wanted = new Map<string, number>();
            for (const key of history[revision]!) {
              if (!key.startsWith(prefix)) continue;
              const cut = key.indexOf(delimiter, prefix.length);
              const child = cut < 0 ? key : key.slice(0, cut + delimiter.length);
              // A key may have the name of a group: both are children.
              const id = `${cut < 0 ? 'key' : 'group'} ${child}`;
              wanted.set(id, (wanted.get(id) ?? 0) + 1);
            }
            const asked = back === 0 ? 0 : revision;
            const children = childrenOf(store, { prefix, delimiter, revision: asked }, most);
            expect(children.map(({ name: child, group }) => `${group ? 'group' : 'key'} ${child}`)).toEqual([
              ...wanted.keys(),
            ]);
            if (asked === 0) expect(children.map(({ keys }) => keys)).toEqual([...wanted.values()]);
          }
        },
      ),
    );
  });
});
