/**
 * Terms, votes and roles (paper 5.1, 5.2, 5.4.1; figure 4): when a node campaigns, whom it votes for, whom it follows.
 * Owns term, vote, role, and the clock of elections. What a leader then does is leadership.ts's.
 */
import { assert } from '../util/assert.ts';
import type { HardState } from '../wire/stored.ts';
import { confAfter, hasVote } from './conf-change.ts';
import { NO_NODE, type RaftConfig } from './config.ts';
import type { Leadership } from './leadership.ts';
import type { RaftLog } from './log.ts';
import { type ConfState, type Message, MessageType, newMessage } from './messages.ts';
import type { Outbox } from './outbox.ts';
import type { Refill } from './refill.ts';
import type { Tracker } from './tracker.ts';

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

const T = MessageType.values;

/** Messages that only the leader of their term sends. */
function isFromLeader(type: number): boolean {
  return type === T.APPEND || type === T.HEARTBEAT || type === T.SNAPSHOT || type === T.TIMEOUT_NOW;
}

export class Election {
  readonly #config: RaftConfig;
  readonly #log: RaftLog;
  readonly #tracker: Tracker;
  readonly #outbox: Outbox;
  readonly #leadership: Leadership;
  readonly #refill: Refill;

  #term: number;
  #vote: bigint;
  #role: Role = 'follower';
  #leader = NO_NODE;
  /** Ticks since the last sign of a leader, of a granted vote, or (leader) since the last check of the quorum. */
  #elapsed = 0;
  #timeout = 0;
  /** The leader of this term wants this node to campaign, which was not possible yet: a change was not applied. */
  #askedByLeader = false;

