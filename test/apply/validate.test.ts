import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { changesOverlap } from '../../core/apply/overlap.ts';
import {
  checkDeleteRange,
  checkPut,
  checkRange,
  checkTxn,
  TXN_DEPTH_MAX,
  TXN_OPS_MAX,
} from '../../core/apply/validate.ts';
import type { RequestOp } from '../../core/wire/messages.ts';
import { codeOf, compare, del, deleteRequest, get, put, putRequest, rangeRequest, txn, txnRequest } from './harness.ts';

const limits = { maxTxnOps: TXN_OPS_MAX };

function check(success: RequestOp[], failure: RequestOp[] = []): string {
  return codeOf(checkTxn(txnRequest({ success, failure }), limits));
}

describe('single requests', () => {
  it.each([
    ['a range without a key', checkRange(rangeRequest('')), 'EmptyKey'],
    ['a range with an unknown order', checkRange(rangeRequest('a', { sort_order: 3 })), 'InvalidSortOption'],
    ['a range with a negative order', checkRange(rangeRequest('a', { sort_order: -1 })), 'InvalidSortOption'],
    ['a range with an unknown target', checkRange(rangeRequest('a', { sort_target: 5 })), 'InvalidSortOption'],
    ['the last order and target', checkRange(rangeRequest('a', { sort_order: 2, sort_target: 4 })), 'ok'],
    ['a range whose end is below its key', checkRange(rangeRequest('b', { range_end: 'a' })), 'ok'],
    ['a put without a key', checkPut(putRequest('')), 'EmptyKey'],
    ['ignore_value with a value', checkPut(putRequest('a', 'v', { ignore_value: true })), 'ValueProvided'],
    ['ignore_lease with a lease', checkPut(putRequest('a', '', { ignore_lease: true, lease: 1n })), 'LeaseProvided'],
    ['both without', checkPut(putRequest('a', '', { ignore_lease: true, ignore_value: true })), 'ok'],
    ['a delete without a key', checkDeleteRange(deleteRequest('')), 'EmptyKey'],
    ['a delete', checkDeleteRange(deleteRequest('a', '\0')), 'ok'],
  ])('%s', (_what, result, code) => expect(codeOf(result)).toBe(code));
});

describe('transactions', () => {
  it('checks each operation, in both branches and in nested ones', () => {
    expect(check([put('')])).toBe('EmptyKey');
    expect(check([], [put('a', 'v', { ignore_value: true })])).toBe('ValueProvided');
    expect(check([txn([], [get('a', { sort_order: 9 })])])).toBe('InvalidSortOption');
    expect(check([txn([del('')])])).toBe('EmptyKey');
    expect(codeOf(checkTxn(txnRequest({ compare: [compare({})] }), limits))).toBe('EmptyKey');
    expect(check([txn([], [], [compare({ key: '' })])])).toBe('EmptyKey');
    expect(check([])).toBe('ok');
  });

  it('answers an operation that is none as etcd does', () => {
    expect(check([{}])).toBe('KeyNotFound');
    expect(checkTxn(txnRequest({ success: [{}] }), limits)?.message).toBe('etcdserver: key not found');
  });

  it('allows as many compares and operations as the limit, and not one more', () => {
    const ops = (n: number) => Array.from({ length: n }, (_, i) => put(`k${i}`));
    const compares = (n: number) => Array.from({ length: n }, () => compare({ key: 'a' }));
    expect(check(ops(128), ops(128))).toBe('ok');
    expect(check(ops(129))).toBe('TooManyOps');
    expect(check([], ops(129))).toBe('TooManyOps');
    expect(codeOf(checkTxn(txnRequest({ compare: compares(128) }), limits))).toBe('ok');
    expect(codeOf(checkTxn(txnRequest({ compare: compares(129) }), limits))).toBe('TooManyOps');
  });

  it('gives a nested transaction what its parent leaves', () => {
    const gets = (n: number) => Array.from({ length: n }, () => get('a'));
    expect(check([txn(gets(127))])).toBe('ok');
    expect(check([txn(gets(128))])).toBe('TooManyOps');
    expect(check([...gets(27), txn(gets(100))])).toBe('ok');
    expect(check([...gets(27), txn([], gets(101))])).toBe('TooManyOps');
    // The larger branch counts, even if the nested transaction is in the smaller one.
    expect(check([txn(gets(28))], gets(100))).toBe('ok');
    expect(check([txn(gets(29))], gets(100))).toBe('TooManyOps');
  });

  it('bounds the depth whatever the budget', () => {
    const nest = (depth: number): RequestOp => (depth === 0 ? get('a') : txn([nest(depth - 1)]));
    const generous = { maxTxnOps: 1_000_000 };
    const checkDepth = (depth: number) => codeOf(checkTxn(txnRequest({ success: [nest(depth - 1)] }), generous));
    expect(checkDepth(TXN_DEPTH_MAX)).toBe('ok');
    expect(checkDepth(TXN_DEPTH_MAX + 1)).toBe('TooManyOps');
  });

  it('looks for what is wrong with an operation before it looks for overlaps', () => {
    expect(check([put('a'), put('a')], [{}])).toBe('KeyNotFound');
  });
});

