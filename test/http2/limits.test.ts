import { getDefaultHighWaterMark } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ErrorCode, Flag, FrameType, frame, Setting } from '../../server/http2/frames.ts';
import { encodeHeaderBlock, HpackEncoder } from '../../server/http2/hpack.ts';
import { HTTP2_DEFAULTS, resolveLimits } from '../../server/http2/limits.ts';
import {
  Client,
  data,
  destroyClients,
  headers,
  hex,
  open,
  ping,
  REQUEST,
  record,
  rst,
  settings,
  settle,
  windowUpdate,
} from './support.ts';

const OK: [string, string][] = [[':status', '200']];
const id = (i: number): number => 2 * i + 1;

async function greeted(options: ConstructorParameters<typeof Client>[0] = {}): Promise<Client> {
  const client = new Client(options);
  await client.greet();
  return client;
}

/** Streams whose requests are never answered. */
const hold = { onStream: (stream: Parameters<typeof record>[0]) => void record(stream) };
/** No budget but the one under test, and nothing comes back with time. */
const noRates = { resetsPerSecond: 0, controlFramesPerSecond: 0, keepaliveMinTimeMs: 0, keepaliveIdleMinTimeMs: 0 };

async function expectCalm(client: Client, debug: string): Promise<void> {
  expect(client.goaway).toBe('ENHANCE_YOUR_CALM');
  expect(client.goawayDebug).toBe(debug);
  expect(client.finished).toBe(true);
  client.destroy();
  expect(client.ended).toEqual({ code: ErrorCode.ENHANCE_YOUR_CALM, text: debug });
}

afterEach(destroyClients);

describe('resets', () => {
  it('rapid reset (CVE-2023-44487): one more than the budget ends the connection', async () => {
    const client = await greeted({ ...noRates, ...hold, resetBurst: 10 });
    for (let i = 0; i < 10; i++) await client.send(headers(id(i)), rst(id(i)));
    expect(client.goaway).toBeUndefined();
    await client.send(headers(id(10)), rst(id(10)), headers(id(11)));
    expect(client.streams).toHaveLength(11); // nothing after the last straw
    await expectCalm(client, 'too many streams are reset');
  });

  it('requests that are served well make resets good again, up to the burst', async () => {
    const client = await greeted({ ...noRates, resetBurst: 3 });
    for (let i = 0; i < 30; i++) await client.send(open(id(2 * i)), rst(id(2 * i)), headers(id(2 * i + 1)));
    expect(client.goaway).toBeUndefined();
    await client.send(...[0, 1, 2, 3].flatMap((i) => [open(id(100 + i)), rst(id(100 + i))]));
    await expectCalm(client, 'too many streams are reset');
  });

  it('time makes resets good again', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    try {
      const client = await greeted({ ...noRates, ...hold, resetBurst: 2, resetsPerSecond: 10 });
      await client.send(open(1), rst(1), open(3), rst(3));
      vi.advanceTimersByTime(100);
      await client.send(open(5), rst(5));
      expect(client.goaway).toBeUndefined();
      await client.send(open(7), rst(7));
      await expectCalm(client, 'too many streams are reset');
    } finally {
      vi.useRealTimers();
    }
  });

  it('MadeYouReset (CVE-2025-8671): resets of ours for the peer’s errors cost the same', async () => {
    const errors: [string, (streamId: number) => Buffer][] = [
      ['WINDOW_UPDATE of 0', (streamId) => Buffer.concat([headers(streamId), windowUpdate(streamId, 0)])],
      ['window beyond 2^31-1', (streamId) => Buffer.concat([headers(streamId), windowUpdate(streamId, 0x7fffffff)])],
      ['DATA after the end', (streamId) => Buffer.concat([headers(streamId), data(streamId, 'x')])],
      ['HEADERS after the end', (streamId) => Buffer.concat([headers(streamId), headers(streamId)])],
      ['self-dependency', (s) => Buffer.concat([headers(s), frame(2, 0, s, Buffer.from([0, 0, 0, s, 0]))])],
      ['malformed request', (streamId) => headers(streamId, [...REQUEST, ['te', 'gzip']])],
      [
        'wrong content-length',
        (s) => Buffer.concat([open(s, [...REQUEST, ['content-length', '1']]), data(s, '', true)]),
      ],
    ];
    for (const [name, attack] of errors) {
      const client = await greeted({ ...noRates, ...hold, resetBurst: 5 });
      for (let i = 0; i < 5; i++) await client.send(attack(id(i)));
      expect(client.goaway, name).toBeUndefined();
      expect(client.resets, name).toHaveLength(5);
      await client.send(attack(id(5)));
      await expectCalm(client, 'too many streams are reset');
    }
  });

  it('refused streams cost the same', async () => {
    const client = await greeted({ ...noRates, ...hold, resetBurst: 5, maxConcurrentStreams: 2 });
    await client.send(open(1), open(3));
    for (let i = 2; i < 7; i++) await client.send(open(id(i)));
    expect(client.resets).toEqual([5, 7, 9, 11, 13].map((streamId) => `${streamId} REFUSED_STREAM`));
    await client.send(open(15));
    await expectCalm(client, 'too many streams are reset');
  });
});

