/**
 * When the machine's state is made durable, and how much log may be forgotten after that. One commit is under way at a
 * time. Never decides what is applied.
 */
import type { RosterError } from '../errors.ts';
import { entryBytes } from '../raft/log.ts';
import type { Raft } from '../raft/raft.ts';
import { backendFailure } from './failures.ts';
import type { NodeLimits, World } from './world.ts';

export interface CommitEvents {
  failed(error: RosterError): void;
  /** A commit is done; the log is trimmed. */
  done(): void;
  /** Entries after this one are still wanted by another member that is on its way. */
  floorIndex(): number;
}

export class BackendCommits {
  readonly #limits: NodeLimits;
  readonly #world: Pick<World, 'machine' | 'wal'>;
  readonly #raft: Raft;
  readonly #events: CommitEvents;
  /** The state up to here is durable. */
  #durableIndex: number;
  #inFlight = false;
  /** A snapshot is about to take the place of the state: nothing is committed until it has. */
  #paused = false;
  #whenQuiet: (() => void) | undefined;
  #waiters: { index: number; done: () => void }[] = [];
  #ticks = 0;
  /** What the log in memory held after the last commit. */
  #trimmedBytes: number;
  #appliedAtTick: number;
  /** One tick earlier. */
  #appliedBefore: number;

  constructor(limits: NodeLimits, world: Pick<World, 'machine' | 'wal'>, raft: Raft, events: CommitEvents) {
    this.#limits = limits;
    this.#world = world;
    this.#raft = raft;
    this.#events = events;
    this.#durableIndex = world.machine.appliedIndex;
    this.#trimmedBytes = raft.log.bytes;
    this.#appliedAtTick = this.#durableIndex;
    this.#appliedBefore = this.#durableIndex;
  }

  /** Once a tick: commits what there is, if it is time. */
  tick(): void {
    const { machine } = this.#world;
    this.#appliedBefore = this.#appliedAtTick;
    this.#appliedAtTick = machine.appliedIndex;
    const { commitTicks, wishedCommitTicks } = this.#limits;
    const dueTicks = machine.commitWish === 'none' ? commitTicks : Math.min(commitTicks, wishedCommitTicks);
    if (++this.#ticks < dueTicks) return;
    this.#ticks = 0;
    // Entries without effect are no writes, but the log they fill must be let go some day.
    const behind = machine.appliedIndex - this.#durableIndex >= this.#limits.commitWritesMax;
    if (machine.pendingWrites > 0 || behind) this.#commit();
  }

  /** Entries have been applied: commits at once if the backend is far behind. */
  applied(): void {
    const { machine } = this.#world;
    const { commitWritesMax, commitBytesMax } = this.#limits;
    const writes = machine.pendingWrites - machine.pendingRemovals;
    const bytes = this.#raft.log.bytes - this.#trimmedBytes;
    if (writes >= commitWritesMax || bytes >= commitBytesMax) this.#commit();
  }

  /**
   * Background work has gone on, perhaps as far as it may before a commit. While somebody writes it waits for the commit
   * that is due anyway: one of its own would keep the disk from his log.
   */
  worked(): void {
    const { commitWish } = this.#world.machine;
    if (commitWish === 'now' || (commitWish === 'due' && !this.#isBusy)) this.#commit();
  }

  /** Whether entries have been applied since the tick before the last one. */
  get #isBusy(): boolean {
    return this.#world.machine.appliedIndex > this.#appliedBefore;
  }

  /** Calls `done` later, when the state up to applied entry `index` is durable. */
  whenDurable(index: number, done: () => void): void {
    this.#waiters.push({ index, done });
    this.#commit();
  }

  /** Runs `run` when no commit is under way; then there is none before `resume`. */
  pause(run: () => void): void {
    this.#paused = true;
    if (this.#inFlight) this.#whenQuiet = run;
    else run();
  }

  /** The state is another one now, durable up to `index`. */
  resume(index: number): void {
    this.#paused = false;
    this.#durableIndex = index;
    this.#commit();
  }

  /** True when everything applied is durable; otherwise sees to it and calls `done` later. */
  finish(): boolean {
    const { machine } = this.#world;
    if (!this.#inFlight && machine.pendingWrites === 0 && machine.appliedIndex === this.#durableIndex) return true;
    this.#commit();
    return false;
  }

  #commit(): void {
    if (this.#inFlight || this.#paused) return;
    this.#inFlight = true;
    const index = this.#world.machine.appliedIndex;
    this.#world.machine.commit((error) => {
      this.#inFlight = false;
      if (error !== undefined) {
        this.#events.failed(backendFailure(error));
        return;
      }
      this.#durableIndex = index;
      const quiet = this.#whenQuiet;
      this.#whenQuiet = undefined;
      if (quiet === undefined) this.#trim();
      this.#trimmedBytes = this.#raft.log.bytes;
      this.#tellWaiters();
      this.worked();
      quiet?.();
      this.#events.done();
    });
  }

  #tellWaiters(): void {
    if (this.#waiters.length === 0) return;
    const served = this.#waiters.filter(({ index }) => index <= this.#durableIndex);
    this.#waiters = this.#waiters.filter(({ index }) => index > this.#durableIndex);
    for (const { done } of served) done();
    if (this.#waiters.length > 0) this.#commit();
  }

  /**
   * Forgets log below the durable state, but for what a follower that is a little late may ask for. One that is on its way
   * may keep more, up to a bound: otherwise a busy leader would send it one snapshot after another.
   */
  #trim(): void {
    const { log } = this.#raft;
    const { catchupEntries, catchupBytesMax, followerBytesMax } = this.#limits;
    let upTo = Math.max(log.firstIndex - 1, this.#durableIndex - catchupEntries);
    let bytes = log.bytes;
    for (let index = log.firstIndex; index <= upTo; index++) bytes -= entryBytes(log.entry(index));
    while (bytes > catchupBytesMax && upTo < this.#durableIndex) bytes -= entryBytes(log.entry(++upTo));
    const floor = this.#events.floorIndex();
    for (; upTo > floor && upTo >= log.firstIndex; upTo--) {
      bytes += entryBytes(log.entry(upTo));
      if (bytes > followerBytesMax) break;
    }
    if (upTo < log.firstIndex) return;
    this.#raft.compact(upTo);
    this.#world.wal.release(upTo);
  }
}
