/** Whole states on their way to a follower that is far behind: what may go wrong on the way, and on its disk. */
import { describe, expect, it } from 'vitest';
import type { StateReader } from '../../core/node/machine.ts';
import type { ChunkRequest, PeerMessage } from '../../core/node/peer-message.ts';
import { SNAPSHOT_SILENT_TICKS, SnapshotReceiver } from '../../core/node/snapshot-receiver.ts';
import {
  CHUNKS_PER_REQUEST,
  SNAPSHOT_IDLE_TICKS,
  SNAPSHOTS_OUT_MAX,
  SnapshotSender,
} from '../../core/node/snapshot-sender.ts';
import { NODE_LIMITS } from '../../core/node/world.ts';
import { type Message, MessageType, newMessage } from '../../core/raft/messages.ts';
import { crc32 } from '../../core/util/crc32.ts';
import { Prng } from '../../core/util/prng.ts';
import { Cluster, type Matches, part } from './cluster.ts';
import { ListMachine, type ListWriter } from './list-machine.ts';
import type { Bench } from './world.ts';

const { APPEND, APPEND_RESPONSE, HEARTBEAT, SNAPSHOT } = MessageType.values;

const isOffer: Matches = ({ raft }) => raft?.type === SNAPSHOT;
const isRequest = part('chunk_request');
const isChunk = part('chunk');
const isTraffic: Matches = (message) => isOffer(message) || isRequest(message) || isChunk(message);

/** Chunks of one row each: some more than one request brings. */
const KEYS = Array.from({ length: CHUNKS_PER_REQUEST + 3 }, (_, i) => String.fromCharCode(0x61 + i));

interface Scene {
  cluster: Cluster;
  leader: Bench;
  /** Far behind, and reached again as soon as time passes. */
  follower: Bench;
  other: Bench;
}

/** A follower that missed so much that the leader has forgotten it; one row makes one chunk. */
function behind(limits = {}): Scene {
  const cluster = new Cluster({
    limits: { catchupEntries: 0, followerBytesMax: 1_000_000, snapshotChunkBytes: 1, ...limits },
  });
  const leader = cluster.elect();
  cluster.tick();
  const [follower, other] = cluster.followers;
  leaveBehind(cluster, [follower]);
  return { cluster, leader, follower, other };
}

function leaveBehind(cluster: Cluster, benches: readonly Bench[]): void {
  const { leader } = cluster;
  for (const { node } of benches) cluster.cut.add(node.id);
  for (const key of KEYS.slice(0, -1)) leader.put(key, []);
  // Until the leader takes it for dead, it keeps the log for it; and then lets it go with the next commit.
  cluster.tick(12);
  leader.put(KEYS.at(-1)!, []);
  cluster.tick(2);
  expect(leader.wal.released).toBe(leader.machine.appliedIndex);
  cluster.cut.clear();
}

/** The same, with `chunks` of its snapshot there and the next ones held back. */
function midway(limits = {}, chunks = 3) {
  const scene = behind(limits);
  let left = chunks;
  const held = scene.cluster.hold((message) => isChunk(message) && left-- <= 0);
  scene.cluster.tick(2);
  const writer = scene.follower.machine.writer!;
  expect(writer.rows).toEqual(KEYS.slice(0, chunks));
  return { ...scene, held, writer };
}

function installs({ events }: Bench): number {
  return events.filter((event) => event.startsWith('in force')).length;
}

function expectLevel({ cluster, leader, follower }: Pick<Scene, 'cluster' | 'leader' | 'follower'>, keys = KEYS): void {
  const { values, appliedIndex } = leader.machine;
  expect(values).toEqual(keys);
  for (const { machine } of cluster.benches)
    expect([machine.values, machine.appliedIndex, machine.openReaders]).toEqual([values, appliedIndex, 0]);
  expect(follower.machine.writer).toBeUndefined();
}

