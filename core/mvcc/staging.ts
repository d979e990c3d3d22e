/**
 * The contract of how a received state takes the place of the one in force: a backend beside it, filled at leisure, then
 * adopted in one step. Two implementations (memory-staging.ts, server/disk/lmdb-staging.ts). Knows nothing of what a
 * backend holds.
 */
import type { Backend } from './backend.ts';

export interface Staging {
  /** A fresh, empty backend. What an earlier one left is removed. One at a time, until it is adopted or discarded. */
  begin(): Backend;
  /**
   * Makes `backend`, all of it committed, the one that the next start opens: atomically, whatever crash comes. It can be
   * read and written all the while. An error is final: nobody knows which of the two the next start will find.
   */
  adopt(backend: Backend, done: (error?: Error) => void): void;
  /** Closes and removes, in the background, what {@link begin} has made and nobody wants. */
  discard(backend: Backend): void;
  /** Closes and removes, in the background, a backend that another one has replaced and nobody reads any more. */
  retire(backend: Backend): void;
}
