/**
 * A member whose log was damaged fetches it from the others (core/raft/refill.ts). One case for each way in which its
 * former self could still do harm; the random schedules lose logs as well. testdata/refill.txt tells the story.
 */
import { describe, expect, it } from 'vitest';
import { confStateOf } from '../../core/raft/conf-change.ts';
import { type Message, MessageType, newMessage } from '../../core/raft/messages.ts';
import { Raft } from '../../core/raft/raft.ts';
import { canRefill } from '../../core/raft/refill.ts';
import { Cluster, type ClusterOptions, FRESH, raftConfig, text } from './cluster.ts';
import { confChange } from './conf-text.ts';

const T = MessageType.values;

function propose(cluster: Cluster, id: number, ...values: string[]): void {
  expect(cluster.raft(id).propose(values.map(text))).toBeUndefined();
  cluster.settle();
}

/** Three nodes of which node 1 leads, with entries 2 and 3 everywhere. */
function calm(options: ClusterOptions = {}): Cluster {
  const cluster = new Cluster(3, options);
  cluster.elect(1);
  propose(cluster, 1, 'a');
  propose(cluster, 1, 'b');
  return cluster;
}

/** A heartbeat interval of the leader, and all that follows from it. */
function beat(cluster: Cluster, leader: number, times = 1): void {
  for (; times > 0; times--) {
    cluster.raft(leader).tick();
    cluster.settle();
  }
}

/** Takes the messages for which that holds out of the network. */
function hold(cluster: Cluster, which: (message: Message) => boolean): Message[] {
  const held = cluster.network.filter(which);
  cluster.network = cluster.network.filter((message) => !which(message));
  return held;
}

/** Lets everything happen but what `which` says, which is held. */
function settleBut(cluster: Cluster, which: (message: Message) => boolean): Message[] {
  const held: Message[] = [];
  for (let moved = true; moved; ) {
    moved = false;
    for (const { id, raft } of cluster.members.values()) {
      for (; raft.hasReady(); moved = true) cluster.ready(id);
      while (cluster.persist(id)) moved = true;
    }
    held.push(...hold(cluster, which));
    for (; cluster.network[0] !== undefined; moved = true) cluster.deliver(cluster.network[0]);
  }
  return held;
}

function between(from: number, to: number): (message: Message) => boolean {
  return (message) => message.from === BigInt(from) && message.to === BigInt(to);
}

function sameLogs(cluster: Cluster, a: number, b: number): void {
  const [one, other] = [cluster.raft(a).log, cluster.raft(b).log];
  expect(other.lastIndex).toBe(one.lastIndex);
  for (let index = Math.max(one.firstIndex, other.firstIndex); index <= one.lastIndex; index++)
    expect(other.entry(index)).toEqual(one.entry(index));
}

