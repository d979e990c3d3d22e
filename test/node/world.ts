/**
 * A world for a node that the test moves by hand: a log whose writes are durable when the test says so, turns of an event
 * loop that run on demand, messages that go nowhere by themselves.
 */
import type { RosterError } from '../../core/errors.ts';
import type { ApplyResult } from '../../core/node/machine.ts';
import { Node, type ProposedRequest } from '../../core/node/node.ts';
import type { PeerMessage } from '../../core/node/peer-message.ts';
import {
  NODE_LIMITS,
  type NodeConfig,
  type NodeLimits,
  type NodeWal,
  nodeConfig,
  type RecoveredLog,
  type World,
} from '../../core/node/world.ts';
import type { Message } from '../../core/raft/messages.ts';
import { assert } from '../../core/util/assert.ts';
import { crc32 } from '../../core/util/crc32.ts';
import { Prng } from '../../core/util/prng.ts';
import type { Member } from '../../core/wire/messages.ts';
import type { Entry, HardState } from '../../core/wire/stored.ts';
import { ListMachine } from './list-machine.ts';

interface Place {
  index: number;
  term: number;
}

interface Write {
  entries: readonly Entry[];
  hardState: HardState | undefined;
  /** The log is dropped first: it goes on after this place. */
  resetTo: Place | undefined;
  done: (error?: Error) => void;
}

export class FakeWal implements NodeWal {
  /** What a crash leaves. */
  hardState: HardState | undefined;
  entries: Entry[] = [];
  /** The log goes on after this place. */
  begin: Place = { index: 0, term: 0 };
  /** Not durable yet, oldest first. */
  writes: Write[] = [];
  closed = false;
  failure: Error | undefined;
  /** What became durable, in order. */
  events: string[] = [];

  get released(): number {
    return this.begin.index;
  }

  append(entries: readonly Entry[], hardState: HardState | undefined, done: (error?: Error) => void): void {
    this.#write({ entries, hardState, resetTo: undefined, done });
  }

  reset(index: number, term: number, hardState: HardState, done: (error?: Error) => void): void {
    this.#write({ entries: [], hardState, resetTo: { index, term }, done });
  }

