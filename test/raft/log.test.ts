/** The log, its marks, and the small parts beside it. */
import { describe, expect, it } from 'vitest';
import { Inflights } from '../../core/raft/inflights.ts';
import { ENTRY_OVERHEAD_BYTES, RaftLog } from '../../core/raft/log.ts';
import { Message, MessageType, newMessage } from '../../core/raft/messages.ts';
import { majority, reachedByMajority, voteResult } from '../../core/raft/quorum.ts';
import { decode, encode } from '../../core/wire/binary.ts';
import type { Entry } from '../../core/wire/stored.ts';
import { FRESH, text } from './cluster.ts';

function entries(from: number, ...terms: number[]): Entry[] {
  return terms.map((term, i) => ({ index: from + i, term, type: 0, data: text(`${from + i}`) }));
}

function log(...terms: number[]): RaftLog {
  return new RaftLog({ ...FRESH, entries: entries(1, ...terms) });
}

describe('RaftLog', () => {
  it('hands out for writing what is new, once, and calls it stable when that write is done', () => {
    const it = log(1);
    it.tryAppend(1, 1, entries(2, 1, 1));
    expect(it.accept(1).map((e) => e.index)).toEqual([2, 3]);
    it.tryAppend(3, 1, entries(4, 1));
    expect(it.accept(2).map((e) => e.index)).toEqual([4]);
    expect([it.hasUnaccepted, it.accept(3), it.stable]).toEqual([false, [], 1]);
    it.persisted(1);
    expect(it.stable).toBe(3);
    it.persisted(2);
    expect(it.stable).toBe(4);
  });

  it('the same place written three times (ABA): the first write proves nothing for the third, though index and term agree', () => {
    const it = log(1);
    it.tryAppend(1, 1, entries(2, 1, 1));
    it.accept(1);
    it.tryAppend(1, 1, entries(2, 2));
    it.accept(2);
    it.tryAppend(1, 1, entries(2, 1, 1));
    expect(it.accept(3).map((e) => [e.index, e.term])).toEqual([
      [2, 1],
      [3, 1],
    ]);
    it.persisted(1);
    expect(it.stable).toBe(1);
    it.persisted(2);
    expect(it.stable).toBe(1);
    it.persisted(3);
    expect(it.stable).toBe(3);
  });

  it('an overwritten tail takes back what was stable, and only that', () => {
    const it = log(1, 1, 1);
    expect(it.stable).toBe(3);
    it.tryAppend(1, 1, entries(2, 2));
    expect([it.stable, it.lastIndex]).toEqual([1, 2]);
  });

  it('never overwrites a committed entry', () => {
    const it = log(1, 1);
    it.commitTo(2);
    expect(() => it.tryAppend(1, 1, entries(2, 2))).toThrow(/committed entry/);
  });

  it('does not commit what it does not have', () => {
    expect(() => log(1).commitTo(2)).toThrow(/lost part of its log/);
  });

  it('applies only what is committed and on its own disk', () => {
    const it = log();
    it.tryAppend(0, 0, entries(1, 1, 1));
    it.commitTo(2);
    expect(it.hasNextToApply).toBe(false);
    it.accept(1);
    it.persisted(1);
    expect(it.nextToApply(10, 1000).map((e) => e.index)).toEqual([1, 2]);
    expect(it.hasNextToApply).toBe(false);
    it.appliedTo(1);
    expect(() => it.appliedTo(3)).toThrow(/not handed out/);
  });

  it('forgets up to an applied entry, keeps its term, and counts its bytes', () => {
    const it = log(1, 1, 2);
    expect(it.bytes).toBe(3 * (ENTRY_OVERHEAD_BYTES + 1));
    it.commitTo(2);
    it.nextToApply(10, 1000);
    it.appliedTo(2);
    expect(() => it.compactTo(3)).toThrow(/applied/);
    it.compactTo(2);
    it.compactTo(1);
    expect([it.firstIndex, it.lastIndex, it.term(2), it.term(1), it.bytes]).toEqual([
      3,
      3,
      1,
      undefined,
      ENTRY_OVERHEAD_BYTES + 1,
    ]);
    expect(it.tryAppend(2, 1, entries(3, 2, 2))).toBe(4);
    it.compactTo(2);
    expect(it.conflictByTerm(9, 1)).toEqual({ index: 2, term: 1 });
    expect(it.conflictByTerm(1, 1)).toEqual({ index: 1, term: 0 });
  });

  it.each([
    [9, 3, { index: 6, term: 3 }],
    [9, 2, { index: 4, term: 2 }],
    [3, 2, { index: 3, term: 1 }],
    [6, 0, { index: 0, term: 0 }],
  ])('with terms 1 1 1 2 3 3, nothing after an entry %i of term %i can agree beyond %j', (index, term, place) => {
    expect(log(1, 1, 1, 2, 3, 3).conflictByTerm(index, term)).toEqual(place);
  });
});

describe('majorities', () => {
  it.each([
    [1, 1],
    [2, 2],
    [3, 2],
    [4, 3],
    [5, 3],
  ])('of %i voters are %i', (voters, size) => {
    expect(majority(voters)).toBe(size);
  });

  it('reachedByMajority agrees with counting', () => {
    for (let code = 0; code < 4 ** 5; code++) {
      for (const size of [1, 2, 3, 4, 5]) {
        const values = Array.from({ length: size }, (_, i) => Math.floor(code / 4 ** i) % 4);
        const counted = Math.max(...values.filter((v) => values.filter((w) => w >= v).length >= majority(size)));
        expect(reachedByMajority([...values])).toBe(counted);
      }
    }
  });

  it('an election is pending while both ends are possible', () => {
    expect([voteResult(5, 2, 2), voteResult(5, 3, 0), voteResult(5, 0, 3), voteResult(4, 2, 2)]).toEqual([
      'pending',
      'won',
      'lost',
      'lost',
    ]);
  });
});

describe('Inflights', () => {
  it('is full at its limit of messages, or of bytes, and a single large message still goes', () => {
    const few = new Inflights(2, 1000);
    few.add(1, 10);
    expect(few.full).toBe(false);
    few.add(2, 10);
    expect(few.full).toBe(true);
    expect(() => few.add(3, 10)).toThrow(/limit/);
    const small = new Inflights(100, 50);
    small.add(1, 500);
    expect(small.full).toBe(true);
  });

  it('gives back exactly the bytes it took: replication does not stall in the long run', () => {
    const inflights = new Inflights(3, 100);
    for (let index = 1; index <= 1000; index++) {
      inflights.add(index, (index % 40) + 1);
      if (index % 3 === 0 || inflights.full) inflights.freeUpTo(index);
    }
    inflights.freeUpTo(1000);
    inflights.add(1001, 99);
    expect([inflights.full, inflights.count]).toEqual([false, 1]);
  });
});

describe('messages', () => {
  it('survive the wire, and those of the log that others still need keep their bytes', () => {
    const message: Message = {
      ...newMessage(MessageType.values.APPEND, 2n, 3),
      from: 2n ** 63n + 1n,
      index: 7,
      log_term: 2,
      entries: entries(8, 3, 3),
      commit: 6,
      reject: true,
      reject_hint: 5,
      context: 9,
    };
    const copy = decode(Message, encode(Message, message));
    expect({ ...copy, entries: [] }).toEqual({ ...message, entries: [] });
    expect(copy.entries.map((e) => [e.index, e.term, [...e.data]])).toEqual(
      message.entries.map((e) => [e.index, e.term, [...e.data]]),
    );
  });
});
