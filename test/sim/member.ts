/**
 * One member: the production parts put together as the server does it, on disks in memory, with a clock and a life of
 * its own. Owns start, crash and pause. Everything that reaches the member comes through `enter`, so that a dead one
 * hears nothing and a paused one hears it later.
 */
import { createStateMachine } from '../../core/apply/create.ts';
import type { StateMachine } from '../../core/apply/state-machine.ts';
import { RosterError } from '../../core/errors.ts';
import { MemoryDisk as LogDisk } from '../../core/log/memory-disk.ts';
import { createWal, openWal } from '../../core/log/open.ts';
import { recover } from '../../core/log/recover.ts';
import type { Wal } from '../../core/log/wal.ts';
import { MemoryDisk as BackendDisk, MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import { Node } from '../../core/node/node.ts';
import { NODE_LIMITS, nodeConfig, type RecoveredLog, type World } from '../../core/node/world.ts';
import { type Message, MessageType } from '../../core/raft/messages.ts';
import { BTree } from '../../core/util/btree.ts';
import { Prng } from '../../core/util/prng.ts';
import type { Host } from './host.ts';
import { Crash, type CrashPoint, ObservedMachine, ObservedWal } from './observed.ts';
import { Violation } from './violation.ts';

const TICK_MS = 100;
const CLUSTER_ID = 7n;
/** A process does not come back in the same moment. */
const START_MS = 20;
/** The wall clock when a run begins. */
const EPOCH_MS = 1_700_000_000_000;

function run<R>(steps: Generator<unknown, R>): R {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

export class Member {
  readonly id: bigint;
  /** Set while the member serves. */
  node: Node | undefined;
  machine: StateMachine | undefined;
  /** Of the state that a crash leaves. */
  durableIndex = 0;
  /** What others have confirmed to it in its present term. */
  readonly confirmed = new Map<bigint, number>();
  #confirmedTerm = 0;
  crashAt: CrashPoint | undefined;
  alive = false;
  paused = false;
  readonly #host: Host;
  readonly #prng: Prng;
  readonly #rate: number;
  readonly #skewMs: number;
  #run = 0;
  #backlog: { run: number; task: () => void }[] = [];
  #logDisk: LogDisk;
  readonly #backendDisk = new BackendDisk();
  #commitAtMs = 0;
  /** What a disk that lies still has, oldest first. */
  #copies: LogDisk[] = [];

  constructor(id: bigint, host: Host) {
    const { settings } = host;
    this.id = id;
    this.#host = host;
    this.#prng = new Prng(settings.seed * 64 + Number(id));
    this.#rate = 1 + settings.drift * (2 * this.#prng.float() - 1);
    this.#skewMs = this.#prng.int(1_000_000);
    const { sectorBytes, diskMs } = settings;
    const defer = (finish: () => void) => this.later(this.#prng.float() * diskMs, finish);
    this.#logDisk = new LogDisk({ sectorBytes, defer });
    if (host.bug.commitLosesKeys === true) {
      const disk = this.#backendDisk;
      const write = disk.write.bind(disk);
      disk.write = (generation) => write({ rows: { ...generation.rows, key: new BTree() } } as typeof generation);
    }
  }

  /** What this member's clock shows. */
  get clockMs(): number {
    const ms = this.#host.time.nowMs * this.#rate;
    return EPOCH_MS + this.#skewMs + (this.#host.bug.clock?.(ms) ?? ms);
  }

  /** Runs `task` on this member after `delayMs`, if this run of it is still alive then. */
  later(delayMs: number, task: () => void): void {
    const run = this.#run;
    this.#host.time.after(delayMs, () => {
      if (run === this.#run) this.enter(task);
    });
  }

  /** Does `task` as this member: now, when its pause ends, or never if it is dead. */
  enter(task: () => void): void {
    if (!this.alive) return;
    if (this.paused) {
      this.#backlog.push({ run: this.#run, task });
      return;
    }
    try {
      task();
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      this.#host.tally.count('crashInTurn');
      this.crash(this.#prng.int(2) === 0);
      return;
    }
    if (this.node !== undefined) this.#host.raft.status(this.node.status());
  }

  /** Takes a message. */
  hear(message: Message): void {
    if (this.node === undefined) return;
    this.node.step(message);
    if (this.node.term !== this.#confirmedTerm) this.confirmed.clear();
    this.#confirmedTerm = this.node.term;
    if (message.type !== MessageType.values.APPEND_RESPONSE || message.reject) return;
    if (message.term !== this.node.term) return;
    this.confirmed.set(message.from, Math.max(message.index, this.confirmed.get(message.from) ?? 0));
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    for (const { run, task } of this.#backlog.splice(0)) if (run === this.#run) this.enter(task);
  }

  /** The member's next write to its log fails. */
  failSync(): void {
    this.#logDisk.failNext('write', new Error('sync: input/output error'));
  }

  /** Dies at once: with the power, or the process alone. Of what its disk was doing, chance decides. */
  crash(powerLoss: boolean): void {
    if (!this.alive) return;
    this.#host.tally.note(this.#host.time.nowMs, Number(this.id), powerLoss ? 'power loss' : 'killed');
    this.#host.tally.count(powerLoss ? 'powerLoss' : 'kill');
    if (this.node !== undefined) this.#host.raft.stopped(this.id);
    this.#run++;
    this.alive = false;
    this.paused = false;
    this.crashAt = undefined;
    this.#backlog = [];
    this.confirmed.clear();
    this.node = undefined;
    this.machine = undefined;
    const chance = this.#prng.int(4);
    const survives = () => (chance === 0 ? false : chance === 1 ? true : this.#prng.int(2) === 0);
    const pending = this.#logDisk.pending.length;
    if (pending > 0) this.#host.tally.count('crashWithPendingWrites');
    const real = powerLoss ? this.#logDisk.afterPowerLoss(survives) : this.#logDisk.afterKill(survives);
    this.#logDisk = (powerLoss ? this.#copies[0]?.afterPowerLoss(() => false) : undefined) ?? real;
    this.#host.crashed(this);
  }

  start(): void {
    if (this.alive) return;
    this.#run++;
    this.alive = true;
    this.#commitAtMs = 0;
    this.later(START_MS, () => this.#open());
  }

  #open(): void {
    const defer = (task: () => void) => {
      this.#commitAtMs = Math.max(
        this.#commitAtMs,
        this.#host.time.nowMs + this.#prng.float() * this.#host.settings.commitMs,
      );
      this.later(this.#commitAtMs - this.#host.time.nowMs, task);
    };
    const backend = new MemoryBackend(defer, this.#backendDisk);
    const limits = { minTtlSeconds: 1, watch: { sliceRevisionsMax: 5, responseBytesMax: 400 } };
    const machine = createStateMachine({ backend, clock: { nowMs: () => this.clockMs }, limits });
    const identity = { clusterId: CLUSTER_ID, memberId: this.id, nonce: 99n };
    try {
      run(machine.restore());
      const found = run(recover(this.#logDisk, { ...identity, appliedIndex: machine.appliedIndex }));
      if (found.kind === 'damaged') throw new Violation('start', `${this.id}: the log is damaged: ${found.message}`);
      const opened = (error: Error | undefined, wal: Wal | undefined) => {
        if (error !== undefined || wal === undefined) this.#fatal(error);
        else this.#serve(machine, wal, found.kind === 'empty' ? FRESH : found);
      };
      const options = { segmentBytes: this.#host.settings.segmentBytes };
      if (found.kind === 'empty') createWal(this.#logDisk, found, identity, options, opened);
      else openWal(this.#logDisk, found, options, opened);
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
      throw new Violation('start', `${this.id} cannot start: ${error.message}`, { cause: error });
    }
  }

  #serve(machine: StateMachine, wal: Wal, recovered: RecoveredLog): void {
    const { bug, raft, settings } = this.#host;
    raft.started(this.id, recovered);
    const observedWal = new ObservedWal(this, wal, this.#host);
    const observed = new ObservedMachine(this, machine, this.#host);
    const world: World = {
      wal: bug.wal?.(observedWal, this) ?? observedWal,
      machine: bug.machine?.(observed, this) ?? observed,
      transport: {
        send: (messages) => {
          for (const message of messages) this.#host.send(this, message);
        },
      },
      schedule: (task) => this.later(0, task),
      scheduleIdle: (task) => this.later(1, task),
      clock: { nowMs: () => this.clockMs },
      prng: this.#prng,
      onFatal: (error) => this.#fatal(error),
    };
    const config = {
      preVote: settings.preVote,
      limits: { ...NODE_LIMITS, applyEntriesMax: settings.applyEntriesMax },
    };
    // Without snapshots a log must not be cut above what the slowest member has.
    Object.defineProperty(config.limits, 'catchupEntries', {
      get: () => Math.max(settings.keepEntries, observed.committingIndex - this.#host.floorIndex(this)),
    });
    let node: Node;
    try {
      node = new Node(nodeConfig(this.id, this.#host.voters, config), world, recovered);
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
      throw new Violation('start', `${this.id} cannot start: ${error.message}`, { cause: error });
    }
    machine.onWork = () => node.requestWork();
    this.machine = machine;
    this.node = node;
    this.#host.tally.note(this.#host.time.nowMs, Number(this.id), 'serves');
    node.start();
    this.#scheduleTick(this.#prng.float() * TICK_MS);
    if (this.#host.bug.lyingDiskMs !== undefined) this.#keepCopies(this.#host.bug.lyingDiskMs);
    this.#host.started(this);
  }

  /** Real timers do not pile up while a process is stopped: of the ticks of a pause one is left. */
  #scheduleTick(delayMs: number): void {
    const run = this.#run;
    this.#host.time.after(delayMs / this.#rate, () => {
      if (run !== this.#run) return;
      if (this.paused) this.#host.tally.count('tickInPause');
      else this.enter(() => this.node?.tick());
      this.#scheduleTick(TICK_MS);
    });
  }

  #keepCopies(everyMs: number): void {
    this.#copies = [...this.#copies, this.#logDisk.afterPowerLoss(() => false)].slice(-2);
    this.later(everyMs, () => this.#keepCopies(everyMs));
  }

  /** The process ends itself, and whoever watches over it starts it again. */
  #fatal(error: Error | undefined): void {
    this.#host.tally.note(this.#host.time.nowMs, Number(this.id), `fatal: ${error?.message}`);
    this.#host.tally.count('fatalStop');
    this.later(0, () => this.crash(false));
  }
}

const FRESH: RecoveredLog = { hardState: undefined, prevIndex: 0, prevTerm: 0, entries: [] };
