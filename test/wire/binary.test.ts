import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GrpcStatus, RosterError } from '../../core/errors.ts';
import { decode, defaults, encode, encodeLent } from '../../core/wire/binary.ts';
import { withEncoded } from '../../core/wire/encoded.ts';
import {
  Compare,
  Event,
  KeyValue,
  LeaseGrantRequest,
  LeaseTimeToLiveResponse,
  Member,
  PutRequest,
  RangeRequest,
  RangeResponse,
  RequestOp,
  ResponseHeader,
  TxnRequest,
  WatchCreateRequest,
} from '../../core/wire/messages.ts';
import { MESSAGE_DEPTH_MAX } from '../../core/wire/plan.ts';
import { enumeration, int32, message, repeated, sub, uint32 } from '../../core/wire/schema.ts';
import { InternalRequest } from '../../core/wire/stored.ts';
import { type AnyMessage, allTypes, fromOracle, messageOf, oracleOf, toOracle } from './oracle.ts';

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

function failure(action: () => unknown): RosterError {
  try {
    action();
  } catch (error) {
    if (error instanceof RosterError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe.each(allTypes.map((type) => [type.name, type] as const))('%s against protobufjs', (_, type) => {
  const oracle = oracleOf(type);

  it('encodes to the same bytes, decodes to the same message', () => {
    fc.assert(
      fc.property(messageOf(type), (message) => {
        const bytes = encode(type, message);
        const theirs = oracle.encode(toOracle(type, message)).finish();
        expect(toHex(bytes)).toBe(toHex(theirs));
        expect(decode(type, theirs)).toEqual(message);
        expect(fromOracle(type, oracle.decode(bytes) as unknown as AnyMessage)).toEqual(message);
      }),
      { numRuns: 100 },
    );
  });

  it('refuses damaged bytes with a RosterError or reads them, and can write again what it read', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(messageOf(type), damage, fc.nat(), (message, changes, cut) => {
        const bytes = Uint8Array.from(encode(type, message));
        if (bytes.length === 0) return;
        for (const [place, value] of changes) bytes[place % bytes.length] = value;
        const end = cut % 3 === 0 ? cut % bytes.length : bytes.length;
        try {
          const read = decode(type, bytes, 0, end);
          const again = encode(type, read);
          expect(toHex(encode(type, decode(type, again)))).toBe(toHex(again));
        } catch (error) {
          if (!(error instanceof RosterError)) throw error;
          expect(error.status).toBe(GrpcStatus.INTERNAL);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('encode', () => {
  it('omits zero values, and writes a oneof member that is set to zero', () => {
    expect(encode(RangeRequest, defaults(RangeRequest))).toHaveLength(0);
    expect(toHex(encode(Compare, { version: 0 }))).toBe('2000');
    expect(toHex(encode(Compare, { value: new Uint8Array(0) }))).toBe('3a00');
    expect(toHex(encode(RequestOp, { request_txn: defaults(TxnRequest) }))).toBe('2200');
  });

  it('takes a missing field for an unset one', () => {
    expect(toHex(encode(PutRequest, { key: 'k' }))).toBe('0a016b');
  });

  it('packs lists of numbers', () => {
    expect(toHex(encode(WatchCreateRequest, { filters: [0, 1, 300] }))).toBe('2a040001ac02');
  });

  it('copies a message that carries its encoding, nested ones too', () => {
    const kv = { ...defaults(KeyValue), key: 'a' };
    const event = withEncoded({ ...defaults(Event), kv }, hex('120301 0203'));
    expect(toHex(encode(Event, event))).toBe('1203010203');
    const pair = withEncoded({ ...defaults(KeyValue) }, hex('aabbcc'));
    expect(toHex(encode(RangeResponse, { kvs: [pair, kv, pair] }))).toBe('1203aabbcc12030a01611203aabbcc');
  });

  it('leaves headroom before the encoding', () => {
    const bytes = encode(PutRequest, { key: 'k' }, 5);
    expect(bytes).toHaveLength(8);
    expect(toHex(bytes.subarray(5))).toBe('0a016b');
  });

  it('lends the same bytes, until the next message', () => {
    for (const size of [3, 65_530, 3_000_000]) {
      const message = { key: 'k', value: new Uint8Array(size).fill(7) };
      const own = encode(PutRequest, message, 5);
      const lent = encodeLent(PutRequest, message, 5);
      expect(toHex(lent.subarray(5))).toBe(toHex(own.subarray(5)));
      expect(encodeLent(PutRequest, { key: 'x' }).buffer === lent.buffer).toBe(size < 2 ** 20);
    }
  });

  it('writes messages larger than its scratch buffer, and gives each its own memory', () => {
    for (const size of [65_530, 65_536, 3_000_000]) {
      const value = new Uint8Array(size).fill(7);
      const first = encode(PutRequest, { key: 'k', value });
      const second = encode(PutRequest, { key: 'k', value: value.fill(8) });
      expect(decode(PutRequest, first).value[size - 1]).toBe(7);
      expect(decode(PutRequest, second).value[size - 1]).toBe(8);
    }
  });

  it('takes text that is no byte string for a bug', () => {
    expect(() => encode(PutRequest, { key: '\u20ac' })).toThrow(/byte string/);
    expect(() => encode(RangeRequest, { limit: 1.5 })).toThrow(/integer/);
    expect(() => encode(RangeRequest, { limit: 2 ** 53 })).toThrow(/safe integer/);
  });
});

describe('decode', () => {
  it('fills in every default, and lists of its own', () => {
    const first = decode(RangeResponse, new Uint8Array(0));
    expect(first).toEqual({ header: undefined, kvs: [], more: false, count: 0 });
    expect(Object.keys(first)).toEqual(['header', 'kvs', 'more', 'count']);
    expect(first.kvs).not.toBe(decode(RangeResponse, new Uint8Array(0)).kvs);
    expect(first.kvs).not.toBe(defaults(RangeResponse).kvs);
  });

  it('reads only the range it is given', () => {
    expect(decode(PutRequest, hex('ff 0a016b ff'), 1, 4).key).toBe('k');
  });

  it('holds octets as views into the input', () => {
    const input = encode(PutRequest, { key: 'k', value: Uint8Array.of(1, 2) });
    const { value } = decode(PutRequest, input);
    input[input.length - 1] = 9;
    expect([...value]).toEqual([1, 9]);
  });

  it('skips unknown fields of every wire type', () => {
    const unknown = 'f87f8001' + 'f97f0102030405060708' + 'fa7f03aabbcc' + 'fd7f01020304';
    expect(decode(PutRequest, hex(`${unknown}0a016b${unknown}`)).key).toBe('k');
  });

  it('takes a known number with another wire type for unknown', () => {
    expect(decode(PutRequest, hex('0805 0a016b'))).toEqual({ ...defaults(PutRequest), key: 'k' });
    expect(decode(LeaseGrantRequest, hex('0a016b'))).toEqual(defaults(LeaseGrantRequest));
    expect(decode(WatchCreateRequest, hex('2d01020304 2801'))).toEqual({
      ...defaults(WatchCreateRequest),
      filters: [1],
    });
  });

  it('reads lists packed, unpacked, and mixed', () => {
    expect(decode(WatchCreateRequest, hex('2800 2a020100 2801')).filters).toEqual([0, 1, 0, 1]);
    expect(decode(WatchCreateRequest, hex('2a00')).filters).toEqual([]);
  });

  it('lets the last scalar win and merges sub-messages', () => {
    expect(decode(PutRequest, hex('0a0161 0a0162')).key).toBe('b');
    const merged = decode(Event, hex('1203 0a0161 1202 1005 1203 0a0162')).kv;
    expect(merged).toEqual({ ...defaults(KeyValue), key: 'b', create_revision: 5 });
  });

  it('lets a later oneof member clear the earlier one, and merges the same one', () => {
    const later = decode(RequestOp, hex('0a03 0a0161 1203 0a0162'));
    expect(later.request_range).toBeUndefined();
    expect(later.request_put?.key).toBe('b');
    const same = decode(RequestOp, hex('0a03 0a0161 0a02 1805'));
    expect(same.request_range).toMatchObject({ key: 'a', limit: 5 });
    expect(decode(Compare, hex('2005 2800'))).toMatchObject({ version: undefined, create_revision: 0 });
  });

  it('keeps unknown enum numbers, negative ones too', () => {
    expect(decode(Event, hex('0863')).type).toBe(99);
    expect(decode(Event, hex('08ffffffffffffffffff01')).type).toBe(-1);
  });

  it('saturates revisions and counters, and keeps 64-bit identifiers exact', () => {
    expect(decode(RangeRequest, hex('18ffffffffffffffff7f')).limit).toBe(Number.MAX_SAFE_INTEGER);
    expect(decode(RangeRequest, hex('1880808080808080808001')).limit).toBe(Number.MIN_SAFE_INTEGER);
    expect(decode(RangeRequest, hex('18ffffffffffffffffff01')).limit).toBe(-1);
    expect(decode(ResponseHeader, hex('20ffffffffffffffffff01')).raft_term).toBe(Number.MAX_SAFE_INTEGER);
    expect(decode(ResponseHeader, hex('08ffffffffffffffffff01')).cluster_id).toBe(2n ** 64n - 1n);
    expect(decode(LeaseGrantRequest, hex('10ffffffffffffffff7f')).ID).toBe(2n ** 63n - 1n);
    expect(decode(LeaseGrantRequest, hex('1080808080808080808001')).ID).toBe(-(2n ** 63n));
  });

  it('reads integers longer than they need to be, and cuts 32-bit ones', () => {
    expect(decode(RangeRequest, hex('18 8580808000')).limit).toBe(5);
    const Small = message('test.Small', { a: int32(1), b: uint32(2), c: repeated(uint32(3)) });
    expect(decode(Small, hex('08ffffffff1f 10ffffffff1f'))).toEqual({ a: -1, b: 0xffffffff, c: [] });
    expect(decode(Small, encode(Small, { a: -5, b: 0xfffffffe, c: [0, 1 << 20, 0xffffffff] }))).toEqual({
      a: -5,
      b: 0xfffffffe,
      c: [0, 1 << 20, 0xffffffff],
    });
  });

  it('takes any non-zero varint for true', () => {
    expect(decode(PutRequest, hex('20 80808080808001')).prev_kv).toBe(true);
    expect(decode(PutRequest, hex('20 8000')).prev_kv).toBe(false);
  });

  it('keeps a byte order mark and refuses text that is not UTF-8', () => {
    expect(decode(Member, hex('1204 efbbbf61')).name).toBe('\ufeffa');
    expect(decode(Member, hex('1203 efbfbd')).name).toBe('\ufffd');
    for (const bad of ['ff', 'c080', 'eda080', 'e282', 'f4908080']) {
      const size = (bad.length / 2).toString(16).padStart(2, '0');
      expect(failure(() => decode(Member, hex(`12${size}${bad}`))).message).toContain('UTF-8');
    }
    expect(decode(LeaseTimeToLiveResponse, hex('2a01ff')).keys).toEqual(['\xff']);
  });

  it.each([
    ['a tag cut short', '80'],
    ['an integer cut short', '18ff'],
    ['a missing integer', '18'],
    ['an integer of eleven bytes', '1880808080808080808080 01'],
    ['an integer of 65 bits', '18ffffffffffffffffff02'],
    ['a length past the end', '0a0261'],
    ['a length of 4 GiB and more', '0a8180808010 61'],
    ['field number 0', '0001'],
    ['field number 0 as a length', '02016b'],
    ['a field number of 33 bits', '8880808080 01 01'],
    ['a group', '0b 0c'],
    ['the end of a group', '0c'],
    ['wire type 6', '0e'],
    ['wire type 7', '0f'],
    ['a fixed64 cut short', '7101020304050607'],
    ['a fixed32 cut short', '75010203'],
  ])('refuses %s', (_, text) => {
    const error = failure(() => decode(RangeRequest, hex(text)));
    expect(error.status).toBe(GrpcStatus.INTERNAL);
    expect(error.message).toMatch(/^proto: cannot parse invalid wire-format data: .* at byte \d+$/);
  });

  it('refuses a nested value that reaches past its message', () => {
    expect(failure(() => decode(Event, hex('1202 0a05 6161616161'))).message).toContain('past the end');
    expect(failure(() => decode(WatchCreateRequest, hex('2a01 80 01'))).message).toContain('inside an integer');
  });

  it('refuses messages nested too deeply, and one level less is fine', () => {
    interface Nest {
      next?: Nest | undefined;
      mark: number;
    }
    const Nest: ReturnType<typeof message<never>> & { _value?: Nest } = message('test.Nest', {
      next: sub(1, () => Nest),
      mark: enumeration(2, { name: 'test.Mark', values: { A: 0 } }),
    }) as never;
    const nested = (levels: number): Nest => (levels === 1 ? { mark: 1 } : { mark: 0, next: nested(levels - 1) });
    const bytes = (levels: number) => encode(Nest as never, nested(levels) as never);
    expect(encode(Nest as never, decode(Nest as never, bytes(MESSAGE_DEPTH_MAX)))).toEqual(bytes(MESSAGE_DEPTH_MAX));
    expect(failure(() => decode(Nest as never, bytes(MESSAGE_DEPTH_MAX + 1))).message).toContain('deeper than 100');
  });

  it('can read back any request that was let in, inside the envelope of the log', () => {
    let txn = defaults(TxnRequest);
    for (let depth = 1; depth + 2 <= MESSAGE_DEPTH_MAX; depth += 2) txn = { ...txn, success: [{ request_txn: txn }] };
    expect(() => decode(TxnRequest, encode(TxnRequest, txn))).not.toThrow();
    expect(() => decode(InternalRequest, encode(InternalRequest, { id: 1n, txn }))).not.toThrow();
  });
});
