/**
 * What a leader believes of one member's log (paper figure 2, nextIndex and matchIndex; etcd's tracker.Progress), and
 * whether it may send to it now. In `probe` one APPEND at a time finds where the logs agree; in `replicate` entries are
 * sent ahead of their acknowledgement; in `snapshotting` the driver streams a snapshot. Sends nothing itself.
 */
import { Inflights } from './inflights.ts';
import { NO_LIFE } from './refill.ts';

export type ProgressState = 'probe' | 'replicate' | 'snapshotting';

export class Progress {
  readonly id: bigint;
  readonly inflights: Inflights;
  state: ProgressState = 'probe';
  /** The member's log is known to equal the leader's up to here, durably. */
  match = 0;
  /** The next entry to send. */
  next = 1;
  /** The commit index last sent with entries. */
  sentCommit = 0;
  /** Sending waits for an answer, or for the next heartbeat's. */
  paused = false;
  /** Heard from since the last check of the quorum. */
  recentActive = false;
  /** The last ReadIndex round this member has answered. */
  readRound = 0;
  /** In `snapshotting`: the last entry of the snapshot on its way. */
  snapshotIndex = 0;
  /** The life in which the member refills its log (refill.ts), or NO_LIFE. Until it is over the member counts nowhere. */
  refilling = NO_LIFE;
  /** While refilling: the index of the fence. */
  fence = 0;

  constructor(id: bigint, inflightAppendsMax: number, inflightBytesMax: number) {
    this.id = id;
    this.inflights = new Inflights(inflightAppendsMax, inflightBytesMax);
  }

  /** A new term: nothing is known, and the first guess is that the log is as long as the leader's (figure 2, Leaders). */
  reset(lastIndex: number): void {
    this.match = 0;
    this.sentCommit = 0;
    this.next = lastIndex + 1;
    this.recentActive = false;
    this.readRound = 0;
    this.refilling = NO_LIFE;
    this.#enter('probe');
  }

  /** `match`, as far as it counts: for commits, and for who may lead next. */
  get counted(): number {
    return this.refilling === NO_LIFE ? this.match : 0;
  }

  /** The member has lost its log and fetches it anew, in this life: nothing is known of it but where to try next. */
  beginRefill(life: bigint, fence: number, next: number): void {
    this.refilling = life;
    this.fence = fence;
    this.match = 0;
    this.next = next;
    this.sentCommit = 0;
    this.#enter('probe');
  }

  /** It speaks as a member with a log: of its word that counts, and only what it says from now on. */
  endRefill(): void {
    this.refilling = NO_LIFE;
    this.match = 0;
  }

  becomeProbe(): void {
    this.next = this.match + 1;
    this.#enter('probe');
  }

  becomeReplicate(): void {
    this.next = this.match + 1;
    this.#enter('replicate');
  }

  /** A snapshot is on its way; nothing else is sent until there is word of it. */
  becomeSnapshotting(index: number): void {
    this.#enter('snapshotting');
    this.snapshotIndex = index;
    this.paused = true;
  }

  /** The driver has sent the snapshot, or could not. Then the member's own word is waited for, or its next heartbeat's. */
  snapshotSent(ok: boolean): void {
    const { snapshotIndex } = this;
    this.becomeProbe();
    if (ok) this.next = Math.max(this.next, snapshotIndex + 1);
    this.paused = true;
  }

  #enter(state: ProgressState): void {
    this.state = state;
    this.snapshotIndex = 0;
    this.paused = false;
    this.inflights.reset();
  }

  /** An APPEND with `count` entries of `bytes` has been sent. */
  sent(count: number, bytes: number): void {
    if (count === 0) return;
    if (this.state === 'probe') {
      this.paused = true;
      return;
    }
    this.next += count;
    this.inflights.add(this.next - 1, bytes);
    this.paused = this.inflights.full;
  }

  /** The member holds everything up to `index`. False when that is old news. */
  acknowledged(index: number): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    if (this.state !== 'snapshotting') this.paused = false;
    return true;
  }

  /**
   * The member refused entries after `index` and `hint` is the last place where its log may agree (5.3: nextIndex goes
   * back). False when the refusal answers an older message and says nothing new.
   */
  refused(index: number, hint: number): boolean {
    if (this.state === 'snapshotting') return false;
    if (this.state === 'replicate') {
      if (index <= this.match) return false;
      this.becomeProbe();
      return true;
    }
    if (this.next - 1 !== index) return false;
    this.next = Math.max(Math.min(index, hint + 1), this.match + 1);
    this.paused = false;
    return true;
  }
}
