/**
 * Clusters under random schedules: messages lost, doubled and out of order, disks that finish late, crashes that keep a
 * prefix of the writes under way (even half of one), partitions; and on top of that members that come and go, singly and
 * jointly, learners, leadership handed over, logs cut so short that snapshots are needed, logs lost. The safety properties are checked after
 * each step (cluster.ts); afterwards a healed cluster must get going and every read must have seen what was
 * acknowledged before it began.
 */
import { describe, expect, it } from 'vitest';
import type { ConfState } from '../../core/raft/messages.ts';
import type { Raft } from '../../core/raft/raft.ts';
import { assert } from '../../core/util/assert.ts';
import { Prng } from '../../core/util/prng.ts';
import { type Entry, EntryType } from '../../core/wire/stored.ts';
import { Cluster, type Member, text } from './cluster.ts';
import { confChange } from './conf-text.ts';

const SEEDS = Number(process.env.RAFT_SEEDS ?? 100);
const FIRST_SEED = Number(process.env.RAFT_FROM ?? 1);
const STEPS = 2000;
const MEMBERS_MAX = 9;

/** How often things really happened. */
class Counts {
  reads = 0;
  crashes = 0;
  changes = 0;
  jointChanges = 0;
  snapshots = 0;
  transfers = 0;
  lostLogs = 0;
  refills = 0;
}

/** It knows nobody yet. */
function isBlank({ confState }: Raft): boolean {
  return confState.voters.length === 0;
}

function includes({ voters, voters_outgoing, learners }: ConfState, id: bigint): boolean {
  return [...voters, ...voters_outgoing, ...learners].includes(id);
}

/** It has seen itself in a configuration: a machine that waits to be added has not. */
function wasMember({ id, confs }: Member): boolean {
  return confs.some(({ conf }) => includes(conf, id));
}

class Schedule {
  readonly prng: Prng;
  readonly cluster: Cluster;
  readonly #counts: Counts;
  readonly #faults: number;
  /** The highest index whose entry its proposer could have called done. */
  #acknowledged = 0;
  #reads = new Map<bigint, number>();
  #contexts = 0n;
  /** Whom a leader was last told to hand over to, and in which term. */
  #handOver = { to: 0n, term: 0 };
  #lives = 0n;

  constructor(seed: number, counts: Counts) {
    this.#counts = counts;
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
  }

