import pino from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { peerLimits } from '../../server/peer/limits.ts';
import { encodeFrame } from '../../server/peer/peer-frame.ts';
import { PeerLink } from '../../server/peer/peer-link.ts';
import { append, chunk, closeAll, connected, heartbeat, pause, startMember, startRawMember, until } from './rig.ts';

afterEach(closeAll);

const KIB = 1024;
const MIB = 1024 * KIB;

/** Gives `one` APPENDs for member 2, in turns of the event loop, until the system and the socket take no more. Returns how many. */
async function fill(one: Awaited<ReturnType<typeof startMember>>, bytes: number, first = 0): Promise<number> {
  const waiting = () => one.transport.counters().get(2n)!.waitingMessages;
  let index = first;
  for (let still = 0; still < 5; ) {
    one.transport.send([append(1n, 2n, index++, bytes)]);
    await pause(1);
    still = waiting() > 0 ? still + 1 : 0;
  }
  return index;
}

describe('a member that does not read', () => {
  it('holds up to the limit and no more; what is beyond is reported', async () => {
    const size = encodeFrame(append(1n, 2n, 1_000_000, 64 * KIB)).length;
    const one = await startMember(1n, { limits: { backlogBytesMax: 20 * size } });
    const raw = await startRawMember(2n, { paused: true });
    one.transport.setMembers([raw.address()]);
    await connected(one, raw);
    const index = await fill(one, 64 * KIB, 1_000_000);
    const counters = () => one.transport.counters().get(2n)!;
    while (counters().waitingMessages < 20) one.transport.send([append(1n, 2n, index, 64 * KIB)]);
    await pause(5);
    expect(one.unreachable).toEqual([]);
    expect(counters()).toMatchObject({ waitingMessages: 20, waitingBytes: 20 * size, sendFailures: 0 });
    // Once for all that is lost in one turn.
    one.transport.send([append(1n, 2n, index, 64 * KIB), append(1n, 2n, index, 64 * KIB)]);
    expect(one.unreachable).toEqual([]);
    await pause(0);
    expect(one.unreachable).toEqual([2n]);
    expect(counters()).toMatchObject({ waitingMessages: 20, sendFailures: 2 });
  });

  it('hears what is urgent before the data that has waited, and that in order', async () => {
    const one = await startMember(1n, { limits: { writeHighWaterBytes: 128 * KIB, frameBytesTarget: 64 * KIB } });
    const raw = await startRawMember(2n, { paused: true });
    one.transport.setMembers([raw.address()]);
    await connected(one, raw);
    const stalled = await fill(one, 64 * KIB);
    for (let i = 0; i < 200; i++) one.transport.send([append(1n, 2n, stalled + i, 64 * KIB)]);
    const waited = one.transport.counters().get(2n)!.waitingMessages;
    expect(waited).toBeGreaterThanOrEqual(200);
    one.transport.send([heartbeat(1n, 2n, 7)]);
    expect(one.transport.counters().get(2n)!.waitingMessages).toBe(waited + 1);
    const { socket, frames } = raw.of('stream');
    socket.resume();
    await until(() => frames.flat().length === stalled + 201);
    const contexts = frames.flat().map(({ raft }) => raft!.context);
    const behind = frames.flat().length - 1 - contexts.indexOf(7);
    // All that waited when it came is behind it, but for what was on its way to the socket.
    expect(behind).toBeGreaterThanOrEqual(waited);
    const indexes = frames.flat().flatMap(({ raft }) => (raft!.context === 7 ? [] : [raft!.index]));
    expect(indexes).toEqual(Array.from({ length: stalled + 200 }, (_, i) => i));
    expect(one.unreachable).toEqual([]);
  });

  it('keeps the newest urgent messages, up to the limit', async () => {
    const one = await startMember(1n, { limits: { urgentMessagesMax: 10 } });
    const raw = await startRawMember(2n, { paused: true });
    one.transport.setMembers([raw.address()]);
    await connected(one, raw);
    await fill(one, 256 * KIB);
    for (let i = 1; i <= 10; i++) one.transport.send([heartbeat(1n, 2n, i)]);
    expect(one.transport.counters().get(2n)!.sendFailures).toBe(0);
    one.transport.send([heartbeat(1n, 2n, 11)]);
    expect(one.transport.counters().get(2n)!.sendFailures).toBe(1);
    const { socket, frames } = raw.of('stream');
    socket.resume();
    await until(() => one.transport.counters().get(2n)!.waitingMessages === 0);
    const contexts = () => frames.flat().flatMap(({ raft }) => (raft!.context > 0 ? [raft!.context] : []));
    await until(() => contexts().length === 10);
    expect(contexts()).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  it('does not hold up the other lane, nor another member', async () => {
    const [one, three] = [await startMember(1n), await startMember(3n)];
    const raw = await startRawMember(2n);
    one.transport.setMembers([raw.address(), three.address()]);
    await connected(one, raw);
    await connected(one, three);
    raw.of('bulk').socket.pause();
    for (let i = 0; i < 30; i++) one.transport.send([chunk(1n, 2n, 1n, MIB)]);
    await pause(20);
    expect(one.transport.counters().get(2n)!.waitingMessages).toBeGreaterThan(0);
    one.transport.send([append(1n, 2n, 5), append(1n, 3n, 6)]);
    await until(() => raw.of('stream').frames.length === 1 && three.received.length === 1);
    raw.of('bulk').socket.resume();
    await until(() => raw.of('bulk').frames.flat().length === 30);
    expect(one.unreachable).toEqual([]);
  });

  it('of contents of snapshots costs those, and nobody is told: who waits for them asks again', async () => {
    const one = await startMember(1n, { limits: { backlogMessagesMax: 5 } });
    const raw = await startRawMember(2n);
    one.transport.setMembers([raw.address()]);
    await connected(one, raw);
    raw.of('bulk').socket.pause();
    for (let i = 0; i < 30; i++) one.transport.send([chunk(1n, 2n, 1n, MIB)]);
    await pause(5);
    expect(one.transport.counters().get(2n)!.sendFailures).toBeGreaterThan(0);
    raw.of('bulk').socket.terminate();
    await until(() => one.transport.counters().get(2n)!.disconnects === 1);
    await connected(one, raw);
    expect(one.unreachable).toEqual([]);
  });

  it('is given up when it does not read for too long', async () => {
    const one = await startMember(1n, { limits: { pingIntervalMs: 20 } });
    const raw = await startRawMember(2n, { paused: true });
    one.transport.setMembers([raw.address()]);
    await connected(one, raw);
    for (let i = 0; i < 20; i++) one.transport.send([append(1n, 2n, i, MIB)]);
    await until(() => one.unreachable.length > 0);
    expect(one.log).toContainEqual(
      expect.objectContaining({ msg: 'a member does not answer: cutting the connection', lane: 'stream' }),
    );
    expect(one.transport.counters().get(2n)!.sendFailures).toBeGreaterThan(0);
  });

  it.each([
    ['stream', { pingsUnansweredMax: 1, bulkPingsUnansweredMax: 9 }],
    ['bulk', { pingsUnansweredMax: 9, bulkPingsUnansweredMax: 1 }],
  ] as const)(
    'is not given up while it reads, however slowly: its pongs wait behind the data (%s)',
    async (lane, pings) => {
      const raw = await startRawMember(2n, { paused: true });
      const link = new PeerLink(
        {
          identity: { clusterId: 1n, memberId: 1n },
          tls: undefined,
          limits: peerLimits({ writeHighWaterBytes: 64 * KIB, frameBytesTarget: 64 * KIB, ...pings }),
          log: pino({ enabled: false }),
          to: 2n,
          lane,
          onLoss: () => {},
          onRemoved: () => {},
        },
        raw.address().peerUrls,
      );
      await until(() => link.openSinceMs !== undefined);
      const { socket } = raw.of(lane);
      const item = encodeFrame(append(1n, 2n, 1, 64 * KIB));
      const refill = async () => {
        while (link.waiting.messages < 1000) link.send(item, false);
        await pause(5);
      };
      for (let ticks = 0; ticks < 10; ticks++) {
        await refill();
        const { messages } = link.waiting;
        socket.resume();
        await until(() => link.waiting.messages < messages);
        socket.pause();
        link.tick(0);
        expect(link.disconnects).toBe(0);
      }
      await refill();
      link.tick(0);
      link.tick(0);
      await until(() => link.disconnects === 1);
      await link.close();
    },
  );
});
