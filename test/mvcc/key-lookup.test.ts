import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KeyIndex } from '../../core/mvcc/key-index.ts';
import { KeyLookup } from '../../core/mvcc/key-lookup.ts';
import { KeySpace } from '../../core/mvcc/key-space.ts';

const entry = (key: string) => new KeyIndex(key, 2, 1, false, 2, 0);

describe('KeyLookup', () => {
  it('finds what was added, until it is deleted', () => {
    const lookup = new KeyLookup();
    const entries = ['', 'a', 'b', 'a'.repeat(1000), '\xff\0'].map(entry);
    for (const each of entries) lookup.add(each);
    for (const each of entries) expect(lookup.get(each.key)).toBe(each);
    expect([lookup.get('c'), lookup.get('aa')]).toEqual([undefined, undefined]);
    lookup.delete('a');
    expect([lookup.get('a'), lookup.get('b')]).toEqual([undefined, entries[2]]);
    expect(lookup.size).toBe(4);
  });

  it('begins a part anew when it would hold one entry more than it may', () => {
    const lookup = new KeyLookup(3);
    // Equal but for what is passed over in a key of this length: all in one part.
    const keys = ['b', 'c', 'd', 'e'].map((one) => `${'a'.repeat(50)}${one}${'a'.repeat(49)}`);
    for (const key of keys.slice(0, 3)) lookup.add(entry(key));
    expect(keys.map((key) => lookup.get(key)?.key)).toEqual([...keys.slice(0, 3), undefined]);
    lookup.add(entry(keys[3]!));
    expect(keys.map((key) => lookup.get(key)?.key)).toEqual([undefined, undefined, undefined, keys[3]]);
  });

  it.each([
    ['a number at the end', (i: number) => `fill-${String(i).padStart(8, '0')}`],
    ['a number before a common end', (i: number) => `/services/${i}/config`],
    [
      'a number in the middle of a long key',
      (i: number) => `/registry/pods/namespace-${i * 7}/the-name-of-a-pod-that-is-long`,
    ],
  ])('spreads keys that are told apart by %s', (_what, key) => {
    // 100 keys for each part on average, and no part has come to 400.
    const lookup = new KeyLookup(400);
    for (let i = 0; i < 6400; i++) lookup.add(entry(key(i)));
    expect(lookup.size).toBe(6400);
  });
});

describe('a key space', () => {
  const key = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const step = fc.record({ what: fc.constantFrom('put', 'delete', 'compact', 'ask'), key });

  /** What a lookup could get wrong, step by step. */
  function answers(space: KeySpace, steps: readonly { what: string; key: string }[]): unknown[] {
    let main = 10;
    return steps.map(({ what, key: name }) => {
      main++;
      const before = space.any(name);
      if (what === 'put') space.wrote(space.put(name, main, 0), 10);
      if (what === 'delete' && before?.live) {
        space.tombstone(before, main, 0);
        space.wrote(before, 5);
      }
      if (what === 'compact' && before?.live === false) space.remove(before, main);
      const { created, version, lastMain } = space.any(name) ?? {};
      return { what, created, version, lastMain, live: space.live(name)?.key, count: space.liveCount };
    });
  }

  function restored(lookup: KeyLookup): KeySpace {
    const space = new KeySpace(lookup);
    space.restorePut('a', { main: 2, sub: 0 }, 2, 1, 10);
    space.restorePut('d', { main: 3, sub: 0 }, 3, 1, 10);
    space.restorePut('b', { main: 3, sub: 1 }, 3, 1, 10);
    space.restorePut('a', { main: 4, sub: 0 }, 2, 2, 10);
    space.restoreTombstone('d', { main: 5, sub: 0 }, 5);
    space.restoreTombstone('e', { main: 6, sub: 0 }, 5);
    space.restored(6);
    return space;
  }

  it('answers the same with a lookup that remembers next to nothing', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        expect(answers(restored(new KeyLookup(1)), steps)).toEqual(answers(restored(new KeyLookup()), steps));
      }),
    );
  });

  it('finds what a start has read', () => {
    const space = restored(new KeyLookup());
    expect(['a', 'b', 'c', 'd', 'e'].map((name) => space.live(name)?.lastMain)).toEqual([
      4,
      3,
      undefined,
      undefined,
      undefined,
    ]);
    expect(['a', 'c', 'd', 'e'].map((name) => space.any(name)?.lastMain)).toEqual([4, undefined, 5, 6]);
    const { version, created } = space.put('a', 7, 0);
    expect([version, created, space.put('d', 8, 0).created]).toEqual([3, 2, 8]);
  });
});
