/** Log and machine of one member with the checkers looking over their shoulder, and places where it can die. */
import type { StateMachine } from '../../core/apply/state-machine.ts';
import type {
  ApplyResult,
  ClusterView,
  CommitWish,
  Machine,
  StatePoint,
  StateReader,
  StateWriter,
} from '../../core/node/machine.ts';
import type { NodeWal } from '../../core/node/world.ts';
import type { ConfChange } from '../../core/raft/conf-change.ts';
import type { ConfState } from '../../core/raft/messages.ts';
import { decode } from '../../core/wire/binary.ts';
import type { LeaseTimeToLiveResponse } from '../../core/wire/messages.ts';
import {
  type Entry,
  type HardState,
  type InternalRequest,
  type LeaseCheckpoint,
  MemberChange,
} from '../../core/wire/stored.ts';
import type { Host } from './host.ts';
import type { Member } from './member.ts';

/** Thrown out of whatever the member was doing: it has died in the middle of it. */
export class Crash extends Error {}

/** Where in its work a member can be made to die. */
export const CRASH_POINTS = ['append', 'send', 'apply', 'commit', 'confChange'] as const;
/** The same while it takes a snapshot: content received, being installed, adopted, the log reset, the mark cleared. */
export const INSTALL_POINTS = ['received', 'install', 'adopted', 'reset', 'resetDone', 'installed'] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number] | (typeof INSTALL_POINTS)[number];

type Done = (error?: Error) => void;

export class ObservedWal implements NodeWal {
  readonly #member: Member;
  readonly #inner: NodeWal;
  readonly #host: Host;

  constructor(member: Member, inner: NodeWal, host: Host) {
    this.#member = member;
    this.#inner = inner;
    this.#host = host;
  }

  append(entries: readonly Entry[], hardState: HardState | undefined, done: Done): void {
    const { id } = this.#member;
    this.#host.raft.appended(id, entries, hardState);
    this.#inner.append(entries, hardState, (error) => {
      if (error === undefined) {
        this.#host.raft.persisted(id);
        this.#member.writes(hardState);
      }
      done(error);
    });
    this.#member.mayDie('append');
  }

  reset(index: number, term: number, hardState: HardState, done: Done): void {
    const { id } = this.#member;
    this.#host.raft.reset(id, index, term, hardState);
    this.#inner.reset(index, term, hardState, (error) => {
      if (error === undefined) this.#host.raft.persisted(id);
      this.#member.mayDie('resetDone');
      done(error);
    });
    this.#member.mayDie('reset');
  }

  release(index: number): void {
    this.#host.tally.count('logReleased');
    this.#inner.release(index);
  }

  close(done: Done): void {
    this.#inner.close(done);
  }
}

export class ObservedMachine implements Machine {
  readonly #member: Member;
  readonly #inner: StateMachine;
  readonly #host: Host;

  constructor(member: Member, inner: StateMachine, host: Host) {
    this.#member = member;
    this.#inner = inner;
    this.#host = host;
  }

  get appliedIndex(): number {
    return this.#inner.appliedIndex;
  }

  get appliedTerm(): number {
    return this.#inner.appliedTerm;
  }

  get confState(): ConfState {
    return this.#inner.confState;
  }

  get pendingWrites(): number {
    return this.#inner.pendingWrites;
  }

  get pendingRemovals(): number {
    return this.#inner.pendingRemovals;
  }

  get commitWish(): CommitWish {
    return this.#inner.commitWish;
  }

  apply(index: number, term: number, request: InternalRequest | undefined): ApplyResult | undefined {
    const result = this.#inner.apply(index, term, request);
    this.#applied(index, term, { request }, result);
    this.#member.mayDie('apply');
    return result;
  }

  applyConfChange(index: number, term: number, change: ConfChange, conf: ConfState): ApplyResult | undefined {
    const result = this.#inner.applyConfChange(index, term, change, conf);
    const memberChange = change.context.length === 0 ? undefined : decode(MemberChange, change.context);
    this.#applied(index, term, { change: memberChange }, result);
    this.#host.tally.count('confChangeApplied');
    this.#member.mayDie('confChange');
    return result;
  }

  #applied(
    index: number,
    term: number,
    what: { request?: InternalRequest | undefined; change?: MemberChange | undefined },
    result: ApplyResult | undefined,
  ): void {
    const { id, node } = this.#member;
    this.#host.raft.applied(id, index, term, node?.term ?? term);
    this.#host.state.applied(id, index, term, what, result, this.#inner, this.#host.time.nowMs);
  }

  checkMemberChange(change: MemberChange, view: ClusterView): ReturnType<Machine['checkMemberChange']> {
    return this.#inner.checkMemberChange(change, view);
  }

  setLeader(leading: boolean): void {
    if (leading) this.#host.tally.count('leadership');
    this.#inner.setLeader(leading);
  }

  commit(done: Done): void {
    if (this.#member.takeCommitFailure()) this.#member.later(1, () => done(new Error('commit: input/output error')));
    else this.#inner.commit(done);
    this.#member.mayDie('commit');
  }

  expiredLeases(limit: number): bigint[] {
    return this.#inner.expiredLeases(limit);
  }

  leaseCheckpoints(limit: number): LeaseCheckpoint[] {
    return this.#inner.leaseCheckpoints(limit);
  }

  renewLease(id: bigint): number | undefined {
    return this.#inner.renewLease(id);
  }

  leaseTimeToLive(id: bigint, keys: boolean): LeaseTimeToLiveResponse {
    return this.#inner.leaseTimeToLive(id, keys);
  }

  work(): boolean {
    return this.#inner.work();
  }

  read(): StateReader {
    this.#host.tally.count('snapshotRead');
    return this.#inner.read();
  }

  receive(): StateWriter {
    const writer = this.#inner.receive();
    const write = writer.write.bind(writer);
    writer.write = (rows) => {
      this.#member.mayDie('received');
      return write(rows);
    };
    return writer;
  }

  install(writer: StateWriter, point: StatePoint, done: Done): void {
    const { id } = this.#member;
    this.#host.tally.count('snapshotInstall');
    this.#inner.install(writer, point, (error) => {
      if (error === undefined) {
        this.#host.raft.adopted(id, point.index);
        this.#host.state.installed(id, point, this.#inner);
      }
      this.#member.mayDie('adopted');
      done(error);
    });
    this.#member.mayDie('install');
  }

  installed(): void {
    this.#host.tally.count('snapshotInstalled');
    this.#inner.installed();
    this.#member.mayDie('installed');
  }
}
