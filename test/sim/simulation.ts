/**
 * One run: a whole cluster of production code, its clients and watchers, the faults of its seed, and the checkers that
 * must hold at every moment and at the end. The seed decides everything; nothing here looks at a clock.
 */
import type { StateMachine } from '../../core/apply/state-machine.ts';
import type { PeerMessage } from '../../core/node/peer-message.ts';
import { changed, confChangeOf } from '../../core/raft/conf-change.ts';
import type { ConfState } from '../../core/raft/messages.ts';
import { AssertionError } from '../../core/util/assert.ts';
import { Prng } from '../../core/util/prng.ts';
import type { MemberChange } from '../../core/wire/stored.ts';
import type { Bug } from './bugs.ts';
import { Client, type Ledger } from './clients.ts';
import { isOpen } from './history.ts';
import type { Host } from './host.ts';
import { Keeper } from './keepers.ts';
import { stepsByKey } from './key-history.ts';
import { Leases } from './lease-check.ts';
import { isLinearizable } from './linearizability.ts';
import { Member } from './member.ts';
import { Nemesis } from './nemesis.ts';
import { Network } from './network.ts';
import { Operator } from './operator.ts';
import { RaftCheck } from './raft-check.ts';
import { Replay } from './replay.ts';
import { putOf } from './requests.ts';
import { type Settings, settingsOf } from './settings.ts';
import { StateCheck } from './state-check.ts';
import { Tally } from './tally.ts';
import { Timeline } from './timeline.ts';
import { check, Violation } from './violation.ts';
import { Watching } from './watchers.ts';

/** Healed, a majority acknowledges a write within this: three elections with the worst luck, and what waits before. */
const LIVENESS_TICKS = 150;
/** On top of that, commits of a slow database: a start, the leader's and the receiver's for a snapshot, and its install. */
const LIVENESS_COMMITS = 6;
const TICK_MS = 100;
/** Afterwards clients go on for so long with everybody back. */
const CALM_MS = 4_000;
/** Then everything has come to rest within this: leases have run out, with what a leader adds, and all have caught up. */
const REST_MS = 45_000;
const PROBE_MS = 100;
const READ_MS = 1_000;
const HASH_MS = 500;

export interface SimulationOptions {
  bug?: Bug;
  /** Instead of what the seed says. */
  settings?: Partial<Settings>;
  /** Gets a line for everything that happens. */
  print?: ((line: string) => void) | undefined;
}

export interface Report {
  settings: Settings;
  counts: Map<string, number>;
  traceHash: string;
  simulatedMs: number;
  operations: number;
  entries: number;
}

export class Simulation implements Host {
  readonly settings: Settings;
  readonly bug: Bug;
  readonly time = new Timeline();
  readonly tally: Tally;
  readonly raft: RaftCheck;
  readonly state = new StateCheck();
  readonly founders: readonly bigint[];
  readonly members: Member[];
  readonly #network: Network;
  readonly #nemesis: Nemesis;
  readonly #operator: Operator;
  readonly #ledger: Ledger = { operations: [], moment: 0 };
  readonly #leases: Leases;
  readonly #clients: Client[];
  readonly #keepers: Keeper[];
  readonly #watchings: Watching[];

