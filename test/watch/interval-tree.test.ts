import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IntervalTree, OPEN_END } from '../../core/watch/interval-tree.ts';

const key = fc.string({ unit: fc.constantFrom('\0', 'a', 'b', '\xff'), minLength: 1, maxLength: 3 });

interface Interval {
  start: string;
  end: string;
  item: number;
}

describe('IntervalTree', () => {
  it('finds what a look at every range finds, while ranges come and go', () => {
    const op = fc.record({
      add: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, fc.constant(false)),
      key,
      end: key,
      pick: fc.nat(),
    });
    let largest = 0;
    fc.assert(
      fc.property(fc.array(op, { maxLength: 150, size: 'max' }), fc.array(key, { maxLength: 5 }), (ops, probes) => {
        const tree = new IntervalTree<number>();
        const all: Interval[] = [];
        for (const [item, { add, key: start, end: other, pick }] of ops.entries()) {
          const end = other > start ? other : OPEN_END;
          if (add) {
            tree.add(start, end, item);
            all.push({ start, end, item });
          } else if (all.length > 0) {
            const [gone] = all.splice(pick % all.length, 1);
            tree.delete(gone!.start, gone!.end, gone!.item);
          }
          largest = Math.max(largest, all.length);
          expect(tree.ranges).toBe(new Set(all.map((i) => `${i.start}|${i.end}`)).size);
          for (const probe of [...probes, start, other]) {
            const expected = all.filter((i) => i.start <= probe && (i.end === OPEN_END || probe < i.end));
            const found: number[] = [];
            tree.match(probe, found);
            expect(found.sort()).toEqual(expected.map((i) => i.item).sort());
            expect(tree.covers(probe)).toBe(expected.length > 0);
          }
        }
      }),
      { numRuns: 60, seed: 1 },
    );
    expect(largest).toBeGreaterThan(50);
  });

  it('stays shallow when ranges come in order', () => {
    const tree = new IntervalTree<number>();
    const name = (i: number) => String(i).padStart(6, '0');
    // Unbalanced, the recursion of insert would overflow the stack well before this.
    for (let i = 0; i < 50_000; i++) tree.add(name(i), name(i + 1), i);
    for (let i = 0; i < 50_000; i += 2) tree.delete(name(i), name(i + 1), i);
    const found: number[] = [];
    for (let i = 0; i < 50_000; i++) tree.match(name(i), found);
    expect(found.length).toBe(25_000);
  });

  it('refuses an empty range and what is not there', () => {
    const tree = new IntervalTree<number>();
    expect(() => tree.add('b', 'b', 1)).toThrow('empty');
    tree.add('a', 'b', 1);
    expect(() => tree.delete('a', 'c', 1)).toThrow();
    expect(() => tree.delete('a', 'b', 2)).toThrow();
  });
});
