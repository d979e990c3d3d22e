/** Three drivers: what a client sees when leadership moves, and what a restart keeps. */
import { describe, expect, it } from 'vitest';
import { MessageType } from '../../core/raft/messages.ts';
import { Cluster } from './cluster.ts';
import type { Bench } from './world.ts';

describe('three members', () => {
  it('all apply what the leader was asked, and only the leader applies the request itself', () => {
    const trio = new Cluster();
    const leader = trio.elect();
    const outcomes: string[] = [];
    leader.put('a', outcomes);
    trio.settle();
    expect(outcomes).toEqual(['a']);
    for (const { machine } of trio.benches) expect(machine.values).toEqual(['a']);
    expect(trio.benches.filter(({ machine }) => machine.leading.at(-1) === true)).toEqual([leader]);
  });

  it('the entries are on their way to the followers while the leader still writes', () => {
    const trio = new Cluster();
    const leader = trio.elect();
    leader.put('a', []);
    leader.turn();
    expect(leader.wal.writes).toHaveLength(1);
    expect(leader.sentRaft.filter((message) => message.type === MessageType.values.APPEND)).toHaveLength(2);
  });

  it('a follower passes requests and reads on to the leader, and answers when it has applied them itself', () => {
    const trio = new Cluster();
    const leader = trio.elect();
    const [follower] = trio.followers;
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    trio.settle();
    expect(outcomes).toEqual(['a']);
    follower.node.linearizableRead(() => outcomes.push(...follower.machine.values));
    trio.settle();
    expect(outcomes).toEqual(['a', 'a']);
    expect(follower.node.status().leader).toBe(leader.node.id);
    for (const { machine } of trio.benches) expect(machine.values).toEqual(['a']);
  });

  it('a read is answered when a majority has confirmed the leader; those of one turn share the question', () => {
    const trio = new Cluster();
    const leader = trio.elect();
    const outcomes: string[] = [];
    leader.read(outcomes, 'one');
    leader.read(outcomes, 'two');
    leader.turn();
    leader.read(outcomes, 'three');
    expect(leader.sentRaft.map((message) => message.context)).toEqual([1, 1]);
    expect(outcomes).toEqual([]);
    trio.settle();
    expect(outcomes).toEqual(['one', 'two', 'three']);
  });

  it('a read on a new leader with a slow disk finds a machine that knows that it leads', () => {
    const trio = new Cluster();
    const leading: (boolean | undefined)[] = [];
    let leader: Bench | undefined;
    for (let round = 0; round < 500; round++) {
      for (const bench of trio.benches) {
        if (leader === undefined) bench.tick();
        bench.turn();
        if (bench !== leader) bench.wal.finish();
      }
      trio.carry();
      if (leader !== undefined) continue;
      leader = trio.benches.find(({ node }) => node.status().isLeader);
      leader?.node.linearizableRead(() => leading.push(leader?.machine.leading.at(-1)));
    }
    const { commitIndex, appliedIndex } = leader!.node.status();
    expect([commitIndex, appliedIndex, leading]).toEqual([1, 0, []]);
    leader!.wal.finish();
    expect(leading).toEqual([true]);
  });

  it('a leader cut off answers no read and no request; what another has overwritten is done after all, once', () => {
    const trio = new Cluster();
    const old = trio.elect();
    trio.cut.add(old.node.id);
    const outcomes: string[] = [];
    old.put('late', outcomes);
    old.put('late too', outcomes);
    old.read(outcomes);
    trio.settle();
    expect(outcomes).toEqual([]);
    const leader = trio.elect();
    expect(leader).not.toBe(old);
    const kept: string[] = [];
    leader.put('kept', kept);
    trio.settle();
    expect(kept).toEqual(['kept']);
    old.node.linearizableRead(() => outcomes.push(...old.machine.values));
    trio.heal();
    expect(outcomes.slice().sort()).toEqual(['kept', 'late', 'late too', 'read']);
    expect(old.machine.leading).toEqual([true, false]);
    for (const { machine } of trio.benches) expect(machine.values).toEqual(['kept', 'late', 'late too']);
  });

  it('a leader whose entries gave way to older ones goes on', () => {
    const trio = new Cluster();
    const first = trio.elect();
    // Entries of the first term that nobody else has.
    trio.cut.add(first.node.id);
    const outcomes: string[] = [];
    for (const key of ['a', 'b', 'c']) first.put(key, outcomes);
    trio.settle();
    // Entries of the second term in the same places that nobody else has.
    trio.lose(({ raft }) => raft?.type === MessageType.values.APPEND && raft.from !== first.node.id);
    const second = trio.elect();
    trio.cut.add(second.node.id);
    for (const key of ['x', 'y', 'z']) second.put(key, outcomes);
    trio.settle();
    expect(second.node.term).toBeGreaterThan(first.node.term);
    // The third has neither, so the first may lead on with what it has.
    trio.cut.delete(first.node.id);
    trio.tick(40);
    expect(trio.leader).toBe(first);
    expect(outcomes).toEqual(['a', 'b', 'c']);
    trio.heal();
    expect(outcomes).toEqual(['a', 'b', 'c', 'x', 'y', 'z']);
    for (const { machine } of trio.benches) expect(machine.values).toEqual(['a', 'b', 'c', 'x', 'y', 'z']);
  });

  it('a leader without a majority steps down: leases stop, requests wait and run out of time', () => {
    const trio = new Cluster();
    const leader = trio.elect();
    trio.cut.add(leader.node.id);
    leader.tick(20);
    expect([leader.node.status().isLeader, leader.machine.leading.at(-1)]).toEqual([false, false]);
    const outcomes: string[] = [];
    leader.put('a', outcomes);
    leader.turn();
    expect(outcomes).toEqual([]);
    leader.tick(70);
    expect(outcomes).toEqual(['Timeout']);
  });
});
