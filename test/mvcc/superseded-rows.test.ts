import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RUN_ROWS, type SupersededRow, SupersededRows } from '../../core/mvcc/superseded-rows.ts';

function all(rows: SupersededRows): SupersededRow[] {
  const taken: SupersededRow[] = [];
  for (let row = rows.take(); row !== undefined; row = rows.take()) taken.push(row);
  return taken;
}

describe('superseded rows', () => {
  it('come in the order of their revisions, whatever the order they were given in', () => {
    const row = fc.record({
      main: fc.oneof(fc.nat(50), fc.maxSafeNat()),
      sub: fc.oneof(fc.nat(3), fc.nat(2 ** 31)),
      isTombstone: fc.boolean(),
    });
    const unique = fc.uniqueArray(row, { selector: ({ main, sub }) => `${main}_${sub}`, maxLength: 60 });
    fc.assert(
      fc.property(unique, (given) => {
        const rows = new SupersededRows();
        for (const { main, sub, isTombstone } of given) rows.add(main, sub, isTombstone);
        expect(all(rows)).toEqual([...given].sort((a, b) => a.main - b.main || a.sub - b.sub));
      }),
    );
  });

  it('may be any number of runs, the last one in part', () => {
    const rows = new SupersededRows();
    const count = 5 * RUN_ROWS + 7;
    // Key by key, as a compaction finds them.
    for (let key = 0; key < 10; key++) for (let main = key; main < count; main += 10) rows.add(main, 0, false);
    expect(all(rows).map(({ main }) => main)).toEqual(Array.from({ length: count }, (_, i) => i));
    expect(rows.take()).toBeUndefined();
  });
});
