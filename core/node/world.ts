/**
 * Everything a node needs from outside, and its settings: disk, network, time, chance, limits. The server gives real
 * ones, the simulator and the tests give their own. Interfaces and numbers only.
 */
import type { RosterError } from '../errors.ts';
import type { RaftPrng } from '../raft/config.ts';
import type { Crc32 } from '../util/crc32.ts';
import type { Entry, HardState } from '../wire/stored.ts';
import type { Machine } from './machine.ts';
import type { PeerMessage } from './peer-message.ts';

/** The write-ahead log as the node sees it (core/log/wal.ts). */
export interface NodeWal {
  /**
   * One durable write: the entries, replacing whatever the log has from entries[0].index on, then the hard state. Calls
   * are finished in order; `done` is never called before `append` has returned. An error is final.
   */
  append(entries: readonly Entry[], hardState: HardState | undefined, done: (error?: Error) => void): void;
  /**
   * Drops the whole log: it goes on after entry `index` of `term`, which an installed snapshot includes. Like `append`, in
   * the order of the calls.
   */
  reset(index: number, term: number, hardState: HardState, done: (error?: Error) => void): void;
  /** Entries up to and including `index` will not be asked for again. */
  release(index: number): void;
  /** Waits for writes under way. */
  close(done: (error?: Error) => void): void;
}

/** What the write-ahead log held at start. */
export interface RecoveredLog {
  /** `undefined` for a log that never had one. */
  hardState: HardState | undefined;
  /** The place before the first entry; 0 and 0 for a log from its beginning. */
  prevIndex: number;
  prevTerm: number;
  entries: readonly Entry[];
}

/**
 * When messages leave. `now`: somebody waits for them, they do not wait for what else this piece of work has to send;
 * `soon`: with all of this piece of work; `linger`: nobody waits, they go with the next that leaves for the same member, or
 * a moment later by themselves.
 */
export type Pace = 'now' | 'soon' | 'linger';

export interface Transport {
  /** Takes messages for other members, by default `soon`. Any of them may be lost, late, doubled or out of order. */
  send(messages: readonly PeerMessage[], pace?: Pace): void;
}

/** Told of the node's steps as they happen, to measure them. It must do nothing else. */
export interface NodeObserver {
  /** Committed entries up to `lastIndex` are about to be applied. */
  applying(lastIndex: number): void;
  /** They have been applied. */
  applied(): void;
  /** All who waited for them have been told. */
  answered(): void;
}

export interface World {
  wal: NodeWal;
  machine: Machine;
  transport: Transport;
  /** Runs `run` once, soon: when everything that arrived in this turn of the event loop has been taken in. */
  schedule(run: () => void): void;
  /** Runs `run` once, when requests that are already waiting have had their turn. */
  scheduleIdle(run: () => void): void;
  /** Checks the chunks of snapshots. */
  crc32: Crc32;
  /** Wall-clock milliseconds; only makes request ids of different runs differ. */
  clock: { nowMs(): number };
  prng: RaftPrng;
  /** This node cannot go on and must be stopped by the process that owns it. Called at most once. */
  onFatal(error: RosterError): void;
  /** This node has applied its own removal from the cluster: it has no part in it any more and is to be stopped. */
  onRemoved?(): void;
  observer?: NodeObserver;
  /** Another leader is known, or none (0n). */
  onLeader?(leader: bigint): void;
}

export interface NodeLimits {
  /** Encoded bytes of one request (etcd: --max-request-bytes). */
  requestBytesMax: number;
  /** Requests that wait for their result, and their bytes. */
  proposalsPendingMax: number;
  proposalBytesPendingMax: number;
  /** Bytes of requests that go into the log in one batch, so into one write (at least one request). */
  batchBytesMax: number;
  /** Reads that wait for their turn. */
  readsPendingMax: number;
  /** Bytes of log in memory. Full only when the backend cannot keep up; then new requests are refused. */
  logBytesMax: number;
  /** Entries applied in one turn of the event loop, and their bytes (at least one entry). */
  applyEntriesMax: number;
  applyBytesMax: number;
  /** Writes the backend may be behind before it is told to commit between two ticks. */
  commitWritesMax: number;
  /** The same in bytes of log, which is in memory until then. */
  commitBytesMax: number;
  /**
   * Ticks between two commits of the backend. The log has made every change durable already, so this only bounds what a
   * restart has to replay; each commit is a sync that competes with the log's own.
   */
  commitTicks: number;
  /** The same while the machine waits for one (Machine.commitWish). */
  wishedCommitTicks: number;
  /** Log entries and bytes kept behind the durable state for followers that are a little late. */
  catchupEntries: number;
  catchupBytesMax: number;
  /** Bytes of log kept for a follower that needs more than that and is on its way. */
  followerBytesMax: number;
  /** Rows in one chunk of a snapshot, in bytes (at least one row). */
  snapshotChunkBytes: number;
  /** Revocations of expired leases proposed in one second, and proposed at the same time. */
  revokesPerSecondMax: number;
  revokesInFlightMax: number;
}

const MIB = 1024 * 1024;

export const NODE_LIMITS: Readonly<NodeLimits> = {
  requestBytesMax: 1.5 * MIB,
  proposalsPendingMax: 20_000,
  proposalBytesPendingMax: 256 * MIB,
  batchBytesMax: 8 * MIB,
  readsPendingMax: 100_000,
  logBytesMax: 1024 * MIB,
  applyEntriesMax: 1000,
  applyBytesMax: 4 * MIB,
  commitWritesMax: 10_000,
  commitBytesMax: 32 * MIB,
  commitTicks: 1,
  wishedCommitTicks: 1,
  catchupEntries: 5000,
  catchupBytesMax: 64 * MIB,
  followerBytesMax: 256 * MIB,
  snapshotChunkBytes: 64 * 1024,
  revokesPerSecondMax: 1000,
  revokesInFlightMax: 16,
};

export interface NodeConfig {
  id: bigint;
  /** Milliseconds between two calls of `tick` (etcd: --heartbeat-interval). */
  tickMs: number;
  /** Milliseconds without a leader before an election (etcd: --election-timeout). */
  electionMs: number;
  /** Milliseconds after which a request without a result is answered "timed out"; its outcome stays unknown. */
  requestTimeoutMs: number;
  preVote: boolean;
  checkQuorum: boolean;
  limits: NodeLimits;
}

/** etcd's defaults: heartbeat 100 ms, election 1 s, requests 5 s + 2 elections. */
export function nodeConfig(id: bigint, changes: Partial<NodeConfig> = {}): NodeConfig {
  const electionMs = changes.electionMs ?? 1000;
  return {
    id,
    tickMs: 100,
    electionMs,
    requestTimeoutMs: 5000 + 2 * electionMs,
    preVote: true,
    checkQuorum: true,
    limits: NODE_LIMITS,
    ...changes,
  };
}
