/**
 * A world for nodes that the test moves by hand: a log whose writes are durable when the test says so, a machine whose
 * state can be read as a list, turns of an event loop that run on demand.
 */
import type { RosterError } from '../../core/errors.ts';
import type { ApplyResult, Machine } from '../../core/node/machine.ts';
import { Node, type ProposedRequest } from '../../core/node/node.ts';
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
import { Prng } from '../../core/util/prng.ts';
import type { Entry, HardState, InternalRequest } from '../../core/wire/messages.ts';

interface Write {
  entries: readonly Entry[];
  hardState: HardState | undefined;
  done: (error?: Error) => void;
}

export class FakeWal implements NodeWal {
  /** What a crash leaves. */
  hardState: HardState | undefined;
  entries: Entry[] = [];
  released = 0;
  /** Not durable yet, oldest first. */
  writes: Write[] = [];
  closed = false;
  failure: Error | undefined;

  append(entries: readonly Entry[], hardState: HardState | undefined, done: (error?: Error) => void): void {
    assert(!this.closed && this.failure === undefined, 'append to a closed or broken log');
    this.writes.push({ entries, hardState, done });
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

  #keep({ entries, hardState }: Write): void {
    const first = entries[0];
    if (first !== undefined) this.entries = this.entries.filter((entry) => entry.index < first.index);
    this.entries.push(...entries);
    if (hardState !== undefined) this.hardState = hardState;
  }

  fail(error: Error): void {
    this.failure = error;
    for (const write of this.writes.splice(0)) write.done(error);
  }

  release(index: number): void {
    assert(index > this.released, 'released twice');
    this.released = index;
  }

  close(done: (error?: Error) => void): void {
    assert(!this.closed, 'closed twice');
    this.closed = true;
    done();
  }

  /** As after a restart: released entries are gone. */
  recovered(): RecoveredLog {
    const prevTerm = this.entries.find((entry) => entry.index === this.released)?.term ?? 0;
    const entries = this.entries.filter((entry) => entry.index > this.released);
    return { hardState: this.hardState, prevIndex: this.released, prevTerm, entries };
  }
}

/** Applies puts to a list. What `commit` made durable survives `crash`. */
export class ListMachine implements Machine {
  appliedIndex = 0;
  values: string[] = [];
  requests: (InternalRequest | undefined)[] = [];
  leading: boolean[] = [];
  pendingWrites = 0;
  commits: { index: number; values: string[]; done: (error?: Error) => void }[] = [];
  expired: bigint[] = [];
  revoked: bigint[] = [];
  workLeft = 0;
  #durable = { index: 0, values: [] as string[] };

  apply(index: number, term: number, request: InternalRequest | undefined): ApplyResult | undefined {
    assert(index === this.appliedIndex + 1 && term > 0, 'out of order');
    this.appliedIndex = index;
    this.requests.push(request);
    if (request === undefined) return undefined;
    this.pendingWrites++;
    if (request.lease_revoke !== undefined) {
      this.revoked.push(request.lease_revoke.ID);
      return {};
    }
    this.values.push(request.put!.key);
    return { index, key: request.put!.key };
  }

  setLeader(leading: boolean): void {
    this.leading.push(leading);
  }

  commit(done: (error?: Error) => void): void {
    this.pendingWrites = 0;
    this.commits.push({ index: this.appliedIndex, values: [...this.values], done });
  }

  finishCommit(error?: Error): void {
    const commit = this.commits.shift()!;
    if (error === undefined) this.#durable = commit;
    commit.done(error);
  }

  expiredLeases(limit: number): bigint[] {
    return this.expired.splice(0, limit);
  }

  work(): boolean {
    this.workLeft--;
    return this.workLeft > 0;
  }

  crash(): ListMachine {
    const machine = new ListMachine();
    machine.appliedIndex = this.#durable.index;
    machine.values = [...this.#durable.values];
    machine.#durable = this.#durable;
    return machine;
  }
}

export function put(key: string): ProposedRequest {
  return {
    put: { key, value: new Uint8Array(0), lease: 0n, prev_kv: false, ignore_value: false, ignore_lease: false },
  };
}

export interface Harness {
  wal?: FakeWal;
  machine?: ListMachine;
  limits?: Partial<NodeLimits>;
  config?: Partial<NodeConfig>;
  id?: bigint;
  voters?: bigint[];
  seed?: number;
}

/** One node and its world. */
export class Bench {
  readonly wal: FakeWal;
  readonly machine: ListMachine;
  readonly node: Node;
  readonly sent: Message[] = [];
  readonly fatal: RosterError[] = [];
  turns: (() => void)[] = [];
  idle: (() => void)[] = [];

  constructor(harness: Harness = {}) {
    const { id = 1n, voters = [id], limits, config, seed = 1 } = harness;
    this.wal = harness.wal ?? new FakeWal();
    this.machine = harness.machine ?? new ListMachine();
    const world: World = {
      wal: this.wal,
      machine: this.machine,
      transport: { send: (messages) => void this.sent.push(...messages) },
      schedule: (run) => void this.turns.push(run),
      scheduleIdle: (run) => void this.idle.push(run),
      clock: { nowMs: () => 1_700_000_000_000 },
      prng: new Prng(seed),
      onFatal: (error) => void this.fatal.push(error),
    };
    const settings = nodeConfig(id, voters, { ...config, limits: { ...NODE_LIMITS, ...limits } });
    this.node = new Node(settings, world, this.wal.recovered());
  }

  /** Ends this turn of the event loop: runs what was scheduled for its end. */
  turn(): void {
    for (const run of this.turns.splice(0)) run();
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
    assert(this.node.status().isLeader, 'a sole voter leads');
    return this;
  }

  tick(count = 1): void {
    for (let i = 0; i < count; i++) this.node.tick();
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
