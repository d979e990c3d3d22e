/**
 * The configuration and what is known of its members: each one's Progress, the votes of the election under way, and the
 * questions about majorities that others ask. In a joint configuration a majority is one of the old voters and one of
 * the new (paper section 6); learners are in none. Decides nothing.
 */
import { confStateOf, hasVote } from './conf-change.ts';
import type { RaftConfig } from './config.ts';
import type { ConfState } from './messages.ts';
import { Progress } from './progress.ts';
import { majority, reachedByMajority, type VoteResult, voteResult } from './quorum.ts';
import { NO_LIFE } from './refill.ts';

export class Tracker {
  /** This node, member or not. */
  readonly self: Progress;
  readonly #config: RaftConfig;
  readonly #votes = new Map<bigint, boolean>();
  readonly #scratch: number[] = [];
  #conf: ConfState;
  #peers: readonly Progress[] = [];
  /** A majority of each of them elects a leader, commits its entries, confirms its reads, and keeps it in office. */
  #quorums: readonly (readonly Progress[])[] = [];

  constructor(config: RaftConfig, conf: ConfState | undefined) {
    this.#config = config;
    this.self = this.#newProgress(config.id);
    this.#conf = conf ?? confStateOf(config.voters);
    this.switchTo(this.#conf, 0);
  }

  #newProgress(id: bigint): Progress {
    return new Progress(id, this.#config.inflightAppendsMax, this.#config.inflightBytesMax);
  }

  // ---- the configuration

  get conf(): ConfState {
    return this.#conf;
  }

  /** Every member but this node, learners too: whom a leader replicates to. */
  get peers(): readonly Progress[] {
    return this.#peers;
  }

  /** Puts `conf` in force. What is known of members that stay is kept; the log of a new one may be like the leader's. */
  switchTo(conf: ConfState, lastIndex: number): void {
    this.#conf = conf;
    this.#arrange(conf, lastIndex);
  }

  /**
   * Before an election: `latest` is the configuration at the end of the log, perhaps a change ahead of the one in force.
   *
   * A candidate goes by that one, committed or not, and so does the leader it becomes (dissertation 4.1): those who know
   * that the change is committed may be the very ones that it removed, and gone. Only for a change that it appended
   * itself a leader waits until it is applied, as etcd's does: a member that was just added has not even been started.
   * That is safe as well: nobody can be further ahead before this leader has applied it or lost its majority.
   */
  lookAhead(latest: ConfState, lastIndex: number): void {
    this.#arrange(latest, lastIndex);
  }

  #arrange(latest: ConfState, lastIndex: number): void {
    const known = new Map(this.#peers.map((peer) => [peer.id, peer]));
    known.set(this.self.id, this.self);
    const members = new Set<Progress>();
    const progress = (id: bigint): Progress => {
      let found = known.get(id);
      if (found === undefined) {
        found = this.#newProgress(id);
        found.next = lastIndex + 1;
        // A member counts as heard from when it is added: before it can answer it must not depose its leader.
        found.recentActive = true;
        known.set(id, found);
      }
      members.add(found);
      return found;
    };
    const halves = ({ voters, voters_outgoing, learners }: ConfState): Progress[][] => {
      for (const id of learners) progress(id);
      return [voters, voters_outgoing].filter((half) => half.length > 0).map((half) => half.map(progress));
    };
    this.#quorums = halves(latest);
    members.delete(this.self);
    this.#peers = [...members];
  }

  /** No configuration yet: this node has just been made, to join a cluster. */
  get isBlank(): boolean {
    return this.#quorums.length === 0;
  }

  /** Whether this node is the only one whose word counts. */
  get isSoleVoter(): boolean {
    return this.#quorums.length === 1 && this.#quorums[0]!.length === 1 && this.#quorums[0]![0] === this.self;
  }

  /** Whether the configuration in force gives `id` a vote. */
  isVoter(id: bigint): boolean {
    return hasVote(this.#conf, id);
  }

  /** Whom to ask for votes: not this node. */
  get electors(): ReadonlySet<Progress> {
    const electors = new Set(this.#quorums.flat());
    electors.delete(this.self);
    return electors;
  }

  peer(id: bigint): Progress | undefined {
    return this.#peers.find((progress) => progress.id === id);
  }

  /** A new term begins with nothing known and nobody's vote. */
  reset(lastIndex: number): void {
    this.#votes.clear();
    this.self.reset(lastIndex);
    for (const peer of this.#peers) peer.reset(lastIndex);
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
    let result: VoteResult = 'won';
    for (const voters of this.#quorums) {
      const half = this.#voteResult(voters);
      if (half === 'lost') return half;
      if (half === 'pending') result = half;
    }
    return result;
  }

  #voteResult(voters: readonly Progress[]): VoteResult {
    let granted = 0;
    let rejected = 0;
    for (const { id } of voters) {
      const vote = this.#votes.get(id);
      if (vote === true) granted++;
      else if (vote === false) rejected++;
    }
    return voteResult(voters.length, granted, rejected);
  }

  // ---- leadership

  /** The last entry that a majority holds durably (5.3). Whether it may be committed by that is the leader's question. */
  majorityMatch(): number {
    if (this.isSoleVoter) return this.self.match;
    return this.#majority((progress) => progress.counted);
  }

  /** The last ReadIndex round that a majority has answered, this node's own answer included. */
  majorityReadRound(current: number): number {
    this.self.readRound = current;
    return this.#majority((progress) => progress.readRound);
  }

  #majority(value: (progress: Progress) => number): number {
    let reached = Infinity;
    for (const voters of this.#quorums) {
      const values = this.#scratch;
      values.length = 0;
      for (const voter of voters) values.push(value(voter));
      reached = Math.min(reached, reachedByMajority(values));
    }
    return reached;
  }

  /** Whether a majority, this node included, has been heard from since the last call. */
  takeQuorumActive(): boolean {
    this.self.recentActive = true;
    const active = this.#quorums.every((voters) => {
      const heard = voters.filter((voter) => voter.recentActive && voter.refilling === NO_LIFE);
      return heard.length >= majority(voters.length);
    });
    for (const peer of this.#peers) peer.recentActive = false;
    return active;
  }
}
