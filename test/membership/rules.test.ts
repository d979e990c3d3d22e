import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePeerUrls } from '../../core/membership/peer-urls.ts';
import {
  checkMemberChange,
  type LeaderView,
  MEMBERSHIP_LIMITS,
  type Members,
  type MembershipLimits,
} from '../../core/membership/rules.ts';
import type { Member } from '../../core/wire/messages.ts';
import type { MemberChange } from '../../core/wire/stored.ts';

type Change = Omit<MemberChange, 'id'>;

/** `v`: a voter, `V`: one that has started; `l`, `L`: learners. Ids from 1. */
function members(kinds: string, removed: bigint[] = []): Members {
  const list = [...kinds].map((kind, i) =>
    member(BigInt(i + 1), { learner: /l/i.test(kind), started: /[VL]/.test(kind) }),
  );
  return { members: list, isRemoved: (id) => removed.includes(id) };
}

function member(id: bigint, { learner = false, started = false } = {}): Member {
  const peerURLs = [`http://m${id}:2380`];
  return { ID: id, name: started ? `m${id}` : '', peerURLs, clientURLs: [], isLearner: learner };
}

/** All members but `down` answer; all hold the whole log of 100 entries but those in `match`. */
function view(down: bigint[] = [], match: Record<string, number> = {}): LeaderView {
  return {
    lastIndex: 100,
    isActive: (id) => !down.includes(id),
    match: (id) => match[String(id)] ?? 100,
  };
}

function check(on: Members, change: Change, from = view(), limits: Partial<MembershipLimits> = {}): string {
  const error = checkMemberChange(on, change, from, { ...MEMBERSHIP_LIMITS, ...limits });
  return error?.code === 'Other' ? error.message : (error?.code ?? 'ok');
}

const add = (id: bigint, more: Partial<Member> = {}): Change => ({ add: { ...member(id), ...more } });
const LEARNER = { isLearner: true };
const LAX = { strictReconfigCheck: false };

describe('adding', () => {
  it.each([
    ['a voter to one', 'V', 'ok'],
    ['a voter to one that has not started', 'v', 'MemberNotEnoughStarted'],
    ['a voter to two', 'VV', 'ok'],
    ['a voter to two of which one has not started', 'Vv', 'MemberNotEnoughStarted'],
    ['a voter to three', 'VVV', 'ok'],
    ['a voter to three of which one has not started', 'VVv', 'MemberNotEnoughStarted'],
    ['a voter to four of which one has not started', 'VVVv', 'ok'],
    ['a voter beside a learner, which does not count', 'VVL', 'ok'],
  ])('%s', (_what, kinds, expected) => {
    expect(check(members(kinds), add(9n))).toBe(expected);
    if (expected === 'ok') return;
    expect(check(members(kinds), add(9n), view(), LAX)).toBe('ok');
    expect(check(members(kinds), add(9n, LEARNER)), 'a learner does not change the quorum').toBe('ok');
  });

  it.each([
    ['VV', [2n], 'Unhealthy'],
    ['VVV', [3n], 'Unhealthy'],
    ['VVVV', [4n], 'ok'],
    ['VVVV', [3n, 4n], 'Unhealthy'],
    ['VVVVV', [5n], 'ok'],
    ['VVVVV', [4n, 5n], 'Unhealthy'],
  ])('to %s while %s are down: the new one counts as down, too', (kinds, down, expected) => {
    expect(check(members(kinds), add(9n), view(down))).toBe(expected);
    expect(check(members(kinds), add(9n, LEARNER), view(down))).toBe(expected);
    expect(check(members(kinds), add(9n), view(down), LAX)).toBe('ok');
  });

  it('refuses ids and URLs that are taken, and removed ids', () => {
    const three = members('VVV', [7n]);
    expect(check(three, add(7n))).toBe('MemberNotFound');
    expect(check(three, add(2n))).toBe('MemberExist');
    expect(check(three, add(9n, { peerURLs: ['http://new:1', 'http://m3:2380'] }))).toBe('PeerURLExist');
    expect(check(three, add(9n, { peerURLs: ['http://new:1', 'http://new:1'] }))).toBe('PeerURLExist');
    expect(check(three, add(9n, { peerURLs: [] }))).toBe('MemberBadURLs');
    expect(check(three, add(9n, { peerURLs: ['http://new:1/path'] }))).toBe('MemberBadURLs');
  });

  it('takes as many learners as allowed', () => {
    expect(check(members('VVVL'), add(9n, LEARNER))).toBe('TooManyLearners');
    expect(check(members('VVVL'), add(9n))).toBe('ok');
    expect(check(members('VVVL'), add(9n, LEARNER), view(), { maxLearners: 2 })).toBe('ok');
    expect(check(members('VVVLl'), add(9n, LEARNER), view(), { maxLearners: 2 })).toBe('TooManyLearners');
    expect(check(members('V'), add(9n, LEARNER), view(), { maxLearners: 0, ...LAX })).toBe('TooManyLearners');
  });
});

