import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssemblyMemory, MessageReader } from '../../server/grpc/message-reader.ts';
import { prefixed } from './rig.ts';

const BYTES_MAX = 100_000;

/** Views, not copies: memory that is written to again would show. */
function collect(memory = new AssemblyMemory(1 << 30), encoding?: string) {
  const messages: Uint8Array[] = [];
  const sink = {
    message: (bytes: Uint8Array, start: number, end: number) => {
      messages.push(bytes.subarray(start, end));
      return true;
    },
  };
  return { messages, memory, reader: new MessageReader(sink, BYTES_MAX, memory, encoding) };
}

describe('MessageReader', () => {
  it('finds the same messages however the bytes are cut, and gives its memory back', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ size: fc.oneof(fc.nat({ max: 12 }), fc.nat({ max: 50_000 })), gzip: fc.boolean() }), {
          maxLength: 8,
        }),
        fc.infiniteStream(fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 30_000 }))),
        (plans, sizes) => {
          const bodies = plans.map((plan, i) => Buffer.alloc(plan.size, i + 1));
          const framed = plans.map((plan, i) => (plan.gzip ? prefixed(gzipSync(bodies[i]!), 1) : prefixed(bodies[i]!)));
          const bytes = Buffer.concat(framed);
          const { messages, memory, reader } = collect(undefined, 'gzip');
          for (let at = 0; at < bytes.length; ) {
            const end = Math.min(bytes.length, at + sizes.next().value);
            reader.push(bytes, at, end);
            at = end;
          }
          expect(messages.length).toBe(bodies.length);
          messages.forEach((message, i) => {
            expect(Buffer.compare(message, bodies[i]!)).toBe(0);
          });
          expect(reader.midMessage).toBe(false);
          expect(memory.bytes).toBe(0);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('sets memory aside as bytes come, not as they are announced', () => {
    const { memory, reader } = collect();
    const bytes = prefixed(Buffer.alloc(BYTES_MAX));
    reader.push(bytes, 0, 6);
    expect(memory.bytes).toBe(16_384);
    reader.push(bytes, 6, 20_000);
    expect(memory.bytes).toBeLessThanOrEqual(40_000);
    reader.release();
    reader.release();
    expect(memory.bytes).toBe(0);
  });

  it('takes the shared memory to its last byte, and no further', () => {
    const memory = new AssemblyMemory(16_384);
    const first = collect(memory);
    const second = collect(memory);
    const bytes = prefixed(Buffer.alloc(16_384));
    first.reader.push(bytes, 0, 100);
    expect(() => second.reader.push(bytes, 0, 100)).toThrow('too many requests');
    first.reader.push(bytes, 100, bytes.length);
    expect(first.messages[0]).toHaveLength(16_384);
    expect(memory.bytes).toBe(0);
  });

  it('wants no more messages than its sink', () => {
    const messages: number[] = [];
    const sink = { message: (_bytes: Uint8Array, start: number, end: number) => messages.push(end - start) < 2 };
    const reader = new MessageReader(sink, BYTES_MAX, new AssemblyMemory(1 << 20), undefined);
    const bytes = Buffer.concat([1, 2, 3].map((size) => prefixed(Buffer.alloc(size))));
    reader.push(bytes, 0, bytes.length);
    expect(messages).toEqual([1, 2]);
  });
});
