/**
 * What the node driver asks of the replicated state machine (implemented by core/apply). Everything here is
 * deterministic: the same entries in the same order give the same state and the same results on every replica.
 */
import type { RosterError } from '../errors.ts';
import type { InternalRequest } from '../wire/messages.ts';

/**
 * The response message of the request's RPC (its header holds `revision` only), or the refusal every replica computes.
 */
export type ApplyResult = object | RosterError;

export interface Machine {
  /** Index of the last entry whose effects are in the state (after a restart: in the backend). */
  readonly appliedIndex: number;
  /** Applies entry `index` of `term`; index is appliedIndex + 1. `request` is undefined for empty and configuration entries. */
  apply(index: number, term: number, request: InternalRequest | undefined): ApplyResult | undefined;
  /** This node began (true) or ceased to lead: leases start or stop to expire. */
  setLeader(leading: boolean): void;
  /** Writes not yet durable in the backend, since the last commit. */
  readonly pendingWrites: number;
  /** Makes the state up to appliedIndex durable in the background. An error is fatal. */
  commit(done: (error?: Error) => void): void;
  /** Leader only: leases whose time is up, at most `limit`, each once per retry interval. The node proposes their revocation. */
  expiredLeases(limit: number): bigint[];
  /** One short slice of background work (compaction, watchers that catch up). True when more is waiting. */
  work(): boolean;
}
