/**
 * What a node does while it leads: takes proposals, replicates, commits, confirms reads, changes the configuration one
 * entry at a time, hands over to another node. Begins and ends with the term that raft.ts won for it; never votes.
 */
import { GrpcStatus, otherError, RosterError, rosterError } from '../errors.ts';
import { encode } from '../wire/binary.ts';
import { EntryType } from '../wire/stored.ts';
import { ConfChange, changed, isJoint, LEAVE_JOINT } from './conf-change.ts';
import { NO_NODE, type RaftConfig } from './config.ts';
import { ENTRY_OVERHEAD_BYTES, type RaftLog } from './log.ts';
import { type Message, MessageType } from './messages.ts';
import type { Outbox } from './outbox.ts';
import type { Progress } from './progress.ts';
import { ReadOnly } from './read-only.ts';
import type { ReadState } from './ready.ts';
import { NO_LIFE } from './refill.ts';
import { Replication } from './replication.ts';
import type { Tracker } from './tracker.ts';
import { Transfer } from './transfer.ts';

const NO_DATA: Uint8Array = new Uint8Array(0);

function refused(text: string): RosterError {
  return otherError(GrpcStatus.FAILED_PRECONDITION, text);
}

export class Leadership {
  readonly #config: RaftConfig;
  readonly #log: RaftLog;
  readonly #tracker: Tracker;
  readonly #replication: Replication;
  readonly #reads = new ReadOnly();
  readonly #transfer: Transfer;
  readonly #stepDown: () => void;

  #term = 0;
  /** Index of the empty entry that began the term. */
  #termStart = 0;
  #heartbeatElapsed = 0;
  /** Bytes of entries after the commit index. */
  #uncommittedBytes = 0;
  /** No change of the configuration before this entry is applied. */
  #pendingConfIndex = 0;
  #readStates: ReadState[] = [];

  /** `stepDown` makes the node a follower of the same term, and calls `end`. */
  constructor(config: RaftConfig, log: RaftLog, tracker: Tracker, outbox: Outbox, stepDown: () => void) {
    this.#config = config;
    this.#log = log;
    this.#tracker = tracker;
    this.#replication = new Replication(config, log, tracker, outbox);
    this.#transfer = new Transfer(config.electionTicks);
    this.#stepDown = stepDown;
  }

  get termStart(): number {
    return this.#termStart;
  }
  get uncommittedBytes(): number {
    return this.#uncommittedBytes;
  }
  get transferee(): bigint {
    return this.#transfer.to;
  }
  get hasReadStates(): boolean {
    return this.#readStates.length > 0;
  }

  takeReadStates(): ReadState[] {
    const states = this.#readStates;
    if (states.length > 0) this.#readStates = [];
    return states;
  }

  // ---- the term

  /** Section 8: an empty entry of the new term, so that it learns soon what is committed. */
  begin(term: number): void {
    this.#term = term;
    this.#uncommittedBytes = this.#log.bytesBetween(this.#log.committed + 1, this.#log.lastIndex);
    this.#tracker.self.acknowledged(this.#log.stable);
    this.#termStart = this.#log.lastIndex + 1;
    // Ongaro, "bug in single-server membership changes" (raft-dev, 2015): a change only after a commit in the own term.
    this.#pendingConfIndex = this.#termStart;
    this.#append(NO_DATA);
    this.#replication.broadcast(this.#term);
  }

  /** The term or the role is over: whoever waits must ask again. */
  end(): void {
    this.#heartbeatElapsed = 0;
    this.#uncommittedBytes = 0;
    this.#reads.reset();
    this.#transfer.end();
  }

