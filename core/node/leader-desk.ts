/**
 * The leader's answers to the others: takes their requests into its queue, each batch at most once, and answers what only
 * it can know. A node that does not lead says so to questions and keeps silent about requests.
 */
import { GrpcStatus, otherError, RosterError, rosterError } from '../errors.ts';
import type { Raft } from '../raft/raft.ts';
import { decode } from '../wire/binary.ts';
import { InternalRequest } from '../wire/stored.ts';
import { ForwardInbox } from './forward-inbox.ts';
import type { LeaseCalls } from './lease-calls.ts';
import type { MemberChanges } from './member-changes.ts';
import { peerError } from './peer-error.ts';
import type { Answer, Ask, Forward, PeerMessage } from './peer-message.ts';
import { NO_DEADLINE_TICK, type Proposal, type Proposals } from './proposals.ts';
import type { Reads } from './reads.ts';

export interface LeaderDeskWorld {
  send(message: PeerMessage): void;
  leases: LeaseCalls;
  /** Whether requests of `bytes` are more than this node can take now. */
  isFull(bytes: number, count: number): boolean;
}

export class LeaderDesk {
  readonly #id: bigint;
  readonly #raft: Raft;
  readonly #proposals: Proposals;
  readonly #changes: MemberChanges;
  readonly #reads: Reads;
  readonly #world: LeaderDeskWorld;
  readonly #inbox = new ForwardInbox();
  /** Members whose requests are not committed yet; the entries of the oldest are at this index or later. */
  readonly #awaited = new Map<bigint, number>();
  /** Batches whose senders are told with the next `flush`. */
  #taken: { from: bigint; forward: Forward }[] = [];

  constructor(
    id: bigint,
    raft: Raft,
    proposals: Proposals,
    changes: MemberChanges,
    reads: Reads,
    world: LeaderDeskWorld,
  ) {
    this.#id = id;
    this.#raft = raft;
    this.#proposals = proposals;
    this.#changes = changes;
    this.#reads = reads;
    this.#world = world;
  }

  /** Requests of another member, which waits for their entries itself. */
  forwarded(from: bigint, forward: Forward): void {
    if (this.#raft.role !== 'leader') return;
    const verdict = this.#inbox.look(from, forward, this.#raft.term);
    if (verdict === 'ignore' || verdict === 'pending') return;
    if (verdict !== 'new') this.#reply(from, forward, verdict === 'taken' ? undefined : verdict);
    else if (forward.member_change !== undefined) this.#takeChange(from, forward);
    else {
      const refusal = this.#take(forward);
      this.#inbox.remember(from, forward, refusal ?? 'taken');
      if (refusal !== undefined) this.#reply(from, forward, refusal);
      else {
        this.#taken.push({ from, forward });
        if (!this.#awaited.has(from)) this.#awaited.set(from, this.#raft.log.lastIndex + 1);
      }
    }
  }

  /**
   * Members that may have requests among the entries up to `committed`. Each is named once for the requests it had sent
   * by then: good for telling them soon, not for knowing.
   */
  takeAwaited(committed: number): bigint[] {
    const found: bigint[] = [];
    for (const [id, index] of this.#awaited) {
      if (index > committed) continue;
      found.push(id);
      if (committed >= this.#raft.log.lastIndex) this.#awaited.delete(id);
      else this.#awaited.set(id, committed + 1);
    }
    return found;
  }

  /** Tells that batches were taken: together with their entries, which are sent in the same piece of work. */
  flush(): void {
    if (this.#taken.length === 0) return;
    for (const { from, forward } of this.#taken) this.#reply(from, forward, undefined);
    this.#taken = [];
  }

  #take({ requests, term }: Forward): RosterError | undefined {
    let bytes = 0;
    for (const data of requests) bytes += data.length;
    if (this.#world.isFull(bytes, requests.length)) return rosterError('RequestTooManyRequests');
    const taken: Proposal[] = [];
    const base = { change: undefined, done: undefined, deadlineTick: NO_DEADLINE_TICK, boundTerm: term };
    for (const data of requests) {
      const request = decoded(data);
      // It would stop every member that applies it.
      if (request instanceof RosterError) return request;
      taken.push({ id: request.id, request, data, ...base });
    }
    for (const proposal of taken) this.#proposals.add(proposal);
    return undefined;
  }

  /** Its fate shows when it has its turn: until then the other waits. */
  #takeChange(from: bigint, forward: Forward): void {
    if (this.#changes.isFull) {
      const refusal = rosterError('RequestTooManyRequests');
      this.#inbox.remember(from, forward, refusal);
      this.#reply(from, forward, refusal);
      return;
    }
    const change = forward.member_change!;
    this.#inbox.remember(from, forward, 'pending');
    const base = { id: change.id, request: undefined, change, data: new Uint8Array(0), boundTerm: forward.term };
    this.#changes.add({
      ...base,
      deadlineTick: NO_DEADLINE_TICK,
      done: (result) => {
        // "Timed out" means that a snapshot may include it: its sender learns as much from its own.
        const isFinal = result instanceof RosterError && result.code !== 'Timeout' && result.code !== 'Stopped';
        if (!isFinal) return;
        this.#inbox.remember(from, forward, result);
        this.#reply(from, forward, result);
      },
    });
  }

  #reply(to: bigint, { term, batch }: Forward, error: RosterError | undefined): void {
    const forward_reply = { term, batch, ...(error === undefined ? {} : { error: peerError(error) }) };
    this.#world.send({ from: this.#id, to, forward_reply, snapshot: 0n });
  }

  /** A question of another member. */
  asked(from: bigint, ask: Ask): void {
    const reply = (answer: Omit<Answer, 'number'>) =>
      this.#world.send({ from: this.#id, to: from, answer: { number: ask.number, ...answer }, snapshot: 0n });
    if (this.#raft.role !== 'leader') reply({ error: peerError(rosterError('NotLeader')) });
    else if (ask.read_index === true) this.#reads.askForOther((index) => reply({ read_index: index }));
    else if (ask.renew_lease !== undefined)
      this.#world.leases.renew(ask.renew_lease, (result) =>
        reply(result instanceof RosterError ? { error: peerError(result) } : { renewed_ttl: result }),
      );
    else if (ask.time_to_live !== undefined)
      this.#world.leases.timeToLive(ask.time_to_live.lease, ask.time_to_live.keys, (result) =>
        reply(result instanceof RosterError ? { error: peerError(result) } : { time_to_live: result }),
      );
    else
      reply({ error: peerError(otherError(GrpcStatus.UNIMPLEMENTED, 'a question that this version does not know')) });
  }
}

function decoded(data: Uint8Array): InternalRequest | RosterError {
  try {
    return decode(InternalRequest, data);
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    return error;
  }
}
