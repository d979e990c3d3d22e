/**
 * One member: the production parts put together as the server does it, on disks in memory, with a clock and a life of
 * its own. Owns start, crash and pause. Everything that reaches the member comes through `enter`, so that a dead one
 * hears nothing and a paused one hears it later.
 */
import { createStateMachine } from '../../core/apply/create.ts';
import type { StateMachine } from '../../core/apply/state-machine.ts';
import { RosterError } from '../../core/errors.ts';
import { openForState, type RecoveredForState, recoverForState } from '../../core/log/after-snapshot.ts';
import { segmentNumber } from '../../core/log/format.ts';
import { createWal } from '../../core/log/open.ts';
import type { EmptyLog } from '../../core/log/recover.ts';
import { setAside } from '../../core/log/set-aside.ts';
import { isRefillable, type LogDamage } from '../../core/log/verdict.ts';
import type { Wal, WalOptions } from '../../core/log/wal.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import { MemoryStaging } from '../../core/mvcc/memory-staging.ts';
import { Node } from '../../core/node/node.ts';
import type { PeerMessage } from '../../core/node/peer-message.ts';
import { NODE_LIMITS, nodeConfig, type RecoveredLog, type World } from '../../core/node/world.ts';
import { confStateOf } from '../../core/raft/conf-change.ts';
import { canRefill } from '../../core/raft/refill.ts';
import { crc32 } from '../../core/util/crc32.ts';
import { Prng } from '../../core/util/prng.ts';
import { defaults } from '../../core/wire/binary.ts';
import { Member as MemberRow } from '../../core/wire/messages.ts';
import type { HardState } from '../../core/wire/stored.ts';
import { forgetUnfinishedStart } from '../../server/founding.ts';
import { Disks, run } from './disks.ts';
import type { Host } from './host.ts';
import { Crash, type CrashPoint, ObservedMachine, ObservedWal } from './observed.ts';
import { Violation } from './violation.ts';

const TICK_MS = 100;
const IDENTITY = { clusterId: 7n };
/** A process does not come back in the same moment. */
const START_MS = 20;
/** The wall clock when a run begins. */
const EPOCH_MS = 1_700_000_000_000;
/** A member says its name until the cluster has heard it. */
const PUBLISH_AGAIN_MS = 500;
const SPACE_RETRY_MS = 1_000;
/** A snapshot must not take for ever on a slow disk: then more of it goes into one commit. */
const SLOW_COMMIT_MS = 100;

export class Member {
  readonly id: bigint;
  readonly disks: Disks;
  /** Set while the member serves. */
  node: Node | undefined;
  machine: StateMachine | undefined;
  alive = false;
  paused = false;
  /** It has been taken out of the cluster, and knows. */
  removed = false;
  /** Its log was lost and comes back from the others: until then it counts nowhere. */
  refilling = false;
  /** Where it will die when it next comes there. */
  readonly #diesAt = new Set<CrashPoint>();
  readonly #host: Host;
  readonly #founders: readonly bigint[];
  readonly #prng: Prng;
  readonly #rate: number;
  readonly #skewMs: number;
  #run = 0;
  #backlog: { run: number; task: () => void }[] = [];
  #commitAtMs = 0;
  #failsCommit = false;
  #wal: Wal | undefined;

