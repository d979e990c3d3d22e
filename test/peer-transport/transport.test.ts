import { createServer } from 'node:http';
import pino from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import type { PeerMessage } from '../../core/node/peer-message.ts';
import { encodeFrame } from '../../server/peer/peer-frame.ts';
import { PeerServer } from '../../server/peer/server.ts';
import {
  append,
  chunk,
  closeAll,
  connected,
  heartbeat,
  pause,
  startMember,
  startProxy,
  startRawMember,
  startTcp,
  tcp,
  until,
} from './rig.ts';

afterEach(closeAll);

const bytesOf = (messages: readonly PeerMessage[]) =>
  messages.map((one) => Buffer.from(encodeFrame(one)).toString('hex'));
/** Nobody listens there: the port was given back. */
async function deadUrl(): Promise<string> {
  const { url, server } = await startTcp(() => {});
  await new Promise((resolve) => server.close(resolve));
  return url;
}

describe('messages between members', () => {
  it('arrive as they were sent, both ways, contents of snapshots on a connection of their own', async () => {
    const [one, two] = [await startMember(1n), await startMember(2n)];
    one.transport.setMembers([one.address(), two.address()]);
    two.transport.setMembers([one.address(), two.address()]);
    await connected(one, two);
    await connected(two, one);
    const there = [append(1n, 2n, 5, 100_000), append(1n, 2n, 6), chunk(1n, 2n, 3n, 300_000)];
    const back = [heartbeat(2n, 1n, 77), chunk(2n, 1n, 2n)];
    one.transport.send(there);
    two.transport.send(back);
    await until(() => two.received.length === 3 && one.received.length === 2);
    expect(bytesOf(two.received).sort()).toEqual(bytesOf(there).sort());
    expect(bytesOf(one.received).sort()).toEqual(bytesOf(back).sort());
    const sizes = there.map((message) => encodeFrame(message).length).reduce((sum, size) => sum + size);
    expect(one.transport.counters().get(2n)).toMatchObject({
      sentMessages: 3,
      sentBytes: sizes,
      sendFailures: 0,
      waitingMessages: 0,
      connections: 2,
    });
    expect(two.server.counters().size).toBe(1);
    expect(two.server.counters().get(1n)).toEqual({ receivedMessages: 3, receivedBytes: sizes, receiveFailures: 0 });
    expect([one.unreachable, two.unreachable]).toEqual([[], []]);
  });

  it('of one piece of work share a frame, urgent ones first; each lane has its frames', async () => {
    const one = await startMember(1n);
    const raw = await startRawMember(2n);
    one.transport.setMembers([raw.address()]);
    await connected(one, raw);
    one.transport.send([append(1n, 2n, 1), append(1n, 2n, 2), chunk(1n, 2n, 3n)]);
    one.transport.send([append(1n, 2n, 3), heartbeat(1n, 2n)]);
    await until(() => raw.of('stream').frames.length > 0 && raw.of('bulk').frames.length > 0);
    one.transport.send([append(1n, 2n, 4)]);
    await until(() => raw.of('stream').frames.length > 1);
    expect(raw.of('stream').frames.map((frame) => frame.map(({ raft }) => raft!.index))).toEqual([[0, 1, 2, 3], [4]]);
    expect(raw.of('bulk').frames.map((frame) => frame.map((message) => message.chunk!.snapshot))).toEqual([[3n]]);
  });

  it('that nobody waits for leave with the next, in their order, or by themselves', async () => {
    const one = await startMember(1n, { limits: { lingerMs: 100 } });
    const raw = await startRawMember(2n);
    one.transport.setMembers([raw.address()]);
    await connected(one, raw);
    const indexes = () => raw.of('stream').frames.map((frame) => frame.map(({ raft }) => raft!.index));
    one.transport.send([append(1n, 2n, 1)], 'linger');
    await Promise.resolve();
    one.transport.send([append(1n, 2n, 2)]);
    await until(() => indexes().length === 1);
    one.transport.send([append(1n, 2n, 3)], 'linger');
    one.transport.send([append(1n, 2n, 4)], 'linger');
    await until(() => indexes().length === 2);
    one.transport.send([append(1n, 2n, 5)], 'linger');
    one.transport.send([append(1n, 2n, 6)], 'now');
    one.transport.send([append(1n, 2n, 7)]);
    await until(() => indexes().length === 4);
    expect(indexes()).toEqual([[1, 2], [3, 4], [5, 6], [7]]);
  });

  it('to nobody, or to this member itself, are dropped', async () => {
    const one = await startMember(1n);
    one.transport.setMembers([one.address()]);
    one.transport.send([heartbeat(1n, 1n), heartbeat(1n, 5n)]);
    expect(one.transport.counters().size).toBe(0);
    expect(one.transport.activeSince(1n)).toBeUndefined();
  });

  it('must say whose they are', async () => {
    const one = await startMember(1n);
    expect(() => one.transport.send([heartbeat(2n, 3n)])).toThrow(/whose/);
  });

  it('that are urgent wait for the dial under way, the others are lost and reported, but not from within send', async () => {
    const [one, two] = [await startMember(1n), await startMember(2n)];
    one.transport.setMembers([two.address()]);
    one.transport.send([append(1n, 2n, 1), heartbeat(1n, 2n, 4)]);
    expect(one.unreachable).toEqual([]);
    await until(() => two.received.length === 1);
    expect(two.received[0]!.raft!.context).toBe(4);
    expect(one.unreachable).toEqual([2n]);
    expect(one.transport.counters().get(2n)!.sendFailures).toBe(1);
  });

  it('do not wait for longer than one dial', async () => {
    const one = await startMember(1n);
    one.transport.setMembers([{ id: 2n, peerUrls: [await deadUrl()] }]);
    one.transport.send([heartbeat(1n, 2n), heartbeat(1n, 2n)]);
    await until(() => one.unreachable.length > 0);
    expect(one.transport.counters().get(2n)).toMatchObject({ sendFailures: 2, waitingMessages: 0, connections: 0 });
    expect(one.transport.activeSince(2n)).toBeUndefined();
  });

  it('longer than the limit are not sent, those as long as it are', async () => {
    const fits = encodeFrame(append(1n, 2n, 1, 5000)).length;
    const [one, two] = [
      await startMember(1n, { limits: { messageBytesMax: fits, frameBytesTarget: 1000 } }),
      await startMember(2n, { limits: { messageBytesMax: fits, frameBytesTarget: 1000 } }),
    ];
    one.transport.setMembers([two.address()]);
    await connected(one, two);
    one.transport.send([append(1n, 2n, 1, 5001), append(1n, 2n, 1, 5000)]);
    await until(() => two.received.length === 1);
    expect(two.received[0]!.raft!.entries[0]!.data.length).toBe(5000);
    expect(one.unreachable).toEqual([2n]);
    expect(one.log).toContainEqual(
      expect.objectContaining({ msg: 'a message is too long to be sent', bytes: fits + 1 }),
    );
  });
});