  #write(write: Write): void {
    assert(!this.closed && this.failure === undefined, 'a write to a closed or broken log');
    this.writes.push(write);
  }

  /** The oldest `count` writes are durable. */
  finish(count = this.writes.length): void {
    for (const write of this.writes.splice(0, count)) {
      this.#keep(write);
      write.done();
    }
  }

  /** After a crash: the oldest `count` writes had reached the disk after all. */
  keep(count: number): void {
    for (const write of this.writes.splice(0, count)) this.#keep(write);
    this.writes = [];
  }

  #keep({ entries, hardState, resetTo }: Write): void {
    if (resetTo !== undefined) {
      this.entries = [];
      this.begin = resetTo;
      this.events.push(`reset ${resetTo.index}`);
    }
    const first = entries[0];
    if (first !== undefined) {
      this.entries = this.entries.filter((entry) => entry.index < first.index);
      this.events.push(`append ${first.index}`);
    }
    this.entries.push(...entries);
    if (hardState !== undefined) this.hardState = hardState;
  }

  fail(error: Error): void {
    this.failure = error;
    for (const write of this.writes.splice(0)) write.done(error);
  }

  #termOf(index: number): number | undefined {
    return index === this.begin.index ? this.begin.term : this.entries.find((entry) => entry.index === index)?.term;
  }

  release(index: number): void {
    assert(index > this.begin.index, 'released twice');
    this.begin = { index, term: this.#termOf(index)! };
    this.entries = this.entries.filter((entry) => entry.index > index);
  }

  close(done: (error?: Error) => void): void {
    assert(!this.closed, 'closed twice');
    this.closed = true;
    done();
  }

  /** As a start does (core/log/after-snapshot.ts): makes the log follow a state that came as a snapshot. */
  follow(mark: Place): void {
    if (this.#termOf(mark.index) === mark.term) return;
    assert(this.begin.index <= mark.index, 'the log was cut beyond the state');
    const { term = 0, vote = 0n } = this.hardState ?? {};
    const isNewTerm = mark.term > term;
    this.hardState = { term: isNewTerm ? mark.term : term, vote: isNewTerm ? 0n : vote, commit: mark.index };
    this.entries = [];
    this.begin = mark;
  }

  recovered(): RecoveredLog {
    const { hardState, begin, entries } = this;
    return { hardState, prevIndex: begin.index, prevTerm: begin.term, entries: [...entries] };
  }
}

export function put(key: string): ProposedRequest {
  return {
    put: { key, value: new Uint8Array(0), lease: 0n, prev_kv: false, ignore_value: false, ignore_lease: false },
  };
}

/** A member to be added. */
export function member(id: bigint, isLearner = false): Member {
  return { ID: id, name: '', peerURLs: [`http://m${id}:2380`], clientURLs: [], isLearner };
}

export interface Harness {
  wal?: FakeWal;
  machine?: ListMachine;
  limits?: Partial<NodeLimits>;
  config?: Partial<NodeConfig>;
  id?: bigint;
  voters?: readonly bigint[];
  seed?: number;
  /** What the clock on the wall shows when the node is made. */
  nowMs?: number;
}

/** One node and its world. */
export class Bench {
  readonly wal: FakeWal;
  readonly machine: ListMachine;
  readonly node: Node;
  readonly sent: PeerMessage[] = [];
  readonly fatal: RosterError[] = [];
  /** Leaders it has heard of, in order. */
  readonly leaders: bigint[] = [];
  removed = 0;
  /** What happened to the disks of log and state, in order. */
  readonly events: string[] = [];
  turns: (() => void)[] = [];
  idle: (() => void)[] = [];

  constructor(harness: Harness = {}) {
    const { id = 1n, voters = [id], limits, config, seed = 1, nowMs = 1_700_000_000_000 } = harness;
    this.wal = harness.wal ?? new FakeWal();
    this.machine = harness.machine ?? new ListMachine(voters);
    this.wal.events = this.machine.events = this.events;
    if (this.machine.mark !== undefined) {
      this.wal.follow(this.machine.mark);
      this.machine.installed();
    }
    const world: World = {
      wal: this.wal,
      machine: this.machine,
      transport: { send: (messages) => void this.sent.push(...messages) },
      schedule: (run) => void this.turns.push(run),
      scheduleIdle: (run) => void this.idle.push(run),
      crc32,
      clock: { nowMs: () => nowMs },
      prng: new Prng(seed),
      onFatal: (error) => void this.fatal.push(error),
      onRemoved: () => {
        this.removed++;
      },
      onLeader: (leader) => void this.leaders.push(leader),
    };
    this.node = new Node(
      nodeConfig(id, { ...config, limits: { ...NODE_LIMITS, ...limits } }),
      world,
      this.wal.recovered(),
    );
  }

  get isLeader(): boolean {
    return this.node.status().isLeader;
  }

  /** Ends this turn of the event loop: runs what was scheduled for its end. */
  turn(): void {
    for (const run of this.turns.splice(0)) run();
  }

  /** Runs what waited for an idle moment. */
  rest(): void {
    for (const run of this.idle.splice(0)) run();
  }

  /** Turns and durable writes until nothing moves. */
  settle(): void {
    while (this.turns.length > 0 || this.wal.writes.length > 0) {
      this.turn();
      this.wal.finish();
    }
  }

  /** Started, elected, its first entry applied. */
  lead(): this {
    this.node.start();
    this.settle();
    assert(this.isLeader, 'a sole voter leads');
    return this;
  }

  tick(count = 1): void {
    for (let i = 0; i < count; i++) this.node.tick();
  }

  /** Of what it has sent, Raft's part. */
  get sentRaft(): Message[] {
    return this.sent.flatMap(({ raft }) => (raft === undefined ? [] : [raft]));
  }

  /** Proposes a put and notes the outcome: the key, or the error's code. */
  put(key: string, outcomes: string[]): void {
    this.node.propose(put(key), (result) => outcomes.push(outcome(result)));
  }

  read(outcomes: string[], name = 'read'): void {
    this.node.linearizableRead((error) => outcomes.push(error === undefined ? name : error.code));
  }
}

export function outcome(result: ApplyResult): string {
  return result instanceof Error ? (result as RosterError).code : (result as { key: string }).key;
}
