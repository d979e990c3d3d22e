/** What a canary is: a known bug, put back for a run of the simulator, and what must notice it. */
import type { BugName } from './bugs.ts';
import type { Patch } from './patch-loader.ts';
import type { Settings } from './settings.ts';

export interface Canary {
  /** With the number of the bug where it has one: # is an issue of etcd, raft# one of its raft library. */
  readonly name: string;
  /** Changes of the code under test. */
  readonly patches?: readonly Patch[];
  /** Or one at the border between it and its world. */
  readonly bug?: BugName;
  /** For bugs that show in few schedules: more of those. */
  readonly settings?: Partial<Settings>;
  /** The checkers that may be the first to notice. */
  readonly checkers: readonly string[];
  /** It must be found within so many schedules. */
  readonly schedulesMax: number;
}

/** Leaders that stop for a while, wake up without hearing of the others, and have clients that come back. */
export const STALLED = {
  faults: ['stallLeader'],
  strokeMs: 2_500,
  lastingMs: 8_000,
  clients: 5,
  thinkMs: 20,
  clientTimeoutMs: 500,
  memberChangeMs: 0,
} as const satisfies Partial<Settings>;
