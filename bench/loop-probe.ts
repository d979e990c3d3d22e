/**
 * Loaded into Roster's process beside it (`node --import`): how long the turns of its event loop are, looked at every
 * millisecond, from the word "begin" to the word "end" of the parent. Costs nothing in between.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 1;

/** Milliseconds by which a timer was late, which is what the turn before it took. */
export interface LoopDelay {
  readonly p999Ms: number;
  readonly maxMs: number;
}

if (process.send !== undefined) {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  process.on('message', (word) => {
    if (word === 'begin') {
      delay.reset();
      delay.enable();
    } else if (word === 'end') {
      delay.disable();
      const late = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
      const seen: LoopDelay = { p999Ms: late(delay.percentile(99.9)), maxMs: late(delay.max) };
      process.send?.(seen);
    }
  });
  // The server ends when it has ended, whoever listens.
  process.channel?.unref();
}
