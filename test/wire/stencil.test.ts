import fc from 'fast-check';
import { expect, it } from 'vitest';
import { AssertionError } from '../../core/util/assert.ts';
import { encode } from '../../core/wire/binary.ts';
import { ResponseHeader, WatchResponse } from '../../core/wire/messages.ts';
import { int64, message, sub } from '../../core/wire/schema.ts';
import { Stencil } from '../../core/wire/stencil.ts';
import { messageOf } from './oracle.ts';

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

const ids = fc.array(
  fc.oneof(
    fc.bigInt({ min: INT64_MIN, max: INT64_MAX }),
    fc.bigInt({ min: -2n, max: 20_000n }),
    // Where a varint gets longer.
    fc
      .tuple(fc.integer({ min: 0, max: 62 }), fc.constantFrom(-1n, 0n))
      .map(([bits, less]) => 2n ** BigInt(bits) + less),
  ),
  { minLength: 1, maxLength: 20 },
);

function written<T extends object>(stencil: Stencil<T>, values: readonly bigint[]): Buffer {
  const into = Buffer.alloc(stencil.bytesFor(values), 0xee);
  stencil.write(values, into);
  return into;
}

it('writes what the encoder would, whatever the value and whatever is around it', () => {
  fc.assert(
    fc.property(messageOf(WatchResponse), ids, (random, values) => {
      const response = random as unknown as WatchResponse;
      const each = values.map((watch_id) => encode(WatchResponse, { ...response, watch_id }));
      const stencil = new Stencil(WatchResponse, response, 'watch_id');
      expect(written(stencil, values)).toEqual(Buffer.concat(each));
      expect(written(stencil, values.slice(0, 1))).toEqual(Buffer.from(each[0]!));
    }),
  );
});

it('leaves room before each message, filled in by its length', () => {
  const header = { cluster_id: 0n, member_id: 3n, revision: 5, raft_term: 1 };
  const stencil = new Stencil(ResponseHeader, header, 'cluster_id', 2, (bytes) => {
    bytes[0] = 0xaa;
    bytes[1] = bytes.length;
  });
  const values = [0n, 1n, 300n, 1n];
  const each = values.map((cluster_id) => encode(ResponseHeader, { ...header, cluster_id }));
  const framed = each.flatMap((bytes) => [Buffer.of(0xaa, bytes.length + 2), bytes]);
  expect(written(stencil, values)).toEqual(Buffer.concat(framed));
});

it('knows fields with long tags', () => {
  const Far = message('test.Far', { near: int64(1), far: int64(5000), further: int64(5001) });
  const stencil = new Stencil(Far, { near: 1n, far: 0n, further: 2n }, 'far');
  const values = [0n, 7n, -1n];
  const each = values.map((far) => encode(Far, { near: 1n, far, further: 2n }));
  expect(written(stencil, values)).toEqual(Buffer.concat(each));
});

it('is for plain 64-bit fields only', () => {
  const Other = message('test.Other', { nested: sub(1, () => ResponseHeader) });
  expect(() => new Stencil(Other, { nested: undefined }, 'nested')).toThrow(AssertionError);
});
