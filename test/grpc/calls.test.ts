import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { GrpcStatus, otherError, rosterError } from '../../core/errors.ts';
import { AssertionError, assert } from '../../core/util/assert.ts';
import { decode } from '../../core/wire/binary.ts';
import { RangeResponse } from '../../core/wire/messages.ts';
import { grpcHandler, isGrpc } from '../../server/grpc/server.ts';
import { FrameType, Setting } from '../../server/http2/frames.ts';
import { RequestHeaders } from '../../server/http2/header-list.ts';
import { data, destroyClients, headers, open, rst, settings, settle, windowUpdate } from '../http2/support.ts';
import {
  begin,
  callHeaders,
  MAX_REQUEST_BYTES,
  PUT,
  prefixed,
  put,
  putRequest,
  putResponse,
  rangeRequest,
  revisionOf,
  rig,
  WATCH,
} from './rig.ts';

afterEach(destroyClients);

describe('unary calls', () => {
  it('request in, response out, in one write', async () => {
    const r = await rig();
    r.onUnary = ({ done }) => done(putResponse(7));
    r.client.writes = 0;
    await r.client.send(put(1, 'the key', [['token', 'secret']]));
    expect(r.unary[0]!.request).toMatchObject({ key: 'the key', value: new Uint8Array([0x76]) });
    expect(r.unary[0]!.call.metadata('token')).toBe('secret');
    expect(r.unary[0]!.call.metadata('__proto__')).toBeUndefined();
    expect(r.client.writes).toBe(1);
    const [head, tail] = r.client.headers(1);
    expect(head!.fields).toEqual([':status', '200', 'content-type', 'application/grpc']);
    expect(tail!.fields).toEqual(['grpc-status', '0']);
    expect(r.messages(1).map(revisionOf)).toEqual([7]);
    expect(r.client.resets).toEqual([]);
    expect(r.client.connection.streamCount).toBe(0);
  });

  it('the answer may come later, and not in the order of the requests', async () => {
    const r = await rig();
    await r.client.send(put(1), put(3), put(5));
    expect(r.unary).toHaveLength(3);
    r.client.writes = 0;
    for (const i of [2, 0, 1]) r.unary[i]!.done(putResponse(i));
    await settle();
    expect(r.client.writes).toBe(1);
    expect([1, 3, 5].map((id) => revisionOf(r.messages(id)[0]!))).toEqual([0, 1, 2]);
  });

  it('an error is a response of trailers only', async () => {
    const r = await rig();
    r.onUnary = ({ done }) => done(rosterError('EmptyKey'));
    await r.client.send(put(1));
    expect(r.client.headers(1)).toHaveLength(1);
    expect(r.client.headers(1)[0]!.fields).toEqual([
      ':status',
      '200',
      'content-type',
      'application/grpc',
      'grpc-status',
      '3',
      'grpc-message',
      'etcdserver: key is not provided',
    ]);
    expect(r.client.of(FrameType.DATA)).toHaveLength(0);
  });

  it('messages of errors are percent-encoded', async () => {
    const r = await rig();
    r.onUnary = ({ done }) => done(otherError(GrpcStatus.UNKNOWN, '100% of größe\n'));
    await r.client.send(put(1));
    expect(r.client.headers(1)[0]!.get('grpc-message')).toBe('100%25 of gr%C3%B6%C3%9Fe%0A');
  });

  it('however its bytes are cut, a request is whole before it is handled', async () => {
    const whole = put(1, 'cut');
    const end = whole.length - 9 - 5 - putRequest('cut').length;
    const body = prefixed(putRequest('cut'));
    for (let at = 0; at <= body.length; at++) {
      const r = await rig();
      r.onUnary = ({ done }) => done(putResponse(1));
      await r.client.send(whole.subarray(0, end), data(1, body.subarray(0, at)), data(1, body.subarray(at), true));
      expect(r.status(1), `cut at ${at}`).toBe('0');
      expect(r.unary[0]!.request.key).toBe('cut');
      destroyClients();
    }
  });

  it('one byte in each frame', async () => {
    const r = await rig();
    r.onUnary = ({ done }) => done(putResponse(1));
    const bytes = [...prefixed(putRequest('k'.repeat(200)))].map((byte) => data(1, Buffer.from([byte])));
    await r.client.send(begin(1, PUT), ...bytes, data(1, '', true));
    expect(r.unary[0]!.request.key).toBe('k'.repeat(200));
    expect(r.status(1)).toBe('0');
  });

  it('an empty message is a message', async () => {
    const r = await rig();
    r.onUnary = ({ done }) => done(putResponse(1));
    await r.client.send(begin(1, PUT), data(1, prefixed(Buffer.alloc(0)), true));
    await r.client.send(
      begin(3, PUT),
      data(3, prefixed(Buffer.alloc(0)).subarray(0, 2)),
      data(3, Buffer.alloc(3), true),
    );
    expect([r.status(1), r.status(3)]).toEqual(['0', '0']);
    expect(r.unary.map((seen) => seen.request.key)).toEqual(['', '']);
  });

  it('no message, two messages, half a message', async () => {
    const r = await rig();
    const no = 'cardinality violation: received no request message from non-client-streaming RPC';
    const many = 'cardinality violation: received multiple request messages for non-client-streaming RPC';
    const message = prefixed(putRequest('k'));
    await r.client.send(headers(1, callHeaders(PUT)), begin(3, PUT), data(3, '', true));
    await r.client.send(begin(5, PUT), data(5, Buffer.concat([message, message]), true));
    await r.client.send(begin(7, PUT), data(7, message), data(7, message, true));
    await r.client.send(begin(9, PUT), data(9, message.subarray(0, 7), true));
    await r.client.send(begin(11, PUT), data(11, message.subarray(0, 3), true));
    expect([1, 3, 5, 7, 9, 11].map((id) => r.status(id))).toEqual([
      `13 ${no}`,
      `13 ${no}`,
      `13 ${many}`,
      `13 ${many}`,
      '13 unexpected EOF',
      '13 unexpected EOF',
    ]);
    expect(r.unary).toEqual([]);
    expect(r.bugs).toEqual([]);
  });

  it('bytes that are no message', async () => {
    const r = await rig();
    await r.client.send(begin(1, PUT), data(1, prefixed(Buffer.from([0x0a, 0x7f])), true));
    expect(r.status(1)).toMatch(/^13 grpc: failed to unmarshal the received message: proto: cannot parse/);
    expect(r.bugs).toEqual([]);
  });

  it('a method that answers twice, or throws, is a bug', async () => {
    const r = await rig();
    r.onUnary = () => {
      throw new TypeError('undefined is not a function');
    };
    await r.client.send(put(1));
    expect(r.status(1)).toBe('13 internal error');
    expect(r.bugs).toEqual([new TypeError('undefined is not a function')]);
    r.onUnary = ({ done }) => {
      done(putResponse(1));
      done(putResponse(2));
    };
    await r.client.send(put(3));
    expect(r.status(3)).toBe('0');
    expect((r.bugs[1] as Error).message).toContain('answered twice');
  });

  it('after a failed assertion nothing is answered', async () => {
    const r = await rig();
    r.onUnary = () => assert(false, 'impossible');
    await r.client.send(put(1));
    expect(r.client.frames.filter((one) => one.streamId === 1)).toEqual([]);
    expect(r.bugs[0]).toBeInstanceOf(AssertionError);
  });
});

