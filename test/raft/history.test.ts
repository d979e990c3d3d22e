/**
 * Bugs that other implementations of Raft have had in elections and membership, each as the smallest story in which it
 * showed. The name says whose issue or commit it was: `raft#` and `raft@` are etcd-io/raft, `#` is etcd-io/etcd.
 */
import { describe, expect, it } from 'vitest';
import { MessageType } from '../../core/raft/messages.ts';
import { EntryType } from '../../core/wire/stored.ts';
import { Cluster, text } from './cluster.ts';
import { confChange } from './conf-text.ts';

const T = MessageType.values;
const STICKY = { preVote: true, checkQuorum: true };

/** Time passes for the nodes, evenly, until one of them leads. Its id. */
function untilLed(cluster: Cluster, ids: readonly number[], ticks = 200): bigint {
  for (let i = 0; i < ticks; i++) {
    for (const id of ids) cluster.raft(id).tick();
    cluster.settle();
    const leader = ids.map((id) => cluster.raft(id)).find((raft) => raft.role === 'leader');
    if (leader !== undefined) return leader.id;
  }
  throw new Error(`no leader after ${ticks} ticks`);
}

function propose(cluster: Cluster, id: number, ...values: string[]): void {
  expect(cluster.raft(id).propose(values.map(text))).toBeUndefined();
  cluster.settle();
}

/** A new machine becomes a member. */
function join(cluster: Cluster, leader: number, kind: 'voter' | 'learner', id: number): void {
  cluster.add(id);
  cluster.change(leader, confChange(`${kind} ${id}`));
}

describe('PreVote and CheckQuorum without a leader', () => {
  it('#8243: a node of an old term and one of a new term, both asking, find a leader', () => {
    const cluster = new Cluster(3, STICKY);
    cluster.elect(1);
    cluster.cut(3);
    for (let i = 0; i < 12; i++) cluster.raft(2).tick();
    cluster.raft(1).campaign();
    cluster.cut(1);
    cluster.heal();
    cluster.cut(3);
    untilLed(cluster, [1, 2]);
    for (let i = 0; i < 3; i++) {
      cluster.cut(1, 2);
      for (const id of [1, 2]) for (let tick = 0; tick < 40; tick++) cluster.raft(id).tick();
      cluster.heal();
      cluster.cut(3);
      untilLed(cluster, [1, 2]);
    }
    const dead = [1, 2].find((id) => cluster.raft(id).role === 'leader')!;
    const term = cluster.raft(dead).term;
    expect(cluster.raft(3).term).toBeLessThan(term);
    cluster.heal();
    cluster.cut(dead);
    untilLed(
      cluster,
      [1, 2, 3].filter((id) => id !== dead),
    );
  });

  it.each([
    ['preVote first', [false, true, true]],
    ['preVote last', [true, false, false]],
  ])(
    '#8501: during a rolling change of the settings (%s), the longer log of a lower term wins in the end',
    (_, preVote) => {
      // Node 3 was cut off without PreVote: its term is high, its log short.
      const cluster = new Cluster(3, { checkQuorum: true });
      cluster.elect(1);
      cluster.cut(3);
      propose(cluster, 1, 'a');
      for (let i = 0; i < 60; i++) cluster.raft(3).tick();
      expect(cluster.raft(3).term).toBeGreaterThan(cluster.raft(1).term);
      for (const [i, setting] of preVote.entries()) cluster.member(i + 1).restart({ preVote: setting });
      cluster.heal();
      cluster.cut(2);
      const led = untilLed(cluster, [1, 3]);
      expect(led).toBe(1n);
      propose(cluster, 1, 'b');
      expect(cluster.raft(3).committed).toBe(cluster.raft(1).log.lastIndex);
    },
  );

  it('#8334, #9586, #10355: who asks for votes no longer stands by the old leader, so two that ask elect one of them', () => {
    const cluster = new Cluster(3, STICKY);
    cluster.elect(1);
    cluster.cut(1);
    // Both run out of patience in the same moment.
    for (const id of [2, 3]) for (let i = 0; i < 10; i++) cluster.raft(id).tick();
    cluster.raft(2).campaign();
    cluster.raft(3).campaign();
    cluster.settle();
    untilLed(cluster, [2, 3]);
  });

  it('openraft#1796: in a joint configuration a long log of a low term and a short log of a high term do not block each other', () => {
    const cluster = new Cluster(6, STICKY);
    cluster.elect(1);
    propose(cluster, 1, 'a');
    // The change reaches nodes 1, 2 and 3; then its leader is gone.
    cluster.cut(4, 5, 6);
    expect(cluster.raft(1).proposeConfChange(confChange('joint remove 6'))).toBeUndefined();
    cluster.settle();
    cluster.cut(1);
    // Nodes 4 and 5 and 6 are in a later term, with shorter logs.
    cluster.heal();
    cluster.cut(1, 2, 3);
    for (const id of [4, 5, 6]) cluster.member(id).restart({ preVote: false });
    for (const id of [4, 5, 6]) for (let i = 0; i < 40; i++) cluster.raft(id).tick();
    cluster.settle();
    for (const id of [4, 5, 6]) cluster.member(id).restart(STICKY);
    expect(cluster.raft(4).term).toBeGreaterThan(cluster.raft(2).term);
    cluster.heal();
    cluster.cut(1);
    const led = Number(untilLed(cluster, [2, 3, 4, 5, 6]));
    propose(cluster, led, 'b');
    expect(cluster.raft(led).confState).toMatchObject({ voters: [1n, 2n, 3n, 4n, 5n], voters_outgoing: [] });
  });

  it('raft@a3afec7: a leader is not deposed because a new member has not been heard from yet', () => {
    const cluster = new Cluster(1, STICKY);
    cluster.elect(1);
    const raft = cluster.raft(1);
    for (let i = 0; i < 9; i++) raft.tick();
    cluster.add(2);
    cluster.cut(2);
    cluster.change(1, confChange('voter 2'));
    raft.tick();
    expect(raft.role).toBe('leader');
    // But not for ever.
    for (let i = 0; i < 10; i++) raft.tick();
    expect(raft.role).toBe('follower');
  });

  it('a learner whose election timeout passes keeps standing by the leader it hears', () => {
    const cluster = new Cluster(3, STICKY);
    cluster.elect(1);
    join(cluster, 1, 'learner', 4);
    for (let i = 0; i < 60; i++) cluster.raft(4).tick();
    expect([cluster.raft(4).role, cluster.raft(4).term]).toEqual(['follower', 1]);
  });
});

