import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BTree } from '../../core/util/btree.ts';

/** Keys that collide often enough to be replaced and deleted, and sort in all directions. */
const key = fc.oneof(
  fc.integer({ min: 0, max: 400 }).map((n) => String.fromCharCode(n >> 4, n & 15)),
  fc.string({ unit: fc.constantFrom('\0', 'a', 'b', '\xff'), maxLength: 4 }),
);

function sorted(map: Map<string, number>): [string, number][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

function entries(tree: BTree<number>, from = '', to?: string): [string, number][] {
  const found: [string, number][] = [];
  tree.scan(from, to, (k, v) => found.push([k, v]) > 0);
  return found;
}

function check(tree: BTree<number>, map: Map<string, number>, from: string, to: string): void {
  const all = sorted(map);
  expect(tree.size).toBe(map.size);
  expect(entries(tree)).toEqual(all);
  expect(tree.lastKey()).toBe(all.at(-1)?.[0]);
  const within = all.filter(([k]) => k >= from && k < to);
  expect(entries(tree, from, to)).toEqual(within);
  expect(tree.countRange(from, to)).toBe(within.length);
  expect(tree.countRange(from, undefined)).toBe(all.filter(([k]) => k >= from).length);
  expect(tree.rank(from)).toBe(all.filter(([k]) => k < from).length);
  const walked: [string, number][] = [];
  for (const cursor = tree.cursor(from); cursor.key !== undefined; cursor.advance())
    walked.push([cursor.key, cursor.value]);
  expect(walked).toEqual(all.filter(([k]) => k >= from));
}

describe('BTree', () => {
  it('is an ordered map that counts, under any sequence of changes', () => {
    const change = fc.record({ key, value: fc.nat(), remove: fc.boolean() });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 1500, size: 'max' }), key, key, (changes, from, to) => {
        const tree = new BTree<number>();
        const map = new Map<string, number>();
        for (const { key, value, remove } of changes) {
          const was = map.has(key);
          const changed = remove ? tree.delete(key) : tree.set(key, value);
          if (remove) map.delete(key);
          else map.set(key, value);
          // `expect` costs more than the tree; it is only asked when something is wrong.
          if (changed !== (was === remove) || tree.get(key) !== map.get(key) || tree.has(key) === remove)
            expect.fail(`${remove ? 'delete' : 'set'} of ${JSON.stringify(key)} went wrong`);
        }
        check(tree, map, from, to);
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    ['ascending', (i: number) => i],
    ['descending', (i: number) => 9999 - i],
    ['scattered', (i: number) => (i * 7919) % 10_000],
  ])('fills and empties in every order: filled %s', (_name, order) => {
    for (const emptying of [(i: number) => i, (i: number) => 9999 - i, (i: number) => (i * 6007) % 10_000]) {
      const tree = new BTree<number>();
      const map = new Map<string, number>();
      const name = (i: number) => String(i).padStart(5, '0');
      for (let i = 0; i < 10_000; i++) {
        tree.set(name(order(i)), i);
        map.set(name(order(i)), i);
      }
      check(tree, map, name(2500), name(7777));
      for (let i = 0; i < 10_000; i++) {
        if (!tree.delete(name(emptying(i)))) expect.fail('a key was not there');
        map.delete(name(emptying(i)));
        if (i % 2500 === 7) check(tree, map, name(100), name(9000));
        // Growing at the end again must find the right place whatever was removed before.
        if (i % 1000 === 999) {
          tree.set('zzz', i);
          expect(tree.lastKey()).toBe('zzz');
          tree.delete('zzz');
        }
      }
      check(tree, map, '', '\xff');
    }
  });

  it('stops a scan when asked to', () => {
    const tree = new BTree<number>();
    for (let i = 0; i < 200; i++) tree.set(String.fromCharCode(i), i);
    let seen = 0;
    tree.scan('', undefined, () => ++seen < 100);
    expect(seen).toBe(100);
  });
});
