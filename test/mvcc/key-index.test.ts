import { describe, expect, it } from 'vitest';
import { KeySpace } from '../../core/mvcc/key-space.ts';
import { isTombstoneKey, parseRevision, revisionKey, tombstoneKey } from '../../core/mvcc/revision.ts';
import { AssertionError } from '../../core/util/assert.ts';

describe('revision keys', () => {
  it("have etcd's layout", () => {
    expect(revisionKey(1, 2)).toBe('\0\0\0\0\0\0\0\x01_\0\0\0\0\0\0\0\x02');
    expect(tombstoneKey(0x0102030405, 0xfffefdfc)).toBe('\0\0\0\x01\x02\x03\x04\x05_\0\0\0\0\xff\xfe\xfd\xfct');
  });

  it('sort as revisions do and can be read back', () => {
    const revisions = [1, 2, 255, 256, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 7, Number.MAX_SAFE_INTEGER].flatMap(
      (main) => [0, 1, 2 ** 31].map((sub) => ({ main, sub })),
    );
    const keys = revisions.map(({ main, sub }) => revisionKey(main, sub));
    expect([...keys].sort()).toEqual(keys);
    expect(keys.map(parseRevision)).toEqual(revisions);
    expect(isTombstoneKey(keys[0]!)).toBe(false);
    expect(isTombstoneKey(tombstoneKey(1, 0))).toBe(true);
    expect(parseRevision(tombstoneKey(9, 3))).toEqual({ main: 9, sub: 3 });
    expect(() => parseRevision('short')).toThrow(AssertionError);
  });
});

describe('KeyIndex', () => {
  /** put 2, put 4, delete 6; put 6 (same transaction), delete 9; put 12. */
  function sample() {
    const space = new KeySpace();
    const entry = space.put('k', 2, 0);
    space.put('k', 4, 1);
    space.tombstone(entry, 6, 0);
    space.put('k', 6, 1);
    space.tombstone(entry, 9, 0);
    space.put('k', 12, 0);
    return { space, entry };
  }

  it('finds the revision a read sees', () => {
    const { entry } = sample();
    const seen = Array.from({ length: 13 }, (_, main) => entry.find(main)?.main);
    expect(seen).toEqual([undefined, undefined, 2, 2, 4, 4, 6, 6, 6, undefined, undefined, undefined, 12]);
    expect(entry.find(6)).toEqual({ main: 6, sub: 1 });
  });

  it('says what a compaction supersedes', () => {
    const { entry } = sample();
    const [first, second, third] = [0, 1, 2].map((i) => entry.generation(i));
    expect([1, 2, 3, 4, 5, 6, 7].map((main) => first!.superseded(main))).toEqual([0, 0, 0, 1, 1, 2, 3]);
    expect([5, 6, 8, 9, 10].map((main) => second!.superseded(main))).toEqual([0, 0, 0, 1, 2]);
    expect([11, 12, 99].map((main) => third!.superseded(main))).toEqual([0, 0, 0]);
  });

  it('asserts that revisions ascend and that the dead stay dead', () => {
    const { space, entry } = sample();
    expect(() => space.put('k', 12, 0)).toThrow(AssertionError);
    space.tombstone(entry, 13, 0);
    expect(() => space.tombstone(entry, 14, 0)).toThrow(AssertionError);
  });
});

describe('KeySpace', () => {
  it('lists exactly the keys a compaction has to look at', () => {
    const space = new KeySpace();
    for (const key of ['once', 'twice', 'gone']) space.put(key, 2, 0);
    expect([...space.history]).toEqual([]);
    space.put('twice', 3, 0);
    space.tombstone(space.live('gone')!, 4, 0);
    expect([...space.history].map((entry) => entry.key)).toEqual(['twice', 'gone']);
    expect(space.liveCount).toBe(2);
    expect(space.countLive('', undefined)).toBe(2);
  });
});
