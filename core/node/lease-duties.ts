/**
 * What the leader owes the leases: to end expired ones through the log, at a bounded rate and a bounded number at a time,
 * and to tell the others now and then how much time long ones have left. What fails is forgotten; the machine names it again.
 */
import type { LeaseCheckpoint } from '../wire/stored.ts';
import type { NodeLimits } from './world.ts';

/** Checkpoints in one entry, and entries per second (etcd: leaseCheckpointBatchSize and leaseCheckpointRate). */
const CHECKPOINTS_PER_ENTRY_MAX = 1000;

export interface LeaseDutiesWorld {
  /** Leases whose time is up. */
  expired(limit: number): bigint[];
  /** Leases whose remaining time the others should know. */
  checkpoints(limit: number): LeaseCheckpoint[];
  /** Propose, in this term only; `done` with any outcome. */
  revoke(lease: bigint, done: () => void): void;
  checkpoint(checkpoints: LeaseCheckpoint[], done: () => void): void;
}

export class LeaseDuties {
  readonly #limits: NodeLimits;
  readonly #world: LeaseDutiesWorld;
  readonly #perTickMax: number;
  #queue: bigint[] = [];
  #inFlight = 0;
  #checkpointing = false;
  /** Leases whose end was proposed. */
  expired = 0;

  constructor(limits: NodeLimits, tickMs: number, world: LeaseDutiesWorld) {
    this.#limits = limits;
    this.#world = world;
    this.#perTickMax = Math.max(1, Math.floor((limits.revokesPerSecondMax * tickMs) / 1000));
  }

  /** Once a tick, while this node leads. */
  tick(): void {
    const room = this.#perTickMax - this.#queue.length;
    if (room > 0) this.#queue.push(...this.#world.expired(room));
    this.#pump();
    this.#checkpoint();
  }

  /** This node no longer leads: leases are another's to end. */
  clear(): void {
    this.#queue = [];
  }

  #checkpoint(): void {
    if (this.#checkpointing) return;
    const checkpoints = this.#world.checkpoints(CHECKPOINTS_PER_ENTRY_MAX);
    if (checkpoints.length === 0) return;
    this.#checkpointing = true;
    this.#world.checkpoint(checkpoints, () => {
      this.#checkpointing = false;
    });
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#inFlight < this.#limits.revokesInFlightMax) {
      this.#inFlight++;
      this.expired++;
      this.#world.revoke(this.#queue.shift()!, () => {
        this.#inFlight--;
        this.#pump();
      });
    }
  }
}
