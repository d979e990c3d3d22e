/**
 * What a member measures of itself where the work is done: the disk, the stages a request goes through, how late the event
 * loop is. Owns plain numbers that /metrics reads; decides nothing, and delays nothing.
 */
import type { NodeObserver, NodeWal, World } from '../core/node/world.ts';
import { DurationHistogram } from './duration-histogram.ts';

/** One look at the event loop in so many milliseconds. */
const LOOP_INTERVAL_MS = 100;
/** Writes of the log that are followed to the state at the same time; those beyond are not measured. */
export const FOLLOWED_MAX = 256;

/** etcd's buckets for the disk: 1 ms to 8 s; but beginning earlier, since a good disk is done by then. */
const disk = () => DurationHistogram.doubling(0.125, 17);
const stage = () => DurationHistogram.doubling(0.05, 18);

export class Measurements {
  /** One durable write of the log. */
  readonly walWrite = disk();
  walWriteBytes = 0;
  readonly backendCommit = disk();
  /** From the word to the last row. */
  readonly compaction = DurationHistogram.doubling(100, 14);
  /** When the last one was done, in milliseconds since 1970; 0: none yet. */
  compactedAtMs = 0;
  #compactingSinceMs: number | undefined;
  readonly loopLag = DurationHistogram.doubling(1, 13);
  /** See {@link Stages}. */
  readonly stages: Stages;
  /** Times a leader's heartbeats left so late that the others may have missed one. */
  lateHeartbeats = 0;
  #tickedMs: number | undefined;
  #lagTimer: NodeJS.Timeout | undefined;

  constructor(options: StageOptions) {
    this.stages = new Stages(options);
  }

  walWritten(ms: number, bytes: number): void {
    this.walWrite.observe(ms);
    this.walWriteBytes += bytes;
  }

  /** One that begins while another is under way is part of it. */
  compacting(underWay: boolean): void {
    const nowMs = performance.now();
    if (underWay) this.#compactingSinceMs ??= nowMs;
    else if (this.#compactingSinceMs !== undefined) {
      this.compaction.observe(nowMs - this.#compactingSinceMs);
      this.#compactingSinceMs = undefined;
      this.compactedAtMs = Date.now();
    }
  }

  /** To be called with every tick, which should come every `intervalMs`. */
  ticked(intervalMs: number, leads: boolean): void {
    const nowMs = performance.now();
    const late = this.#tickedMs !== undefined && nowMs - this.#tickedMs > 2 * intervalMs;
    if (late && leads) this.lateHeartbeats++;
    this.#tickedMs = nowMs;
  }

  /** Begins to watch the event loop, until `close`. */
  start(): void {
    let dueMs = performance.now() + LOOP_INTERVAL_MS;
    this.#lagTimer = setInterval(() => {
      const nowMs = performance.now();
      this.loopLag.observe(Math.max(0, nowMs - dueMs));
      dueMs = nowMs + LOOP_INTERVAL_MS;
    }, LOOP_INTERVAL_MS);
    this.#lagTimer.unref();
  }

  close(): void {
    clearInterval(this.#lagTimer);
  }
}

/** A batch that took longer to apply than it may. */
export interface SlowApply {
  readonly tookMs: number;
  readonly lastIndex: number;
}

export interface StageOptions {
  /** 0: none is reported. */
  readonly slowApplyMs: number;
  readonly onSlowApply: (slow: SlowApply) => void;
}

/** A write of the log that has not been applied yet. */
interface Followed {
  readonly index: number;
  readonly beganMs: number;
}

/**
 * The stages of a write, each measured a batch at a time, since requests travel in batches: it waits for its turn of the
 * event loop, the log makes it durable, a majority commits it, the state takes it, its caller is answered.
 */
export class Stages implements NodeObserver {
  readonly turn = stage();
  readonly log = stage();
  /** From the beginning of the write to the beginning of apply: `log` and the other members, side by side. */
  readonly commit = stage();
  readonly apply = stage();
  readonly answer = stage();
  slowApplies = 0;
  readonly #options: StageOptions;
  readonly #followed: Followed[] = [];
  #lastIndex = 0;
  #pageBeganMs = 0;
  #appliedMs = 0;

  constructor(options: StageOptions) {
    this.#options = options;
  }

  /** `world`, measured. */
  observe(world: World): World {
    return {
      ...world,
      wal: this.#observeWal(world.wal),
      schedule: (run) => {
        const beganMs = performance.now();
        world.schedule(() => {
          this.turn.observe(performance.now() - beganMs);
          run();
        });
      },
      observer: this,
    };
  }

  applying(lastIndex: number): void {
    const nowMs = performance.now();
    this.#pageBeganMs = nowMs;
    this.#lastIndex = lastIndex;
    const followed = this.#followed;
    while (followed.length > 0 && followed[0]!.index <= lastIndex)
      this.commit.observe(nowMs - followed.shift()!.beganMs);
  }

  applied(): void {
    this.#appliedMs = performance.now();
    const tookMs = this.#appliedMs - this.#pageBeganMs;
    this.apply.observe(tookMs);
    const { slowApplyMs, onSlowApply } = this.#options;
    if (slowApplyMs === 0 || tookMs <= slowApplyMs) return;
    this.slowApplies++;
    onSlowApply({ tookMs: Math.round(tookMs), lastIndex: this.#lastIndex });
  }

  answered(): void {
    this.answer.observe(performance.now() - this.#appliedMs);
  }

  #observeWal(wal: NodeWal): NodeWal {
    return {
      append: (entries, hardState, done) => {
        const beganMs = performance.now();
        if (entries.length > 0) this.#follow(entries[0]!.index, entries.at(-1)!.index, beganMs);
        wal.append(entries, hardState, (error) => {
          this.log.observe(performance.now() - beganMs);
          done(error);
        });
      },
      reset: (index, term, hardState, done) => {
        // A snapshot has taken the place of what was written before: nobody applies that any more.
        this.#followed.length = 0;
        wal.reset(index, term, hardState, done);
      },
      release: (index) => wal.release(index),
      close: (done) => wal.close(done),
    };
  }

  #follow(firstIndex: number, index: number, beganMs: number): void {
    const followed = this.#followed;
    // Another leader has replaced what was written before.
    while (followed.length > 0 && followed.at(-1)!.index >= firstIndex) followed.pop();
    if (followed.length < FOLLOWED_MAX) followed.push({ index, beganMs });
  }
}