describe('concurrency', () => {
  it('the limit is served, one more is refused, and a place that is free is taken again', async () => {
    const client = await greeted({ ...hold, maxConcurrentStreams: 3 });
    await client.send(open(1), open(3), open(5), open(7));
    expect(client.streams.map((stream) => stream.id)).toEqual([1, 3, 5]);
    expect(client.connection.streamCount).toBe(3);
    expect(client.resets).toEqual(['7 REFUSED_STREAM']);
    await client.send(rst(3), open(9));
    expect(client.connection.streamCount).toBe(3);
    expect(client.streams.at(-1)!.id).toBe(9);
    client.destroy();
  });
});

describe('header blocks', () => {
  const half = (count: number): Buffer[] =>
    Array.from({ length: count }, () => frame(FrameType.CONTINUATION, 0, 1, encodeHeaderBlock([['x', 'y']])));
  const first = frame(FrameType.HEADERS, Flag.END_STREAM, 1, encodeHeaderBlock(REQUEST));
  const last = frame(FrameType.CONTINUATION, Flag.END_HEADERS, 1, hex(''));

  it('CONTINUATION flood (CVE-2024-27316): the limit of frames', async () => {
    const client = await greeted({ continuationsMax: 4 });
    await client.send(first, ...half(3), last);
    expect(client.status(1)).toBe('200');
    client.destroy();
    const flood = await greeted({ continuationsMax: 4 });
    await flood.send(first, ...half(5));
    await expectCalm(flood, 'header block too large');
  });

  it('CONTINUATION flood: the limit of bytes', async () => {
    const limits = { headerBlockBytesMax: 16_384, continuationsMax: 1000 };
    const used = first.length - 9;
    const fragment = (bytes: number): Buffer => frame(FrameType.CONTINUATION, 0, 1, Buffer.alloc(bytes, 0x82));
    const client = await greeted(limits);
    await client.send(first, fragment(16_384 - used));
    expect(client.goaway).toBeUndefined();
    await client.send(frame(FrameType.CONTINUATION, 0, 1, hex('82')));
    await expectCalm(client, 'header block too large');
  });

  it('a list beyond the limit is answered 431, and the connection goes on', async () => {
    const encoder = new HpackEncoder();
    const client = await greeted({ headerListBytesMax: 500 });
    const big = encoder.encode([...REQUEST, ['x-big', 'v'.repeat(400)]]);
    await client.send(frame(FrameType.HEADERS, 5, 1, big));
    expect(client.status(1)).toBe('431');
    expect(client.streams).toHaveLength(0);
    await client.send(frame(FrameType.HEADERS, 5, 3, encoder.encode([...REQUEST])));
    expect(client.status(3)).toBe('200');
    expect(client.resets).toEqual([]);
    client.destroy();
  });

  it('431 to a request with a body stops the body', async () => {
    const client = await greeted({ headerListBytesMax: 100 });
    await client.send(open(1), data(1, 'body'), data(1, 'body', true));
    expect(client.status(1)).toBe('431');
    expect(client.resets).toEqual(['1 NO_ERROR']);
    expect(client.goaway).toBeUndefined();
    client.destroy();
  });

  it('HPACK bomb: a small block that means a huge list costs nothing', async () => {
    const encoder = new HpackEncoder();
    const client = await greeted();
    await client.send(frame(FrameType.HEADERS, 5, 1, encoder.encode([...REQUEST, ['x', 'y'.repeat(3000)]])));
    await client.send(frame(FrameType.HEADERS, 5, 3, Buffer.alloc(16_000, 0xbe)));
    expect(client.status(3)).toBe('431');
    expect(client.goaway).toBeUndefined();
    client.destroy();
  });
});