describe('a follower that needs what the leader has forgotten', () => {
  it('is sent the state in pieces, and goes on with the log', () => {
    const scene = behind();
    const { cluster, leader, follower } = scene;
    const chunks = cluster.watch(isChunk);
    cluster.tick(2);
    expect(chunks).toHaveLength(KEYS.length);
    expectLevel(scene);
    leader.put('later', []);
    cluster.tick();
    expectLevel(scene, [...KEYS, 'later']);
    expect(installs(follower)).toBe(1);
    const none = { succeeded: 0, failed: 0, underWay: 0 };
    expect(leader.node.snapshotCounts).toEqual({ sent: { ...none, succeeded: 1 }, received: none, installing: 0 });
    expect(follower.node.snapshotCounts).toEqual({ sent: none, received: { ...none, succeeded: 1 }, installing: 0 });
  });

  it('gets what was written meanwhile from the log, not from another snapshot', () => {
    const scene = midway();
    const { cluster, leader, follower, held } = scene;
    for (let i = 0; i < 5; i++) {
      leader.put(`meanwhile ${i}`, []);
      cluster.tick();
    }
    expect(leader.wal.released).toBeLessThan(leader.machine.appliedIndex);
    held.end();
    cluster.tick(5);
    expectLevel(scene, [...KEYS, ...Array.from({ length: 5 }, (_, i) => `meanwhile ${i}`)]);
    expect(installs(follower)).toBe(1);
    leader.put('last', []);
    cluster.tick(2);
    expect(leader.wal.released).toBe(leader.machine.appliedIndex);
  });

  it('empty as the state may be', () => {
    const cluster = new Cluster({ limits: { catchupEntries: 0, commitWritesMax: 1 } });
    cluster.elect();
    cluster.cut.add(cluster.followers[0].node.id);
    cluster.tick(15);
    cluster.cut.clear();
    const joined = cluster.join(4n);
    const leader = cluster.leader;
    leader.node.changeMembers({ add: { ID: 4n, name: '', peerURLs: [], clientURLs: [], isLearner: true } }, () => {});
    cluster.tick(20);
    expect(joined.machine.appliedIndex).toBe(leader.machine.appliedIndex);
  });
});

describe('on the way', () => {
  it.each<[string, Matches]>([
    ['the offer', isOffer],
    ['the first request', isRequest],
    ['a chunk', isChunk],
    ['the word that all has come', ({ chunk_request }) => chunk_request?.complete === true],
    ['the acknowledgement', ({ raft, from }) => raft?.type === APPEND_RESPONSE && from !== 0n && raft.index > 5],
  ])('%s is lost', (_, matches) => {
    const scene = behind();
    const { cluster, follower } = scene;
    cluster.lose(
      (message) => (message.to === follower.node.id) !== (message.from === follower.node.id) && matches(message),
      1,
    );
    cluster.tick(12);
    expectLevel(scene);
    expect(installs(follower)).toBe(1);
  });

  it.each([2, 3])('only one message in %i arrives', (n) => {
    const scene = behind();
    const { cluster, follower } = scene;
    const prng = new Prng(n);
    cluster.lose((message) => isTraffic(message) && prng.int(n) !== 0);
    for (let tick = 0; installs(follower) === 0; tick++) {
      expect(tick).toBeLessThan(2000);
      cluster.tick();
    }
    cluster.tick(5);
    expectLevel(scene);
    expect(installs(follower)).toBe(1);
  });

  it('every message comes twice', () => {
    const scene = behind();
    const { cluster, follower } = scene;
    const requests = cluster.watch(isRequest);
    cluster.change(isTraffic, (message) => [message, message]);
    cluster.tick(4);
    expectLevel(scene);
    expect(installs(follower)).toBe(1);
    // What comes again is no reason to ask again.
    const asked = requests.filter(({ chunk_request }) => !chunk_request!.complete);
    expect(asked.map(({ chunk_request }) => chunk_request!.from)).toEqual(['', `${CHUNKS_PER_REQUEST}`]);
  });

  it('messages come in the wrong order, late, and again', () => {
    const scene = behind();
    const { cluster, follower } = scene;
    const held = cluster.hold(isTraffic);
    const old: PeerMessage[] = [];
    for (let tick = 0; tick < 60; tick++) {
      cluster.tick();
      const messages = held.messages.splice(0).reverse();
      cluster.deliver(...messages, ...old.slice(-7));
      old.push(...messages);
    }
    cluster.heal();
    expectLevel(scene);
    expect(installs(follower)).toBe(1);
  });

  it('a chunk that was damaged is asked for again, and nothing else', () => {
    const scene = behind();
    const { cluster, follower } = scene;
    let count = 0;
    cluster.change(isChunk, (message) => {
      if (count++ !== 2) return [message];
      return [{ ...message, chunk: { ...message.chunk!, rows: new TextEncoder().encode('x\n') } }];
    });
    const requests = cluster.watch(isRequest);
    cluster.tick(3);
    expectLevel(scene);
    expect(requests.map(({ chunk_request }) => chunk_request!.from).slice(0, 2)).toEqual(['', '2']);
    expect(installs(follower)).toBe(1);
  });

  it('content that is none is given up, and another snapshot is asked for', () => {
    const scene = midway();
    const { cluster, follower, held, writer } = scene;
    writer.refusesRows = true;
    held.end();
    cluster.deliver(...held.messages);
    cluster.tick(8);
    expectLevel(scene);
    expect(installs(follower)).toBe(1);
    expect(writer.rows).toEqual(['a', 'b', 'c']);
  });
});

