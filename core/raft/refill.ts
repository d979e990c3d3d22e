/**
 * A member whose log was damaged and that fetches it anew from the others. Its former self may have voted, and may have
 * acknowledged entries; it remembers neither. Owns the state of such a member and the question who may become one; its
 * leader's part is in progress.ts and leadership.ts. After Viewstamped Replication Revisited, 4.3, and Michael et al.,
 * Recovering Shared Objects Without Stable Storage (DISC 2017).
 */
import type { HardState } from '../wire/stored.ts';
import type { ConfState } from './messages.ts';
import { majority } from './quorum.ts';

/** "Not refilling", where a life is expected. */
export const NO_LIFE = 0n;

/**
 * Whether `id` may lose its log and fetch it from the others: in `conf` there is a majority of voters without it. Never
 * true of a sole voter, nor of one of two: what such a member has acknowledged may be nowhere else. Nor of a member that
 * knows nobody.
 */
export function canRefill({ voters, voters_outgoing: outgoing }: ConfState, id: bigint): boolean {
  const isMajority = (half: readonly bigint[]) => half.filter((voter) => voter !== id).length >= majority(half.length);
  return isMajority(voters) && (outgoing.length === 0 || isMajority(outgoing));
}

/**
 * The member begins with an empty log after what its state machine holds, under a number that no log had before (its
 * "life"), which is part of its hard state. Until it is told that the refill is complete it grants no vote, begins no
 * election, takes no commit index from a heartbeat (that may be meant for its former self), and puts its life on all it
 * says to a leader. A leader that sees a new life forgets what it knew of the member's log, appends an empty entry, the
 * *fence*, and replicates as always, but counts the member nowhere: not for commits, not for reads, not for its quorum.
 * When the fence is committed, hence by others alone, and the member holds it durably, APPEND carries the life back. The
 * member then writes a hard state without the life, and with a vote for this leader; what it says after that, without a
 * life, counts.
 *
 * Why that is safe. Let E be the fence, L its leader and t its term. Compare with a member that never lost its log but
 * has been silent since its former self's last step: to the others there is no difference until the refill is complete,
 * because nothing that the member says with a life counts. In that history E is committed, so every leader of a later
 * term has E (Leader Completeness, paper 5.4.3; with members that come and go, dissertation 4).
 * - Votes of the former self. In a term after t: whoever asked for it had asked before E existed, so it is a candidate
 *   without E, and no candidate without E wins a term after t, with this vote or without. So the member may give that
 *   vote again. In t: L leads it, and the member's vote is L's. In earlier terms it votes no more: its own term is t.
 * - Entries acknowledged by the former self. To a leader of a term after t: it would have been elected before E existed,
 *   without E. To L: they come before E in L's log. To an earlier leader: if committed, L has them, before E. So the
 *   member holds whatever was committed with its former self's help. That makes late acknowledgements harmless, too: they
 *   come without a life, and until the member is whole it helps nobody to be elected without them.
 * - Losing the log again gives another life and another fence.
 * What it costs: without the member a majority of the voters must be there ({@link canRefill}).
 */
export class Refill {
  readonly #begun: boolean;
  #life: bigint;

  constructor(hardState: HardState) {
    this.#life = hardState.refilling ?? NO_LIFE;
    this.#begun = this.isOn;
  }

  get isOn(): boolean {
    return this.#life !== NO_LIFE;
  }

  /** What this member's words carry. */
  get life(): bigint {
    return this.#life;
  }

  /** The leader has said so. */
  end(): void {
    this.#life = NO_LIFE;
  }

  /** `hardState` as it is to be written: the end of a refill is written explicitly. */
  mark(hardState: HardState): HardState {
    return this.#begun ? { ...hardState, refilling: this.#life } : hardState;
  }
}