describe('control frame floods', () => {
  const floods: [string, Buffer][] = [
    ['SETTINGS', settings([])],
    ['SETTINGS acknowledgements', frame(FrameType.SETTINGS, Flag.ACK, 0, hex(''))],
    ['PING', ping()],
    ['PING acknowledgements', ping('abcdefgh', Flag.ACK)],
    ['PRIORITY', frame(FrameType.PRIORITY, 0, 9, hex('0000000000'))],
    ['WINDOW_UPDATE', windowUpdate(0, 1)],
    ['WINDOW_UPDATE on a stream', windowUpdate(1, 1)],
    ['empty DATA', data(1, '')],
    ['RST_STREAM of a stream that is over', rst(3)],
    ['unknown frames', frame(0x42, 0, 0, hex('00'))],
    ['GOAWAY', frame(FrameType.GOAWAY, 0, 0, Buffer.alloc(8))],
  ];

  it.each(floods)('%s: the budget, and one more', async (_name, one) => {
    // The greeting's two, the request's two that come back, and the answered request's: count from a full budget.
    const client = await greeted({ ...noRates, ...hold, controlFrameBurst: 20 });
    await client.send(open(1), headers(3));
    client.streams[1]!.sendHeaders(OK, true);
    await client.send(...Array.from({ length: 20 }, () => one));
    expect(client.goaway).toBeUndefined();
    await client.send(one);
    await expectCalm(client, 'too many control frames');
  });

  it('settings in a frame cost, too', async () => {
    const client = await greeted({ ...noRates, ...hold, controlFrameBurst: 20 });
    await client.send(open(1), settings(Array.from({ length: 19 }, () => [Setting.ENABLE_PUSH, 0] as const)));
    expect(client.goaway).toBeUndefined();
    await client.send(settings([]));
    await expectCalm(client, 'too many control frames');
  });

  it('settings per frame: the limit, and one more', async () => {
    const many = (count: number) => settings(Array.from({ length: count }, () => [Setting.ENABLE_PUSH, 0] as const));
    const client = await greeted({ settingsEntriesMax: 32 });
    await client.send(many(32));
    expect(client.goaway).toBeUndefined();
    await client.send(many(33));
    await expectCalm(client, 'too many settings in one frame');
  });

  it('frames that carry a request make control frames good again', async () => {
    const client = await greeted({ ...noRates, controlFrameBurst: 10 });
    for (let i = 0; i < 100; i++) await client.send(headers(id(i)), windowUpdate(0, 1), windowUpdate(0, 1));
    expect(client.goaway).toBeUndefined();
    expect(client.streams).toHaveLength(100);
    client.destroy();
  });
});

