/** Random operations on few keys, so that they meet. Most are valid; every way of being refused has its chance. */
import fc from 'fast-check';
import type * as m from '../../core/wire/messages.ts';
import {
  LEASE_IDS,
  type LeaseRef,
  type Operation,
  type RevisionRef,
  type Symbolic,
  type UnaryOperation,
  WATCH_STREAMS,
} from './operations.ts';

const KEYS = ['a', 'b', 'ab', 'a\0', 'c/1', 'c/2', 'c/\xff', '\0', '\xff', '\xff\xff\x80'];
const RANGE_ENDS = [...KEYS, 'c0', 'd', '\0\0'];
const VALUES = ['', '1', '2', '10', '\0\xfe', 'longer'].map((text) => new Uint8Array(Buffer.from(text, 'latin1')));
/** Above what fits into a request together with its envelope, and above what the transport takes. */
const TOO_LARGE = [1_572_864, 2_200_000];
/** Three of them make a watch response that has to be cut. */
const LARGE = 900_000;

const often = <T>(weight: number, common: fc.Arbitrary<T>, rare: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight, arbitrary: common }, { weight: 1, arbitrary: rare });
/** False, mostly. */
const flag = (weight = 4): fc.Arbitrary<boolean> => often(weight, fc.constant(false), fc.constant(true));

const key = often(40, fc.constantFrom(...KEYS), fc.constant(''));
const rangeEnd = fc.oneof(
  { weight: 4, arbitrary: fc.constant('') },
  { weight: 3, arbitrary: fc.constant('\0') },
  { weight: 5, arbitrary: fc.constantFrom(...RANGE_ENDS) },
);
const value = fc.oneof(
  { weight: 300, arbitrary: fc.constantFrom(...VALUES) },
  { weight: 2, arbitrary: fc.constant({ fill: LARGE }) },
  { weight: 1, arbitrary: fc.constantFrom(...TOO_LARGE.map((fill) => ({ fill }))) },
);
const smallValue = fc.constantFrom(...VALUES);

const revision: fc.Arbitrary<RevisionRef> = often(
  30,
  fc.record({
    revisionOf: fc.constantFrom('zero', 'start', 'compacted', 'current', 'current'),
    plus: fc.integer({ min: -4, max: 2 }),
  }),
  fc.record({
    revisionOf: fc.constant('zero'),
    plus: fc.constantFrom(Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER),
  }),
);
const someRevision = often(2, fc.constant(0 as number | RevisionRef), revision);
const leaseRef: fc.Arbitrary<LeaseRef> = fc.record({ leaseIn: fc.nat({ max: LEASE_IDS.length - 1 }) });
const someLease = often(2, fc.constant(0n as bigint | LeaseRef), leaseRef);
/** Ids that a server chose compare with each other in its own way. */
const comparableLease = often(
  2,
  fc.constant(0n as bigint | LeaseRef),
  fc.record({ leaseIn: fc.constantFrom(...LEASE_IDS.flatMap((id, slot) => (id === 0n ? [] : [slot]))) }),
);

const range: fc.Arbitrary<Symbolic<m.RangeRequest>> = fc.record({
  key,
  range_end: rangeEnd,
  limit: often(1, fc.constant(0), fc.constantFrom(-1, 1, 2, 3, 100)),
  revision: often(3, fc.constant(0 as number | RevisionRef), revision),
  sort_order: fc.constantFrom(0, 0, 1, 2),
  sort_target: fc.constantFrom(0, 0, 1, 2, 3, 4),
  serializable: flag(),
  keys_only: flag(),
  count_only: flag(8),
  min_mod_revision: often(8, fc.constant(0 as number | RevisionRef), revision),
  max_mod_revision: often(8, fc.constant(0 as number | RevisionRef), revision),
  min_create_revision: often(8, fc.constant(0 as number | RevisionRef), revision),
  max_create_revision: often(8, fc.constant(0 as number | RevisionRef), revision),
});

/** An order that is none; alone only, for in a transaction the answers differ in what they write (differences.ts). */
const unsortable: fc.Arbitrary<Symbolic<m.RangeRequest>> = fc
  .record({ range, order: fc.constantFrom(-1, 3) })
  .map(({ range: request, order }) => ({ ...request, sort_order: order, sort_target: 0 }));

const put = (values: fc.Arbitrary<Uint8Array | { fill: number }>): fc.Arbitrary<Symbolic<m.PutRequest>> =>
  fc.record({
    key,
    value: values,
    lease: someLease,
    prev_kv: flag(2),
    ignore_value: flag(6),
    ignore_lease: flag(6),
  });

