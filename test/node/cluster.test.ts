/** Three drivers: what a client sees when leadership moves, and what a restart keeps. */
import { describe, expect, it } from 'vitest';
import { MessageType } from '../../core/raft/messages.ts';
import { Bench, type Harness } from './world.ts';

const VOTERS = [1n, 2n, 3n];

class Trio {
  readonly benches: Bench[];
  /** Members nobody reaches. */
  readonly cut = new Set<bigint>();

  constructor(harness: Harness = {}) {
    this.benches = VOTERS.map((id) => new Bench({ ...harness, id, voters: VOTERS, seed: Number(id) }));
    for (const { node } of this.benches) node.start();
  }

  bench(id: number): Bench {
    return this.benches[id - 1]!;
  }

  settle(): void {
    for (let moved = true; moved; ) {
      moved = false;
      for (const bench of this.benches) {
        moved ||= bench.turns.length > 0 || bench.wal.writes.length > 0;
        bench.settle();
      }
      moved = this.carry() || moved;
    }
  }

  /** Delivers what has been sent. */
  carry(): boolean {
    let moved = false;
    for (const bench of this.benches)
      for (const message of bench.sent.splice(0)) {
        if (this.cut.has(message.from) || this.cut.has(message.to)) continue;
        this.bench(Number(message.to)).node.step(message);
        moved = true;
      }
    return moved;
  }

  /** Lets time pass until one of the reachable members leads. */
  elect(): Bench {
    for (let tick = 0; tick < 200; tick++) {
      const leader = this.benches.find(({ node }) => !this.cut.has(node.id) && node.status().isLeader);
      if (leader !== undefined) return leader;
      for (const bench of this.benches) bench.tick();
      this.settle();
    }
    throw new Error('nobody leads');
  }
}

describe('three members', () => {
  it('all apply what the leader was asked, and only the leader applies the request itself', () => {
    const trio = new Trio();
    const leader = trio.elect();
    const outcomes: string[] = [];
    leader.put('a', outcomes);
    trio.settle();
    expect(outcomes).toEqual(['a']);
    for (const { machine } of trio.benches) expect(machine.values).toEqual(['a']);
    expect(trio.benches.filter(({ machine }) => machine.leading.at(-1) === true)).toEqual([leader]);
  });

  it('the entries are on their way to the followers while the leader still writes', () => {
    const trio = new Trio();
    const leader = trio.elect();
    leader.put('a', []);
    leader.turn();
    expect(leader.wal.writes).toHaveLength(1);
    expect(leader.sent.filter((message) => message.type === MessageType.values.APPEND)).toHaveLength(2);
  });

  it('a follower refuses and says that it does not lead', () => {
    const trio = new Trio();
    const leader = trio.elect();
    const follower = trio.benches.find((bench) => bench !== leader)!;
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    follower.read(outcomes);
    follower.turn();
    expect(outcomes).toEqual(['NotLeader', 'NotLeader']);
    expect(follower.node.status().leader).toBe(leader.node.id);
  });

  it('a read is answered when a majority has confirmed the leader; those of one turn share the question', () => {
    const trio = new Trio();
    const leader = trio.elect();
    const outcomes: string[] = [];
    leader.read(outcomes, 'one');
    leader.read(outcomes, 'two');
    leader.turn();
    leader.read(outcomes, 'three');
    expect(leader.sent.map((message) => message.context)).toEqual([1, 1]);
    expect(outcomes).toEqual([]);
    trio.settle();
    expect(outcomes).toEqual(['one', 'two', 'three']);
  });

  it('a read on a new leader with a slow disk finds a machine that knows that it leads', () => {
    const trio = new Trio();
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

  it('a leader cut off answers no read and no request; when another led on, what it had is refused', () => {
    const trio = new Trio();
    const old = trio.elect();
    trio.cut.add(old.node.id);
    const outcomes: string[] = [];
    old.put('lost', outcomes);
    old.put('lost too', outcomes);
    old.read(outcomes);
    trio.settle();
    expect(outcomes).toEqual([]);
    const leader = trio.elect();
    expect(leader).not.toBe(old);
    const kept: string[] = [];
    leader.put('kept', kept);
    trio.settle();
    expect(kept).toEqual(['kept']);
    trio.cut.clear();
    for (let tick = 0; tick < 3; tick++) {
      for (const bench of trio.benches) bench.tick();
      trio.settle();
    }
    expect(outcomes).toEqual(['LeaderChanged', 'LeaderChanged', 'LeaderChanged']);
    expect(old.machine.leading).toEqual([true, false]);
    for (const { machine } of trio.benches) expect(machine.values).toEqual(['kept']);
  });

  it('a leader without a majority steps down: leases stop, requests wait and run out of time', () => {
    const trio = new Trio();
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
