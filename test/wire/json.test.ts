import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GrpcStatus, RosterError } from '../../core/errors.ts';
import { defaults, encode } from '../../core/wire/binary.ts';
import { fromJson, toJson } from '../../core/wire/json.ts';
import {
  Compare,
  Event,
  InternalRequest,
  LeaseGrantRequest,
  LeaseGrantResponse,
  PutRequest,
  RangeRequest,
  RangeResponse,
  RequestOp,
  ResponseHeader,
  StatusResponse,
  TxnRequest,
  WatchCreateRequest,
  WatchRequest,
} from '../../core/wire/messages.ts';
import { MESSAGE_DEPTH_MAX } from '../../core/wire/plan.ts';
import { allTypes, messageOf } from './oracle.ts';

function failure(action: () => unknown): RosterError {
  try {
    action();
  } catch (error) {
    if (error instanceof RosterError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe.each(allTypes.map((type) => [type.name, type] as const))('%s', (_, type) => {
  it('comes back from JSON as it was', () => {
    fc.assert(
      fc.property(messageOf(type), (message) => {
        const text = toJson(type, message);
        expect(fromJson(type, text)).toEqual(message);
        expect(fromJson(type, JSON.parse(text))).toEqual(message);
        expect(text).not.toMatch(/\n/);
      }),
      { numRuns: 50 },
    );
  });
});

describe('toJson', () => {
  it('writes what the gateway of etcd writes', () => {
    expect(
      toJson(RangeResponse, {
        header: { cluster_id: 14841639068965178418n, member_id: 10276657743932975437n, revision: 3, raft_term: 2 },
        kvs: [
          {
            key: 'foo',
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            value: Uint8Array.of(0xfb, 0xff),
            lease: 7587862094711100000n,
          },
        ],
        count: 1,
      }),
    ).toBe(
      '{"header":{"cluster_id":"14841639068965178418","member_id":"10276657743932975437","revision":"3","raft_term":"2"},' +
        '"kvs":[{"key":"Zm9v","create_revision":"2","mod_revision":"3","version":"2","value":"+/8=",' +
        '"lease":"7587862094711100000"}],"count":"1"}',
    );
    expect(toJson(LeaseGrantResponse, { ID: 1n, TTL: 10 })).toBe('{"ID":"1","TTL":"10"}');
    expect(toJson(StatusResponse, { dbSize: 20480, isLearner: true, errors: ['x'] })).toBe(
      '{"dbSize":"20480","errors":["x"],"isLearner":true}',
    );
  });

  it('omits zero values, names enums, and keeps a oneof member that is zero', () => {
    expect(toJson(RangeResponse, defaults(RangeResponse))).toBe('{}');
    expect(toJson(Event, { type: 0 })).toBe('{}');
    expect(toJson(Event, { type: 1 })).toBe('{"type":"DELETE"}');
    expect(toJson(Event, { type: 7 })).toBe('{"type":7}');
    expect(toJson(Compare, { target: 3, value: new Uint8Array(0) })).toBe('{"target":"VALUE","value":""}');
    expect(toJson(Compare, { version: 0 })).toBe('{"version":"0"}');
    expect(toJson(WatchCreateRequest, { filters: [0, 1] })).toBe('{"filters":["NOPUT","NODELETE"]}');
  });
});

describe('fromJson', () => {
  it('reads proto names and lowerCamel', () => {
    expect(fromJson(RangeRequest, '{"range_end":"eg==","sortOrder":"DESCEND","minModRevision":"5"}')).toEqual({
      ...defaults(RangeRequest),
      range_end: 'z',
      sort_order: 2,
      min_mod_revision: 5,
    });
    expect(fromJson(LeaseGrantRequest, '{"TTL":10,"ID":"0"}')).toEqual({ TTL: 10n, ID: 0n });
  });

  it('keeps 64-bit integers exact, as strings and as bare numbers', () => {
    for (const text of ['7587862094711100123', '"7587862094711100123"', ' 7587862094711100123 ']) {
      expect(fromJson(LeaseGrantRequest, `{"ID":${text},"TTL":5}`)).toEqual({ ID: 7587862094711100123n, TTL: 5n });
    }
    expect(fromJson(LeaseGrantRequest, '{"ID":-9223372036854775808}').ID).toBe(-(2n ** 63n));
    expect(fromJson(ResponseHeader, '{"cluster_id":18446744073709551615}').cluster_id).toBe(2n ** 64n - 1n);
    expect(fromJson(LeaseGrantRequest, '{"TTL":1e3}').TTL).toBe(1000n);
  });

  it('leaves digits inside strings alone', () => {
    const text = '{"error":"a \\" , 12345678901234567890 \\\\","ID":12345678901234567}';
    expect(fromJson(LeaseGrantResponse, text)).toMatchObject({
      error: 'a " , 12345678901234567890 \\',
      ID: 12345678901234567n,
    });
    expect(fromJson(PutRequest, '{"x":[1.12345678901234567890, 12345678901234567e2],"key":"aw=="}').key).toBe('k');
  });

  it('saturates revisions', () => {
    expect(fromJson(RangeRequest, '{"limit":"9223372036854775807"}').limit).toBe(Number.MAX_SAFE_INTEGER);
    expect(fromJson(RangeRequest, '{"limit":9223372036854775807}').limit).toBe(Number.MAX_SAFE_INTEGER);
    expect(fromJson(RangeRequest, '{"limit":"-9223372036854775808"}').limit).toBe(Number.MIN_SAFE_INTEGER);
  });

  it('reads base64 of both alphabets, padded or not', () => {
    for (const text of ['+/8=', '-_8=', '+/8', '-_8']) {
      expect([...fromJson(PutRequest, { value: text }).value]).toEqual([0xfb, 0xff]);
      expect(fromJson(PutRequest, { key: text }).key).toBe('\xfb\xff');
    }
  });

  it('takes null for the default and ignores unknown fields', () => {
    expect(fromJson(PutRequest, '{"key":null,"lease":null,"nonsense":{"a":[1]},"prev_kv":true}')).toEqual({
      ...defaults(PutRequest),
      prev_kv: true,
    });
    expect(fromJson(TxnRequest, '{"compare":null,"success":[{"request_put":null}]}')).toEqual({
      compare: [],
      success: [{}],
      failure: [],
    });
  });

  it('is not impressed by __proto__ and other names every object has', () => {
    const text = '{"__proto__":{"key":"aw==","polluted":true},"constructor":1,"toString":2,"hasOwnProperty":3}';
    const message = fromJson(PutRequest, text);
    expect(message).toEqual(defaults(PutRequest));
    expect(Object.getPrototypeOf(message)).toBe(Object.prototype);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(failure(() => fromJson(Event, '{"type":"toString"}')).message).toContain('type');
  });

  it('reads enums by name and by number', () => {
    expect(fromJson(WatchCreateRequest, '{"filters":["NODELETE",0,17]}').filters).toEqual([1, 0, 17]);
  });

  it.each([
    [PutRequest, '{"key":"a"}', 'key'],
    [PutRequest, '{"key":5}', 'key'],
    [PutRequest, '{"key":"a!=="}', 'key'],
    [PutRequest, '{"key":"aw="}', 'key'],
    [PutRequest, '{"prev_kv":"true"}', 'prev_kv'],
    [PutRequest, '{"prevKv":1}', 'prev_kv'],
    [PutRequest, '{"lease":"12x"}', 'lease'],
    [PutRequest, '{"lease":""}', 'lease'],
    [PutRequest, '{"lease":1.5}', 'lease'],
    [PutRequest, '{"lease":"9223372036854775808"}', 'lease'],
    [PutRequest, `{"lease":${'9'.repeat(400)}}`, 'lease'],
    [ResponseHeader, '{"member_id":-1}', 'member_id'],
    [ResponseHeader, '{"raft_term":"-1"}', 'raft_term'],
    [ResponseHeader, '{"cluster_id":"18446744073709551616"}', 'cluster_id'],
    [Event, '{"type":"UPDATE"}', 'type'],
    [Event, '{"type":2147483648}', 'type'],
    [Event, '{"kv":[]}', 'kv'],
    [Event, '{"kv":{"version":{}}}', 'kv.version'],
    [TxnRequest, '{"compare":{}}', 'compare'],
    [TxnRequest, '{"success":[{},{"request_put":{"value":0}}]}', 'success[1].request_put.value'],
    [TxnRequest, '{"success":[null]}', 'success[0]'],
    [RequestOp, '{"request_put":{},"requestRange":{}}', 'request_range'],
    [LeaseGrantResponse, '{"error":7}', 'error'],
  ] as const)('%#: names the field at fault', (type, text, field) => {
    const error = failure(() => fromJson<object>(type, text));
    expect(error.status).toBe(GrpcStatus.INVALID_ARGUMENT);
    expect(error.message).toContain(`field ${field}`);
  });

  it.each(['', '{', '[]', '5', 'null', '"x"', '{"a":1}}', '{"ID":0123456789012345678}', "{'ID':1}"])(
    'refuses %j',
    (text) => {
      expect(failure(() => fromJson(LeaseGrantRequest, text)).status).toBe(GrpcStatus.INVALID_ARGUMENT);
    },
  );

  it('survives hostile nesting, known and unknown', () => {
    const txn = (levels: number) => `${'{"success":[{"request_txn":'.repeat(levels)}{}${'}]}'.repeat(levels)}`;
    expect(() => fromJson(TxnRequest, txn(MESSAGE_DEPTH_MAX / 2 - 1))).not.toThrow();
    expect(failure(() => fromJson(TxnRequest, txn(MESSAGE_DEPTH_MAX / 2))).message).toContain('deeper than 100');
    expect(failure(() => fromJson(TxnRequest, txn(100_000))).status).toBe(GrpcStatus.INVALID_ARGUMENT);
    const arrays = `{"x":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)},"key":"aw=="}`;
    expect(fromJson(PutRequest, arrays).key).toBe('k');
    expect(() => fromJson(InternalRequest, `{"txn":${txn(MESSAGE_DEPTH_MAX / 2 - 1)}}`)).not.toThrow();
  });

  it('describes the same message as the binary form', () => {
    const fromText = fromJson(WatchRequest, '{"create_request":{"key":"Zm9v","prevKv":true,"startRevision":"7"}}');
    const inMemory = {
      create_request: { ...defaults(WatchCreateRequest), key: 'foo', prev_kv: true, start_revision: 7 },
    };
    expect(encode(WatchRequest, fromText)).toEqual(encode(WatchRequest, inMemory));
  });
});
