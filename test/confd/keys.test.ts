import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DependencyIndex } from '../../confd/dependency-index.ts';
import { compileGlob } from '../../confd/glob.ts';
import { cleanPath, compareText, sortText } from '../../confd/go-path.ts';
import { type Change, isCleanKey, KeyTree } from '../../confd/key-tree.ts';
import { Reader } from '../../confd/reader.ts';
import { effectivePrefix, inScope, mergeScopes, normalPath } from '../../confd/scope.ts';

const segment = fc.constantFrom('a', 'b', 'ab', 'a-b', 'a.b', '__proto__', 'constructor', 'é');
const key = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join('/')}`);
const scope = fc.oneof(
  fc.constant(''),
  fc.array(segment, { minLength: 1, maxLength: 2 }).map((parts) => `/${parts.join('/')}`),
);
const pattern = fc
  .array(fc.constantFrom('*', 'a*', '?', 'a', 'ab', '[a-b]', '*b', '__proto__'), { minLength: 1, maxLength: 4 })
  .map((parts) => `/${parts.join('/')}`);
const write = fc.record({ key, value: fc.option(fc.constantFrom('1', '2', ''), { nil: undefined }) });

/** confd's own way: a flat map scanned for every question. */
function naive(model: ReadonlyMap<string, string>, prefix: string, scopes: readonly string[]) {
  const all = [...model]
    .filter(([name]) => scopes.some((held) => inScope(held, name)) && inScope(prefix, name) && name !== prefix)
    .map(([name, value]) => ({ key: name.slice(prefix.length), value }))
    .sort((a, b) => compareText(a.key, b.key));
  const below = (path: string) => all.filter((pair) => pair.key.startsWith(`${path}/`));
  const unique = (names: string[]) => [...new Set(names)].sort(compareText);
  return {
    value: (name: string) => all.find((pair) => pair.key === name)?.value,
    glob: (text: string) => all.filter((pair) => compileGlob(text).match(pair.key)),
    list: (path: string) =>
      unique([
        ...below(path).map((pair) => pair.key.slice(path.length + 1).split('/')[0]!),
        ...(all.some((pair) => pair.key === path) ? [path.split('/').at(-1)!] : []),
      ]),
    listDirectories: (path: string) =>
      unique(
        below(path)
          .map((pair) => pair.key.slice(path.length + 1).split('/'))
          .filter((parts) => parts.length > 1)
          .map((parts) => parts[0]!),
      ),
  };
}

/** All that a template could learn, in one text. */
function ask(source: ReturnType<typeof naive> | Reader, name: string, text: string): string {
  return JSON.stringify([
    source.value(name),
    source.glob(text),
    source.list(name),
    source.list(''),
    source.listDirectories(name),
    source.listDirectories(''),
  ]);
}

function apply(
  tree: KeyTree,
  model: Map<string, string>,
  { key: name, value }: { key: string; value?: string | undefined },
) {
  if (value === undefined) {
    model.delete(name);
    return tree.delete(name);
  }
  model.set(name, value);
  return tree.set(name, value);
}

describe('keys as a tree', () => {
  it('answers every question as a scan over all keys does', () => {
    fc.assert(
      fc.property(
        fc.array(write, { maxLength: 25 }),
        scope,
        fc.array(scope, { maxLength: 3 }),
        key,
        pattern,
        (writes, prefix, below, name, text) => {
          const tree = new KeyTree();
          const model = new Map<string, string>();
          for (const each of writes) apply(tree, model, each);
          const scopes = below.map((part) => normalPath(`${prefix}/${part}`));
          expect(tree.size).toBe(model.size);
          expect(ask(new Reader(tree, prefix, scopes), name, text)).toBe(ask(naive(model, prefix, scopes), name, text));
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('finds every reader whose answers a write changes', () => {
    fc.assert(
      fc.property(
        fc.array(write, { maxLength: 15 }),
        write,
        scope,
        fc.array(scope, { minLength: 1, maxLength: 2 }),
        key,
        pattern,
        (writes, last, prefix, below, name, text) => {
          const tree = new KeyTree();
          const model = new Map<string, string>();
          for (const each of writes) apply(tree, model, each);
          const scopes = below.map((part) => normalPath(`${prefix}/${part}`));
          const reader = new Reader(tree, prefix, scopes);
          const before = ask(reader, name, text);
          const index = new DependencyIndex<string>();
          index.set('it', reader.reads);
          const change = apply(tree, model, last);
          const after = ask(new Reader(tree, prefix, scopes), name, text);
          const found = new Set<string>();
          if (change !== undefined) index.collect(change, found);
          if (before !== after) expect(found).toContain('it');
        },
      ),
      { numRuns: 3_000 },
    );
  });

  it('leaves alone the readers a write does not concern', () => {
    const tree = new KeyTree();
    for (const name of ['/web/a', '/web/b/1', '/db/a']) tree.set(name, 'x');
    const reader = new Reader(tree, '', ['']);
    reader.glob('/web/*');
    reader.list('/web');
    reader.value('/db/a');
    const index = new DependencyIndex<string>();
    index.set('it', reader.reads);
    const concerned = (change: Change | undefined) => {
      const found = new Set<string>();
      if (change !== undefined) index.collect(change, found);
      return found.size > 0;
    };
    expect(concerned(tree.set('/web/b/1', 'y'))).toBe(false);
    expect(concerned(tree.set('/web/b/2', 'y'))).toBe(false);
    expect(concerned(tree.set('/webber/x', 'y'))).toBe(false);
    expect(concerned(tree.set('/db/b', 'y'))).toBe(false);
    expect(concerned(tree.set('/web/a', 'x'))).toBe(false);
    expect(concerned(tree.set('/web/a', 'z'))).toBe(true);
    expect(concerned(tree.set('/web/c/1', 'z'))).toBe(true);
    expect(concerned(tree.delete('/db/a'))).toBe(true);
    index.delete('it');
    expect(concerned(tree.set('/web/a', 'zz'))).toBe(false);
  });

  it('has no place for keys that are not clean paths', () => {
    for (const name of ['', '/', 'a', '/a/', '/a//b', '/a/./b', '/a/../b', '/..']) expect(isCleanKey(name)).toBe(false);
    for (const name of ['/a', '/a/b.c', '/...', '/__proto__/constructor']) expect(isCleanKey(name)).toBe(true);
  });

  it('holds values that are not text, and says so when one is read', () => {
    const tree = new KeyTree();
    expect(tree.set('/a', Uint8Array.of(0xff))).toBeDefined();
    expect(tree.set('/a', Uint8Array.of(0xff))).toBeUndefined();
    expect(() => new Reader(tree, '', ['']).value('/a')).toThrow('the value of /a is not UTF-8 text');
  });
});

describe('scopes', () => {
  it('end at segment boundaries', () => {
    expect(inScope('/foo', '/foo')).toBe(true);
    expect(inScope('/foo', '/foo/x')).toBe(true);
    expect(inScope('/foo', '/foobar')).toBe(false);
    expect(inScope('/foo', '/foo-bar')).toBe(false);
    expect(inScope('', '/x')).toBe(true);
  });

  it('merge into disjoint ranges, in order, that hold exactly what they should at least', () => {
    fc.assert(
      fc.property(fc.array(scope, { maxLength: 6 }), key, (scopes, name) => {
        const ranges = mergeScopes(scopes);
        const raw = Buffer.from(name).toString('latin1');
        const holding = ranges.filter((range) => range.start <= raw && raw < range.end);
        expect(holding.length).toBeLessThanOrEqual(1);
        const wanted = scopes.some((held) => inScope(held, name));
        expect(holding.some((range) => range.scopes.some((held) => inScope(held, name)))).toBe(wanted);
        for (const [i, range] of ranges.slice(1).entries()) expect(ranges[i]!.end <= range.start).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  it('join or replace the prefix', () => {
    expect(effectivePrefix('', 'app', 'replace')).toBe('/app');
    expect(effectivePrefix('/production/', '/app', 'replace')).toBe('/production');
    expect(effectivePrefix('/production/', '/app', 'join')).toBe('/production/app');
    expect(effectivePrefix('', '/', 'join')).toBe('');
  });
});

describe('text order and paths', () => {
  it('orders text as its UTF-8 bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        expect(sortText([a, b])).toEqual([a, b].sort(compareText));
        expect(Math.sign(compareText(a, b))).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))));
      }),
    );
  });

  it('cleans paths as Go does', () => {
    expect(['', 'a/', '//a//b/', '/..', 'a/../..', './a', '/'].map(cleanPath)).toEqual([
      '.',
      'a',
      '/a/b',
      '/',
      '..',
      'a',
      '/',
    ]);
  });
});
