import { describe, expect, it } from 'vitest';
import { CLIENT_PREFACE, Flag, FrameType, frame, Setting } from '../../server/http2/frames.ts';
import { encodeHeaderBlock } from '../../server/http2/hpack.ts';
import {
  Client,
  data,
  headers,
  hex,
  open,
  POST,
  ping,
  REQUEST,
  rst,
  settings,
  settle,
  windowUpdate,
  word,
} from './support.ts';

/**
 * RFC 9113 clause by clause: what a client sends, and how it is answered. Every case runs with its bytes in one piece,
 * cut in two at every offset, and one by one.
 */

interface Expected {
  /** The connection ends with this error. */
  goaway?: string;
  /** The stream errors, as `id CODE`. */
  resets?: string[];
  /** Streams answered 200. */
  ok?: number[];
  /** Payloads of PING acknowledgements. */
  pongs?: string[];
  statuses?: Record<number, string>;
}

interface Case {
  clause: string;
  name: string;
  bytes: Buffer;
  expected: Expected;
  /** The bytes begin with the preface themselves. */
  raw?: boolean;
}

const all = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts);
const padded = (type: number, flags: number, id: number, payload: Uint8Array, padding: number): Buffer =>
  frame(type, flags | Flag.PADDED, id, all(Buffer.from([padding]), payload, Buffer.alloc(padding)));
const block = encodeHeaderBlock(REQUEST);
const request = (extra: [string, string][], base = REQUEST) => headers(1, [...base, ...extra]);
const continuation = (id: number, fragment: Uint8Array, flags = 0): Buffer =>
  frame(FrameType.CONTINUATION, flags, id, fragment);

const cases: Case[] = [];
function rfc(clause: string, name: string, bytes: Buffer, expected: Expected): void {
  cases.push({ clause, name, bytes, expected });
}
function raw(clause: string, name: string, bytes: Buffer, expected: Expected): void {
  cases.push({ clause, name, bytes, expected, raw: true });
}

const PROTOCOL = { goaway: 'PROTOCOL_ERROR' };
const SIZE = { goaway: 'FRAME_SIZE_ERROR' };
const CLOSED = { goaway: 'STREAM_CLOSED' };
const COMPRESSION = { goaway: 'COMPRESSION_ERROR' };
const OK = { ok: [1] };
const MALFORMED = { resets: ['1 PROTOCOL_ERROR'] };

// 3.4 preface
raw('3.4', 'a wrong preface', Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n'), PROTOCOL);
raw('3.4', 'an HTTP/1.1 request', Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), PROTOCOL);
raw('3.4', 'a first frame that is not SETTINGS', all(CLIENT_PREFACE, ping()), PROTOCOL);
raw('3.4', 'an acknowledgement first', all(CLIENT_PREFACE, frame(4, Flag.ACK, 0, hex(''))), PROTOCOL);
raw('3.4', 'settings and a request at once', all(CLIENT_PREFACE, settings([]), headers(1)), OK);

// 4.1, 4.2 frames
rfc('4.1', 'a frame of an unknown type is ignored', all(frame(0x16, 0, 0, Buffer.from('abcdefgh')), ping()), {
  pongs: ['abcdefgh'],
});
rfc('4.1', 'undefined flags are ignored', frame(FrameType.PING, 0xfe, 0, Buffer.from('abcdefgh')), {
  pongs: ['abcdefgh'],
});
rfc('4.1', 'the reserved bit is ignored', hex('000008 06 00 80000000 6162636465666768'), { pongs: ['abcdefgh'] });
rfc('4.2', 'a DATA frame of the maximal size', all(open(1), data(1, Buffer.alloc(16_384), true)), OK);
rfc('4.2', 'a DATA frame of one byte more', all(open(1), frame(0, 1, 1, Buffer.alloc(16_385))), SIZE);
rfc('4.2', 'a HEADERS frame that is too large', frame(1, 5, 1, Buffer.alloc(16_385)), SIZE);

// 4.3 header compression
rfc('4.3', 'a block that cannot be decoded', frame(1, 5, 1, hex('82 86 84 ff')), COMPRESSION);
rfc(
  '4.3',
  'HEADERS, CONTINUATION, PRIORITY in between',
  all(frame(1, 1, 1, block), frame(2, 0, 1, hex('0000000000')), continuation(1, block, 4)),
  PROTOCOL,
);
rfc('4.3', 'HEADERS of another stream in between', all(frame(1, 1, 1, block), headers(3)), PROTOCOL);
rfc('4.3', 'an unknown frame in between', all(frame(1, 1, 1, block), frame(0x16, 0, 0, hex('00'))), PROTOCOL);