  /** `founders`: who the cluster begins with; nobody for a member that joins later and is to be told. */
  constructor(id: bigint, host: Host, founders: readonly bigint[]) {
    const { settings } = host;
    this.id = id;
    this.#host = host;
    this.#founders = founders;
    this.#prng = new Prng(settings.seed * 64 + Number(id));
    this.#rate = 1 + settings.drift * (2 * this.#prng.float() - 1);
    this.#skewMs = this.#prng.int(1_000_000);
    this.disks = new Disks(host, this.#prng, (delayMs, task) => this.later(delayMs, task));
  }

  /** Which of its lives this is. */
  get run(): number {
    return this.#run;
  }

  get isLeader(): boolean {
    return this.node?.status().isLeader === true;
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
      this.crash(this.#prng.int(2) === 0);
      return;
    }
    if (this.node !== undefined) this.#host.raft.status(this.node.status());
  }

  // ---- what the nemesis does; each says whether anything came of it

  dieAt(point: CrashPoint): boolean {
    this.#diesAt.add(point);
    return true;
  }

  /** The place has been reached. */
  mayDie(point: CrashPoint): void {
    if (!this.#diesAt.delete(point)) return;
    this.#host.tally.count(`diedAt:${point}`);
    throw new Crash();
  }

  pause(): void {
    this.#host.tally.note(this.#host.time.nowMs, Number(this.id), 'paused');
    this.paused = true;
  }

  resume(): void {
    this.#host.tally.note(this.#host.time.nowMs, Number(this.id), 'resumed');
    this.paused = false;
    for (const { run, task } of this.#backlog.splice(0)) if (run === this.#run) this.enter(task);
  }

  failSync(): boolean {
    this.disks.failSync();
    return this.alive;
  }

  /** Its next commit of the state fails. */
  failCommit(): boolean {
    this.#failsCommit = true;
    return this.alive;
  }

  /** Nothing lies in wait for it any more. */
  mend(): void {
    this.#diesAt.clear();
    this.#failsCommit = false;
    this.disks.free();
    if (this.paused) this.resume();
  }

  /** Dies at once: with the power, or the process alone. */
  crash(powerLoss: boolean): boolean {
    if (!this.alive) return false;
    this.#host.tally.note(this.#host.time.nowMs, Number(this.id), powerLoss ? 'power loss' : 'killed');
    this.#host.tally.count(powerLoss ? 'powerLoss' : 'kill');
    if (this.node !== undefined) this.#host.raft.stopped(this.id);
    this.#run++;
    this.alive = false;
    this.paused = false;
    this.#failsCommit = false;
    this.#backlog = [];
    this.node = undefined;
    this.machine = undefined;
    this.disks.crash(powerLoss);
    this.#host.crashed(this);
    return true;
  }

  /** Is asked to end in order, as a process by SIGTERM: leadership first, then everything that waits, then the log. */
  stop(): void {
    this.enter(() => {
      const { node } = this;
      node?.handOver(() =>
        node.stop((error) => {
          this.#host.tally.count(error === undefined ? 'stoppedInOrder' : 'stopFailed');
          this.later(0, () => this.crash(false));
        }),
      );
    });
  }

  // ---- what clients, operator and members ask

  /** Takes a message. */
  hear(message: PeerMessage): void {
    this.node?.step(message);
  }

  moveLeader(to: bigint, done: (error?: RosterError) => void): void {
    this.node?.transferLeadership(to, done);
  }

  // ---- its life

  start(): void {
    if (this.alive || this.removed) return;
    this.#run++;
    this.alive = true;
    this.#commitAtMs = 0;
    this.later(START_MS, () => this.#open());
  }

  /** Commits of the state reach its disk in order. */
  #deferCommit(task: () => void): void {
    const { time, settings } = this.#host;
    this.#commitAtMs = Math.max(this.#commitAtMs, time.nowMs + this.#prng.float() * settings.commitMs);
    this.later(this.#commitAtMs - time.nowMs, task);
  }

  /** As server/storage.ts does it: the state, then the log that must reach beyond it or follow it. */
  #open(): void {
    const { place, log } = this.disks;
    const { commitMs, checkpointMs } = this.#host.settings;
    const defer = (task: () => void) => this.#deferCommit(task);
    const backend = new MemoryBackend(defer, place.disk);
    const machine = createStateMachine({
      backend,
      staging: new MemoryStaging(place, defer),
      clock: { nowMs: () => this.clockMs },
      limits: {
        minTtlSeconds: 1,
        watch: { sliceRevisionsMax: 5, responseBytesMax: 400 },
        stagedCommitBytes: commitMs > SLOW_COMMIT_MS ? 20_000 : 500,
        leaseCheckpointIntervalMs: checkpointMs,
      },
    });
    try {
      if (!log.list().some((name) => segmentNumber(name) !== undefined)) forgetUnfinishedStart(backend);
      run(machine.restore());
      const { appliedIndex, snapshotMark } = machine;
      const found = run(recoverForState(log, { ...IDENTITY, memberId: this.id, appliedIndex }, snapshotMark));
      if (found.kind === 'damaged') this.#damaged(machine, found);
      else if (found.kind === 'empty') this.#found(machine, found);
      else {
        // Set aside already, by a process that died before it heard of that.
        if (this.disks.rotten) this.disks.accept();
        this.#goOn(machine, found);
      }
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
      throw new Violation('start', `${this.id} cannot start: ${error.message}`, { cause: error });
    }
  }

  get #logOptions(): WalOptions {
    // A disk that is full is asked now and then whether it still is.
    let full = false;
    const again = () => {
      if (!full) return;
      this.#wal?.retrySpace();
      this.later(SPACE_RETRY_MS, again);
    };
    const onSpace = (error: Error | undefined) => {
      this.#host.tally.count(error === undefined ? 'roomAgain' : 'noRoom');
      if (full === (error !== undefined)) return;
      full = !full;
      if (full) this.later(SPACE_RETRY_MS, again);
    };
    return { segmentBytes: this.#host.settings.segmentBytes, onSpace };
  }

  /** The very first start. */
  #found(machine: StateMachine, empty: EmptyLog): void {
    const members = this.#founders.map((ID) => ({ ...defaults(MemberRow), ID, peerURLs: [peerUrl(ID)] }));
    machine.bootstrap(members, confStateOf(this.#founders));
    machine.commit((failure) => {
      if (failure !== undefined) return this.#fatal(failure);
      const identity = { ...IDENTITY, memberId: this.id, nonce: 99n };
      createWal(this.disks.log, empty, identity, this.#logOptions, (error, wal) => {
        if (error !== undefined || wal === undefined) this.#fatal(error);
        else this.#serve(machine, wal, FRESH);
      });
    });
  }

  /** Goes on with a new log, to be filled by the others, where that may be; otherwise stays away. */
  #damaged(machine: StateMachine, damage: LogDamage): void {
    const { disks, id } = this;
    if (!disks.rotten) throw new Violation('start', `${id}: the log is damaged: ${damage.message}`);
    const { appliedIndex: index, appliedTerm: term } = machine;
    if (!isRefillable(damage) || !canRefill(machine.confState, id)) {
      this.#host.tally.count('rotRemains');
      this.later(0, () => this.crash(false));
      return;
    }
    const identity = { ...IDENTITY, memberId: id, nonce: this.#prng.bigint63() };
    this.#host.raft.forgets(id);
    // From here on, however often it dies before it is done.
    this.refilling = true;
    setAside(disks.log, { identity, index, term }, this.#logOptions, (error) => {
      if (error !== undefined) return this.#fatal(error);
      this.#host.tally.count('refillBegun');
      disks.accept();
      const found = run(recoverForState(disks.log, { ...IDENTITY, memberId: id, appliedIndex: index }, undefined));
      if (found.kind !== 'recovered') throw new Violation('start', `${id}: the log set aside leaves ${found.kind}`);
      this.#goOn(machine, found);
    });
  }

  #goOn(machine: StateMachine, found: RecoveredForState): void {
    openForState(this.disks.log, found, this.#logOptions, (error, open) => {
      if (error !== undefined || open === undefined) return this.#fatal(error);
      if (found.resetTo !== undefined) this.#host.tally.count('logFollowedSnapshot');
      if (machine.snapshotMark !== undefined) machine.installed();
      this.#serve(machine, open.wal, open.start);
    });
  }

