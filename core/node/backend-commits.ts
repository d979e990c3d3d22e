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
}

export class BackendCommits {
  readonly #limits: NodeLimits;
  readonly #world: Pick<World, 'machine' | 'wal'>;
  readonly #raft: Raft;
  readonly #events: CommitEvents;
  /** The state up to here is durable. */
  #durableIndex: number;
  #inFlight = false;
  #ticks = 0;

  constructor(limits: NodeLimits, world: Pick<World, 'machine' | 'wal'>, raft: Raft, events: CommitEvents) {
    this.#limits = limits;
    this.#world = world;
    this.#raft = raft;
    this.#events = events;
    this.#durableIndex = world.machine.appliedIndex;
  }

  /** Once a tick: commits what there is, if it is time. */
  tick(): void {
    const { machine } = this.#world;
    if (++this.#ticks < this.#limits.commitTicks) return;
    this.#ticks = 0;
    // Entries without effect are no writes, but the log they fill must be let go some day.
    const behind = machine.appliedIndex - this.#durableIndex >= this.#limits.commitWritesMax;
    if (machine.pendingWrites > 0 || behind) this.#commit();
  }

  /** Entries have been applied: commits at once if the backend is far behind. */
  applied(): void {
    if (this.#world.machine.pendingWrites >= this.#limits.commitWritesMax) this.#commit();
  }

  /** True when everything applied is durable; otherwise sees to it and calls `done` later. */
  finish(): boolean {
    const { machine } = this.#world;
    if (!this.#inFlight && machine.pendingWrites === 0 && machine.appliedIndex === this.#durableIndex) return true;
    this.#commit();
    return false;
  }

  #commit(): void {
    if (this.#inFlight) return;
    this.#inFlight = true;
    const index = this.#world.machine.appliedIndex;
    this.#world.machine.commit((error) => {
      this.#inFlight = false;
      if (error !== undefined) {
        this.#events.failed(backendFailure(error));
        return;
      }
      this.#durableIndex = index;
      this.#trim();
      this.#events.done();
    });
  }

  /** Forgets log below the durable state, but for what a follower that is a little late may ask for. */
  #trim(): void {
    const { log } = this.#raft;
    let upTo = Math.max(log.firstIndex - 1, this.#durableIndex - this.#limits.catchupEntries);
    let bytes = log.bytes;
    for (let index = log.firstIndex; index <= upTo; index++) bytes -= entryBytes(log.entry(index));
    while (bytes > this.#limits.catchupBytesMax && upTo < this.#durableIndex) bytes -= entryBytes(log.entry(++upTo));
    if (upTo < log.firstIndex) return;
    this.#raft.compact(upTo);
    this.#world.wal.release(upTo);
  }
}