  get #members(): Member[] {
    return [...this.cluster.members.values()];
  }

  #any<T>(items: readonly T[]): T {
    return items[this.prng.int(items.length)]!;
  }

  #ready(member: Member): void {
    if (!member.raft.hasReady()) return;
    const ready = this.cluster.ready(member.id);
    if (ready.hardState?.refilling === 0n) this.#counts.refills++;
    if (ready.snapshot !== undefined) this.#counts.snapshots++;
    if (
      member.raft.role === 'leader' &&
      member.id === this.#handOver.to &&
      member.raft.term === this.#handOver.term + 1
    ) {
      this.#counts.transfers++;
      this.#handOver = { to: 0n, term: 0 };
    }
    if (member.raft.role === 'leader')
      this.#acknowledged = Math.max(this.#acknowledged, ready.committedEntries.at(-1)?.index ?? 0);
    for (const { context, index } of ready.readStates) {
      this.#counts.reads++;
      assert(index >= this.#reads.get(context)!, 'a read sees all that was acknowledged before it');
    }
  }

  /** Keeps a prefix of the writes under way, the last of them perhaps in part. */
  #crash(member: Member): void {
    this.#counts.crashes++;
    for (let whole = this.prng.int(member.writes.length + 1); whole > 0; whole--) {
      const write = member.writes.shift()!;
      member.disk.write(write);
      this.cluster.install(member, write);
    }
    const torn = member.writes[0];
    if (torn !== undefined && this.prng.int(2) === 0) {
      member.disk.write(torn, this.prng.int(torn.entries.length + 1), false);
      this.cluster.install(member, torn);
    }
    member.crash();
  }

  /**
   * Its log is damaged. Only while others make a majority, by any configuration that there is or may soon be: without one
   * nobody could refill it.
   */
  #loseLog(member: Member): void {
    const whole = (conf: ConfState) =>
      conf.voters_outgoing.length === 0 &&
      conf.voters.filter((id) => id !== member.id && !this.cluster.raft(id).refilling).length * 2 > conf.voters.length;
    if (this.#confIsChanging() || !this.#members.every(({ raft }) => whole(raft.confState) || isBlank(raft))) return;
    this.#counts.lostLogs++;
    member.loseLog(++this.#lives);
  }

  /** Somewhere there is a change of the configuration that is not in force there. */
  #confIsChanging(): boolean {
    const isChange = ({ type }: Entry) => type === EntryType.values.CONF_CHANGE;
    return (
      this.#members.some(({ raft, disk, writes, appliedIndex }) => {
        const held = [...disk.restored.entries, ...writes.flatMap(({ entries }) => entries)];
        for (let index = raft.log.firstIndex; index <= raft.log.lastIndex; index++) held.push(raft.log.entry(index));
        return held.some((entry) => isChange(entry) && entry.index > appliedIndex);
      }) || this.cluster.network.some(({ entries, snapshot }) => snapshot !== undefined || entries.some(isChange))
    );
  }

  /** One or several members are added, turned into the other kind, or removed; or the joint configuration is left. */
  #change(leader: Member): void {
    if (this.#members.some(({ raft }) => raft.refilling)) return;
    const { voters, learners, voters_outgoing: outgoing } = leader.raft.confState;
    const { prng, cluster } = this;
    if (outgoing.length > 0) {
      if (leader.raft.proposeConfChange(confChange('')) === undefined) this.#counts.changes++;
      return;
    }
    const touched = new Set<bigint>();
    const words: string[] = [];
    for (let count = this.#any([1, 1, 2, 3]); count > 0; count--) {
      const known = [...voters, ...learners];
      const grows = known.length < 5 && prng.int(2) === 0;
      const id = grows ? this.#newcomer(known, touched) : this.#any(known);
      if (id === undefined || touched.has(id)) continue;
      touched.add(id);
      words.push(this.#any(grows ? ['voter', 'learner'] : ['voter', 'voter', 'learner', 'remove']), `${id}`);
    }
    if (words.length === 0) return;
    if (words.length > 2 || prng.int(3) === 0) words.unshift(this.#any(['joint', 'joint', 'explicit']));
    for (const id of touched) if (!cluster.members.has(id)) cluster.add(id);
    if (leader.raft.proposeConfChange(confChange(words.join(' '))) !== undefined) return;
    this.#counts.changes++;
    if (words.length % 2 === 1) this.#counts.jointChanges++;
  }

  /** A machine that knows nobody yet, or a new one; never one that was a member before. */
  #newcomer(known: readonly bigint[], touched: ReadonlySet<bigint>): bigint | undefined {
    const waiting = this.#members.find(
      ({ id, raft }) => raft.confState.voters.length === 0 && !known.includes(id) && !touched.has(id),
    );
    if (waiting !== undefined) return waiting.id;
    const size = this.cluster.members.size + [...touched].filter((id) => !this.cluster.members.has(id)).length;
    return size < MEMBERS_MAX ? BigInt(size + 1) : undefined;
  }

  #compact(member: Member): void {
    const { appliedIndex } = member.disk.restored;
    if (member.appliedIndex <= appliedIndex) return;
    const saved = member.appliedIndex - this.prng.int(member.appliedIndex - appliedIndex);
    member.compact(saved - this.prng.int(Math.min(4, saved)), saved);
  }

  #transfer(leader: Member): void {
    const to = this.#any(leader.raft.confState.voters);
    if (leader.raft.transferLeadership(to) === undefined) this.#handOver = { to, term: leader.raft.term };
  }

  step(number: number): void {
    const { cluster, prng } = this;
    const member = this.#any(this.#members);
    const dice = prng.int(100);
    if (dice < 24) this.#ready(member);
    else if (dice < 38) cluster.persist(member.id);
    else if (dice < 64 && cluster.network.length > 0) {
      const message = prng.int(4) === 0 ? this.#any(cluster.network) : cluster.network[0]!;
      if (prng.int(20) < this.#faults) cluster.network.push(message);
      cluster.deliver(message);
    } else if (dice < 73) member.raft.tick();
    else if (dice < 81) member.raft.propose([text(`${number}`)]);
    else if (dice < 86) {
      const context = ++this.#contexts;
      if (member.raft.readIndex(context) === undefined) this.#reads.set(context, this.#acknowledged);
    } else if (dice < 87) member.raft.campaign();
    else if (dice < 92) this.#manage(member);
    else if (prng.int(20) < this.#faults) this.#fault(member);
  }

  #manage(member: Member): void {
    const dice = this.prng.int(10);
    if (dice < 4) this.#compact(member);
    else if (dice < 7) {
      // What a driver says about a peer may be wrong.
      member.raft.reportUnreachable(this.#any(this.#members).id);
      member.raft.reportSnapshot(this.#any(this.#members).id, dice === 4);
    }
    const leader = this.#members.find(({ raft }) => raft.role === 'leader');
    if (leader === undefined) return;
    if (dice < 7) this.#change(leader);
    else this.#transfer(leader);
  }

  #fault(member: Member): void {
    const { cluster, prng } = this;
    const dice = prng.int(10);
    if (dice < 3) this.#crash(member);
    else if (dice < 5) cluster.cut(Number(member.id));
    else if (dice < 7) cluster.heal();
    else if (dice < 8) this.#loseLog(member);
    else for (let n = prng.int(4); n > 0 && cluster.network.length > 0; n--) cluster.lose(this.#any(cluster.network));
  }

  get #leader(): Member | undefined {
    const leaders = this.#members.filter(({ raft, cut }) => raft.role === 'leader' && !cut);
    return leaders.sort((a, b) => b.raft.term - a.raft.term)[0];
  }

  /** The members as the leader sees them, learners too. */
  #inCluster(leader: Member): Member[] {
    const { voters, voters_outgoing, learners } = leader.raft.confState;
    return [...new Set([...voters, ...voters_outgoing, ...learners])].map((id) => this.cluster.member(id));
  }

  #isCalm(): boolean {
    const leader = this.#leader;
    if (leader === undefined || leader.raft.transferee !== 0n || leader.raft.confState.auto_leave) return false;
    const { lastIndex, lastTerm } = leader.raft.log;
    const members = this.#inCluster(leader);
    return (
      members.includes(leader) &&
      members.every(({ raft, appliedIndex }) => appliedIndex === lastIndex && raft.term === lastTerm)
    );
  }

  /** Machines that the leader knows no longer are switched off: sooner or later somebody comes to do that. */
  #removeRemoved(): void {
    const leader = this.#leader;
    if (leader === undefined) return;
    const members = this.#inCluster(leader);
    if (!members.includes(leader) || leader.raft.committed < leader.raft.termStart) return;
    for (const member of this.#members) {
      if (members.includes(member)) member.cut = false;
      else if (wasMember(member)) this.cluster.cut(Number(member.id));
    }
  }

  #run(): void {
    const { cluster } = this;
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

  /** No more faults: a leader is found, everything is committed everywhere, and all agree. */
  recover(): void {
    const { cluster } = this;
    cluster.heal();
    // A machine that knows it was removed stops. Nobody may need it any more.
    for (const member of this.#members)
      if (wasMember(member) && !includes(member.raft.confState, member.id)) cluster.cut(Number(member.id));
    for (let round = 0; round < 600 && !this.#isCalm(); round++) {
      for (const member of this.#members) member.raft.tick();
      this.#run();
      this.#removeRemoved();
    }
    expect(this.#isCalm(), 'liveness: a leader, and all as it is').toBe(true);
    const leader = this.#leader!;
    const { raft } = leader;
    const acknowledged = this.#acknowledged;
    expect(raft.propose([text('after')])).toBeUndefined();
    this.#run();
    for (const member of this.#inCluster(leader)) {
      expect(member.raft.committed, 'liveness: committed everywhere').toBe(raft.log.lastIndex);
      expect(member.appliedIndex).toBe(raft.log.lastIndex);
      expect(member.raft.refilling, 'liveness: nobody is without a log').toBe(false);
      expect(member.raft.confState).toEqual(raft.confState);
    }
    expect(raft.log.lastIndex, 'acknowledged entries are there').toBeGreaterThan(acknowledged);
  }
}

describe('random schedules', () => {
  it(`${SEEDS} seeds are safe, and live after the faults`, { timeout: 600_000 }, () => {
    const counts = new Counts();
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      const schedule = new Schedule(seed, counts);
      try {
        for (let step = 0; step < STEPS; step++) schedule.step(step);
        schedule.recover();
      } catch (error) {
        throw new Error(`seed ${seed} (RAFT_FROM=${seed} RAFT_SEEDS=1 npx vitest run test/raft/schedules.test.ts)`, {
          cause: error,
        });
      }
    }
    if (process.env.RAFT_COUNTS === '1') console.log(counts);
    // All of that really happened.
    if (SEEDS < 100) return;
    expect(counts.reads).toBeGreaterThan(SEEDS);
    expect(counts.crashes).toBeGreaterThan(SEEDS / 3);
    expect(counts.changes).toBeGreaterThan(SEEDS / 2);
    expect(counts.jointChanges).toBeGreaterThan(SEEDS / 3);
    expect(counts.snapshots).toBeGreaterThan(SEEDS / 3);
    expect(counts.transfers).toBeGreaterThan(SEEDS / 6);
    expect(counts.lostLogs).toBeGreaterThan(SEEDS / 10);
    expect(counts.refills).toBeGreaterThan(SEEDS / 20);
  });
});