// 5.1 stream states
rfc('5.1', 'idle: DATA', data(1, 'x', true), PROTOCOL);
rfc('5.1', 'idle: RST_STREAM', rst(1), PROTOCOL);
rfc('5.1', 'idle: WINDOW_UPDATE', windowUpdate(1, 100), PROTOCOL);
rfc('5.1', 'idle: CONTINUATION', continuation(1, block, 4), PROTOCOL);
rfc('5.1', 'idle: PRIORITY is allowed', all(frame(2, 0, 3, hex('0000000000')), headers(1)), OK);
// 5.1 half-closed (remote): the handler of path /hold does not answer
const held = headers(1, [...REQUEST.slice(0, 2), [':path', '/hold']]);
rfc('5.1', 'half-closed (remote): DATA', all(held, data(1, 'x', true)), { resets: ['1 STREAM_CLOSED'] });
rfc('5.1', 'half-closed (remote): HEADERS', all(held, headers(1)), { resets: ['1 STREAM_CLOSED'] });
rfc('5.1', 'half-closed (remote): CONTINUATION', all(held, continuation(1, block, 4)), PROTOCOL);
rfc(
  '5.1',
  'half-closed (remote): WINDOW_UPDATE, PRIORITY and RST_STREAM are allowed',
  all(held, windowUpdate(1, 1), frame(2, 0, 1, hex('0000000000')), rst(1), headers(3)),
  { ok: [3] },
);
rfc('5.1', 'closed: DATA after RST_STREAM', all(open(1), rst(1), data(1, 'x')), CLOSED);
rfc('5.1', 'closed: HEADERS after RST_STREAM', all(open(1), rst(1), headers(1)), CLOSED);
rfc('5.1', 'closed: CONTINUATION after RST_STREAM', all(open(1), rst(1), continuation(1, block, 4)), PROTOCOL);
rfc('5.1', 'closed: DATA after both have ended', all(headers(1), data(1, 'x')), { ...CLOSED, ok: [1] });
rfc('5.1', 'closed: HEADERS after both have ended', all(headers(1), headers(1)), { ...CLOSED, ok: [1] });
rfc(
  '5.1',
  'closed: WINDOW_UPDATE, RST_STREAM, PRIORITY are ignored',
  all(headers(1), windowUpdate(1, 9), rst(1), frame(2, 0, 1, hex('0000000000')), headers(3)),
  { ok: [1, 3] },
);
rfc(
  '5.1',
  'reset by us: late DATA, trailers and updates are ignored',
  all(open(1), windowUpdate(1, 0), data(1, 'late'), windowUpdate(1, 5), headers(1), headers(3)),
  { resets: ['1 PROTOCOL_ERROR'], ok: [3] },
);

// 5.1.1 stream identifiers
rfc('5.1.1', 'an even id', headers(2), PROTOCOL);
rfc('5.1.1', 'stream 0', headers(0), PROTOCOL);
rfc('5.1.1', 'an id lower than the last', all(headers(5), headers(3)), { ...PROTOCOL, ok: [5] });
rfc('5.1.1', 'the highest id', headers(0x7fffffff), { ok: [0x7fffffff] });

// 5.3.1 dependencies (deprecated, but a stream on itself is still refused)
rfc(
  '5.3.1',
  'HEADERS that depend on themselves',
  frame(1, 5 | Flag.PRIORITY, 1, all(hex('00000001 ff'), block)),
  MALFORMED,
);
rfc('5.3.1', 'PRIORITY that depends on itself, idle', frame(2, 0, 3, hex('00000003 00')), PROTOCOL);
rfc('5.3.1', 'PRIORITY that depends on itself, open', all(open(1), frame(2, 0, 1, hex('00000001 00'))), MALFORMED);

