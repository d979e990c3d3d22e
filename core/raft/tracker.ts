/**
 * The voters of the configuration: each one's Progress, the votes of the election under way, and the questions about
 * majorities that raft.ts asks. Decides nothing.
 */
import { assert } from '../util/assert.ts';
import type { RaftConfig } from './config.ts';
import { Progress } from './progress.ts';
import { majority, reachedByMajority, type VoteResult, voteResult } from './quorum.ts';

export class Tracker {
  readonly self: Progress;
  /** Every voter but this node. */
  readonly peers: readonly Progress[];
  readonly #votes = new Map<bigint, boolean>();
  readonly #scratch: number[] = [];

  constructor(config: RaftConfig) {
    const { id, voters } = config;
    assert(voters.includes(id), 'raft: this node must be one of the voters');
    assert(new Set(voters).size === voters.length, 'raft: a voter is listed twice');
    const progress = (voter: bigint) => new Progress(voter, config.inflightAppendsMax, config.inflightBytesMax);
    this.self = progress(id);
    this.peers = voters.filter((voter) => voter !== id).map(progress);
  }

  peer(id: bigint): Progress | undefined {
    return this.peers.find((progress) => progress.id === id);
  }

  /** A new term begins with nothing known and nobody's vote. */
  reset(lastIndex: number): void {
    this.#votes.clear();
    this.self.reset(lastIndex);
    for (const peer of this.peers) peer.reset(lastIndex);
  }

  // ---- elections (5.2)

  clearVotes(): void {
    this.#votes.clear();
  }

  hasVoted(id: bigint): boolean {
    return this.#votes.has(id);
  }

  /** Counts a vote; a voter's second answer changes nothing. */
  vote(id: bigint, granted: boolean): VoteResult {
    if (!this.#votes.has(id)) this.#votes.set(id, granted);
    let grants = 0;
    for (const vote of this.#votes.values()) if (vote) grants++;
    return voteResult(this.peers.length + 1, grants, this.#votes.size - grants);
  }

  // ---- leadership

  /** The last entry that a majority holds durably (5.3). Whether it may be committed by that is raft.ts's question. */
  majorityMatch(): number {
    if (this.peers.length === 0) return this.self.match;
    return this.#majority((progress) => progress.match);
  }

  /** The last ReadIndex round that a majority has answered, this node's own answer included. */
  majorityReadRound(current: number): number {
    this.self.readRound = current;
    return this.#majority((progress) => progress.readRound);
  }

  #majority(value: (progress: Progress) => number): number {
    const values = this.#scratch;
    values.length = 0;
    values.push(value(this.self));
    for (const peer of this.peers) values.push(value(peer));
    return reachedByMajority(values);
  }

  /** Whether a majority, this node included, has been heard from since the last call. */
  takeQuorumActive(): boolean {
    let active = 1;
    for (const peer of this.peers) {
      if (peer.recentActive) active++;
      peer.recentActive = false;
    }
    return active >= majority(this.peers.length + 1);
  }
}
