import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isReadOnly } from '../../core/apply/txn.ts';
import { checkTxn, TXN_OPS_MAX } from '../../core/apply/validate.ts';
import { RosterError } from '../../core/errors.ts';
import { decode, encode } from '../../core/wire/binary.ts';
import type * as m from '../../core/wire/messages.ts';
import { InternalRequest } from '../../core/wire/stored.ts';
import { bytes, compare, deleteRequest, Harness, putRequest, rangeRequest } from './harness.ts';
import { Model, refused } from './model.ts';

type Step =
  | { put: m.PutRequest }
  | { remove: m.DeleteRangeRequest }
  | { range: m.RangeRequest }
  | { txn: m.TxnRequest }
  | { compact: number }
  | { grant: bigint }
  | { revoke: bigint }
  | { restart: true };

const key = fc.constantFrom('a', 'b', 'b\0', 'c', 'd', '\xff');
const rangeEnd = fc.oneof({ weight: 3, arbitrary: fc.constant('') }, fc.constantFrom('\0', 'b', 'c', 'e', '\xff'));
const value = fc.constantFrom('', 'x', 'y', 'yy').map(bytes);
const lease = fc.oneof({ weight: 4, arbitrary: fc.constant(0n) }, fc.constantFrom(1n, 2n));
const revision = fc.integer({ min: -2, max: 40 });
const mostly = (off: number) => fc.oneof({ weight: 4, arbitrary: fc.constant(off) }, revision);
const rarely = fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, fc.constant(true));

const put = fc
  .record({ key, value, lease, prev_kv: fc.boolean(), ignore_value: rarely, ignore_lease: rarely })
  .map((r) => ({
    ...putRequest(r.key),
    ...r,
    value: r.ignore_value ? bytes('') : r.value,
    lease: r.ignore_lease ? 0n : r.lease,
  }));
const remove = fc
  .record({ key, range_end: rangeEnd, prev_kv: fc.boolean() })
  .map((r) => ({ ...deleteRequest(''), ...r }));
const range = fc
  .record({
    key,
    range_end: fc.constantFrom('', '\0', 'c', 'd', 'a'),
    limit: fc.constantFrom(0, 0, -1, 1, 2, 3),
    revision: mostly(0),
    sort_order: fc.constantFrom(0, 1, 2),
    sort_target: fc.constantFrom(0, 1, 2, 3, 4),
    keys_only: rarely,
    count_only: rarely,
    min_mod_revision: mostly(0),
    max_mod_revision: mostly(0),
    min_create_revision: mostly(0),
    max_create_revision: mostly(0),
  })
  .map((r) => ({ ...rangeRequest(''), ...r }));
const compares = fc
  .record({
    key,
    range_end: rangeEnd,
    result: fc.constantFrom(0, 0, 1, 2, 3, 7),
    target: fc.constantFrom(0, 1, 2, 3, 4, 4, 9),
    union: fc.constantFrom('version', 'create_revision', 'mod_revision', 'value', 'lease', 'none'),
    number: fc.integer({ min: -1, max: 12 }),
    value,
    lease,
  })
  .map(({ union, number, value: v, lease: l, ...rest }) => {
    // Mostly the operand that belongs to the target, sometimes another or none.
    const own = ['version', 'create_revision', 'mod_revision', 'value', 'lease'][rest.target] ?? 'none';
    const name = number % 5 === 0 ? union : own;
    const operand = name === 'value' ? v : name === 'lease' ? l : number;
    return compare({ ...rest, ...(name === 'none' ? {} : { [name]: operand }) });
  });
