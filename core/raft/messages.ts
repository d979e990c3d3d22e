/**
 * What Raft nodes say to each other, as one schema message. Owns names and numbers only; when a message is sent and
 * what it does is in raft.ts, replication.ts and follower.ts.
 */

import {
  bool,
  counter,
  type Decoded,
  type EnumType,
  enumeration,
  message,
  repeated,
  sub,
  uint64,
} from '../wire/schema.ts';
import { Entry } from '../wire/stored.ts';

/**
 * The RPCs of figure 2 of the Raft paper, each as a request and a response; PreVote (dissertation 9.6); InstallSnapshot
 * (paper, figure 13), whose response is an APPEND_RESPONSE; and TimeoutNow (dissertation 3.10).
 */
export const MessageType = {
  name: 'roster.raft.MessageType',
  values: {
    PRE_VOTE: 1,
    PRE_VOTE_RESPONSE: 2,
    VOTE: 3,
    VOTE_RESPONSE: 4,
    APPEND: 5,
    APPEND_RESPONSE: 6,
    HEARTBEAT: 7,
    HEARTBEAT_RESPONSE: 8,
    SNAPSHOT: 9,
    TIMEOUT_NOW: 10,
  },
} as const satisfies EnumType;
export type MessageType = (typeof MessageType.values)[keyof typeof MessageType.values];

/** The configuration after an entry: who votes, who only listens. With `voters_outgoing` it is joint (paper section 6). */
export const ConfState = message('roster.raft.ConfState', {
  voters: repeated(uint64(1)),
  learners: repeated(uint64(2)),
  /** The voters before the change, whose majority is needed as well until the joint configuration is left. */
  voters_outgoing: repeated(uint64(3)),
  /** Of the outgoing voters, those that become learners when the joint configuration is left. */
  learners_next: repeated(uint64(4)),
  /** Whether the leader leaves the joint configuration by itself. */
  auto_leave: bool(5),
});
export type ConfState = Decoded<typeof ConfState>;

/** What Raft knows of a snapshot: the last entry it includes, and the configuration there. Its content is the driver's. */
export const Snapshot = message('roster.raft.Snapshot', {
  index: counter(1),
  term: counter(2),
  conf_state: sub(3, () => ConfState),
});
export type Snapshot = Decoded<typeof Snapshot>;

/**
 * `index` and `log_term` name a place in the log: the sender's last entry (votes), the entry before `entries` (APPEND),
 * the last entry now equal to the leader's (APPEND_RESPONSE), or the entry that was refused (the same with `reject`;
 * then `reject_hint` and `log_term` say from where the leader should try next). `context` is the ReadIndex round that a
 * heartbeat carries and its response repeats; 0 for none.
 */
export const Message = message('roster.raft.Message', {
  type: enumeration(1, MessageType),
  to: uint64(2),
  from: uint64(3),
  term: counter(4),
  log_term: counter(5),
  index: counter(6),
  entries: repeated(sub(7, () => Entry)),
  commit: counter(8),
  reject: bool(9),
  reject_hint: counter(10),
  context: counter(11),
  /** SNAPSHOT. The driver that streams a later state than this one says here what it really sends. */
  snapshot: sub(12, () => Snapshot),
  /** VOTE of a node that was told to by the leader (dissertation 4.2.3: who hears that leader grants it all the same). */
  transfer: bool(13),
  /** APPEND without entries, which only tells the commit index: to be answered only if it is refused. */
  quiet: bool(16),
  /** APPEND_RESPONSE of a node without a configuration: it can begin only with a snapshot. */
  needs_snapshot: bool(14),
  /** Responses: the life in which the sender refills its lost log. APPEND: that refill is complete. See refill.ts. */
  refill: uint64(15),
});
export type Message = Decoded<typeof Message>;

/** A message with nothing set but its kind and the term it speaks for; the outbox fills in `from`. */
export function newMessage(type: MessageType, to: bigint, term: number): Message {
  return {
    type,
    to,
    from: 0n,
    term,
    log_term: 0,
    index: 0,
    entries: [],
    commit: 0,
    reject: false,
    reject_hint: 0,
    context: 0,
    transfer: false,
    quiet: false,
    needs_snapshot: false,
    refill: 0n,
  };
}
