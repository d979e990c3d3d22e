/**
 * Raft as a pure state machine: input is tick, step and propose, output is Ready; the caller owns disk, network and
 * time. Owns the contract with the driver; the algorithm is in election.ts, leadership.ts and follower.ts. Forwards
 * nothing to the leader. "Paper" is Ongaro and Ousterhout, In Search of an Understandable Consensus Algorithm (extended
 * version); "dissertation" is Ongaro, Consensus: Bridging Theory and Practice.
 */
import { type RosterError, rosterError } from '../errors.ts';
import { assert } from '../util/assert.ts';
import type { Entry, HardState } from '../wire/stored.ts';
import { type ConfChange, confAfter, isSoleVoter } from './conf-change.ts';
import { checkRestored, NO_NODE, notRefillable, type RaftConfig, type Restored } from './config.ts';
import { Election, type Role } from './election.ts';
import { Follower } from './follower.ts';
import { Leadership } from './leadership.ts';
import { RaftLog } from './log.ts';
import { type ConfState, type Message, MessageType } from './messages.ts';
import { Outbox } from './outbox.ts';
import type { Progress } from './progress.ts';
import type { Ready } from './ready.ts';
import { Refill } from './refill.ts';
import { Tracker } from './tracker.ts';

const T = MessageType.values;

/** What a leader knows of a member. */
export type MemberProgress = Readonly<Pick<Progress, 'id' | 'state' | 'match' | 'recentActive' | 'refilling'>>;

/**
 * One node. The driver's loop: while `hasReady()`, take `ready()`; start its write; send its messages; apply its
 * committed entries and call `applied` (`applyConfChange` for a change of the configuration); whenever a write is
 * durable, call `persisted` with its number. Writes may be under way while the loop goes on: what depends on them is
 * held back here.
 *
 * Snapshots: a SNAPSHOT among the messages to send has no content. The driver streams its state machine, as it is at
 * `message.snapshot.index` or later (and says so there), then calls `reportSnapshot`. The receiving driver collects the
 * content and only then passes the message to `step`; `Ready.snapshot` says when to install it.
 */
export class Raft {
  readonly id: bigint;
  readonly #config: RaftConfig;
  readonly #election: Election;
  readonly #log: RaftLog;
  readonly #tracker: Tracker;
  readonly #outbox: Outbox;
  readonly #refill: Refill;
  readonly #follower: Follower;
  readonly #leadership: Leadership;

  /** Throws a RosterError DATA_LOSS when `restored` lacks entries that were committed, or that nobody else need have. */
  constructor(config: RaftConfig, restored: Restored) {
    assert(config.id !== NO_NODE, 'raft: a node needs an id');
    assert(config.heartbeatTicks > 0 && config.electionTicks > config.heartbeatTicks, 'raft: ticks out of order');
    const refusal = checkRestored(restored);
    if (refusal !== undefined) throw refusal;
    this.id = config.id;
    this.#config = config;
    this.#log = new RaftLog(restored);
    this.#tracker = new Tracker(config, restored.confState);
    const hardState = restored.hardState ?? { term: 0, vote: NO_NODE, commit: 0 };
    this.#outbox = new Outbox(config.id, hardState);
    this.#refill = new Refill(hardState);
    if (this.#refill.isOn && this.#tracker.isSoleVoter) throw notRefillable();
    this.#follower = new Follower(this.#log, this.#tracker, this.#outbox, this.#refill);
    this.#commitConfChanges();
    this.#leadership = new Leadership(config, this.#log, this.#tracker, this.#outbox, () => this.#election.stepDown());
    this.#election = new Election(
      config,
      this.#log,
      this.#tracker,
      this.#outbox,
      this.#leadership,
      this.#refill,
      hardState,
    );
  }

