/** Waiting: pauses that grow, and both kinds of wait ended early by an AbortSignal. Knows no connection. */
import { setMaxListeners } from 'node:events';

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

/** The pauses between attempts: doubling from 50 ms to 2 s, each with jitter so that a fleet does not return as one. */
export class Backoff {
  #pauseMs = FIRST_PAUSE_MS;

  /** How long to wait before the next attempt: between 50 ms and 2 s. */
  next(): number {
    const pause = this.#pauseMs;
    this.#pauseMs = Math.min(pause * 2, LONGEST_PAUSE_MS);
    return Math.max(FIRST_PAUSE_MS, pause * (0.5 + Math.random() / 2));
  }

  /** The last attempt succeeded. */
  reset(): void {
    this.#pauseMs = FIRST_PAUSE_MS;
  }
}

/** Calls `listener` once when `signal` fires, at once if it has. Returns the way to take it back. */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    listener();
    return () => {};
  }
  // Many calls under one signal are no leak: each takes its listener back.
  setMaxListeners(0, signal);
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/** Resolves after `ms`, or as soon as `signal` fires. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      forget();
      resolve();
    };
    const timer = setTimeout(done, ms);
    const forget = onAbort(signal, done);
  });
}