// 6.1 DATA
rfc('6.1', 'stream 0', data(0, 'x'), PROTOCOL);
rfc('6.1', 'padding', all(open(1), padded(0, 1, 1, Buffer.from('x'), 200)), OK);
rfc('6.1', 'nothing but padding', all(open(1), padded(0, 1, 1, hex(''), 5)), OK);
rfc('6.1', 'padding as long as the payload', all(open(1), frame(0, Flag.PADDED | 1, 1, hex('04 00000000'))), OK);
rfc('6.1', 'padding longer than the payload', all(open(1), frame(0, Flag.PADDED | 1, 1, hex('05 00000000'))), PROTOCOL);
rfc('6.1', 'padded and empty', all(open(1), frame(0, Flag.PADDED | 1, 1, hex(''))), SIZE);

// 6.2 HEADERS
rfc('6.2', 'padding and priority', padded(1, 5 | Flag.PRIORITY, 1, all(hex('00000003 10'), block), 7), OK);
rfc('6.2', 'padding longer than the block', frame(1, 5 | Flag.PADDED, 1, hex('05 82868401')), PROTOCOL);
rfc('6.2', 'too short for its priority', frame(1, 5 | Flag.PRIORITY, 1, hex('0000')), SIZE);
rfc('6.2', 'padded and empty', frame(1, 5 | Flag.PADDED, 1, hex('')), SIZE);

// 6.3 PRIORITY
rfc('6.3', 'stream 0', frame(2, 0, 0, hex('00000001 00')), PROTOCOL);
rfc('6.3', 'not 5 bytes', frame(2, 0, 1, hex('00000001')), SIZE);

// 6.4 RST_STREAM
rfc('6.4', 'stream 0', rst(0), PROTOCOL);
rfc('6.4', 'not 4 bytes', all(open(1), frame(3, 0, 1, hex('000008'))), SIZE);
rfc('6.4', 'cancels the request', all(open(1), rst(1), headers(3)), { ok: [3] });

// 6.5 SETTINGS
rfc('6.5', 'an acknowledgement with a payload', frame(4, Flag.ACK, 0, Buffer.alloc(6)), SIZE);
rfc('6.5', 'on a stream', frame(4, 0, 1, hex('')), PROTOCOL);
rfc('6.5', 'not a multiple of 6', frame(4, 0, 0, hex('000300')), SIZE);
rfc('6.5.2', 'ENABLE_PUSH 2', settings([[Setting.ENABLE_PUSH, 2]]), PROTOCOL);
rfc('6.5.2', 'ENABLE_PUSH 1', all(settings([[Setting.ENABLE_PUSH, 1]]), headers(1)), OK);
rfc('6.5.2', 'INITIAL_WINDOW_SIZE 2^31', settings([[Setting.INITIAL_WINDOW_SIZE, 2 ** 31]]), {
  goaway: 'FLOW_CONTROL_ERROR',
});
rfc('6.5.2', 'MAX_FRAME_SIZE below 2^14', settings([[Setting.MAX_FRAME_SIZE, 16_383]]), PROTOCOL);
rfc('6.5.2', 'MAX_FRAME_SIZE above 2^24-1', settings([[Setting.MAX_FRAME_SIZE, 2 ** 24]]), PROTOCOL);
rfc('6.5.2', 'MAX_FRAME_SIZE 2^24-1', all(settings([[Setting.MAX_FRAME_SIZE, 2 ** 24 - 1]]), headers(1)), OK);
rfc('6.5.2', 'an unknown setting is ignored', all(settings([[0xfff0, 7]]), headers(1)), OK);
rfc(
  '6.5.3',
  'the same setting twice: the last holds',
  all(
    settings([
      [Setting.INITIAL_WINDOW_SIZE, 0],
      [Setting.INITIAL_WINDOW_SIZE, 100],
    ]),
    headers(1),
  ),
  OK,
);

// 6.6 PUSH_PROMISE
rfc('6.6', 'from a client', frame(5, 4, 1, all(hex('00000002'), block)), PROTOCOL);

// 6.7 PING
rfc('6.7', 'is answered with its payload', ping('12345678'), { pongs: ['12345678'] });
rfc('6.7', 'an acknowledgement is not answered', all(ping('12345678', Flag.ACK), ping('abcdefgh')), {
  pongs: ['abcdefgh'],
});
rfc('6.7', 'on a stream', frame(6, 0, 1, Buffer.alloc(8)), PROTOCOL);
rfc('6.7', 'not 8 bytes', frame(6, 0, 0, Buffer.alloc(6)), SIZE);

