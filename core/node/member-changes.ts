/**
 * Changes of the members that wait for their turn: there is one at a time, each checked against etcd's rules by the
 * leader right before it goes into the log. Elsewhere they are passed on. Owns the queue only.
 */
import { GrpcStatus, otherError, type RosterError, rosterError } from '../errors.ts';
import { type ConfChange, ConfChangeType, ConfTransition } from '../raft/conf-change.ts';
import type { Raft } from '../raft/raft.ts';
import { encode } from '../wire/binary.ts';
import { MemberChange } from '../wire/stored.ts';
import type { ClusterView, Machine } from './machine.ts';
import type { Proposal, Proposals } from './proposals.ts';

/** Changes that wait; there is hardly ever more than one. */
export const MEMBER_CHANGES_WAITING_MAX = 64;

export class MemberChanges {
  readonly #proposals: Proposals;
  #waiting: Proposal[] = [];

  constructor(proposals: Proposals) {
    this.#proposals = proposals;
  }

  get isFull(): boolean {
    return this.#waiting.length >= MEMBER_CHANGES_WAITING_MAX;
  }

  add(proposal: Proposal): void {
    this.#proposals.admit(proposal);
    this.#waiting.push(proposal);
  }

  /** The leader's part: what may go into the log now does. */
  append(raft: Raft, machine: Pick<Machine, 'checkMemberChange'>, view: ClusterView): void {
    while (this.#waiting.length > 0 && raft.mayChangeConf) {
      const proposal = this.#waiting.shift()!;
      const change = proposal.change!;
      const elsewhere = proposal.boundTerm > 0 && proposal.boundTerm !== raft.term;
      const refusal = elsewhere
        ? rosterError('LeaderChanged')
        : (machine.checkMemberChange(change, view) ?? raft.proposeConfChange(confChangeFor(change)));
      if (refusal === undefined) this.#proposals.appended([proposal], raft.log.lastIndex, raft.term);
      else this.#proposals.refuse([proposal], refusal);
    }
  }

  /** A follower's part: those that are to be passed on to the leader. Those of others go nowhere from here. */
  take(): Proposal[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    const bound = waiting.filter((proposal) => proposal.boundTerm > 0);
    if (bound.length === 0) return waiting;
    this.#proposals.refuse(bound, rosterError('LeaderChanged'));
    return waiting.filter((proposal) => proposal.boundTerm === 0);
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  expire(tick: number): void {
    if (this.#waiting.length === 0) return;
    const late = this.#waiting.filter((proposal) => proposal.deadlineTick <= tick);
    if (late.length === 0) return;
    this.#waiting = this.#waiting.filter((proposal) => proposal.deadlineTick > tick);
    this.#proposals.refuse(late, rosterError('Timeout'));
  }

  refuseAll(error: RosterError): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#proposals.refuse(waiting, error);
  }
}

function confChangeFor(change: MemberChange): ConfChange {
  const { ADD_VOTER, ADD_LEARNER, REMOVE } = ConfChangeType.values;
  const { add, promote, remove } = change;
  const single =
    add !== undefined
      ? { type: add.isLearner ? ADD_LEARNER : ADD_VOTER, node: add.ID }
      : promote !== undefined
        ? { type: ADD_VOTER, node: promote }
        : { type: REMOVE, node: remove ?? 0n };
  return { transition: ConfTransition.values.AUTO, changes: [single], context: encode(MemberChange, change) };
}

/** A change of the members must say what it is. */
export function checkForm({ add, promote, remove }: Omit<MemberChange, 'id'>): RosterError | undefined {
  if ([add, promote, remove].filter((part) => part !== undefined).length === 1) return undefined;
  return otherError(GrpcStatus.INVALID_ARGUMENT, 'a change of the members adds, promotes or removes one member');
}
