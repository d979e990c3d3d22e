/**
 * etcd's rules for changing the members, as pure functions: what the leader asks before such a change enters its log,
 * where nothing refuses it any more. The strict ones keep an operator from losing the quorum by the change itself.
 */
import { GrpcStatus, otherError, type RosterError, rosterError } from '../errors.ts';
import type { Member } from '../wire/messages.ts';
import type { MemberChange } from '../wire/stored.ts';
import { peerUrlTaken } from './membership.ts';
import { parsePeerUrls } from './peer-urls.ts';

/** A learner may vote when it holds this share of the leader's log (etcd: readyPercentThreshold). */
const LEARNER_READY = 0.9;

export interface MembershipLimits {
  /** Refuse changes after which, or while, a quorum may be missing. etcd: --strict-reconfig-check. */
  strictReconfigCheck: boolean;
  /** Most learners at a time. etcd: --max-learners. */
  maxLearners: number;
}

/** etcd's defaults. */
export const MEMBERSHIP_LIMITS: Readonly<MembershipLimits> = { strictReconfigCheck: true, maxLearners: 1 };

/** The membership as the rules see it. */
export interface Members {
  readonly members: readonly Member[];
  isRemoved(id: bigint): boolean;
}

/** What only the leader knows of the members: see core/node/machine.ts, ClusterView. */
export interface LeaderView {
  readonly lastIndex: number;
  isActive(id: bigint): boolean;
  match(id: bigint): number;
}

/** Why `change` must not be made now; `undefined` when it may. */
export function checkMemberChange(
  membership: Members,
  change: Omit<MemberChange, 'id'>,
  view: LeaderView,
  limits: MembershipLimits,
): RosterError | undefined {
  if (change.add !== undefined) return checkAdd(membership, change.add, view, limits);
  if (change.promote !== undefined) return checkPromote(membership.members, change.promote, view, limits);
  if (change.remove !== undefined) return checkRemove(membership.members, change.remove, view, limits);
  return otherError(GrpcStatus.INVALID_ARGUMENT, 'a change of the members must name one');
}

/**
 * MemberBadURLs; strict: MemberNotEnoughStarted (a voter that may never start makes a quorum too large for those that
 * have), Unhealthy (the new one counts as down); then MemberNotFound (an id that was removed), MemberExist,
 * PeerURLExist, TooManyLearners. etcd's order.
 */
function checkAdd(
  membership: Members,
  added: Member,
  view: LeaderView,
  { strictReconfigCheck, maxLearners }: MembershipLimits,
): RosterError | undefined {
  const { members } = membership;
  if (parsePeerUrls(added.peerURLs) === undefined) return rosterError('MemberBadURLs');
  if (strictReconfigCheck) {
    const voters = votersOf(members);
    if (!added.isLearner && !readyToAdd(voters)) return rosterError('MemberNotEnoughStarted');
    if (voters.length > 1 && countActive(voters, view) < quorum(voters.length + 1)) return rosterError('Unhealthy');
  }
  if (membership.isRemoved(added.ID)) return rosterError('MemberNotFound');
  if (members.some(({ ID }) => ID === added.ID)) return rosterError('MemberExist');
  if (peerUrlTaken(members, added.peerURLs)) return rosterError('PeerURLExist');
  const learners = members.length - votersOf(members).length;
  return added.isLearner && learners >= maxLearners ? rosterError('TooManyLearners') : undefined;
}

/** MemberNotFound, MemberNotLearner, LearnerNotReady; strict: MemberNotEnoughStarted. */
function checkPromote(
  members: readonly Member[],
  id: bigint,
  view: LeaderView,
  { strictReconfigCheck }: MembershipLimits,
): RosterError | undefined {
  const member = members.find(({ ID }) => ID === id);
  if (member === undefined) return rosterError('MemberNotFound');
  if (!member.isLearner) return rosterError('MemberNotLearner');
  if (view.match(id) < view.lastIndex * LEARNER_READY) return rosterError('LearnerNotReady');
  if (!strictReconfigCheck) return undefined;
  const voters = votersOf(members);
  // The learner itself counts as started: it could not be in step otherwise.
  return countStarted(voters) + 1 < quorum(voters.length + 1) ? rosterError('MemberNotEnoughStarted') : undefined;
}

/**
 * MemberNotFound, for those removed before too; a learner may always go, the last voter never (MemberNotEnoughStarted);
 * strict: MemberNotEnoughStarted, Unhealthy. Who is out of reach is no part of the quorum at work and may go.
 */
function checkRemove(
  members: readonly Member[],
  id: bigint,
  view: LeaderView,
  { strictReconfigCheck }: MembershipLimits,
): RosterError | undefined {
  const member = members.find(({ ID }) => ID === id);
  if (member === undefined) return rosterError('MemberNotFound');
  if (member.isLearner) return undefined;
  const others = votersOf(members).filter(({ ID }) => ID !== id);
  if (others.length === 0) return rosterError('MemberNotEnoughStarted');
  if (!strictReconfigCheck) return undefined;
  if (countStarted(others) < quorum(others.length)) return rosterError('MemberNotEnoughStarted');
  if (!view.isActive(id)) return undefined;
  return countActive(others, view) < quorum(others.length) ? rosterError('Unhealthy') : undefined;
}

/** etcd lets a cluster of one grow, though it must wait for the second to start before it can go on. */
function readyToAdd(voters: readonly Member[]): boolean {
  const started = countStarted(voters);
  return (voters.length === 1 && started === 1) || started >= quorum(voters.length + 1);
}

function votersOf(members: readonly Member[]): Member[] {
  return members.filter(({ isLearner }) => !isLearner);
}

/** Who has started has said its name. */
function countStarted(members: readonly Member[]): number {
  return members.filter(({ name }) => name !== '').length;
}

function countActive(members: readonly Member[], view: LeaderView): number {
  return members.filter(({ ID }) => view.isActive(ID)).length;
}

function quorum(voters: number): number {
  return Math.floor(voters / 2) + 1;
}
