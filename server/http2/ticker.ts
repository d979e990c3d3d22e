/**
 * One coarse timer for the time limits of all connections, so that none needs timers of its own. Runs only while there
 * is something to watch, and never keeps the process alive.
 */

export interface Ticking {
  /** Called about every {@link TICK_MS} with the monotonic time. */
  tick(nowMs: number): void;
}

export const TICK_MS = 500;

const watched = new Set<Ticking>();
let timer: NodeJS.Timeout | undefined;

export function watch(ticking: Ticking): void {
  watched.add(ticking);
  if (timer !== undefined) return;
  timer = setInterval(() => {
    const nowMs = performance.now();
    for (const one of watched) one.tick(nowMs);
  }, TICK_MS);
  timer.unref();
}

export function unwatch(ticking: Ticking): void {
  watched.delete(ticking);
  if (watched.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}
