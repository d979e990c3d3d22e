/**
 * The driver of one member: takes requests, lets Raft order them, the log keep them and the machine apply them, and
 * answers. Owns the order of these steps: nothing leaves before what it promises is durable, and only committed entries
 * are applied, each once, without gaps. Never touches disk, network or clock but through its World.
 */
import { type RosterError, rosterError } from '../errors.ts';
import { NO_NODE } from '../raft/config.ts';
import { type Message, MessageType } from '../raft/messages.ts';
import { Raft } from '../raft/raft.ts';
import { assert } from '../util/assert.ts';
import { encode } from '../wire/binary.ts';
import { type Entry, InternalRequest, type MemberChange } from '../wire/stored.ts';
import { Applier } from './applier.ts';
import { BackendCommits } from './backend-commits.ts';
import { Contacts } from './contacts.ts';
import { Handover, type HandoverDone } from './handover.ts';
import { IdGenerator } from './id-generator.ts';
import { LeaderDesk } from './leader-desk.ts';
import { LeaseCalls, orElsewhere, type RenewDone, type TimeToLiveDone } from './lease-calls.ts';
import { LeaseDuties } from './lease-duties.ts';
import { LogWriter } from './log-writer.ts';
import { checkForm, MemberChanges } from './member-changes.ts';
import type { Forward, PeerMessage } from './peer-message.ts';
import { type ProposalDone, Proposals } from './proposals.ts';
import { raftConfig } from './raft-config.ts';
import { type ReadDone, Reads } from './reads.ts';
import { RemoteLeader } from './remote-leader.ts';
import { type SnapshotCounts, SnapshotTraffic } from './snapshot-traffic.ts';
import type { NodeConfig, RecoveredLog, World } from './world.ts';

export interface NodeStatus {
  id: bigint;
  /** 0n while no leader is known. */
  leader: bigint;
  isLeader: boolean;
  isLearner: boolean;
  term: number;
  commitIndex: number;
  appliedIndex: number;
}

/** A request without its id, which the node gives. */
export type ProposedRequest = Omit<InternalRequest, 'id'>;

/** Nobody asked for it. */
const ITSELF = { user: '', auth_revision: 0, internal: true } as const;

export class Node {
  readonly #config: NodeConfig;
  readonly #world: World;
  readonly #raft: Raft;
  readonly #proposals: Proposals;
  readonly #changes: MemberChanges;
  readonly #reads: Reads;
  readonly #ids: IdGenerator;
  readonly #leader: RemoteLeader;
  readonly #desk: LeaderDesk;
  readonly #applier: Applier;
  readonly #contacts: Contacts;
  readonly #handover: Handover;
  readonly #duties: LeaseDuties;
  readonly #commits: BackendCommits;
  readonly #writer: LogWriter;
  readonly #snapshots: SnapshotTraffic;
  readonly #leases: LeaseCalls;
  readonly #timeoutTicks: number;

  #state: 'new' | 'running' | 'stopping' | 'closing' | 'stopped' | 'failed' = 'new';
  #stopDones: ((error?: Error) => void)[] = [];
  /** By then everyone who waited when the stop began has been told "timed out". */
  #stopDeadlineTick = 0;
  #closeBegun = false;
  #tick = 0;
  #turnScheduled = false;
  #inTurn = false;
  #workScheduled = false;
  /** The term in which the machine has been told that this node leads; 0: it has been told that it does not. */
  #leadingTerm = 0;
  /** The term this node led in when roles were last looked at; 0: it did not lead. */
  #roleTerm = 0;
  #knownLeader = NO_NODE;

