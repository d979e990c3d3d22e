/** Counts how often another leader became known: etcd's leader_changes_seen_total. */
export class LeaderChanges {
  #leader = 0n;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** `leader` is known now; 0n: none is. The same leader after a gap is a change, as it is with etcd. */
  known(leader: bigint): void {
    if (leader !== 0n && leader !== this.#leader) this.#count++;
    this.#leader = leader;
  }
}
