/**
 * When old revisions are removed: in slices, so many before each commit of the backend, none under a reader that holds
 * them. Owns that pace and who waits for the end; which rows go, and in which order, is core/mvcc's matter.
 */
import type { CommitWish } from '../node/machine.ts';
import type { State } from './state.ts';

/** Old revisions removed per slice of compaction: well under a millisecond, so that traffic hardly notices. */
export const COMPACTION_SLICE_REVISIONS = 200;
/**
 * With so many revisions removed since the last commit, compaction waits for the next: it is far quicker than any disk.
 * Beside traffic that is one commit a second, small enough to be one batch (BATCH_ROWS_MAX of server/disk) together with
 * the rows of some hundred writes. Measured beside 500 puts a second, their p99 against idle: 1.1-1.3 times with 3,500,
 * 2.6 with 10,000, 2.4-3.4 with 20,000, 90 without a limit.
 */
export const COMPACTION_REMOVALS_PER_COMMIT = 3000;
/** The same while somebody waits for it: at once, not with the next commit that is due. */
export const AWAITED_REMOVALS_PER_COMMIT = 20_000;
/** Who writes more than that leaves more behind: of each of his writes so many are removed. */
const REMOVALS_PER_WRITE = 2;

type Done = (error?: Error) => void;

export interface CompactionPaceOptions {
  /** The state in force. */
  readonly state: () => Pick<State, 'backend' | 'store'>;
  /** Makes it durable. */
  readonly commit: (done: Done) => void;
  /** {@link CompactionPace.work} has something to do again. */
  readonly onWork: () => void;
  /** A compaction begins to remove old revisions, or the last of them is removed. */
  readonly onUnderWay: (underWay: boolean) => void;
}

export class CompactionPace {
  readonly #options: CompactionPaceOptions;
  #underWay = false;
  /** Of the backend's writes that wait for the next commit. */
  #pendingRemovals = 0;
  #holds = 0;
  #whenDone: Done[] = [];

  constructor(options: CompactionPaceOptions) {
    this.#options = options;
  }

  /** Whether there are old revisions yet to remove. */
  get underWay(): boolean {
    return this.#underWay;
  }

  /** Whether {@link work} may go on. */
  get waiting(): boolean {
    return this.#underWay && this.#holds === 0 && !this.#isAtLimit;
  }

  /** See {@link Machine.pendingRemovals}. */
  get pendingRemovals(): number {
    return this.#pendingRemovals;
  }

  /** See {@link Machine.commitWish}. */
  get commitWish(): CommitWish {
    if (!this.#underWay || this.#holds > 0 || !this.#isAtLimit) return 'none';
    return this.#whenDone.length > 0 ? 'now' : 'due';
  }

  /** A compaction has been applied. */
  begin(): void {
    const idle = !this.#underWay;
    this.#underWay = true;
    this.#options.onUnderWay(true);
    if (idle) this.#options.onWork();
  }

  /** Another state is in force. An interrupted compaction goes on; a finished one costs one look. */
  resume(): void {
    this.#underWay = true;
    this.#pendingRemovals = 0;
  }

  /** What has been removed so far is on its way to the disk. */
  committing(): void {
    this.#pendingRemovals = 0;
    if (this.waiting) this.#options.onWork();
  }

  /** Nothing is removed until the answer is called, once. */
  hold(): () => void {
    this.#holds++;
    return () => {
      this.#holds--;
      if (this.#holds === 0 && this.#underWay) this.#options.onWork();
    };
  }

  /** Calls `done` when all that there is to remove is gone from the disk, for which it hurries now. */
  whenDone(done: Done): void {
    if (this.#underWay) {
      this.#whenDone.push(done);
      this.#options.onWork();
    } else this.#options.commit(done);
  }

  /** One slice. */
  work(): void {
    const { backend, store } = this.#options.state();
    const before = backend.pendingWrites;
    const done = store.compactSlice(COMPACTION_SLICE_REVISIONS);
    this.#pendingRemovals += backend.pendingWrites - before;
    if (!done) return;
    this.#underWay = false;
    this.#options.onUnderWay(false);
    const waiting = this.#whenDone;
    if (waiting.length === 0) return;
    this.#whenDone = [];
    this.#options.commit((error) => {
      for (const tell of waiting) tell(error);
    });
  }

  get #isAtLimit(): boolean {
    const writes = this.#options.state().backend.pendingWrites - this.#pendingRemovals;
    const least = this.#whenDone.length > 0 ? AWAITED_REMOVALS_PER_COMMIT : COMPACTION_REMOVALS_PER_COMMIT;
    return this.#pendingRemovals >= Math.max(least, REMOVALS_PER_WRITE * writes);
  }
}