describe('a connection that is lost', () => {
  it('is reported, and made again when the member is back', async () => {
    const one = await startMember(1n);
    const first = await startMember(2n);
    one.transport.setMembers([first.address()]);
    await connected(one, first);
    expect(one.transport.activeSince(2n)).toBeLessThanOrEqual(performance.now());
    await first.server.close();
    await until(() => one.unreachable.length > 0);
    expect(one.transport.counters().get(2n)!.disconnects).toBeGreaterThan(0);
    const again = await startMember(2n, { url: first.url });
    await connected(one, again);
    one.transport.send([append(1n, 2n, 9)]);
    await until(() => again.received.length === 1);
  });

  it('may end in the middle of anything', async () => {
    const [one, two] = [await startMember(1n), await startMember(2n)];
    const proxy = await startProxy(two.url);
    one.transport.setMembers([{ id: 2n, peerUrls: [proxy.url] }]);
    for (let round = 0; round < 20; round++) {
      await connected(one, two);
      for (let i = 0; i < 20; i++) one.transport.send([append(1n, 2n, i, 20_000), chunk(1n, 2n, 1n, 20_000)]);
      if (round % 2 === 0) await pause(round % 5);
      proxy.cut();
      await until(() => one.transport.activeSince(2n) === undefined);
    }
    await connected(one, two);
    two.received.length = 0;
    one.transport.send([heartbeat(1n, 2n, 99)]);
    await until(() => two.received.some(({ raft }) => raft?.context === 99));
    expect(two.server.counters().get(1n)!.receiveFailures).toBe(0);
  });

  it('is noticed although nothing says so', async () => {
    const [one, two] = [await startMember(1n, { limits: { pingIntervalMs: 20 } }), await startMember(2n)];
    const proxy = await startProxy(two.url);
    one.transport.setMembers([{ id: 2n, peerUrls: [proxy.url] }]);
    await connected(one, two);
    await until(() => one.transport.counters().get(2n)!.roundTripMs > 0);
    proxy.freeze();
    await until(() => one.unreachable.length > 0);
    expect(one.log).toContainEqual(
      expect.objectContaining({ msg: 'a member does not answer: cutting the connection', lane: 'stream' }),
    );
    proxy.thaw();
    await connected(one, two);
  });

  it('is cut by who was dialed, too, when nothing comes any more', async () => {
    const [one, two] = [await startMember(1n), await startMember(2n, { limits: { pingIntervalMs: 20 } })];
    const proxy = await startProxy(two.url);
    one.transport.setMembers([{ id: 2n, peerUrls: [proxy.url] }]);
    await connected(one, two);
    await until(() => two.server.sockets === 2);
    proxy.freeze();
    await until(() => two.server.sockets === 0);
    expect(two.log).toContainEqual(expect.objectContaining({ msg: 'a member is silent: cutting its connection' }));
  });

  it('stays while both sides live, however little they say', async () => {
    const limits = { pingIntervalMs: 10, pingsUnansweredMax: 50, silentIntervalsMax: 50 };
    const [one, two] = [await startMember(1n, { limits }), await startMember(2n, { limits })];
    one.transport.setMembers([two.address()]);
    await connected(one, two);
    const since = one.transport.activeSince(2n);
    await pause(700);
    expect(one.transport.activeSince(2n)).toBe(since);
    expect(two.server.sockets).toBe(2);
  });

  it('ends when who was dialed begins to talk', async () => {
    const one = await startMember(1n);
    const raw = await startRawMember(2n);
    one.transport.setMembers([raw.address()]);
    await connected(one, raw);
    raw.of('stream').socket.send(Buffer.from('hello'));
    await until(() => one.unreachable.length > 0);
    await until(() => raw.connections.length === 3);
  });
});

