import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ErrorCode, Flag, FrameType, frame, STREAM_ID_MAX } from '../../server/http2/frames.ts';
import { Client, data, destroyClients, headers, open, ping, record, rst, settle } from './support.ts';

const OK: [string, string][] = [[':status', '200']];
const hold = { onStream: (stream: Parameters<typeof record>[0]) => void record(stream) };

async function greeted(options: ConstructorParameters<typeof Client>[0] = {}): Promise<Client> {
  const client = new Client(options);
  await client.greet();
  return client;
}

const goaways = (client: Client) =>
  client.of(FrameType.GOAWAY).map((one) => [one.payload.readUInt32BE(0), one.payload.readUInt32BE(4)]);

afterEach(destroyClients);

describe('the life of a stream', () => {
  it('the handler hears of the body, the end and the close, in order and once', async () => {
    const events: string[] = [];
    const client = await greeted({
      onStream: (stream) => {
        events.push(`open ${stream.headers.method} ${stream.headers.path}`);
        record(stream, {
          data: (bytes, start, end) => events.push(`data ${bytes.toString('latin1', start, end)}`),
          end: () => {
            events.push('end');
            stream.respond(Buffer.from([0x88]), Buffer.from('ok'), Buffer.from([0x89]));
          },
          close: (reason) => events.push(`close ${reason.by} ${reason.code}`),
        });
      },
    });
    await client.send(open(1), data(1, 'ab'), data(1, 'c', true));
    expect(events).toEqual(['open POST /', 'data ab', 'data c', 'end', 'close complete 0']);
    expect(client.connection.streamCount).toBe(0);
    client.destroy();
    expect(events).toHaveLength(5);
  });

  it('a reset of the peer carries its code', async () => {
    const client = await greeted(hold);
    await client.send(open(1));
    const seen = record(client.streams[0]!);
    await client.send(rst(1, ErrorCode.CANCEL));
    expect(seen).toMatchObject({ closes: 1, ended: false, reason: { by: 'peer', code: ErrorCode.CANCEL } });
    client.destroy();
    expect(seen.closes).toBe(1);
  });

  it('a lost connection closes every stream, and later calls are harmless', async () => {
    const client = await greeted(hold);
    await client.send(open(1), open(3));
    const seen = client.streams.map((stream) => record(stream));
    client.wire.destroy();
    await settle();
    expect(seen.map((one) => one.reason?.by)).toEqual(['connection', 'connection']);
    expect(client.ended).toEqual({ code: 0, text: 'closed by the peer' });
    const stream = client.streams[0]!;
    stream.sendHeaders(OK);
    expect(stream.sendData(Buffer.from('x'))).toBe(true);
    stream.sendTrailers(Buffer.from([0x89]));
    stream.respond(Buffer.from([0x88]), Buffer.from('x'), Buffer.from([0x89]));
    stream.reset(ErrorCode.CANCEL);
    client.connection.shutdown();
    client.connection.flush();
    client.destroy();
    expect(seen.map((one) => one.closes)).toEqual([1, 1]);
  });

  it('a response that is complete before its request asks the client to stop, and ignores the rest', async () => {
    const client = await greeted(hold);
    await client.send(open(1), data(1, 'a'));
    client.streams[0]!.sendHeaders(OK, true);
    await settle();
    expect(client.resets).toEqual(['1 NO_ERROR']);
    await client.send(data(1, 'b'), data(1, 'c', true), headers(3));
    expect(client.goaway).toBeUndefined();
    expect(client.streams.map((stream) => stream.id)).toEqual([1, 3]);
    client.destroy();
  });

  it('a handler that answers inside data gets nothing more', async () => {
    const events: string[] = [];
    const client = await greeted({
      onStream: (stream) =>
        record(stream, {
          data: () => {
            events.push('data');
            stream.sendHeaders([[':status', '413']], true);
          },
          end: () => events.push('end'),
          close: () => events.push('close'),
        }),
    });
    await client.send(open(1), data(1, 'a', true));
    expect(events).toEqual(['data', 'close']);
    expect(client.resets).toEqual([]); // the request had ended: nothing to stop
    client.destroy();
  });

  it('what a handler throws is not swallowed', async () => {
    const client = await greeted({
      onStream: () => {
        throw new Error('a bug');
      },
    });
    expect(() => client.wire.push(headers(1))).toThrow('a bug');
    client.destroy();
  });

  it('using a stream out of order is an assertion', async () => {
    const client = await greeted(hold);
    await client.send(headers(1));
    const stream = client.streams[0]!;
    expect(() => stream.sendData(Buffer.from('x'))).toThrow('outside the body');
    expect(() => stream.sendTrailers(Buffer.from([0x89]))).toThrow('outside the body');
    stream.sendHeaders(OK);
    expect(() => stream.sendHeaders(OK)).toThrow('has begun');
    expect(() => stream.respond(Buffer.from([0x88]), Buffer.from(''), Buffer.from([0x89]))).toThrow('has begun');
    client.destroy();
  });
});

