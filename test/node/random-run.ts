/**
 * Three members under a schedule of chance: messages lost, doubled, late and out of order, slow disks, crashes, leaders
 * that change. Notes what callers were told, and at the end holds it against what the members have applied.
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import { SNAPSHOT_IDLE_TICKS } from '../../core/node/snapshot-sender.ts';
import type { NodeLimits } from '../../core/node/world.ts';
import { Cluster, type Held } from './cluster.ts';
import { type Bench, outcome, put } from './world.ts';

const IDS = [1, 2, 3] as const;
/** Messages on their way; beyond, the oldest are lost. */
const POOL_MAX = 60;
/** Enough for every deadline, and for an election; then for the last of the snapshots that were given up. */
const CALM_TICKS = 25;
const LAST_TICKS_MAX = 3 * SNAPSHOT_IDLE_TICKS;

export type Step =
  | { do: 'put' | 'read' | 'turn' | 'tick' | 'rest' | 'commit' | 'install'; at: number }
  | { do: 'write'; at: number; count: number }
  | { do: 'crash'; at: number; keep: number }
  | { do: 'transfer' | 'cut'; at: number }
  | { do: 'deliver' | 'drop' | 'double'; pick: number }
  | { do: 'flow'; rounds: number };

const at = fc.constantFrom(...IDS);
const pick = fc.nat({ max: 10_000 });

function of(weight: number, arbitrary: fc.Arbitrary<Step>): { weight: number; arbitrary: fc.Arbitrary<Step> } {
  return { weight, arbitrary };
}

/** One step of a schedule. */
export const step: fc.Arbitrary<Step> = fc.oneof(
  of(10, fc.record({ do: fc.constant('put' as const), at })),
  of(5, fc.record({ do: fc.constant('read' as const), at })),
  of(12, fc.record({ do: fc.constantFrom('turn' as const, 'tick' as const), at })),
  of(6, fc.record({ do: fc.constantFrom('rest' as const, 'commit' as const, 'install' as const), at })),
  of(10, fc.record({ do: fc.constant('write' as const), at, count: fc.integer({ min: 1, max: 3 }) })),
  of(1, fc.record({ do: fc.constant('crash' as const), at, keep: fc.integer({ min: 0, max: 3 }) })),
  of(2, fc.record({ do: fc.constantFrom('transfer' as const, 'cut' as const, 'cut' as const), at })),
  of(16, fc.record({ do: fc.constant('deliver' as const), pick })),
  of(4, fc.record({ do: fc.constantFrom('drop' as const, 'double' as const), pick })),
  of(3, fc.record({ do: fc.constant('flow' as const), rounds: fc.integer({ min: 1, max: 8 }) })),
);

/** What differs from one run to the next. */
export const limits: fc.Arbitrary<Partial<NodeLimits>> = fc.record({
  catchupEntries: fc.constantFrom(0, 2, 1000),
  followerBytesMax: fc.constantFrom(0, 1_000_000),
  snapshotChunkBytes: fc.constantFrom(1, 20, 1_000_000),
  proposalsPendingMax: fc.constantFrom(2, 1000),
  applyEntriesMax: fc.integer({ min: 1, max: 4 }),
  batchBytesMax: fc.constantFrom(1, 1_000_000),
});

interface Asked {
  key: string;
  /** Gone when the process was. */
  bench: Bench;
  told: string[];
}

export class RandomRun {
  readonly cluster: Cluster;
  readonly asked: Asked[] = [];
  readonly #reads: { bench: Bench; told: string[] }[] = [];
  readonly #held: Held;
  /** Puts that somebody was told are done. */
  readonly #acknowledged = new Set<string>();
  readonly #dead = new Set<Bench>();

  constructor(limits: Partial<NodeLimits>) {
    this.cluster = new Cluster({ limits, config: { electionMs: 300, requestTimeoutMs: 1500 } });
    this.cluster.elect();
    this.cluster.disksFinish = () => false;
    this.#held = this.cluster.hold(() => true);
  }

  act(step: Step): void {
    if ('pick' in step) this.#message(step.do, step.pick);
    else if ('rounds' in step) for (let i = 0; i < step.rounds; i++) this.#flow();
    else this.#member(step);
    this.cluster.carry();
    this.#held.messages.splice(0, this.#held.messages.length - POOL_MAX);
  }

