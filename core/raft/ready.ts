/**
 * What the driver finds when it asks a Raft node what there is to do. Data only; the contract is in raft.ts.
 */
import type { Entry, HardState } from '../wire/stored.ts';
import type { Message, Snapshot } from './messages.ts';

/** The answer to one ReadIndex request: a state that includes entry `index` may serve it. */
export interface ReadState {
  context: bigint;
  index: number;
}

export interface Ready {
  /**
   * Number of this Ready's write, one more than the last one's; 0 when there is nothing to write. When its entries and
   * its hard state are durable, and those of every earlier write, the driver calls `persisted(sequence)`.
   */
  sequence: number;
  /**
   * To be installed before `entries` and `hardState`, when set: the driver holds its content, which replaces the state
   * machine's, and the log on disk begins after it. When all of that is durable and in force: `persisted(sequence)`.
   */
  snapshot: Snapshot | undefined;
  /** To be appended to the log on disk, before `hardState`. Whatever the disk has from entries[0].index on is void. */
  entries: readonly Entry[];
  /** To be written after `entries`, when set. */
  hardState: HardState | undefined;
  /** May leave at once. Messages that promise something not yet durable come in a later Ready, after `persisted`. */
  messages: readonly Message[];
  /** To be applied, in this order; the driver confirms with `applied`, and with `applyConfChange` for those of type CONF_CHANGE. Committed, and durable on this node. */
  committedEntries: readonly Entry[];
  /** Answers to ReadIndex requests, in the order of the requests. */
  readStates: readonly ReadState[];
}