// 6.8 GOAWAY
rfc('6.8', 'on a stream', frame(7, 0, 1, Buffer.alloc(8)), PROTOCOL);
rfc('6.8', 'too short', frame(7, 0, 0, Buffer.alloc(7)), SIZE);
rfc('6.8', 'open requests are still answered', all(open(1), frame(7, 0, 0, Buffer.alloc(8)), data(1, 'x', true)), OK);

// 6.9 WINDOW_UPDATE
rfc('6.9', '0 on the connection', windowUpdate(0, 0), PROTOCOL);
rfc('6.9', '0 on a stream', all(open(1), windowUpdate(1, 0)), MALFORMED);
rfc('6.9', 'not 4 bytes', frame(8, 0, 0, hex('000001')), SIZE);
rfc('6.9.1', 'the connection beyond 2^31-1', all(windowUpdate(0, 2 ** 31 - 1), windowUpdate(0, 2 ** 31 - 1)), {
  goaway: 'FLOW_CONTROL_ERROR',
});
rfc('6.9.1', 'a stream beyond 2^31-1', all(open(1), windowUpdate(1, 2 ** 31 - 1), headers(3)), {
  resets: ['1 FLOW_CONTROL_ERROR'],
  ok: [3],
});
rfc(
  '6.9.2',
  'a stream beyond 2^31-1 by SETTINGS',
  all(open(1), windowUpdate(1, 2 ** 31 - 1 - 65_535), settings([[Setting.INITIAL_WINDOW_SIZE, 65_536]])),
  { goaway: 'FLOW_CONTROL_ERROR' },
);

// 6.10 CONTINUATION
const cut = (at: number) => [block.subarray(0, at), block.subarray(at)] as const;
rfc('6.10', 'one after HEADERS', all(frame(1, 1, 1, cut(2)[0]), continuation(1, cut(2)[1], 4)), OK);
rfc(
  '6.10',
  'several, one of them empty',
  all(frame(1, 1, 1, hex('')), continuation(1, cut(1)[0]), continuation(1, hex('')), continuation(1, cut(1)[1], 4)),
  OK,
);
rfc('6.10', 'after a block that has ended', all(held, continuation(1, block, 4)), PROTOCOL);
rfc('6.10', 'on stream 0', all(frame(1, 1, 1, cut(2)[0]), continuation(0, cut(2)[1], 4)), PROTOCOL);
rfc('6.10', 'DATA instead', all(frame(1, 0, 1, cut(2)[0]), data(1, 'x')), PROTOCOL);

// 8.1 messages
rfc('8.1', 'trailers end the request', all(open(1), data(1, 'x'), headers(1, [['x-checksum', '1']])), OK);
rfc('8.1', 'trailers without END_STREAM', all(open(1), headers(1, [['x-checksum', '1']], Flag.END_HEADERS)), MALFORMED);
rfc('8.1', 'a pseudo-header field in trailers', all(open(1), headers(1, [[':method', 'GET']])), MALFORMED);
rfc(
  '8.1.1',
  'content-length and the right body',
  all(open(1, [...POST, ['content-length', '4']]), data(1, 'ab'), data(1, 'cd', true)),
  OK,
);
rfc(
  '8.1.1',
  'content-length, body too short',
  all(open(1, [...POST, ['content-length', '4']]), data(1, 'abc', true)),
  MALFORMED,
);
rfc(
  '8.1.1',
  'content-length, body too long',
  all(open(1, [...POST, ['content-length', '1']]), data(1, 'ab'), data(1, 'c')),
  MALFORMED,
);
rfc(
  '8.1.1',
  'content-length, body too short, trailers',
  all(open(1, [...POST, ['content-length', '4']]), data(1, 'abc'), headers(1, [['x', '1']])),
  MALFORMED,
);
rfc('8.1.1', 'content-length, no body', request([['content-length', '1']]), MALFORMED);
rfc('8.1.1', 'content-length 0, no body', request([['content-length', '0']]), OK);
rfc('8.1.1', 'content-length is no number', request([['content-length', '+1']]), MALFORMED);
rfc(
  '8.1.1',
  'two content-lengths that differ',
  all(open(1, [...POST, ['content-length', '1'], ['content-length', '2']])),
  MALFORMED,
);