  /** Throws a RosterError DATA_LOSS when log and state on disk do not belong together. */
  constructor(config: NodeConfig, world: World, recovered: RecoveredLog) {
    const { limits } = config;
    this.#config = config;
    this.#world = world;
    this.#timeoutTicks = Math.ceil(config.requestTimeoutMs / config.tickMs);
    this.#raft = new Raft(raftConfig(config, world.prng), {
      hardState: recovered.hardState,
      entries: recovered.entries,
      firstIndex: recovered.prevIndex + 1,
      prevTerm: recovered.prevTerm,
      appliedIndex: world.machine.appliedIndex,
      confState: world.machine.confState,
    });
    this.#ids = new IdGenerator(config.id, world.clock.nowMs());
    this.#proposals = new Proposals(limits);
    this.#changes = new MemberChanges(this.#proposals);
    this.#reads = new Reads(limits.readsPendingMax);
    this.#leases = new LeaseCalls({
      machine: world.machine,
      linearizableRead: (done) => this.linearizableRead(done),
      counts: () => this.#leadingTerm > 0,
    });
    // Who asks the leader may be the leader itself by then.
    const send = (messages: readonly PeerMessage[]) => {
      const others = messages.filter(({ to }) => to !== config.id);
      if (others.length > 0) world.transport.send(others);
      for (const message of messages) if (message.to === config.id) this.step(message);
    };
    this.#leader = new RemoteLeader(config.id, limits, this.#raft, this.#proposals, this.#changes, this.#reads, {
      send,
      newId: () => this.#ids.next(),
      timeoutTicks: this.#timeoutTicks,
    });
    this.#desk = new LeaderDesk(config.id, this.#raft, this.#proposals, this.#changes, this.#reads, {
      send: (message) => send([message]),
      leases: this.#leases,
      isFull: (bytes, count) => this.#isFull(bytes, count),
    });
    this.#applier = new Applier(world.machine, this.#raft, this.#proposals, this.#leader.forwards);
    this.#contacts = new Contacts(config, this.#raft);
    this.#handover = new Handover(this.#raft);
    this.#duties = new LeaseDuties(limits, config.tickMs, {
      expired: (limit) => world.machine.expiredLeases(limit),
      checkpoints: (limit) => world.machine.leaseCheckpoints(limit),
      // Who leads next begins to count anew: what this leader decided must not outlive its term.
      revoke: (lease, done) => this.#propose({ requester: ITSELF, lease_revoke: { ID: lease } }, done, this.#raft.term),
      checkpoint: (checkpoints, done) => this.#propose({ lease_checkpoint: { checkpoints } }, done, this.#raft.term),
    });
    this.#commits = new BackendCommits(limits, world, this.#raft, {
      failed: (error) => this.#fail(error),
      done: () => this.#finishStop(),
      floorIndex: () => this.#snapshots.floorIndex,
    });
    this.#writer = new LogWriter(world, recovered.hardState, {
      quiet: (run) => this.#commits.pause(run),
      installed: (point) => {
        this.#snapshots.installed();
        this.#commits.resume(point.index);
        this.#leader.forwards.unknownUpTo(point.term);
        this.#proposals.unknownUpTo(point.term);
        this.requestWork();
      },
      persisted: (sequence) => {
        this.#raft.persisted(sequence);
        this.#turn();
      },
      failed: (error) => this.#fail(error),
    });
    this.#snapshots = new SnapshotTraffic(config, this.#raft, {
      machine: world.machine,
      transport: world.transport,
      whenDurable: (index, done) => this.#commits.whenDurable(index, () => !this.#isOver && done()),
      scheduleIdle: (run) => world.scheduleIdle(() => !this.#isOver && run()),
      crc32: world.crc32,
      newId: () => this.#ids.next(),
      isActive: (member) => this.#contacts.isActive(member),
    });
  }

  get id(): bigint {
    return this.#config.id;
  }
  get term(): number {
    return this.#raft.term;
  }

  status(): NodeStatus {
    return {
      id: this.#config.id,
      leader: this.#raft.leader,
      isLeader: this.#raft.role === 'leader',
      isLearner: this.#raft.confState.learners.includes(this.#config.id),
      term: this.#raft.term,
      commitIndex: this.#raft.committed,
      appliedIndex: this.#world.machine.appliedIndex,
    };
  }

  /** Requests of this member's clients that have no result yet. */
  get pendingProposals(): number {
    return this.#proposals.count;
  }

  /** Linearizable reads that this member could not answer: nobody told it in time that it has everything. */
  get failedReads(): number {
    return this.#reads.failed;
  }

  /** Rounds of linearizable reads that were not answered and had to be begun again. */
  get slowReads(): number {
    return this.#reads.reopened;
  }

  /** Leases that this member has begun to end, as leader. */
  get expiredLeases(): number {
    return this.#duties.expired;
  }

  get snapshotCounts(): SnapshotCounts {
    return this.#snapshots.counts;
  }

  // ---- the public face

  /** Begins: replays what the log has beyond the machine's state, in slices; a sole voter elects itself at once. */
  start(): void {
    assert(this.#state === 'new', 'node: started twice');
    this.#state = 'running';
    const { voters } = this.#raft.confState;
    if (voters.length === 1 && voters[0] === this.#config.id) this.#raft.campaign();
    this.#scheduleTurn();
  }

  /**
   * Replicates `request`, which belongs to the node from now on; through the leader, whoever that is. `done` is called
   * once: with the machine's result, after the entry is durable on a majority and applied here; or with an error, perhaps
   * before this returns. RequestTooLarge, RequestTooManyRequests and LeaderChanged mean that nothing happened; after
   * Timeout, or Stopped of an accepted request, the outcome is unknown. While no leader is known, requests wait.
   */
  propose(request: ProposedRequest, done: ProposalDone): void {
    this.#propose(request, done, 0);
  }

  #propose(request: ProposedRequest, done: ProposalDone, boundTerm: number): void {
    if (this.#state !== 'running') {
      done(rosterError('Stopped'));
      return;
    }
    const { limits } = this.#config;
    const full = request as InternalRequest;
    const id = this.#ids.next();
    full.id = id;
    const data = encode(InternalRequest, full);
    if (data.length > limits.requestBytesMax) {
      done(rosterError('RequestTooLarge'));
      return;
    }
    if (this.#isFull(data.length)) {
      done(rosterError('RequestTooManyRequests'));
      return;
    }
    const deadlineTick = this.#deadlineTick;
    this.#proposals.add({ id, request: full, change: undefined, data, done, deadlineTick, boundTerm });
    this.#scheduleTurn();
  }

  #isFull(bytes: number, count = 1): boolean {
    const { logBytesMax } = this.#config.limits;
    return this.#proposals.isFull(bytes, count) || this.#raft.log.bytes + this.#proposals.bytes > logBytesMax;
  }

  /**
   * Adds, promotes or removes a member, through the leader and by etcd's rules. `done` as for `propose`, with a
   * MemberAddResponse, MemberPromoteResponse or MemberRemoveResponse.
   */
  changeMembers(change: Omit<MemberChange, 'id'>, done: ProposalDone): void {
    const malformed = checkForm(change);
    if (this.#state !== 'running') done(rosterError('Stopped'));
    else if (malformed !== undefined) done(malformed);
    else if (this.#changes.isFull) done(rosterError('RequestTooManyRequests'));
    else {
      const id = this.#ids.next();
      const base = { id, request: undefined, data: new Uint8Array(0), done, deadlineTick: this.#deadlineTick };
      this.#changes.add({ ...base, change: { ...change, id }, boundTerm: 0 });
      this.#scheduleTurn();
    }
  }

  /**
   * Calls `done` when the machine's state includes everything acknowledged, by any member, before this call (Raft
   * ReadIndex). May call it before returning: always so in a cluster of one that is not behind.
   */
  linearizableRead(done: ReadDone): void {
    if (this.#state !== 'running') {
      done(rosterError('Stopped'));
      return;
    }
    const index = this.#raft.localReadIndex();
    if (index !== undefined && this.#world.machine.appliedIndex >= index) {
      done();
      return;
    }
    if (this.#reads.isFull) {
      done(rosterError('RequestTooManyRequests'));
      return;
    }
    if (index !== undefined) this.#reads.waitApplied(index, done, this.#deadlineTick);
    else {
      this.#reads.ask(done, this.#deadlineTick);
      this.#scheduleTurn();
    }
  }

  /** Gives a lease its full time again, by the word of the leader. */
  renewLease(lease: bigint, done: RenewDone): void {
    const elsewhere = () => this.#leader.renewLease(lease, done);
    if (this.#state !== 'running') done(rosterError('Stopped'));
    else if (this.#raft.role === 'leader') this.#leases.renew(lease, orElsewhere(done, elsewhere));
    else elsewhere();
    this.#scheduleTurn();
  }

  /** What is left of a lease, by the word of the leader. */
  leaseTimeToLive(lease: bigint, keys: boolean, done: TimeToLiveDone): void {
    const elsewhere = () => this.#leader.timeToLive(lease, keys, done);
    if (this.#state !== 'running') done(rosterError('Stopped'));
    else if (this.#raft.role === 'leader') this.#leases.timeToLive(lease, keys, orElsewhere(done, elsewhere));
    else elsewhere();
    this.#scheduleTurn();
  }

  /** Moves leadership to voter `to`. NotLeader when this node does not lead, BadLeaderTransferee when `to` cannot. */
  transferLeadership(to: bigint, done: HandoverDone): void {
    if (this.#state !== 'running') done(rosterError('Stopped'));
    else {
      this.#handover.begin(to, this.#deadlineTick, done);
      this.#scheduleTurn();
    }
  }

  /** Before a stop: moves leadership to the voter that can take over soonest, if this node leads and there is one. */
  handOver(done: HandoverDone): void {
    const { heir } = this.#contacts;
    if (heir === undefined || this.#raft.role !== 'leader') done();
    else this.transferLeadership(heir, done);
  }

  /** Takes one message from another member. */
  step(message: PeerMessage): void {
    if (this.#isOver || this.#state === 'new') return;
    assert(message.to === this.id, 'node: a message for another member');
    const { from, raft, forward, forward_reply, ask, answer, chunk_request, chunk } = message;
    this.#contacts.heard(from);
    if (raft !== undefined) this.#snapshots.step(raft, message.snapshot);
    else if (forward !== undefined) this.#forwarded(from, forward);
    else if (forward_reply !== undefined) this.#leader.forwards.replied(forward_reply);
    else if (ask !== undefined) this.#desk.asked(from, ask);
    else if (answer !== undefined) this.#leader.asks.answered(answer);
    else if (chunk_request !== undefined) this.#snapshots.requested(from, chunk_request);
    else if (chunk !== undefined) this.#snapshots.chunk(chunk);
    this.#scheduleTurn();
  }

  /** A leader that is about to stop takes nothing more on: the next one will. */
  #forwarded(from: bigint, forward: Forward): void {
    if (this.#state === 'running') this.#desk.forwarded(from, forward);
  }

  /** Messages to this member may have been lost. */
  unreachable(id: bigint): void {
    if (this.#isOver) return;
    this.#raft.reportUnreachable(id);
    this.#scheduleTurn();
  }

  /** Call every `tickMs`: elections, heartbeats, deadlines, leases, and the backend's commit. */
  tick(): void {
    if (this.#isOver || this.#state === 'new') return;
    this.#tick++;
    this.#contacts.tick();
    this.#raft.tick();
    this.#leader.tick();
    this.#snapshots.tick();
    this.#turn();
    if (this.#isOver) return;
    this.#proposals.expire(this.#tick);
    this.#changes.expire(this.#tick);
    this.#reads.expire(this.#tick);
    if (this.#leadingTerm > 0 && this.#state === 'running') this.#duties.tick();
    this.#commits.tick();
    this.requestWork();
    this.#finishStop();
  }

  /** Somebody has given the machine work for the background: its slices run when traffic lets them. */
  requestWork(): void {
    if (this.#workScheduled || this.#isOver) return;
    this.#workScheduled = true;
    this.#world.scheduleIdle(() => {
      this.#workScheduled = false;
      if (this.#isOver) return;
      const more = this.#world.machine.work();
      this.#commits.worked();
      if (more) this.requestWork();
    });
  }

  /**
   * Refuses new requests, lets those accepted finish (or time out: keep calling `tick`), makes the state durable and
   * closes the log; then calls `done`. Its error says that closing failed; nothing acknowledged is lost by that.
   */
  stop(done: (error?: Error) => void): void {
    if (this.#state === 'stopped') {
      done();
      return;
    }
    this.#stopDones.push(done);
    if (this.#state === 'failed') this.#closeLog();
    else if (this.#state === 'running' || this.#state === 'new') {
      this.#state = 'stopping';
      this.#stopDeadlineTick = this.#deadlineTick;
      this.#duties.clear();
      this.#snapshots.close();
      this.#finishStop();
    }
  }

  // ---- one turn

  get #isOver(): boolean {
    return this.#state === 'failed' || this.#state === 'closing' || this.#state === 'stopped';
  }

  get #deadlineTick(): number {
    return this.#tick + this.#timeoutTicks;
  }

  #scheduleTurn(): void {
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    this.#world.schedule(() => {
      this.#turnScheduled = false;
      this.#turn();
    });
  }

  /** Puts into the log what has accumulated, then does what Raft has ready, at most one page of entries applied. */
  #turn(): void {
    if (this.#isOver || this.#state === 'new') return;
    if (this.#inTurn) {
      // A callback came back here: after this turn there will be another.
      this.#scheduleTurn();
      return;
    }
    this.#inTurn = true;
    this.#followLeadership();
    if (this.#raft.role === 'leader') this.#flushHere();
    else this.#leader.flush();
    this.#desk.flush();
    for (let applied = false; !applied && !this.#isOver && this.#raft.hasReady(); ) applied = this.#drain();
    if (!this.#isOver) this.#reads.applied(this.#world.machine.appliedIndex);
    this.#inTurn = false;
    if (this.#isOver) return;
    this.#followLeadership();
    this.#handover.look(this.#tick);
    if (this.#raft.hasReady() || (this.#raft.role === 'leader' && this.#reads.wantsRound)) this.#scheduleTurn();
    this.#finishStop();
  }

  /** The leader's own log takes what waits, and asks the others about the reads that wait. */
  #flushHere(): void {
    this.#flushProposals();
    this.#changes.append(this.#raft, this.#world.machine, this.#contacts);
    const context = this.#reads.beginRound();
    if (context !== undefined && this.#raft.readIndex(context) !== undefined) this.#reads.reopenRound();
  }

  /**
   * One Raft append and one write for all that came since the last. While a write is under way the next batch
   * accumulates: with a slower disk batches grow and the number of writes does not. While leadership is being handed over
   * everything waits for what comes of it, and while too much is uncommitted for room.
   */
  #flushProposals(): void {
    if (!this.#proposals.hasWaiting || this.#writer.inFlight > 0 || this.#raft.transferee !== NO_NODE) return;
    const batch = this.#proposals.takeBatch(this.#raft.term, this.#config.limits.batchBytesMax);
    if (batch.length === 0) return;
    const firstIndex = this.#raft.log.lastIndex + 1;
    const refusal = this.#raft.propose(batch.map((proposal) => proposal.data));
    if (refusal === undefined) this.#proposals.appended(batch, firstIndex, this.#raft.term);
    else this.#proposals.putBack(batch);
  }

  /**
   * Sends, writes and applies what one Ready holds. Sends first: a disk that writes on this thread is waited for while
   * the others write theirs (dissertation 10.2.1). True when it applied entries.
   */
  #drain(): boolean {
    const ready = this.#raft.ready();
    if (ready.messages.length > 0) this.#send(ready.messages, ready.committedEntries.at(-1)?.index ?? 0);
    if (ready.sequence > 0) {
      const content = ready.snapshot === undefined ? undefined : this.#snapshots.takeContent();
      this.#writer.write(ready, content);
    }
    for (const { context, index } of ready.readStates) this.#reads.confirmed(context, index);
    if (ready.committedEntries.length > 0) this.#apply(ready.committedEntries);
    return ready.committedEntries.length > 0;
  }

  /**
   * Who has requests of its own among the entries up to `committed` hears first, before they are applied here. Who has
   * none may hear of the commit with the next entries: that saves both sides a frame of every two.
   */
  #send(messages: readonly Message[], committed: number): void {
    const first: PeerMessage[] = [];
    const leaving: PeerMessage[] = [];
    const lingering: PeerMessage[] = [];
    const awaited = this.#raft.role === 'leader' ? this.#desk.takeAwaited(committed) : [];
    for (const raft of messages) {
      if (raft.type === MessageType.values.SNAPSHOT) this.#snapshots.offer(raft);
      else {
        const list = awaited.includes(raft.to) ? first : raft.quiet ? lingering : leaving;
        list.push({ from: raft.from, to: raft.to, raft, snapshot: 0n });
      }
    }
    const { transport } = this.#world;
    if (first.length > 0) transport.send(first, 'now');
    if (lingering.length > 0) transport.send(lingering, 'linger');
    if (leaving.length > 0) transport.send(leaving);
  }

  #apply(entries: readonly Entry[]): void {
    const { observer } = this.#world;
    observer?.applying(entries.at(-1)!.index);
    const page = this.#applier.page(entries);
    observer?.applied();
    // Who is answered may turn to the machine at once, which must know by then whether it leads.
    this.#followLeadership();
    page.answer();
    observer?.answered();
    if (page.failure !== undefined) this.#fail(page.failure);
    else {
      this.#commits.applied();
      this.requestWork();
      if (page.removed.includes(this.id)) this.#world.onRemoved?.();
    }
  }

  // ---- leadership

  /** Tells machine, readers and the process when leadership began or ended. */
  #followLeadership(): void {
    const leads = this.#raft.role === 'leader';
    const roleTerm = leads ? this.#raft.term : 0;
    if (roleTerm !== this.#roleTerm) {
      this.#roleTerm = roleTerm;
      this.#reads.reopenRound();
      this.#snapshots.roleChanged();
    }
    if (this.#raft.leader !== this.#knownLeader) {
      this.#knownLeader = this.#raft.leader;
      this.#world.onLeader?.(this.#knownLeader);
    }
    // Leases begin to run out only when the machine has seen all that earlier leaders committed.
    const term = leads && this.#world.machine.appliedIndex >= this.#raft.termStart ? this.#raft.term : 0;
    if (term === this.#leadingTerm) return;
    if (this.#leadingTerm > 0) {
      this.#duties.clear();
      this.#world.machine.setLeader(false);
    }
    this.#leadingTerm = term;
    if (term > 0) this.#world.machine.setLeader(true);
  }

  // ---- the end

  /** What cannot be gone on after: everyone waiting is told, nobody is told success any more. */
  #fail(error: RosterError): void {
    if (this.#state === 'failed' || this.#state === 'stopped') return;
    this.#state = 'failed';
    const stopped = rosterError('Stopped');
    this.#leader.refuseAll(stopped);
    this.#changes.refuseAll(stopped);
    this.#proposals.refuseAll(stopped);
    this.#reads.refuseAll(stopped);
    this.#handover.refuseAll(stopped);
    this.#snapshots.close();
    this.#world.onFatal(error);
    if (this.#stopDones.length > 0) this.#closeLog();
  }

  /** Stopping: once nothing is pending, makes the state durable and closes the log. */
  #finishStop(): void {
    if (this.#state === 'stopping' && !this.#inTurn) {
      const pending = this.#proposals.count + this.#reads.count + this.#leader.asks.count;
      if ((pending > 0 && this.#tick <= this.#stopDeadlineTick) || this.#writer.inFlight > 0) return;
      this.#state = 'closing';
      this.#handover.refuseAll(rosterError('Stopped'));
    }
    if (this.#state === 'closing' && this.#commits.finish()) this.#closeLog();
  }

  #closeLog(): void {
    if (this.#closeBegun) return;
    this.#closeBegun = true;
    this.#world.wal.close((error) => {
      this.#state = 'stopped';
      for (const done of this.#stopDones.splice(0)) done(error);
    });
  }
}
