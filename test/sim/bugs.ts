/**
 * Where a run can be given a known bug, to see that the simulator finds it: at the borders between the code under test
 * and its world, never inside it.
 */
import type { Machine } from '../../core/node/machine.ts';
import type { Node } from '../../core/node/node.ts';
import type { NodeWal } from '../../core/node/world.ts';
import type { Message } from '../../core/raft/messages.ts';
import type { WatchResponse } from '../../core/wire/messages.ts';
import type { Member } from './member.ts';

export interface Bug {
  /** The log as the node sees it. */
  wal?: (inner: NodeWal, member: Member) => NodeWal;
  /** The machine as the node sees it. */
  machine?: (inner: Machine, member: Member) => Machine;
  /** What leaves instead of `message`. */
  message?: (message: Message) => Message[];
  /** How a client's linearizable read waits. */
  read?: Node['linearizableRead'];
  /** What a client sends instead of one proposal: how many of them. */
  proposals?: number;
  /** Milliseconds of the member's clock in `ms` true ones. */
  clock?: (ms: number) => number;
  /** Nobody checks that promises are durable when they leave, so that only what comes of it can be noticed. */
  unwatchedDisk?: boolean;
  /** A loss of power takes what was confirmed in the last this many milliseconds. */
  lyingDiskMs?: number;
  /** Whether a watch response reaches its client. */
  watchResponse?: (response: WatchResponse) => boolean;
  /** Added to the revision a watch is resumed from. */
  resumeSkips?: number;
  /** A backend commit leaves out these rows. */
  commitLosesKeys?: boolean;
}
