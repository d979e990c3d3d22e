import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Harness } from '../apply/harness.ts';

/** What the rows of the backend come to, by looking at each. */
function counted(h: Harness): { live: number; history: number } {
  const { store } = h.machine;
  const kvs = store.range('\0', '\0');
  if (typeof kvs === 'string') throw new Error(kvs);
  const newest = new Set(kvs.kvs.map(({ mod_revision, key }) => `${mod_revision} ${key}`));
  let live = 0;
  let all = 0;
  const pairs = new Map<string, number>();
  h.backend.scan('key', '', undefined, (rowKey, value) => {
    all += rowKey.length + value.length;
    pairs.set(rowKey, rowKey.length + value.length);
    return true;
  });
  expect(newest.size).toBe(kvs.kvs.length);
  for (const kv of kvs.kvs) {
    // The newest row of a revision with that key: found by asking the store where it read it.
    const at = [...pairs].find(([rowKey, bytes]) => {
      const value = h.backend.get('key', rowKey)!;
      return bytes > 0 && rowKey.length === 17 && mainOf(rowKey) === kv.mod_revision && keyOf(value) === kv.key;
    })!;
    live += at[1];
  }
  return { live, history: all - live };
}

function mainOf(rowKey: string): number {
  return Buffer.from(rowKey, 'latin1').readUInt32BE(4);
}

function keyOf(value: Uint8Array): string {
  return Buffer.from(value.subarray(2, 2 + value[1]!)).toString('latin1');
}

const key = fc.constantFrom('a', 'b', 'c', 'd');
const operation = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('put' as const), key, value: fc.string({ maxLength: 300 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), key, to: fc.constantFrom('', '\0') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('compact' as const), back: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('settle' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
);

describe('the bytes of a store', () => {
  it('are those of its rows, live and superseded, after any history', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        let h = new Harness();
        for (const op of operations) {
          if (op.kind === 'put') h.put(op.key, op.value);
          else if (op.kind === 'delete') h.del(op.key, op.to);
          else if (op.kind === 'compact') h.compact(Math.max(1, h.machine.store.revision - op.back));
          else if (op.kind === 'settle') h.settle();
          else {
            h.commit();
            h = h.reopened();
          }
          expect(h.machine.store.bytes).toEqual(counted(h));
        }
      }),
      { numRuns: 100 },
    );
  });

  it('shrink to what lives when history is compacted, slice by slice', () => {
    const h = new Harness();
    for (let i = 0; i < 2000; i++) h.put('k', 'v'.repeat(1000));
    const { live, history } = h.machine.store.bytes;
    expect(live).toBeGreaterThan(1000);
    expect(history).toBeGreaterThan(1999 * 1000);
    h.compact(2001);
    expect(h.machine.store.bytes.history).toBe(history);
    h.machine.work();
    const partly = h.machine.store.bytes.history;
    expect(partly).toBeLessThan(history);
    expect(partly).toBeGreaterThan(0);
    h.settle();
    expect(h.machine.store.bytes).toEqual({ live, history: 0 });
    expect(h.machine.usedBytes).toBe(live);
    h.grant(1n);
    expect(h.machine.usedBytes).toBe(live + 64);
  });
});