describe('the members', () => {
  it('are dialed at each of their URLs in turn', async () => {
    const [one, two] = [await startMember(1n), await startMember(2n)];
    const peerUrls = [await deadUrl(), 'http://127.0.0.1:0', 'no url', two.url];
    one.transport.setMembers([{ id: 2n, peerUrls }]);
    await connected(one, two);
    expect(one.transport.counters().get(2n)!.dialsFailed).toBe(6);
  });

  it('come and go, and move', async () => {
    const [one, two, three] = [await startMember(1n), await startMember(2n), await startMember(3n)];
    one.transport.setMembers([one.address(), two.address()]);
    await connected(one, two);
    const since = one.transport.activeSince(2n);

    one.transport.setMembers([one.address(), two.address(), three.address()]);
    await connected(one, three);
    expect(one.transport.activeSince(2n)).toBe(since);

    // With one more URL, a connection to one that it keeps stays.
    one.transport.setMembers([{ id: 2n, peerUrls: ['http://127.0.0.1:1', two.url] }, three.address()]);
    await pause(20);
    expect(one.transport.activeSince(2n)).toBe(since);

    // Member 2 is at another place now.
    const moved = await startMember(2n);
    one.transport.setMembers([moved.address(), three.address()]);
    await until(() => one.transport.activeSince(2n) !== since);
    await connected(one, moved);
    one.transport.send([heartbeat(1n, 2n, 8)]);
    await until(() => moved.received.length === 1);
    await until(() => two.server.sockets === 0);

    one.transport.setMembers([moved.address()]);
    await until(() => three.server.sockets === 0);
    expect([...one.transport.counters().keys()]).toEqual([2n]);
    expect(one.unreachable).not.toContain(3n);
  });

  it('that move while they are being dialed are dialed there', async () => {
    const [one, two] = [await startMember(1n), await startMember(2n)];
    const { url: silent } = await startTcp(() => {});
    one.transport.setMembers([{ id: 2n, peerUrls: [silent] }]);
    await pause(5);
    one.transport.setMembers([two.address()]);
    await connected(one, two);
  });

  it('that accept and say nothing are given up after a time', async () => {
    const one = await startMember(1n, { limits: { dialTimeoutMs: 30 } });
    const { url } = await startTcp((socket) => {
      // A handshake that never ends.
      socket.write('HTTP/1.1 101 Switching Protocols\r\n');
    });
    one.transport.setMembers([{ id: 2n, peerUrls: [url] }]);
    await until(() => one.log.some(({ reason }) => reason === 'no answer within 30 ms'));
  });

  it('of another cluster refuse, and the log says so once', async () => {
    const [one, two] = [await startMember(1n), await startMember(2n, { clusterId: 0xbadn })];
    one.transport.setMembers([two.address()]);
    await until(() => one.transport.counters().get(2n)!.dialsFailed >= 10);
    const warnings = one.log.filter(({ level }) => level === 40);
    expect(warnings.map(({ reason }) => reason)).toEqual([
      'refused with status 412: cluster id mismatch: this member belongs to cluster bad, member 1 to cluster c1a5',
    ]);
    expect(one.removed).toEqual([]);
  });

  it('that are others than they were thought to be refuse', async () => {
    const [one, three] = [await startMember(1n), await startMember(3n)];
    one.transport.setMembers([{ id: 2n, peerUrls: [three.url] }]);
    await until(() =>
      one.log.some(({ reason }) => reason === 'refused with status 421: this is member 3, not member 2'),
    );
    expect(three.received).toEqual([]);
  });
});