describe('shutdown', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('announces, serves what was under way, refuses the rest, closes after the last', async () => {
    const client = await greeted(hold);
    await client.send(headers(1));
    client.connection.shutdown();
    client.connection.shutdown();
    await settle();
    expect(goaways(client)).toEqual([[STREAM_ID_MAX, ErrorCode.NO_ERROR]]);
    const notice = client.of(FrameType.PING)[0]!;
    // The peer had not seen it yet.
    await client.send(headers(3));
    expect(client.streams.map((stream) => stream.id)).toEqual([1, 3]);
    await client.send(frame(FrameType.PING, Flag.ACK, 0, notice.payload));
    expect(goaways(client)[1]).toEqual([3, ErrorCode.NO_ERROR]);
    await client.send(headers(5), open(7), data(7, 'ignored'), data(7, '', true));
    expect(client.streams).toHaveLength(2);
    expect(client.resets).toEqual([]);
    expect(client.finished).toBe(false);
    client.streams[1]!.sendHeaders(OK, true);
    await settle();
    expect(client.finished).toBe(false);
    client.streams[0]!.sendHeaders(OK, true);
    await settle();
    expect(client.status(1)).toBe('200');
    expect(client.finished).toBe(true);
    expect(client.goaway).toBe('NO_ERROR');
    vi.advanceTimersByTime(2_000);
    expect(client.ended).toEqual({ code: ErrorCode.NO_ERROR, text: 'shut down' });
  });

  it('an idle connection closes as soon as the peer has seen it', async () => {
    const client = await greeted();
    client.connection.shutdown();
    await settle();
    await client.send(frame(FrameType.PING, Flag.ACK, 0, client.of(FrameType.PING)[0]!.payload));
    expect(client.finished).toBe(true);
    client.destroy();
  });

  it('does not wait for ever for a peer that does not answer the notice', async () => {
    const client = await greeted({ shutdownNoticeMs: 1_000 });
    client.connection.shutdown();
    await settle();
    vi.advanceTimersByTime(500);
    expect(goaways(client)).toHaveLength(1);
    vi.advanceTimersByTime(1_000);
    await settle();
    expect(goaways(client)).toHaveLength(2);
    expect(client.finished).toBe(true);
    client.destroy();
  });

  it('another PING’s answer is not the notice’s', async () => {
    const client = await greeted(hold);
    client.connection.shutdown();
    await client.send(ping('another!', Flag.ACK));
    expect(goaways(client)).toHaveLength(1);
    client.destroy();
  });

  it('the client’s GOAWAY closes the connection after the last stream', async () => {
    const client = await greeted(hold);
    await client.send(headers(1), frame(FrameType.GOAWAY, 0, 0, Buffer.alloc(8)));
    expect(client.finished).toBe(false);
    client.streams[0]!.sendHeaders(OK, true);
    await settle();
    expect(client.finished).toBe(true);
    client.destroy();
  });
});

describe('keepalive', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const TOO_MANY = 'too_many_pings';

  it('with a stream open: pings every 5 s are fine, faster ones are strikes, the third closes', async () => {
    const client = await greeted(hold);
    await client.send(open(1));
    for (let i = 0; i < 10; i++) {
      await client.send(ping());
      vi.advanceTimersByTime(5_000);
    }
    await client.send(ping());
    vi.advanceTimersByTime(4_999);
    await client.send(ping()); // strike one
    await client.send(ping()); // two
    expect(client.goaway).toBeUndefined();
    await client.send(ping());
    expect(client.goaway).toBe('ENHANCE_YOUR_CALM');
    expect(client.goawayDebug).toBe(TOO_MANY);
    client.destroy();
  });

  it('without a stream two hours are the limit', async () => {
    const client = await greeted();
    for (let i = 0; i < 3; i++) {
      await client.send(ping());
      vi.advanceTimersByTime(7_100_000); // seen from 10 s to 2 h: too soon
    }
    expect(client.goaway).toBeUndefined();
    await client.send(ping());
    expect(client.goawayDebug).toBe(TOO_MANY);
    client.destroy();
  });

  it('HEADERS or DATA of ours clear the strikes', async () => {
    const client = await greeted(hold);
    await client.send(open(1));
    const stream = client.streams[0]!;
    stream.sendHeaders(OK);
    for (let i = 0; i < 20; i++) {
      await client.send(ping(), ping(), ping()); // after a reply one is free, then two strikes
      stream.sendData(Buffer.from('x'));
    }
    expect(client.goaway).toBeUndefined();
    await client.send(ping(), ping(), ping(), ping());
    expect(client.goawayDebug).toBe(TOO_MANY);
    client.destroy();
  });

  it('the server asks after two hours of silence and closes 20 s later', async () => {
    const client = await greeted(hold);
    await client.send(open(1));
    const seen = record(client.streams[0]!);
    vi.advanceTimersByTime(7_199_000);
    await settle();
    expect(client.of(FrameType.PING)).toHaveLength(0);
    vi.advanceTimersByTime(2_000);
    await settle();
    expect(client.of(FrameType.PING)).toHaveLength(1);
    vi.advanceTimersByTime(18_000);
    expect(client.ended).toBeUndefined();
    vi.advanceTimersByTime(3_000);
    expect(client.ended).toEqual({ code: ErrorCode.NO_ERROR, text: 'keepalive ping not answered' });
    expect(seen.reason?.by).toBe('connection');
  });

  it('an answer, or anything else, is a sign of life', async () => {
    const client = await greeted({ ...hold, keepaliveTimeMs: 10_000, keepaliveTimeoutMs: 5_000 });
    for (let i = 0; i < 5; i++) {
      vi.advanceTimersByTime(11_000);
      await settle();
      const asked = client.of(FrameType.PING);
      expect(asked).toHaveLength(i + 1);
      await client.send(frame(FrameType.PING, Flag.ACK, 0, asked.at(-1)!.payload));
    }
    expect(client.ended).toBeUndefined();
    client.destroy();
  });
});
