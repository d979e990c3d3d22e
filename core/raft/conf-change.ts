/**
 * Changes of the configuration as pure functions: which members vote before, during and after one. A single voter at a
 * time needs no more than one entry (dissertation 4.1); anything else goes through a joint configuration, in which
 * majorities of the old and of the new voters are needed (paper section 6). Never looks at a log or at a term.
 */
import { GrpcStatus, otherError, RosterError } from '../errors.ts';
import { assert } from '../util/assert.ts';
import { decode } from '../wire/binary.ts';
import { bytes, type Decoded, type EnumType, enumeration, message, repeated, sub, uint64 } from '../wire/schema.ts';
import { type Entry, EntryType } from '../wire/stored.ts';
import { NO_NODE } from './config.ts';
import type { ConfState } from './messages.ts';

export const ConfChangeType = {
  name: 'roster.raft.ConfChangeType',
  /** ADD_VOTER promotes a learner; ADD_LEARNER turns a voter into one. */
  values: { ADD_VOTER: 0, ADD_LEARNER: 1, REMOVE: 2 },
} as const satisfies EnumType;

export const ConfTransition = {
  name: 'roster.raft.ConfTransition',
  /** AUTO: direct for one change, otherwise as JOINT. JOINT: the leader leaves it by itself. JOINT_EXPLICIT: on request. */
  values: { AUTO: 0, JOINT: 1, JOINT_EXPLICIT: 2 },
} as const satisfies EnumType;

export const SingleConfChange = message('roster.raft.SingleConfChange', {
  type: enumeration(1, ConfChangeType),
  node: uint64(2),
});
export type SingleConfChange = Decoded<typeof SingleConfChange>;

/** What an entry of type CONF_CHANGE holds. Without `changes` it leaves the joint configuration. `context` is the driver's. */
export const ConfChange = message('roster.raft.ConfChange', {
  transition: enumeration(1, ConfTransition),
  changes: repeated(sub(2, () => SingleConfChange)),
  context: bytes(3),
});
export type ConfChange = Decoded<typeof ConfChange>;

/** The change that leaves a joint configuration. */
export const LEAVE_JOINT: ConfChange = {
  transition: ConfTransition.values.AUTO,
  changes: [],
  context: new Uint8Array(0),
};

/** Reads an entry of type CONF_CHANGE. Throws a RosterError when it holds none, as one of a newer version might. */
export function confChangeOf(entry: Entry): ConfChange {
  assert(entry.type === EntryType.values.CONF_CHANGE, 'raft: not a change of the configuration');
  return decode(ConfChange, entry.data);
}

export function isJoint(conf: ConfState): boolean {
  return conf.voters_outgoing.length > 0;
}

export function hasVote(conf: ConfState, id: bigint): boolean {
  return conf.voters.includes(id) || conf.voters_outgoing.includes(id);
}

/** Whether `id` is the only one whose word counts in `conf`. */
export function isSoleVoter({ voters, voters_outgoing }: ConfState, id: bigint): boolean {
  return voters_outgoing.length === 0 && voters.length === 1 && voters[0] === id;
}

/** The configuration with which a new cluster begins; with no voters, that of a node that waits to be told. */
export function confStateOf(voters: readonly bigint[]): ConfState {
  return { voters: sorted(voters), learners: [], voters_outgoing: [], learners_next: [], auto_leave: false };
}

function sorted(ids: Iterable<bigint>): bigint[] {
  const list = [...ids].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  for (const [i, id] of list.entries()) {
    assert(id !== NO_NODE, 'raft: a member needs an id');
    assert(i === 0 || list[i - 1] !== id, 'raft: a member is listed twice');
  }
  return list;
}

function refused(text: string): RosterError {
  return otherError(GrpcStatus.FAILED_PRECONDITION, text);
}

/** The configuration after `change`, or why it cannot follow `conf`. Depends on nothing else, so all nodes agree. */
export function changed(conf: ConfState, change: ConfChange): ConfState | RosterError {
  if (change.changes.length === 0) return isJoint(conf) ? left(conf) : refused('the configuration is not joint');
  if (isJoint(conf)) return refused('the joint configuration must be left before the next change');
  const joint = change.transition !== ConfTransition.values.AUTO || change.changes.length > 1;
  const next = applied(conf, change.changes, joint);
  if (next instanceof RosterError || !joint) return next;
  return { ...next, auto_leave: change.transition !== ConfTransition.values.JOINT_EXPLICIT };
}

/** The configuration after `entry`, which a leader has appended to a log in which `conf` was in force. */
export function confAfter(conf: ConfState, entry: Entry): ConfState {
  const next = changed(conf, confChangeOf(entry));
  // The leader has tried it on the same configuration, since there is one change at a time.
  assert(!(next instanceof RosterError), 'raft: a change of the configuration in the log is not possible');
  return next;
}

/** Out of the joint configuration: the old voters are gone, or learners if they were to be. */
function left(conf: ConfState): ConfState {
  return {
    voters: conf.voters,
    learners: sorted([...conf.learners, ...conf.learners_next]),
    voters_outgoing: [],
    learners_next: [],
    auto_leave: false,
  };
}

function applied(conf: ConfState, changes: readonly SingleConfChange[], joint: boolean): ConfState | RosterError {
  const voters = new Set(conf.voters);
  const learners = new Set(conf.learners);
  const outgoing = new Set(joint ? conf.voters : []);
  const learnersNext = new Set<bigint>();
  const touched = new Set<bigint>();
  for (const { type, node } of changes) {
    if (node === NO_NODE) return refused('a change of the configuration names no member');
    if (touched.has(node)) return refused('a change of the configuration names a member twice');
    touched.add(node);
    voters.delete(node);
    learners.delete(node);
    if (type === ConfChangeType.values.ADD_VOTER) voters.add(node);
    // Who still votes among the old voters cannot be a learner at the same time.
    else if (type === ConfChangeType.values.ADD_LEARNER) (outgoing.has(node) ? learnersNext : learners).add(node);
  }
  if (voters.size === 0) return refused('a configuration needs a voter');
  return {
    voters: sorted(voters),
    learners: sorted(learners),
    voters_outgoing: sorted(outgoing),
    learners_next: sorted(learnersNext),
    auto_leave: false,
  };
}