  constructor(seed: number, { bug = {}, settings = {}, print }: SimulationOptions = {}) {
    this.settings = { ...settingsOf(seed), ...settings };
    this.bug = bug;
    this.raft = new RaftCheck(bug.unwatchedDisk !== true);
    this.tally = new Tally(print);
    const { members, clients, keepers, watchers, drift } = this.settings;
    const prng = (stream: number) => new Prng(seed * 64 + 32 + stream);
    this.founders = Array.from({ length: members }, (_, i) => BigInt(i + 1));
    this.members = this.founders.map((id) => new Member(id, this, this.founders));
    this.#network = new Network(this.settings, this.time, this.tally, prng(0), (message) => this.#deliver(message));
    this.#network.onUnreachable = (from, to) => {
      const member = this.members.find(({ id }) => id === from);
      member?.later(1, () => member.node?.unreachable(to));
    };
    this.#operator = new Operator(this, prng(7));
    this.#nemesis = new Nemesis(this, this.#network, prng(1));
    this.#leases = new Leases(drift);
    this.#clients = Array.from(
      { length: clients },
      (_, i) => new Client(i, this, this.#ledger, this.#leases, prng(2 + i)),
    );
    this.#keepers = Array.from({ length: keepers }, (_, i) => new Keeper(i, this, this.#leases, prng(10 + i)));
    this.#watchings = Array.from({ length: watchers }, (_, i) => new Watching(i, this, prng(20 + i)));
  }

  // ---- Host

  newMember(id: bigint): Member {
    const member = new Member(id, this, []);
    this.members.push(member);
    this.tally.count('memberMade');
    return member;
  }

  discard(member: Member): void {
    member.removed = true;
    member.crash(false);
    const place = this.members.indexOf(member);
    if (place >= 0) this.members.splice(place, 1);
  }

  send(from: Member, message: PeerMessage): void {
    from.mayDie('send');
    if (message.raft !== undefined) this.raft.sent(message.raft);
    for (const leaving of this.bug.message?.(message) ?? [message]) this.#network.send(leaving);
  }

  crashed(member: Member): void {
    this.#nemesis.crashed(member);
  }

  #deliver(message: PeerMessage): void {
    const { from, to, raft } = message;
    const what = raft === undefined ? partOf(message) : `${raft.type} ${raft.term} ${raft.index}`;
    this.tally.note(this.time.nowMs, Number(to), `<${from} ${what}`);
    const member = this.members.find(({ id }) => id === to);
    member?.enter(() => member.hear(message));
  }

  // ---- the run

  /** Throws a Violation. */
  run(): Report {
    try {
      for (const member of this.members) member.start();
      for (const client of this.#clients) client.start();
      for (const keeper of this.#keepers) keeper.start();
      for (const watching of this.#watchings) watching.start();
      this.#operator.start();
      this.#nemesis.start();
      this.time.runUntil(this.settings.faultMs);
      this.#heal();
      this.#rest();
      this.#checkAll();
    } catch (error) {
      if (error instanceof AssertionError) throw new Violation('assert', error.message, { cause: error });
      throw error;
    }
    return {
      settings: this.settings,
      counts: this.tally.counts,
      traceHash: this.tally.traceHash,
      simulatedMs: this.time.nowMs,
      operations: this.#ledger.operations.length,
      entries: this.state.entries.length,
    };
  }

  /** Liveness: faults end, and a majority must acknowledge a write in time. */
  #heal(): void {
    this.#operator.end();
    this.#nemesis.end((member, dead) => this.#canDoWithout(new Set([...dead, member])));
    for (const watching of this.#watchings) watching.calm = true;
    let [written, read] = [false, false];
    const probe = () => {
      if (written && read) return;
      for (const { node } of this.members.filter((member) => member.alive && !member.paused)) {
        node?.propose({ put: putOf('probe', 'x') }, (result) => {
          written ||= !(result instanceof Error);
        });
        node?.linearizableRead((error) => {
          read ||= error === undefined;
        });
      }
      this.time.after(PROBE_MS, probe);
    };
    probe();
    const limitMs = LIVENESS_TICKS * TICK_MS + LIVENESS_COMMITS * this.settings.commitMs;
    const healedMs = this.time.nowMs;
    this.time.runUntil(healedMs + limitMs, () => written && read);
    check(written, 'liveness', () => `no write was acknowledged within ${limitMs} ms of the healing`);
    check(read, 'liveness', () => `no read was answered within ${limitMs} ms of the healing`);
    this.tally.note(this.time.nowMs, 0, 'alive');
  }

  /** Whether the others are a majority by every configuration that may be in force somewhere. */
  #canDoWithout(dead: ReadonlySet<Member>): boolean {
    const ids = new Set([...dead].map(({ id }) => id));
    return this.configurations().every((conf) =>
      [conf.voters, conf.voters_outgoing].every((half) => {
        const counts = (id: bigint) => this.members.some((member) => member.id === id && !member.refilling);
        const alive = half.filter((id) => !ids.has(id) && counts(id));
        return half.length === 0 || alive.length * 2 > half.length;
      }),
    );
  }

  /** The one that was applied last, those that logs may bring next, and those that the operator has asked for. */
  configurations(): ConfState[] {
    const now = this.#configuration();
    const all: ConfState[] = [now];
    for (const entry of this.raft.changesAfter(this.state.confIndex)) {
      const next = changed(now, confChangeOf(entry));
      if (!(next instanceof Error)) all.push(next);
    }
    // Made or not, in any order. Many of them come to the same voters.
    const byVoters = new Map(all.map((conf) => [votersOf(conf), conf]));
    for (const change of this.#operator.open) {
      for (const conf of [...byVoters.values()].map((each) => votersAfter(each, change))) {
        byVoters.set(votersOf(conf), conf);
      }
    }
    return [...byVoters.values()];
  }

  #configuration(): ConfState {
    const founded = { voters: [...this.founders], learners: [], voters_outgoing: [], learners_next: [] };
    return this.state.conf ?? { ...founded, auto_leave: false };
  }

  /** Everyone comes back, clients go home, leases run out, all catch up. */
  #rest(): void {
    this.#nemesis.staysDead.clear();
    for (const member of this.members) member.start();
    this.time.runUntil(this.time.nowMs + CALM_MS);
    for (const one of [...this.#clients, ...this.#keepers]) one.stopped = true;
    this.#operator.rest();
    const limitMs = this.time.nowMs + REST_MS;
    let calm = 0;
    while (this.time.nowMs < limitMs && calm < 10) {
      const inForce = this.#inForce();
      for (const watching of this.#watchings) watching.settle(inForce);
      this.time.runUntil(this.time.nowMs + TICK_MS);
      calm = this.#isAtRest() ? calm + 1 : 0;
    }
  }

  /** The processes of members, those of removed ones left out. */
  #inForce(): Member[] {
    const { voters, learners } = this.#configuration();
    const ids = [...voters, ...learners];
    return this.members.filter(({ id, disks }) => ids.includes(id) && !disks.rotten);
  }

  #isAtRest(): boolean {
    const last = this.state.entries.length - 1;
    const members = this.#inForce();
    const settled = members.every(({ node, machine }) => {
      return node !== undefined && machine?.appliedIndex === last && machine.lessor.size === 0;
    });
    const { revision } = members[0]?.machine?.store ?? { revision: 0 };
    return settled && this.#watchings.every(({ log }) => log.next > revision);
  }

  #checkAll(): void {
    const machines = new Map<bigint, StateMachine>();
    for (const { id, node, machine } of this.#inForce()) {
      check(node !== undefined && machine !== undefined, 'liveness', () => `${id} does not come back`);
      machines.set(id, machine);
      const { appliedIndex } = node.status();
      const last = this.state.entries.length - 1;
      check(appliedIndex === last, 'liveness', () => `${id} stays at entry ${appliedIndex} of ${last}`);
      check(machine.lessor.size === 0, 'leases', () => `${machine.lessor.size} leases of ${id} do not end`);
    }
    this.#checkReads();
    this.state.equal(machines);
    this.#checkHashes(machines);
    const { entries, byRequest, installs } = this.state;
    const replay = new Replay(entries, byRequest, installs);
    replay.check(this.#ledger.operations);
    this.#checkLinearizable(replay);
    const { tally } = this;
    for (const { log } of this.#watchings) {
      log.check(replay.model);
      tally.add('watchedEvents', log.events);
    }
    tally.add('leasesExpired', this.#leases.check(entries));
    tally.add('leasesRenewed', this.#leases.renewals);
    tally.add('terms', this.raft.terms);
    tally.add('entries', entries.length);
    tally.add('outcomeOpen', this.#ledger.operations.filter(isOpen).length);
  }

  /** Every member, learners too, can say what is current. */
  #checkReads(): void {
    const waiting = new Set(this.#inForce());
    for (const member of waiting) {
      member.enter(() => member.node?.linearizableRead((error) => error === undefined && waiting.delete(member)));
    }
    this.time.runUntil(this.time.nowMs + READ_MS);
    check(waiting.size === 0, 'liveness', () => `${[...waiting].map(({ id }) => id)} do not answer reads`);
  }

  /** What HashKV tells operators. */
  #checkHashes(machines: ReadonlyMap<bigint, StateMachine>): void {
    const hashes = new Map<string, bigint>();
    let told = 0;
    for (const [id, machine] of machines) {
      machine.hashKeys(0, (result) => {
        check(!(result instanceof Error), 'state', () => `${id} cannot hash its keys`);
        hashes.set(JSON.stringify(result), id);
        told++;
      });
    }
    this.time.runUntil(this.time.nowMs + HASH_MS);
    check(told === machines.size, 'liveness', () => `${told} of ${machines.size} members told their hash`);
    check(hashes.size === 1, 'state', () => `hashes of the key space differ: ${[...hashes].join(' and ')}`);
  }

  #checkLinearizable(replay: Replay): void {
    for (const [key, steps] of stepsByKey(this.#ledger.operations, replay)) {
      const verdict = isLinearizable(steps);
      check(verdict !== false, 'linearizability', () => `the history of ${key} has no order that explains it`);
      this.tally.count(verdict === undefined ? 'searchGivenUp' : 'searchDone');
    }
  }
}

/** Which part of it the message carries. */
function partOf(message: PeerMessage): string {
  const { forward, forward_reply: forwardReply, ask, answer, chunk_request: chunkRequest } = message;
  if (forward !== undefined) return `forward ${forward.term} ${forward.batch}`;
  if (forwardReply !== undefined) return `forwardReply ${forwardReply.term} ${forwardReply.batch}`;
  if (ask !== undefined) return `ask ${ask.number}`;
  if (answer !== undefined) return `answer ${answer.number}`;
  return chunkRequest === undefined ? 'chunk' : 'chunkRequest';
}

/** Only the voters are right. */
function votersOf({ voters, voters_outgoing }: ConfState): string {
  return `${[...voters].sort()}/${[...voters_outgoing].sort()}`;
}

function votersAfter(conf: ConfState, { add, promote, remove }: Omit<MemberChange, 'id'>): ConfState {
  const others = conf.voters.filter((id) => id !== remove);
  const voter = add?.isLearner === false ? add.ID : promote;
  return { ...conf, voters: voter === undefined || others.includes(voter) ? others : [...others, voter] };
}
