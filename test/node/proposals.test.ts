/** The bookkeeping of requests that wait, where a whole node would need a long story. */
import { describe, expect, it } from 'vitest';
import { type Proposal, Proposals } from '../../core/node/proposals.ts';
import { NODE_LIMITS } from '../../core/node/world.ts';
import { put } from './world.ts';

const TERM = 1;
const BYTES = 1024;

function proposals(outcomes: string[], ...names: string[]): Proposal[] {
  return names.map((name) => ({
    id: 1n,
    request: { id: 1n, ...put(name) },
    change: undefined,
    data: new Uint8Array(10),
    done: (result) => outcomes.push(`${name} ${(result as { code?: string }).code}`),
    deadlineTick: 5,
    boundTerm: 0,
  }));
}

describe('Proposals', () => {
  it('a leader that lost its place and led again: the overwritten wait again, the new ones keep theirs', () => {
    const outcomes: string[] = [];
    const pending = new Proposals(NODE_LIMITS);
    const [a, b, c, d] = proposals(outcomes, 'a', 'b', 'c', 'd') as [Proposal, Proposal, Proposal, Proposal];
    for (const proposal of [a, b, c, d]) pending.add(proposal);
    pending.takeBatch(TERM, BYTES);
    pending.appended([a, b, c], 5, 1);
    // Entry 5 survived; entry 6 is another leader's, of term 2; entry 7 began this node's term 3.
    pending.appended([d], 8, 3);
    expect(pending.take(5, 1)).toBe(a);
    expect(pending.take(6, 2)).toBeUndefined();
    expect(pending.take(7, 3)).toBeUndefined();
    expect(pending.take(8, 3)).toBe(d);
    expect([pending.count, pending.bytes]).toEqual([2, 20]);
    expect(pending.takeBatch(3, BYTES)).toEqual([b, c]);
    expect(outcomes).toEqual([]);
  });

  it('counts each request once, whatever becomes of it', () => {
    const outcomes: string[] = [];
    const pending = new Proposals(NODE_LIMITS);
    for (const proposal of proposals(outcomes, 'a', 'b')) pending.add(proposal);
    pending.appended(pending.takeBatch(TERM, BYTES), 1, 1);
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
    pending.appended(pending.takeBatch(TERM, BYTES), 1, 1);
    expect(() => pending.take(2, 1)).toThrow(/left out/);
  });

  it('refusing everything leaves out what has been taken', () => {
    const outcomes: string[] = [];
    const pending = new Proposals(NODE_LIMITS);
    for (const proposal of proposals(outcomes, 'a', 'b')) pending.add(proposal);
    pending.appended(pending.takeBatch(TERM, BYTES), 1, 1);
    pending.take(1, 1);
    pending.refuseAll({ code: 'Stopped' } as never);
    expect([outcomes, pending.count, pending.bytes]).toEqual([['b Stopped'], 0, 0]);
  });

  it('entries that gave way to older ones wait until their term is past', () => {
    const outcomes: string[] = [];
    const pending = new Proposals(NODE_LIMITS);
    const [a, b] = proposals(outcomes, 'a', 'b') as [Proposal, Proposal];
    for (const proposal of [a, b]) pending.add(proposal);
    pending.appended(pending.takeBatch(3, BYTES), 5, 3);
    // The leader of term 4 had entries of term 2 in their places.
    expect([pending.take(5, 2), pending.take(6, 2), pending.take(7, 2)]).toEqual([undefined, undefined, undefined]);
    expect(pending.hasWaiting).toBe(false);
    expect(pending.take(8, 4)).toBeUndefined();
    expect(pending.takeBatch(4, BYTES)).toEqual([a, b]);
  });

  it('what is overwritten and was answered, or decided for one term, or about the members, is not put there again', () => {
    const outcomes: string[] = [];
    const pending = new Proposals(NODE_LIMITS);
    const [late, bound, change, plain] = proposals(outcomes, 'late', 'bound', 'change', 'plain') as [
      Proposal,
      Proposal,
      Proposal,
      Proposal,
    ];
    const batch = [
      { ...late, done: undefined },
      { ...bound, boundTerm: 1 },
      { ...change, change: { id: 1n, remove: 2n } },
      plain,
    ];
    for (const proposal of batch) pending.add(proposal);
    pending.appended(pending.takeBatch(1, BYTES), 1, 1);
    pending.take(1, 2);
    expect(outcomes).toEqual(['bound LeaderChanged', 'change LeaderChanged']);
    expect(pending.takeBatch(2, BYTES)).toEqual([plain]);
    expect([pending.count, pending.bytes]).toEqual([1, 10]);
  });

  it('of what a snapshot may include the outcome is unknown; what came later is not touched', () => {
    const outcomes: string[] = [];
    const pending = new Proposals(NODE_LIMITS);
    const [a, b, c] = proposals(outcomes, 'a', 'b', 'c') as [Proposal, Proposal, Proposal];
    for (const proposal of [a, b, c]) pending.add(proposal);
    pending.appended([a], 5, 2);
    pending.appended([b], 9, 3);
    pending.appended([c], 20, 4);
    pending.unknownUpTo(3);
    expect(outcomes).toEqual(['a Timeout', 'b Timeout']);
    expect(pending.take(20, 4)).toBe(c);
    expect(pending.count).toBe(0);
  });

  it('of what waits only what another term decided leaves the queue for it', () => {
    const outcomes: string[] = [];
    const pending = new Proposals(NODE_LIMITS);
    const [here, elsewhere, free] = proposals(outcomes, 'here', 'elsewhere', 'free') as [Proposal, Proposal, Proposal];
    const own = { ...here, boundTerm: 4 };
    for (const proposal of [own, { ...elsewhere, boundTerm: 3 }, free]) pending.add(proposal);
    expect(pending.takeBatch(4, BYTES)).toEqual([own, free]);
    expect(outcomes).toEqual(['elsewhere LeaderChanged']);
  });

  it('deadlines hold in whatever order requests came back into the queue', () => {
    const outcomes: string[] = [];
    const pending = new Proposals(NODE_LIMITS);
    const [early, late] = proposals(outcomes, 'early', 'late') as [Proposal, Proposal];
    pending.reopen([]);
    pending.admit(early);
    pending.add({ ...late, deadlineTick: 9 });
    pending.appended(pending.takeBatch(1, BYTES), 1, 1);
    // It had been passed on to an earlier leader, which lost it.
    pending.reopen([early]);
    pending.appended(pending.takeBatch(1, BYTES), 2, 1);
    pending.expire(5);
    expect(outcomes).toEqual(['early Timeout']);
    pending.expire(9);
    expect(outcomes).toEqual(['early Timeout', 'late Timeout']);
  });

  it('the same while they wait', () => {
    const outcomes: string[] = [];
    const pending = new Proposals(NODE_LIMITS);
    const [early, late] = proposals(outcomes, 'early', 'late') as [Proposal, Proposal];
    for (const proposal of [early, late]) pending.admit(proposal);
    // Two batches that had been passed on come back, the older one first.
    pending.reopen([early]);
    pending.reopen([{ ...late, deadlineTick: 9 }]);
    pending.expire(5);
    expect(outcomes).toEqual(['early Timeout']);
    expect(pending.count).toBe(1);
  });
});
