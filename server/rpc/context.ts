/**
 * What every RPC handler works on: the node that replicates, the machine that holds the state, and who this member is.
 * Owns the completion of response headers.
 */
import type { StateMachine } from '../../core/apply/state-machine.ts';
import { RosterError, rosterError } from '../../core/errors.ts';
import type { Node, ProposedRequest } from '../../core/node/node.ts';
import type { Member, ResponseHeader } from '../../core/wire/messages.ts';
import { Security } from '../security/security.ts';
import type { SpaceQuota } from './quota.ts';
import type { CallContext, CheckDone, UnaryDone } from './service.ts';

export interface Identity {
  readonly clusterId: bigint;
  readonly memberId: bigint;
}

export interface RpcContext {
  readonly identity: Identity;
  readonly node: Node;
  readonly machine: StateMachine;
  readonly security: Security;
  /** Members of the cluster, as far as this one knows, sorted by ID. */
  members(): Member[];
  /** Whether this member is a learner: it answers hardly anything then (see guard.ts). */
  isLearner(): boolean;
  readonly limits: RpcLimits;
  /** Fires when the server stops: whoever waits for something that may never come is told. */
  readonly stopping?: AbortSignal;
  /** Answers that were complete at once, since the start: long ones give way to them (give-way.ts). */
  readonly answers: { count: number };
  /** Absent: the store may grow without limit. */
  readonly quota?: SpaceQuota;
}

/** gRPC takes messages this much over the request limit, so that the refusal can be the store's own (etcd: grpcOverheadBytes). */
export const GRPC_OVERHEAD_BYTES = 512 * 1024;

export interface RpcLimits {
  maxTxnOps: number;
  maxRequestBytes: number;
  /** See --election-timeout; etcd's default when absent. */
  electionMs?: number;
}

/** A context whose members are those of the machine. Security is as with etcd's defaults unless it is given. */
export function rpcContext(
  parts: Pick<RpcContext, 'identity' | 'node' | 'machine' | 'limits' | 'quota' | 'stopping'> & { security?: Security },
): RpcContext {
  const { membership } = parts.machine;
  return {
    ...parts,
    answers: { count: 0 },
    security: parts.security ?? new Security(parts),
    members: () => membership.members,
    isLearner: () => membership.member(parts.identity.memberId)?.isLearner === true,
  };
}

/** A response that has, or may have, a header. */
export interface WithHeader {
  header?: ResponseHeader | undefined;
}

/** A fresh header of this member. `revision` is 0 for calls that do not concern the key space. */
export function header(context: RpcContext, revision: number): ResponseHeader {
  const { clusterId, memberId } = context.identity;
  return { cluster_id: clusterId, member_id: memberId, revision, raft_term: context.node.term };
}

/** Adds what only the serving member knows to the header that the state machine began (it holds the revision). */
export function completed<T extends object>(context: RpcContext, result: T | RosterError): T | RosterError {
  context.answers.count++;
  if (result instanceof RosterError) return result;
  const { header: begun } = result as WithHeader;
  if (begun !== undefined) {
    begun.cluster_id = context.identity.clusterId;
    begun.member_id = context.identity.memberId;
    begun.raft_term = context.node.term;
  }
  return result;
}

/** Replicates `request` in the name of whoever calls, and answers with what the state machine made of it. */
export function proposed<Res extends object>(
  context: RpcContext,
  call: CallContext,
  request: ProposedRequest,
  done: UnaryDone<Res>,
): void {
  const answer = (result: object) => done(completed(context, result as Res | RosterError));
  if (call.admission !== undefined) call.admission.propose(request, answer);
  else if (!context.machine.auth.enabled) context.node.propose(request, answer);
  else answer(switchedOn());
}

/**
 * Runs `read` at once if `serializable`, else when this member surely has all that was acknowledged before the call; if
 * the caller may then ask for `request`.
 */
export function afterReadIndex<Res extends object>(
  context: RpcContext,
  call: CallContext,
  request: object,
  serializable: boolean,
  read: () => Res | RosterError,
  done: UnaryDone<Res>,
): void {
  const run = (error?: RosterError) => {
    if (error !== undefined) done(error);
    // The short way to what the last one does, too.
    else if (call.admission === undefined && !context.machine.auth.enabled) done(completed(context, read()));
    else permitted(context, call, request, (refusal) => done(refusal ?? completed(context, read())));
  };
  if (serializable) run();
  else context.node.linearizableRead(run);
}

/** Whether the caller may ask for `request` now, by this member's state. `done` acts by the same state. */
export function permitted(context: RpcContext, call: CallContext, request: object, done: CheckDone): void {
  if (call.admission !== undefined) call.admission.check(request, done);
  else done(context.machine.auth.enabled ? switchedOn() : undefined);
}

/** Auth was off when the call came: nobody has asked who it is. The client will be asked when it calls again. */
function switchedOn(): RosterError {
  return rosterError('AuthOldRevision');
}
