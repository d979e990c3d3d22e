import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GrpcStatus, RosterError } from '../../core/errors.ts';
import { defaults, encode } from '../../core/wire/binary.ts';
import { fromJson, toJson } from '../../core/wire/json.ts';
import { endOfValue, JSON_DEPTH_MAX } from '../../core/wire/json-text.ts';
import {
  Compare,
  Event,
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
import { InternalRequest } from '../../core/wire/stored.ts';
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
        expect(fromJson(type, JSON.stringify(JSON.parse(text), null, 2))).toEqual(message);
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
      expect([...fromJson(PutRequest, JSON.stringify({ value: text })).value]).toEqual([0xfb, 0xff]);
      expect(fromJson(PutRequest, JSON.stringify({ key: text })).key).toBe('\xfb\xff');
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
    expect(fromJson(Event, '{"type":"toString"}').type).toBe(0);
  });

  it('reads enums by name and by number', () => {
    expect(fromJson(WatchCreateRequest, '{"filters":["NODELETE",0,17]}').filters).toEqual([1, 0, 17]);
  });

  it.each([
    [PutRequest, '{"key":"a"}', '(line 1:8): invalid value for bytes field key: "a"'],
    [PutRequest, '{"key":5}', '(line 1:8): invalid value for bytes field key: 5'],
    [PutRequest, '{"key":"a!=="}', '(line 1:8): invalid value for bytes field key: "a!=="'],
    [PutRequest, '{"key":"aw="}', '(line 1:8): invalid value for bytes field key: "aw="'],
    [PutRequest, '{"key":"+_8="}', '(line 1:8): invalid value for bytes field key: "+_8="'],
    [PutRequest, '{"prev_kv":"true"}', '(line 1:12): invalid value for bool field prevKv: "true"'],
    [PutRequest, '{"prevKv":1}', '(line 1:11): invalid value for bool field prevKv: 1'],
    [PutRequest, '{\n  "é":1, "lease":"12x"}', '(line 2:18): invalid value for int64 field lease: "12x"'],
    [PutRequest, '{"lease":""}', '(line 1:10): invalid value for int64 field lease: ""'],
    [PutRequest, '{"lease":" 1"}', '(line 1:10): invalid value for int64 field lease: " 1"'],
    [PutRequest, '{"lease":"01"}', '(line 1:10): invalid value for int64 field lease: "01"'],
    [PutRequest, '{"lease":1.5}', '(line 1:10): invalid value for int64 field lease: 1.5'],
    [PutRequest, '{"lease":true}', '(line 1:10): invalid value for int64 field lease: true'],
    [
      PutRequest,
      '{"lease":"9223372036854775808"}',
      '(line 1:10): invalid value for int64 field lease: "9223372036854775808"',
    ],
    [ResponseHeader, '{"member_id":-1}', '(line 1:14): invalid value for uint64 field memberId: -1'],
    [ResponseHeader, '{"raft_term":"-1"}', '(line 1:14): invalid value for uint64 field raftTerm: "-1"'],
    [Event, '{"type":2147483648}', '(line 1:9): invalid value for enum field type: 2147483648'],
    [Event, '{"type":"1","type":1}', '(line 1:13): duplicate field "type"'],
    [PutRequest, '{"prev_kv":true,"prevKv":true}', '(line 1:17): duplicate field "prevKv"'],
    [Event, '{"kv":[]}', 'syntax error (line 1:7): unexpected token ['],
    [Event, '{"kv":{"version":{}}}', '(line 1:18): invalid value for int64 field version: {'],
    [TxnRequest, '{"compare":{}}', 'syntax error (line 1:12): unexpected token {'],
    [TxnRequest, '{"compare":"no"}', 'syntax error (line 1:12): unexpected token "no"'],
    [TxnRequest, '{"success":[{},{"request_put":{"value":0}}]}', '(line 1:40): invalid value for bytes field value: 0'],
    [TxnRequest, '{"success":[null]}', 'syntax error (line 1:13): unexpected token null'],
    [
      RequestOp,
      '{"request_put":{},"requestRange":{}}',
      '(line 1:19): error parsing "requestRange", oneof etcdserverpb.RequestOp.request is already set',
    ],
    [LeaseGrantResponse, '{"error":7}', '(line 1:10): invalid value for string field error: 7'],
    [LeaseGrantResponse, '{"error":"\\ud800"}', '(line 1:10): invalid value for string field error: "\\ud800"'],
    [LeaseGrantRequest, '[]', 'syntax error (line 1:1): unexpected token ['],
    [LeaseGrantRequest, 'null', 'syntax error (line 1:1): unexpected token null'],
    [LeaseGrantRequest, '"x"', 'syntax error (line 1:1): unexpected token "x"'],
  ] as const)('%#: says what is wrong in the words of protojson: %s %s', (type, text, message) => {
    const error = failure(() => fromJson<object>(type, text));
    expect(error.status).toBe(GrpcStatus.INVALID_ARGUMENT);
    expect(error.message).toBe(`proto: ${message}`);
  });

  it('shows only the beginning of a large value', () => {
    const error = failure(() => fromJson(PutRequest, `{"lease":${'9'.repeat(400)}}`));
    expect(error.message).toMatch(/field lease: 9{256}\.\.\.$/);
  });

  it.each([
    ['', 'unexpected EOF'],
    ['{', 'unexpected EOF'],
    ['{"a":1,', 'unexpected EOF'],
    ['{"a', 'unexpected EOF'],
    ['{"a":tru', 'unexpected EOF'],
    ['x', "invalid character 'x' looking for beginning of value"],
    ['{"a":}', "invalid character '}' looking for beginning of value"],
    ["{'ID':1}", "invalid character '\\'' looking for beginning of object key string"],
    ['{"a":1,}', "invalid character '}' looking for beginning of object key string"],
    ['{"a" 1}', "invalid character '1' after object key"],
    ['{"a":1 "b":2}', "invalid character '\"' after object key:value pair"],
    ['{"ID":0123}', "invalid character '1' after object key:value pair"],
    ['{"a":[1 2]}', "invalid character '2' after array element"],
    ['{"a":[1,]}', "invalid character ']' looking for beginning of value"],
    ['{"a":"\n"}', "invalid character '\\n' in string literal"],
    ['{"a":"\u0001"}', "invalid character '\\x01' in string literal"],
    ['{"a":"\\x"}', "invalid character 'x' in string escape code"],
    ['{"a":"\\u12g4"}', "invalid character 'g' in \\u hexadecimal character escape"],
    ['{"a":-x}', "invalid character 'x' in numeric literal"],
    ['{"a":1.x}', "invalid character 'x' after decimal point in numeric literal"],
    ['{"a":1ex}', "invalid character 'x' in exponent of numeric literal"],
    ['{"a":trie}', "invalid character 'i' in literal true (expecting 'u')"],
    ['{"a":nulx}', "invalid character 'x' in literal null (expecting 'l')"],
    ['é', "invalid character 'Ã' looking for beginning of value"],
  ])('refuses %j in the words of encoding/json', (text, message) => {
    const error = failure(() => fromJson(LeaseGrantRequest, text));
    expect([error.status, error.message]).toEqual([GrpcStatus.INVALID_ARGUMENT, message]);
  });

  it('a text that is no JSON is told before a value of the wrong type', () => {
    expect(failure(() => fromJson(PutRequest, '{"key":5,"value":x}')).message).toMatch(/^invalid character 'x'/);
  });

  it('accepts exactly what JSON.parse accepts, where there is one value', () => {
    const near = fc
      .json()
      .chain((text) =>
        fc
          .tuple(fc.nat(text.length), fc.constantFrom('', '{', '}', ',', '"', '\\', '1', 'e', '.', '-', ' ', 't'))
          .map(([at, more]) => text.slice(0, at) + more + text.slice(at + 1)),
      );
    fc.assert(
      fc.property(fc.oneof(fc.json(), near), (text) => {
        const object = `{"unknown":${text}}`;
        let valid = true;
        try {
          JSON.parse(object);
        } catch {
          valid = false;
        }
        const read = () => fromJson(LeaseGrantRequest, object);
        // Something may follow, so a text that JSON.parse refuses may begin with a value.
        if (valid) expect(read()).toEqual(defaults(LeaseGrantRequest));
        else {
          let end = -1;
          try {
            end = endOfValue(object, 0);
          } catch (error) {
            expect(error).toBeInstanceOf(RosterError);
          }
          if (end >= 0) expect(() => JSON.parse(object.slice(0, end))).not.toThrow();
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('reads whole numbers in any notation, and takes unknown names of values for none', () => {
    const id = (text: string) => fromJson(LeaseGrantRequest, `{"ID":${text}}`).ID;
    expect([id('1e3'), id('"1e3"'), id('1.0'), id('15.00e1'), id('100e-2'), id('-0')]).toEqual([
      1000n,
      1000n,
      1n,
      150n,
      1n,
      0n,
    ]);
    expect(failure(() => id('1e400')).message).toContain('invalid value');
    expect(fromJson(Event, '{"type":"UPDATE"}').type).toBe(0);
    expect(fromJson(WatchCreateRequest, '{"filters":["NOPE","NODELETE"]}').filters).toEqual([1]);
  });

  it('ignores what follows the first value, as a decoder of a stream does', () => {
    expect(fromJson(LeaseGrantRequest, ' {"ID":1}} x').ID).toBe(1n);
  });

  it('survives hostile nesting, known and unknown', () => {
    const txn = (levels: number) => `${'{"success":[{"request_txn":'.repeat(levels)}{}${'}]}'.repeat(levels)}`;
    expect(() => fromJson(TxnRequest, txn(MESSAGE_DEPTH_MAX / 2 - 1))).not.toThrow();
    expect(failure(() => fromJson(TxnRequest, txn(MESSAGE_DEPTH_MAX / 2))).message).toContain('deeper than 100');
    expect(failure(() => fromJson(TxnRequest, txn(100_000))).status).toBe(GrpcStatus.INVALID_ARGUMENT);
    const arrays = (depth: number) => `{"x":${'['.repeat(depth)}${']'.repeat(depth)},"key":"aw=="}`;
    expect(fromJson(PutRequest, arrays(JSON_DEPTH_MAX - 1)).key).toBe('k');
    expect(failure(() => fromJson(PutRequest, arrays(JSON_DEPTH_MAX))).message).toBe('exceeded max depth');
    expect(failure(() => fromJson(PutRequest, arrays(1_000_000))).message).toBe('exceeded max depth');
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