describe('keys changed twice', () => {
  it.each<[string, RequestOp[], boolean]>([
    ['two puts', [put('a'), put('a')], true],
    ['two keys', [put('a'), put('b')], false],
    ['a put and its delete', [put('a'), del('a')], true],
    ['a delete and a put of it', [del('a'), put('a')], true],
    ['a delete of the key after', [del('a'), put('a\0')], false],
    ['a put in a deleted range', [put('b'), del('a', 'c')], true],
    ['a put at the end of a deleted range', [put('c'), del('a', 'c')], false],
    ['a put at the start of a deleted range', [put('a'), del('a', 'c')], true],
    ['a put beside an empty range', [put('b'), del('c', 'a')], false],
    ['two deletes', [del('a', 'c'), del('b')], false],
    ['an open-ended delete (etcd does not see it)', [put('b'), del('a', '\0')], false],
    ['a nested put', [put('a'), txn([put('a')])], true],
    ['a nested delete', [txn([], [del('a', 'b')]), put('a')], true],
    ['both branches of one transaction', [txn([put('a')], [put('a')])], false],
    ['a put and a delete in both branches of one transaction', [txn([put('a')], [del('a')])], false],
    ['two transactions', [txn([put('a')]), txn([], [put('a')])], true],
    ['a delete, then a put, side by side', [txn([del('a')]), txn([put('a')])], true],
    ['a put, then a delete, side by side (etcd does not see it)', [txn([put('a')]), txn([del('a')])], false],
    ['two levels down', [txn([txn([], [put('a')])]), txn([txn([put('a')])])], true],
    ['within one branch only', [txn([put('a'), txn([put('a')])])], true],
    ['a hidden branch that shows again', [txn([put('a')], [put('b'), put('c')]), txn([put('b')])], true],
    ['the other hidden branch', [txn([put('a'), put('d')], [put('b')]), txn([put('b')])], true],
  ])('%s', (_what, ops, overlap) => {
    expect(changesOverlap(ops)).toBe(overlap);
    expect(check(ops)).toBe(overlap ? 'DuplicateKey' : 'ok');
    expect(check([], ops)).toBe(overlap ? 'DuplicateKey' : 'ok');
  });

  it('lets the two branches of the whole share keys', () => {
    expect(check([put('a')], [put('a')])).toBe('ok');
  });

  /** The rule as it is written down, level by level, with sets and no cleverness. */
  function naive(ops: readonly RequestOp[]): { puts: Set<string>; deletes: [string, string][] } | undefined {
    const deletes: [string, string][] = [];
    const puts = new Set<string>();
    const covered = (key: string) => deletes.some(([from, to]) => from <= key && key < to);
    for (const { request_delete_range: range } of ops) {
      if (range !== undefined) deletes.push([range.key, range.range_end === '' ? `${range.key}\0` : range.range_end]);
    }
    for (const { request_txn: inner } of ops) {
      if (inner === undefined) continue;
      const success = naive(inner.success);
      const failure = naive(inner.failure);
      if (success === undefined || failure === undefined) return undefined;
      const both = new Set([...success.puts, ...failure.puts]);
      for (const key of both) {
        if (puts.has(key) || covered(key)) return undefined;
      }
      for (const key of both) puts.add(key);
      deletes.push(...success.deletes, ...failure.deletes);
    }
    for (const { request_put: request } of ops) {
      if (request === undefined) continue;
      if (puts.has(request.key) || covered(request.key)) return undefined;
      puts.add(request.key);
    }
    return { puts, deletes };
  }

  it('finds what the rule says, in random trees', () => {
    // Many keys in large trees and few in small ones, so that both answers are common.
    const tree = (keys: number, width: number) => {
      const key = fc.integer({ min: 0, max: keys - 1 }).map((n) => String(n).padStart(3, '0'));
      return fc.letrec<{ ops: RequestOp[] }>((tie) => ({
        ops: fc.array(
          fc.oneof(
            { maxDepth: 4, withCrossShrink: true },
            { weight: 6, arbitrary: key.map((k) => put(k)) },
            { weight: 1, arbitrary: fc.tuple(key, fc.option(key, { nil: '' })).map(([a, b]) => del(a, b)) },
            { weight: 1, arbitrary: key.map((k) => del(k, '\0')) },
            { weight: 4, arbitrary: fc.tuple(tie('ops'), tie('ops')).map(([a, b]) => txn(a, b)) },
          ),
          { maxLength: width },
        ),
      })).ops;
    };
    const seen = { overlap: 0, fine: 0 };
    fc.assert(
      fc.property(fc.oneof(tree(12, 3), tree(60, 4), tree(500, 6)), (ops) => {
        const expected = naive(ops) === undefined;
        seen[expected ? 'overlap' : 'fine']++;
        expect(changesOverlap(ops)).toBe(expected);
      }),
      { numRuns: 2_000, seed: 11 },
    );
    expect(Math.min(seen.overlap, seen.fine)).toBeGreaterThan(200);
  });

  it('needs no more than n log n steps', () => {
    // A quadratic check would take minutes for these; the test's time limit tells the difference.
    const wide = Array.from({ length: 200_000 }, (_, i) => (i % 2 ? put(`p${i}`) : del(`d${i}`, `d${i}~`)));
    expect(changesOverlap(wide)).toBe(false);
    const nest = (depth: number, at: number): RequestOp =>
      depth === 0 ? put(`${at}`) : txn([nest(depth - 1, 2 * at), del(`x${at}`)], [nest(depth - 1, 2 * at + 1)]);
    let chained = [nest(15, 1)];
    for (let i = 0; i < 100; i++) chained = [txn(chained, [del(`y${i}`)])];
    expect(changesOverlap(chained)).toBe(false);
    expect(changesOverlap([...chained, put('y3')])).toBe(true);
  });
});
