/**
 * What the node driver asks of the replicated state machine (implemented by core/apply). Everything here that an entry
 * leads to is deterministic: the same entries in the same order give the same state and the same results everywhere.
 */
import type { RosterError } from '../errors.ts';
import type { ConfChange } from '../raft/conf-change.ts';
import type { ConfState } from '../raft/messages.ts';
import type { ByteString } from '../util/bytes.ts';
import type { LeaseTimeToLiveResponse } from '../wire/messages.ts';
import type { InternalRequest, LeaseCheckpoint, MemberChange } from '../wire/stored.ts';

/**
 * The response message of the request's RPC (its header holds `revision` only), or the refusal every replica computes.
 */
export type ApplyResult = object | RosterError;

/** A place in the log, and the configuration there. */
export interface StatePoint {
  readonly index: number;
  readonly term: number;
  readonly conf: ConfState;
}

/** What only the leader can tell of the members; it counts as one of them. */
export interface ClusterView {
  /** The last entry of the leader's log. */
  readonly lastIndex: number;
  /** Whether the member has been heard from within an election timeout. */
  isActive(id: bigint): boolean;
  /** The last entry that the member is known to hold. */
  match(id: bigint): number;
}

/** A durable state that is being read out, whatever happens to the machine meanwhile. */
export interface StateReader {
  readonly point: StatePoint;
  /**
   * The rows after the place `from` ('' is the beginning), about `bytesMax` bytes of them but at least one, as
   * {@link StateWriter.write} takes them. `next` is where to go on; `undefined`: that was all.
   */
  read(from: ByteString, bytesMax: number): { rows: Uint8Array; next: ByteString | undefined };
  close(): void;
}

/** A state that is being received, apart from the one in force. */
export interface StateWriter {
  /** Takes rows in the order in which they were read. DATA_LOSS when they are none. */
  write(rows: Uint8Array): RosterError | undefined;
  /** True while the disk is behind and no more rows should be asked for. */
  readonly congested: boolean;
  /** Forgets everything. Not after {@link Machine.install}. */
  discard(): void;
}

/** What background work wants of the next commit, before which it does not go on: nothing; that it comes when due; at once. */
export type CommitWish = 'none' | 'due' | 'now';

export interface Machine {
  /** Index of the last entry whose effects are in the state (after a restart: in the backend), and its term. */
  readonly appliedIndex: number;
  readonly appliedTerm: number;
  /** The configuration after entry `appliedIndex`. */
  readonly confState: ConfState;
  /** Applies entry `index` of `term`; index is appliedIndex + 1. `request` is undefined for empty entries. */
  apply(index: number, term: number, request: InternalRequest | undefined): ApplyResult | undefined;
  /**
   * Applies an entry that changes the configuration, to `conf`. Its result is a MemberAddResponse, MemberPromoteResponse
   * or MemberRemoveResponse; `undefined` when the entry has no context (it leaves a joint configuration).
   */
  applyConfChange(index: number, term: number, change: ConfChange, conf: ConfState): ApplyResult | undefined;
  /**
   * The leader's question before it puts `change` into its log, where nothing refuses it any more: etcd's rules for a
   * change of the members. No other change is under way.
   */
  checkMemberChange(change: MemberChange, view: ClusterView): RosterError | undefined;
  /** This node began (true) or ceased to lead: leases start or stop to expire. */
  setLeader(leading: boolean): void;
  /** Writes not yet durable in the backend, since the last commit. */
  readonly pendingWrites: number;
  /** Those of them that only take away what nobody can read any more: after a crash they are not missed. */
  readonly pendingRemovals: number;
  readonly commitWish: CommitWish;
  /** Makes the state up to appliedIndex durable in the background. An error is fatal. */
  commit(done: (error?: Error) => void): void;
  /** Leader only: leases whose time is up, at most `limit`, each once per retry interval. The node proposes their revocation. */
  expiredLeases(limit: number): bigint[];
  /** Leader only: what is left of long leases, at most `limit`, each once per checkpoint interval. The node proposes it. */
  leaseCheckpoints(limit: number): LeaseCheckpoint[];
  /** Leader only: the lease's full time again, in seconds; `undefined` when there is no such lease or it has run out. */
  renewLease(id: bigint): number | undefined;
  /** Leader only, since only it counts: what LeaseTimeToLive answers. */
  leaseTimeToLive(id: bigint, keys: boolean): LeaseTimeToLiveResponse;
  /** One short slice of background work (compaction, watchers that catch up). True when more is waiting. */
  work(): boolean;

  // ---- snapshots

  /** The state that the last finished commit made durable. */
  read(): StateReader;
  /** A place for a state to be received. One at a time. */
  receive(): StateWriter;
  /**
   * Puts what `writer` has received in the place of the state. Durable first; `done` when it is in force: appliedIndex
   * is `point.index`. Until then the old state can be read. The state remembers that the log has not followed yet, until
   * {@link installed}. An error is fatal.
   */
  install(writer: StateWriter, point: StatePoint, done: (error?: Error) => void): void;
  /** The log begins after the installed state now: the next commit forgets that it had to. */
  installed(): void;
}