  constructor(
    config: RaftConfig,
    log: RaftLog,
    tracker: Tracker,
    outbox: Outbox,
    leadership: Leadership,
    refill: Refill,
    hardState: HardState,
  ) {
    this.#config = config;
    this.#log = log;
    this.#tracker = tracker;
    this.#outbox = outbox;
    this.#leadership = leadership;
    this.#refill = refill;
    // A crash may keep entries of a term and lose the hard state written after them. Nothing was said in that term yet.
    const torn = log.lastTerm > hardState.term;
    this.#term = torn ? log.lastTerm : hardState.term;
    this.#vote = torn ? NO_NODE : hardState.vote;
    this.stepDown();
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
  get leader(): bigint {
    return this.#leader;
  }

  // ---- time

  /** One unit of time: a follower or candidate may campaign, a leader that hears no majority steps down. */
  tick(): void {
    this.#elapsed++;
    if (this.#role === 'leader') {
      if (this.#elapsed >= this.#config.electionTicks) this.#checkQuorum();
    } else if (this.#elapsed >= this.#timeout && this.#mayCampaign) {
      this.#elapsed = 0;
      this.campaign();
    }
  }

  /** Dissertation 6.2: a leader cut off from the majority must not keep its clients waiting. */
  #checkQuorum(): void {
    this.#elapsed = 0;
    if (this.#config.checkQuorum && !this.#tracker.takeQuorumActive()) this.stepDown();
  }

  /** Starts an election now, if this node may ever begin one. */
  campaign(): void {
    if (this.#role === 'leader' || !this.#mayCampaign) return;
    if (this.#config.preVote) this.#becomePreCandidate();
    else this.#becomeCandidate(false);
  }

  /** Dissertation 3.10: as if the election timeout had passed; without PreVote, since the leader wants it so. */
  campaignForLeader(): void {
    if (this.#refill.isOn) return;
    this.#askedByLeader = !this.#mayCampaign;
    if (!this.#askedByLeader) this.#becomeCandidate(true);
  }

  /** More of the log is applied: what the leader asked for may be possible now. */
  applied(): void {
    if (this.#askedByLeader) this.campaignForLeader();
  }

  /**
   * Only voters do, by the configuration in force or by the one at the end of the log: of a node that is about to lose
   * its vote the log may be the only one that is complete (dissertation 4.2.2). Not one whose state machine is being
   * replaced, and not before a change known to be committed is in force: there might be a later one already. And not one
   * that does not know what it has promised.
   */
  get #mayCampaign(): boolean {
    if (this.#refill.isOn) return false;
    if (this.#log.hasPendingSnapshot || this.#log.hasUnappliedConfChange) return false;
    const { id } = this.#config;
    return this.#tracker.isVoter(id) || hasVote(this.#latestConf, id);
  }

  /** The configuration at the end of the log, committed or not. */
  get #latestConf(): ConfState {
    const { conf } = this.#tracker;
    const change = this.#log.pendingConfChange;
    return change === undefined ? conf : confAfter(conf, change);
  }

  // ---- roles (paper figure 4)

  #reset(term: number): void {
    if (term !== this.#term) {
      this.#term = term;
      this.#vote = NO_NODE;
    }
    this.#leader = NO_NODE;
    this.#askedByLeader = false;
    this.#elapsed = 0;
    this.#timeout = this.#config.electionTicks + this.#config.prng.int(this.#config.electionTicks);
    this.#leadership.end();
    this.#tracker.reset(this.#log.lastIndex);
  }

  /** Follows nobody for the rest of the term. */
  stepDown(): void {
    this.#becomeFollower(this.#term, NO_NODE);
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
    this.#elapsed = 0;
    this.#tracker.clearVotes();
    this.#tracker.lookAhead(this.#latestConf, this.#log.lastIndex);
    if (this.#tracker.vote(this.#config.id, true) === 'won') this.#becomeCandidate(false);
    else this.#requestVotes(T.PRE_VOTE, this.#term + 1, false);
  }

  /** Figure 2, Candidates: a new term, a vote for itself - which counts when it is durable - and requests to all. */
  #becomeCandidate(transfer: boolean): void {
    this.#tracker.lookAhead(this.#latestConf, this.#log.lastIndex);
    this.#reset(this.#term + 1);
    this.#role = 'candidate';
    this.#vote = this.#config.id;
    this.#requestVotes(T.VOTE, this.#term, transfer);
  }

  #requestVotes(type: typeof T.PRE_VOTE | typeof T.VOTE, term: number, transfer: boolean): void {
    for (const { id } of this.#tracker.electors) {
      const message = newMessage(type, id, term);
      message.transfer = transfer;
      message.index = this.#log.lastIndex;
      message.log_term = this.#log.lastTerm;
      this.#outbox.send(message);
    }
  }

  #countVote(from: bigint, granted: boolean): void {
    const result = this.#tracker.vote(from, granted);
    if (result === 'lost') this.stepDown();
    if (result !== 'won') return;
    if (this.#role === 'preCandidate') this.#becomeCandidate(false);
    else this.#becomeLeader();
  }

  #becomeLeader(): void {
    assert(this.#outbox.durable.term === this.#term, 'raft: leading in a term that a crash would forget');
    this.#reset(this.#term);
    this.#role = 'leader';
    this.#leader = this.#config.id;
    this.#leadership.begin(this.#term);
  }

  /** A message has come that only the leader of this term sends. */
  follow(leader: bigint): void {
    assert(this.#role !== 'leader', 'raft: two leaders in one term');
    if (this.#role !== 'follower') this.#becomeFollower(this.#term, leader);
    this.#leader = leader;
    this.#elapsed = 0;
  }

  /** The leader says that this node has its log back (refill.ts): all it may ever have said in this term is its leader's. */
  refilled(): void {
    assert(this.#role === 'follower' && this.#leader !== NO_NODE, 'raft: a refill ended by nobody');
    this.#vote = this.#leader;
    this.#refill.end();
  }

  // ---- terms (5.1)

  /** A higher term (5.1). False when the message is to be ignored. */
  enterTerm(message: Message): boolean {
    const { type, term } = message;
    if (type === T.VOTE || type === T.PRE_VOTE) {
      // 4.2.3: who hears a leader does not help to depose it, unless that leader asked for it.
      const heardLeader = this.#leader !== NO_NODE && this.#elapsed < this.#config.electionTicks;
      if (this.#config.checkQuorum && heardLeader && !message.transfer) return false;
    }
    // PreVote speaks of a term that nobody has entered yet.
    if (type === T.PRE_VOTE || (type === T.PRE_VOTE_RESPONSE && !message.reject)) return true;
    const { role } = this;
    const [elapsed, timeout] = [this.#elapsed, this.#timeout];
    this.#becomeFollower(term, isFromLeader(type) ? message.from : NO_NODE);
    if (!isFromLeader(type) && role !== 'leader') {
      // Only a leader, or a vote granted, keeps a follower from campaigning (figure 2): one whose log is too short to win
      // would otherwise hold up those who can, as long as it is the quicker one.
      [this.#elapsed, this.#timeout] = [elapsed, timeout];
    }
    return true;
  }

  /** A lower term: refused or ignored (5.1). */
  answerOldTerm(message: Message): void {
    if (isFromLeader(message.type) && (this.#config.checkQuorum || this.#config.preVote)) {
      // Such a leader never hears our vote requests, and we never accept its entries: our term tells it to step down,
      // or this node would be shut out for ever.
      const response = newMessage(T.APPEND_RESPONSE, message.from, this.#term);
      response.refill = this.#refill.life;
      this.#outbox.send(response);
    } else if (message.type === T.PRE_VOTE) {
      // Silence would leave a candidate of an old term campaigning for ever.
      const response = newMessage(T.PRE_VOTE_RESPONSE, message.from, this.#term);
      response.reject = true;
      this.#outbox.send(response);
    }
  }

  // ---- votes

  /**
   * RequestVote receiver (figure 2; 5.4.1 for the log), and the same question without a promise for PreVote. Whoever asks
   * is answered, by whoever is asked: learners too, and whatever the own configuration says (4.1). Either may be a change
   * behind the other, and only the candidate's configuration counts the votes.
   */
  handleVoteRequest(message: Message): void {
    const pre = message.type === T.PRE_VOTE;
    const free =
      this.#vote === message.from ||
      (this.#vote === NO_NODE && this.#leader === NO_NODE) ||
      (pre && message.term > this.#term);
    const granted = free && !this.#refill.isOn && this.#log.isUpToDate(message.index, message.log_term);
    const type = pre ? T.PRE_VOTE_RESPONSE : T.VOTE_RESPONSE;
    const response = newMessage(type, message.from, granted ? message.term : this.#term);
    response.reject = !granted;
    if (granted && !pre) {
      this.#elapsed = 0;
      this.#vote = message.from;
    }
    this.#outbox.send(response);
  }

  handleVoteResponse(message: Message): void {
    const pre = message.type === T.PRE_VOTE_RESPONSE;
    if (this.#role !== (pre ? 'preCandidate' : 'candidate')) return;
    // A grant of a PreVote speaks for the term that would follow; a refusal for the voter's own.
    if (pre && !message.reject && message.term !== this.#term + 1) return;
    this.#countVote(message.from, !message.reject);
  }

  /** A write is durable: perhaps the vote for itself is. */
  persisted(): void {
    if (this.#role !== 'candidate') return;
    const { term, vote } = this.#outbox.durable;
    const { id } = this.#config;
    if (term === this.#term && vote === id && !this.#tracker.hasVoted(id)) this.#countVote(id, true);
  }
}
