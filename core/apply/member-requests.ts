/** Entries that concern the members, applied to the membership; each yields the response of its RPC, without a revision. */
import { type RosterError, rosterError } from '../errors.ts';
import type { Membership } from '../membership/membership.ts';
import { assert } from '../util/assert.ts';
import type {
  MemberAddResponse,
  MemberPromoteResponse,
  MemberRemoveResponse,
  MemberUpdateRequest,
  MemberUpdateResponse,
  ResponseHeader,
} from '../wire/messages.ts';
import type { ClusterVersion, DowngradeTarget, MemberAttributes, MemberChange } from '../wire/stored.ts';
import { headerAt } from './header.ts';

/** Answers of what has no RPC. */
export interface Done {
  header: ResponseHeader;
}

/** What a change of the configuration was about. The leader has checked it: here nothing refuses it. */
export function applyMemberChange(
  membership: Membership,
  { add, promote, remove }: MemberChange,
): MemberAddResponse | MemberPromoteResponse | MemberRemoveResponse {
  if (add !== undefined) {
    membership.add(add);
    return { header: headerAt(0), member: add, members: membership.members };
  }
  if (promote !== undefined) membership.promote(promote);
  else {
    assert(remove !== undefined, 'a change of the members is one that this version knows');
    membership.remove(remove);
  }
  return { header: headerAt(0), members: membership.members };
}

export function applyMemberUpdate(
  membership: Membership,
  { ID, peerURLs }: MemberUpdateRequest,
): MemberUpdateResponse | RosterError {
  const refusal = membership.updatePeerUrls(ID, peerURLs);
  return refusal ?? { header: headerAt(0), members: membership.members };
}

/** MemberNotFound of one that was removed, so that it learns of it. */
export function applyMemberAttributes(membership: Membership, attributes: MemberAttributes): Done | RosterError {
  return membership.setAttributes(attributes) ? { header: headerAt(0) } : rosterError('MemberNotFound');
}

/** The members are to go back to a version, or not any more. */
export function applyDowngrade(membership: Membership, { version }: DowngradeTarget): Done {
  membership.setDowngradeTarget(version);
  return { header: headerAt(0) };
}

export function applyClusterVersion(membership: Membership, { version }: ClusterVersion): Done {
  membership.setClusterVersion(version);
  return { header: headerAt(0) };
}
