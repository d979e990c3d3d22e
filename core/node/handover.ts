/**
 * Callers that wait for leadership to move to a member of their choice (dissertation 3.10). Watches what becomes of it;
 * the transfer itself is Raft's.
 */
import { GrpcStatus, otherError, type RosterError } from '../errors.ts';
import { NO_NODE } from '../raft/config.ts';
import type { Raft } from '../raft/raft.ts';

export type HandoverDone = (error?: RosterError) => void;

/** etcd's answer when the target did not take over in time. */
function tookTooLong(): RosterError {
  return otherError(GrpcStatus.UNKNOWN, 'etcdserver: request timed out, leader transfer took too long');
}

export class Handover {
  readonly #raft: Raft;
  #waiting: { to: bigint; term: number; deadlineTick: number; done: HandoverDone }[] = [];

  constructor(raft: Raft) {
    this.#raft = raft;
  }

  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Asks Raft to hand over to `to`; NotLeader and BadLeaderTransferee at once. */
  begin(to: bigint, deadlineTick: number, done: HandoverDone): void {
    const refusal = this.#raft.transferLeadership(to);
    if (refusal !== undefined) done(refusal);
    else if (this.#raft.leader === to) done();
    else this.#waiting.push({ to, term: this.#raft.term, deadlineTick, done });
  }

  /** After anything may have changed: tells those who know enough now. */
  look(tick: number): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const each of waiting) {
      const { to, term, deadlineTick, done } = each;
      const { leader, role, transferee } = this.#raft;
      // Still in office with nobody to hand over to: Raft has given up.
      const givenUp = role === 'leader' && this.#raft.term === term && transferee !== to;
      if (leader === to) done();
      else if (givenUp || (leader !== NO_NODE && this.#raft.term > term) || tick >= deadlineTick) done(tookTooLong());
      else this.#waiting.push(each);
    }
  }

  refuseAll(error: RosterError): void {
    for (const { done } of this.#waiting.splice(0)) done(error);
  }
}
