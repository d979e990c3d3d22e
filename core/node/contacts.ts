/**
 * Who among the members has been heard from, and when: what the leader knows of the cluster beyond Raft's own progress,
 * for changes of the members and for handing over. Decides nothing.
 */
import type { Raft } from '../raft/raft.ts';
import { NO_LIFE } from '../raft/refill.ts';
import type { ClusterView } from './machine.ts';
import type { NodeConfig } from './world.ts';

export class Contacts implements ClusterView {
  readonly #id: bigint;
  readonly #raft: Raft;
  readonly #activeTicks: number;
  /** Member -> tick of its last message. */
  readonly #heardTick = new Map<bigint, number>();
  #tick = 0;

  constructor({ id, electionMs, tickMs }: NodeConfig, raft: Raft) {
    this.#id = id;
    this.#raft = raft;
    this.#activeTicks = Math.ceil(electionMs / tickMs);
  }

  heard(from: bigint): void {
    this.#heardTick.set(from, this.#tick);
  }

  tick(): void {
    this.#tick++;
  }

  get lastIndex(): number {
    return this.#raft.log.lastIndex;
  }

  /** Who is being refilled holds nothing that could be relied on yet. */
  isActive(id: bigint): boolean {
    if (this.#isRefilling(id)) return false;
    const heardTick = this.#heardTick.get(id) ?? Number.NEGATIVE_INFINITY;
    return id === this.#id || this.#tick - heardTick <= this.#activeTicks;
  }

  /** 0 where this node does not lead. */
  match(id: bigint): number {
    return this.#isRefilling(id) ? 0 : (this.#raft.progress(id)?.match ?? 0);
  }

  #isRefilling(id: bigint): boolean {
    return (this.#raft.progress(id)?.refilling ?? NO_LIFE) !== NO_LIFE;
  }

  /** The voter that can take over soonest: alive, with the longest log. */
  get heir(): bigint | undefined {
    let heir: bigint | undefined;
    for (const id of this.#raft.confState.voters)
      if (id !== this.#id && this.isActive(id) && (heir === undefined || this.match(id) > this.match(heir))) heir = id;
    return heir;
  }
}
