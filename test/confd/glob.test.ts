import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BadPatternError, compileGlob, GLOB_CACHE_MAX } from '../../confd/glob.ts';

/** pattern, text, does Go's path.Match say yes. */
const cases: readonly [string, string, boolean][] = [
  ['abc', 'abc', true],
  ['*', 'abc', true],
  ['*c', 'abc', true],
  ['a*', 'a', true],
  ['a*', 'abc', true],
  ['a*', 'ab/c', false],
  ['a*/b', 'abc/b', true],
  ['a*/b', 'a/c/b', false],
  ['a*b*c*d*e*/f', 'axbxcxdxe/f', true],
  ['a*b*c*d*e*/f', 'axbxcxdxexxx/f', true],
  ['a*b*c*d*e*/f', 'axbxcxdxe/xxx/f', false],
  ['a*b*c*d*e*/f', 'axbxcxdxexxx/fff', false],
  ['a*b?c*x', 'abxbbxdbxebxczzx', true],
  ['a*b?c*x', 'abxbbxdbxebxczzy', false],
  ['ab[c]', 'abc', true],
  ['ab[b-d]', 'abc', true],
  ['ab[e-g]', 'abc', false],
  ['ab[^c]', 'abc', false],
  ['ab[^b-d]', 'abc', false],
  ['ab[^e-g]', 'abc', true],
  ['a\\*b', 'a*b', true],
  ['a\\*b', 'ab', false],
  ['a?b', 'a☺b', true],
  ['a[^a]b', 'a☺b', true],
  ['a???b', 'a☺b', false],
  ['a?b', 'a😀b', true],
  ['[a-ζ]*', 'α', true],
  ['*[a-ζ]', 'A', false],
  ['a?b', 'a/b', false],
  ['a*b', 'a/b', false],
  ['[\\]a]', ']', true],
  ['[\\-]', '-', true],
  ['[x\\-]', 'x', true],
  ['[x\\-]', '-', true],
  ['[x\\-]', 'z', false],
  ['[\\-x]', 'a', false],
  ['*x', 'xxx', true],
  ['/svc/*', '/svc/web', true],
  ['/svc/*', '/svc/web/1', false],
  ['/svc/*/*', '/svc/web/1', true],
  ['/svc/*', '/svc/', true],
  ['/a[^x]c', '/a/c', true],
  ['**', 'ab', true],
  ['', '', true],
  ['', 'a', false],
];

describe('glob', () => {
  it.each(cases)('%j against %j: %j', (pattern, text, expected) => {
    expect(compileGlob(pattern).match(text)).toBe(expected);
  });

  it.each(['[]a]', '[-]', '[x-]', '[-x]', '[a-b-c]', '[', '[^', '[^bc', 'a[', '\\', '[\\'])('refuses %j', (pattern) => {
    expect(() => compileGlob(pattern)).toThrow(BadPatternError);
  });

  it('matches what the obvious regular expression matches', () => {
    const word = (...alphabet: string[]) => fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 8 });
    fc.assert(
      fc.property(word('a', 'b', '/', '*', '?'), word('a', 'b', '/'), (pattern, text) => {
        const source = pattern.replaceAll('*', '[^/]*').replaceAll('?', '[^/]');
        expect(compileGlob(pattern).match(text)).toBe(new RegExp(`^${source}$`).test(text));
      }),
      { numRuns: 3_000 },
    );
  });

  it('is not slow on many stars', () => {
    const pattern = `${'a*'.repeat(30)}b`;
    expect(compileGlob(pattern).match('a'.repeat(3_000))).toBe(false);
  });

  it('splits off the literal directory', () => {
    expect(compileGlob('/a/b/*').directory).toBe('/a/b');
    expect(compileGlob('/*').directory).toBe('');
    expect(compileGlob('/a/\\*/x*').directory).toBe('/a/*');
    expect(compileGlob('/a/b').directory).toBe('/a');
    expect(compileGlob('/a/[b]/*').segments).toBeUndefined();
  });

  it('stays right when its cache starts anew', () => {
    for (let i = 0; i <= GLOB_CACHE_MAX; i++) compileGlob(`/n${i}/*`);
    expect(compileGlob('/n0/*').match('/n0/x')).toBe(true);
  });
});
