import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssertionError } from '../../core/util/assert.ts';
import { Heap, NOT_IN_HEAP } from '../../core/util/heap.ts';

interface Entry {
  at: number;
  heapIndex: number;
}

function entry(at: number): Entry {
  return { at, heapIndex: NOT_IN_HEAP };
}

function heap(): Heap<Entry> {
  return new Heap<Entry>((a, b) => a.at < b.at);
}

describe('Heap', () => {
  it('gives the smallest first, whatever is pushed, moved and removed between', () => {
    const step = fc.record({
      op: fc.constantFrom('push', 'pop', 'move', 'remove'),
      at: fc.nat(50),
      pick: fc.nat(1000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const tested = heap();
        const inside: Entry[] = [];
        for (const { op, at, pick } of steps) {
          const chosen = inside[pick % Math.max(1, inside.length)];
          if (op === 'push' || chosen === undefined) {
            const added = entry(at);
            tested.push(added);
            inside.push(added);
          } else if (op === 'move') {
            chosen.at = at;
            tested.update(chosen);
          } else {
            const gone = op === 'pop' ? tested.pop()! : chosen;
            if (op === 'pop') expect(gone.at).toBe(Math.min(...inside.map((e) => e.at)));
            else tested.remove(gone);
            expect(gone.heapIndex).toBe(NOT_IN_HEAP);
            inside.splice(inside.indexOf(gone), 1);
          }
          expect(tested.size).toBe(inside.length);
          expect(tested.peek()?.at).toBe(inside.length === 0 ? undefined : Math.min(...inside.map((e) => e.at)));
        }
        const order: number[] = [];
        for (let e = tested.pop(); e !== undefined; e = tested.pop()) order.push(e.at);
        expect(order).toEqual(inside.map((e) => e.at).sort((a, b) => a - b));
      }),
    );
  });

  it('asserts on items that are not where they should be', () => {
    const tested = heap();
    const one = entry(1);
    expect(() => tested.update(one)).toThrow(AssertionError);
    expect(() => tested.remove(one)).toThrow(AssertionError);
    tested.push(one);
    expect(() => tested.push(one)).toThrow(AssertionError);
    expect(() => heap().remove(one)).toThrow(AssertionError);
  });
});
