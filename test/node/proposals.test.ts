/** The bookkeeping of requests that wait, where a whole node would need a long story. */
import { describe, expect, it } from 'vitest';
import { type Proposal, Proposals } from '../../core/node/proposals.ts';
import { NODE_LIMITS } from '../../core/node/world.ts';
import { put } from './world.ts';

function proposals(outcomes: string[], ...names: string[]): Proposal[] {
  return names.map((name) => ({
    request: { id: 1n, ...put(name) },
    data: new Uint8Array(10),
    done: (result) => outcomes.push(`${name} ${(result as { code?: string }).code}`),
    deadlineTick: 5,
  }));
}

describe('Proposals', () => {
  it('a leader that lost its place and led again: the overwritten are refused, the new ones keep theirs', () => {
    const outcomes: string[] = [];
    const pending = new Proposals(NODE_LIMITS);
    const [a, b, c, d] = proposals(outcomes, 'a', 'b', 'c', 'd') as [Proposal, Proposal, Proposal, Proposal];
    for (const proposal of [a, b, c, d]) pending.add(proposal);
    pending.takeBatch();
    pending.appended([a, b, c], 5, 1);
    // Entry 5 survived; entry 6 is another leader's, of term 2; entry 7 began this node's term 3.
    pending.appended([d], 8, 3);
    expect(pending.take(5, 1)).toBe(a);
    expect(pending.take(6, 2)).toBeUndefined();
    expect(outcomes).toEqual(['b LeaderChanged', 'c LeaderChanged']);
    expect(pending.take(7, 3)).toBeUndefined();
    expect(pending.take(8, 3)).toBe(d);
    expect([pending.count, pending.bytes]).toEqual([0, 0]);
  });

  it('counts each request once, whatever becomes of it', () => {
    const outcomes: string[] = [];
    const pending = new Proposals(NODE_LIMITS);
    for (const proposal of proposals(outcomes, 'a', 'b')) pending.add(proposal);
    pending.appended(pending.takeBatch(), 1, 1);
    for (const proposal of proposals(outcomes, 'c')) pending.add(proposal);
    pending.take(1, 1);
    pending.expire(5);
    expect([pending.count, pending.bytes]).toEqual([1, 10]);
    pending.take(2, 1);
    expect([pending.count, pending.bytes]).toEqual([0, 0]);
    // "a" had been taken by its applier, who answers it; here it was still unanswered when its time came.
    expect(outcomes).toEqual(['a Timeout', 'b Timeout', 'c Timeout']);
  });

  it('an entry of its own that is left out is a bug', () => {
    const pending = new Proposals(NODE_LIMITS);
    for (const proposal of proposals([], 'a')) pending.add(proposal);
    pending.appended(pending.takeBatch(), 1, 1);
    expect(() => pending.take(2, 1)).toThrow(/left out/);
  });

  it('refusing everything leaves out what has been taken', () => {
    const outcomes: string[] = [];
    const pending = new Proposals(NODE_LIMITS);
    for (const proposal of proposals(outcomes, 'a', 'b')) pending.add(proposal);
    pending.appended(pending.takeBatch(), 1, 1);
    pending.take(1, 1);
    pending.refuseAll({ code: 'Stopped' } as never);
    expect([outcomes, pending.count, pending.bytes]).toEqual([['b Stopped'], 0, 0]);
  });
});
