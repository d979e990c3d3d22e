/**
 * Raft as a pure state machine: input is tick, step and propose, output is Ready; the caller owns disk, network and
 * time. Owns term, vote, role and commit index. "Paper" is Ongaro and Ousterhout, In Search of an Understandable
 * Consensus Algorithm (extended version); "dissertation" is Ongaro, Consensus: Bridging Theory and Practice.
 * Knows voters only: no learners, no change of the configuration, no snapshots, no forwarding to the leader.
 */
import { type RosterError, rosterError } from '../errors.ts';
import { assert } from '../util/assert.ts';
import { EntryType, type HardState } from '../wire/messages.ts';
import { checkRestored, NO_NODE, type RaftConfig, type Restored } from './config.ts';
import { ENTRY_OVERHEAD_BYTES, RaftLog } from './log.ts';
import { type Message, MessageType, newMessage } from './messages.ts';
import { Outbox } from './outbox.ts';
import type { Progress } from './progress.ts';
import { ReadOnly } from './read-only.ts';
import type { ReadState, Ready } from './ready.ts';
import { Replication } from './replication.ts';
import { Tracker } from './tracker.ts';

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

const T = MessageType.values;
const NO_DATA: Uint8Array = new Uint8Array(0);

/**
 * One node. The driver's loop: while `hasReady()`, take `ready()`; start its write; send its messages; apply its
 * committed entries and call `applied`; whenever a write is durable, call `persisted` with its number. Writes may be
 * under way while the loop goes on: what depends on them is held back here.
 */
export class Raft {
  readonly id: bigint;
  readonly #config: RaftConfig;
  readonly #log: RaftLog;
  readonly #tracker: Tracker;
  readonly #outbox: Outbox;
  readonly #replication: Replication;
  readonly #reads = new ReadOnly();

  #term: number;
  #vote: bigint;
  #role: Role = 'follower';
  #leader = NO_NODE;
  /** Ticks since the last sign of a leader, of a granted vote, or (leader) since the last check of the quorum. */
  #electionElapsed = 0;
  #heartbeatElapsed = 0;
  #electionTimeout = 0;
  /** Leader: index of the empty entry that began its term. */
  #termStart = 0;
  /** Leader: bytes of entries after the commit index. */
  #uncommittedBytes = 0;
  #readStates: ReadState[] = [];

  /** Throws a RosterError DATA_LOSS when `restored` lacks entries that were committed. */
  constructor(config: RaftConfig, restored: Restored) {
    assert(config.id !== NO_NODE, 'raft: a node needs an id');
    assert(config.heartbeatTicks > 0 && config.electionTicks > config.heartbeatTicks, 'raft: ticks out of order');
    const refusal = checkRestored(restored);
    if (refusal !== undefined) throw refusal;
    this.id = config.id;
    this.#config = config;
    this.#log = new RaftLog(restored);
    this.#tracker = new Tracker(config);
    const hardState = restored.hardState ?? { term: 0, vote: NO_NODE, commit: 0 };
    this.#outbox = new Outbox(config.id, hardState);
    this.#replication = new Replication(config, this.#log, this.#tracker, this.#outbox);
    // A crash may keep entries of a term and lose the hard state written after them. Nothing was said in that term yet.
    const torn = this.#log.lastTerm > hardState.term;
    this.#term = torn ? this.#log.lastTerm : hardState.term;
    this.#vote = torn ? NO_NODE : hardState.vote;
    this.#becomeFollower(this.#term, NO_NODE);
  }

  get term(): number {
    return this.#term;
  }
  get vote(): bigint {
    return this.#vote;
  }
  get role(): Role {
    return this.#role;
  }
  /** The leader of this term as far as known, or NO_NODE. */
  get leader(): bigint {
    return this.#leader;
  }
  get committed(): number {
    return this.#log.committed;
  }
  /** Leader: index of the empty entry that began its term. The leader knows what is committed once this entry is. */
  get termStart(): number {
    return this.#termStart;
  }
  /** A view of the log for drivers and tests; only this class changes it. */
  get log(): Pick<
    RaftLog,
    'firstIndex' | 'lastIndex' | 'lastTerm' | 'committed' | 'applied' | 'stable' | 'bytes' | 'term' | 'entry'
  > {
    return this.#log;
  }
  get uncommittedBytes(): number {
    return this.#uncommittedBytes;
  }