describe('requests that are refused', () => {
  it('paths', async () => {
    const r = await rig();
    const paths: [string, string][] = [
      ['/no.Service/Method', 'unknown service no.Service'],
      ['/etcdserverpb.KV/Nothing', 'unknown method Nothing for service etcdserverpb.KV'],
      ['/etcdserverpb.KV/', 'unknown method  for service etcdserverpb.KV'],
      ['/a/b/c', 'unknown service a/b'],
      ['etcdserverpb.KV/Put', 'malformed method name: "etcdserverpb.KV/Put"'],
      ['/Put', 'malformed method name: "/Put"'],
      ['*', 'malformed method name: "*"'],
      ['/__proto__/constructor', 'unknown service __proto__'],
    ];
    let id = 1;
    for (const [path, message] of paths) {
      await r.client.send(open(id, callHeaders(path)));
      expect(r.status(id)).toBe(`12 ${message}`.trim());
      expect(r.client.resets.at(-1)).toBe(`${id} NO_ERROR`);
      id += 2;
    }
  });

  const withType = (type: string | undefined) =>
    callHeaders(PUT)
      .filter(([name]) => name !== 'content-type')
      .concat(type === undefined ? [] : [['content-type', type]]);

  it('content types', async () => {
    const r = await rig();
    r.onUnary = ({ done }) => done(putResponse(1));
    const body = (id: number) => data(id, prefixed(putRequest('k')), true);
    let id = 1;
    for (const type of ['application/grpc', 'application/grpc+proto', 'application/grpc;charset=utf-8']) {
      await r.client.send(open(id, withType(type)), body(id));
      expect(r.status(id), type).toBe('0');
      id += 2;
    }
    for (const type of ['application/grpc+json', 'application/grpc-web', 'application/json', '', undefined]) {
      await r.client.send(open(id, withType(type)), body(id));
      expect(r.client.status(id), type).toBe('415');
      expect(r.status(id)).toBe(`3 invalid gRPC request content-type "${type ?? ''}"`);
      id += 2;
    }
  });

  it('isGrpc goes by the content type', () => {
    const is = (type?: string) =>
      isGrpc(new RequestHeaders('POST', '/', 'http', 'a', -1, type === undefined ? [] : ['content-type', type]));
    expect(['application/grpc', 'application/grpc+json', 'application/grpc;x=y'].map(is)).toEqual([true, true, true]);
    expect(['application/grpc-web', 'application/json', undefined].map(is)).toEqual([false, false, false]);
  });

  it('methods other than POST', async () => {
    const r = await rig();
    await r.client.send(headers(1, [[':method', 'GET'], ...callHeaders(PUT).slice(1)]));
    expect(r.client.status(1)).toBe('405');
    expect(r.status(1)).toBe('13 Received a HEADERS frame with :method "GET" which should be POST');
  });

  it('messages of the limit are taken, one byte more is not, and what follows is ignored', async () => {
    const r = await rig();
    r.onUnary = ({ done }) => done(putResponse(1));
    const overhead = putRequest('k', Buffer.alloc(200)).length - 200;
    const exact = putRequest('k', Buffer.alloc(MAX_REQUEST_BYTES - overhead));
    expect(exact).toHaveLength(MAX_REQUEST_BYTES);
    await r.client.send(begin(1, PUT), data(1, prefixed(exact), true));
    expect(r.status(1)).toBe('0');
    const more = prefixed(Buffer.concat([exact, Buffer.alloc(1)]));
    const tooLarge = `8 grpc: received message larger than max (${MAX_REQUEST_BYTES + 1} vs. ${MAX_REQUEST_BYTES})`;
    await r.client.send(begin(3, PUT), data(3, more, true));
    expect(r.status(3)).toBe(tooLarge);
    await r.client.send(begin(5, PUT), data(5, more.subarray(0, 5)));
    expect(r.status(5)).toBe(tooLarge);
    expect(r.client.resets).toEqual(['5 NO_ERROR']);
    await r.client.send(data(5, more.subarray(5), true), put(7));
    expect(r.status(7)).toBe('0');
    expect(r.unary).toHaveLength(2);
  });

  it('four gigabytes announced are refused at once', async () => {
    const r = await rig();
    await r.client.send(begin(1, PUT), data(1, Buffer.from([0, 0xff, 0xff, 0xff, 0xff])));
    expect(r.status(1)).toBe('8 grpc: received message larger than max (4294967295 vs. 1000)');
  });

  it('unfinished messages of all calls share a limit', async () => {
    const r = await rig({ maxRequestBytes: 100_000, assemblyBytesMax: 40_000 });
    const half = prefixed(Buffer.alloc(50_000)).subarray(0, 16_000);
    await r.client.send(begin(1, PUT), data(1, half), begin(3, PUT), data(3, half));
    expect(r.client.headers(1)).toEqual([]);
    await r.client.send(begin(5, PUT), data(5, half));
    expect(r.status(5)).toBe('8 too many requests are being received at once');
    await r.client.send(rst(1), begin(7, PUT), data(7, half)); // a place is free again
    expect(r.client.headers(7)).toEqual([]);
  });
});