describe('a removed member', () => {
  it('is cut off, refused from then on, and told so', async () => {
    const [one, two] = [await startMember(1n), await startMember(2n)];
    one.transport.setMembers([two.address()]);
    await connected(one, two);
    two.server.setMembers([2n], [1n]);
    await until(() => one.removed.length > 0);
    await until(() => one.transport.counters().get(2n)!.dialsFailed >= 6);
    expect(one.removed).toEqual(['member 1 has been removed from the cluster']);
    expect(one.transport.counters().get(2n)!.connections).toBe(0);
    // It stays removed, whatever else changes.
    two.server.setMembers([2n, 1n], []);
    const { dialsFailed } = one.transport.counters().get(2n)!;
    await until(() => one.transport.counters().get(2n)!.dialsFailed > dialsFailed + 2);
  });

  it('does not hear it from a web server that has lost a page', async () => {
    const one = await startMember(1n);
    const web = createServer((_request, response) => response.writeHead(410).end('gone'));
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    const { port } = web.address() as { port: number };
    one.transport.setMembers([{ id: 2n, peerUrls: [`http://127.0.0.1:${port}`] }]);
    await until(() => one.transport.counters().get(2n)!.dialsFailed >= 4);
    expect(one.removed).toEqual([]);
    expect(one.log).toContainEqual(expect.objectContaining({ reason: 'refused with status 410: gone' }));
    await one.transport.close();
    await new Promise((resolve) => web.close(resolve));
  });

  it('is nobody who is only not known', async () => {
    const [one, two] = [await startMember(1n), await startMember(2n)];
    two.server.setMembers([2n], []);
    one.transport.setMembers([two.address()]);
    await connected(one, two);
    one.transport.send([heartbeat(1n, 2n)]);
    await until(() => two.received.length === 1);
    expect(one.removed).toEqual([]);
  });
});

describe('closing', () => {
  it('sends what has been said before', async () => {
    const [one, two] = [await startMember(1n), await startMember(2n)];
    one.transport.setMembers([two.address()]);
    await connected(one, two);
    one.transport.send([append(1n, 2n, 1), heartbeat(1n, 2n)]);
    await one.transport.close();
    await until(() => two.received.length === 2);
    await until(() => two.server.sockets === 0);
    one.transport.send([heartbeat(1n, 2n)]);
    one.transport.setMembers([two.address()]);
    await pause(20);
    expect(two.server.sockets).toBe(0);
    expect(one.unreachable).toEqual([]);
  });

  it('does not wait for who does not read, be it before or after the handshake', async () => {
    const one = await startMember(1n, { limits: { closeGraceMs: 30 } });
    const raw = await startRawMember(2n, { paused: true });
    const { url: silent } = await startTcp(() => {});
    one.transport.setMembers([raw.address(), { id: 3n, peerUrls: [silent] }]);
    await connected(one, raw);
    for (let i = 0; i < 50; i++) one.transport.send([append(1n, 2n, i, 1_000_000)]);
    await pause(10);
    await one.transport.close();
    expect(one.transport.counters().size).toBe(0);
  });

  it('ends the connections of others, and sockets on which nothing was said', async () => {
    const [one, two] = [await startMember(1n), await startMember(2n)];
    one.transport.setMembers([two.address()]);
    await connected(one, two);
    const idle = tcp(two.url);
    await until(() => two.server.sockets === 3);
    await two.server.close();
    expect(two.server.sockets).toBe(0);
    await idle.closed;
    await until(() => one.log.some(({ code }) => code === 1001));
  });

  it('of a server that never listened, or twice, is nothing', async () => {
    const one = await startMember(1n);
    await Promise.all([one.server.close(), one.server.close()]);
    await tcp(one.url).closed;
    const identity = { clusterId: 1n, memberId: 1n };
    const nothing = { members: () => [], version: () => ({ etcdserver: '', etcdcluster: '', storage: '' }) };
    await new PeerServer({
      ...nothing,
      identity,
      log: pino({ enabled: false }),
      onMessage: () => {},
      health: () => Promise.resolve(''),
    }).close();
    await expect(startMember(1n, { url: 'http://192.0.2.1:1' })).rejects.toThrow(
      /^cannot listen for members on http:\/\/192\.0\.2\.1:1: /,
    );
  });
});
