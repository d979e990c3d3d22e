import { beforeEach, describe, expect, it } from 'vitest';
import { defaults } from '../../core/wire/binary.ts';
import { RangeRequest, type RangeResponse } from '../../core/wire/messages.ts';
import { ReadCache } from '../../server/grpc-proxy/read-cache.ts';

const request = (key: string, more: Partial<RangeRequest> = {}): RangeRequest => {
  return { ...defaults(RangeRequest), key, ...more };
};
const response = (value: string): RangeResponse => ({
  kvs: [{ key: 'k', value: Buffer.from(value), create_revision: 1, mod_revision: 1, version: 1, lease: 0n }],
  more: false,
  count: 1,
});

let cache: ReadCache;
beforeEach(() => {
  cache = new ReadCache({ ageMaxMs: 1000, bytesMax: 100_000, entriesMax: 4 });
});

function read(asked: RangeRequest, value = 'v', caller = 'c', nowMs = 0): void {
  cache.begin(caller, asked, nowMs).keep(response(value));
}
const found = (asked: RangeRequest, caller = 'c', nowMs = 0) =>
  cache.find(caller, { ...asked, serializable: true }, nowMs)?.kvs[0]?.value.toString();

describe('what is found', () => {
  it('is what the same caller has read, linearizable or not, and no other', () => {
    read(request('a', { limit: 1 }));
    expect(found(request('a', { limit: 1 }))).toBe('v');
    expect(found(request('a'))).toBeUndefined();
    expect(found(request('a', { limit: 1 }), 'd')).toBeUndefined();
    expect([cache.hits, cache.misses]).toEqual([1, 2]);
  });

  it('is younger than the age, counted from when it was asked for', () => {
    read(request('a'), 'v', 'c', 500);
    expect(found(request('a'), 'c', 1499)).toBe('v');
    expect(found(request('a'), 'c', 1500)).toBeUndefined();
    expect(cache.size).toBe(0);
    expect(cache.bytes).toBe(0);
  });

  it('is nothing when nothing may be kept, or the range is empty', () => {
    read(request('b', { range_end: 'a' }));
    expect(cache.size).toBe(0);
    cache = new ReadCache({ ageMaxMs: 0, bytesMax: 100_000, entriesMax: 4 });
    read(request('a'));
    expect(found(request('a'))).toBeUndefined();
  });

  it('goes, what was used longest ago first, when there is one more than there may be', () => {
    for (const key of ['a', 'b', 'c', 'd']) read(request(key));
    expect(found(request('a'))).toBe('v');
    read(request('e'));
    expect(cache.size).toBe(4);
    expect(['a', 'b', 'c', 'd', 'e'].map((key) => found(request(key)))).toEqual(['v', undefined, 'v', 'v', 'v']);
  });

  it('goes when there are more bytes than there may be; what is large is not kept at all', () => {
    cache = new ReadCache({ ageMaxMs: 1000, bytesMax: 16 * 2000, entriesMax: 1000 });
    for (let i = 0; i < 100; i++) read(request(`a${i}`), 'x'.repeat(1000));
    expect(cache.bytes).toBeLessThanOrEqual(16 * 2000);
    expect(cache.size).toBeGreaterThan(10);
    const before = cache.size;
    read(request('large'), 'x'.repeat(2000));
    expect([found(request('large')), cache.size]).toEqual([undefined, before]);
  });
});

describe('what changes', () => {
  const all = {
    key: request('b'),
    range: request('a', { range_end: 'c' }),
    open: request('b', { range_end: '\0' }),
    other: request('c'),
  };
  const left = () => Object.entries(all).flatMap(([name, asked]) => (found(asked) === undefined ? [] : [name]));
  beforeEach(() => {
    for (const asked of Object.values(all)) read(asked);
  });

  it.each([
    ['b', undefined, ['other']],
    ['c', undefined, ['key', 'range']],
    ['a', undefined, ['key', 'open', 'other']],
    ['b0', 'c', ['key', 'other']],
    ['c', 'd', ['key', 'range']],
    ['\0', '\0', []],
    ['0', 'a', ['key', 'range', 'open', 'other']],
  ] as const)('%j to %j leaves %j', (key, end, expected) => {
    cache.changed(key, end);
    expect(left()).toEqual(expected);
  });

  it('while a read is under way, keeps its answer out', () => {
    const reading = cache.begin('c', request('z'), 0);
    cache.changed('z');
    cache.changed('z');
    reading.keep(response('old'));
    expect(found(request('z'))).toBeUndefined();
    const later = cache.begin('c', request('z'), 0);
    later.keep(response('new'));
    later.keep(response('twice'));
    expect(found(request('z'))).toBe('new');
    cache.begin('c', request('y'), 0).drop();
    cache.changed('y');
  });

  it('does not touch what a revision held, until it is compacted', () => {
    cache.clear();
    read(request('a', { revision: 5 }));
    cache.changed('a');
    cache.compacted(5);
    expect(found(request('a', { revision: 5 }))).toBe('v');
    cache.compacted(6);
    expect(found(request('a', { revision: 5 }))).toBeUndefined();
    expect(cache.bytes).toBe(0);
  });
});