describe('compression', () => {
  const body = putRequest('compressed', Buffer.alloc(500, 0x61));

  it('gzip is understood when the request says so', async () => {
    const r = await rig();
    r.onUnary = ({ done }) => done(putResponse(1));
    await r.client.send(begin(1, PUT, [['grpc-encoding', 'gzip']]), data(1, prefixed(gzipSync(body), 1), true));
    await r.client.send(begin(3, PUT, [['grpc-encoding', 'gzip']]), data(3, prefixed(body), true));
    expect([r.status(1), r.status(3)]).toEqual(['0', '0']);
    expect(r.unary.map((seen) => seen.request.key)).toEqual(['compressed', 'compressed']);
    expect(r.unary[0]!.request.value).toHaveLength(500);
  });

  it('the size limit is of the inflated message', async () => {
    const r = await rig();
    r.onUnary = ({ done }) => done(putResponse(1));
    const size = (bytes: number) => {
      const overhead = putRequest('k', Buffer.alloc(300)).length - 300;
      return prefixed(gzipSync(putRequest('k', Buffer.alloc(bytes - overhead))), 1);
    };
    await r.client.send(begin(1, PUT, [['grpc-encoding', 'gzip']]), data(1, size(MAX_REQUEST_BYTES), true));
    await r.client.send(begin(3, PUT, [['grpc-encoding', 'gzip']]), data(3, size(MAX_REQUEST_BYTES + 1), true));
    const bomb = prefixed(gzipSync(Buffer.alloc(900_000)), 1);
    await r.client.send(begin(5, PUT, [['grpc-encoding', 'gzip']]), data(5, bomb, true));
    expect(r.status(1)).toBe('0');
    expect(r.status(3)).toBe(`8 grpc: received message after decompression larger than max ${MAX_REQUEST_BYTES}`);
    expect(r.status(5)).toBe(r.status(3));
  });

  it('what cannot be', async () => {
    const r = await rig();
    const gzip = [['grpc-encoding', 'gzip']] as const;
    await r.client.send(begin(1, PUT), data(1, prefixed(body, 1), true));
    await r.client.send(begin(3, PUT, [['grpc-encoding', 'identity']]), data(3, prefixed(body, 1), true));
    await r.client.send(begin(5, PUT), data(5, prefixed(body, 2), true));
    await r.client.send(begin(7, PUT, gzip), data(7, prefixed(Buffer.from('no gzip'), 1), true));
    await r.client.send(begin(9, PUT, [['grpc-encoding', 'snappy']]), data(9, prefixed(body, 1), true));
    expect([1, 3, 5].map((id) => r.status(id))).toEqual([
      '13 grpc: compressed flag set with identity or empty encoding',
      '13 grpc: compressed flag set with identity or empty encoding',
      '13 grpc: received unexpected payload format 2',
    ]);
    expect(r.status(7)).toMatch(/^13 grpc: failed to decompress the message: /);
    expect(r.status(9)).toBe('12 grpc: Decompressor is not installed for grpc-encoding "snappy"');
    expect(r.client.headers(9)[0]!.get('grpc-accept-encoding')).toBe('identity,gzip');
    expect(r.bugs).toEqual([]);
  });
});

