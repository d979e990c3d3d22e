/**
 * Where a run can be given a known bug, to see that the simulator finds it: at the borders between the code under test
 * and its world, never inside it. Bugs inside are put there by patch-loader.ts.
 */
import type { Machine } from '../../core/node/machine.ts';
import type { Node } from '../../core/node/node.ts';
import type { PeerMessage } from '../../core/node/peer-message.ts';
import type { NodeWal } from '../../core/node/world.ts';
import { type Message, MessageType } from '../../core/raft/messages.ts';
import type { WatchResponse } from '../../core/wire/messages.ts';
import type { Member } from './member.ts';

export interface Bug {
  /** The log as the node sees it. */
  wal?: (inner: NodeWal, member: Member) => NodeWal;
  /** The machine as the node sees it. */
  machine?: (inner: Machine, member: Member) => Machine;
  /** What leaves instead of `message`. */
  message?: (message: PeerMessage) => PeerMessage[];
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

const { APPEND, PRE_VOTE, VOTE, VOTE_RESPONSE } = MessageType.values;

/** `inner` with some of its methods replaced. */
function instead<T extends object>(inner: T, changes: Partial<T>): T {
  return new Proxy(inner, {
    get(target, name) {
      const value: unknown = Reflect.get(name in changes ? changes : target, name, target);
      return typeof value === 'function' && !(name in changes) ? value.bind(target) : value;
    },
  });
}

/** `true` on every `n`-th call. */
function everyNth(n: number): () => boolean {
  let calls = 0;
  return () => ++calls % n === 0;
}

/** A log that says "durable" when it has only been asked. */
const hastyLog: NonNullable<Bug['wal']> = (inner, member) =>
  instead(inner, {
    append: (entries, hardState, done) => {
      inner.append(entries, hardState, () => {});
      member.later(0, done);
    },
  });

/** A log that writes the term and not the vote. */
const votelessLog: NonNullable<Bug['wal']> = (inner) =>
  instead(inner, {
    append: (entries, hardState, done) =>
      inner.append(entries, hardState === undefined ? undefined : { ...hardState, vote: 0n }, done),
  });

/** A machine that takes every 50th entry of others for an empty one. */
function skippingMachine(): NonNullable<Bug['machine']> {
  const skips = everyNth(50);
  return (inner, { id }) =>
    instead(inner, {
      apply(index, term, request) {
        const skip = id === 2n && request !== undefined && skips();
        return inner.apply(index, term, skip ? undefined : request) ?? (skip ? {} : undefined);
      },
    });
}

function changingRaft(change: (message: Message) => Message[]): NonNullable<Bug['message']> {
  return (message) =>
    message.raft === undefined
      ? [message]
      : change(message.raft).map((raft) => ({ ...message, from: raft.from, raft }));
}

function everyNthEvents(n: number): NonNullable<Bug['watchResponse']> {
  const loses = everyNth(n);
  return ({ events }) => events.length === 0 || !loses();
}

/** Each makes one for a run. */
export const BUGS = {
  hastyLog: () => ({ wal: hastyLog }),
  hastyLogUnwatched: () => ({ wal: hastyLog, unwatchedDisk: true }),
  lyingDisk: () => ({ lyingDiskMs: 300, unwatchedDisk: true }),
  votelessLog: () => ({ wal: votelessLog, unwatchedDisk: true }),
  boastfulCandidate: () => ({
    message: changingRaft((message) => {
      const candidate = message.type === VOTE || message.type === PRE_VOTE;
      return [candidate ? { ...message, index: 1_000_000, log_term: message.term } : message];
    }),
  }),
  hastyCommit: () => ({
    message: changingRaft((message) =>
      message.type === APPEND ? [{ ...message, commit: message.index + message.entries.length }] : [message],
    ),
  }),
  twoNames: () => ({
    message: changingRaft((message) => {
      const granted = message.type === VOTE_RESPONSE && !message.reject;
      const other = [1n, 2n, 3n].find((id) => id !== message.from && id !== message.to)!;
      return granted ? [message, { ...message, from: other }] : [message];
    }),
  }),
  skippingMachine: () => ({ machine: skippingMachine() }),
  commitLosesKeys: () => ({ commitLosesKeys: true }),
  localReads: () => ({ read: (done: () => void) => done() }),
  proposedTwice: () => ({ proposals: 2 }),
  fastClock: () => ({ clock: (ms: number) => ms * 2 }),
  lossyWatch: () => ({ watchResponse: everyNthEvents(40) }),
  resumedLate: () => ({ resumeSkips: 1 }),
} as const satisfies Record<string, () => Bug>;
export type BugName = keyof typeof BUGS;
