/**
 * One member out of its real parts - driver, Raft, log, state machine, store - on disks in memory, and losses of power
 * at any moment, with any of the unfinished sectors written. What was acknowledged is there afterwards, at its revision.
 */
import { describe, expect, it } from 'vitest';
import { createStateMachine } from '../../core/apply/create.ts';
import type { StateMachine } from '../../core/apply/state-machine.ts';
import { MemoryDisk as LogDisk } from '../../core/log/memory-disk.ts';
import { createWal, openWal } from '../../core/log/open.ts';
import { recover } from '../../core/log/recover.ts';
import type { Wal } from '../../core/log/wal.ts';
import { MemoryDisk as BackendDisk, MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import { Node } from '../../core/node/node.ts';
import { NODE_LIMITS, nodeConfig, type RecoveredLog } from '../../core/node/world.ts';
import { confStateOf } from '../../core/raft/conf-change.ts';
import { assert } from '../../core/util/assert.ts';
import { crc32 } from '../../core/util/crc32.ts';
import { Prng } from '../../core/util/prng.ts';
import type { PutResponse } from '../../core/wire/messages.ts';
import { member, put } from './world.ts';

const SEEDS = Number(process.env.NODE_SEEDS ?? 60);
const FIRST_SEED = Number(process.env.NODE_FROM ?? 1);
const STEPS = 400;
const TURNS_MAX = 10_000;
const IDENTITY = { clusterId: 7n, memberId: 1n, nonce: 99n };

function run<R>(steps: Generator<unknown, R>): R {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

class Member {
  readonly prng: Prng;
  /** Key of each acknowledged put, and its revision. */
  readonly acknowledged = new Map<string, number>();
  crashes = 0;
  #logDisk = new LogDisk();
  #backendDisk = new BackendDisk();
  #commits: (() => void)[] = [];
  #turns: (() => void)[] = [];
  #machine!: StateMachine;
  #node!: Node;
  #count = 0;

  constructor(seed: number) {
    this.prng = new Prng(seed);
    this.#start();
  }

  #openLog(appliedIndex: number): { wal: Wal; recovered: RecoveredLog } {
    const found = run(recover(this.#logDisk, { ...IDENTITY, appliedIndex }));
    if (found.kind === 'damaged') throw new Error(`the log is damaged: ${found.message}`);
    let wal: Wal | undefined;
    const opened = (error: Error | undefined, made: Wal | undefined) => {
      if (error !== undefined) throw error;
      wal = made;
    };
    const options = { segmentBytes: 4096 };
    if (found.kind === 'empty') createWal(this.#logDisk, found, IDENTITY, options, opened);
    else openWal(this.#logDisk, found, options, opened);
    this.#logDisk.settle();
    const fresh = { hardState: undefined, prevIndex: 0, prevTerm: 0, entries: [] };
    return { wal: wal!, recovered: found.kind === 'empty' ? fresh : found };
  }

  #start(): void {
    const backend = new MemoryBackend((task) => void this.#commits.push(task), this.#backendDisk);
    this.#machine = createStateMachine({ backend, clock: { nowMs: () => 0 } });
    run(this.#machine.restore());
    if (this.#machine.confState.voters.length === 0) this.#found();
    const { wal, recovered } = this.#openLog(this.#machine.appliedIndex);
    const limits = { ...NODE_LIMITS, catchupEntries: this.prng.int(20), applyEntriesMax: 1 + this.prng.int(5) };
    const world = {
      wal,
      machine: this.#machine,
      transport: { send: () => {} },
      schedule: (task: () => void) => void this.#turns.push(task),
      scheduleIdle: (task: () => void) => void this.#turns.push(task),
      crc32,
      clock: { nowMs: () => 0 },
      prng: this.prng,
      onFatal: (error: Error) => {
        throw error;
      },
    };
    this.#node = new Node(nodeConfig(1n, { limits }), world, recovered);
    this.#node.start();
  }

  /** Its cluster begins: whom it consists of is durable before there is a log. */
  #found(): void {
    this.#machine.bootstrap([member(1n)], confStateOf([1n]));
    let durable = false;
    this.#machine.commit(() => {
      durable = true;
    });
    for (const task of this.#commits.splice(0)) task();
    assert(durable, 'the first state is durable');
  }

  step(): void {
    const dice = this.prng.int(100);
    if (dice < 25) this.#put();
    else if (dice < 55) this.#turn();
    else if (dice < 85) this.#logDisk.step();
    else if (dice < 92) this.#node.tick();
    else if (dice < 98) this.#commits.shift()?.();
    else this.#crash();
  }

  #turn(): void {
    for (const task of this.#turns.splice(0)) task();
  }

  #put(): void {
    const key = `key-${++this.#count}`;
    this.#node.propose(put(key), (result) => {
      if (!(result instanceof Error)) this.acknowledged.set(key, (result as PutResponse).header!.revision);
    });
  }

  #crash(): void {
    this.crashes++;
    const survives = () => this.prng.int(2) === 0;
    this.#logDisk = this.prng.int(2) === 0 ? this.#logDisk.afterPowerLoss(survives) : this.#logDisk.afterKill(survives);
    // Commits reach the disk whole and in order, or not at all.
    this.#commits = [];
    this.#turns = [];
    this.#start();
    this.check();
  }

  /** Up to date, then: everything acknowledged is there, at the revision it was acknowledged with. */
  check(): void {
    let ready = false;
    this.#node.linearizableRead((error) => {
      assert(error === undefined, `not ready: ${error?.message}`);
      ready = true;
    });
    for (let turns = 0; !ready; turns++) {
      assert(turns < TURNS_MAX, 'the member does not become ready');
      this.#turn();
      this.#logDisk.step();
    }
    for (const [key, revision] of this.acknowledged) {
      const found = this.#machine.store.meta(key);
      assert(found?.mod_revision === revision, `${key} was acknowledged at ${revision}, found ${found?.mod_revision}`);
    }
  }
}

describe('a member of real parts', () => {
  it(`loses nothing acknowledged over ${SEEDS} seeds of power losses and kills`, () => {
    let crashes = 0;
    let acknowledged = 0;
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      try {
        const member = new Member(seed);
        for (let i = 0; i < STEPS; i++) member.step();
        member.check();
        crashes += member.crashes;
        acknowledged += member.acknowledged.size;
      } catch (error) {
        throw new Error(`seed ${seed} (NODE_FROM=${seed} NODE_SEEDS=1 npx vitest run test/node/whole.test.ts)`, {
          cause: error,
        });
      }
    }
    expect([crashes > 4 * SEEDS, acknowledged > 20 * SEEDS]).toEqual([true, true]);
  });
});
