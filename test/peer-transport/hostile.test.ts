import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type { PeerMessage } from '../../core/node/peer-message.ts';
import { type Accepted, greeting, judge, LANE_PATHS, type Refused } from '../../server/peer/handshake.ts';
import { encodeFrame } from '../../server/peer/peer-frame.ts';
import { append, CLUSTER, closeAll, dialRaw, heartbeat, raft, sendFrame, startMember, tcp, until } from './rig.ts';

afterEach(closeAll);

const self = { clusterId: CLUSTER, memberId: 1n };
const nobody = () => false;

describe('who wants to connect', () => {
  const proper = greeting({ clusterId: CLUSTER, memberId: 2n }, 1n);

  it('says who it is, whom it means, of which cluster, and in which language', () => {
    const judged = (change: Record<string, string>, path = LANE_PATHS.stream) => {
      const verdict: Accepted | Refused = judge(path, { ...proper, ...change }, self, (id) => id === 0xdeadn);
      return 'from' in verdict ? verdict : verdict.status;
    };
    expect(judged({})).toEqual({ from: 2n, lane: 'stream' });
    expect(judged({}, LANE_PATHS.bulk)).toEqual({ from: 2n, lane: 'bulk' });
    expect(judged({ 'x-server-from': 'ffffffffffffffff' })).toEqual({ from: 2n ** 64n - 1n, lane: 'stream' });
    expect(judged({}, `${LANE_PATHS.bulk}/`)).toBe(404);
    expect(judged({}, '/raft/stream/message/2')).toBe(404);
    expect(judged({ 'x-roster-peer-protocol': '2' })).toBe(400);
    expect(judged({ 'x-etcd-cluster-id': 'c1a6' })).toBe(412);
    expect(judged({ 'x-server-from': 'dead' })).toBe(410);
    // Another cluster removes its own members only.
    expect(judged({ 'x-server-from': 'dead', 'x-etcd-cluster-id': '1' })).toBe(412);
    expect(judged({ 'x-raft-to': '3' })).toBe(421);
    expect(judged({ 'x-server-from': '1' })).toBe(400);
    for (const bad of ['', '0x1', 'G', '10000000000000000', '1, 1', ' 1', '-1']) {
      for (const name of Object.keys(proper)) expect([name, bad, judged({ [name]: bad })]).toEqual([name, bad, 400]);
    }
    for (const name of Object.keys(proper)) {
      const { [name]: _, ...rest } = proper;
      expect(judge(LANE_PATHS.stream, rest, self, nobody)).toMatchObject({ status: 400 });
    }
  });

  it('is answered with a sentence when it is refused', async () => {
    const one = await startMember(1n);
    expect(await dialRaw(one.url, { headers: { 'x-etcd-cluster-id': '7' } }).ended).toEqual({
      code: 412,
      text: 'cluster id mismatch: this member belongs to cluster c1a5, member 2 to cluster 7',
    });
    one.server.setMembers([1n], [2n]);
    expect(await dialRaw(one.url).ended).toEqual({ code: 410, text: 'member 2 has been removed from the cluster' });
    const { socket, text, closed } = tcp(one.url);
    socket.write('GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    await closed;
    expect(text()).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
  });

  it('is refused without a proper WebSocket handshake', async () => {
    const one = await startMember(1n);
    const { socket, text, closed } = tcp(one.url);
    const headers = Object.entries(proper).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(
      `GET ${LANE_PATHS.stream} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${headers.join('')}\r\n`,
    );
    await closed;
    expect(text()).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  });

  it('may not hang up before it hears the reason', async () => {
    const one = await startMember(1n);
    for (let i = 0; i < 20; i++) {
      const { socket } = tcp(one.url);
      socket.write('GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n', () =>
        socket.resetAndDestroy(),
      );
    }
    await until(() => one.server.sockets === 0);
  });
});

describe('what a member may not send', () => {
  const wrong: [string, (socket: WebSocket) => void, number][] = [
    ['a text frame', (socket) => socket.send('hello'), 1003],
    ['bytes that are no frame', (socket) => socket.send(Buffer.from([0x0a, 0x05, 0x01])), 1007],
    ['a frame of messages that are none', (socket) => socket.send(Buffer.from([0x0a, 0x02, 0x08, 0x80])), 1007],
    ['messages of another member', (socket) => sendFrame(socket, heartbeat(3n, 1n)), 1008],
    ['messages for another member', (socket) => sendFrame(socket, heartbeat(2n, 3n)), 1008],
    [
      'Raft messages of another member',
      (socket) => sendFrame(socket, { ...heartbeat(2n, 1n), ...{ raft: heartbeat(3n, 1n).raft! } }),
      1008,
    ],
    [
      'Raft messages for another member',
      (socket) => sendFrame(socket, { ...heartbeat(2n, 1n), ...{ raft: raft('VOTE', 2n, 3n).raft } }),
      1008,
    ],
  ];

  it.each(wrong)('%s: that connection ends, others go on', async (_what, send, code) => {
    const one = await startMember(1n);
    const [bad, good] = [dialRaw(one.url), dialRaw(one.url, { from: 3n })];
    await Promise.all([bad.ready, good.ready]);
    send(bad.socket);
    // Nothing after it is taken.
    for (let i = 0; i < 5; i++) sendFrame(bad.socket, heartbeat(2n, 1n));
    expect((await bad.ended).code).toBe(code);
    sendFrame(good.socket, heartbeat(3n, 1n, 4));
    await until(() => one.received.length > 0);
    expect(one.received.map(({ from }) => from)).toEqual([3n]);
    expect(one.log.filter(({ msg }) => msg === 'a member sent what cannot be: closing its connection')).toHaveLength(1);
    const again = dialRaw(one.url);
    await again.ready;
    sendFrame(again.socket, heartbeat(2n, 1n, 5));
    await until(() => one.received.length === 2);
  });

  it('what stands before the bad message in a frame counts', async () => {
    const one = await startMember(1n);
    const { socket, ready, ended } = dialRaw(one.url);
    await ready;
    sendFrame(socket, heartbeat(2n, 1n, 1), heartbeat(2n, 3n, 2), heartbeat(2n, 1n, 3));
    await ended;
    expect(one.received.map((message) => message.raft!.context)).toEqual([1]);
  });

  it('frames longer than the limit; one as long is taken', async () => {
    const fits = encodeFrame(append(2n, 1n, 1, 3000));
    const one = await startMember(1n, { limits: { messageBytesMax: fits.length, frameBytesTarget: 1000 } });
    const { socket, ready, ended } = dialRaw(one.url);
    await ready;
    socket.send(fits);
    socket.send(Buffer.concat([fits, Buffer.from([0x10])]));
    expect((await ended).code).toBe(1009);
    expect(one.received).toHaveLength(1);
  });

  it('frames of more messages than the limit; one of as many is taken', async () => {
    const one = await startMember(1n, { limits: { frameMessagesMax: 3 } });
    const { socket, ready, ended } = dialRaw(one.url);
    await ready;
    const some = (count: number): PeerMessage[] => Array.from({ length: count }, () => heartbeat(2n, 1n));
    sendFrame(socket, ...some(3));
    sendFrame(socket, ...some(4));
    expect((await ended).code).toBe(1007);
    expect(one.received).toHaveLength(3);
  });

  it('anything else one can think of', async () => {
    const one = await startMember(1n);
    const frame = Buffer.concat([heartbeat(2n, 1n, 3), append(2n, 1n, 4, 20)].map(encodeFrame));
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.tuple(fc.nat(frame.length - 1), fc.nat(255)).map(([at, value]) => Buffer.from(frame).fill(value, at, at + 1)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(garbage, { minLength: 1, maxLength: 5 }), fc.boolean(), async (pieces, raw) => {
        const { socket, ready, ended } = dialRaw(one.url, { from: 5n });
        await ready;
        for (const piece of pieces) {
          // Beneath the WebSocket, or as the content of its frames.
          if (raw) (socket as unknown as { _socket: { write(data: Uint8Array): void } })._socket.write(piece);
          else socket.send(piece);
        }
        socket.close();
        const timer = setTimeout(() => socket.terminate(), 20);
        await ended;
        clearTimeout(timer);
      }),
      { numRuns: 150 },
    );
    const last = dialRaw(one.url);
    await last.ready;
    sendFrame(last.socket, heartbeat(2n, 1n, 99));
    await until(() => one.received.some((message) => message.raft?.context === 99));
  });

  it('garbage before any handshake', async () => {
    const one = await startMember(1n);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        const { socket, closed } = tcp(one.url);
        socket.end(bytes);
        await closed;
      }),
      { numRuns: 50 },
    );
    await until(() => one.server.sockets === 0);
  });

  it('pings that are answered nowhere', async () => {
    const one = await startMember(1n);
    const { socket, ready, ended } = dialRaw(one.url);
    await ready;
    socket.pause();
    // Without a limit this would fill the memory with pongs.
    const flood = setInterval(() => {
      for (let i = 0; i < 5000 && socket.readyState === WebSocket.OPEN; i++) socket.ping(Buffer.alloc(125));
    }, 0);
    await until(() => one.server.sockets === 0);
    clearInterval(flood);
    socket.resume();
    await ended;
  });
});

