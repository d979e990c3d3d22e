/**
 * What a Raft node is given at birth: its settings, and what its disk held. Owns the check that the disk's content can
 * be right at all; starts nothing.
 */
import { GrpcStatus, otherError, type RosterError } from '../errors.ts';
import type { Entry, HardState } from '../wire/stored.ts';
import type { ConfState } from './messages.ts';

/** "No node": nobody voted for, no leader known. Never a node's id. */
export const NO_NODE = 0n;

/** A source of chance, seeded by whoever builds the node. */
export interface RaftPrng {
  /** A whole number in 0..bound-1. */
  int(bound: number): number;
}

export interface RaftConfig {
  id: bigint;
  /**
   * The voting members of a new cluster, the same on each of them; what `Restored.confState` says goes before. Empty on
   * a node that joins: it knows nobody and begins with a snapshot from the leader.
   */
  voters: readonly bigint[];
  /** Ticks without word from a leader before an election; each wait is 1 to 2 times this, by chance (paper 5.2). */
  electionTicks: number;
  /** Ticks between two heartbeats of a leader. */
  heartbeatTicks: number;
  /** Ask for a majority's opinion before disturbing the cluster with a new term (dissertation 9.6). */
  preVote: boolean;
  /** A leader that hears no majority for an election timeout steps down, and voters stand by a leader they hear (6.2, 4.2.3). */
  checkQuorum: boolean;
  prng: RaftPrng;
  /** Entries of this leader not yet committed, in bytes; a proposal beyond is refused. */
  uncommittedBytesMax: number;
  /** Committed entries handed out by one Ready, and their bytes (at least one entry). */
  committedEntriesPerReadyMax: number;
  committedBytesPerReadyMax: number;
  /** Entries in one APPEND message, in bytes (at least one entry). */
  appendBytesMax: number;
  /** APPEND messages with entries on their way to one follower. */
  inflightAppendsMax: number;
  /** The same, in bytes of entries. */
  inflightBytesMax: number;
  /** ReadIndex requests waiting for a majority. */
  readsPendingMax: number;
}

/** What survived on disk. A fresh node: no hard state, no entries, firstIndex 1, the rest 0. */
export interface Restored {
  /** With `refilling`, the log takes the place of a damaged one: the node has no vote until it is refilled (refill.ts). */
  hardState: HardState | undefined;
  /** The log from `firstIndex` on, without gaps. */
  entries: readonly Entry[];
  firstIndex: number;
  /** Term of the entry before `firstIndex`; 0 when there is none. */
  prevTerm: number;
  /** The last entry whose effects the state machine holds. */
  appliedIndex: number;
  /** The configuration after `appliedIndex`, once it has ever changed or come with a snapshot. */
  confState?: ConfState | undefined;
}

function lost(text: string): RosterError {
  return otherError(GrpcStatus.DATA_LOSS, text);
}

/** What a sole voter has lost, nobody has. */
export function notRefillable(): RosterError {
  return lost(
    'the log on disk was lost and there is no other voting member to fetch it from: acknowledged writes are missing',
  );
}

/**
 * A DATA_LOSS error when the disk cannot have been left so by a crash: entries known to be committed (and so perhaps
 * acknowledged) are not there. Such a node must not vote: it would help elect a leader without them.
 */
export function checkRestored(restored: Restored): RosterError | undefined {
  const { entries, firstIndex, appliedIndex } = restored;
  const lastIndex = firstIndex - 1 + entries.length;
  const commit = restored.hardState?.commit ?? 0;
  if (commit > lastIndex)
    return lost(
      `the log on disk ends at entry ${lastIndex}, but entries up to ${commit} were committed: acknowledged writes are missing`,
    );
  if (appliedIndex > lastIndex)
    return lost(
      `the log on disk ends at entry ${lastIndex}, but the stored state includes entry ${appliedIndex}: log and state do not belong together`,
    );
  if (appliedIndex < firstIndex - 1)
    return lost(
      `the stored state ends at entry ${appliedIndex}, but the log on disk begins at entry ${firstIndex}: entries between them are missing`,
    );
  let term = restored.prevTerm;
  for (const [offset, entry] of entries.entries()) {
    if (entry.index !== firstIndex + offset || entry.term < term)
      return lost(
        `the log on disk holds entry ${entry.index} of term ${entry.term} where entry ${firstIndex + offset} of term ${term} or later belongs`,
      );
    term = entry.term;
  }
  return undefined;
}
