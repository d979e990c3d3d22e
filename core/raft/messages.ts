/**
 * What Raft nodes say to each other, as one schema message. Owns names and numbers only; when a message is sent and
 * what it does is in raft.ts and replication.ts.
 */

import { Entry } from '../wire/messages.ts';
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

/** The RPCs of figure 2 of the Raft paper, each as a request and a response, and PreVote (dissertation 9.6). */
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
  },
} as const satisfies EnumType;
export type MessageType = (typeof MessageType.values)[keyof typeof MessageType.values];

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
  };
}