describe('too many', () => {
  it('connections: one for each member and lane, and the newer one counts', async () => {
    const one = await startMember(1n);
    const first = dialRaw(one.url);
    await first.ready;
    const [second, bulk] = [dialRaw(one.url), dialRaw(one.url, { lane: 'bulk' })];
    await Promise.all([second.ready, bulk.ready]);
    expect(await first.ended).toEqual({ code: 4009, text: 'a newer connection has replaced this one' });
    sendFrame(second.socket, heartbeat(2n, 1n, 2));
    sendFrame(bulk.socket, heartbeat(2n, 1n, 3));
    await until(() => one.received.length === 2);
    expect(one.server.sockets).toBe(2);
    const third = dialRaw(one.url);
    expect((await second.ended).code).toBe(4009);
    await third.ready;
  });

  it('members that nobody knows; those that are known still come in, and an unknown one again', async () => {
    const one = await startMember(1n, { limits: { strangersMax: 2 } });
    one.server.setMembers([1n, 2n], []);
    const strangers = [dialRaw(one.url, { from: 10n }), dialRaw(one.url, { from: 11n })];
    await Promise.all(strangers.map(({ ready }) => ready));
    expect(await dialRaw(one.url, { from: 12n }).ended).toEqual({
      code: 503,
      text: 'too many connections of members that this one does not know',
    });
    const known = dialRaw(one.url, { from: 2n });
    await known.ready;
    sendFrame(known.socket, heartbeat(2n, 1n));
    const again = dialRaw(one.url, { from: 11n });
    await again.ready;
    sendFrame(again.socket, heartbeat(11n, 1n));
    await until(() => one.received.length === 2);
    // Nothing is kept of strangers that have gone.
    for (const { socket } of [...strangers, again]) socket.terminate();
    await until(() => one.server.counters().size === 1);
    const next = dialRaw(one.url, { from: 12n });
    await next.ready;
    sendFrame(next.socket, heartbeat(12n, 1n));
    await until(() => one.received.length === 3);
  });

  it('sockets', async () => {
    const one = await startMember(1n, { limits: { connectionsMax: 3 } });
    const held = [tcp(one.url), tcp(one.url), tcp(one.url)];
    await until(() => one.server.sockets === 3);
    await tcp(one.url).closed;
    expect(one.server.sockets).toBe(3);
    held[0]!.socket.destroy();
    await until(() => one.server.sockets === 2);
    const { ready, socket } = dialRaw(one.url);
    await ready;
    expect(socket.readyState).toBe(WebSocket.OPEN);
  });

  it('headers, or headers too slow', async () => {
    const limits = { requestTimeoutMs: 50, requestCheckIntervalMs: 10, headerBytesMax: 1024 };
    const one = await startMember(1n, { limits });
    const long = tcp(one.url);
    long.socket.write(`GET /version HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(1100)}\r\n\r\n`);
    await long.closed;
    expect(long.text()).toMatch(/^HTTP\/1\.1 431 /);
    const slow = tcp(one.url);
    slow.socket.write('GET /version HTTP/1.1\r\n');
    await slow.closed;
    expect(slow.text()).toMatch(/^HTTP\/1\.1 408 /);
    // One that says nothing at all.
    await tcp(one.url).closed;
  });
});
