/**
 * The driver of one member: takes requests, lets Raft order them, the log keep them and the machine apply them, and
 * answers. Owns the order of these steps: nothing leaves before what it promises is durable, and only committed entries
 * are applied, each once, without gaps. Never touches disk, network or clock but through its World.
 */
import { GrpcStatus, otherError, RosterError, rosterError } from '../errors.ts';
import { NO_NODE } from '../raft/config.ts';
import type { Message } from '../raft/messages.ts';
import { Raft } from '../raft/raft.ts';
import type { Ready } from '../raft/ready.ts';
import { assert } from '../util/assert.ts';
import { decode, encode } from '../wire/binary.ts';
import { type Entry, EntryType, InternalRequest } from '../wire/messages.ts';
import { BackendCommits } from './backend-commits.ts';
import { walFailure } from './failures.ts';
import { IdGenerator } from './id-generator.ts';
import { LeaseRevoker } from './lease-revoker.ts';
import type { ApplyResult } from './machine.ts';
import { answer, type Proposal, type ProposalDone, Proposals } from './proposals.ts';
import { type ReadDone, Reads } from './reads.ts';
import type { NodeConfig, RecoveredLog, World } from './world.ts';

/** Replication to one follower, as etcd's raft is set up: 1 MiB per message, 512 messages ahead, but 64 MiB at most. */
const APPEND_BYTES_MAX = 1024 * 1024;
const INFLIGHT_APPENDS_MAX = 512;
const INFLIGHT_BYTES_MAX = 64 * 1024 * 1024;

export interface NodeStatus {
  id: bigint;
  /** 0n while no leader is known. */
  leader: bigint;
  isLeader: boolean;
  term: number;
  commitIndex: number;
  appliedIndex: number;
}

/** A request without its id, which the node gives. */
export type ProposedRequest = Omit<InternalRequest, 'id'>;

export class Node {
  readonly #config: NodeConfig;
  readonly #world: World;
  readonly #raft: Raft;
  readonly #proposals: Proposals;
  readonly #reads: Reads;
  readonly #ids: IdGenerator;
  readonly #revoker: LeaseRevoker;
  readonly #commits: BackendCommits;
  readonly #timeoutTicks: number;

  #state: 'new' | 'running' | 'stopping' | 'closing' | 'stopped' | 'failed' = 'new';
  #stopDones: ((error?: Error) => void)[] = [];
  #closeBegun = false;
  #tick = 0;
  #turnScheduled = false;
  #inTurn = false;
  #workScheduled = false;
  #writesInFlight = 0;
  /** The term in which the machine has been told that this node leads; 0: it has been told that it does not. */
  #leadingTerm = 0;
  /** The term this node led in when the reads were last looked at; 0: it did not lead. */
  #readTerm = 0;