  #serve(machine: StateMachine, wal: Wal, recovered: RecoveredLog): void {
    const { bug, raft, tally, time } = this.#host;
    this.#wal = wal;
    raft.started(this.id, recovered);
    this.writes(recovered.hardState);
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
      crc32,
      clock: { nowMs: () => this.clockMs },
      prng: this.#prng,
      onFatal: (error) => this.#fatal(error),
      onRemoved: () => this.#leave(),
    };
    let node: Node;
    try {
      node = new Node(this.#config(), world, recovered);
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
      throw new Violation('start', `${this.id} cannot start: ${error.message}`, { cause: error });
    }
    machine.onWork = () => node.requestWork();
    this.machine = machine;
    this.node = node;
    tally.note(time.nowMs, Number(this.id), 'serves');
    tally.count('started');
    node.start();
    this.#scheduleTick(this.#prng.float() * TICK_MS);
    this.later(this.#prng.float() * PUBLISH_AGAIN_MS, () => this.#publish());
    if (bug.lyingDiskMs !== undefined) this.#keepCopies(bug.lyingDiskMs);
  }

  #config(): ReturnType<typeof nodeConfig> {
    const { preVote, applyEntriesMax, keepEntries, chunkBytes } = this.#host.settings;
    const limits = { ...NODE_LIMITS, applyEntriesMax, catchupEntries: keepEntries, snapshotChunkBytes: chunkBytes };
    return nodeConfig(this.id, { preVote, limits });
  }

  /** As a server tells the others its name and where it serves. Who has never done that does not count as started. */
  #publish(): void {
    const own = this.machine?.membership.member(this.id);
    if (own !== undefined && own.name !== '') return;
    const again = () => this.later(PUBLISH_AGAIN_MS, () => this.#publish());
    // Who has not been told yet that it is a member waits for that.
    if (own === undefined) again();
    else {
      const attributes = { ID: this.id, name: `m${this.id}`, clientURLs: [`http://m${this.id}:2379`] };
      this.node?.propose({ member_attributes: attributes }, again);
    }
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
    this.disks.keepCopy();
    this.later(everyMs, () => this.#keepCopies(everyMs));
  }

  /** It is no member any more: the process ends for good, a little later. */
  #leave(): void {
    this.#host.tally.count('removedKnows');
    this.later(this.#prng.float() * 1_000, () => {
      this.removed = true;
      this.crash(false);
    });
  }

  /** It has written, or found, this hard state. */
  writes(hardState: HardState | undefined): void {
    if (hardState === undefined) return;
    const refilling = (hardState.refilling ?? 0n) !== 0n;
    if (this.refilling && !refilling) this.#host.tally.count('refillDone');
    this.refilling = refilling;
  }

  /** Whether this commit is the one that fails. */
  takeCommitFailure(): boolean {
    const fails = this.#failsCommit;
    this.#failsCommit = false;
    return fails;
  }

  /** The process ends itself, and whoever watches over it starts it again. */
  #fatal(error: Error | undefined): void {
    this.#host.tally.note(this.#host.time.nowMs, Number(this.id), `fatal: ${error?.message}`);
    this.#host.tally.count('fatalStop');
    this.later(0, () => this.crash(false));
  }
}

/** Where the others are told to find a member. */
export function peerUrl(id: bigint): string {
  return `http://m${id}:2380`;
}

const FRESH: RecoveredLog = { hardState: undefined, prevIndex: 0, prevTerm: 0, entries: [] };