describe('a lost log', () => {
  it('is refilled by the leader, and the member is what it was', () => {
    const cluster = calm();
    cluster.member(3).loseLog(7n);
    expect([cluster.raft(3).refilling, cluster.raft(3).log.lastIndex]).toEqual([true, 0]);
    beat(cluster, 1);
    expect(cluster.raft(3).refilling).toBe(false);
    sameLogs(cluster, 1, 3);
    expect(cluster.raft(1).progress(3n)).toMatchObject({ match: cluster.raft(1).log.lastIndex, refilling: 0n });
    expect(cluster.member(3).disk.restored.hardState).toMatchObject({ term: 1, vote: 1n, refilling: 0n });
    // Its word counts: the other follower is not needed.
    cluster.cut(2);
    propose(cluster, 1, 'c');
    expect(cluster.raft(1).committed).toBe(cluster.raft(1).log.lastIndex);
    cluster.member(3).crash();
    expect(cluster.raft(3).refilling).toBe(false);
  });

  it('begins after the state, which is not fetched again', () => {
    const cluster = calm();
    const member = cluster.member(3);
    member.disk.save(3, member.confAt(3));
    cluster.member(1).compact(2);
    member.loseLog(7n);
    expect([member.raft.log.firstIndex, member.raft.log.lastTerm, member.raft.committed]).toEqual([4, 1, 3]);
    cluster.raft(1).tick();
    const snapshots = settleBut(cluster, ({ type }) => type === T.SNAPSHOT);
    expect([snapshots.length, member.raft.refilling, member.appliedIndex]).toEqual([0, false, 4]);
  });

  it('is refilled with a snapshot when the leader has forgotten the entries, however far it thought the member was', () => {
    const cluster = calm();
    cluster.member(1).compact(3);
    expect(cluster.raft(1).progress(3n)!.match).toBe(3);
    cluster.member(3).loseLog(7n);
    cluster.raft(1).tick();
    const [snapshot] = settleBut(cluster, ({ type }) => type === T.SNAPSHOT);
    expect(snapshot?.snapshot?.index).toBe(3);
    expect(cluster.raft(1).progress(3n)).toMatchObject({ state: 'snapshotting', match: 0, refilling: 7n });
    cluster.network.push(snapshot!);
    cluster.settle();
    beat(cluster, 1);
    expect([cluster.raft(3).refilling, cluster.member(3).appliedIndex]).toEqual([false, 4]);
  });

  it('of a member that has just been added and has heard of nothing yet', () => {
    const cluster = calm();
    cluster.add(4);
    expect(cluster.raft(1).proposeConfChange(confChange('voter 4'))).toBeUndefined();
    settleBut(cluster, between(1, 4));
    cluster.member(4).loseLog(7n);
    beat(cluster, 1, 2);
    expect([cluster.raft(4).refilling, cluster.raft(4).confState]).toEqual([false, confStateOf([1n, 2n, 3n, 4n])]);
  });

  it('takes one fence, whatever is lost or done again on the way', () => {
    const cluster = calm();
    cluster.member(3).loseLog(7n);
    for (let i = 0; i < 3; i++) {
      cluster.raft(1).tick();
      settleBut(cluster, (message) => message.refill === 7n && message.type === T.APPEND);
      expect(cluster.raft(3).refilling).toBe(true);
      // The disk remembers that it is being refilled.
      cluster.member(3).crash();
      expect(cluster.member(3).disk.restored.hardState!.refilling).toBe(7n);
    }
    beat(cluster, 1);
    expect(cluster.raft(3).refilling).toBe(false);
    expect(cluster.raft(1).log.lastIndex).toBe(4);
  });

  it('and lost again, is another one', () => {
    const cluster = calm();
    cluster.member(3).loseLog(7n);
    cluster.raft(1).tick();
    settleBut(cluster, (message) => message.refill === 7n && message.type === T.APPEND);
    cluster.member(3).loseLog(8n);
    beat(cluster, 1);
    expect([cluster.raft(3).refilling, cluster.raft(1).log.lastIndex]).toEqual([false, 5]);
    sameLogs(cluster, 1, 3);
  });

  it('is refilled by whoever leads: another leader needs a fence of its own', () => {
    const cluster = calm();
    cluster.member(3).loseLog(7n);
    cluster.raft(1).tick();
    // All but the last word, which is lost with its leader.
    settleBut(cluster, (message) => message.refill === 7n && message.type === T.APPEND);
    expect(cluster.raft(1).progress(3n)).toMatchObject({ refilling: 7n, match: 4 });
    cluster.elect(2);
    expect([cluster.raft(3).refilling, cluster.raft(2).log.lastIndex]).toEqual([false, 6]);
    beat(cluster, 2);
    expect([cluster.raft(3).refilling, cluster.raft(3).vote]).toEqual([false, 2n]);
    sameLogs(cluster, 2, 3);
  });
});

