/**
 * What only the leader can do for a lease, as it counts the time: renew it and say what is left. Done here by the one who
 * leads, otherwise asked of it. Owns no state.
 */
import { RosterError, rosterError } from '../errors.ts';
import type { LeaseTimeToLiveResponse } from '../wire/messages.ts';
import type { Machine } from './machine.ts';
import type { ReadDone } from './reads.ts';

/** The lease's full time in seconds; 0: there is no such lease, or its time is up. */
export type RenewDone = (result: number | RosterError) => void;
export type TimeToLiveDone = (result: LeaseTimeToLiveResponse | RosterError) => void;

export interface LeaseCallsWorld {
  readonly machine: Machine;
  linearizableRead(done: ReadDone): void;
  /** This node leads, and its machine knows. */
  counts(): boolean;
}

export class LeaseCalls {
  readonly #world: LeaseCallsWorld;

  constructor(world: LeaseCallsWorld) {
    this.#world = world;
  }

  renew(lease: bigint, done: RenewDone): void {
    this.#asLeader(() => this.#world.machine.renewLease(lease) ?? 0, done);
  }

  timeToLive(lease: bigint, keys: boolean, done: TimeToLiveDone): void {
    this.#asLeader(() => this.#world.machine.leaseTimeToLive(lease, keys), done);
  }

  /** After a read index: a node that no longer leads must not prolong what its successor may expire (etcd #12528). */
  #asLeader<T>(call: () => T, done: (result: T | RosterError) => void): void {
    this.#world.linearizableRead((error) => {
      if (error !== undefined) done(error);
      else if (!this.#world.counts()) done(rosterError('NotLeader'));
      else done(call());
    });
  }
}

/** Passes on the answer, unless it is that of a node which led when it was asked and no longer does. */
export function orElsewhere<T>(done: (result: T | RosterError) => void, elsewhere: () => void) {
  return (result: T | RosterError): void => {
    if (result instanceof RosterError && result.code === 'NotLeader') elsewhere();
    else done(result);
  };
}
