/**
 * Clusters under random schedules: messages lost, doubled and out of order, disks that finish late, crashes that keep a
 * prefix of the writes under way (even half of one), partitions. The safety properties are checked after
 * each step (cluster.ts); afterwards a healed cluster must get going and every read must have seen what was
 * acknowledged before it began.
 */
import { describe, expect, it } from 'vitest';
import { assert } from '../../core/util/assert.ts';
import { Prng } from '../../core/util/prng.ts';
import { Cluster, type Member, text } from './cluster.ts';

const SEEDS = Number(process.env.RAFT_SEEDS ?? 150);
const FIRST_SEED = Number(process.env.RAFT_FROM ?? 1);
const STEPS = 2000;

class Schedule {
  readonly prng: Prng;
  readonly cluster: Cluster;
  readonly #members: Member[];
  readonly #faults: number;
  /** The highest index whose entry its proposer could have called done. */
  #acknowledged = 0;
  #reads = new Map<bigint, number>();
  #contexts = 0n;
  readsServed = 0;
  crashes = 0;

  constructor(seed: number) {
    this.prng = new Prng(seed);
    const size = [1, 2, 3, 3, 3, 5][this.prng.int(6)]!;
    this.#faults = this.prng.int(5);
    this.cluster = new Cluster(size, {
      prng: () => this.prng,
      preVote: this.prng.int(2) === 0,
      checkQuorum: this.prng.int(2) === 0,
      inflightAppendsMax: 1 + this.prng.int(4),
      appendBytesMax: 1 + this.prng.int(200),
      committedEntriesPerReadyMax: 1 + this.prng.int(5),
    });
    this.#members = [...this.cluster.members.values()];
  }

  #any<T>(items: readonly T[]): T {
    return items[this.prng.int(items.length)]!;
  }

  #ready(member: Member): void {
    if (!member.raft.hasReady()) return;
    const ready = this.cluster.ready(member.id);
    if (member.raft.role === 'leader')
      this.#acknowledged = Math.max(this.#acknowledged, ready.committedEntries.at(-1)?.index ?? 0);
    for (const { context, index } of ready.readStates) {
      this.readsServed++;
      assert(index >= this.#reads.get(context)!, 'a read sees all that was acknowledged before it');
    }
  }

  /** Keeps a prefix of the writes under way, the last of them perhaps in part. */
  #crash(member: Member): void {
    this.crashes++;
    for (let whole = this.prng.int(member.writes.length + 1); whole > 0; whole--)
      member.disk.write(member.writes.shift()!);
    const torn = member.writes[0];
    if (torn !== undefined && torn.entries.length > 0)
      member.disk.write(torn, this.prng.int(torn.entries.length + 1), false);
    member.crash();
  }

  step(number: number): void {
    const { cluster, prng } = this;
    const member = this.#any(this.#members);
    const dice = prng.int(100);
    if (dice < 25) this.#ready(member);
    else if (dice < 40) cluster.persist(member.id);
    else if (dice < 65 && cluster.network.length > 0) {
      const message = prng.int(4) === 0 ? this.#any(cluster.network) : cluster.network[0]!;
      if (prng.int(20) < this.#faults) cluster.network.push(message);
      cluster.deliver(message);
    } else if (dice < 75) member.raft.tick();
    else if (dice < 85) member.raft.propose([text(`${number}`)]);
    else if (dice < 90) {
      const context = ++this.#contexts;
      if (member.raft.readIndex(context) === undefined) this.#reads.set(context, this.#acknowledged);
    } else if (dice < 91) member.raft.campaign();
    else if (prng.int(20) < this.#faults) this.#fault(member);
  }

  #fault(member: Member): void {
    const { cluster, prng } = this;
    const dice = prng.int(10);
    if (dice < 3) this.#crash(member);
    else if (dice < 5) cluster.cut(Number(member.id));
    else if (dice < 7) cluster.heal();
    else if (cluster.network.length > 0) cluster.network.splice(prng.int(cluster.network.length), 1 + prng.int(3));
  }

  #isCalm(): boolean {
    const { lastIndex, lastTerm } = this.#members[0]!.raft.log;
    return (
      this.#members.some(({ raft }) => raft.role === 'leader') &&
      this.#members.every(({ raft }) => raft.committed === lastIndex && raft.term === lastTerm)
    );
  }

  /** No more faults: a leader is found, everything is committed everywhere, and all agree. */
  recover(): void {
    const { cluster } = this;
    cluster.heal();
    for (let round = 0; round < 400 && !this.#isCalm(); round++) {
      for (const member of this.#members) member.raft.tick();
      for (let moved = true; moved; ) {
        moved = false;
        for (const member of this.#members) {
          while (member.raft.hasReady()) this.#ready(member);
          while (cluster.persist(member.id)) moved = true;
          if (member.raft.hasReady()) moved = true;
        }
        for (; cluster.network.length > 0; moved = true) cluster.deliver(cluster.network[0]!);
      }
    }
    const leaders = this.#members.filter((member) => member.raft.role === 'leader');
    expect(leaders.length, 'liveness: a leader').toBe(1);
    const [{ raft }] = leaders as [Member];
    expect(raft.propose([text('after')])).toBeUndefined();
    cluster.settle();
    for (const member of this.#members) {
      expect(member.raft.committed, 'liveness: committed everywhere').toBe(raft.log.lastIndex);
      expect(member.applied.length).toBe(raft.log.lastIndex);
    }
    expect(raft.log.lastIndex, 'acknowledged entries are there').toBeGreaterThan(this.#acknowledged);
  }
}

describe('random schedules', () => {
  it(`${SEEDS} seeds are safe, and live after the faults`, () => {
    let reads = 0;
    let crashes = 0;
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      const schedule = new Schedule(seed);
      try {
        for (let step = 0; step < STEPS; step++) schedule.step(step);
        schedule.recover();
      } catch (error) {
        throw new Error(`seed ${seed} (RAFT_FROM=${seed} RAFT_SEEDS=1 npx vitest run test/raft/schedules.test.ts)`, {
          cause: error,
        });
      }
      reads += schedule.readsServed;
      crashes += schedule.crashes;
    }
    // The faults and the reads really happened.
    expect([reads > SEEDS, crashes > SEEDS / 3]).toEqual([true, true]);
  });
});