describe('promoting', () => {
  it('refuses who is none, who votes, and who is behind', () => {
    expect(check(members('VL'), { promote: 9n })).toBe('MemberNotFound');
    expect(check(members('VL'), { promote: 1n })).toBe('MemberNotLearner');
    expect(check(members('VL'), { promote: 2n }, view([], { 2: 89 }))).toBe('LearnerNotReady');
    expect(check(members('VL'), { promote: 2n }, view([], { 2: 89 }), LAX)).toBe('LearnerNotReady');
    expect(check(members('VL'), { promote: 2n }, view([], { 2: 90 }))).toBe('ok');
  });

  it('needs a quorum of the new size to have started, the learner among them', () => {
    expect(check(members('VvL'), { promote: 3n })).toBe('ok');
    expect(check(members('vL'), { promote: 2n })).toBe('MemberNotEnoughStarted');
    expect(check(members('VvvL'), { promote: 4n })).toBe('MemberNotEnoughStarted');
    expect(check(members('VvvL'), { promote: 4n }, view(), LAX)).toBe('ok');
  });
});

describe('removing', () => {
  it('refuses who is none, and the last voter always', () => {
    expect(check(members('VV', [7n]), { remove: 7n })).toBe('MemberNotFound');
    expect(check(members('VV'), { remove: 9n })).toBe('MemberNotFound');
    for (const limits of [{}, LAX]) {
      expect(check(members('V'), { remove: 1n }, view(), limits)).toBe('MemberNotEnoughStarted');
      expect(check(members('VL'), { remove: 1n }, view(), limits)).toBe('MemberNotEnoughStarted');
    }
  });

  it('lets a learner go in any state of the cluster', () => {
    expect(check(members('VvvL'), { remove: 4n }, view([2n, 3n, 4n]))).toBe('ok');
  });

  it.each([
    ['VV', 2n, [], 'ok'],
    ['Vv', 2n, [], 'ok'],
    ['Vv', 1n, [], 'MemberNotEnoughStarted'],
    ['VVV', 3n, [], 'ok'],
    ['VVv', 1n, [], 'MemberNotEnoughStarted'],
    ['VVv', 3n, [], 'ok'],
    // Two of three answer: taking away one of them would leave one of two.
    ['VVV', 2n, [3n], 'Unhealthy'],
    // The one that is down may go.
    ['VVV', 3n, [3n], 'ok'],
    ['VVVVV', 3n, [5n], 'ok'],
    ['VVVVV', 3n, [4n, 5n], 'Unhealthy'],
    ['VVVVV', 4n, [4n, 5n], 'ok'],
  ] as [string, bigint, bigint[], string][])('of %s: %s, while %s are down', (kinds, id, down, expected) => {
    expect(check(members(kinds), { remove: id }, view(down))).toBe(expected);
    expect(check(members(kinds), { remove: id }, view(down), LAX)).toBe('ok');
  });
});

it('a change that names nothing is refused', () => {
  expect(check(members('V'), {})).toBe('a change of the members must name one');
});

it('never lets the strict rules take a quorum of those that answer', () => {
  const kinds = fc.string({ unit: fc.constantFrom('V', 'V', 'v', 'L'), minLength: 1, maxLength: 7 });
  const change: fc.Arbitrary<Change> = fc.oneof<fc.Arbitrary<Change>[]>(
    fc.constant(add(99n)),
    fc.record({ remove: fc.bigInt(1n, 7n) }),
    fc.record({ promote: fc.bigInt(1n, 7n) }),
  );
  fc.assert(
    fc.property(kinds, fc.uniqueArray(fc.bigInt(2n, 7n)), change, (which, down, what) => {
      const before = members(which);
      const voters = before.members.filter(({ isLearner }) => !isLearner).map(({ ID }) => ID);
      const up = (ids: bigint[]) => ids.filter((id) => !down.includes(id) && id !== 99n).length;
      // The leader votes, and could not lead without a quorum.
      fc.pre(voters.includes(1n) && up(voters) > voters.length / 2);
      if (check(before, what, view(down)) !== 'ok') return;
      let after = voters;
      if (what.add !== undefined) after = [...voters, 99n];
      else if (what.promote !== undefined) after = [...voters, what.promote];
      else if (what.remove !== undefined) after = voters.filter((id) => id !== what.remove);
      // A cluster of one may grow to two, and a learner that is in step may have failed just now.
      if (voters.length === 1 || (what.promote !== undefined && down.includes(what.promote))) return;
      expect(up(after)).toBeGreaterThan(after.length / 2);
    }),
    { numRuns: 2_000 },
  );
});

describe('peer URLs', () => {
  it.each([
    [
      ['http://b:2', 'https://a:1'],
      ['http://b:2', 'https://a:1'],
    ],
    [
      [' http://b:2 ', 'http://a:1'],
      ['http://a:1', 'http://b:2'],
    ],
    [['HTTP://Host_1.example:65535'], ['http://Host_1.example:65535']],
    [
      ['http://[::1]:2380', 'http://127.0.0.1:1'],
      ['http://127.0.0.1:1', 'http://[::1]:2380'],
    ],
  ])('%s are %s', (given, parsed) => {
    expect(parsePeerUrls(given)).toEqual(parsed);
  });

  it.each([
    '',
    'a:1',
    'http://a',
    'http://a:',
    'http://:1',
    'http://a:1/',
    'http://a:1/x',
    'http://a:1?x',
    'http://u@a:1',
    'ftp://a:1',
    'unix://a:1',
    'http://a:65536',
    'http://[::::]:1',
    'http://256.256.256.256:1',
    'http://a b:1',
    'http://a:1 http://b:1',
  ])('%j is none', (url) => {
    expect(parsePeerUrls([url])).toBeUndefined();
    expect(parsePeerUrls(['http://fine:1', url])).toBeUndefined();
  });

  it('are at least one', () => {
    expect(parsePeerUrls([])).toBeUndefined();
  });
});