describe('a peer that does not read', () => {
  it('is owed a limited number of replies', async () => {
    const client = await greeted({ ...noRates, controlFrameBurst: 1e6, repliesOwedMax: 50, ...hold });
    await client.send(settings([[Setting.INITIAL_WINDOW_SIZE, 1e6]]), windowUpdate(0, 1e6), headers(1));
    client.reading = false;
    client.streams[0]!.sendHeaders(OK);
    client.streams[0]!.sendData(Buffer.alloc(100_000)); // the socket is full
    await settle();
    await client.send(...Array.from({ length: 50 }, () => settings([])));
    expect(client.connection.streamCount).toBe(1);
    await client.send(settings([]));
    expect(client.connection.streamCount).toBe(0);
    client.resumeReading();
    await settle();
    await expectCalm(client, 'replies are not read');
  });

  it('is not read either beyond a limit, and served when it reads again', async () => {
    // More than the socket itself holds before it asks to wait (16 KiB, or 64 KiB from Node 22 on).
    const pauseBytes = 100_000;
    expect(getDefaultHighWaterMark(false)).toBeLessThan(pauseBytes);
    const limits = { outputPauseBytes: pauseBytes, maxConcurrentStreams: 1e6, resetBurst: 1e6 };
    const client = await greeted({ ...limits, onStream: (stream) => stream.sendHeaders([[':status', '404']], true) });
    client.reading = false;
    // Answers without a body need no window: nothing but this limit holds them.
    for (let i = 0; i < 20_000; i++) client.wire.push(headers(id(i)));
    await settle();
    expect(client.wire.isPaused()).toBe(true);
    // One frame at a time arrives, so the limit is overshot by one answer.
    expect(client.connection.queuedBytes).toBeGreaterThan(pauseBytes);
    expect(client.connection.queuedBytes).toBeLessThan(pauseBytes + 100);
    expect(client.streams.length).toBeLessThan(20_000);
    client.resumeReading();
    for (let i = 0; i < 200 && client.streams.length < 20_000; i++) await settle();
    await settle();
    expect(client.streams).toHaveLength(20_000);
    expect(client.status(id(19_999))).toBe('404');
    client.destroy();
  });
});