describe('streaming calls', () => {
  it('messages both ways, in order, until both ends', async () => {
    const r = await rig();
    await r.client.send(begin(1, WATCH));
    const seen = r.streams[0]!;
    expect(r.client.headers(1)).toEqual([]);
    seen.responder.send({ count: 1 });
    await r.client.send(data(1, Buffer.concat(['a', 'b', 'c'].map((key) => prefixed(rangeRequest(key))))));
    seen.responder.send({ count: 2 });
    await r.client.send(data(1, prefixed(rangeRequest('d')).subarray(0, 3)));
    await r.client.send(data(1, prefixed(rangeRequest('d')).subarray(3), true));
    expect(seen.requests.map((request) => request.key)).toEqual(['a', 'b', 'c', 'd']);
    expect(seen.halfClosed).toBe(true);
    seen.responder.send({ count: 3 });
    seen.responder.end();
    seen.responder.end();
    seen.responder.send({ count: 4 });
    await settle();
    expect(r.messages(1).map((bytes) => decode(RangeResponse, bytes).count)).toEqual([1, 2, 3]);
    expect(r.client.headers(1)).toHaveLength(2);
    expect(r.status(1)).toBe('0');
    expect(seen.cancels).toBe(0);
    expect(r.client.resets).toEqual([]);
  });

  it('the responses of one turn leave in one write', async () => {
    const r = await rig();
    await r.client.send(begin(1, WATCH), begin(3, WATCH));
    r.client.writes = 0;
    for (let i = 0; i < 50; i++) for (const { responder } of r.streams) responder.send({ count: i });
    await settle();
    expect(r.client.writes).toBe(1);
  });

  it('ends with an error, before and after messages, and stops the request', async () => {
    const r = await rig();
    await r.client.send(begin(1, WATCH), begin(3, WATCH));
    r.streams[0]!.responder.end(rosterError('NoLeader'));
    r.streams[1]!.responder.send({ count: 1 });
    r.streams[1]!.responder.end(rosterError('NoLeader'));
    await settle();
    expect([r.status(1), r.status(3)]).toEqual(['14 etcdserver: no leader', '14 etcdserver: no leader']);
    expect([r.client.headers(1).length, r.client.headers(3).length]).toEqual([1, 2]);
    expect(r.client.resets).toEqual(['1 NO_ERROR', '3 NO_ERROR']);
    await r.client.send(data(1, prefixed(rangeRequest('late'))), data(3, '', true));
    expect(r.streams.map((seen) => [seen.requests.length, seen.cancels, seen.halfClosed])).toEqual([
      [0, 0, false],
      [0, 0, false],
    ]);
  });

  it('a method may answer before it has returned', async () => {
    const r = await rig();
    r.onOpen = ({ responder }) => {
      responder.send({ count: 1 });
      responder.end();
    };
    await r.client.send(begin(1, WATCH), data(1, prefixed(rangeRequest('late')), true));
    expect(r.status(1)).toBe('0');
    expect(r.messages(1)).toHaveLength(1);
    expect(r.streams[0]).toMatchObject({ cancels: 0, requests: [] });
  });

  it('says when to hold back, and when to go on', async () => {
    const r = await rig();
    await r.client.send(settings([[Setting.INITIAL_WINDOW_SIZE, 100]]), windowUpdate(0, 1_000_000), begin(1, WATCH));
    const { responder } = r.streams[0]!;
    let drains = 0;
    responder.onDrain = () => {
      drains++;
    };
    const big = { kvs: [{ key: 'k', value: Buffer.alloc(40_000) }] };
    expect(responder.send(big)).toBe(true);
    expect(responder.send(big)).toBe(false);
    await r.client.send(windowUpdate(1, 40_000));
    expect(drains).toBe(0);
    await r.client.send(windowUpdate(1, 40_000));
    expect(drains).toBe(1);
    responder.end();
    await r.client.send(windowUpdate(1, 1_000));
    expect(r.messages(1)).toHaveLength(2);
    expect(r.status(1)).toBe('0');
  });

  it('bad messages end the call, and the method hears of it', async () => {
    const r = await rig();
    await r.client.send(begin(1, WATCH), data(1, prefixed(Buffer.from([0xff]))));
    await r.client.send(begin(3, WATCH), data(3, prefixed(Buffer.alloc(MAX_REQUEST_BYTES + 1))));
    await r.client.send(begin(5, WATCH), data(5, prefixed(rangeRequest('k')).subarray(0, 4), true));
    expect(r.status(1)).toMatch(/^13 grpc: failed to unmarshal/);
    expect(r.status(3)).toMatch(/^8 grpc: received message larger than max/);
    expect(r.status(5)).toBe('13 unexpected EOF');
    expect(r.streams.map((seen) => [seen.cancels, seen.call.cancelled])).toEqual([
      [1, true],
      [1, true],
      [1, true],
    ]);
  });

  it('endStreams ends them all, and leaves unary calls alone', async () => {
    const r = await rig();
    await r.client.send(begin(1, WATCH), begin(3, WATCH), put(5));
    r.handler.endStreams(rosterError('Stopped'));
    await settle();
    expect([r.status(1), r.status(3), r.status(5)]).toEqual([
      '14 etcdserver: server stopped',
      '14 etcdserver: server stopped',
      undefined,
    ]);
    expect(r.streams.map((seen) => seen.cancels)).toEqual([1, 1]);
    r.unary[0]!.done(putResponse(1));
    await settle();
    expect(r.status(5)).toBe('0');
    r.handler.endStreams(rosterError('Stopped'));
  });

  it('a call that is cancelled before the method has returned is cancelled after', async () => {
    const r = await rig();
    r.onOpen = () => r.handler.endStreams(rosterError('Stopped'));
    await r.client.send(begin(1, WATCH));
    expect(r.status(1)).toBe('14 etcdserver: server stopped');
    expect(r.streams[0]).toMatchObject({ cancels: 1 });
  });

  it('a method that throws is a bug wherever it does', async () => {
    const r = await rig();
    r.onOpen = () => {
      throw new Error('in open');
    };
    await r.client.send(begin(1, WATCH));
    expect(r.status(1)).toBe('13 internal error');
    expect(r.bugs).toEqual([new Error('in open')]);
  });
});

describe('the table of methods', () => {
  it('refuses a path twice, or none', () => {
    const options = { maxRequestBytes: 1, onBug: () => {} };
    const method = (path: string) => ({ kind: 'unary', path, request: {}, response: {}, handle() {} }) as never;
    expect(() => grpcHandler([method('/a/b'), method('/a/b')], options)).toThrow('given twice');
    expect(() => grpcHandler([method('a/b')], options)).toThrow('not /package.Service/Method');
  });
});
