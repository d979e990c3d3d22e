/**
 * Loaded into Roster's process beside it (`node --import`): how long the turns of its event loop are, looked at every
 * millisecond, from the word "begin" to the word "end" of the parent. Costs nothing in between.
 */
import {
  constants,
  monitorEventLoopDelay,
  type NodeGCPerformanceDetail,
  type PerformanceEntry,
  PerformanceObserver,
} from 'node:perf_hooks';

const RESOLUTION_MS = 1;

/** What an observer of 'gc' gets. */
type GcEntry = PerformanceEntry & { readonly detail: NodeGCPerformanceDetail };

/** Milliseconds by which a timer was late, which is what the turn before it took. */
export interface LoopDelay {
  readonly p999Ms: number;
  readonly maxMs: number;
  /** Garbage collections of the whole heap. */
  readonly fullCollections: number;
}

if (process.send !== undefined) {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  let fullCollections = 0;
  const collections = new PerformanceObserver((list) => {
    for (const entry of list.getEntries() as GcEntry[]) {
      if (entry.detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) fullCollections++;
    }
  });
  process.on('message', (word) => {
    if (word === 'begin') {
      fullCollections = 0;
      collections.observe({ type: 'gc' });
      delay.reset();
      delay.enable();
    } else if (word === 'end') {
      delay.disable();
      collections.disconnect();
      const late = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
      const seen: LoopDelay = { p999Ms: late(delay.percentile(99.9)), maxMs: late(delay.max), fullCollections };
      process.send?.(seen);
    }
  });
  // The server ends when it has ended, whoever listens.
  process.channel?.unref();
}
