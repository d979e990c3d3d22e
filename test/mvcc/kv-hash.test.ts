import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BackendHash } from '../../core/mvcc/backend-hash.ts';
import { HASH_SLICE_BYTES, HASH_SLICE_ROWS, type KvHash, type KvHashResult } from '../../core/mvcc/kv-hash.ts';
import { MemoryBackend, MemoryDisk } from '../../core/mvcc/memory-backend.ts';
import { MvccStore } from '../../core/mvcc/store.ts';
import { crc32c } from '../../core/util/crc32.ts';

const NO_LEASES = { has: () => false, attach: () => {}, detach: () => {} };

class Fixture {
  readonly backend: MemoryBackend;
  readonly store: MvccStore;

  constructor(disk = new MemoryDisk()) {
    this.backend = new MemoryBackend((task) => task(), disk);
    this.store = new MvccStore({ backend: this.backend, leases: NO_LEASES });
    for (const _ of this.store.restore());
  }

  put(...pairs: [string, string][]): this {
    return this.change(pairs, []);
  }

  del(...keys: string[]): this {
    return this.change([], keys);
  }

  change(puts: readonly (readonly [string, string])[], deletes: readonly string[]): this {
    const writer = this.store.write();
    for (const [key, value] of puts) writer.put(key, Buffer.from(value), 0n);
    for (const key of deletes) writer.deleteRange(key, '');
    writer.end();
    return this;
  }

  compactAll(): this {
    while (!this.store.compactSlice(1000)) {}
    return this;
  }

  hash(revision = 0): KvHashResult {
    const result = run(this.store.hash(revision) as KvHash);
    if (typeof result === 'string') throw new Error(result);
    return result;
  }

  /** After a crash, with everything committed. */
  reopened(): Fixture {
    this.backend.commit(() => {});
    return new Fixture(this.backend.disk);
  }
}

function run(hash: KvHash): KvHashResult | string {
  for (;;) {
    const result = hash.step();
    if (result !== undefined) return result;
  }
}

it('crc32c is the one of RFC 3720', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(Buffer.from('6789'), crc32c(Buffer.from('12345')))).toBe(0xe3069283);
});