  // ---- the driver's side

  hasReady(): boolean {
    return (
      this.#outbox.hasMessages ||
      this.#log.hasUnaccepted ||
      this.#log.hasNextToApply ||
      this.#readStates.length > 0 ||
      this.#term !== this.#outbox.accepted.term ||
      this.#vote !== this.#outbox.accepted.vote
    );
  }

  /** Everything there is to do now. What it hands out counts as taken: it is not handed out again. */
  ready(): Ready {
    const { sequence, hardState } = this.#outbox.accept(this.#hardState(), this.#log.hasUnaccepted);
    const readStates = this.#readStates;
    if (readStates.length > 0) this.#readStates = [];
    return {
      sequence,
      entries: this.#log.accept(sequence),
      hardState,
      messages: this.#outbox.take(),
      committedEntries: this.#log.nextToApply(
        this.#config.committedEntriesPerReadyMax,
        this.#config.committedBytesPerReadyMax,
      ),
      readStates,
    };
  }

  /** Write `sequence` and all before it are durable, entries and hard state. */
  persisted(sequence: number): void {
    this.#outbox.persisted(sequence);
    this.#log.persisted(sequence);
    if (this.#role === 'candidate') this.#countOwnVote();
    if (this.#role === 'leader' && this.#tracker.self.acknowledged(this.#log.stable)) this.#advanceCommit();
  }

  /** The state machine holds the effects of every entry up to `index`. */
  applied(index: number): void {
    this.#log.appliedTo(index);
  }

  /** Forgets log entries up to and including `index`, which must be applied. A follower that lacks them cannot catch up. */
  compact(index: number): void {
    this.#log.compactTo(index);
  }

  #hardState(): HardState {
    return { term: this.#term, vote: this.#vote, commit: this.#log.committed };
  }

  // ---- requests

  /**
   * Appends one entry per item at the end of the leader's log: at indexes lastIndex + 1 and up. All or none:
   * NoLeader or NotLeader elsewhere, RequestTooManyRequests when too much is uncommitted already. (A single batch is
   * accepted whatever its size when nothing is uncommitted.)
   */
  propose(datas: readonly Uint8Array[]): RosterError | undefined {
    if (this.#role !== 'leader') return this.#notLeader();
    let bytes = 0;
    for (const data of datas) bytes += data.length + ENTRY_OVERHEAD_BYTES;
    if (this.#uncommittedBytes > 0 && this.#uncommittedBytes + bytes > this.#config.uncommittedBytesMax)
      return rosterError('RequestTooManyRequests');
    for (const data of datas) this.#appendOwn(data);
    this.#replication.broadcast(this.#term);
    return undefined;
  }

  /**
   * Asks from which index on the state may answer a linearizable read that starts now; the answer comes as a ReadState
   * with the same `context`. If leadership is lost before, there is no answer.
   */
  readIndex(context: bigint): RosterError | undefined {
    if (this.#role !== 'leader') return this.#notLeader();
    if (this.#reads.count >= this.#config.readsPendingMax) return rosterError('RequestTooManyRequests');
    if (this.#termCommitted) this.#beginRead(context);
    else this.#reads.addEarly(context);
    return undefined;
  }

  /** The answer of `readIndex` where nobody needs to be asked: the sole voter, once its term has a commit. */
  localReadIndex(): number | undefined {
    return this.#tracker.peers.length === 0 && this.#role === 'leader' && this.#termCommitted
      ? this.#log.committed
      : undefined;
  }

  /** Starts an election now, as if the election timeout had passed. */
  campaign(): void {
    if (this.#role === 'leader') return;
    if (this.#config.preVote) this.#becomePreCandidate();
    else this.#becomeCandidate();
  }

  #notLeader(): RosterError {
    return rosterError(this.#leader === NO_NODE ? 'NoLeader' : 'NotLeader');
  }

  // ---- time

  /** One unit of time. */
  tick(): void {
    this.#electionElapsed++;
    if (this.#role === 'leader') this.#tickLeader();
    else if (this.#electionElapsed >= this.#electionTimeout) {
      this.#electionElapsed = 0;
      this.campaign();
    }
  }

  #tickLeader(): void {
    this.#heartbeatElapsed++;
    if (this.#electionElapsed >= this.#config.electionTicks) {
      this.#electionElapsed = 0;
      // Dissertation 6.2: a leader cut off from the majority must not keep its clients waiting.
      if (this.#config.checkQuorum && !this.#tracker.takeQuorumActive()) {
        this.#becomeFollower(this.#term, NO_NODE);
        return;
      }
    }
    if (this.#heartbeatElapsed >= this.#config.heartbeatTicks) this.#broadcastHeartbeat();
  }

  #broadcastHeartbeat(): void {
    this.#heartbeatElapsed = 0;
    this.#replication.broadcastHeartbeat(this.#term, this.#reads.openRound);
  }

  // ---- roles (paper figure 4)

  #reset(term: number): void {
    if (term !== this.#term) {
      this.#term = term;
      this.#vote = NO_NODE;
    }
    this.#leader = NO_NODE;
    this.#electionElapsed = 0;
    this.#heartbeatElapsed = 0;
    this.#electionTimeout = this.#config.electionTicks + this.#config.prng.int(this.#config.electionTicks);
    this.#uncommittedBytes = 0;
    this.#reads.reset();
    this.#tracker.reset(this.#log.lastIndex);
  }

  #becomeFollower(term: number, leader: bigint): void {
    assert(term >= this.#term, 'raft: a term never goes back');
    this.#reset(term);
    this.#role = 'follower';
    this.#leader = leader;
  }

  /** Dissertation 9.6: asks whether an election could be won, without a new term and without a vote of its own. */
  #becomePreCandidate(): void {
    this.#role = 'preCandidate';
    this.#leader = NO_NODE;
    this.#electionElapsed = 0;
    this.#tracker.clearVotes();
    if (this.#tracker.vote(this.id, true) === 'won') this.#becomeCandidate();
    else this.#requestVotes(T.PRE_VOTE, this.#term + 1);
  }

  /** Figure 2, Candidates: a new term, a vote for itself - which counts when it is durable - and requests to all. */
  #becomeCandidate(): void {
    this.#reset(this.#term + 1);
    this.#role = 'candidate';
    this.#vote = this.id;
    this.#requestVotes(T.VOTE, this.#term);
  }

  #requestVotes(type: typeof T.PRE_VOTE | typeof T.VOTE, term: number): void {
    for (const peer of this.#tracker.peers) {
      const message = newMessage(type, peer.id, term);
      message.index = this.#log.lastIndex;
      message.log_term = this.#log.lastTerm;
      this.#outbox.send(message);
    }
  }

  #countOwnVote(): void {
    const { term, vote } = this.#outbox.durable;
    if (term === this.#term && vote === this.id && !this.#tracker.hasVoted(this.id)) this.#countVote(this.id, true);
  }

  #countVote(from: bigint, granted: boolean): void {
    const result = this.#tracker.vote(from, granted);
    if (result === 'lost') this.#becomeFollower(this.#term, NO_NODE);
    if (result !== 'won') return;
    if (this.#role === 'preCandidate') this.#becomeCandidate();
    else this.#becomeLeader();
  }

  /** Section 8: an empty entry of the new term, so that it learns soon what is committed. */
  #becomeLeader(): void {
    assert(this.#outbox.durable.term === this.#term, 'raft: leading in a term that a crash would forget');
    this.#reset(this.#term);
    this.#role = 'leader';
    this.#leader = this.id;
    this.#uncommittedBytes = this.#log.bytesBetween(this.#log.committed + 1, this.#log.lastIndex);
    this.#tracker.self.acknowledged(this.#log.stable);
    this.#termStart = this.#log.lastIndex + 1;
    this.#appendOwn(NO_DATA);
    this.#replication.broadcast(this.#term);
  }

  #appendOwn(data: Uint8Array): void {
    this.#log.append({ term: this.#term, index: this.#log.lastIndex + 1, type: EntryType.values.NORMAL, data });
    this.#uncommittedBytes += data.length + ENTRY_OVERHEAD_BYTES;
  }

  // ---- leading: commit and reads

  /** Whether this leader has committed an entry of its own term, and so knows all that is committed (6.4, section 8). */
  get #termCommitted(): boolean {
    return this.#log.committed >= this.#termStart;
  }

  /** 5.4.2: only entries of the current term are committed by counting; earlier ones are committed with them. */
  #advanceCommit(): void {
    const index = this.#tracker.majorityMatch();
    if (index <= this.#log.committed || this.#log.term(index) !== this.#term) return;
    this.#uncommittedBytes -= this.#log.bytesBetween(this.#log.committed + 1, index);
    this.#log.commitTo(index);
    for (const context of this.#reads.takeEarly()) this.#beginRead(context);
    this.#replication.broadcast(this.#term);
  }

  #beginRead(context: bigint): void {
    if (this.#tracker.peers.length === 0) {
      this.#readStates.push({ context, index: this.#log.committed });
      return;
    }
    this.#reads.add(context, this.#log.committed);
    this.#broadcastHeartbeat();
  }

  // ---- messages

  /** Takes one message from another node. */
  step(message: Message): void {
    assert(message.to === this.id, 'raft: a message for another node');
    if (message.term > this.#term) {
      if (!this.#enterTerm(message)) return;
    } else if (message.term < this.#term) {
      this.#answerOldTerm(message);
      return;
    }
    switch (message.type) {
      case T.PRE_VOTE:
      case T.VOTE:
        this.#handleVoteRequest(message);
        break;
      case T.APPEND:
        this.#follow(message.from);
        this.#handleAppend(message);
        break;
      case T.HEARTBEAT:
        this.#follow(message.from);
        this.#handleHeartbeat(message);
        break;
      case T.PRE_VOTE_RESPONSE:
        // A grant speaks for the term that would follow; a refusal for the voter's own.
        if (this.#role === 'preCandidate' && (message.reject || message.term === this.#term + 1))
          this.#countVoteOf(message);
        break;
      case T.VOTE_RESPONSE:
        if (this.#role === 'candidate') this.#countVoteOf(message);
        break;
      default:
        if (this.#role === 'leader') this.#handleFollower(message);
    }
  }

  /** A higher term (5.1). False when the message is to be ignored. */
  #enterTerm(message: Message): boolean {
    const { type, term } = message;
    if (type === T.VOTE || type === T.PRE_VOTE) {
      // 4.2.3: who hears a leader does not help to depose it.
      const heardLeader = this.#leader !== NO_NODE && this.#electionElapsed < this.#config.electionTicks;
      if (this.#config.checkQuorum && heardLeader) return false;
    }
    // PreVote speaks of a term that nobody has entered yet.
    if (type === T.PRE_VOTE || (type === T.PRE_VOTE_RESPONSE && !message.reject)) return true;
    const fromLeader = type === T.APPEND || type === T.HEARTBEAT;
    this.#becomeFollower(term, fromLeader ? message.from : NO_NODE);
    return true;
  }

  /** A lower term: refused or ignored (5.1). */
  #answerOldTerm(message: Message): void {
    const fromLeader = message.type === T.APPEND || message.type === T.HEARTBEAT;
    if (fromLeader && (this.#config.checkQuorum || this.#config.preVote)) {
      // Such a leader never hears our vote requests, and we never accept its entries: our term tells it to step down,
      // or this node would be shut out for ever.
      this.#outbox.send(newMessage(T.APPEND_RESPONSE, message.from, this.#term));
    } else if (message.type === T.PRE_VOTE) {
      // Silence would leave a candidate of an old term campaigning for ever.
      const response = newMessage(T.PRE_VOTE_RESPONSE, message.from, this.#term);
      response.reject = true;
      this.#outbox.send(response);
    }
  }

  /** RequestVote receiver (figure 2; 5.4.1 for the log), and the same question without a promise for PreVote. */
  #handleVoteRequest(message: Message): void {
    const pre = message.type === T.PRE_VOTE;
    const free =
      this.#vote === message.from ||
      (this.#vote === NO_NODE && this.#leader === NO_NODE) ||
      (pre && message.term > this.#term);
    const granted = free && this.#log.isUpToDate(message.index, message.log_term);
    const type = pre ? T.PRE_VOTE_RESPONSE : T.VOTE_RESPONSE;
    const response = newMessage(type, message.from, granted ? message.term : this.#term);
    response.reject = !granted;
    if (granted && !pre) {
      this.#electionElapsed = 0;
      this.#vote = message.from;
    }
    this.#outbox.send(response);
  }

  #countVoteOf(message: Message): void {
    if (this.#tracker.peer(message.from) !== undefined) this.#countVote(message.from, !message.reject);
  }

  /** A message that only the leader of this term sends. */
  #follow(leader: bigint): void {
    assert(this.#role !== 'leader', 'raft: two leaders in one term');
    if (this.#role !== 'follower') this.#becomeFollower(this.#term, leader);
    this.#leader = leader;
    this.#electionElapsed = 0;
  }

  /** AppendEntries receiver (figure 2). The response waits until the entries are durable. */
  #handleAppend(message: Message): void {
    const response = newMessage(T.APPEND_RESPONSE, message.from, this.#term);
    response.index = this.#log.committed;
    if (message.index >= this.#log.committed) {
      const lastNew = this.#log.tryAppend(message.index, message.log_term, message.entries);
      if (lastNew === undefined) {
        const hint = this.#log.conflictByTerm(message.index, message.log_term);
        response.index = message.index;
        response.reject = true;
        response.reject_hint = hint.index;
        response.log_term = hint.term;
      } else {
        this.#log.commitTo(Math.min(message.commit, lastNew));
        response.index = lastNew;
      }
    }
    this.#outbox.send(response);
  }

  #handleHeartbeat(message: Message): void {
    this.#log.commitTo(message.commit);
    const response = newMessage(T.HEARTBEAT_RESPONSE, message.from, this.#term);
    response.context = message.context;
    this.#outbox.send(response);
  }

  #handleFollower(message: Message): void {
    const peer = this.#tracker.peer(message.from);
    if (peer === undefined) return;
    peer.recentActive = true;
    if (message.type === T.HEARTBEAT_RESPONSE) {
      this.#replication.handleHeartbeatResponse(peer, this.#term);
      this.#handleReadRound(peer, message.context);
    } else if (message.reject) this.#replication.handleRefusal(peer, message, this.#term);
    else this.#handleAcknowledgement(peer, message);
  }

  #handleAcknowledgement(peer: Progress, message: Message): void {
    if (!this.#replication.handleAcknowledgement(peer, message)) return;
    this.#advanceCommit();
    // While it was paused the commit index may have passed it by.
    if (peer.sentCommit < this.#log.committed) this.#replication.send(peer, this.#term, true);
    this.#replication.sendAll(peer, this.#term);
  }

  #handleReadRound(peer: Progress, round: number): void {
    if (round <= peer.readRound) return;
    peer.readRound = round;
    const open = this.#reads.openRound;
    if (open > 0) this.#readStates.push(...this.#reads.confirmed(this.#tracker.majorityReadRound(open)));
  }
}
