/** Counts how often another leader became known: etcd's leader_changes_seen_total. */
export class LeaderChanges {
  #leader = 0n;
  #count = 0;
  #sinceMs = Date.now();

  get count(): number {
    return this.#count;
  }

  /** Wall clock at which the leader became known; before there is one, of the start. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  /** `leader` is known now; 0n: none is. The same leader after a gap is a change, as it is with etcd. */
  known(leader: bigint): void {
    if (leader !== 0n && leader !== this.#leader) {
      this.#count++;
      this.#sinceMs = Date.now();
    }
    this.#leader = leader;
  }
}