describe('changes of the configuration', () => {
  it('raft@abb533c: a learner votes when it is asked: it may have been promoted without knowing', () => {
    const cluster = new Cluster(2);
    cluster.elect(1);
    join(cluster, 1, 'learner', 3);
    // Node 3 gets the entry that promotes it, but not the word that it is committed; then node 1 is gone.
    expect(cluster.raft(1).proposeConfChange(confChange('voter 3'))).toBeUndefined();
    cluster.ready(1n);
    for (const message of [...cluster.network]) cluster.deliver(message);
    for (const id of [2n, 3n]) {
      cluster.ready(id);
      cluster.persist(id);
    }
    cluster.cut(1);
    expect(cluster.raft(3).confState.learners).toEqual([3n]);
    cluster.raft(2).campaign();
    cluster.settle();
    expect(cluster.raft(2).role).toBe('leader');
    expect(cluster.raft(3).confState.voters).toEqual([1n, 2n, 3n]);
  });

  it('raft@bd3c759: the joint configuration is left once, by one entry', () => {
    const cluster = new Cluster(3, { committedEntriesPerReadyMax: 1 });
    cluster.elect(1);
    cluster.add(4);
    expect(cluster.raft(1).proposeConfChange(confChange('joint voter 4 remove 3'))).toBeUndefined();
    cluster.raft(1).propose(['a', 'b', 'c'].map(text));
    cluster.settle();
    const changes = cluster.member(1).applied.filter((entry) => entry.type === EntryType.values.CONF_CHANGE);
    expect(changes).toHaveLength(2);
    expect(cluster.raft(1).confState.voters).toEqual([1n, 2n, 4n]);
  });

  it('#12136: when the leader that entered the joint configuration is gone, the next one leaves it', () => {
    const cluster = new Cluster(4);
    cluster.elect(1);
    cluster.raft(1).proposeConfChange(confChange('joint learner 4'));
    cluster.ready(1n);
    cluster.persist(1n);
    for (const message of [...cluster.network]) cluster.deliver(message);
    for (const id of [2n, 3n, 4n]) {
      cluster.ready(id);
      cluster.persist(id);
      cluster.ready(id);
    }
    cluster.cut(1);
    const led = Number(untilLed(cluster, [2, 3, 4]));
    cluster.heal();
    cluster.raft(led).tick();
    cluster.settle();
    for (const id of [1, 2, 3, 4])
      expect(cluster.raft(id).confState).toMatchObject({ voters: [1n, 2n, 3n], voters_outgoing: [], learners: [4n] });
  });

  it('raft@e515a67: a snapshot carries the whole joint configuration', () => {
    const cluster = new Cluster(3);
    cluster.elect(1);
    join(cluster, 1, 'learner', 4);
    cluster.cut(3);
    cluster.change(1, confChange('explicit voter 4 learner 2 remove 3'));
    cluster.member(1).compact(cluster.raft(1).log.applied);
    cluster.heal();
    cluster.raft(1).tick();
    propose(cluster, 1, 'a');
    const joint = {
      voters: [1n, 4n],
      learners: [],
      voters_outgoing: [1n, 2n, 3n],
      learners_next: [2n],
      auto_leave: false,
    };
    expect(cluster.raft(3).confState).toEqual(joint);
    cluster.member(3).crash();
    expect(cluster.raft(3).confState).toEqual(joint);
  });

  it('a torn last write does not make a node campaign by a configuration that is two changes old', () => {
    const cluster = new Cluster(3);
    cluster.elect(1);
    join(cluster, 1, 'voter', 4);
    cluster.cut(3);
    cluster.add(5);
    // Node 2 gets the next change; the crash keeps its entry, and loses the commit index written after it.
    cluster.raft(1).proposeConfChange(confChange('voter 5'));
    cluster.ready(1n);
    for (const message of cluster.network.filter(({ to }) => to === 2n)) cluster.deliver(message);
    const member = cluster.member(2);
    const ready = cluster.ready(2n);
    member.disk.write(ready, ready.entries.length, false);
    member.crash();
    expect(member.raft.committed).toBeGreaterThanOrEqual(2);
    member.raft.campaign();
    expect(member.raft.role).toBe('follower');
  });

  it('what the only voter has on disk is committed: it does not wait for a voter that nobody has told of', () => {
    const cluster = new Cluster(1);
    cluster.elect(1);
    cluster.raft(1).proposeConfChange(confChange('voter 2'));
    // The entry is on disk; that it is committed is not, and nothing is applied.
    const member = cluster.member(1);
    const ready = cluster.ready(1n);
    member.disk.write(ready, ready.entries.length, false);
    member.crash();
    expect(member.raft.committed).toBe(2);
    cluster.settle();
    expect(member.raft.confState.voters).toEqual([1n, 2n]);
    cluster.add(2);
    expect(untilLed(cluster, [1])).toBe(1n);
  });

  it('nor does one whose other voter was removed just before', () => {
    const cluster = new Cluster(2);
    cluster.elect(1);
    const member = cluster.member(1);
    cluster.change(1, confChange('remove 2'));
    cluster.raft(1).proposeConfChange(confChange('voter 3'));
    const ready = cluster.ready(1n);
    member.disk.write(ready, ready.entries.length, false);
    member.crash();
    expect(member.raft.committed).toBe(ready.entries.at(-1)!.index);
  });

  it('braft#432: the node that is about to lose its vote may be the only one that can lead: its log is the longest', () => {
    const cluster = new Cluster(4);
    cluster.elect(1);
    cluster.raft(1).proposeConfChange(confChange('remove 4'));
    cluster.ready(1n);
    for (const message of cluster.network.filter(({ to }) => to === 4n)) cluster.deliver(message);
    cluster.cut(1);
    cluster.settle();
    // Node 4 leads, finishes its own removal, and hands over.
    cluster.raft(4).campaign();
    cluster.settle();
    expect([cluster.raft(2).role, cluster.raft(3).role]).toContain('leader');
    for (const id of [2, 3]) expect(cluster.raft(id).confState.voters).toEqual([1n, 2n, 3n]);
    expect(cluster.raft(4).role).toBe('follower');
  });

  it('a leader that made itself a learner and is gone: who has the change in its log goes on by it', () => {
    const cluster = new Cluster(2);
    cluster.elect(1);
    cluster.raft(1).proposeConfChange(confChange('learner 1'));
    cluster.ready(1n);
    cluster.persist(1n);
    cluster.deliver(cluster.network[0]!);
    cluster.ready(2n);
    cluster.persist(2n);
    cluster.cut(1);
    expect(untilLed(cluster, [2])).toBe(2n);
    propose(cluster, 2, 'a');
    expect(cluster.raft(2).committed).toBe(cluster.raft(2).log.lastIndex);
  });

  it('raft#300, #20967: what a removed member says is not counted, and it does not come back by itself', () => {
    const cluster = new Cluster(3, STICKY);
    cluster.elect(1);
    cluster.cut(3);
    cluster.change(1, confChange('remove 3'));
    cluster.heal();
    cluster.cut(2);
    cluster.raft(1).propose([text('a')]);
    for (let i = 0; i < 40; i++) cluster.raft(3).tick();
    cluster.settle();
    expect(cluster.raft(1).committed).toBe(2);
    cluster.heal();
    for (let i = 0; i < 40; i++) for (const id of [1, 2, 3]) cluster.raft(id).tick();
    cluster.settle();
    for (let i = 0; i < 20; i++) {
      for (const id of [1, 2, 3]) cluster.raft(id).tick();
      cluster.settle();
    }
    expect(cluster.raft(3).role).not.toBe('leader');
    expect(cluster.raft(1).confState.voters).toEqual([1n, 2n]);
  });
});

