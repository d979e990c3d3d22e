import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Permit } from '../../core/auth/permit.ts';
import { keyRange, RangeSet } from '../../core/auth/ranges.ts';
import { PermissionType, type Role } from '../../core/wire/messages.ts';

const set = (...ranges: [string, string][]) =>
  new RangeSet(ranges.map(([key, end]) => keyRange(key, end)).filter((range) => range !== undefined));

describe('a set of ranges', () => {
  it('joins what touches or overlaps, across grants', () => {
    expect(set(['a', 'c'], ['c', 'e']).size).toBe(1);
    expect(set(['a', 'c'], ['b', 'e'], ['x', 'z']).size).toBe(2);
    expect(set(['a', 'c'], ['c', 'e']).contains('a', 'e')).toBe(true);
    expect(set(['a', 'c'], ['d', 'e']).contains('a', 'e')).toBe(false);
    expect(set(['a', ''], ['a\0', 'b']).contains('a', 'b'), 'a key and what follows it').toBe(true);
    expect(set(['a', 'z'], ['b', 'c']).contains('y', ''), 'one within the other').toBe(true);
  });

  it('knows keys, prefixes and open ends', () => {
    const point = set(['a', '']);
    expect([point.contains('a', ''), point.contains('a\0', ''), point.contains('a', 'b')]).toEqual([
      true,
      false,
      false,
    ]);
    expect(point.contains('a', 'a\0'), 'a range of that one key').toBe(true);
    expect(point.contains('a', '\0'), 'a key is not everything from it on').toBe(false);
    const prefix = set(['a/', 'a0']);
    expect([prefix.contains('a/', 'a0'), prefix.contains('a/', '\0'), prefix.contains('a0', '')]).toEqual([
      true,
      false,
      false,
    ]);
    const open = set(['b', '\0']);
    expect([open.contains('b', '\0'), open.contains('\xff\xff', ''), open.contains('c', 'z')]).toEqual([
      true,
      true,
      true,
    ]);
    expect([open.contains('a', '\0'), open.contains('a', 'z'), open.contains('\0', '\0')]).toEqual([
      false,
      false,
      false,
    ]);
    expect(set(['a', 'c'], ['c', '\0']).contains('a', '\0')).toBe(true);
    expect(set(['\0', '\0']).contains('\0', '\0')).toBe(true);
    expect(set(['a', '\0'], ['b', 'c']).contains('x', '\0'), 'an end does not shorten what has none').toBe(true);
  });

  it('gives nothing for a range that ends where it begins, or before', () => {
    expect(keyRange('b', 'b')).toBeUndefined();
    expect(keyRange('b', 'a')).toBeUndefined();
    expect(set().contains('a', '')).toBe(false);
  });

  it('has a range of no keys if it has the key it begins with', () => {
    expect(set(['m', 'z']).contains('m', 'c')).toBe(true);
    expect(set(['m', '']).contains('m', 'm')).toBe(true);
    expect(set(['a', 'd']).contains('m', 'c')).toBe(false);
    expect(set(['n', 'z']).contains('m', 'm')).toBe(false);
  });
});

// Keys of two letters from four, so that all of them can be looked at one by one.
const LETTERS = ['\0', 'a', 'b', '\xff'];
const KEYS = ['', ...LETTERS, ...LETTERS.flatMap((one) => LETTERS.map((two) => one + two))].sort();
const key = fc.constantFrom(...KEYS.slice(1));
const end = fc.oneof(fc.constantFrom('', '\0'), fc.constantFrom(...KEYS));
const isIn = (each: string, from: string, to: string) =>
  to === '' ? each === from : each >= from && (to === '\0' || each < to);

/** Between two of these keys there are others: the naive model sees them as the key with something behind it. */
const ALL = KEYS.flatMap((each) => [each, `${each}\0`, `${each}\0\0`, `${each}m`, `${each}\xff\xff\xff`]).sort();

describe('what several roles permit together', () => {
  it('is what any of their permissions permits, key by key', () => {
    const permission = fc.record({ permType: fc.constantFrom(0, 1, 2, 3), key, range_end: end });
    const role = fc.array(permission, { maxLength: 4 });
    fc.assert(
      fc.property(fc.array(role, { maxLength: 3 }), key, end, (grants, from, to) => {
        const roles: Role[] = grants.map((keyPermission, i) => ({ name: `r${i}`, keyPermission }));
        const permit = new Permit(
          'u',
          roles.map(({ name }) => name),
          roles,
        );
        const asked = ALL.filter((each) => isIn(each, from, to));
        const empty = to !== '' && to !== '\0' && to <= from;
        for (const [type, may] of [
          [PermissionType.values.READ, permit.mayRead(from, to)],
          [PermissionType.values.WRITE, permit.mayWrite(from, to)],
        ] as const) {
          const given = grants.flat().filter((each) => each.permType === type || each.permType === 2);
          const all = asked.every((each) => given.some((one) => isIn(each, one.key, one.range_end)));
          // A range without an end goes on beyond all keys that are looked at.
          const endless = to !== '\0' || given.some((one) => one.range_end === '\0');
          if (empty) expect(may).toBe(given.some((one) => isIn(from, one.key, one.range_end)));
          else expect(may).toBe(all && endless);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('is everything with the root role, whether or not it exists', () => {
    const permit = new Permit('u', ['root'], []);
    expect([permit.mayRead('\0', '\0'), permit.mayWrite('x', ''), permit.isRoot]).toEqual([true, true, true]);
    const none = new Permit('u', ['other'], []);
    expect([none.mayRead('x', ''), none.mayWrite('x', ''), none.isRoot, none.hasRole('other')]).toEqual([
      false,
      false,
      false,
      true,
    ]);
  });
});
