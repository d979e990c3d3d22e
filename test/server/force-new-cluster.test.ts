import { describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import type { RecoveredLog } from '../../core/node/world.ts';
import { ConfChange, ConfChangeType, ConfTransition, confAfter, confStateOf } from '../../core/raft/conf-change.ts';
import type { ConfState } from '../../core/raft/messages.ts';
import { decode, encode } from '../../core/wire/binary.ts';
import { type Entry, EntryType, MemberChange } from '../../core/wire/stored.ts';
import { forcedEntries } from '../../server/force-new-cluster.ts';

const { ADD_VOTER, ADD_LEARNER, REMOVE } = ConfChangeType.values;
const NOTHING = new Uint8Array(0);
const normal = (index: number, term: number): Entry => ({ type: EntryType.values.NORMAL, index, term, data: NOTHING });

function conf(index: number, term: number, changes: ConfChange['changes'], transition = 0): Entry {
  const change = { transition: transition as ConfChange['transition'], changes, context: NOTHING };
  return { type: EntryType.values.CONF_CHANGE, index, term, data: encode(ConfChange, change) };
}

function logOf(entries: readonly Entry[], commit: number): RecoveredLog {
  const first = entries[0]!;
  return { hardState: { term: 7, vote: 2n, commit }, prevIndex: first.index - 1, prevTerm: 3, entries };
}

/** What the configuration is after everything, forced entries included. */
function outcome(log: RecoveredLog, index: number, before: ConfState, self: bigint) {
  const forced = forcedEntries(log, { index, conf: before }, self);
  if (forced === undefined || forced instanceof RosterError) throw forced ?? new Error('nothing to force');
  const all = [...log.entries, ...forced.entries].filter((entry) => entry.index > index);
  const after = all.reduce(
    (now, entry) => (entry.type === EntryType.values.CONF_CHANGE ? confAfter(now, entry) : now),
    before,
  );
  return { forced, after };
}

describe('forcedEntries()', () => {
  it('removes all others after everything the log holds, and counts it all as committed', () => {
    const log = logOf([normal(11, 5), normal(12, 6), normal(13, 7)], 11);
    const { forced, after } = outcome(log, 11, confStateOf([1n, 2n, 3n]), 2n);
    expect(after).toEqual(confStateOf([2n]));
    expect(forced.removed).toEqual([1n, 3n]);
    expect(forced.entries.map(({ index, term }) => [index, term])).toEqual([
      [14, 7],
      [15, 7],
    ]);
    expect(forced.hardState).toEqual({ term: 7, vote: 2n, commit: 15 });
    const contexts = forced.entries.map((entry) => decode(MemberChange, decode(ConfChange, entry.data).context));
    expect(contexts.map(({ remove }) => remove)).toEqual([1n, 3n]);
  });

  it('counts members that entries not yet applied, or never committed, bring in', () => {
    const log = logOf(
      [normal(1, 7), conf(2, 7, [{ type: ADD_VOTER, node: 4n }]), conf(3, 7, [{ type: ADD_LEARNER, node: 5n }])],
      1,
    );
    const { forced, after } = outcome(log, 1, confStateOf([1n, 2n]), 1n);
    expect(after).toEqual(confStateOf([1n]));
    expect(forced.removed).toEqual([2n, 4n, 5n]);
    // What the state includes already is not counted again.
    const applied = outcome(log, 3, { ...confStateOf([1n, 2n, 4n]), learners: [5n] }, 1n);
    expect(applied.forced.removed).toEqual([2n, 4n, 5n]);
  });

  it('leaves a joint configuration first', () => {
    const changes = [
      { type: REMOVE, node: 2n },
      { type: ADD_VOTER, node: 4n },
    ];
    const log = logOf([conf(1, 7, changes, ConfTransition.values.JOINT)], 1);
    const { forced, after } = outcome(log, 0, confStateOf([1n, 2n, 3n]), 1n);
    expect(after).toEqual(confStateOf([1n]));
    expect(forced.removed).toEqual([3n, 4n]);
  });

  it('gives a learner the vote', () => {
    const { after } = outcome(logOf([normal(1, 1)], 1), 1, { ...confStateOf([1n]), learners: [2n] }, 2n);
    expect(after).toEqual(confStateOf([2n]));
  });

  it('works for a founder that has never written a term', () => {
    const log: RecoveredLog = { hardState: undefined, prevIndex: 0, prevTerm: 0, entries: [] };
    const { forced } = outcome(log, 0, confStateOf([1n, 2n]), 1n);
    expect([forced.entries[0]!.term, forced.hardState]).toEqual([1, { term: 1, vote: 0n, commit: 1 }]);
  });

  it('has nothing to do for a sole voter, so that doing it again changes nothing', () => {
    const log = logOf([normal(1, 7)], 1);
    expect(forcedEntries(log, { index: 1, conf: confStateOf([2n]) }, 2n)).toBeUndefined();
    const { forced } = outcome(log, 1, confStateOf([1n, 2n]), 2n);
    const again = { ...log, hardState: forced.hardState, entries: [...log.entries, ...forced.entries] };
    expect(forcedEntries(again, { index: 1, conf: confStateOf([1n, 2n]) }, 2n)).toBeUndefined();
  });

  it('refuses who belongs to no cluster', () => {
    const log = logOf([normal(1, 7)], 1);
    expect(forcedEntries(log, { index: 1, conf: confStateOf([1n, 3n]) }, 2n)).toBeInstanceOf(RosterError);
    expect(forcedEntries(log, { index: 1, conf: confStateOf([]) }, 2n)).toBeInstanceOf(RosterError);
  });
});
