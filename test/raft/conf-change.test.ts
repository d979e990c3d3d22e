/** What follows from a change of the configuration, and what may not follow. */
import { describe, expect, it } from 'vitest';
import { ConfChange, changed, confChangeOf, confStateOf } from '../../core/raft/conf-change.ts';
import type { ConfState } from '../../core/raft/messages.ts';
import { decode, encode } from '../../core/wire/binary.ts';
import { confChange, confText } from './conf-text.ts';

function outcome(conf: ConfState, ...changes: string[]): string {
  let now = conf;
  for (const words of changes) {
    const next = changed(now, confChange(words));
    if (next instanceof Error) return next.message;
    now = next;
  }
  return confText(now);
}

describe('changes of the configuration', () => {
  const three = confStateOf([3n, 1n, 2n]);

  it.each([
    ['voter 4', 'voters 1 2 3 4'],
    ['learner 4', 'voters 1 2 3, learners 4'],
    ['learner 3', 'voters 1 2, learners 3'],
    ['remove 3', 'voters 1 2'],
    ['remove 9', 'voters 1 2 3'],
    ['voter 3', 'voters 1 2 3'],
    ['joint voter 4', 'voters 1 2 3 4 and 1 2 3'],
    ['voter 4 remove 1', 'voters 2 3 4 and 1 2 3'],
    ['explicit learner 3 learner 4', 'voters 1 2 and 1 2 3, learners 4, next learners 3'],
    ['remove 1 remove 2 remove 3', 'a configuration needs a voter'],
    ['voter 4 remove 4', 'a change of the configuration names a member twice'],
    ['voter 0', 'a change of the configuration names no member'],
    ['', 'the configuration is not joint'],
  ])('of voters 1 2 3, %s: %s', (change, text) => {
    expect(outcome(three, change)).toBe(text);
  });

  it('a joint configuration allows nothing but leaving it', () => {
    expect(outcome(three, 'joint learner 3 voter 4', 'voter 5')).toMatch(/must be left/);
    expect(outcome(three, 'joint learner 3 voter 4', '')).toBe('voters 1 2 4, learners 3');
    expect(outcome(three, 'learner 4', 'voter 4')).toBe('voters 1 2 3 4');
  });

  it('only the explicit one waits to be told', () => {
    const left = (words: string) => (changed(three, confChange(words)) as ConfState).auto_leave;
    expect([left('joint remove 1'), left('remove 1 remove 2'), left('explicit remove 1')]).toEqual([true, true, false]);
  });

  it('survive the wire, and what is none is an error', () => {
    const change = confChange('explicit voter 4 remove 1');
    const data = encode(ConfChange, change);
    expect(decode(ConfChange, data)).toEqual(change);
    expect(confChangeOf({ term: 1, index: 1, type: 1, data })).toEqual(change);
    expect(() => confChangeOf({ term: 1, index: 1, type: 1, data: data.subarray(1) })).toThrow();
    expect(() => confStateOf([1n, 1n])).toThrow(/twice/);
  });
});