describe('the sender', () => {
  it('restarts in the middle: it says that it has nothing under that name, and what was received is given up', () => {
    const scene = midway();
    const { cluster, leader, follower, held, writer } = scene;
    held.end();
    const gone = cluster.watch(({ chunk }) => chunk?.gone === true);
    cluster.restart(leader.node.id);
    cluster.tick(4);
    expect(gone.length).toBeGreaterThan(0);
    expect(follower.machine.writer).not.toBe(writer);
    cluster.elect();
    cluster.tick(5);
    expectLevel({ ...scene, leader: cluster.leader });
    expect(installs(follower)).toBe(1);
  });

  it('is replaced in the middle: the offer of the next leader takes the place of its', () => {
    const scene = midway();
    const { cluster, leader, follower, other, held, writer } = scene;
    expect(cluster.depose()).toBe(other);
    held.end();
    cluster.tick(3);
    expectLevel({ cluster: { benches: [follower] } as Cluster, leader: other, follower });
    expect(follower.machine.writer).not.toBe(writer);
    // Pieces of the first are of no use for the second.
    cluster.deliver(...held.messages);
    cluster.heal();
    expectLevel({ cluster, leader: other, follower });
    expect([installs(follower), leader.machine.openReaders]).toEqual([1, 0]);
  });

  it('that no longer leads has no more use for what it was reading', () => {
    const { leader, other } = midway();
    expect(leader.machine.openReaders).toBe(1);
    const raft = { ...newMessage(HEARTBEAT, leader.node.id, leader.node.term + 1), from: other.node.id };
    leader.node.step({ from: other.node.id, to: leader.node.id, raft, snapshot: 0n });
    leader.turn();
    expect([leader.isLeader, leader.machine.openReaders]).toEqual([false, 0]);
  });

  it('gives up a receiver that is silent, and tries again when it is back', () => {
    const scene = midway();
    const { cluster, leader, follower, held } = scene;
    cluster.cut.add(follower.node.id);
    cluster.tick(SNAPSHOT_IDLE_TICKS - 5);
    expect(leader.machine.openReaders).toBe(1);
    cluster.tick(5);
    expect(leader.machine.openReaders).toBe(0);
    held.end();
    cluster.cut.clear();
    cluster.tick(12);
    expectLevel(scene);
    expect(installs(follower)).toBe(1);
  });

  it('offers until somebody reacts', () => {
    const { cluster, leader } = behind();
    const offers = cluster.hold(isOffer);
    cluster.tick(30);
    expect(offers.messages.length).toBeGreaterThan(3);
    expect(new Set(offers.messages.map(({ snapshot }) => snapshot)).size).toBe(1);
    expect(leader.machine.openReaders).toBe(1);
  });

  it(`serves ${SNAPSHOTS_OUT_MAX} members at a time, and the next one then`, () => {
    const cluster = new Cluster({ limits: { catchupEntries: 0, snapshotChunkBytes: 1 } }, [1n, 2n, 3n, 4n, 5n, 6n, 7n]);
    const leader = cluster.elect();
    cluster.tick();
    const late = cluster.followers.slice(0, SNAPSHOTS_OUT_MAX + 1);
    leaveBehind(cluster, late);
    const held = cluster.hold(isChunk);
    cluster.tick(5);
    expect(leader.machine.openReaders).toBe(SNAPSHOTS_OUT_MAX);
    expect(late.filter(({ machine }) => machine.writer !== undefined)).toHaveLength(SNAPSHOTS_OUT_MAX);
    held.end();
    cluster.tick(12);
    for (const bench of late) expect([bench.machine.values, installs(bench)]).toEqual([KEYS, 1]);
    expect(leader.machine.openReaders).toBe(0);
  });

  it('waits until the state is durable that it reads, and then offers in the name of its latest term', () => {
    const sent: PeerMessage[] = [];
    const opening: ((reader: StateReader) => void)[] = [];
    const sender = new SnapshotSender(1n, NODE_LIMITS, {
      readerAt: (_, done) => void opening.push(done),
      send: (message) => void sent.push(message),
      scheduleIdle: () => {},
      crc32,
      newName: () => 77n,
      failed: () => {},
      isWanted: () => true,
    });
    const wanted = (term: number): Message => ({
      ...newMessage(SNAPSHOT, 2n, term),
      snapshot: { index: 4, term: 1 },
    });
    sender.offer(wanted(1));
    sender.clear();
    // It has lost its office meanwhile, and won it again.
    sender.offer(wanted(3));
    expect([opening.length, sent]).toEqual([1, []]);
    const machine = new ListMachine([1n, 2n]);
    opening[0]!(machine.read());
    expect(sent.map(({ raft, snapshot }) => [raft!.term, snapshot])).toEqual([[3, 77n]]);
    sender.close();
    expect(machine.openReaders).toBe(0);
  });

  it('says what it reads, which may be later than what Raft had asked for', () => {
    const { cluster, leader, follower } = behind();
    cluster.disksFinish = (bench) => bench !== leader;
    cluster.cut.add(follower.node.id);
    leader.put('one', []);
    cluster.tick(2);
    expect(leader.machine.commits).toHaveLength(1);
    leader.put('two', []);
    cluster.settle();
    cluster.cut.clear();
    const offers = cluster.watch(isOffer);
    cluster.tick(2);
    leader.put('three', []);
    cluster.settle();
    expect(offers).toEqual([]);
    leader.machine.finishCommit();
    const { appliedIndex } = leader.machine;
    cluster.disksFinish = () => true;
    cluster.settle();
    expect(offers.map(({ raft }) => raft!.snapshot!.index)).toEqual([appliedIndex]);
    expect(follower.machine.values.slice(-3)).toEqual(['one', 'two', 'three']);
  });
});