// 8.2 fields
rfc('8.2.1', 'an upper-case name', request([['X-Test', '1']]), MALFORMED);
rfc('8.2.1', 'an empty name', request([['', '1']]), MALFORMED);
rfc('8.2.1', 'a space in a name', request([['x test', '1']]), MALFORMED);
rfc('8.2.1', 'a colon in a name', request([['x:test', '1']]), MALFORMED);
rfc('8.2.1', 'a line feed in a value', request([['x', 'a\nb: c']]), MALFORMED);
rfc('8.2.1', 'a NUL in a value', request([['x', 'a\0']]), MALFORMED);
rfc('8.2.1', 'a value that begins with a space', request([['x', ' a']]), MALFORMED);
rfc('8.2.1', 'a value that ends with a tab', request([['x', 'a\t']]), MALFORMED);
rfc('8.2.1', 'octets above 127 in a value', request([['x', 'caf\xe9']]), OK);
rfc(
  '8.2.1',
  'names an object has already',
  request([
    ['__proto__', '1'],
    ['constructor', '2'],
    ['tostring', '3'],
  ]),
  OK,
);
for (const name of ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']) {
  rfc('8.2.2', `${name} is of HTTP/1.1`, request([[name, 'x']]), MALFORMED);
}
rfc('8.2.2', 'te: trailers', request([['te', 'trailers']]), OK);
rfc('8.2.2', 'te: gzip', request([['te', 'gzip']]), MALFORMED);

// 8.3 pseudo-header fields
rfc('8.3', 'an unknown one', request([], [...REQUEST, [':test', '1']]), MALFORMED);
rfc('8.3', 'a response’s', request([], [...REQUEST, [':status', '200']]), MALFORMED);
rfc('8.3', 'after a field', headers(1, [...REQUEST.slice(0, 2), ['x', '1'], [':path', '/']]), MALFORMED);
for (const name of [':method', ':scheme', ':path', ':authority']) {
  const value = REQUEST.find((field) => field[0] === name)![1];
  rfc('8.3.1', `${name} twice`, request([], [...REQUEST, [name, value]]), MALFORMED);
  if (name === ':authority') continue;
  rfc(
    '8.3.1',
    `no ${name}`,
    headers(
      1,
      REQUEST.filter((field) => field[0] !== name),
    ),
    MALFORMED,
  );
}
rfc('8.3.1', 'an empty :path', headers(1, [...REQUEST.slice(0, 2), [':path', '']]), MALFORMED);
rfc('8.3.1', 'no :authority', headers(1, REQUEST.slice(0, 3)), OK);
rfc('8.5', 'CONNECT with a path', headers(1, [[':method', 'CONNECT'], ...REQUEST.slice(1)]), MALFORMED);
rfc('8.5', 'CONNECT without authority', headers(1, [[':method', 'CONNECT']]), MALFORMED);
rfc(
  '8.5',
  'CONNECT',
  headers(1, [
    [':method', 'CONNECT'],
    [':authority', 'test:80'],
  ]),
  OK,
);

// RFC 7541
const start = hex('82 86 84');
rfc('HPACK 2.3.3', 'an index beyond the tables', frame(1, 5, 1, all(start, hex('be'))), COMPRESSION);
rfc('HPACK 4.2', 'a size update at the end of a block', frame(1, 5, 1, all(start, hex('20'))), COMPRESSION);
rfc('HPACK 4.2', 'a size update at the beginning', frame(1, 5, 1, all(hex('20 3fe11f'), start)), OK);
rfc('HPACK 4.2', 'three size updates', frame(1, 5, 1, all(hex('20 21 22'), start)), COMPRESSION);
rfc('HPACK 5.1', 'an integer without end', frame(1, 5, 1, all(start, hex('ff ffffffffffffffff'))), COMPRESSION);
rfc('HPACK 5.2', 'a string past the end', frame(1, 5, 1, all(start, hex('00 05 61'))), COMPRESSION);
rfc(
  'HPACK 5.2',
  'Huffman padding of more than 7 bits',
  frame(1, 5, 1, all(start, hex('00 85f2b24a84ff 8449509fff'))),
  COMPRESSION,
);
rfc(
  'HPACK 5.2',
  'Huffman padding of zeros',
  frame(1, 5, 1, all(start, hex('00 85f2b24a87fffffffd25427f 83 000000'))),
  COMPRESSION,
);
rfc('HPACK 5.2', 'EOS inside a Huffman string', frame(1, 5, 1, all(start, hex('00 8185 84 ffffffff'))), COMPRESSION);
rfc('HPACK 6.1', 'index 0', frame(1, 5, 1, all(start, hex('80'))), COMPRESSION);
rfc('HPACK 6.3', 'a size update beyond the limit', frame(1, 5, 1, all(hex('3fe21f'), start)), COMPRESSION);

