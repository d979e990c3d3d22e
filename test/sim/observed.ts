/** Log and machine of one member with the checkers looking over their shoulder, and places where it can die. */
import type { StateMachine } from '../../core/apply/state-machine.ts';
import type { ApplyResult, Machine } from '../../core/node/machine.ts';
import type { NodeWal } from '../../core/node/world.ts';
import type { Entry, HardState, InternalRequest } from '../../core/wire/messages.ts';
import type { Host } from './host.ts';
import type { Member } from './member.ts';

/** Thrown out of whatever the member was doing: it has died in the middle of it. */
export class Crash extends Error {}

/** Where in its work a member can be made to die. */
export const CRASH_POINTS = ['append', 'send', 'apply', 'commit'] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];

/** The place has been reached. */
export function mayDie(member: Member, point: CrashPoint): void {
  if (member.crashAt === point) throw new Crash();
}

export class ObservedWal implements NodeWal {
  readonly #member: Member;
  readonly #inner: NodeWal;
  readonly #host: Host;

  constructor(member: Member, inner: NodeWal, host: Host) {
    this.#member = member;
    this.#inner = inner;
    this.#host = host;
  }

  append(entries: readonly Entry[], hardState: HardState | undefined, done: (error?: Error) => void): void {
    const { id } = this.#member;
    this.#host.raft.appended(id, entries, hardState);
    this.#inner.append(entries, hardState, (error) => {
      if (error === undefined) this.#host.raft.persisted(id);
      done(error);
    });
    mayDie(this.#member, 'append');
  }

  release(index: number): void {
    this.#host.tally.count('logReleased');
    this.#inner.release(index);
  }

  close(done: (error?: Error) => void): void {
    this.#inner.close(done);
  }
}

export class ObservedMachine implements Machine {
  /** What the commit under way, or the last one, makes durable. */
  committingIndex = 0;
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

  get pendingWrites(): number {
    return this.#inner.pendingWrites;
  }

  apply(index: number, term: number, request: InternalRequest | undefined): ApplyResult | undefined {
    const { id, node } = this.#member;
    const result = this.#inner.apply(index, term, request);
    this.#host.raft.applied(id, index, term, node?.term ?? term);
    this.#host.state.applied(id, index, term, request, result, this.#inner, this.#host.time.nowMs);
    mayDie(this.#member, 'apply');
    return result;
  }

  setLeader(leading: boolean): void {
    if (leading) this.#host.tally.count('leadership');
    this.#inner.setLeader(leading);
  }

  commit(done: (error?: Error) => void): void {
    const index = this.appliedIndex;
    this.#inner.commit((error) => {
      this.committingIndex = index;
      this.#member.durableIndex = Math.max(this.#member.durableIndex, index);
      done(error);
    });
    mayDie(this.#member, 'commit');
  }

  expiredLeases(limit: number): bigint[] {
    return this.#inner.expiredLeases(limit);
  }

  work(): boolean {
    return this.#inner.work();
  }
}