describe('the receiver', () => {
  it('asks for nothing more while its disk is behind, for as long as that takes, and goes on where it stood', () => {
    const scene = midway();
    const { cluster, leader, follower, held, writer } = scene;
    writer.congested = true;
    held.end();
    cluster.deliver(...held.messages);
    const { length } = writer.rows;
    const offers = cluster.watch(isOffer);
    const chunks = cluster.watch(isChunk);
    cluster.tick(3 * Math.max(SNAPSHOT_IDLE_TICKS, SNAPSHOT_SILENT_TICKS));
    expect([writer.rows.length, chunks.length, leader.machine.openReaders]).toEqual([length, 0, 1]);
    writer.congested = false;
    cluster.tick(5);
    expectLevel(scene);
    expect([offers.length, installs(follower)]).toEqual([0, 1]);
  });

  it('gives up a sender that is silent', () => {
    const { cluster, follower, writer } = midway();
    cluster.lose(isTraffic);
    cluster.tick(SNAPSHOT_SILENT_TICKS - 5);
    expect(follower.machine.writer).toBe(writer);
    cluster.tick(5);
    expect(follower.machine.writer).toBeUndefined();
  });

  it('takes one snapshot at a time, and of the offers the latest, in whatever order they come', () => {
    const requests: ChunkRequest[] = [];
    const writers: ListWriter[] = [];
    const machine = new ListMachine();
    const receiver = new SnapshotReceiver({
      receive: () => {
        const writer = machine.receive();
        writers.push(writer as ListWriter);
        return writer;
      },
      send: ({ chunk_request }) => void requests.push(chunk_request!),
      crc32,
      complete: () => {},
    });
    const offer = (name: bigint, term: number) =>
      receiver.offered(name, { ...newMessage(SNAPSHOT, 2n, term), from: 1n });
    offer(20n, 3);
    offer(20n, 3);
    offer(10n, 3);
    offer(99n, 2);
    expect(requests.map(({ snapshot, abandoned }) => [snapshot, abandoned])).toEqual([[20n, false]]);
    offer(30n, 3);
    offer(1n, 4);
    expect(requests.slice(1).map(({ snapshot, abandoned }) => [snapshot, abandoned])).toEqual([
      [20n, true],
      [30n, false],
      [30n, true],
      [1n, false],
    ]);
    expect(writers).toHaveLength(3);
    expect(machine.writer).toBe(writers[2]);
  });

  it('does not begin with one that it does not need, and says how far it is', () => {
    const scene = behind();
    const { cluster, follower } = scene;
    const offers = cluster.watch(isOffer);
    cluster.tick(3);
    expectLevel(scene);
    cluster.deliver(offers[0]!);
    follower.settle();
    expect(follower.machine.writer).toBeUndefined();
    const { appliedIndex } = follower.machine;
    expect(follower.sentRaft.map(({ type, index }) => [type, index])).toEqual([[APPEND_RESPONSE, appliedIndex]]);
  });

  it('does not begin with one of an old term, and says so', () => {
    const { cluster, leader, follower } = behind();
    const offers = cluster.hold(isOffer);
    cluster.tick(2);
    cluster.depose();
    cluster.tick();
    follower.sent.length = 0;
    cluster.deliver(offers.messages.find(({ raft }) => raft!.from === leader.node.id)!);
    follower.settle();
    expect(follower.machine.writer).toBeUndefined();
    expect(follower.sentRaft.map(({ type, term, to }) => [type, term, to])).toEqual([
      [APPEND_RESPONSE, follower.node.term, leader.node.id],
    ]);
  });

  it('drops one that has come whole when the log was there first', () => {
    const cluster = new Cluster({ limits: { catchupEntries: 0, snapshotChunkBytes: 1 } });
    cluster.elect();
    cluster.tick();
    const [follower, other] = cluster.followers;
    // The next leader has forgotten nothing yet.
    cluster.disksFinish = (bench) => bench !== other;
    leaveBehind(cluster, [follower]);
    const held = cluster.hold(isChunk);
    cluster.tick(2);
    cluster.deliver(...held.messages.splice(0));
    cluster.settle();
    expect(follower.machine.writer!.rows).toEqual(KEYS.slice(0, CHUNKS_PER_REQUEST));
    expect(cluster.depose()).toBe(other);
    cluster.tick(2);
    expect([follower.machine.values, follower.machine.writer?.rows.length]).toEqual([KEYS, CHUNKS_PER_REQUEST]);
    cluster.deliver(...held.messages);
    cluster.settle();
    expect([follower.machine.writer, installs(follower), follower.machine.values]).toEqual([undefined, 0, KEYS]);
  });

  it('that stops gives up what is half there, and says so', () => {
    const { cluster, leader, follower } = midway();
    follower.node.stop(() => {});
    expect([follower.machine.writer, leader.machine.openReaders]).toEqual([undefined, 1]);
    cluster.carry();
    expect(leader.machine.openReaders).toBe(0);
  });

  it('that is about to stop begins with none', () => {
    const { cluster, follower } = behind();
    const outcomes: string[] = [];
    cluster.lose(part('forward'));
    follower.put('pending', outcomes);
    follower.node.stop(() => outcomes.push('stopped'));
    cluster.tick(3);
    expect([follower.machine.writer, outcomes, follower.fatal]).toEqual([undefined, [], []]);
    cluster.tick(70);
    expect(outcomes).toEqual(['Timeout', 'stopped']);
  });
});

