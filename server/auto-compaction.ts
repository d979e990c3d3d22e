/**
 * Auto-compaction: the leader proposes to compact what is older than --auto-compaction-retention, at the times at which
 * etcd's compactors do; and earlier while the space quota is nearly used up. Owns when and how far; removal itself happens
 * in slices, on every member (core/mvcc/compaction.ts).
 */
import type { StateMachine } from '../core/apply/state-machine.ts';
import { RosterError } from '../core/errors.ts';
import type { Node } from '../core/node/node.ts';
import type { Logger } from './config/log.ts';

/** etcd: v3compactor.revInterval. */
export const REVISION_INTERVAL_MS = 5 * 60_000;
/** etcd compacts a longer period once an hour. */
const PERIOD_INTERVAL_MS_MAX = 3_600_000;
const SAMPLES_PER_INTERVAL = 10;
/** Of the space quota: from here on history goes earlier than the retention says. */
export const PRESSURE_PART = 0.6;
/** ... if history is so much of the quota. Otherwise it is the live keys that fill it. */
const PRESSURE_HISTORY_PART = 0.05;

export type Retention =
  | { readonly mode: 'periodic'; readonly periodMs: number }
  | { readonly mode: 'revision'; readonly revisions: number };

/** When a retention says that something is to be compacted. */
export interface Schedule {
  /** To be asked often; which revision to compact now, if any. `leading`: whether it will be done. */
  due(nowMs: number, revision: number, leading: boolean): number | undefined;
  /** `revision`, which was due, has been compacted. */
  done(nowMs: number, revision: number): void;
}

/** Samples the revision, and compacts to what it was a period ago (etcd: v3compactor.Periodic). */
export class PeriodicSchedule implements Schedule {
  readonly #periodMs: number;
  readonly #intervalMs: number;
  readonly #sampleMs: number;
  readonly #samplesMax: number;
  /** Oldest first. */
  readonly #samples: number[] = [];
  #nextSampleMs: number;
  #lastDoneMs: number;
  #lastRevision = 0;
  #first = true;

  constructor(periodMs: number, nowMs: number) {
    this.#periodMs = periodMs;
    this.#intervalMs = Math.min(periodMs, PERIOD_INTERVAL_MS_MAX);
    this.#sampleMs = this.#intervalMs / SAMPLES_PER_INTERVAL;
    this.#samplesMax = Math.floor(periodMs / this.#sampleMs) + 1;
    this.#nextSampleMs = nowMs;
    this.#lastDoneMs = nowMs;
  }

  due(nowMs: number, revision: number, leading: boolean): number | undefined {
    if (nowMs < this.#nextSampleMs) return undefined;
    const oldest = this.#samples[0];
    // Who was suspended for long takes one sample, not all that it missed.
    this.#nextSampleMs = Math.max(this.#nextSampleMs + this.#sampleMs, nowMs);
    this.#samples.push(revision);
    if (this.#samples.length > this.#samplesMax) this.#samples.shift();
    const waitMs = this.#first ? this.#periodMs : this.#intervalMs;
    if (!leading || oldest === undefined || nowMs - this.#lastDoneMs < waitMs) return undefined;
    return oldest === this.#lastRevision ? undefined : oldest;
  }

  done(nowMs: number, revision: number): void {
    this.#first = false;
    this.#lastDoneMs = nowMs;
    this.#lastRevision = revision;
  }
}

/** Every five minutes, all but the last so many revisions (etcd: v3compactor.Revision). */
export class RevisionSchedule implements Schedule {
  readonly #revisions: number;
  #nextMs: number;
  #last = 0;

  constructor(revisions: number, nowMs: number) {
    this.#revisions = revisions;
    this.#nextMs = nowMs + REVISION_INTERVAL_MS;
  }

  due(nowMs: number, revision: number, leading: boolean): number | undefined {
    if (nowMs < this.#nextMs) return undefined;
    this.#nextMs = nowMs + REVISION_INTERVAL_MS;
    const target = revision - this.#revisions;
    return leading && target > 0 && target !== this.#last ? target : undefined;
  }

  done(_nowMs: number, revision: number): void {
    this.#last = revision;
  }
}

export interface AutoCompactionOptions {
  readonly retention: Retention;
  /** Newest revisions that stay in any case; below 0: nothing is compacted early. See --quota-compaction-floor. */
  readonly floorRevisions: number;
  readonly machine: Pick<StateMachine, 'store' | 'compacting'>;
  readonly node: Pick<Node, 'propose' | 'status'>;
  readonly quota: { readonly bytesMax: number; readonly usedPart: number };
  /** Monotonic. */
  readonly clock: { nowMs(): number };
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

export class AutoCompaction {
  readonly #options: AutoCompactionOptions;
  readonly #schedule: Schedule;
  #busy = false;

  constructor(options: AutoCompactionOptions) {
    this.#options = options;
    const { retention, clock } = options;
    this.#schedule =
      retention.mode === 'periodic'
        ? new PeriodicSchedule(retention.periodMs, clock.nowMs())
        : new RevisionSchedule(retention.revisions, clock.nowMs());
  }

  /** To be called several times a second. */
  look(): void {
    const { machine, node, clock } = this.#options;
    const leading = node.status().isLeader;
    const due = this.#schedule.due(clock.nowMs(), machine.store.revision, leading);
    if (!leading || this.#busy) return;
    if (due !== undefined) this.#compact(due, 'auto-compaction', () => this.#schedule.done(clock.nowMs(), due));
    else {
      const early = this.#pressed();
      if (early !== undefined)
        this.#compact(early, 'auto-compaction before its time: the space quota is nearly used up');
    }
  }

  /** What to compact because space is short: half of the history in time, or all that the retention lets go of. */
  #pressed(): number | undefined {
    const { retention, floorRevisions, machine, quota } = this.#options;
    const { store } = machine;
    if (floorRevisions < 0 || quota.usedPart < PRESSURE_PART || machine.compacting) return undefined;
    if (store.bytes.history < PRESSURE_HISTORY_PART * quota.bytesMax) return undefined;
    const compacted = Math.max(0, store.compactRevision);
    const half = compacted + Math.ceil((store.revision - compacted) / 2);
    const target =
      retention.mode === 'revision'
        ? store.revision - retention.revisions
        : Math.min(half, store.revision - floorRevisions);
    return target > compacted ? target : undefined;
  }

  #compact(revision: number, what: string, done: () => void = () => {}): void {
    const { node, log } = this.#options;
    this.#busy = true;
    node.propose({ compaction: { revision, physical: false } }, (result) => {
      this.#busy = false;
      // Somebody else has compacted beyond it: just as well.
      const failed = result instanceof RosterError && result.code !== 'Compacted';
      if (failed) log.warn({ error: result, revision }, `${what}: it has not been done, and is tried again`);
      else {
        log.info({ revision }, what);
        done();
      }
    });
  }
}