const txn = fc.letrec<{ txn: m.TxnRequest; ops: m.RequestOp[] }>((tie) => ({
  ops: fc.array(
    fc.oneof(
      { maxDepth: 3 },
      put.map((request_put): m.RequestOp => ({ request_put })),
      range.map((request_range): m.RequestOp => ({ request_range })),
      remove.map((request_delete_range): m.RequestOp => ({ request_delete_range })),
      tie('txn').map((request_txn): m.RequestOp => ({ request_txn })),
    ),
    { maxLength: 4 },
  ),
  txn: fc.record({ compare: fc.array(compares, { maxLength: 2 }), success: tie('ops'), failure: tie('ops') }),
})).txn;

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: put.map((request) => ({ put: request })) },
  { weight: 2, arbitrary: remove.map((request) => ({ remove: request })) },
  { weight: 4, arbitrary: range.map((request) => ({ range: request })) },
  { weight: 6, arbitrary: txn.map((request) => ({ txn: request })) },
  { weight: 1, arbitrary: revision.map((at) => ({ compact: at })) },
  { weight: 2, arbitrary: fc.constantFrom(1n, 2n).map((id) => ({ grant: id })) },
  { weight: 1, arbitrary: fc.constantFrom(1n, 2n).map((id) => ({ revoke: id })) },
  { weight: 1, arbitrary: fc.constant({ restart: true } as const) },
);

/** Buffers and plain arrays of bytes compare alike, refusals by their code. */
function plain(result: object | undefined): unknown {
  if (result instanceof RosterError) return refused(result.code);
  return JSON.parse(
    JSON.stringify(result, (_name, v: unknown) => {
      if (typeof v === 'bigint') return String(v);
      if (v !== null && typeof v === 'object' && (v as { type?: string }).type === 'Buffer') {
        return Buffer.from((v as { data: number[] }).data).toString('latin1');
      }
      return v instanceof Uint8Array ? Buffer.from(v).toString('latin1') : v;
    }),
  );
}

/** Through the codec, as a log entry goes. */
function entry(h: Harness, request: Partial<InternalRequest>): object {
  const { id: _, ...sent } = decode(InternalRequest, encode(InternalRequest, request));
  return h.apply(sent);
}

function run(h: Harness, model: Model, s: Step): [object, object] {
  if ('put' in s) return [entry(h, { put: s.put }), model.put(s.put)];
  if ('remove' in s) return [entry(h, { delete_range: s.remove }), model.deleteRange(s.remove)];
  if ('range' in s) return [h.machine.range(s.range), model.range(s.range)];
  if ('compact' in s) return [h.compact(s.compact), model.compact(s.compact)];
  if ('revoke' in s) return [h.revoke(s.revoke), model.revoke(s.revoke)];
  if ('grant' in s) {
    const fresh = !model.leases.has(s.grant);
    model.leases.add(s.grant);
    return [{ fresh: !(h.grant(s.grant) instanceof RosterError) }, { fresh }];
  }
  if ('txn' in s) {
    return [isReadOnly(s.txn) ? h.machine.readTxn(s.txn) : entry(h, { txn: s.txn }), model.txn(s.txn)];
  }
  return [{}, {}];
}

it('answers as the model does, whatever is asked, across compactions and restarts', () => {
  const seen = { txns: 0, invalid: 0, refusedTxns: 0, restarts: 0 };
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
      let h = new Harness();
      const model = new Model();
      for (const s of steps) {
        if ('restart' in s) {
          h.machine.commit(() => {});
          h.flush();
          h = h.reopened();
          seen.restarts++;
          continue;
        }
        if ('txn' in s) {
          if (checkTxn(s.txn, { maxTxnOps: TXN_OPS_MAX }) !== undefined) {
            seen.invalid++;
            continue;
          }
          seen.txns++;
        }
        const [actual, expected] = run(h, model, s);
        expect(plain(actual)).toEqual(plain(expected));
        if ('txn' in s && actual instanceof RosterError) seen.refusedTxns++;
        expect(h.machine.store.revision).toBe(model.revision);
        h.machine.work();
      }
      const everything = rangeRequest('\0', { range_end: '\0' });
      expect(plain(h.machine.range(everything))).toEqual(plain(model.range(everything)));
    }),
    { numRuns: 400, seed: 5 },
  );
  // The generator reaches what it is meant to reach.
  expect(seen.txns).toBeGreaterThan(1_000);
  expect(seen.refusedTxns).toBeGreaterThan(100);
  expect(seen.invalid).toBeGreaterThan(50);
  expect(seen.restarts).toBeGreaterThan(100);
});