describe('putting it in force', () => {
  /** All of the content is there, and the follower's disks wait for the test. */
  function complete(): Scene {
    const scene = behind();
    const { cluster, follower } = scene;
    cluster.disksFinish = (bench) => bench !== follower;
    cluster.tick(2);
    expect(follower.machine.writer!.rows).toEqual(KEYS);
    return scene;
  }

  function acknowledged(bench: Bench): number[] {
    return bench.sentRaft.filter(({ type }) => type === APPEND_RESPONSE).map(({ index }) => index);
  }

  it('the state first, then the log, then the mark; nothing is said of it before', () => {
    const { follower, leader } = complete();
    const { index } = follower.machine.installs[0]!.point;
    expect(index).toBe(leader.machine.appliedIndex);
    expect([follower.wal.writes, acknowledged(follower)]).toEqual([[], []]);
    follower.machine.finishInstall();
    follower.turn();
    expect(follower.wal.writes.map(({ resetTo }) => resetTo?.index)).toEqual([index]);
    expect(acknowledged(follower)).toEqual([]);
    expect(follower.machine.mark).toBeDefined();
    follower.wal.finish();
    follower.turn();
    expect(acknowledged(follower)).toEqual([index]);
    expect(follower.node.status()).toMatchObject({ appliedIndex: index, commitIndex: index });
    follower.machine.finishCommit();
    expect(follower.events.slice(-5)).toEqual([
      `install ${index}`,
      `in force ${index}`,
      `reset ${index}`,
      `installed ${index}`,
      `commit ${index}`,
    ]);
    const { commit, term } = follower.wal.hardState!;
    expect([commit, term]).toEqual([index, leader.node.term]);
  });

  it('later writes wait until then, and what they promise does', () => {
    const { follower, leader, other } = complete();
    const term = leader.node.term + 1;
    const raft = { ...newMessage(HEARTBEAT, follower.node.id, term), from: other.node.id };
    follower.node.step({ from: other.node.id, to: follower.node.id, raft, snapshot: 0n });
    follower.turn();
    expect([follower.wal.writes, follower.sentRaft]).toEqual([[], []]);
    follower.machine.finishInstall();
    expect(follower.wal.writes.map(({ resetTo, hardState }) => [resetTo !== undefined, hardState?.term])).toEqual([
      [true, term - 1],
      [false, term],
    ]);
    follower.wal.finish(1);
    expect(follower.sentRaft.filter((message) => message.term === term)).toEqual([]);
    follower.wal.finish(1);
    follower.turn();
    expect(follower.sentRaft.filter((message) => message.term === term)).toHaveLength(1);
    expect(follower.wal.hardState!.term).toBe(term);
  });

  it('entries that come behind it are written behind it', () => {
    const scene = complete();
    const { cluster, follower, leader } = scene;
    const { index } = follower.machine.installs[0]!.point;
    const { term } = leader.node;
    const entry = { index: index + 1, term, type: 0, data: new Uint8Array(0) };
    const raft = { ...newMessage(APPEND, follower.node.id, term), from: leader.node.id, index, log_term: term };
    follower.node.step({ from: raft.from, to: raft.to, raft: { ...raft, entries: [entry] }, snapshot: 0n });
    follower.turn();
    expect(follower.wal.writes).toEqual([]);
    follower.machine.finishInstall();
    expect(follower.wal.writes.map(({ resetTo, entries }) => [resetTo?.index, entries.length])).toEqual([
      [index, 0],
      [undefined, 1],
    ]);
    follower.wal.finish();
    expect([follower.wal.begin.index, follower.wal.entries.length]).toEqual([index, 1]);
    follower.turn();
    expect(acknowledged(follower)).toEqual([index, index + 1]);
    cluster.cut.add(follower.node.id);
  });

  it('waits for a commit under way, and there is none meanwhile', () => {
    const { cluster, follower } = behind();
    cluster.disksFinish = (bench) => bench !== follower;
    follower.machine.pendingWrites = 1;
    cluster.tick(3);
    expect(follower.machine.commits).toHaveLength(1);
    expect([follower.machine.writer!.rows.length, follower.machine.installs]).toEqual([KEYS.length, []]);
    follower.machine.finishCommit();
    expect(follower.machine.installs).toHaveLength(1);
    follower.machine.pendingWrites = 1;
    follower.tick(5);
    expect(follower.machine.commits).toEqual([]);
    follower.machine.finishInstall();
    follower.tick(5);
    expect(follower.machine.commits).toEqual([]);
    follower.wal.finish();
    expect(follower.machine.commits).toHaveLength(1);
  });

  it('takes its time: the sender keeps it, and reads wait', () => {
    const scene = complete();
    const { cluster, follower, leader } = scene;
    const outcomes: string[] = [];
    follower.node.linearizableRead((error) => outcomes.push(error?.code ?? `saw ${follower.machine.values.length}`));
    cluster.tick(SNAPSHOT_IDLE_TICKS + 10);
    expect([leader.machine.openReaders, follower.machine.installs.length, outcomes]).toEqual([1, 1, []]);
    cluster.disksFinish = () => true;
    cluster.tick(4);
    expect(outcomes).toEqual([`saw ${KEYS.length}`]);
    expectLevel(scene);
  });

  it('a stop waits for it', () => {
    const { follower } = complete();
    let stopped = false;
    follower.node.stop(() => {
      stopped = true;
    });
    follower.machine.finishInstall();
    expect(stopped).toBe(false);
    follower.wal.finish();
    while (follower.machine.commits.length > 0) follower.machine.finishCommit();
    expect([stopped, follower.machine.crash().values, follower.machine.crash().mark]).toEqual([true, KEYS, undefined]);
  });

  it('that fails stops the member, before the log is touched', () => {
    const { follower } = complete();
    follower.machine.finishInstall(new Error('EIO: i/o error'));
    expect(follower.fatal.map((error) => error.message)).toEqual([
      expect.stringMatching(/database could not be written/),
    ]);
    expect(follower.wal.writes).toEqual([]);
    follower.turn();
    expect(acknowledged(follower)).toEqual([]);
  });

  it('a log that cannot be reset stops the member', () => {
    const { follower } = complete();
    follower.machine.finishInstall();
    follower.wal.fail(new Error('EIO: i/o error'));
    expect(follower.fatal.map((error) => error.message)).toEqual([expect.stringMatching(/log could not be written/)]);
    expect([follower.machine.commits, acknowledged(follower)]).toEqual([[], []]);
  });

  it.each([
    ['before the state is in force', 0, 0],
    ['before the log has followed', 1, 0],
    ['after that', 1, 1],
  ])('a crash %s loses nothing', (_, inForce, kept) => {
    const scene = complete();
    const { cluster, follower, leader } = scene;
    if (inForce === 1) follower.machine.finishInstall();
    const again = cluster.restart(follower.node.id, kept);
    expect(again.machine.values).toEqual(inForce === 1 ? KEYS : []);
    expect(again.wal.begin.index).toBe(inForce === 1 ? leader.machine.appliedIndex : 0);
    cluster.disksFinish = () => true;
    cluster.tick(SNAPSHOT_IDLE_TICKS + 10);
    expectLevel({ cluster, leader: cluster.leader, follower: again });
  });
});