describe('snapshots and flow', () => {
  it('raft@76f1249: a follower behind the compacted log gets a snapshot, never an APPEND after an unknown term', () => {
    const cluster = new Cluster(2);
    const raft = cluster.elect(1);
    join(cluster, 1, 'learner', 3);
    cluster.cut(3);
    propose(cluster, 1, 'a', 'b', 'c');
    cluster.member(1).compact(raft.log.applied);
    cluster.heal();
    raft.reportUnreachable(3n);
    raft.tick();
    for (let i = 0; i < 10; i++) {
      const { messages } = cluster.ready(1n);
      for (const message of messages)
        expect(message.type === T.APPEND && message.log_term === 0, 'an APPEND after nothing').toBe(false);
      for (const message of [...cluster.network]) cluster.deliver(message);
      for (const id of [2n, 3n]) {
        cluster.ready(id);
        cluster.persist(id);
        cluster.ready(id);
      }
    }
    expect(cluster.raft(3).committed).toBe(raft.committed);
  });

  it('raft@8ecce32: a snapshot that comes between two pages of entries neither repeats nor skips any', () => {
    const cluster = new Cluster(3, { committedEntriesPerReadyMax: 1 });
    cluster.elect(1);
    cluster.cut(3);
    propose(cluster, 1, 'a', 'b', 'c', 'd');
    cluster.member(1).compact(4);
    cluster.heal();
    cluster.raft(1).reportUnreachable(3n);
    propose(cluster, 1, 'e', 'f');
    cluster.raft(1).tick();
    cluster.settle();
    // The order is asserted where entries are applied.
    expect(cluster.member(3).appliedIndex).toBe(7);
  });

  it('raft#54: what was on its way to a member that needs a snapshot is not counted against it afterwards', () => {
    const cluster = new Cluster(2, { inflightAppendsMax: 2 });
    const raft = cluster.elect(1);
    join(cluster, 1, 'learner', 3);
    cluster.cut(3);
    for (let i = 0; i < 6; i++) propose(cluster, 1, `${i}`);
    cluster.member(1).compact(raft.log.applied);
    cluster.heal();
    raft.tick();
    cluster.settle();
    raft.reportUnreachable(3n);
    raft.tick();
    cluster.settle();
    for (let i = 0; i < 6; i++) propose(cluster, 1, `${i}`);
    expect(cluster.raft(3).committed).toBe(raft.committed);
  });
});
