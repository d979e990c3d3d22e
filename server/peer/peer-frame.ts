/**
 * What one WebSocket frame between members holds: PeerMessages, one after the other. Owns that format, and which messages
 * may overtake others. Never looks at who sent them.
 */
import { GrpcStatus, otherError } from '../../core/errors.ts';
import { PeerMessage } from '../../core/node/peer-message.ts';
import { MessageType } from '../../core/raft/messages.ts';
import { decode, encode } from '../../core/wire/binary.ts';
import { Reader } from '../../core/wire/reader.ts';
import { message, repeated, sub } from '../../core/wire/schema.ts';

/** The encodings of two frames, one after the other, are the encoding of the frame with the messages of both. */
const PeerFrame = message('roster.PeerFrame', { messages: repeated(sub(1, () => PeerMessage)) });

/** Field 1, length-delimited. */
const MESSAGE_TAG = 0x0a;

/** A frame of this one message. Such frames can be joined end to end. */
export function encodeFrame(one: PeerMessage): Uint8Array {
  return encode(PeerFrame, { messages: [one] });
}

/**
 * The messages of a frame; their `bytes` are views into it. Throws a RosterError INTERNAL when it is none, or holds more
 * than `messagesMax`: so the work is bounded before it is done.
 */
export function decodeFrame(frame: Uint8Array, messagesMax: number): PeerMessage[] {
  const messages: PeerMessage[] = [];
  const reader = new Reader(frame, 0, frame.length);
  while (reader.at < reader.end) {
    const tag = reader.tag();
    if (tag !== MESSAGE_TAG) {
      reader.skip(tag & 7);
      continue;
    }
    if (messages.length === messagesMax) {
      throw otherError(GrpcStatus.INTERNAL, `a frame of more than ${messagesMax} messages`);
    }
    const end = reader.block();
    messages.push(decode(PeerMessage, frame, reader.at, end));
    reader.at = end;
  }
  return messages;
}

/**
 * True for what must not wait behind data: heartbeats and votes keep leaders in office, answers let others go on. What
 * carries data - APPEND, Forward, Chunk - keeps its order: an APPEND that overtakes another is refused.
 */
export function isUrgent(message: PeerMessage): boolean {
  if (message.raft !== undefined) return message.raft.type !== MessageType.values.APPEND;
  return message.forward === undefined && message.chunk === undefined;
}