const deleteRange: fc.Arbitrary<Symbolic<m.DeleteRangeRequest>> = fc.record({
  key,
  range_end: rangeEnd,
  prev_kv: flag(2),
});

const compare: fc.Arbitrary<Symbolic<m.Compare>> = fc
  .record({
    result: often(60, fc.constantFrom(0, 1, 2, 3), fc.constantFrom(-1, 4)),
    target: often(60, fc.constantFrom(0, 1, 2, 3, 4), fc.constant(5)),
    key,
    range_end: often(2, fc.constant(''), rangeEnd),
    right: fc.oneof(
      fc.record({ version: fc.integer({ min: -1, max: 4 }) }),
      fc.record({ create_revision: someRevision }),
      fc.record({ mod_revision: someRevision }),
      fc.record({ value: smallValue }),
      fc.record({ lease: comparableLease }),
      fc.constant({}),
    ),
    matching: flag(3),
  })
  .map(({ right, matching, target, ...rest }) => {
    const [name] = Object.keys(right);
    const meant = ['version', 'create_revision', 'mod_revision', 'value', 'lease'].indexOf(name ?? '');
    // A right-hand side for another target is legal and counts as zero; mostly they go together.
    return { ...rest, target: matching || meant < 0 ? target : meant, ...right } as Symbolic<m.Compare>;
  });

const OP_NESTING_MAX = 2;

function requestOp(depth: number): fc.Arbitrary<Symbolic<m.RequestOp>> {
  return fc.oneof(
    { weight: 20, arbitrary: fc.record({ request_range: range }) },
    { weight: 32, arbitrary: fc.record({ request_put: put(smallValue) }) },
    { weight: 16, arbitrary: fc.record({ request_delete_range: deleteRange }) },
    ...(depth === 0 ? [] : [{ weight: 12, arbitrary: fc.record({ request_txn: txnTree(depth - 1) }) }]),
    // No operation at all.
    ...(depth === OP_NESTING_MAX ? [{ weight: 1, arbitrary: fc.constant({}) }] : []),
  );
}

function txnTree(depth: number): fc.Arbitrary<Symbolic<m.TxnRequest>> {
  const ops = fc.array(requestOp(depth), { maxLength: 4 });
  return fc.record({ compare: fc.array(compare, { maxLength: 2 }), success: ops, failure: ops });
}

/** One list longer than the limit, or exactly as long. */
const longTxn: fc.Arbitrary<Symbolic<m.TxnRequest>> = fc
  .record({ txn: txnTree(1), length: fc.constantFrom(8, 9), list: fc.constantFrom('compare', 'success', 'failure') })
  .map(({ txn, length, list }) => {
    const filler =
      list === 'compare' ? { key: 'a' } : { request_range: { key: 'a', serializable: true, range_end: '\0' } };
    return { ...txn, [list]: Array.from({ length }, () => filler) };
  });

/**
 * Real etcd stops with a panic when an operation fails in the middle of a transaction that writes, which a put that
 * keeps something of a key does after an open-ended delete. What it cannot answer cannot be compared.
 */
function survivable(txn: Symbolic<m.TxnRequest>): Symbolic<m.TxnRequest> {
  return hasOpenDelete(txn) ? withoutIgnore(txn) : txn;
}

function opsOf(txn: Symbolic<m.TxnRequest>): Symbolic<m.RequestOp>[] {
  return [...(txn.success ?? []), ...(txn.failure ?? [])];
}

function hasOpenDelete(txn: Symbolic<m.TxnRequest>): boolean {
  return opsOf(txn).some(
    ({ request_delete_range: remove, request_txn: inner }) =>
      remove?.range_end === '\0' || (inner !== undefined && hasOpenDelete(inner)),
  );
}

function withoutIgnore(txn: Symbolic<m.TxnRequest>): Symbolic<m.TxnRequest> {
  const strip = (op: Symbolic<m.RequestOp>): Symbolic<m.RequestOp> => {
    if (op.request_txn !== undefined) return { request_txn: withoutIgnore(op.request_txn) };
    if (op.request_put === undefined) return op;
    return { request_put: { ...op.request_put, ignore_value: false, ignore_lease: false } };
  };
  return { ...txn, success: (txn.success ?? []).map(strip), failure: (txn.failure ?? []).map(strip) };
}

