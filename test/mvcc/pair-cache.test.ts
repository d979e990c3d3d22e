import { describe, expect, it } from 'vitest';
import { KeyIndex } from '../../core/mvcc/key-index.ts';
import { CACHED_PAIR_BYTES_MAX, PairCache } from '../../core/mvcc/pair-cache.ts';
import type { KeyValue } from '../../core/wire/messages.ts';

function pair(key: string, bytes: number): KeyValue {
  return { key, create_revision: 2, mod_revision: 2, version: 1, value: new Uint8Array(bytes), lease: 0n };
}

describe('PairCache', () => {
  it('never holds more than its limit, and what was read stays longer', () => {
    const cache = new PairCache(10_000);
    const entries = Array.from({ length: 50 }, (_, i) => new KeyIndex(`k${i}`, 2, 1, false, 2, 0));
    for (const entry of entries) {
      cache.keep(entry, pair(entry.key, 700));
      expect(cache.bytes).toBeLessThanOrEqual(10_000);
      expect(cache.get(entries[0]!)).toBeDefined();
    }
    expect(cache.get(entries[49]!)).toBeDefined();
    expect(cache.get(entries[20]!)).toBeUndefined();
    expect(entries.filter((entry) => entry.cached !== undefined).length).toBe(9);
  });

  it('holds exactly as much as fits', () => {
    const one = new KeyIndex('a', 2, 1, false, 2, 0);
    const other = new KeyIndex('b', 2, 1, false, 2, 0);
    const size = 2 + 100 + 300;
    const cache = new PairCache(2 * size);
    cache.keep(one, pair('a', 100));
    cache.keep(other, pair('b', 100));
    expect([one.cached, other.cached]).not.toContain(undefined);
    cache.keep(other, pair('b', 101));
    expect(one.cached).toBeUndefined();
    expect(other.cached?.value.length).toBe(101);
  });

  it('replaces and forgets without losing count', () => {
    const cache = new PairCache(10_000);
    const entry = new KeyIndex('a', 2, 1, false, 2, 0);
    for (let i = 0; i < 1000; i++) cache.keep(entry, pair('a', i % 500));
    cache.forget(entry);
    cache.forget(entry);
    expect(cache.bytes).toBe(0);
    expect(cache.get(entry)).toBeUndefined();
  });

  it('does not keep a pair over the limit for one', () => {
    const cache = new PairCache(2 * CACHED_PAIR_BYTES_MAX);
    const entry = new KeyIndex('a', 2, 1, false, 2, 0);
    cache.keep(entry, pair('a', CACHED_PAIR_BYTES_MAX - 302));
    expect(entry.cached).toBeDefined();
    cache.keep(entry, pair('a', CACHED_PAIR_BYTES_MAX - 301));
    expect(entry.cached).toBeUndefined();
    expect(cache.bytes).toBe(0);
  });
});