describe('HashKV', () => {
  it('is the number that etcd 3.4.23 gives after the same commands', () => {
    const f = new Fixture();
    expect(f.hash()).toEqual({ hash: 1084519789, revision: 1, compactRevision: -1 });
    f.put(['a', '1']).put(['b', '22']);
    expect(f.hash().hash).toBe(2627027711);
    f.del('a').put(['c', '']);
    expect(f.hash().hash).toBe(4041549965);
    f.change(
      [
        ['x', '7'],
        ['y', '8'],
      ],
      ['b'],
    );
    expect(f.hash()).toEqual({ hash: 519552255, revision: 6, compactRevision: -1 });
    expect(f.hash(4).hash).toBe(2304249277);
    f.put(['a', 'again']);
    f.store.compact(7);
    expect(f.hash()).toEqual({ hash: 2489846918, revision: 7, compactRevision: 7 });
    expect(f.compactAll().hash().hash).toBe(2489846918);
    expect(f.put(['d', 'new']).hash().hash).toBe(697256550);
  });

  it('refuses what cannot be read', () => {
    const f = new Fixture().put(['a', '1']).put(['a', '2']).put(['a', '3']);
    f.store.compact(3);
    expect(f.store.hash(2)).toBe('Compacted');
    expect(f.store.hash(5)).toBe('FutureRev');
    expect(f.hash(3)).toMatchObject({ revision: 3, compactRevision: 3 });
    expect(f.hash(-7)).toEqual(f.hash(4));
  });

  it('reads no more than a slice at a time', () => {
    const f = new Fixture();
    for (let i = 0; i < HASH_SLICE_ROWS + 1; i++) f.put([`k${i}`, 'v']);
    const byRows = f.store.hash(0) as KvHash;
    expect(byRows.step()).toBeUndefined();
    expect(byRows.step()).toMatchObject({ revision: HASH_SLICE_ROWS + 2 });
    const g = new Fixture();
    for (let i = 0; i < 4; i++) g.put(['k', 'v'.repeat(HASH_SLICE_BYTES / 2)]);
    const byBytes = g.store.hash(0) as KvHash;
    expect([byBytes.step(), byBytes.step()]).toMatchObject([undefined, { revision: 5 }]);
  });

  it('keeps to its revision while the store goes on, and begins anew when a compaction is ordered', () => {
    const f = new Fixture();
    for (let i = 0; i < 3 * HASH_SLICE_ROWS; i++) f.put([`k${i % 50}`, `${i}`]);
    const { revision } = f.store;
    const before = f.hash().hash;
    const hash = f.store.hash(0) as KvHash;
    hash.step();
    f.put(['k1', 'later']).del('k2');
    expect(hash.step()).toBeUndefined();
    expect(run(hash)).toEqual({ hash: before, revision, compactRevision: -1 });

    const second = f.store.hash(revision) as KvHash;
    second.step();
    f.store.compact(revision - 10);
    f.store.compactSlice(20);
    expect(run(second)).toEqual(f.hash(revision));
    expect(f.hash(revision).compactRevision).toBe(revision - 10);

    const third = f.store.hash(revision - 5) as KvHash;
    third.step();
    f.store.compact(revision);
    expect(third.step()).toBe('Compacted');
  });

  it('is the same on every member at the same revision and compaction, however far each has come with removing', () => {
    const key = fc.constantFrom('a', 'b', 'c', 'd');
    const op = fc.oneof(
      { weight: 6, arbitrary: fc.record({ puts: fc.uniqueArray(key, { minLength: 1 }), deletes: fc.constant([]) }) },
      { weight: 3, arbitrary: fc.record({ puts: fc.constant([]), deletes: fc.uniqueArray(key, { minLength: 1 }) }) },
      { weight: 2, arbitrary: fc.record({ compact: fc.nat(6) }) },
    );
    const lag = fc.array(fc.nat(3), { minLength: 40, maxLength: 40 });
    fc.assert(
      fc.property(fc.array(op, { minLength: 5, maxLength: 40 }), lag, fc.nat(39), (ops, slices, crashAt) => {
        const fast = new Fixture();
        const idle = new Fixture();
        let slow = new Fixture();
        let ever = new Fixture();
        for (const [i, each] of ops.entries()) {
          for (const f of [fast, idle, slow, ever]) {
            if ('compact' in each) f.store.compact(f.store.revision - each.compact);
            else {
              const puts = each.puts.map((name) => [name, `${i}`] as const);
              f.change(puts, each.deletes);
            }
          }
          fast.compactAll();
          if (slices[i]! > 0) slow.store.compactSlice(slices[i]!);
          if (i === crashAt) slow = slow.reopened();
          ever = ever.reopened();
        }
        const { revision, compactRevision } = fast.store;
        for (let at = Math.max(1, compactRevision); at <= revision; at++) {
          const expected = fast.hash(at);
          expect(expected.compactRevision).toBe(compactRevision);
          for (const f of [idle, slow, ever]) expect(f.hash(at)).toEqual(expected);
        }
      }),
      { numRuns: 120 },
    );
  });

  it('tells different histories apart', () => {
    const base = new Fixture().put(['a', '1']).put(['b', '2']);
    const others = [
      new Fixture().put(['a', '1']).put(['b', '3']),
      new Fixture().put(['b', '2']).put(['a', '1']),
      new Fixture().put(['a', '1'], ['b', '2']),
      new Fixture().put(['a', '1']).put(['b', '2']).del('a'),
    ];
    expect(new Set([base, ...others].map((f) => f.hash().hash)).size).toBe(5);
  });
});

describe('Hash', () => {
  const hashOf = (f: Fixture) => {
    const hash = new BackendHash(f.backend.view());
    for (let steps = 1; ; steps++) {
      const result = hash.step();
      if (result === undefined) continue;
      hash.close();
      return { result, steps };
    }
  };

  it('covers what is committed in every bucket but meta', () => {
    const f = new Fixture().put(['a', '1']);
    const empty = hashOf(f).result;
    f.backend.commit(() => {});
    const one = hashOf(f).result;
    expect(one).not.toBe(empty);
    f.backend.put('meta', 'x', Buffer.from('y'));
    f.backend.commit(() => {});
    expect(hashOf(f).result).toBe(one);
    f.backend.put('lease', 'x', Buffer.from('y'));
    expect(hashOf(f).result, 'not committed').toBe(one);
    f.backend.commit(() => {});
    const leased = hashOf(f).result;
    expect(leased).not.toBe(one);
    f.backend.delete('lease', 'x');
    f.backend.put('members', 'x', Buffer.from('y'));
    f.backend.commit(() => {});
    expect(hashOf(f).result, 'the bucket counts').not.toBe(leased);
  });

  it('goes in slices over a view, which later writes do not change', () => {
    const f = new Fixture();
    for (let i = 0; i < 2 * HASH_SLICE_ROWS + 1; i++) f.put([`k${i}`, 'v']);
    f.backend.commit(() => {});
    const { result, steps } = hashOf(f);
    expect(steps).toBeGreaterThan(3);
    const hash = new BackendHash(f.backend.view());
    hash.step();
    f.put(['k0', 'other']).put(['k400', 'other']);
    f.backend.commit(() => {});
    for (;;) {
      const later = hash.step();
      if (later === undefined) continue;
      expect(later).toBe(result);
      break;
    }
    hash.close();
  });
});
