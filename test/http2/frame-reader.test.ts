import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameReader } from '../../server/http2/frame-reader.ts';
import { frame } from '../../server/http2/frames.ts';
import { hex } from './support.ts';

function collect(payloadBytesMax = 16_384, stopAfter = Number.POSITIVE_INFINITY) {
  const frames: string[] = [];
  const reader = new FrameReader(
    {
      frame(type, flags, streamId, bytes, start, end) {
        frames.push(`${type} ${flags} ${streamId} ${bytes.toString('hex', start, end)}`);
        return frames.length < stopAfter;
      },
      oversizedFrame(type, streamId, payloadBytes) {
        frames.push(`oversized ${type} ${streamId} ${payloadBytes}`);
      },
    },
    payloadBytesMax,
  );
  return { frames, reader };
}

const anyFrame = fc.record({
  type: fc.nat({ max: 255 }),
  flags: fc.nat({ max: 255 }),
  streamId: fc.nat({ max: 0x7fffffff }),
  payload: fc.uint8Array({ maxLength: 40 }),
});

describe('FrameReader', () => {
  it('finds the same frames however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 12 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 30 })),
        (list, sizes) => {
          const bytes = Buffer.concat(list.map((one) => frame(one.type, one.flags, one.streamId, one.payload)));
          const { frames, reader } = collect();
          for (let at = 0; at < bytes.length; ) {
            const size = sizes.next().value;
            reader.push(bytes.subarray(at, at + size));
            at += size;
          }
          expect(frames).toEqual(
            list.map((one) => `${one.type} ${one.flags} ${one.streamId} ${Buffer.from(one.payload).toString('hex')}`),
          );
          expect(reader.midFrame).toBe(false);
          expect(reader.frames).toBe(list.length);
        },
      ),
    );
  });

  it('says while a frame is not whole', () => {
    const { reader } = collect();
    const bytes = frame(0, 0, 1, Buffer.from('abc'));
    for (let at = 0; at < bytes.length; at++) {
      expect(reader.midFrame).toBe(at > 0);
      reader.push(bytes.subarray(at, at + 1));
    }
    expect(reader.midFrame).toBe(false);
  });

  it('refuses a payload of one byte more than the limit before it has come, and reads nothing after it', () => {
    for (const cutAt of [9, 4, 1]) {
      const { frames, reader } = collect(100);
      const bytes = Buffer.concat([frame(0, 0, 1, Buffer.alloc(100)), hex('000065 00 01 00000003'), Buffer.alloc(200)]);
      reader.push(bytes.subarray(0, 109 + cutAt));
      reader.push(bytes.subarray(109 + cutAt));
      expect(frames).toEqual([`0 0 1 ${'00'.repeat(100)}`, 'oversized 0 3 101']);
    }
  });

  it('stops when it is told to', () => {
    const { frames, reader } = collect(16_384, 1);
    reader.push(Buffer.concat([frame(6, 0, 0, hex('01')), frame(6, 0, 0, hex('02'))]));
    reader.push(frame(6, 0, 0, hex('03')));
    expect(frames).toEqual(['6 0 0 01']);
  });

  it('never writes again to memory it has handed on', () => {
    const seen: Buffer[] = [];
    const reader = new FrameReader(
      {
        frame: (_type, _flags, _id, bytes, start, end) => seen.push(bytes.subarray(start, end)) > 0,
        oversizedFrame() {},
      },
      100,
    );
    for (const text of ['first', 'other']) {
      const bytes = frame(0, 0, 1, Buffer.from(text));
      reader.push(bytes.subarray(0, 11));
      reader.push(bytes.subarray(11));
    }
    expect(seen.map(String)).toEqual(['first', 'other']);
  });
});
