/**
 * Decides whether a lone durable write is done on the calling thread. Two thread hops cost as much as a fast disk, so
 * for one client inline is twice as quick; but it stops the event loop for as long as the disk takes. Knows no clock:
 * it is told how long each inline write took.
 */

/** An inline write that takes longer has held up everybody else for too long. */
export const INLINE_MILLISECONDS_MAX = 1;
/** Larger writes go to the thread pool: there the hops do not matter. */
export const INLINE_BYTES_MAX = 64 * 1024;
/** Lone writes sent to the pool after one slow inline write; doubled each time the next probe is slow again. */
export const PAUSE_WRITES_MIN = 16;
export const PAUSE_WRITES_MAX = 4096;

/** Fast inline writes in a row that halve the next pause. */
export const FORGIVEN_WRITES = 16;

export class InlineGuard {
  /** Lone writes to go before inline is tried again. */
  #pauseWrites = 0;
  #nextPauseWrites = PAUSE_WRITES_MIN;
  #fastWrites = 0;

  /** Whether to do this lone write of `bytes` inline. Counts it. */
  allows(bytes: number): boolean {
    if (bytes > INLINE_BYTES_MAX) return false;
    if (this.#pauseWrites === 0) return true;
    this.#pauseWrites--;
    return false;
  }

  /** An inline write took so long. */
  took(milliseconds: number): void {
    if (milliseconds > INLINE_MILLISECONDS_MAX) {
      this.#pauseWrites = this.#nextPauseWrites;
      this.#nextPauseWrites = Math.min(this.#nextPauseWrites * 2, PAUSE_WRITES_MAX);
      this.#fastWrites = 0;
    } else if (++this.#fastWrites >= FORGIVEN_WRITES) {
      this.#nextPauseWrites = Math.max(this.#nextPauseWrites / 2, PAUSE_WRITES_MIN);
      this.#fastWrites = 0;
    }
  }
}
