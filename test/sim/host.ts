/** What a member finds around it in a run. */
import type { Message } from '../../core/raft/messages.ts';
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
  readonly voters: readonly bigint[];
  send(from: Member, message: Message): void;
  /**
   * How far `of` may forget its log while there are no snapshots: what every member's state includes even after a
   * crash, and, while it leads, what it knows of them.
   */
  floorIndex(of: Member): number;
  /** The member serves from now on. */
  started(member: Member): void;
  /** The member has died. */
  crashed(member: Member): void;
}
