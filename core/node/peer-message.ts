/**
 * What members say to each other: Raft's messages, and what the drivers add to them - requests passed on to the leader,
 * questions only it can answer, and the content of snapshots. One schema; owns no behaviour but which lane a message
 * belongs to.
 */
import { Message } from '../raft/messages.ts';
import { LeaseTimeToLiveResponse } from '../wire/messages.ts';
import {
  bool,
  bytes,
  counter,
  type Decoded,
  int64,
  key,
  message,
  oneof,
  repeated,
  revision,
  string,
  sub,
  uint64,
} from '../wire/schema.ts';
import { MemberChange } from '../wire/stored.ts';

/**
 * Requests for the leader of `term`, to be put into its log together and at most once, however often this arrives: the
 * leader remembers the batches from `floor` on, below which the sender sends nothing again.
 */
export const Forward = message('roster.Forward', {
  term: counter(1),
  batch: uint64(2),
  floor: uint64(3),
  /** Encoded InternalRequests. */
  requests: repeated(bytes(4)),
  /** Instead of requests. */
  member_change: sub(5, () => MemberChange),
  /** The life of the sending process: batches of different runs have nothing to do with each other. */
  run: uint64(6),
});
export type Forward = Decoded<typeof Forward>;

/** An error as it travels between members. */
export const PeerError = message('roster.PeerError', { status: counter(1), text: string(2) });
export type PeerError = Decoded<typeof PeerError>;

/** The leader has the batch: it will be in its log unless its term ends before. Or it was refused, and nothing has happened. */
export const ForwardReply = message('roster.ForwardReply', {
  term: counter(1),
  batch: uint64(2),
  error: sub(3, () => PeerError),
});
export type ForwardReply = Decoded<typeof ForwardReply>;

export const TimeToLiveQuestion = message('roster.TimeToLiveQuestion', { lease: int64(1), keys: bool(2) });

/** A question for the leader. `number` is the asking run's own; an answer repeats it. */
export const Ask = message('roster.Ask', {
  number: uint64(1),
  /** From which index on may a read that began before this be answered? */
  read_index: oneof('question', bool(2)),
  renew_lease: oneof('question', int64(3)),
  time_to_live: oneof(
    'question',
    sub(4, () => TimeToLiveQuestion),
  ),
});
export type Ask = Decoded<typeof Ask>;

/** `error`: NotLeader when it must be asked elsewhere. */
export const Answer = message('roster.Answer', {
  number: uint64(1),
  error: oneof(
    'answer',
    sub(2, () => PeerError),
  ),
  read_index: oneof('answer', counter(3)),
  /** Seconds; 0: there is no such lease, or its time is up. */
  renewed_ttl: oneof('answer', revision(4)),
  time_to_live: oneof(
    'answer',
    sub(5, () => LeaseTimeToLiveResponse),
  ),
});
export type Answer = Decoded<typeof Answer>;

/** Asks for the next rows of the snapshot that was offered for `index`; a window of chunks answers. */
export const ChunkRequest = message('roster.ChunkRequest', {
  /** Names the snapshot: the sender may have another by now. */
  snapshot: uint64(1),
  from: key(2),
  /** CRC-32 of everything before, with which the sender goes on. */
  crc: counter(3),
  /** The receiver has all of it and is putting it in force. */
  complete: bool(4),
  /** The receiver cannot use it after all. */
  abandoned: bool(5),
  /** The receiver's disk is behind: it will ask again. */
  paused: bool(6),
});
export type ChunkRequest = Decoded<typeof ChunkRequest>;

export const Chunk = message('roster.Chunk', {
  snapshot: uint64(1),
  from: key(2),
  rows: bytes(3),
  /** Where to go on; with `last`, of no meaning. */
  next: key(4),
  last: bool(5),
  /** CRC-32 over all rows up to the end of these. */
  crc: counter(6),
  /** The sender no longer has this snapshot; nothing else is set. */
  gone: bool(7),
});
export type Chunk = Decoded<typeof Chunk>;

/** From one member to another; exactly one of the parts is set. */
export const PeerMessage = message('roster.PeerMessage', {
  from: uint64(1),
  to: uint64(2),
  raft: oneof(
    'part',
    sub(3, () => Message),
  ),
  forward: oneof(
    'part',
    sub(4, () => Forward),
  ),
  forward_reply: oneof(
    'part',
    sub(5, () => ForwardReply),
  ),
  ask: oneof(
    'part',
    sub(6, () => Ask),
  ),
  answer: oneof(
    'part',
    sub(7, () => Answer),
  ),
  chunk_request: oneof(
    'part',
    sub(8, () => ChunkRequest),
  ),
  chunk: oneof(
    'part',
    sub(9, () => Chunk),
  ),
  /** With a SNAPSHOT of Raft: the name under which its content can be asked for. */
  snapshot: uint64(10),
});
export type PeerMessage = Decoded<typeof PeerMessage>;

/**
 * Which connection carries it. `bulk`: contents of snapshots, which must not hold up anything else. `stream`: the rest.
 */
export function laneOf(message: PeerMessage): 'stream' | 'bulk' {
  return message.chunk === undefined ? 'stream' : 'bulk';
}
