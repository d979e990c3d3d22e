/**
 * Lease holders as agents are: each has one lease at a time, renews it three times in its life through one member for as
 * long as that answers, and walks away from it some day. Owns no history but what it was promised.
 */
import { RosterError } from '../../core/errors.ts';
import type { Prng } from '../../core/util/prng.ts';
import type { Host } from './host.ts';
import type { Leases } from './lease-check.ts';
import type { Member } from './member.ts';

const WIRE_MS = 2;
const TTL_SECONDS = [3, 6, 9];
/** Renewals after which one in so many leases is left alone. */
const LEAVES = 5;
const TIMEOUT_MS = 1_000;

export class Keeper {
  readonly #number: number;
  readonly #host: Host;
  readonly #leases: Leases;
  readonly #prng: Prng;
  #member: Member;
  #lease: { id: bigint; ttlSeconds: number } | undefined;
  /** Late answers belong to an earlier one. */
  #turn = 0;
  stopped = false;

  constructor(number: number, host: Host, leases: Leases, prng: Prng) {
    this.#number = number;
    this.#host = host;
    this.#leases = leases;
    this.#prng = prng;
    this.#member = this.#pick();
  }

  start(): void {
    this.#next(this.#prng.float() * 1_000);
  }

  #pick(): Member {
    const { members } = this.#host;
    return members[this.#prng.int(members.length)]!;
  }

  #next(delayMs: number): void {
    const turn = ++this.#turn;
    this.#host.time.after(delayMs, () => {
      if (this.stopped || turn !== this.#turn) return;
      this.#host.time.after(TIMEOUT_MS, () => turn === this.#turn && this.#failed('keeperTimeout'));
      if (this.#lease === undefined) this.#grant(turn);
      else this.#renew(turn, this.#lease);
    });
  }

  /** Runs `ask` on the member. Its answer travels back. */
  #ask<T>(turn: number, ask: (member: Member, done: (result: T) => void) => void, take: (result: T) => void): void {
    const member = this.#member;
    this.#host.time.after(WIRE_MS, () => {
      member.enter(() => {
        if (member.node === undefined || member.node.status().isLearner) return;
        ask(member, (result) => member.later(WIRE_MS, () => turn === this.#turn && take(result)));
      });
    });
  }

  #grant(turn: number): void {
    const lease = { id: this.#prng.bigint63(), ttlSeconds: TTL_SECONDS[this.#prng.int(TTL_SECONDS.length)]! };
    this.#ask<object>(
      turn,
      ({ node }, done) => node!.propose({ lease_grant: { ID: lease.id, TTL: BigInt(lease.ttlSeconds) } }, done),
      (result) => {
        if (result instanceof RosterError) return this.#failed(result.code);
        this.#lease = lease;
        this.#next((lease.ttlSeconds * 1000) / 3);
      },
    );
  }

  #renew(turn: number, { id, ttlSeconds }: { id: bigint; ttlSeconds: number }): void {
    const askedMs = this.#host.time.nowMs;
    this.#ask<number | RosterError>(
      turn,
      ({ node }, done) => node!.renewLease(id, done),
      (result) => {
        if (result instanceof RosterError) return this.#failed(result.code);
        if (result > 0) this.#leases.promised(id, askedMs, result, true);
        this.#host.tally.note(this.#host.time.nowMs, 200 + this.#number, `keeps ${id} @${this.#member.id}`);
        if (result === 0 || this.#prng.int(LEAVES) === 0) this.#lease = undefined;
        this.#next((ttlSeconds * 1000) / 3);
      },
    );
  }

  #failed(why: string): void {
    this.#host.tally.count(`keeper:${why}`);
    this.#member = this.#pick();
    this.#next(this.#prng.float() * 100);
  }
}