describe('without its log a member', () => {
  it('grants no vote, nor the prospect of one, and begins no election, not even for the leader', () => {
    for (const preVote of [false, true]) {
      const cluster = calm({ preVote });
      cluster.member(3).loseLog(7n);
      cluster.cut(1);
      cluster.raft(2).campaign();
      cluster.settle();
      expect([cluster.raft(2).role === 'leader', cluster.raft(3).vote]).toEqual([false, 0n]);
      const { raft } = cluster.member(3);
      raft.step({ ...newMessage(T.TIMEOUT_NOW, 3n, raft.term), from: 1n });
      for (let i = 0; i < 100; i++) raft.tick();
      raft.campaign();
      expect([raft.role, raft.hasReady()]).toEqual(['follower', false]);
    }
  });

  it('does not help to elect a leader without what its former self has acknowledged', () => {
    const cluster = calm();
    cluster.cut(2);
    propose(cluster, 1, 'kept by 1 and 3');
    const { committed } = cluster.raft(1);
    cluster.member(3).loseLog(7n);
    cluster.heal();
    cluster.cut(1);
    for (let i = 0; i < 5; i++) {
      cluster.raft(2).campaign();
      cluster.settle();
    }
    expect(cluster.raft(2).role).not.toBe('leader');
    cluster.heal();
    cluster.raft(2).campaign();
    cluster.settle();
    cluster.elect(1);
    beat(cluster, 1, 2);
    expect(cluster.raft(2).committed).toBeGreaterThan(committed);
    expect(cluster.raft(3).refilling).toBe(false);
  });

  it('does not count for commits: if the leader died, nobody could go on from there', () => {
    const cluster = calm();
    cluster.cut(2);
    cluster.member(3).loseLog(7n);
    beat(cluster, 1);
    propose(cluster, 1, 'c');
    beat(cluster, 1, 3);
    const { log } = cluster.raft(1);
    expect(cluster.raft(1).progress(3n)!.match).toBe(log.lastIndex);
    expect([log.committed, cluster.raft(3).refilling]).toEqual([3, true]);
    cluster.heal();
    beat(cluster, 1, 2);
    expect([log.committed, cluster.raft(3).refilling]).toEqual([log.lastIndex, false]);
  });

  it('does not vouch for a leader: it may have elected another', () => {
    const cluster = calm();
    cluster.cut(1);
    cluster.elect(2);
    propose(cluster, 2, 'newer');
    cluster.member(3).loseLog(7n);
    cluster.heal();
    cluster.cut(2);
    expect(cluster.raft(1).readIndex(1n)).toBeUndefined();
    beat(cluster, 1, 3);
    expect(cluster.raft(3).leader).toBe(1n);
    expect([cluster.member(1).reads, cluster.raft(3).refilling]).toEqual([[], true]);
    cluster.heal();
    beat(cluster, 2, 2);
    expect([cluster.raft(1).leader, cluster.raft(3).refilling]).toEqual([2n, false]);
  });

  it('does not keep a leader in office', () => {
    const cluster = calm({ checkQuorum: true });
    cluster.cut(2);
    cluster.member(3).loseLog(7n);
    beat(cluster, 1, 25);
    expect(cluster.raft(1).role).toBe('follower');
  });

  it('is not told that it has its log back before it does', () => {
    const cluster = calm({ appendBytesMax: 1, inflightAppendsMax: 1 });
    cluster.member(3).loseLog(7n);
    // Entries come one by one; all but the first are held up, and node 2 makes the fence committed long before.
    const isLater = ({ type, to, index }: Message) => type === T.APPEND && to === 3n && index > 0 && index < 3;
    for (let i = 0; i < 5; i++) {
      cluster.raft(1).tick();
      settleBut(cluster, isLater);
    }
    const { raft } = cluster.member(3);
    expect([cluster.raft(1).committed, raft.log.lastIndex, raft.refilling]).toEqual([4, 1, true]);
    beat(cluster, 1, 5);
    expect(raft.refilling).toBe(false);
  });

  it('takes no commit index that was meant for its former self', () => {
    const cluster = calm();
    const { raft } = cluster.member(3);
    cluster.member(3).loseLog(7n);
    const again = cluster.raft(3);
    expect(again).not.toBe(raft);
    again.step({ ...newMessage(T.HEARTBEAT, 3n, 1), from: 1n, commit: 3 });
    expect(again.committed).toBe(0);
    // Entries that a leader of before it has forgotten still sends; then a leader speaks of the log that it had.
    const stale = [1, 2].map((index) => ({ term: 1, index, type: 0, data: text('stale') }));
    again.step({ ...newMessage(T.APPEND, 3n, 1), from: 1n, entries: stale });
    again.step({ ...newMessage(T.HEARTBEAT, 3n, 2), from: 2n, commit: 2, context: 9 });
    expect([again.log.lastIndex, again.committed]).toEqual([2, 0]);
  });

  it('is not handed leadership', () => {
    const cluster = calm();
    cluster.cut(2);
    cluster.member(3).loseLog(7n);
    beat(cluster, 1);
    expect(cluster.raft(1).transferLeadership(3n)).toBeUndefined();
    beat(cluster, 1, 5);
    expect([cluster.raft(1).role, cluster.raft(1).term, cluster.raft(1).transferee]).toEqual(['leader', 1, 3n]);
    cluster.heal();
    beat(cluster, 1, 2);
    expect(cluster.raft(3).role).toBe('leader');
  });
});