async function run(one: Case, cuts: readonly number[] | 'bytes'): Promise<string> {
  const client = new Client({
    // The cases are about rules, not about rates.
    keepaliveMinTimeMs: 0,
    keepaliveIdleMinTimeMs: 0,
    onStream: (stream) => {
      stream.events = {
        data: (_bytes, from, to) => stream.consumed(to - from),
        end: () => {
          if (stream.headers.path !== '/hold') stream.sendHeaders([[':status', '200']], true);
        },
        drain: () => {},
        close: () => {},
      };
    },
  });
  if (one.raw !== true) {
    client.wire.push(all(CLIENT_PREFACE, settings([]), frame(4, Flag.ACK, 0, hex(''))));
  }
  if (cuts === 'bytes') for (const byte of one.bytes) client.wire.push(Buffer.from([byte]));
  else {
    let from = 0;
    for (const to of [...cuts, one.bytes.length]) {
      if (to > from) client.wire.push(Buffer.from(one.bytes.subarray(from, to)));
      from = to;
    }
  }
  await settle();
  const result = summary(client);
  client.destroy();
  return result;
}

function summary(client: Client): string {
  const ok = client.streams.filter((stream) => client.status(stream.id) === '200').map((stream) => stream.id);
  const pongs = client.of(FrameType.PING).filter((one) => (one.flags & Flag.ACK) !== 0);
  return JSON.stringify({
    goaway: client.goaway ?? '',
    resets: client.resets,
    ok,
    pongs: pongs.map((one) => one.payload.toString()),
  });
}

function expectation(expected: Expected): string {
  return JSON.stringify({
    goaway: expected.goaway ?? '',
    resets: expected.resets ?? [],
    ok: expected.ok ?? [],
    pongs: expected.pongs ?? [],
  });
}

/** Cutting a long body at every offset would only repeat itself. */
const OFFSETS_MAX = 160;

describe('RFC 9113 and 7541, clause by clause', () => {
  it.each(cases.map((one) => [`${one.clause}: ${one.name}`, one] as const))('%s', async (_name, one) => {
    const expected = expectation(one.expected);
    expect(await run(one, [])).toBe(expected);
    if (one.bytes.length < 2000) expect(await run(one, 'bytes'), 'byte by byte').toBe(expected);
    for (let at = 1; at < Math.min(one.bytes.length, OFFSETS_MAX); at++) {
      expect(await run(one, [at]), `cut at ${at}`).toBe(expected);
    }
  });

  it('a connection error ends the connection: nothing later is served', async () => {
    const client = new Client();
    await client.greet();
    await client.send(windowUpdate(0, 0), headers(1));
    expect(client.goaway).toBe('PROTOCOL_ERROR');
    await client.send(headers(3));
    expect(client.streams).toHaveLength(0);
    expect(client.finished).toBe(true);
    expect(client.of(FrameType.GOAWAY)).toHaveLength(1);
    client.destroy();
    expect(client.ended).toEqual({ code: 1, text: 'WINDOW_UPDATE of 0' });
  });

  it('GOAWAY names the last stream that was looked at', async () => {
    const client = new Client();
    await client.greet();
    await client.send(headers(1), headers(7), word(FrameType.WINDOW_UPDATE, 0, 0));
    expect(client.of(FrameType.GOAWAY)[0]!.payload.readUInt32BE(0)).toBe(7);
    client.destroy();
  });

  it('says its settings first', async () => {
    const client = new Client({ maxConcurrentStreams: 77, streamWindowBytes: 70_000, headerListBytesMax: 9_000 });
    await settle();
    const [first, second] = client.frames;
    expect(first).toMatchObject({ type: FrameType.SETTINGS, flags: 0, streamId: 0 });
    expect(first!.payload.toString('hex')).toBe('00030000004d' + '000400011170' + '000600002328');
    expect(second).toMatchObject({ type: FrameType.WINDOW_UPDATE, streamId: 0 });
    expect(second!.payload.readUInt32BE(0)).toBe(4 * 1024 * 1024 - 65_535);
    client.destroy();
  });
});