const compactRevision: fc.Arbitrary<RevisionRef> = fc.oneof(
  fc.record({ revisionOf: fc.constant('current' as const), plus: fc.integer({ min: -6, max: 1 }) }),
  fc.record({ revisionOf: fc.constant('compacted' as const), plus: fc.integer({ min: -1, max: 2 }) }),
  fc.record({ revisionOf: fc.constant('zero' as const), plus: fc.integer({ min: -1, max: 1 }) }),
);

const ttlSeconds = fc.oneof(
  { weight: 6, arbitrary: fc.bigInt({ min: 600n, max: 1000n }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(-(2n ** 63n), -1n, 0n, 1n, 2n, 3n, 9_000_000_000n, 9_000_000_001n, 2n ** 63n - 1n),
  },
);

const LEASE_SLOT = fc.nat({ max: LEASE_IDS.length - 1 });
const leaseId = often(12, leaseRef as fc.Arbitrary<bigint | LeaseRef>, fc.constant(0n));

/** Everything that is one request and one answer. */
export const unaryOperation: fc.Arbitrary<UnaryOperation> = fc.oneof(
  { weight: 18, arbitrary: fc.record({ op: fc.constant('range' as const), request: often(80, range, unsortable) }) },
  { weight: 20, arbitrary: fc.record({ op: fc.constant('put' as const), request: put(value) }) },
  { weight: 7, arbitrary: fc.record({ op: fc.constant('deleteRange' as const), request: deleteRange }) },
  {
    weight: 20,
    arbitrary: fc.record({
      op: fc.constant('txn' as const),
      request: often(15, txnTree(OP_NESTING_MAX), longTxn).map(survivable),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('compact' as const),
      request: fc.record({ revision: compactRevision, physical: fc.boolean() }),
    }),
  },
  { weight: 10, arbitrary: fc.record({ op: fc.constant('leaseGrant' as const), slot: LEASE_SLOT, ttlSeconds }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('leaseRevoke' as const), request: fc.record({ ID: leaseId }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('leaseTimeToLive' as const),
      request: fc.record({ ID: leaseId, keys: fc.boolean() }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('leaseLeases' as const) }) },
);

const stream = fc.nat({ max: WATCH_STREAMS - 1 });

export const watchRequest: fc.Arbitrary<Symbolic<m.WatchCreateRequest>> = fc.record({
  key: often(8, fc.constantFrom(...KEYS), fc.constant('')),
  range_end: rangeEnd,
  start_revision: someRevision,
  progress_notify: flag(),
  filters: fc.array(often(10, fc.constantFrom(0, 1), fc.constant(7)), { maxLength: 2 }),
  prev_kv: fc.boolean(),
  watch_id: often(3, fc.constant(0n), fc.constantFrom(1n, 5n, 6n, -3n)),
  fragment: fc.boolean(),
});

export const leaseKeepAlive = fc.record({
  op: fc.constant('leaseKeepAlive' as const),
  request: fc.record({ ID: leaseId }),
});

/** Everything there is but auth. */
export const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 640, arbitrary: unaryOperation },
  { weight: 16, arbitrary: leaseKeepAlive },
  { weight: 64, arbitrary: fc.record({ op: fc.constant('watch' as const), stream, request: watchRequest }) },
  { weight: 16, arbitrary: fc.record({ op: fc.constant('cancelWatch' as const), stream, nth: fc.nat({ max: 3 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('cancelUnknown' as const), stream, id: fc.constantFrom(99n, -1n) }),
  },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('progress' as const), stream }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('halfClose' as const), stream }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('closeStream' as const), stream }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('watchNothing' as const), stream }) },
  // Takes three seconds.
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('leaseExpire' as const),
      keys: fc.array(fc.constantFrom(...KEYS), { maxLength: 4 }),
    }),
  },
);

/** Responses that have to be cut: one by revisions, one within a revision because of what the pairs were before. */
export const largeResponses: readonly Operation[] = [
  ...['a', 'b', 'ab'].map((name): Operation => ({ op: 'put', request: { key: name, value: { fill: LARGE } } })),
  ...[1, 2].map(
    (): Operation => ({
      op: 'txn',
      request: {
        success: ['a', 'b'].map((name) => ({ request_put: { key: name, value: { fill: LARGE * 0.75 } } })),
      },
    }),
  ),
  ...[0, 1, 2].map(
    (stream): Operation => ({
      op: 'watch',
      stream,
      request: {
        key: 'a',
        range_end: '\0',
        start_revision: { revisionOf: 'start', plus: 1 },
        prev_kv: stream > 0,
        fragment: stream > 1,
      },
    }),
  ),
  { op: 'deleteRange', request: { key: 'a', range_end: '\0' } },
];