describe('what its former self has said', () => {
  /** Five nodes; node 2 asks for votes in term 2, of which node 5's has come when node 5 loses its log. */
  function voted(): { cluster: Cluster; requests: Message[] } {
    const cluster = new Cluster(5);
    cluster.elect(1);
    cluster.raft(2).campaign();
    cluster.ready(2n);
    cluster.persist(2n);
    cluster.ready(2n);
    const requests = hold(cluster, ({ type, to }) => type === T.VOTE && to !== 5n);
    expect(requests.map(({ to }) => to)).toEqual([1n, 3n, 4n]);
    settleBut(cluster, () => false);
    expect([cluster.raft(5).term, cluster.raft(5).vote]).toEqual([2, 2n]);
    cluster.member(5).loseLog(7n);
    return { cluster, requests };
  }

  it('a vote in a later term than its leader knows: given again, since the first can elect nobody any more', () => {
    const { cluster, requests } = voted();
    beat(cluster, 1, 2);
    expect([cluster.raft(5).refilling, cluster.raft(5).term, cluster.raft(5).vote]).toEqual([false, 1, 1n]);
    // Term 2 again, with the vote of node 5 again; and then the old requests arrive.
    cluster.elect(3);
    expect(cluster.raft(3).term).toBe(2);
    cluster.network.push(...requests);
    cluster.settle();
    expect([cluster.raft(2).role, cluster.raft(3).role]).toEqual(['follower', 'leader']);
  });

  it('the same, arriving before the fence is anywhere: it elects nobody, because of the fence', () => {
    const { cluster, requests } = voted();
    beat(cluster, 1, 2);
    cluster.network.push(...requests);
    cluster.settle();
    expect(cluster.raft(2).role).not.toBe('leader');
  });

  it('and if it does elect somebody, the former leader cannot complete the refill', () => {
    const { cluster, requests } = voted();
    cluster.network.push(requests.find(({ to }) => to === 3n)!);
    settleBut(cluster, ({ from, to }) => from === 2n && to !== 3n);
    expect([cluster.raft(2).role, cluster.raft(2).term]).toEqual(['leader', 2]);
    cluster.cut(2, 3);
    beat(cluster, 1, 3);
    expect([cluster.raft(1).role, cluster.raft(5).refilling, cluster.raft(5).leader]).toEqual(['leader', true, 1n]);
    cluster.heal();
    beat(cluster, 2, 3);
    expect([cluster.raft(5).refilling, cluster.raft(5).vote, cluster.raft(5).term]).toEqual([false, 2n, 2]);
  });

  it('a vote in the term of its leader: that is the leader, also after a restart', () => {
    const cluster = calm();
    cluster.member(3).loseLog(7n);
    beat(cluster, 1);
    cluster.member(3).crash();
    const { raft } = cluster.member(3);
    raft.step({ ...newMessage(T.VOTE, 3n, 1), from: 2n, index: 100, log_term: 1 });
    expect(raft.ready().messages).toMatchObject([{ type: T.VOTE_RESPONSE, to: 2n, reject: true }]);
  });

  it('an acknowledgement that comes late: harmless, and the refill begins anew', () => {
    const cluster = calm();
    expect(cluster.raft(1).propose([text('c')])).toBeUndefined();
    const late = settleBut(cluster, between(3, 1));
    expect(late.some(({ index }) => index === 4)).toBe(true);
    cluster.member(3).loseLog(7n);
    cluster.raft(1).tick();
    settleBut(cluster, (message) => message.type === T.APPEND && message.to === 3n);
    expect(cluster.raft(1).progress(3n)).toMatchObject({ refilling: 7n, match: 0 });
    cluster.network.push(...late);
    settleBut(cluster, between(1, 3));
    expect(cluster.raft(1).progress(3n)).toMatchObject({ refilling: 0n, match: 4 });
    beat(cluster, 1, 3);
    expect(cluster.raft(3).refilling).toBe(false);
    sameLogs(cluster, 1, 3);
  });

  it('an acknowledgement that comes late says no more than it said: what was sent since does not count by it', () => {
    const cluster = calm();
    expect(cluster.raft(1).propose([text('c')])).toBeUndefined();
    const late = settleBut(cluster, between(3, 1));
    cluster.member(3).loseLog(7n);
    cluster.cut(2);
    beat(cluster, 1, 2);
    expect(cluster.raft(1).progress(3n)).toMatchObject({ refilling: 7n, match: 5 });
    cluster.network.push(late.find(({ index }) => index === 4)!);
    settleBut(cluster, between(1, 3));
    expect(cluster.raft(1).progress(3n)).toMatchObject({ refilling: 0n, match: 4 });
    beat(cluster, 1, 5);
    expect([cluster.raft(1).committed, cluster.raft(3).refilling]).toEqual([4, true]);
  });

  it('acknowledgements between two lost logs: the second fence comes after them', () => {
    const cluster = calm();
    cluster.member(3).loseLog(7n);
    cluster.raft(1).tick();
    // Node 3 has its log back, but nothing that it says as such arrives.
    const isWhole = (message: Message) => between(3, 1)(message) && message.refill === 0n;
    const late = settleBut(cluster, isWhole);
    expect(cluster.raft(3).refilling).toBe(false);
    cluster.cut(2);
    expect(cluster.raft(1).propose([text('kept by 1 and 3')])).toBeUndefined();
    late.push(...settleBut(cluster, isWhole));
    expect(cluster.raft(3).log.lastIndex).toBe(5);
    cluster.member(3).loseLog(8n);
    cluster.network.push(...late);
    settleBut(cluster, between(1, 3));
    expect(cluster.raft(1).committed).toBe(5);
    beat(cluster, 1, 3);
    expect(cluster.raft(3).refilling).toBe(true);
    cluster.heal();
    cluster.cut(1);
    cluster.raft(2).campaign();
    cluster.settle();
    expect(cluster.raft(2).role).not.toBe('leader');
  });
});

describe('who may refill', () => {
  it('a member without which there is a majority', () => {
    const conf = (voters: bigint[], outgoing: bigint[] = []) => ({ ...confStateOf(voters), voters_outgoing: outgoing });
    expect(canRefill(conf([1n]), 1n)).toBe(false);
    expect(canRefill(conf([1n, 2n]), 1n)).toBe(false);
    expect(canRefill(conf([1n, 2n, 3n]), 1n)).toBe(true);
    expect(canRefill(conf([1n, 2n, 3n, 4n]), 1n)).toBe(true);
    expect(canRefill(conf([1n, 2n, 3n], [1n, 2n]), 1n)).toBe(false);
    expect(canRefill(conf([2n]), 1n)).toBe(true);
    expect(canRefill(conf([]), 1n)).toBe(false);
  });

  it('never a sole voter', () => {
    const hardState = { term: 1, vote: 0n, commit: 0, refilling: 7n };
    expect(() => new Raft(raftConfig(1n, [1n]), { ...FRESH, hardState })).toThrow('no other voting member');
    expect(new Raft(raftConfig(1n, [1n, 2n, 3n]), { ...FRESH, hardState }).refilling).toBe(true);
  });
});
