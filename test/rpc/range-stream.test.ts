import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { decode, defaults, encode } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { PIECE } from '../../server/rpc/paced-reading.ts';
import { RANGE_TURN_PAIRS_MAX } from '../../server/rpc/range.ts';
import { Rig, type Stream } from './rig.ts';

const KV = '/etcdserverpb.KV';
const ALL = { key: '\0', range_end: '\0' };

function filled(pairs: number, bytes = 10): Rig {
  const r = new Rig();
  for (let i = 0; i < pairs; i++) r.ok(`${KV}/Put`, { key: key(i), value: Buffer.alloc(bytes, i) });
  return r;
}

const key = (i: number) => `k${String(i).padStart(6, '0')}`;

/** What a Range answers, in one turn. */
const unlimited = (r: Rig) => r.context.machine.range({ ...defaults(m.RangeRequest), ...ALL }) as m.RangeResponse;

async function ended(r: Rig, stream: Stream): Promise<void> {
  while (stream.ended === undefined) {
    r.settle();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function streamed(r: Rig, request: Partial<m.RangeRequest>, asBytes = false) {
  const opened = r.open(`${KV}/RangeStream`, {}, asBytes);
  opened.handler.message({ ...defaults(m.RangeRequest), ...request });
  await ended(r, opened);
  const pieces = received(opened);
  return { outcome: opened.ended, pieces, whole: merged(pieces) };
}

/** The pieces as a client finds them. */
function received(stream: Stream): m.RangeResponse[] {
  const sent = stream.sent as m.RangeStreamResponse[];
  return sent.map((each) => decode(m.RangeStreamResponse, encode(m.RangeStreamResponse, each)).range_response!);
}

/** As a client merges the pieces. */
function merged(pieces: readonly m.RangeResponse[]): m.RangeResponse | undefined {
  const last = pieces.at(-1);
  return last === undefined ? undefined : { ...last, kvs: pieces.flatMap(({ kvs }) => kvs) };
}

describe.each([
  ['as messages', false],
  ['as bytes', true],
])('RangeStream, its pairs %s', (_, asBytes) => {
  it('sends pieces that grow, and says what they come to with the last', async () => {
    const r = filled(2000);
    const { pieces, whole } = await streamed(r, ALL, asBytes);
    expect(pieces.slice(0, 4).map(({ kvs }) => kvs.length)).toEqual([10, 20, 40, 80]);
    expect(Math.max(...pieces.map(({ kvs }) => kvs.length))).toBe(PIECE.pairs);
    for (const piece of pieces.slice(0, -1)) expect(piece).toEqual({ kvs: piece.kvs, more: false, count: 0 });
    const { kvs, count } = unlimited(r);
    expect(whole).toMatchObject({ kvs, count, more: false });
    expect(whole!.header).toMatchObject({ cluster_id: 77n, member_id: 1n, revision: 2001 });
  });

  it('answers as Range does, whatever is asked', async () => {
    const r = filled(60);
    for (let i = 0; i < 60; i += 3) r.ok(`${KV}/DeleteRange`, { key: key(i) });
    for (let i = 1; i < 60; i += 4) r.ok(`${KV}/Put`, { key: key(i), value: Buffer.from('new') });
    r.ok(`${KV}/Compact`, { revision: 20 });
    const some = fc.nat(62).map(key);
    const request = fc.record({
      key: some,
      range_end: fc.oneof(some, fc.constantFrom('', '\0')),
      limit: fc.constantFrom(0, 0, 1, 5, 39, 40, 41, -1),
      revision: fc.constantFrom(0, -3, 19, 20, 21, 61, 70, 85, 96, 97, 200),
      keys_only: fc.boolean(),
      count_only: fc.boolean(),
      serializable: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(request, async (asked) => {
        const expected = r.call(`${KV}/Range`, asked);
        const { outcome, whole, pieces } = await streamed(r, asked, asBytes);
        if (expected instanceof RosterError) expect(outcome).toBe(expected.code);
        else {
          expect(outcome).toBe('ok');
          expect(whole).toEqual(decode(m.RangeResponse, encode(m.RangeResponse, expected as m.RangeResponse)));
          if (asked.count_only) expect(pieces).toHaveLength(1);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('is of one revision, whatever is written and compacted while it is read', async () => {
    const r = filled(3000);
    const { kvs, count } = unlimited(r);
    const stream = r.open(`${KV}/RangeStream`, {}, asBytes);
    stream.handler.message({ ...defaults(m.RangeRequest), ...ALL });
    for (let i = 0; stream.ended === undefined; i++) {
      r.ok(`${KV}/Put`, { key: key(2999 - i), value: Buffer.from('later') });
      r.ok(`${KV}/DeleteRange`, { key: key(1500 + i) });
      r.ok(`${KV}/Put`, { key: `${key(2000 + i)}x` });
      r.ok(`${KV}/Compact`, { revision: r.context.machine.store.revision });
      await new Promise((resolve) => setImmediate(resolve));
    }
    const whole = merged(received(stream));
    expect(whole).toMatchObject({ kvs, count, more: false, header: { revision: 3001 } });
    r.settle();
    expect(r.context.machine.compacting).toBe(false);
  });

  it('holds back for a slow client, and compaction goes on when that takes long', async () => {
    const r = filled(300);
    const stream = r.open(`${KV}/RangeStream`, {}, asBytes);
    stream.send = (response) => {
      stream.sent.push(response);
      return false;
    };
    stream.handler.message({ ...defaults(m.RangeRequest), ...ALL });
    await r.rest();
    expect(stream.sent).toHaveLength(1);
    r.ok(`${KV}/Put`, { key: key(299) });
    r.ok(`${KV}/Compact`, { revision: r.context.machine.store.revision });
    expect(r.context.machine.compacting).toBe(true);
    stream.onDrain?.();
    await expect.poll(() => stream.sent.length).toBe(2);
    stream.handler.cancel();
    r.settle();
    expect(r.context.machine.compacting).toBe(false);
  });

  it('refuses what cannot be sent before everything is seen', async () => {
    const r = filled(3);
    const outcomes = [];
    for (const more of [{ sort_order: 2 }, { sort_target: 3 }, { min_mod_revision: 2 }, { max_create_revision: 3 }]) {
      outcomes.push((await streamed(r, { ...ALL, ...more }, asBytes)).outcome);
    }
    expect(outcomes).toEqual(Array(4).fill('Other'));
    expect((await streamed(r, { key: '' }, asBytes)).outcome).toBe('EmptyKey');
    expect((await streamed(r, { ...ALL, sort_order: 7 }, asBytes)).outcome).toBe('InvalidSortOption');
    expect((await streamed(r, { ...ALL, sort_order: 1 }, asBytes)).whole).toMatchObject({ count: 3 });
    expect((await streamed(r, { key: 'none' }, asBytes)).pieces).toEqual([
      { header: expect.objectContaining({ revision: 4 }), kvs: [], more: false, count: 0 },
    ]);
  });
});

describe('a large Range', () => {
  it('is read in turns, between which others are served, and is of one revision all the same', async () => {
    const r = filled(RANGE_TURN_PAIRS_MAX + 500);
    const large = r.begin(`${KV}/Range`, ALL);
    r.settle();
    expect(large.outcome).toBe('waits');
    r.ok(`${KV}/Put`, { key: key(5), value: Buffer.from('later') });
    r.ok(`${KV}/DeleteRange`, { key: key(1400), range_end: key(1450) });
    await expect.poll(() => large.outcome).toBe('ok');
    const { kvs, count, header, more } = large.result as m.RangeResponse;
    expect([kvs.length, count, header!.revision, more]).toEqual([1500, 1500, 1501, false]);
    expect(Buffer.from(kvs[5]!.value)).toEqual(Buffer.alloc(10, 5));
    // At the border it is answered at once.
    expect(r.ok<m.RangeResponse>(`${KV}/Range`, { key: key(0), range_end: key(1000) }).kvs).toHaveLength(1000);
  });

  it('has the order, the filters and the limit that were asked for', async () => {
    const r = filled(1500);
    const asked: Partial<m.RangeRequest>[] = [
      { limit: 1200 },
      { limit: 3, sort_order: 2 },
      { sort_order: 2, sort_target: 3, limit: 7 },
      { min_mod_revision: 1400, keys_only: true },
      { revision: 700, limit: 5 },
      { revision: 700, count_only: true },
      { count_only: true },
    ];
    for (const more of asked) {
      const expected = r.context.machine.range({ ...defaults(m.RangeRequest), ...ALL, ...more }) as m.RangeResponse;
      const pending = r.begin(`${KV}/Range`, { ...ALL, ...more });
      await r.rest();
      const { kvs, count, more: left } = pending.result as m.RangeResponse;
      expect([kvs, count, left]).toEqual([expected.kvs, expected.count, expected.more]);
    }
  });
});
