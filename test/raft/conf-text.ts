/** Changes of the configuration and configurations, in the words of the transcripts: `voter 4 remove 1`. */
import {
  type ConfChange,
  ConfChangeType,
  ConfTransition,
  isJoint,
  LEAVE_JOINT,
  type SingleConfChange,
} from '../../core/raft/conf-change.ts';
import type { ConfState } from '../../core/raft/messages.ts';

const TYPES: Record<string, number> = {
  voter: ConfChangeType.values.ADD_VOTER,
  learner: ConfChangeType.values.ADD_LEARNER,
  remove: ConfChangeType.values.REMOVE,
};
const TRANSITIONS: Record<string, number> = {
  joint: ConfTransition.values.JOINT,
  explicit: ConfTransition.values.JOINT_EXPLICIT,
};

function nameOf(table: Record<string, number>, value: number): string | undefined {
  return Object.keys(table).find((name) => table[name] === value);
}

/** `[joint | explicit] (voter | learner | remove) N ...`, or nothing: leave the joint configuration. */
export function confChange(words: string): ConfChange {
  const rest = words.split(/\s+/).filter((word) => word !== '');
  const transition = TRANSITIONS[rest[0] ?? ''];
  if (transition !== undefined) rest.shift();
  const changes: SingleConfChange[] = [];
  for (let i = 0; i < rest.length; i += 2) changes.push({ type: TYPES[rest[i]!]!, node: BigInt(rest[i + 1]!) });
  return { ...LEAVE_JOINT, transition: transition ?? ConfTransition.values.AUTO, changes };
}

export function confChangeText({ transition, changes }: ConfChange): string {
  if (changes.length === 0) return 'leave the joint configuration';
  const parts = changes.map(({ type, node }) => `${nameOf(TYPES, type)} ${node}`);
  return [nameOf(TRANSITIONS, transition), ...parts].filter((part) => part !== undefined).join(' ');
}

export function confText(conf: ConfState): string {
  let text = `voters ${conf.voters.join(' ')}`;
  if (isJoint(conf)) text += ` and ${conf.voters_outgoing.join(' ')}`;
  if (conf.learners.length > 0) text += `, learners ${conf.learners.join(' ')}`;
  if (conf.learners_next.length > 0) text += `, next learners ${conf.learners_next.join(' ')}`;
  return text;
}