  #member(step: Exclude<Step, { pick: number } | { rounds: number }>): void {
    const bench = this.cluster.bench(step.at);
    if (step.do === 'put') this.#put(bench);
    else if (step.do === 'read') this.#read(bench);
    else if (step.do === 'turn') bench.turn();
    else if (step.do === 'tick') bench.tick();
    else if (step.do === 'rest') bench.rest();
    else if (step.do === 'write') bench.wal.finish(step.count);
    else if (step.do === 'commit' && bench.machine.commits.length > 0) bench.machine.finishCommit();
    else if (step.do === 'install' && bench.machine.installs.length > 0) bench.machine.finishInstall();
    else if (step.do === 'transfer') bench.node.transferLeadership(BigInt((step.at % IDS.length) + 1), () => {});
    else if (step.do === 'cut') this.#cut(bench.node.id);
    else if (step.do === 'crash') {
      this.#dead.add(bench);
      this.cluster.restart(step.at, step.keep);
    }
  }

  /** Nobody reaches the member any more; or everybody does again. */
  #cut(id: bigint): void {
    const { cut } = this.cluster;
    if (!cut.delete(id)) cut.add(id);
  }

  #message(what: 'deliver' | 'drop' | 'double', pick: number): void {
    const { messages } = this.#held;
    if (messages.length === 0) return;
    const index = pick % messages.length;
    const message = messages[index]!;
    if (what !== 'double') messages.splice(index, 1);
    if (what !== 'drop') this.cluster.deliver(message);
  }

  /** A moment in which all is well. */
  #flow(): void {
    for (const bench of this.cluster.benches) {
      bench.tick();
      bench.settle();
      bench.rest();
      if (bench.machine.commits.length > 0) bench.machine.finishCommit();
      if (bench.machine.installs.length > 0) bench.machine.finishInstall();
    }
    this.cluster.carry();
    this.cluster.deliver(...this.#held.messages.splice(0));
  }

  #put(bench: Bench): void {
    const asked: Asked = { key: `${this.asked.length}`, bench, told: [] };
    this.asked.push(asked);
    bench.node.propose(put(asked.key), (result) => {
      asked.told.push(outcome(result));
      if (outcome(result) === asked.key) this.#acknowledged.add(asked.key);
    });
  }

  /** Sees everything that anybody, anywhere, had been told before. */
  #read(bench: Bench): void {
    const before = [...this.#acknowledged];
    const read = { bench, told: [] as string[] };
    this.#reads.push(read);
    bench.node.linearizableRead((error) => {
      read.told.push(error?.code ?? 'read');
      if (error === undefined) expect(bench.machine.values).toEqual(expect.arrayContaining(before));
    });
  }

  get #isLevel(): boolean {
    return new Set(this.cluster.benches.map(({ machine }) => machine.appliedIndex)).size === 1;
  }

  /** All is well again; then everybody has been told something, once, and it was true. */
  end(): void {
    this.cluster.cut.clear();
    this.#held.end();
    this.cluster.deliver(...this.#held.messages);
    this.cluster.disksFinish = () => true;
    this.cluster.tick(CALM_TICKS);
    for (let tick = 0; !this.#isLevel && tick < LAST_TICKS_MAX; tick++) this.cluster.tick();
    const { values } = this.cluster.leader.machine;
    for (const { machine } of this.cluster.benches) expect(machine.values).toEqual(values);
    const applied = new Set(values);
    expect(applied.size, 'applied at most once').toBe(values.length);
    for (const { key, bench, told } of this.asked) {
      if (!this.#dead.has(bench)) expect(told, 'told once').toHaveLength(1);
      expect(told.length).toBeLessThanOrEqual(1);
      for (const what of told) {
        expect([key, 'Timeout', 'RequestTooManyRequests']).toContain(what);
        if (what === key) expect(applied).toContain(key);
        if (what === 'RequestTooManyRequests') expect(applied).not.toContain(key);
      }
    }
    for (const { bench, told } of this.#reads) if (!this.#dead.has(bench)) expect(told).toHaveLength(1);
  }
}
