import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { Answer, Ask, Chunk, ChunkRequest, Forward, ForwardReply, PeerMessage } from '../../core/node/peer-message.ts';
import { MessageType } from '../../core/raft/messages.ts';
import { defaults } from '../../core/wire/binary.ts';
import { decodeFrame, encodeFrame, isUrgent } from '../../server/peer/peer-frame.ts';
import { append, chunk, heartbeat, raft } from './rig.ts';

describe('frames', () => {
  it('joined end to end hold the messages of all', () => {
    const messages = [heartbeat(1n, 2n, 7), append(1n, 2n, 5, 300), chunk(1n, 2n, 9n)];
    const decoded = decodeFrame(Buffer.concat(messages.map(encodeFrame)), 3);
    expect(decoded.map((message) => Buffer.from(encodeFrame(message)))).toEqual(
      messages.map((message) => Buffer.from(encodeFrame(message))),
    );
    expect(decoded[1]!.raft!.entries[0]!.data.length).toBe(300);
  });

  it('of more messages than the limit are refused before the rest is read', () => {
    const frame = Buffer.concat([
      encodeFrame(heartbeat(1n, 2n)),
      encodeFrame(heartbeat(1n, 2n)),
      Buffer.from([0x0a, 0x7f]),
    ]);
    expect(() => decodeFrame(frame, 2)).toThrow('a frame of more than 2 messages');
    expect(() => decodeFrame(frame, 3)).toThrow(/a length past the end/);
    expect(decodeFrame(frame.subarray(0, -2), 2)).toHaveLength(2);
  });

  it('may hold fields that only later releases know', () => {
    const unknown = Buffer.from([0x12, 0x01, 0x00]);
    const frame = Buffer.concat([unknown, encodeFrame(heartbeat(1n, 2n)), unknown]);
    expect(decodeFrame(frame, 1)).toHaveLength(1);
  });

  it('that are none give a RosterError, never anything else', () => {
    const damaged = fc
      .tuple(fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }), fc.nat())
      .map(([changes, cut]) => {
        const frame = Buffer.concat([heartbeat(1n, 2n, 3), append(1n, 2n, 4, 20), chunk(1n, 2n, 1n)].map(encodeFrame));
        for (const [at, value] of changes) frame[at % frame.length] = value;
        return frame.subarray(0, frame.length - (cut % 4));
      });
    let refused = 0;
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), damaged), (frame) => {
        try {
          decodeFrame(frame, 10);
        } catch (error) {
          expect(error).toBeInstanceOf(RosterError);
          refused++;
        }
      }),
      { numRuns: 2000 },
    );
    expect(refused).toBeGreaterThan(400);
  });
});

describe('urgent', () => {
  it('is all of Raft but APPEND, and what answers or asks; never what carries data', () => {
    const urgent = Object.keys(MessageType.values).filter((type) =>
      isUrgent(raft(type as keyof typeof MessageType.values, 1n, 2n)),
    );
    expect(urgent).toEqual(Object.keys(MessageType.values).filter((type) => type !== 'APPEND'));
    const parts: [Partial<PeerMessage>, boolean][] = [
      [{ forward: defaults(Forward) }, false],
      [{ chunk: defaults(Chunk) }, false],
      [{ forward_reply: defaults(ForwardReply) }, true],
      [{ ask: defaults(Ask) }, true],
      [{ answer: defaults(Answer) }, true],
      [{ chunk_request: defaults(ChunkRequest) }, true],
    ];
    for (const [part, expected] of parts) expect(isUrgent({ ...defaults(PeerMessage), ...part })).toBe(expected);
  });
});