  /** Throws a RosterError DATA_LOSS when log and state on disk do not belong together. */
  constructor(config: NodeConfig, world: World, recovered: RecoveredLog) {
    const { limits } = config;
    this.#config = config;
    this.#world = world;
    this.#timeoutTicks = Math.ceil(config.requestTimeoutMs / config.tickMs);
    this.#raft = new Raft(
      {
        id: config.id,
        voters: config.voters,
        electionTicks: Math.max(2, Math.round(config.electionMs / config.tickMs)),
        heartbeatTicks: 1,
        preVote: config.preVote,
        checkQuorum: config.checkQuorum,
        prng: world.prng,
        uncommittedBytesMax: limits.proposalBytesPendingMax,
        committedEntriesPerReadyMax: limits.applyEntriesMax,
        committedBytesPerReadyMax: limits.applyBytesMax,
        appendBytesMax: APPEND_BYTES_MAX,
        inflightAppendsMax: INFLIGHT_APPENDS_MAX,
        inflightBytesMax: INFLIGHT_BYTES_MAX,
        readsPendingMax: 1,
      },
      {
        hardState: recovered.hardState,
        entries: recovered.entries,
        firstIndex: recovered.prevIndex + 1,
        prevTerm: recovered.prevTerm,
        appliedIndex: world.machine.appliedIndex,
      },
    );
    this.#proposals = new Proposals(limits);
    this.#reads = new Reads(limits.readsPendingMax);
    this.#ids = new IdGenerator(config.id, world.clock.nowMs());
    this.#revoker = new LeaseRevoker(
      limits,
      config.tickMs,
      (limit) => world.machine.expiredLeases(limit),
      (lease, done) => this.propose({ lease_revoke: { ID: lease } }, done),
    );
    this.#commits = new BackendCommits(limits, world, this.#raft, {
      failed: (error) => this.#fail(error),
      done: () => this.#finishStop(),
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
      term: this.#raft.term,
      commitIndex: this.#raft.committed,
      appliedIndex: this.#world.machine.appliedIndex,
    };
  }

  // ---- the public face

  /** Begins: replays what the log has beyond the machine's state, in slices; a sole voter elects itself at once. */
  start(): void {
    assert(this.#state === 'new', 'node: started twice');
    this.#state = 'running';
    if (this.#config.voters.length === 1) this.#raft.campaign();
    this.#scheduleTurn();
  }

  /**
   * Replicates `request`, which belongs to the node from now on. `done` is called once: with the machine's result, after
   * the entry is durable on a majority and applied here; or with an error, perhaps before this returns. RequestTooLarge,
   * RequestTooManyRequests and NotLeader mean that nothing happened; after Timeout, or Stopped of an accepted request,
   * the outcome is unknown. While no leader is known, requests wait.
   */
  propose(request: ProposedRequest, done: ProposalDone): void {
    if (this.#state !== 'running') {
      done(rosterError('Stopped'));
      return;
    }
    const { limits } = this.#config;
    const full = request as InternalRequest;
    full.id = this.#ids.next();
    const data = encode(InternalRequest, full);
    if (data.length > limits.requestBytesMax) {
      done(rosterError('RequestTooLarge'));
      return;
    }
    if (this.#proposals.isFull(data.length) || this.#raft.log.bytes + this.#proposals.bytes > limits.logBytesMax) {
      done(rosterError('RequestTooManyRequests'));
      return;
    }
    this.#proposals.add({ request: full, data, done, deadlineTick: this.#tick + this.#timeoutTicks });
    this.#scheduleTurn();
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
    const deadlineTick = this.#tick + this.#timeoutTicks;
    if (index !== undefined) this.#reads.waitApplied(index, done, deadlineTick);
    else {
      this.#reads.ask(done, deadlineTick);
      this.#scheduleTurn();
    }
  }

  /** Takes one message from another member. */
  step(message: Message): void {
    if (this.#isOver) return;
    this.#raft.step(message);
    this.#scheduleTurn();
  }

  /** Call every `tickMs`: elections, heartbeats, deadlines, expired leases, and the backend's commit. */
  tick(): void {
    if (this.#isOver || this.#state === 'new') return;
    this.#tick++;
    this.#raft.tick();
    this.#turn();
    if (this.#isOver) return;
    this.#proposals.expire(this.#tick);
    this.#reads.expire(this.#tick);
    if (this.#leadingTerm > 0 && this.#state === 'running') this.#revoker.tick();
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
      if (!this.#isOver && this.#world.machine.work()) this.requestWork();
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
      this.#revoker.clear();
      this.#finishStop();
    }
  }

  // ---- one turn

  get #isOver(): boolean {
    return this.#state === 'failed' || this.#state === 'closing' || this.#state === 'stopped';
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
    this.#flushProposals();
    this.#flushReads();
    for (let applied = false; !applied && !this.#isOver && this.#raft.hasReady(); ) applied = this.#drain();
    this.#inTurn = false;
    if (this.#isOver) return;
    this.#followLeadership();
    if (this.#raft.hasReady() || (this.#raft.role === 'leader' && this.#reads.wantsRound)) this.#scheduleTurn();
    this.#finishStop();
  }

  /**
   * One Raft append and one write for all that came since the last. While a write is under way the next batch
   * accumulates: with a slower disk batches grow and the number of writes does not.
   */
  #flushProposals(): void {
    if (!this.#proposals.hasWaiting || this.#writesInFlight > 0) return;
    if (this.#raft.role !== 'leader') {
      if (this.#raft.leader !== NO_NODE) this.#proposals.refuseWaiting(rosterError('NotLeader'));
      return;
    }
    const batch = this.#proposals.takeBatch();
    const firstIndex = this.#raft.log.lastIndex + 1;
    const refusal = this.#raft.propose(batch.map((proposal) => proposal.data));
    if (refusal === undefined) this.#proposals.appended(batch, firstIndex, this.#raft.term);
    else this.#proposals.refuse(batch, refusal);
  }

  #flushReads(): void {
    if (this.#raft.role !== 'leader') {
      if (this.#raft.leader !== NO_NODE) this.#reads.refuseAsking(rosterError('NotLeader'));
      return;
    }
    const context = this.#reads.beginRound();
    if (context === undefined) return;
    const refusal = this.#raft.readIndex(context);
    if (refusal !== undefined) this.#reads.abortRound(refusal);
  }

  /** Writes, sends and applies what one Ready holds. True when it applied entries. */
  #drain(): boolean {
    const ready = this.#raft.ready();
    if (ready.sequence > 0) this.#write(ready);
    if (ready.messages.length > 0) this.#world.transport.send(ready.messages);
    for (const { context, index } of ready.readStates) this.#reads.confirmed(context, index);
    if (ready.committedEntries.length > 0) this.#apply(ready.committedEntries);
    if (this.#isOver) return true;
    this.#reads.applied(this.#world.machine.appliedIndex);
    return ready.committedEntries.length > 0;
  }

  #write(ready: Ready): void {
    this.#writesInFlight++;
    this.#world.wal.append(ready.entries, ready.hardState, (error) => {
      if (this.#state === 'failed') return;
      if (error !== undefined) {
        this.#fail(walFailure(error));
        return;
      }
      this.#writesInFlight--;
      this.#raft.persisted(ready.sequence);
      this.#turn();
    });
  }

  /** Applies one page, then answers all who wait for its entries in one go, so that their replies leave together. */
  #apply(entries: readonly Entry[]): void {
    const { machine } = this.#world;
    const answered: Proposal[] = [];
    const results: ApplyResult[] = [];
    let failure: RosterError | undefined;
    for (const entry of entries) {
      const { index, term } = entry;
      assert(index === machine.appliedIndex + 1, 'node: entries are applied in order, none left out');
      assert(index <= this.#raft.committed && index <= this.#raft.log.stable, 'node: applying what a crash could undo');
      const proposal = this.#proposals.take(index, term);
      const request = proposal === undefined ? decodeRequest(entry) : proposal.request;
      if (request instanceof RosterError) {
        failure = request;
        break;
      }
      const result = machine.apply(index, term, request);
      assert(machine.appliedIndex === index, 'node: the machine did not apply the entry');
      this.#raft.applied(index);
      if (proposal === undefined) continue;
      assert(result !== undefined, 'node: a request without a result');
      answered.push(proposal);
      results.push(result);
    }
    // Who is answered may turn to the machine at once, which must know by then whether it leads.
    this.#followLeadership();
    for (const [i, proposal] of answered.entries()) answer(proposal, results[i]!);
    if (failure !== undefined) this.#fail(failure);
    else {
      this.#commits.applied();
      this.requestWork();
    }
  }

  // ---- leadership

  /** Tells machine and readers when leadership began or ended. */
  #followLeadership(): void {
    const leads = this.#raft.role === 'leader';
    const readTerm = leads ? this.#raft.term : 0;
    if (readTerm !== this.#readTerm) {
      this.#readTerm = readTerm;
      this.#reads.abortRound(rosterError('LeaderChanged'));
    }
    // Leases begin to run out only when the machine has seen all that earlier leaders committed.
    const term = leads && this.#world.machine.appliedIndex >= this.#raft.termStart ? this.#raft.term : 0;
    if (term === this.#leadingTerm) return;
    if (this.#leadingTerm > 0) {
      this.#revoker.clear();
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
    this.#proposals.refuseAll(rosterError('Stopped'));
    this.#reads.refuseAll(rosterError('Stopped'));
    this.#world.onFatal(error);
    if (this.#stopDones.length > 0) this.#closeLog();
  }

  /** Stopping: once nothing is pending, makes the state durable and closes the log. */
  #finishStop(): void {
    if (this.#state === 'stopping' && !this.#inTurn) {
      if (this.#proposals.count > 0 || this.#reads.count > 0 || this.#writesInFlight > 0) return;
      this.#state = 'closing';
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

/** The request in an entry that this process did not propose; `undefined` for an entry that is none. */
function decodeRequest(entry: Entry): InternalRequest | undefined | RosterError {
  if (entry.type !== EntryType.values.NORMAL || entry.data.length === 0) return undefined;
  try {
    return decode(InternalRequest, entry.data);
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    return otherError(
      GrpcStatus.DATA_LOSS,
      `entry ${entry.index} of the log holds no request that this version understands: ${error.message}`,
      { cause: error },
    );
  }
}