describe('time limits', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  async function passes(ms: number): Promise<void> {
    vi.advanceTimersByTime(ms);
    await settle();
  }

  it('no preface, or half of one', async () => {
    for (const bytes of ['', 'PRI * HTTP/2.0', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n']) {
      const client = new Client({ prefaceTimeoutMs: 10_000 });
      await client.send(Buffer.from(bytes));
      await passes(9_500);
      expect(client.goaway).toBeUndefined();
      await passes(1_000);
      await expectCalm(client, 'no preface in time');
    }
  });

  it('a header block that does not end', async () => {
    const client = await greeted({ headerTimeoutMs: 10_000 });
    await client.send(frame(FrameType.HEADERS, 0, 1, hex('82')));
    for (let i = 0; i < 5; i++) {
      await passes(1_900);
      await client.send(frame(FrameType.CONTINUATION, 0, 1, hex('84'))); // some more of it does not help
    }
    expect(client.goaway).toBeUndefined();
    await passes(1_000);
    await expectCalm(client, 'header block not finished in time');
  });

  it('a frame that does not end', async () => {
    const client = await greeted({ frameTimeoutMs: 30_000, ...hold });
    const one = data(1, Buffer.alloc(100), true);
    await client.send(open(1), one.subarray(0, 50));
    for (let i = 0; i < 29; i++) {
      await passes(1_000);
      await client.send(one.subarray(50 + i, 51 + i));
    }
    expect(client.goaway).toBeUndefined();
    await passes(2_000);
    await expectCalm(client, 'frame not finished in time');
  });

  it('slow frames that do end are fine', async () => {
    const client = await greeted({ frameTimeoutMs: 2_000, ...hold });
    await client.send(open(1));
    for (let i = 0; i < 10; i++) {
      const one = data(1, 'abc');
      await client.send(one.subarray(0, 5));
      await passes(1_500);
      await client.send(one.subarray(5));
      await passes(1_500);
    }
    expect(client.goaway).toBeUndefined();
    client.destroy();
  });

  it('zero window: queued output that does not move resets its stream only', async () => {
    const client = await greeted({ streamStallTimeoutMs: 60_000 });
    await client.send(settings([[Setting.INITIAL_WINDOW_SIZE, 0]]), headers(1));
    await client.send(open(3));
    await passes(59_000);
    expect(client.resets).toEqual([]);
    await passes(2_000);
    expect(client.resets).toEqual(['1 INTERNAL_ERROR']);
    expect(client.connection.streamCount).toBe(1);
    expect(client.connection.queuedBytes).toBe(0);
    await client.send(windowUpdate(1, 10), windowUpdate(3, 10), data(3, '', true));
    expect(client.body(3).toString()).toBe('ok');
    client.destroy();
  });

  it('slow drip: output that hardly moves is no better', async () => {
    const client = await greeted({ ...hold, streamStallTimeoutMs: 60_000, streamStallBytesMin: 16_384 });
    await client.send(settings([[Setting.INITIAL_WINDOW_SIZE, 0]]), headers(1), headers(3));
    for (const stream of client.streams) {
      stream.sendHeaders(OK);
      stream.sendData(Buffer.alloc(100_000));
    }
    for (let i = 0; i < 13; i++) {
      await client.send(windowUpdate(1, 1), windowUpdate(3, 3_500));
      await passes(5_000);
    }
    expect(client.resets).toEqual(['1 INTERNAL_ERROR']);
    client.destroy();
  });

  it('a stream without queued output may be silent for ever', async () => {
    const client = await greeted({ ...hold });
    await client.send(headers(1));
    client.streams[0]!.sendHeaders(OK);
    for (let i = 0; i < 20; i++) {
      await passes(600_000);
      await client.send(windowUpdate(0, 1));
    }
    expect(client.connection.streamCount).toBe(1);
    client.destroy();
  });

  it('a socket that takes nothing is closed', async () => {
    const client = await greeted({ ...hold, writeStallTimeoutMs: 30_000 });
    const seen: ReturnType<typeof record>[] = [];
    await client.send(settings([[Setting.INITIAL_WINDOW_SIZE, 1e6]]), headers(1));
    seen.push(record(client.streams[0]!));
    client.reading = false;
    client.streams[0]!.sendHeaders(OK);
    await settle();
    await passes(29_000);
    expect(client.ended).toBeUndefined();
    await passes(2_000);
    expect(client.ended).toEqual({ code: 0, text: 'the peer does not read' });
    expect(client.wire.destroyed).toBe(true);
    expect(seen[0]).toMatchObject({ closes: 1, reason: { by: 'connection' } });
  });

  it('a socket that takes something now and then stays', async () => {
    const client = await greeted({ ...hold, writeStallTimeoutMs: 30_000 });
    await client.send(headers(1));
    const stream = client.streams[0]!;
    stream.sendHeaders(OK);
    client.reading = false;
    for (let i = 0; i < 10; i++) {
      stream.sendData(Buffer.from('x'));
      await passes(20_000);
      client.resumeReading();
      client.reading = false;
    }
    expect(client.ended).toBeUndefined();
    client.destroy();
  });

  it('after a connection error the peer has a moment to read it, then the socket is closed', async () => {
    const client = await greeted({ lingerMs: 1_000 });
    await client.send(windowUpdate(0, 0));
    expect(client.goaway).toBe('PROTOCOL_ERROR');
    expect(client.wire.destroyed).toBe(false);
    await passes(2_000);
    expect(client.wire.destroyed).toBe(true);
    expect(client.ended?.code).toBe(ErrorCode.PROTOCOL_ERROR);
  });
});

describe('limits as options', () => {
  it('refuses what the protocol does not allow', () => {
    expect(() => resolveLimits({ connectionWindowBytes: 65_534 })).toThrow('connectionWindowBytes');
    expect(() => resolveLimits({ streamWindowBytes: 2 ** 31 })).toThrow('streamWindowBytes');
    expect(() => resolveLimits({ maxConcurrentStreams: 2 ** 32 })).toThrow('maxConcurrentStreams');
    expect(() => resolveLimits({ headerBlockBytesMax: 16_383 })).toThrow('headerBlockBytesMax');
    expect(resolveLimits({ maxConcurrentStreams: 2 ** 32 - 1 })).toEqual({
      ...HTTP2_DEFAULTS,
      maxConcurrentStreams: 2 ** 32 - 1,
    });
  });
});
