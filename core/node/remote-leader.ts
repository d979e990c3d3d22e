/**
 * What a node that does not lead has to do with the one that does: passes requests on, asks for read indexes and about
 * leases, and asks again whoever leads by then. Owns what is on its way; what the leader does with it is leader-desk.ts.
 */
import { RosterError, rosterError } from '../errors.ts';
import { NO_NODE } from '../raft/config.ts';
import type { Raft } from '../raft/raft.ts';
import { Asks } from './asks.ts';
import { FORWARD_BYTES_MAX, Forwards } from './forwards.ts';
import type { RenewDone, TimeToLiveDone } from './lease-calls.ts';
import type { MemberChanges } from './member-changes.ts';
import type { Ask, Forward, PeerMessage } from './peer-message.ts';
import type { Proposals } from './proposals.ts';
import type { Reads } from './reads.ts';
import type { NodeLimits } from './world.ts';

/** No node leads in it: what is bound to a term cannot be passed on. */
const NO_TERM = -1;

export interface RemoteLeaderWorld {
  send(messages: readonly PeerMessage[]): void;
  newId(): bigint;
  timeoutTicks: number;
}

export class RemoteLeader {
  readonly forwards: Forwards;
  readonly asks: Asks;
  readonly #id: bigint;
  readonly #raft: Raft;
  readonly #proposals: Proposals;
  readonly #changes: MemberChanges;
  readonly #reads: Reads;
  readonly #world: RemoteLeaderWorld;
  #tick = 0;

  constructor(
    id: bigint,
    limits: NodeLimits,
    raft: Raft,
    proposals: Proposals,
    changes: MemberChanges,
    reads: Reads,
    world: RemoteLeaderWorld,
  ) {
    this.forwards = new Forwards(proposals, world.newId());
    this.asks = new Asks(limits.readsPendingMax);
    this.#id = id;
    this.#raft = raft;
    this.#proposals = proposals;
    this.#changes = changes;
    this.#reads = reads;
    this.#world = world;
  }

  renewLease(lease: bigint, done: RenewDone): void {
    this.#ask({ renew_lease: lease }, (answer) =>
      done(answer instanceof RosterError ? answer : (answer.renewed_ttl ?? 0)),
    );
  }

  timeToLive(lease: bigint, keys: boolean, done: TimeToLiveDone): void {
    this.#ask({ time_to_live: { lease, keys } }, (answer) => {
      if (answer instanceof RosterError) done(answer);
      else if (answer.time_to_live !== undefined) done(answer.time_to_live);
      else done(rosterError('LeaseNotFound'));
    });
  }

  #ask(question: Omit<Ask, 'number'>, done: Parameters<Asks['add']>[1]): void {
    if (this.asks.isFull) done(rosterError('RequestTooManyRequests'));
    else this.asks.add({ number: this.#world.newId(), ...question }, done, this.#tick + this.#world.timeoutTicks);
  }

  /** Sends what has come since the last call, if it is known to whom. */
  flush(): void {
    const { leader } = this.#raft;
    if (leader === NO_NODE || leader === this.#id) return;
    const messages: PeerMessage[] = [];
    this.#passOn(leader, messages);
    this.#askAboutReads();
    if (this.asks.hasFresh)
      for (const ask of this.asks.fresh(leader, this.#tick)) messages.push(this.#asking(leader, ask));
    if (messages.length > 0) this.#world.send(messages);
  }

  #passOn(leader: bigint, messages: PeerMessage[]): void {
    const { term } = this.#raft;
    const pass = (forward: Forward) => messages.push({ from: this.#id, to: leader, forward, snapshot: 0n });
    while (this.#proposals.hasWaiting && !this.forwards.isFull) {
      const batch = this.#proposals.takeBatch(NO_TERM, FORWARD_BYTES_MAX);
      if (batch.length > 0) pass(this.forwards.begin(batch, this.#world.newId(), term, this.#tick));
    }
    if (!this.#changes.hasWaiting) return;
    for (const change of this.#changes.take())
      pass(this.forwards.begin([change], this.#world.newId(), term, this.#tick));
  }

  /** One question for all reads that wait. */
  #askAboutReads(): void {
    const context = this.#reads.beginRound();
    if (context === undefined) return;
    this.#ask({ read_index: true }, (answer) => {
      if (answer instanceof RosterError) this.#reads.reopenRound(context);
      else this.#reads.confirmed(context, answer.read_index ?? Number.POSITIVE_INFINITY);
    });
  }

  #asking(leader: bigint, ask: Ask): PeerMessage {
    return { from: this.#id, to: leader, ask, snapshot: 0n };
  }

  /** Asks again what may have been lost, of whoever leads now; gives up what has run out of time. */
  tick(): void {
    this.#tick++;
    this.forwards.expire(this.#tick);
    this.asks.expire(this.#tick);
    const { leader, term } = this.#raft;
    if (leader === NO_NODE) return;
    const asks = this.asks.again(leader, this.#tick);
    // What this node has not asked of anybody it asks itself now; whoever else leads is asked when there is a turn.
    if (leader === this.#id) asks.push(...this.asks.fresh(leader, this.#tick));
    const messages = asks.map((ask) => this.#asking(leader, ask));
    for (const forward of this.forwards.resend(term, this.#tick))
      messages.push({ from: this.#id, to: leader, forward, snapshot: 0n });
    if (messages.length > 0) this.#world.send(messages);
  }

  refuseAll(error: RosterError): void {
    this.forwards.refuseAll(error);
    this.asks.refuseAll(error);
  }
}
