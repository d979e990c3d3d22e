/**
 * The replicated state machine: entries of the log in, results out, the same on every replica. Owns the store, the leases,
 * the members, the users and the watches of a node, and the record of how far the log has been applied, which becomes
 * durable in the same commit as its effects. Never looks at a clock to decide what an entry does.
 */
import { AuthStore } from '../auth/auth-store.ts';
import { entryRefusal } from '../auth/needs.ts';
import { RosterError, rosterError } from '../errors.ts';
import type { Lessor } from '../lease/lessor.ts';
import { Membership } from '../membership/membership.ts';
import { checkMemberChange, type MembershipLimits } from '../membership/rules.ts';
import type { Backend } from '../mvcc/backend.ts';
import type { StoreSource } from '../mvcc/held-store.ts';
import type { KvHashResult } from '../mvcc/kv-hash.ts';
import type { Staging } from '../mvcc/staging.ts';
import type { MvccStore } from '../mvcc/store.ts';
import type {
  ApplyResult,
  ClusterView,
  CommitWish,
  Machine,
  StatePoint,
  StateReader,
  StateWriter,
} from '../node/machine.ts';
import type { ConfChange } from '../raft/conf-change.ts';
import type { ConfState } from '../raft/messages.ts';
import { assert } from '../util/assert.ts';
import { V2Counts } from '../v2/counts.ts';
import { type V2Query, V2Reader } from '../v2/reader.ts';
import { applyV2, expireNode, leasedNode } from '../v2/write.ts';
import type { WatchHub } from '../watch/watch-hub.ts';
import { decode } from '../wire/binary.ts';
import type {
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  LeaseTimeToLiveResponse,
  Member,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from '../wire/messages.ts';
import {
  type InternalRequest,
  type LeaseCheckpoint,
  type LeaseCheckpointRequest,
  MemberChange,
  type V2Request,
} from '../wire/stored.ts';
import { Alarms } from './alarms.ts';
import { type Applied, nothingApplied, writeApplied } from './applied.ts';
import { applyAuthRequest } from './auth-requests.ts';
import { deleteRangeOp, putOp } from './changes.ts';
import { ChildrenReader, type ChildrenRequest } from './children-reader.ts';
import { CompactionPace } from './compaction-pace.ts';
import { LEASE_BYTES } from './cost.ts';
import { Hashes } from './hashes.ts';
import { headerAt } from './header.ts';
import {
  applyClusterVersion,
  applyDowngrade,
  applyMemberAttributes,
  applyMemberChange,
  applyMemberUpdate,
  type Done,
} from './member-requests.ts';
import { rangeResponse } from './range.ts';
import { RangeReader } from './range-reader.ts';
import { clearSnapshotMark, type SnapshotMark } from './snapshot-mark.ts';
import { Snapshots } from './snapshots.ts';
import { type OpenState, type RestoredState, restoreState, type State } from './state.ts';
import { applyTxn, readTxn } from './txn.ts';

export interface StateMachineOptions {
  state: State;
  /** Makes the state of another backend, which may take the place of `state` later. */
  open: OpenState;
  staging: Staging | undefined;
  hub: WatchHub;
  /** What every lease gets on top of its TTL when this node begins to lead: an election timeout. */
  leaseExtensionMs: number;
  /** See STAGED_COMMIT_BYTES. */
  stagedCommitBytes: number;
  membershipLimits: MembershipLimits;
}

/** What {@link StateMachine.bootstrap} has written is not recorded yet. */
const NEVER_RECORDED = -1;

export class StateMachine implements Machine {
  readonly hub: WatchHub;
  /** The same object for good: it follows the state that a snapshot brings. */
  readonly membership: Membership;
  /** Like {@link membership}. */
  readonly auth: AuthStore;
  /** The same. */
  readonly alarms: Alarms;
  /** Called when {@link work} has something to do again after it had nothing. */
  onWork: (() => void) | undefined;
  /** Called when a compaction begins to remove old revisions, and when the last of them is removed. */
  onCompaction: ((underWay: boolean) => void) | undefined;
  /** What leases have come to in this process, for metrics. */
  readonly leaseCounts = { granted: 0, revoked: 0, renewed: 0 };
  /** What v2 operations have come to in this process. */
  readonly v2Counts = new V2Counts();
  readonly #leaseExtensionMs: number;
  readonly #membershipLimits: MembershipLimits;
  readonly #snapshots: Snapshots;
  readonly #hashes = new Hashes();
  readonly #compaction = new CompactionPace({
    state: () => this.#state,
    commit: (done) => this.commit(done),
    onWork: () => this.onWork?.(),
    onUnderWay: (underWay) => this.onCompaction?.(underWay),
  });
  #state: State;
  #applied: Applied = nothingApplied();
  #snapshotMark: SnapshotMark | undefined;
  /** The index that the last call of commit recorded. */
  #recordedIndex = 0;
  /** What {@link work} does, by turns, so that none of it holds up the others. */
  readonly #background: readonly { waiting(): boolean; work(): void }[];
  #workTurn = 0;
  readonly #source: StoreSource = { store: () => this.store, hold: () => this.#compaction.hold() };

  /** See createStateMachine. On a backend that is not empty, {@link restore} must be run to its end first. */
  constructor(options: StateMachineOptions) {
    this.#state = options.state;
    this.hub = options.hub;
    this.membership = new Membership(options.state.backend);
    this.auth = new AuthStore(options.state.backend);
    this.alarms = new Alarms(options.state.backend);
    this.#leaseExtensionMs = options.leaseExtensionMs;
    this.#membershipLimits = options.membershipLimits;
    this.#snapshots = new Snapshots(options.state.backend, {
      staging: options.staging,
      open: options.open,
      commitBytes: options.stagedCommitBytes,
      onInstalled: (state, restored) => this.#replaceState(state, restored),
      onWork: () => this.onWork?.(),
    });
    this.#background = [
      { waiting: () => this.#snapshots.waiting, work: () => this.#snapshots.work() },
      { waiting: () => this.#compaction.waiting, work: () => this.#compaction.work() },
      { waiting: () => this.hub.waiting, work: () => void this.hub.work() },
      { waiting: () => this.#hashes.waiting, work: () => this.#hashes.work(this.#state) },
    ];
  }

  /** The backend in force. Like store and lessor another one after a snapshot was installed: not to be kept. */
  get backend(): Backend {
    return this.#state.backend;
  }

  /** See {@link backend}. */
  get store(): MvccStore {
    return this.#state.store;
  }

  /** See {@link backend}. */
  get lessor(): Lessor {
    return this.#state.lessor;
  }

  /**
   * Reads the state from the backend, some milliseconds' worth per step; yields how many rows it has read of what it
   * is reading. Throws a RosterError when what is there contradicts itself.
   */
  *restore(): Generator<number, void> {
    assert(this.#applied.index === 0, 'a state is restored once, before anything is applied');
    this.#take(yield* restoreState(this.#state));
  }

  /**
   * The very first state of a member, before it has a log: the members it starts with, and who of them votes (nobody, if
   * a snapshot is to tell). To be committed before the log is made.
   */
  bootstrap(members: readonly Member[], conf: ConfState): void {
    assert(this.#applied.conf.voters.length === 0, 'a member is bootstrapped once');
    this.membership.bootstrap(members);
    this.#applied.conf = conf;
    this.#recordedIndex = NEVER_RECORDED;
  }

  get appliedIndex(): number {
    return this.#applied.index;
  }

  /** Term of the last applied entry. */
  get appliedTerm(): number {
    return this.#applied.term;
  }

  get confState(): ConfState {
    return this.#applied.conf;
  }

  /** The state came as a snapshot and nobody has said since that the log has followed: see core/log/after-snapshot.ts. */
  get snapshotMark(): SnapshotMark | undefined {
    return this.#snapshotMark;
  }

  // ---- Machine

  apply(index: number, term: number, request: InternalRequest | undefined): ApplyResult | undefined {
    this.#assertNext(index, term);
    const result = request === undefined ? undefined : this.#run(request, index);
    this.#applied.index = index;
    this.#applied.term = term;
    return result;
  }

  applyConfChange(index: number, term: number, change: ConfChange, conf: ConfState): ApplyResult | undefined {
    this.#assertNext(index, term);
    const { context } = change;
    const result = context.length === 0 ? undefined : applyMemberChange(this.membership, decode(MemberChange, context));
    this.#applied = { index, term, conf };
    this.#forgetAlarms();
    return result;
  }

  checkMemberChange(change: MemberChange, view: ClusterView): RosterError | undefined {
    return checkMemberChange(this.membership, change, view, this.#membershipLimits);
  }

  setLeader(leading: boolean): void {
    this.lessor.setPrimary(leading, this.#leaseExtensionMs);
  }

  get pendingWrites(): number {
    return this.backend.pendingWrites + (this.#applied.index === this.#recordedIndex ? 0 : 1);
  }

  get pendingRemovals(): number {
    return this.#compaction.pendingRemovals;
  }

  get commitWish(): CommitWish {
    return this.#compaction.commitWish;
  }

  commit(done: (error?: Error) => void): void {
    if (this.#applied.index !== this.#recordedIndex) {
      writeApplied(this.backend, this.#applied);
      this.#recordedIndex = this.#applied.index;
    }
    this.backend.commit(done);
    this.#compaction.committing();
  }

  expiredLeases(limit: number): bigint[] {
    return this.lessor.expired(limit);
  }

  leaseCheckpoints(limit: number): LeaseCheckpoint[] {
    return this.lessor.checkpoints(limit);
  }

  renewLease(id: bigint): number | undefined {
    this.leaseCounts.renewed++;
    return this.lessor.renew(id);
  }

  leaseTimeToLive(id: bigint, keys: boolean): LeaseTimeToLiveResponse {
    const life = this.lessor.timeToLive(id);
    return {
      header: headerAt(this.store.revision),
      ID: id,
      TTL: life?.remainingSeconds ?? -1,
      grantedTTL: life?.ttlSeconds ?? 0,
      keys: life !== undefined && keys ? life.keys() : [],
    };
  }

  work(): boolean {
    const kinds = this.#background;
    for (let tried = 0; tried < kinds.length; tried++) {
      this.#workTurn = (this.#workTurn + 1) % kinds.length;
      const kind = kinds[this.#workTurn]!;
      if (!kind.waiting()) continue;
      kind.work();
      break;
    }
    return kinds.some((kind) => kind.waiting());
  }

  read(): StateReader {
    return this.#snapshots.read();
  }

  receive(): StateWriter {
    return this.#snapshots.receive();
  }

  install(writer: StateWriter, point: StatePoint, done: (error?: Error) => void): void {
    this.#snapshots.install(writer, point, done);
  }

  installed(): void {
    assert(this.#snapshotMark !== undefined, 'a snapshot has been installed');
    this.#snapshotMark = undefined;
    clearSnapshotMark(this.backend);
  }

  /** Whether a compaction has old revisions yet to remove. */
  get compacting(): boolean {
    return this.#compaction.underWay;
  }

  /** Bytes of all rows that grow with use, history included: what the quota is about. */
  get usedBytes(): number {
    const { live, history } = this.store.bytes;
    return live + history + this.lessor.size * LEASE_BYTES;
  }

  // ---- reads, for the RPCs

  /** `request` has passed checkRange. */
  range(request: RangeRequest): RangeResponse | RosterError {
    return rangeResponse(this.store, request);
  }

  /** The same a little at a time: see {@link RangeReader}. */
  rangeReader(request: RangeRequest): RangeReader | RosterError {
    return RangeReader.open(this.#source, request);
  }

  /** What lies one level below a prefix, a little at a time: see {@link ChildrenReader}. */
  childrenReader(request: ChildrenRequest): ChildrenReader | RosterError {
    return ChildrenReader.open(this.#source, request);
  }

  /** `request` has passed checkTxn and isReadOnly. */
  readTxn(request: TxnRequest): TxnResponse | RosterError {
    return readTxn(this.store, request);
  }

  /** A file or directory as the v2 API shows it, a little at a time: see {@link V2Reader}. To be closed. */
  v2Reader(query: V2Query): V2Reader {
    return new V2Reader(this.#source, query);
  }

  /** Calls `done` when everything that a compaction at `revision`, already applied, frees is gone from the disk. */
  whenCompacted(revision: number, done: (error?: Error) => void): void {
    assert(revision <= this.store.compactRevision, 'the compaction has been applied');
    this.#compaction.whenDone(done);
  }

  /** See KvHash; `revision` 0 is the current one. Compacted, FutureRev, RequestTooManyRequests. */
  hashKeys(revision: number, done: (result: KvHashResult | RosterError) => void): void {
    if (this.#hashes.isFull) done(rosterError('RequestTooManyRequests'));
    else this.#addHash(() => this.#hashes.add({ kind: 'keys', revision, done }));
  }

  /** See BackendHash: of all that has been applied by now. RequestTooManyRequests. */
  hashBackend(done: (result: number | RosterError) => void): void {
    this.commit((error) => {
      if (error !== undefined) done(rosterError('Stopped'));
      else if (this.#hashes.isFull) done(rosterError('RequestTooManyRequests'));
      else this.#addHash(() => this.#hashes.add({ kind: 'backend', done }));
    });
  }

  // ---- inner

  #addHash(add: () => void): void {
    add();
    this.onWork?.();
  }

  #assertNext(index: number, term: number): void {
    assert(index === this.#applied.index + 1, 'entries are applied once each, in order');
    assert(term >= this.#applied.term, 'terms never go back');
  }

  /** The state in force is now at the place that its backend told. */
  #take({ applied, pending }: RestoredState): void {
    this.#applied = applied;
    this.#recordedIndex = applied.index;
    this.#snapshotMark = pending;
    this.membership.restore(this.backend);
    this.auth.restore(this.backend);
    this.alarms.restore(this.backend);
    this.#compaction.resume();
  }

  #replaceState(state: State, restored: RestoredState): void {
    assert(restored.applied.index > this.#applied.index, 'a snapshot leads forward');
    assert(!this.lessor.primary, 'a leader installs no snapshot');
    this.#state = state;
    this.#take(restored);
    this.hub.replaceStore(state.store);
    this.#hashes.restart();
    this.onWork?.();
  }

  /** Of members that are gone. */
  #forgetAlarms(): void {
    for (const { memberID } of this.alarms.list()) {
      if (this.membership.isRemoved(memberID)) this.alarms.forget(memberID);
    }
  }

  /** Whether it may is decided here, by the state in its place in the log: the same on every replica. */
  #run(request: InternalRequest, index: number): ApplyResult {
    const refusal = this.auth.enabled ? entryRefusal(this.auth, request, this.lessor) : undefined;
    return refusal ?? this.alarms.refusal(request) ?? this.#dispatch(request, index);
  }

  #dispatch(request: InternalRequest, index: number): ApplyResult {
    if (request.put !== undefined) return this.#put(request.put);
    if (request.txn !== undefined) return applyTxn(this.store, this.lessor, request.txn);
    if (request.delete_range !== undefined) return this.#deleteRange(request.delete_range);
    if (request.lease_grant !== undefined) return this.#leaseGrant(request.lease_grant);
    if (request.lease_revoke !== undefined) return this.#leaseRevoke(request.lease_revoke);
    if (request.v2 !== undefined) return this.#v2(request.v2, request.id);
    if (request.compaction !== undefined) return this.#compact(request.compaction);
    if (request.lease_checkpoint !== undefined) return this.#leaseCheckpoint(request.lease_checkpoint);
    if (request.member_update !== undefined) return applyMemberUpdate(this.membership, request.member_update);
    if (request.member_attributes !== undefined)
      return applyMemberAttributes(this.membership, request.member_attributes);
    if (request.alarm !== undefined) return this.alarms.apply(request.alarm, this.store.revision);
    if (request.downgrade !== undefined) return applyDowngrade(this.membership, request.downgrade);
    if (request.cluster_version !== undefined) return applyClusterVersion(this.membership, request.cluster_version);
    const result = applyAuthRequest(this.auth, request, index, this.store.revision);
    assert(result !== undefined, 'an entry holds a request this version knows');
    return result;
  }

  #put(request: PutRequest): PutResponse | RosterError {
    if (request.lease !== 0n && !this.lessor.has(request.lease)) return rosterError('LeaseNotFound');
    const writer = this.store.write();
    const result = putOp(writer, request);
    writer.end();
    return result;
  }

  #deleteRange(request: DeleteRangeRequest): DeleteRangeResponse {
    const begin = this.store.revision;
    const writer = this.store.write();
    const result = deleteRangeOp(writer, request, begin);
    writer.end();
    return result;
  }

  #v2(request: V2Request, id: bigint): object {
    const result = applyV2(this.#state, request, id);
    this.v2Counts.wrote(request.op, !(result instanceof RosterError) && 'action' in result);
    return result;
  }

  #compact({ revision }: CompactionRequest): CompactionResponse | RosterError {
    const refusal = this.store.compact(revision);
    if (refusal !== undefined) return rosterError(refusal);
    this.#compaction.begin();
    return { header: headerAt(this.store.revision) };
  }

  #leaseGrant(request: LeaseGrantRequest): LeaseGrantResponse | RosterError {
    const granted = this.lessor.grant(request.ID, request.TTL);
    if (granted instanceof RosterError) return granted;
    this.leaseCounts.granted++;
    return { header: headerAt(this.store.revision), ID: granted.id, TTL: granted.ttlSeconds, error: '' };
  }

  #leaseCheckpoint({ checkpoints }: LeaseCheckpointRequest): Done {
    for (const checkpoint of checkpoints) this.lessor.checkpoint(checkpoint);
    return { header: headerAt(this.store.revision) };
  }

  /** The keys go in byte order and in one revision; a lease without keys makes none. */
  #leaseRevoke(request: LeaseRevokeRequest): LeaseRevokeResponse | RosterError {
    const v2 = leasedNode(this.store, request.ID, this.lessor.keysOf(request.ID));
    const keys = this.lessor.revoke(request.ID);
    if (keys instanceof RosterError) return keys;
    this.leaseCounts.revoked++;
    if (v2 !== undefined) {
      expireNode(this.#state, v2, keys);
      this.v2Counts.expired++;
    } else if (keys.length > 0) {
      const writer = this.store.write();
      for (const key of keys) writer.deleteRange(key, '');
      writer.end();
    }
    return { header: headerAt(this.store.revision) };
  }
}
