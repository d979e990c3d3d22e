/** What a member, a client or the nemesis finds around it in a run. */
import type { PeerMessage } from '../../core/node/peer-message.ts';
import type { ConfState } from '../../core/raft/messages.ts';
import type { Bug } from './bugs.ts';
import type { Member } from './member.ts';
import type { RaftCheck } from './raft-check.ts';
import type { Settings } from './settings.ts';
import type { StateCheck } from './state-check.ts';
import type { Tally } from './tally.ts';
import type { Timeline } from './timeline.ts';

export interface Host {
  readonly settings: Settings;
  readonly time: Timeline;
  readonly tally: Tally;
  readonly bug: Bug;
  readonly raft: RaftCheck;
  readonly state: StateCheck;
  /** The members that the cluster began with. */
  readonly founders: readonly bigint[];
  /** All processes there are, those of removed members too until they are gone. Changes during a run. */
  readonly members: readonly Member[];
  /** Every configuration that may be in force somewhere, or come into force yet. */
  configurations(): ConfState[];
  /** A process for a member that has been added, or is about to be. */
  newMember(id: bigint): Member;
  /** Takes the member and its disks away for good. */
  discard(member: Member): void;
  send(from: Member, message: PeerMessage): void;
  /** The member has died. */
  crashed(member: Member): void;
}