describe('the log that is kept', () => {
  /** A follower that is alive and does not get the entries. */
  function slow(limits = {}): Scene {
    const cluster = new Cluster({ limits: { catchupEntries: 0, ...limits } });
    const leader = cluster.elect();
    cluster.tick();
    const [follower, other] = cluster.followers;
    cluster.lose(({ raft, to }) => raft?.type === APPEND && to === follower.node.id);
    for (const key of KEYS) leader.put(key, []);
    return { cluster, leader, follower, other };
  }

  it('reaches back to a follower that is alive', () => {
    const { cluster, leader, follower } = slow();
    cluster.tick(20);
    expect(leader.wal.released).toBe(follower.machine.appliedIndex);
    expect(leader.machine.appliedIndex).toBeGreaterThan(leader.wal.released);
  });

  it('but not beyond its limit', () => {
    const { cluster, leader, follower } = slow({ followerBytesMax: 150 });
    cluster.tick(20);
    const bytes = leader.wal.recovered().entries.reduce((sum, { data }) => sum + data.length + 32, 0);
    expect(leader.wal.released).toBeGreaterThan(follower.machine.appliedIndex);
    expect([bytes > 100, bytes <= 150]).toEqual([true, true]);
  });

  it('and not to one that is dead', () => {
    const { cluster, leader, follower } = slow();
    cluster.tick(2);
    expect(leader.wal.released).toBe(follower.machine.appliedIndex);
    cluster.cut.add(follower.node.id);
    cluster.tick(12);
    leader.put('later', []);
    cluster.tick(2);
    expect(leader.wal.released).toBe(leader.machine.appliedIndex);
  });

  it('is not the concern of one that does not lead', () => {
    const { cluster, other } = slow();
    cluster.tick(2);
    expect(other.wal.released).toBe(other.machine.appliedIndex);
  });
});
