import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { CLIENT_PREFACE, Flag, FrameType, frame } from '../../server/http2/frames.ts';
import { HpackEncoder } from '../../server/http2/hpack.ts';
import { Client, destroyClients, POST, REQUEST, type Recorded, record, settings, settle } from './support.ts';

afterEach(destroyClients);

/**
 * Frames that are nearly right, in any order: whatever a client sends, nothing throws, limits hold, every stream is
 * closed once, and nothing is left behind.
 */

const streamId = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(1, 3, 5, 7, 9, 11, 13, 15) },
  { weight: 1, arbitrary: fc.constantFrom(0, 2, 0x7fffffff) },
);
const flags = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(0, Flag.END_HEADERS, Flag.END_STREAM | Flag.END_HEADERS, Flag.END_STREAM) },
  { weight: 1, arbitrary: fc.nat({ max: 255 }) },
);
const uint32 = fc.oneof(fc.nat({ max: 70_000 }), fc.constantFrom(0, 1, 0x7fffffff, 0xffffffff)).map((value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
});
const setting = fc.tuple(fc.integer({ min: 1, max: 7 }), fc.constantFrom(0, 1, 100, 65_535, 16_384, 0x7fffffff));
const junk = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));

type Step = (encoder: HpackEncoder) => Buffer;
const plain = (bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Step> => bytes.map((made) => () => made);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(streamId, flags, fc.constantFrom(REQUEST, POST, [...POST, ['content-length', '3'] as const]))
      .map(
        ([id, flag, fields]) =>
          (encoder: HpackEncoder) =>
            frame(FrameType.HEADERS, flag, id, encoder.encode(fields)),
      ),
  },
  {
    weight: 5,
    arbitrary: plain(fc.tuple(streamId, flags, junk).map(([id, flag, body]) => frame(FrameType.DATA, flag, id, body))),
  },
  {
    weight: 3,
    arbitrary: plain(fc.tuple(streamId, uint32).map(([id, body]) => frame(FrameType.WINDOW_UPDATE, 0, id, body))),
  },
  {
    weight: 2,
    arbitrary: plain(fc.tuple(streamId, uint32).map(([id, body]) => frame(FrameType.RST_STREAM, 0, id, body))),
  },
  { weight: 2, arbitrary: plain(fc.array(setting, { maxLength: 4 }).map(settings)) },
  {
    weight: 1,
    arbitrary: plain(
      fc.tuple(fc.nat({ max: 10 }), flags, streamId, junk).map(([type, flag, id, body]) => frame(type, flag, id, body)),
    ),
  },
  { weight: 1, arbitrary: plain(junk) },
);

describe('nearly right frames', () => {
  it('break nothing', async () => {
    let survived = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 40 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 60 })),
        fc.infiniteStream(fc.constantFrom('now', 'end', 'never', 'reset', 'large')),
        async (steps, sizes, answers) => {
          const seen: Recorded[] = [];
          const client = new Client({
            maxConcurrentStreams: 3,
            streamWindowBytes: 100,
            onStream: (stream) => {
              const answer = answers.next().value;
              const respond = () => stream.respond(Buffer.from([0x88]), Buffer.from('body'), Buffer.from([0x89]));
              seen.push(record(stream, answer === 'end' ? { end: respond } : {}));
              if (answer === 'now') respond();
              else if (answer === 'reset') stream.reset(2);
              else if (answer === 'large') {
                stream.sendHeaders([[':status', '200']]);
                stream.sendData(Buffer.alloc(100_000), true);
              }
            },
          });
          const encoder = new HpackEncoder();
          const bytes = Buffer.concat([CLIENT_PREFACE, settings([]), ...steps.map((one) => one(encoder))]);
          for (let at = 0; at < bytes.length; ) {
            const size = sizes.next().value;
            client.wire.push(Buffer.from(bytes.subarray(at, at + size)));
            at += size;
            expect(client.connection.streamCount).toBeLessThanOrEqual(3);
          }
          await settle();
          if (client.goaway === undefined) survived++;
          expect(seen.filter((one) => one.closes === 0)).toHaveLength(client.connection.streamCount);
          client.destroy();
          expect(seen.every((one) => one.closes === 1)).toBe(true);
          expect(client.connection.streamCount).toBe(0);
          expect(client.connection.queuedBytes).toBe(0);
        },
      ),
      { numRuns: 600 },
    );
    expect(survived).toBeGreaterThan(5); // else the generator is too wild to get anywhere
  });
});