  /**
   * Of the changes of the configuration in the log that it starts with, those that are committed without doubt, even if
   * a crash took the commit index that came with them: to vote or lead by an older configuration would split the
   * cluster, or wait for a new voter that was never told of.
   */
  #commitConfChanges(): void {
    let { conf } = this.#tracker;
    const changes = this.#log.unappliedConfChanges;
    for (const change of changes) {
      // One at a time: the leader that appended a change had applied the one before. And what the only voter has on its
      // disk is committed, since nobody else could have led.
      if (change === changes.at(-1) && !isSoleVoter(conf, this.id)) return;
      this.#log.commitTo(change.index);
      conf = confAfter(conf, change);
    }
  }

  get term(): number {
    return this.#election.term;
  }
  get vote(): bigint {
    return this.#election.vote;
  }
  get role(): Role {
    return this.#election.role;
  }
  /** The leader of this term as far as known, or NO_NODE. */
  get leader(): bigint {
    return this.#election.leader;
  }
  get committed(): number {
    return this.#log.committed;
  }
  /** This node has lost its log and fetches it anew: until it is told that it has it back it has no vote (refill.ts). */
  get refilling(): boolean {
    return this.#refill.isOn;
  }
  /** Leader: index of the empty entry that began its term. The leader knows what is committed once this entry is. */
  get termStart(): number {
    return this.#leadership.termStart;
  }
  /** The configuration after entry `log.applied`. The driver keeps it with its state, for `Restored.confState`. */
  get confState(): ConfState {
    return this.#tracker.conf;
  }
  /** Leader: the node it is handing over to, or NO_NODE. Proposals are refused meanwhile. */
  get transferee(): bigint {
    return this.#leadership.transferee;
  }
  /** Leader: a change of the configuration may be proposed now. */
  get mayChangeConf(): boolean {
    return this.role === 'leader' && this.#leadership.mayChangeConf;
  }
  /** Leader: what it knows of a member; `undefined` for strangers and on other nodes. */
  progress(id: bigint): MemberProgress | undefined {
    if (this.role !== 'leader') return undefined;
    return id === this.id ? this.#tracker.self : this.#tracker.peer(id);
  }
  /** A view of the log for drivers and tests; only this class changes it. */
  get log(): Pick<
    RaftLog,
    | 'firstIndex'
    | 'lastIndex'
    | 'lastTerm'
    | 'committed'
    | 'applied'
    | 'stable'
    | 'bytes'
    | 'term'
    | 'entry'
    | 'hasPendingSnapshot'
  > {
    return this.#log;
  }
  get uncommittedBytes(): number {
    return this.#leadership.uncommittedBytes;
  }

  // ---- the driver's side

  hasReady(): boolean {
    return (
      this.#outbox.hasMessages ||
      this.#log.hasUnaccepted ||
      this.#log.hasNextToApply ||
      this.#leadership.hasReadStates ||
      this.#outbox.mustWrite(this.term, this.vote, this.#refill.life)
    );
  }

  /** Everything there is to do now. What it hands out counts as taken: it is not handed out again. */
  ready(): Ready {
    const { sequence, hardState } = this.#outbox.accept(this.#hardState(), this.#log.hasUnaccepted);
    return {
      sequence,
      snapshot: this.#log.acceptSnapshot(sequence),
      entries: this.#log.accept(sequence),
      hardState,
      messages: this.#outbox.take(),
      committedEntries: this.#log.nextToApply(
        this.#config.committedEntriesPerReadyMax,
        this.#config.committedBytesPerReadyMax,
      ),
      readStates: this.#leadership.takeReadStates(),
    };
  }

  /** Write `sequence` and all before it are durable, entries and hard state; a snapshot among them is in force. */
  persisted(sequence: number): void {
    this.#outbox.persisted(sequence);
    this.#log.persisted(sequence);
    this.#election.persisted();
    if (this.role === 'leader') this.#leadership.persisted();
  }

  /** The state machine holds the effects of every entry up to `index`. */
  applied(index: number): void {
    assert(!this.#log.hasConfChangeUpTo(index), 'raft: a change of the configuration goes through applyConfChange');
    this.#log.appliedTo(index);
    if (this.role === 'leader') this.#leadership.applied();
    else this.#election.applied();
  }

  /**
   * The same for one committed entry of type CONF_CHANGE, all before it being applied: puts it in force, and returns the
   * configuration from there on. Whatever speaks against a change must be found before it is proposed; nothing can
   * become true in between, since there is one at a time. Throws a RosterError for an entry of a version that this one
   * cannot read.
   */
  applyConfChange(entry: Entry): ConfState {
    // A snapshot has come in the meantime, which includes it.
    if (entry.index < this.#log.firstIndex) return this.#tracker.conf;
    assert(this.role === 'leader' || this.role === 'follower', 'raft: a candidate with an unapplied configuration');
    assert(!this.#log.hasConfChangeUpTo(entry.index - 1), 'raft: a change of the configuration was left out');
    this.#tracker.switchTo(confAfter(this.#tracker.conf, entry), this.#log.lastIndex);
    this.#log.appliedTo(entry.index);
    if (this.role === 'leader') this.#leadership.confChanged();
    else this.#election.applied();
    return this.#tracker.conf;
  }

  /** Forgets log entries up to and including `index`, which must be applied. Who lacks them is sent a snapshot. */
  compact(index: number): void {
    this.#log.compactTo(index);
  }

  #hardState(): HardState {
    return this.#refill.mark({ term: this.term, vote: this.vote, commit: this.#log.committed });
  }

  // ---- requests

  /**
   * Appends one entry per item at the end of the leader's log: at indexes lastIndex + 1 and up. All or none:
   * NoLeader or NotLeader elsewhere, LeaderChanged while it hands over (see `transferee`), RequestTooManyRequests when too
   * much is uncommitted already. (A single batch is accepted whatever its size when nothing is uncommitted.)
   */
  propose(datas: readonly Uint8Array[]): RosterError | undefined {
    return this.role === 'leader' ? this.#leadership.propose(datas) : this.#notLeader();
  }

  /**
   * Appends a change of the configuration (paper section 6, dissertation 4), which is in force once it is applied.
   * Refused as `propose` does, and with FAILED_PRECONDITION while another is under way, before the leader has applied an
   * entry of its own term, or when it cannot follow the present configuration. A leader that this takes the vote of
   * hands over and steps down.
   */
  proposeConfChange(change: ConfChange): RosterError | undefined {
    return this.role === 'leader' ? this.#leadership.proposeConfChange(change) : this.#notLeader();
  }

  /**
   * Hands leadership to voter `to`, as soon as its log is complete (dissertation 3.10). BadLeaderTransferee when it is no
   * voter. Given up after an election timeout; success shows in `leader`.
   */
  transferLeadership(to: bigint): RosterError | undefined {
    return this.role === 'leader' ? this.#leadership.transfer(to) : this.#notLeader();
  }

  /**
   * Asks from which index on the state may answer a linearizable read that starts now; the answer comes as a ReadState
   * with the same `context`. If leadership is lost before, there is no answer.
   */
  readIndex(context: bigint): RosterError | undefined {
    return this.role === 'leader' ? this.#leadership.readIndex(context) : this.#notLeader();
  }

  /** The answer of `readIndex` where nobody needs to be asked: the sole voter, once its term has a commit. */
  localReadIndex(): number | undefined {
    return this.role === 'leader' && this.#tracker.isSoleVoter && this.#leadership.termCommitted
      ? this.#log.committed
      : undefined;
  }

  /** The content of the SNAPSHOT sent to `id` has been received there (`ok`), or never will be. Always call it. */
  reportSnapshot(id: bigint, ok: boolean): void {
    if (this.role === 'leader') this.#leadership.snapshotSent(id, ok);
  }

  /** Messages to `id` may have been lost: the leader sends one at a time again until it hears from it. */
  reportUnreachable(id: bigint): void {
    if (this.role === 'leader') this.#leadership.unreachable(id);
  }

  /** Starts an election now, as if the election timeout had passed - if this node may ever begin one. */
  campaign(): void {
    this.#election.campaign();
  }

  #notLeader(): RosterError {
    return rosterError(this.leader === NO_NODE ? 'NoLeader' : 'NotLeader');
  }

  // ---- what comes from outside

  /** One unit of time. */
  tick(): void {
    this.#election.tick();
    if (this.role === 'leader') this.#leadership.tick();
  }

  /** Takes one message from another node. */
  step(message: Message): void {
    assert(message.to === this.id, 'raft: a message for another node');
    const election = this.#election;
    if (message.term > election.term) {
      if (!election.enterTerm(message)) return;
    } else if (message.term < election.term) {
      election.answerOldTerm(message);
      return;
    }
    switch (message.type) {
      case T.PRE_VOTE:
      case T.VOTE:
        election.handleVoteRequest(message);
        break;
      case T.PRE_VOTE_RESPONSE:
      case T.VOTE_RESPONSE:
        election.handleVoteResponse(message);
        break;
      case T.APPEND:
        election.follow(message.from);
        if (this.#refill.isOn && message.refill === this.#refill.life) election.refilled();
        this.#follower.handleAppend(message);
        break;
      case T.HEARTBEAT:
        election.follow(message.from);
        this.#follower.handleHeartbeat(message);
        break;
      case T.SNAPSHOT:
        election.follow(message.from);
        this.#follower.handleSnapshot(message);
        break;
      case T.TIMEOUT_NOW:
        election.follow(message.from);
        election.campaignForLeader();
        break;
      case T.APPEND_RESPONSE:
      case T.HEARTBEAT_RESPONSE:
        if (election.role === 'leader') this.#leadership.step(message);
        break;
      default:
        // Of a newer version: nothing that this one could answer.
        break;
    }
  }
}
