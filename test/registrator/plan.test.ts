import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  batches,
  OWN_LEASES_MAX,
  OwnLeases,
  planWrites,
  type StoredPair,
  TXN_OPS_MAX,
} from '../../registrator/plan.ts';

const key = fc.constantFrom<string>('a', 'b', 'c', 'd', 'e');
const value = fc.constantFrom('1', '2');
const OURS = 1n;
const OLD = 2n;
const own = new OwnLeases();
own.add(OLD);
own.add(OURS);
const pair: fc.Arbitrary<StoredPair> = fc.record({
  value: fc.option(value, { nil: undefined }),
  lease: fc.constantFrom(OURS, OLD, 0n, 7n),
  yielded: fc.boolean(),
});
const map = <T>(of: fc.Arbitrary<T>) => fc.array(fc.tuple(key, of)).map((entries) => new Map(entries));

describe('planning writes', () => {
  it('makes the store what is desired, touches nothing of others, and then plans nothing', () => {
    fc.assert(
      fc.property(map(value), map(pair), (desired, stored) => {
        const after = new Map(stored);
        for (const write of planWrites(desired, stored, OURS, own)) {
          if (write.kind === 'put') after.set(write.key, { value: write.value, lease: OURS, yielded: false });
          else {
            expect(write.kind).toBe('delete');
            expect([OURS, OLD]).toContain(stored.get(write.key)!.lease);
            after.delete(write.key);
          }
        }
        for (const [name, wanted] of desired) {
          if (stored.get(name)?.yielded) expect(after.get(name)).toBe(stored.get(name));
          else expect(after.get(name)).toEqual({ value: wanted, lease: OURS, yielded: false });
        }
        for (const [name, before] of stored) {
          if (!desired.has(name) && !own.has(before.lease)) expect(after.get(name)).toBe(before);
        }
        expect(planWrites(desired, after, OURS, own)).toEqual([]);
      }),
    );
  });

  it('cuts into transactions of the largest size', () => {
    const sizes = (count: number): number[] => batches(Array.from({ length: count })).map((batch) => batch.length);
    expect(sizes(0)).toEqual([]);
    expect(sizes(TXN_OPS_MAX)).toEqual([TXN_OPS_MAX]);
    expect(sizes(TXN_OPS_MAX + 1)).toEqual([TXN_OPS_MAX, 1]);
  });

  it('remembers a limited number of lost leases', () => {
    const leases = new OwnLeases();
    for (let id = 0n; id < BigInt(OWN_LEASES_MAX); id++) leases.add(id);
    expect(leases.has(0n)).toBe(true);
    leases.add(1_000n);
    expect([leases.has(0n), leases.has(1n), leases.has(1_000n)]).toEqual([false, true, true]);
  });
});