  tick(): void {
    if (this.#transfer.tick()) this.#leaveJointIfDue();
    this.#heartbeatElapsed++;
    if (this.#heartbeatElapsed >= this.#config.heartbeatTicks) this.#broadcastHeartbeat();
  }

  #broadcastHeartbeat(): void {
    this.#heartbeatElapsed = 0;
    this.#replication.broadcastHeartbeat(this.#term, this.#reads.openRound);
  }

  // ---- proposals

  /** See Raft.propose. */
  propose(datas: readonly Uint8Array[]): RosterError | undefined {
    let bytes = 0;
    for (const data of datas) bytes += data.length + ENTRY_OVERHEAD_BYTES;
    const refusal = this.#refusal(bytes);
    if (refusal !== undefined) return refusal;
    for (const data of datas) this.#append(data);
    this.#replication.broadcast(this.#term);
    return undefined;
  }

  #refusal(bytes: number): RosterError | undefined {
    // Dissertation 3.10, step 1: otherwise the target would never catch up.
    if (this.#transfer.to !== NO_NODE) return rosterError('LeaderChanged');
    if (this.#uncommittedBytes > 0 && this.#uncommittedBytes + bytes > this.#config.uncommittedBytesMax)
      return rosterError('RequestTooManyRequests');
    return undefined;
  }

  #append(data: Uint8Array, type: number = EntryType.values.NORMAL): void {
    this.#log.append({ term: this.#term, index: this.#log.lastIndex + 1, type, data });
    this.#uncommittedBytes += data.length + ENTRY_OVERHEAD_BYTES;
  }

  // ---- the configuration

  get mayChangeConf(): boolean {
    return this.#log.applied >= this.#pendingConfIndex && this.#transfer.to === NO_NODE;
  }

  /** See Raft.proposeConfChange. */
  proposeConfChange(change: ConfChange): RosterError | undefined {
    const data = encode(ConfChange, change);
    const refusal = this.#refusal(data.length + ENTRY_OVERHEAD_BYTES);
    if (refusal !== undefined) return refusal;
    if (this.#log.applied < this.#pendingConfIndex)
      return refused(
        this.#pendingConfIndex === this.#termStart
          ? 'the leader is new and does not know the configuration for certain yet'
          : 'another change of the configuration is under way',
      );
    const conf = changed(this.#tracker.conf, change);
    if (conf instanceof RosterError) return conf;
    this.#appendConfChange(data);
    return undefined;
  }

  #appendConfChange(data: Uint8Array): void {
    this.#append(data, EntryType.values.CONF_CHANGE);
    this.#pendingConfIndex = this.#log.lastIndex;
    this.#replication.broadcast(this.#term);
  }

  /** Another configuration is in force; the entry that changed it is applied. */
  confChanged(): void {
    if (!this.#tracker.conf.voters.includes(this.#transfer.to)) this.#transfer.end();
    // The new voters may need nobody's word more than they have; and new members begin at once.
    if (!this.#advanceCommit()) this.#replication.broadcast(this.#term);
    this.#confirmReads();
    if (!this.#tracker.isVoter(this.#config.id)) this.#depart();
    else this.#leaveJointIfDue();
  }

  /** More of the log is applied. */
  applied(): void {
    this.#leaveJointIfDue();
  }

  /**
   * Paper section 6: when the joint configuration is committed, the leader appends the new one. Whichever leader finds
   * itself in one does, and once: its own entry is then the pending change.
   */
  #leaveJointIfDue(): void {
    const { conf } = this.#tracker;
    if (!conf.auto_leave || !isJoint(conf)) return;
    if (this.#log.applied < this.#pendingConfIndex || this.#transfer.to !== NO_NODE) return;
    this.#appendConfChange(encode(ConfChange, LEAVE_JOINT));
  }

  /**
   * Dissertation 4.2.2: a leader that is no longer a voter steps down once that is committed. Every majority of the new
   * configuration has a member with the entry in its log, so they can go on at once.
   */
  #depart(): void {
    let heir: Progress | undefined;
    for (const peer of this.#tracker.peers)
      if (this.#tracker.isVoter(peer.id) && (heir === undefined || peer.counted > heir.counted)) heir = peer;
    if (heir !== undefined) this.#replication.sendTimeoutNow(heir.id, this.#term);
    this.#stepDown();
  }

  // ---- handing over (dissertation 3.10)

  /** See Raft.transferLeadership. */
  transfer(to: bigint): RosterError | undefined {
    if (to === this.#config.id) return undefined;
    const peer = this.#tracker.conf.voters.includes(to) ? this.#tracker.peer(to) : undefined;
    if (peer === undefined) return rosterError('BadLeaderTransferee');
    this.#transfer.begin(to);
    if (!this.#handOverIfReady(peer)) this.#replication.send(peer, this.#term, true);
    return undefined;
  }

  #handOverIfReady(peer: Progress): boolean {
    if (peer.id !== this.#transfer.to || peer.counted < this.#log.lastIndex) return false;
    this.#replication.sendTimeoutNow(peer.id, this.#term);
    return true;
  }

  // ---- commit

  /** Whether this leader has committed an entry of its own term, and so knows all that is committed (6.4, section 8). */
  get termCommitted(): boolean {
    return this.#log.committed >= this.#termStart;
  }

  /** Its own disk has what it had handed out. */
  persisted(): void {
    if (this.#tracker.self.acknowledged(this.#log.stable)) this.#advanceCommit();
  }

  /** 5.4.2: only entries of the current term are committed by counting; earlier ones are committed with them. */
  #advanceCommit(): boolean {
    const index = this.#tracker.majorityMatch();
    if (index <= this.#log.committed || this.#log.term(index) !== this.#term) return false;
    this.#uncommittedBytes -= this.#log.bytesBetween(this.#log.committed + 1, index);
    this.#log.commitTo(index);
    for (const context of this.#reads.takeEarly()) this.#beginRead(context);
    this.#replication.broadcastCommit(this.#term);
    return true;
  }

  // ---- reads (dissertation 6.4)

  /** See Raft.readIndex. */
  readIndex(context: bigint): RosterError | undefined {
    if (this.#reads.count >= this.#config.readsPendingMax) return rosterError('RequestTooManyRequests');
    if (this.termCommitted) this.#beginRead(context);
    else this.#reads.addEarly(context);
    return undefined;
  }

  #beginRead(context: bigint): void {
    if (this.#tracker.isSoleVoter) {
      this.#readStates.push({ context, index: this.#log.committed });
      return;
    }
    this.#reads.add(context, this.#log.committed);
    this.#broadcastHeartbeat();
  }

  #confirmReads(): void {
    const open = this.#reads.openRound;
    if (open > 0) this.#readStates.push(...this.#reads.confirmed(this.#tracker.majorityReadRound(open)));
  }

  // ---- what followers say

  /** An APPEND_RESPONSE or HEARTBEAT_RESPONSE of this term. */
  step(message: Message): void {
    const peer = this.#tracker.peer(message.from);
    if (peer === undefined) return;
    peer.recentActive = true;
    const refillBegins = this.#followRefill(peer, message);
    if (message.type === MessageType.values.HEARTBEAT_RESPONSE) this.#handleHeartbeatResponse(peer, message);
    else if (message.reject) this.#replication.handleRefusal(peer, message, this.#term);
    else this.#handleAcknowledgement(peer, message);
    if (refillBegins) this.#replication.broadcast(this.#term);
    else if (message.refill !== NO_LIFE && this.#replication.isRefilled(peer))
      this.#replication.send(peer, this.#term, true);
  }

  /**
   * The leader's part in a refill (refill.ts). True when one begins: there is a fence to be sent. What comes without a
   * life may be old, but then it is true of what counts; only an acknowledgement says that the member has a log.
   */
  #followRefill(peer: Progress, { type, refill, reject, index }: Message): boolean {
    if (refill === peer.refilling) return false;
    const isAppendResponse = type === MessageType.values.APPEND_RESPONSE;
    if (refill === NO_LIFE) {
      if (isAppendResponse && !reject) peer.endRefill();
      return false;
    }
    const next = isAppendResponse ? Math.min(index, this.#log.lastIndex) + 1 : this.#log.lastIndex + 1;
    this.#append(NO_DATA);
    peer.beginRefill(refill, this.#log.lastIndex, next);
    return true;
  }

  #handleHeartbeatResponse(peer: Progress, message: Message): void {
    this.#replication.handleHeartbeatResponse(peer, this.#term);
    // The first TIMEOUT_NOW may be lost; a second one of this term does no harm.
    this.#handOverIfReady(peer);
    if (message.refill !== NO_LIFE || message.context <= peer.readRound) return;
    peer.readRound = message.context;
    this.#confirmReads();
  }

  #handleAcknowledgement(peer: Progress, message: Message): void {
    if (!this.#replication.handleAcknowledgement(peer, message)) return;
    this.#advanceCommit();
    // While it was paused the commit index may have passed it by.
    if (peer.sentCommit < this.#log.committed) this.#replication.send(peer, this.#term, true, true);
    this.#replication.sendAll(peer, this.#term);
    this.#handOverIfReady(peer);
  }

  /** See Raft.reportSnapshot. */
  snapshotSent(id: bigint, ok: boolean): void {
    const peer = this.#tracker.peer(id);
    if (peer?.state === 'snapshotting') peer.snapshotSent(ok);
  }

  /** See Raft.reportUnreachable. */
  unreachable(id: bigint): void {
    const peer = this.#tracker.peer(id);
    if (peer?.state === 'replicate') peer.becomeProbe();
  }
}
