import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { peerLimits } from '../../server/peer/limits.ts';
import { OutgoingQueue } from '../../server/peer/outgoing-queue.ts';

const item = (mark: number, length = 2): Uint8Array => new Uint8Array(length).fill(mark);

function queue(changes: Parameters<typeof peerLimits>[0]): OutgoingQueue {
  return new OutgoingQueue(peerLimits(changes));
}

describe('the queue of a connection', () => {
  it('lets urgent messages pass, and otherwise keeps the order', () => {
    const one = queue({});
    one.push(item(1));
    one.push(item(2));
    one.pushUrgent(item(8));
    one.pushUrgent(item(9));
    expect(one.takeFrame()).toEqual({ bytes: Buffer.from([8, 8, 9, 9, 1, 1, 2, 2]), messages: 4 });
    expect(one.takeFrame()).toBeUndefined();
  });

  it('drops the oldest urgent message for the one beyond the limit', () => {
    const one = queue({ urgentMessagesMax: 3 });
    expect([1, 2, 3].map((mark) => one.pushUrgent(item(mark, 1)))).toEqual([true, true, true]);
    expect(one.pushUrgent(item(4, 1))).toBe(false);
    expect(one.takeFrame()?.bytes).toEqual(Buffer.from([2, 3, 4]));
  });

  it('does not take the message beyond the limit of the backlog, by number', () => {
    const one = queue({ backlogMessagesMax: 3 });
    expect([1, 2, 3, 4].map((mark) => one.push(item(mark, 1)))).toEqual([true, true, true, false]);
    expect(one.takeFrame()?.bytes).toEqual(Buffer.from([1, 2, 3]));
    expect(one.push(item(5))).toBe(true);
  });

  it('nor by bytes, but always one', () => {
    const one = queue({ backlogBytesMax: 10 });
    expect([one.push(item(1, 10)), one.push(item(2, 1))]).toEqual([true, false]);
    one.takeFrame();
    expect([one.push(item(1, 11)), one.push(item(2, 1))]).toEqual([true, false]);
    expect(one.bytes).toBe(11);
  });

  it('puts no more into a frame than its limits say, but always one', () => {
    const bytes = queue({ frameBytesTarget: 10 });
    for (const length of [5, 5, 1, 11, 1]) bytes.push(item(7, length));
    const lengths = () => [1, 2, 3].map(() => bytes.takeFrame()?.bytes.length);
    expect(lengths()).toEqual([10, 1, 11]);
    expect(lengths()).toEqual([1, undefined, undefined]);
    const messages = queue({ frameMessagesMax: 2 });
    for (let i = 0; i < 3; i++) messages.push(item(7));
    expect([messages.takeFrame()?.messages, messages.takeFrame()?.messages]).toEqual([2, 1]);
  });

  it('behaves like two lists', () => {
    const limits = {
      urgentMessagesMax: 4,
      backlogMessagesMax: 6,
      backlogBytesMax: 40,
      frameBytesTarget: 30,
      frameMessagesMax: 5,
    };
    const step = fc.oneof(
      fc.record({ kind: fc.constantFrom('push', 'urgent'), length: fc.integer({ min: 1, max: 35 }) }),
      fc.record({ kind: fc.constantFrom('take', 'clear', 'clearBacklog'), length: fc.constant(0) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const one = queue(limits);
        let urgent: Uint8Array[] = [];
        let backlog: Uint8Array[] = [];
        const size = (list: readonly Uint8Array[]) => list.reduce((sum, { length }) => sum + length, 0);
        let mark = 0;
        for (const { kind, length } of steps) {
          const next = item(mark++ % 251, length);
          if (kind === 'urgent') {
            expect(one.pushUrgent(next)).toBe(urgent.length < 4);
            urgent = [...urgent, next].slice(-4);
          } else if (kind === 'push') {
            const taken = backlog.length < 6 && (backlog.length === 0 || size(backlog) + length <= 40);
            expect(one.push(next)).toBe(taken);
            if (taken) backlog = [...backlog, next];
          } else if (kind === 'clear') {
            expect(one.clear()).toBe(urgent.length + backlog.length);
            [urgent, backlog] = [[], []];
          } else if (kind === 'clearBacklog') {
            expect(one.clearBacklog()).toBe(backlog.length);
            backlog = [];
          } else {
            const all = [...urgent, ...backlog];
            let count = Math.min(all.length, 5);
            while (count > 1 && size(all.slice(0, count)) > 30) count--;
            const frame = one.takeFrame();
            expect(frame?.messages ?? 0).toBe(count);
            expect(Buffer.from(frame?.bytes ?? [])).toEqual(Buffer.concat(all.slice(0, count)));
            backlog = backlog.slice(Math.max(0, count - urgent.length));
            urgent = urgent.slice(count);
          }
          expect([one.length, one.bytes]).toEqual([urgent.length + backlog.length, size(urgent) + size(backlog)]);
        }
      }),
    );
  });

  it('stays cheap when it is long: everything comes out, in order', () => {
    const one = queue({ backlogMessagesMax: 10_000, frameMessagesMax: 7 });
    for (let i = 0; i < 10_000; i++) one.push(Uint8Array.of(i & 0xff, i >> 8));
    const seen: number[] = [];
    for (let frame = one.takeFrame(); frame !== undefined; frame = one.takeFrame()) {
      for (let i = 0; i < frame.bytes.length; i += 2) seen.push(frame.bytes[i]! + frame.bytes[i + 1]! * 256);
    }
    expect(seen).toEqual(Array.from({ length: 10_000 }, (_, i) => i));
  });
});
