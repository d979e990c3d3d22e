import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { ErrorCode, Flag, FrameType, frame, readUint32, Setting } from '../../server/http2/frames.ts';
import { HTTP2_DEFAULTS } from '../../server/http2/limits.ts';
import type { Http2Stream } from '../../server/http2/stream.ts';
import { Client, data, destroyClients, headers, open, record, rst, settings, settle, windowUpdate } from './support.ts';

const OK: [string, string][] = [[':status', '200']];

/** A client whose streams do nothing of themselves. */
async function quiet(
  options: ConstructorParameters<typeof Client>[0] = {},
  peerSettings: readonly (readonly [number, number])[] = [],
) {
  const client = new Client({ ...options, onStream: options.onStream ?? ((stream) => void record(stream)) });
  await client.greet(peerSettings);
  return client;
}

function updates(client: Client, streamId: number): number[] {
  return client
    .of(FrameType.WINDOW_UPDATE)
    .flatMap((one) => (one.streamId === streamId ? [readUint32(one.payload, 0)] : []));
}

afterEach(destroyClients);

describe('what we send', () => {
  it('stops at the stream window and goes on with each update', async () => {
    const client = await quiet({}, [[Setting.INITIAL_WINDOW_SIZE, 5]]);
    await client.send(headers(1));
    const stream = client.streams[0]!;
    stream.sendHeaders(OK);
    stream.sendData(Buffer.from('hello world!'), true);
    await settle();
    expect(client.body(1).toString()).toBe('hello');
    await client.send(windowUpdate(1, 1));
    expect(client.body(1).toString()).toBe('hello ');
    expect(stream.closed).toBe(false);
    await client.send(windowUpdate(1, 100));
    expect(client.body(1).toString()).toBe('hello world!');
    expect(client.of(FrameType.DATA).at(-1)!.flags).toBe(Flag.END_STREAM);
    expect(stream.closed).toBe(true);
    client.destroy();
  });

  it('stops at the connection window, shared by all streams', async () => {
    const client = await quiet({}, [[Setting.INITIAL_WINDOW_SIZE, 1_000_000]]);
    await client.send(headers(1), headers(3));
    for (const stream of client.streams) {
      stream.sendHeaders(OK);
      stream.sendData(Buffer.alloc(60_000), true);
    }
    await settle();
    expect(client.body(1).length + client.body(3).length).toBe(65_535);
    expect(client.body(1).length).toBe(60_000);
    await client.send(windowUpdate(0, 10));
    expect(client.body(3).length).toBe(5_545);
    await client.send(windowUpdate(0, 100_000));
    expect(client.body(3).length).toBe(60_000);
    client.destroy();
  });

  it('goes out in one write at the end of a turn, and before when it is much', async () => {
    const client = await quiet({}, [[Setting.INITIAL_WINDOW_SIZE, 1_000_000]]);
    await client.send(headers(1));
    const stream = client.streams[0]!;
    stream.sendHeaders(OK);
    await settle();
    const parts = Array.from({ length: 60 }, (_, i) => Buffer.alloc(991, i)); // 1,000 with the frame's header
    const writesOf = async (some: readonly Buffer[]) => {
      client.writes = 0;
      for (const part of some) stream.sendData(part);
      const before = client.writes;
      await settle();
      return [before, client.writes];
    };
    expect(await writesOf(parts.slice(0, 16))).toEqual([0, 1]);
    expect(await writesOf(parts.slice(16, 33))).toEqual([1, 2]);
    expect(await writesOf(parts.slice(33))).toEqual([1, 2]);
    expect(client.body(1)).toEqual(Buffer.concat(parts));
    client.destroy();
  });

  it('may be written in place while nothing has to wait, and is no other', async () => {
    const client = await quiet({}, [[Setting.INITIAL_WINDOW_SIZE, 30_000]]);
    await client.send(headers(1));
    const stream = client.streams[0]!;
    stream.sendHeaders(OK);
    expect(stream.room(16_385)).toBeUndefined();
    stream.room(16_384)!.fill(0x61);
    stream.room(10_000)!.fill(0x62);
    expect(stream.room(3_617)).toBeUndefined();
    stream.sendData(Buffer.alloc(3_617, 'c'));
    expect(stream.room(1)).toBeUndefined();
    await client.send(windowUpdate(1, 2));
    stream.room(1)!.fill(0x64);
    expect(stream.room(1)).toBeUndefined();
    await settle();
    expect(client.body(1).toString()).toBe(`${'a'.repeat(16_384)}${'b'.repeat(10_000)}${'c'.repeat(3_617)}d`);
    stream.reset(ErrorCode.CANCEL);
    expect(stream.room(1)).toBeUndefined();
    client.destroy();
  });

  it('gives streams that wait for the connection their turns', async () => {
    const client = await quiet({}, [[Setting.INITIAL_WINDOW_SIZE, 10_000_000]]);
    await client.send(headers(1), headers(3), headers(5));
    client.streams[0]!.sendHeaders(OK);
    client.streams[0]!.sendData(Buffer.alloc(65_535));
    for (const stream of client.streams) {
      if (!stream.headersSent) stream.sendHeaders(OK);
      stream.sendData(Buffer.alloc(100_000));
    }
    await settle();
    client.frames.length = 0;
    await client.send(windowUpdate(0, 6 * 16_384));
    expect(client.of(FrameType.DATA).map((one) => one.streamId)).toEqual([1, 3, 5, 1, 3, 5]);
    client.destroy();
  });

  it('a smaller initial window makes open windows negative: nothing goes until they are made good', async () => {
    const client = await quiet({}, [[Setting.INITIAL_WINDOW_SIZE, 100]]);
    await client.send(headers(1));
    const stream = client.streams[0]!;
    stream.sendHeaders(OK);
    stream.sendData(Buffer.alloc(80));
    await client.send(settings([[Setting.INITIAL_WINDOW_SIZE, 30]])); // 20 left - 70 = -50
    stream.sendData(Buffer.alloc(40), true);
    await client.send(windowUpdate(1, 50));
    expect(client.body(1).length).toBe(80);
    await client.send(windowUpdate(1, 1));
    expect(client.body(1).length).toBe(81);
    await client.send(settings([[Setting.INITIAL_WINDOW_SIZE, 100]]));
    expect(client.body(1).length).toBe(120);
    client.destroy();
  });

  it('a larger initial window lets open streams go on, and new ones begin with it', async () => {
    const client = await quiet({}, [[Setting.INITIAL_WINDOW_SIZE, 0]]);
    await client.send(headers(1));
    client.streams[0]!.respond(Buffer.from([0x88]), Buffer.from('body'), Buffer.from([0x89]));
    await settle();
    expect(client.body(1).length).toBe(0);
    await client.send(settings([[Setting.INITIAL_WINDOW_SIZE, 4]]), headers(3));
    expect(client.body(1).toString()).toBe('body');
    expect(client.headers(1)).toHaveLength(2);
    client.streams[1]!.respond(Buffer.from([0x88]), Buffer.from('body'), Buffer.from([0x89]));
    await settle();
    expect(client.body(3).toString()).toBe('body');
    client.destroy();
  });

  it('empty bodies and trailers need no window', async () => {
    const client = await quiet({}, [[Setting.INITIAL_WINDOW_SIZE, 0]]);
    await client.send(headers(1), headers(3));
    client.streams[0]!.sendHeaders(OK);
    client.streams[0]!.sendData(new Uint8Array(0), true);
    client.streams[1]!.sendHeaders(OK);
    client.streams[1]!.sendTrailers(Buffer.from([0x89]));
    await settle();
    expect(client.streams.every((stream) => stream.closed)).toBe(true);
    client.destroy();
  });

  it('trailers wait behind queued data', async () => {
    const client = await quiet({}, [[Setting.INITIAL_WINDOW_SIZE, 1]]);
    await client.send(headers(1));
    const stream = client.streams[0]!;
    stream.sendHeaders(OK);
    stream.sendData(Buffer.from('ab'));
    stream.sendTrailers(Buffer.from([0x89]));
    await settle();
    expect(client.headers(1)).toHaveLength(1);
    await client.send(windowUpdate(1, 1));
    expect(client.headers(1)).toHaveLength(2);
    expect(client.frames.at(-1)).toMatchObject({ type: FrameType.HEADERS, flags: Flag.END_STREAM | Flag.END_HEADERS });
    client.destroy();
  });

  it('says false above the high-water mark and drains below half of it', async () => {
    const client = await quiet({ streamHighWaterBytes: 1000 }, [[Setting.INITIAL_WINDOW_SIZE, 0]]);
    const seen: ReturnType<typeof record>[] = [];
    await client.send(headers(1));
    const stream = client.streams[0]!;
    seen.push(record(stream));
    stream.sendHeaders(OK);
    expect(stream.sendData(Buffer.alloc(1000))).toBe(true);
    expect(stream.sendLent(Buffer.alloc(1))).toBe(false);
    expect(client.connection.queuedBytes).toBeGreaterThanOrEqual(1001);
    await client.send(windowUpdate(1, 500));
    expect(seen[0]!.drains).toBe(0);
    await client.send(windowUpdate(1, 1));
    expect(seen[0]!.drains).toBe(1);
    await client.send(windowUpdate(1, 500));
    expect(seen[0]!.drains).toBe(1);
    client.destroy();
  });

  it('a sender that ignores the mark loses its stream at the queue limit, not before', async () => {
    const client = await quiet({ streamQueueBytesMax: 2000 }, [[Setting.INITIAL_WINDOW_SIZE, 0]]);
    await client.send(headers(1), headers(3));
    const [stream, other] = client.streams as [Http2Stream, Http2Stream];
    const seen = record(stream);
    stream.sendHeaders(OK);
    stream.sendData(Buffer.alloc(1999));
    stream.sendData(Buffer.alloc(5000)); // one chunk is always taken
    expect(stream.closed).toBe(false);
    stream.sendData(Buffer.alloc(1));
    await settle();
    expect(client.resets).toEqual(['1 INTERNAL_ERROR']);
    expect(seen).toMatchObject({ closes: 1, reason: { by: 'local', code: ErrorCode.INTERNAL_ERROR } });
    expect(client.connection.queuedBytes).toBe(0);
    expect(other.closed).toBe(false);
    client.destroy();
  });

  it('the queue limit of the connection counts all streams', async () => {
    const client = await quiet({ connectionQueueBytesMax: 3000 }, [[Setting.INITIAL_WINDOW_SIZE, 0]]);
    await client.send(headers(1), headers(3));
    for (const stream of client.streams) {
      stream.sendHeaders(OK);
      stream.sendData(Buffer.alloc(1500));
    }
    expect(client.streams.map((stream) => stream.closed)).toEqual([false, false]);
    client.streams[1]!.sendData(Buffer.alloc(1));
    await settle();
    expect(client.resets).toEqual(['3 INTERNAL_ERROR']);
    client.destroy();
  });

  it('any chunks through any windows arrive whole and in order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 40_000 }), fc.boolean()), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 50_000 }),
        fc.integer({ min: 1, max: 50_000 }),
        fc.boolean(),
        async (chunks, streamUpdate, connectionUpdate, withTrailers) => {
          const total = chunks.reduce((sum, [size]) => sum + size, 0);
          const streamStep = Math.max(streamUpdate, Math.ceil(total / 100)); // not too many rounds
          const connectionStep = Math.max(connectionUpdate, Math.ceil(total / 100));
          const client = await quiet({ controlFrameBurst: 1e9 }, [[Setting.INITIAL_WINDOW_SIZE, streamStep]]);
          await client.send(headers(1));
          const stream = client.streams[0]!;
          const sent: Buffer[] = [];
          stream.sendHeaders(OK);
          const lent = Buffer.alloc(40_000);
          chunks.forEach(([size, isLent], i) => {
            const chunk = Buffer.alloc(size, i + 1);
            sent.push(chunk);
            const isLast = !withTrailers && i === chunks.length - 1;
            if (isLent && !isLast) stream.sendLent(lent.fill(i + 1).subarray(0, size));
            else stream.sendData(chunk, isLast);
          });
          lent.fill(0);
          if (withTrailers) stream.sendTrailers(Buffer.from([0x89]));
          await settle();
          for (let rounds = 0; !stream.closed; rounds++) {
            expect(rounds).toBeLessThan(300);
            const before = client.body(1).length;
            client.wire.push(Buffer.concat([windowUpdate(1, streamStep), windowUpdate(0, connectionStep)]));
            await settle();
            if (client.body(1).length === before && !stream.closed) await client.send(windowUpdate(0, 65_535));
          }
          expect(client.body(1).equals(Buffer.concat(sent))).toBe(true);
          expect(client.connection.queuedBytes).toBe(0);
          client.destroy();
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('what we receive', () => {
  it('more than the stream window is a stream error', async () => {
    const client = await quiet({
      streamWindowBytes: 70_000,
      onStream: (stream) => void record(stream, { data: () => {} }),
    });
    await client.send(open(1), ...[1, 2, 3, 4].map(() => data(1, Buffer.alloc(16_384))), data(1, Buffer.alloc(4_464)));
    expect(client.resets).toEqual([]);
    await client.send(data(1, 'x'));
    expect(client.resets).toEqual(['1 FLOW_CONTROL_ERROR']);
    expect(client.goaway).toBeUndefined();
    client.destroy();
  });

  it('more than the connection window is a connection error', async () => {
    const client = await quiet({
      connectionWindowBytes: 65_535,
      streamWindowBytes: 1_000_000,
      onStream: (stream) => void record(stream, { data: () => {} }),
    });
    await client.send(open(1), ...[1, 2, 3].map(() => data(1, Buffer.alloc(16_384))), data(1, Buffer.alloc(16_383)));
    expect(client.goaway).toBeUndefined();
    await client.send(data(1, 'x'));
    expect(client.goaway).toBe('FLOW_CONTROL_ERROR');
    client.destroy();
  });

  it('padding counts, and its credit comes back of itself', async () => {
    const client = await quiet({
      connectionWindowBytes: 65_535,
      onStream: (stream) => void record(stream, { data: () => {} }),
    });
    const padded = Buffer.concat([Buffer.from([255]), Buffer.alloc(255)]);
    await client.send(open(1), ...Array.from({ length: 127 }, () => frame(FrameType.DATA, Flag.PADDED, 1, padded)));
    expect(updates(client, 0)).toEqual([]);
    await client.send(frame(FrameType.DATA, Flag.PADDED, 1, padded));
    expect(updates(client, 0)).toEqual([128 * 256]);
    client.destroy();
  });

  it('windows are announced again when half of them is consumed', async () => {
    const client = await quiet({
      streamWindowBytes: 80_000,
      connectionWindowBytes: 100_000,
      onStream: (stream) => void record(stream, { data: () => {} }),
    });
    await client.send(open(1), ...[1, 2, 3, 4].map(() => data(1, Buffer.alloc(16_384))));
    const stream = client.streams[0]!;
    stream.consumed(39_999);
    await settle();
    expect(updates(client, 1)).toEqual([]);
    stream.consumed(1);
    await settle();
    expect(updates(client, 1)).toEqual([40_000]);
    expect(updates(client, 0)).toEqual([]);
    stream.consumed(10_000);
    await settle();
    expect(updates(client, 0)).toEqual([50_000]);
    expect(() => stream.consumed(65_536 - 50_000 + 1)).toThrow('more than was delivered');
    client.destroy();
  });

  it('a stream that ends returns what it had not consumed', async () => {
    const client = await quiet({
      connectionWindowBytes: 65_535,
      onStream: (stream) => void record(stream, { data: () => {} }),
    });
    await client.send(open(1), ...[1, 2, 3].map(() => data(1, Buffer.alloc(16_384))));
    expect(updates(client, 0)).toEqual([]);
    await client.send(rst(1));
    expect(updates(client, 0)).toEqual([3 * 16_384]);
    client.streams[0]!.consumed(100); // too late, and harmless
    client.destroy();
  });

  it('data for a stream we have reset returns its credit at once', async () => {
    const client = await quiet({ connectionWindowBytes: 65_535 });
    await client.send(open(1));
    client.streams[0]!.reset(ErrorCode.CANCEL);
    await client.send(...[1, 2, 3].map(() => data(1, Buffer.alloc(16_384))));
    expect(updates(client, 0)).toEqual([2 * 16_384]); // half of the window is a reason to say so
    expect(client.goaway).toBeUndefined();
    client.destroy();
  });

  it('a small window of ours holds once the client has acknowledged it', async () => {
    const client = new Client({
      streamWindowBytes: 100,
      onStream: (stream) => void record(stream, { data: () => {} }),
    });
    await client.send(
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      settings([]),
      open(1),
      data(1, Buffer.alloc(150)),
    );
    expect(client.resets).toEqual([]); // it could not know yet
    await client.send(frame(FrameType.SETTINGS, Flag.ACK, 0, new Uint8Array(0)), open(3), data(3, Buffer.alloc(100)));
    expect(client.resets).toEqual([]);
    await client.send(data(3, 'x'));
    expect(client.resets).toEqual(['3 FLOW_CONTROL_ERROR']);
    await client.send(data(1, 'x'));
    expect(client.resets).toEqual(['3 FLOW_CONTROL_ERROR', '1 FLOW_CONTROL_ERROR']);
    client.destroy();
  });

  it('uploads far beyond the windows never stop, and lose nothing', async () => {
    const bodies: ReturnType<typeof record>[] = [];
    const client = await quiet({
      streamWindowBytes: 65_535,
      connectionWindowBytes: 65_535,
      onStream: (stream) => bodies.push(record(stream)),
    });
    await client.send(open(1));
    let stream = 65_535;
    let connection = 65_535;
    let sent = 0;
    for (let i = 0; sent < 1_500_000; i++) {
      const size = Math.min(16_384, stream, connection);
      expect(size).toBeGreaterThan(0);
      client.frames.length = 0;
      await client.send(data(1, Buffer.alloc(size, i)));
      sent += size;
      stream += updates(client, 1).reduce((a, b) => a + b, 0) - size;
      connection += updates(client, 0).reduce((a, b) => a + b, 0) - size;
    }
    expect(Buffer.concat(bodies[0]!.body).length).toBe(sent);
    client.destroy();
  });
});

describe('output', () => {
  it('replies of one turn leave in one write', async () => {
    const client = await quiet();
    await client.send(headers(1), headers(3), headers(5));
    client.writes = 0;
    for (const stream of client.streams) stream.respond(Buffer.from([0x88]), Buffer.from('body'), Buffer.from([0x89]));
    expect(client.writes).toBe(0);
    await settle();
    expect(client.writes).toBe(1);
    expect(client.of(FrameType.HEADERS)).toHaveLength(6);
    client.destroy();
  });

  it('flush sends at once', async () => {
    const client = await quiet();
    await client.send(headers(1));
    client.writes = 0;
    client.streams[0]!.respond(Buffer.from([0x88]), Buffer.from('body'), Buffer.from([0x89]));
    client.connection.flush();
    expect(client.writes).toBe(1);
    await settle();
    expect(client.writes).toBe(1);
    client.destroy();
  });

  it('a large response stops at the socket, not in it', async () => {
    const client = await quiet({ outputHighWaterBytes: 100_000 }, [[Setting.INITIAL_WINDOW_SIZE, 2 ** 31 - 1]]);
    await client.send(windowUpdate(0, 2 ** 30), headers(1));
    client.reading = false;
    const stream = client.streams[0]!;
    stream.sendHeaders(OK);
    stream.sendData(Buffer.alloc(10_000_000, 7), true);
    await settle();
    const inSocket = client.connection.queuedBytes - stream.queuedBytes;
    expect(inSocket).toBeLessThan(100_000 + 2 * 16_384);
    expect(stream.queuedBytes).toBeGreaterThan(9_800_000);
    client.resumeReading();
    for (let i = 0; i < 400 && !stream.closed; i++) await settle();
    expect(client.body(1).length).toBe(10_000_000);
    client.destroy();
  });

  it('response header blocks larger than a frame continue', async () => {
    const client = await quiet();
    await client.send(headers(1));
    client.streams[0]!.sendHeaders([...OK, ['x-large', '~'.repeat(40_000)]], true);
    await settle();
    expect(client.of(FrameType.CONTINUATION).length).toBeGreaterThan(0);
    expect(client.headers(1)[0]!.get('x-large')).toHaveLength(40_000);
    client.destroy();
  });

  it('the default windows and marks are the documented ones', () => {
    expect(HTTP2_DEFAULTS.streamWindowBytes).toBe(1_048_576);
    expect(HTTP2_DEFAULTS.connectionWindowBytes).toBe(4_194_304);
  });
});
