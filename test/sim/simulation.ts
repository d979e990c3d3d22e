/**
 * One run: a whole cluster of production code, its clients and watchers, the faults of its seed, and the checkers that
 * must hold at every moment and at the end. The seed decides everything; nothing here looks at a clock.
 */
import type { StateMachine } from '../../core/apply/state-machine.ts';
import type { Message } from '../../core/raft/messages.ts';
import { AssertionError } from '../../core/util/assert.ts';
import { Prng } from '../../core/util/prng.ts';
import type { Bug } from './bugs.ts';
import { Client, type Ledger } from './clients.ts';
import { isOpen } from './history.ts';
import type { Host } from './host.ts';
import { stepsByKey } from './key-history.ts';
import { Leases } from './lease-check.ts';
import { isLinearizable } from './linearizability.ts';
import { Member } from './member.ts';
import { Nemesis } from './nemesis.ts';
import { Network } from './network.ts';
import { mayDie } from './observed.ts';
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
export const LIVENESS_TICKS = 150;
const TICK_MS = 100;
/** Afterwards: longer than a lease lives, with what a leader adds and the time until it is named again. */
const REST_MS = 20_000;
const PROBE_MS = 100;

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
  readonly voters: readonly bigint[];
  readonly #members: Member[];
  readonly #network: Network;
  readonly #nemesis: Nemesis;
  readonly #ledger: Ledger = { operations: [], moment: 0 };
  readonly #leases: Leases;
  readonly #clients: Client[];
  readonly #watchings: Watching[];

  constructor(seed: number, { bug = {}, settings = {}, print }: SimulationOptions = {}) {
    this.settings = { ...settingsOf(seed), ...settings };
    this.bug = bug;
    this.raft = new RaftCheck(bug.unwatchedDisk !== true);
    this.tally = new Tally(print);
    const { members, clients, watchers, drift } = this.settings;
    const prng = (stream: number) => new Prng(seed * 64 + 32 + stream);
    this.voters = Array.from({ length: members }, (_, i) => BigInt(i + 1));
    this.#members = this.voters.map((id) => new Member(id, this));
    this.#network = new Network(this.settings, this.time, this.tally, prng(0), (message) => this.#deliver(message));
    this.#nemesis = new Nemesis(this, this.#network, this.#members, prng(1));
    this.#leases = new Leases(drift);
    this.#clients = Array.from(
      { length: clients },
      (_, i) => new Client(i, this, this.#members, this.#ledger, this.#leases, prng(2 + i)),
    );
    this.#watchings = Array.from({ length: watchers }, (_, i) => new Watching(i, this, this.#members, prng(20 + i)));
  }

  // ---- Host

  send(from: Member, message: Message): void {
    mayDie(from, 'send');
    this.raft.sent(message);
    for (const leaving of this.bug.message?.(message) ?? [message]) this.#network.send(leaving);
  }

  floorIndex(of: Member): number {
    const others = this.#members.filter((member) => member !== of);
    const durable = Math.min(...this.#members.map((member) => member.durableIndex));
    if (of.node?.status().isLeader !== true) return durable;
    return Math.min(durable, ...others.map(({ id }) => of.confirmed.get(id) ?? 0));
  }

  started(): void {
    this.tally.count('started');
  }

  crashed(member: Member): void {
    this.#nemesis.crashed(member);
  }

  #deliver(message: Message): void {
    const member = this.#members[Number(message.to) - 1]!;
    this.tally.note(
      this.time.nowMs,
      Number(message.to),
      `${message.type} ${message.from} ${message.term} ${message.index}`,
    );
    member.enter(() => member.hear(message));
  }

  // ---- the run

  /** Throws a Violation. */
  run(): Report {
    try {
      for (const member of this.#members) member.start();
      for (const client of this.#clients) client.start();
      for (const watching of this.#watchings) watching.start();
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
    this.#nemesis.end();
    for (const watching of this.#watchings) watching.calm = true;
    let acknowledged = false;
    const probe = () => {
      if (acknowledged) return;
      for (const member of this.#members) {
        member.enter(() =>
          member.node?.propose({ put: putOf('probe', 'x') }, (result) => {
            acknowledged ||= !(result instanceof Error);
          }),
        );
      }
      this.time.after(PROBE_MS, probe);
    };
    probe();
    const limitMs = LIVENESS_TICKS * TICK_MS;
    const healedMs = this.time.nowMs;
    this.time.runUntil(healedMs + limitMs, () => acknowledged);
    check(acknowledged, 'liveness', () => `no write was acknowledged within ${LIVENESS_TICKS} ticks of the healing`);
    this.tally.note(this.time.nowMs, 0, 'alive');
  }

  /** Everyone comes back, clients go home, leases run out. */
  #rest(): void {
    this.#nemesis.staysDead.clear();
    for (const member of this.#members) member.start();
    this.time.runUntil(this.time.nowMs + REST_MS / 4);
    for (const client of this.#clients) client.stopped = true;
    this.time.runUntil(this.time.nowMs + REST_MS);
  }

  #checkAll(): void {
    const machines = new Map<bigint, StateMachine>();
    for (const { id, node, machine } of this.#members) {
      check(node !== undefined && machine !== undefined, 'liveness', () => `${id} does not come back`);
      machines.set(id, machine);
      const { appliedIndex } = node.status();
      const last = this.state.entries.length - 1;
      check(appliedIndex === last, 'liveness', () => `${id} stays at entry ${appliedIndex} of ${last}`);
      check(machine.lessor.size === 0, 'leases', () => `${machine.lessor.size} leases of ${id} do not end`);
    }
    this.state.equal(machines);
    const { entries, byRequest } = this.state;
    const replay = new Replay(entries, byRequest);
    replay.check(this.#ledger.operations);
    this.#checkLinearizable(replay);
    for (const { log } of this.#watchings) {
      log.check(replay.model);
      this.tally.counts.set('watchedEvents', (this.tally.counts.get('watchedEvents') ?? 0) + log.events);
    }
    this.tally.counts.set('leasesExpired', this.#leases.check(entries));
    this.tally.counts.set('leasesRenewed', this.#leases.renewals);
    this.tally.counts.set('terms', this.raft.terms);
    this.tally.counts.set('outcomeOpen', this.#ledger.operations.filter(isOpen).length);
  }

  #checkLinearizable(replay: Replay): void {
    for (const [key, steps] of stepsByKey(this.#ledger.operations, replay)) {
      const verdict = isLinearizable(steps);
      check(verdict !== false, 'linearizability', () => `the history of ${key} has no order that explains it`);
      this.tally.count(verdict === undefined ? 'searchGivenUp' : 'searchDone');
    }
  }
}
