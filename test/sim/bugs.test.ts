/**
 * Known bugs put back, one at a time, at the borders between members and their world: the simulator must find each, and
 * say which promise was broken.
 */
import { describe, expect, it } from 'vitest';
import { MessageType } from '../../core/raft/messages.ts';
import type { Bug } from './bugs.ts';
import type { Settings } from './settings.ts';
import { Simulation } from './simulation.ts';
import { Violation } from './violation.ts';

const SEEDS_MAX = 150;
const TIMEOUT_MS = 300_000;
const { APPEND, PRE_VOTE, VOTE, VOTE_RESPONSE } = MessageType.values;

interface Case {
  name: string;
  bug: () => Bug;
  /** For bugs that show in few schedules: more of those. */
  settings?: Partial<Settings>;
  /** The checkers that may be the first to notice. */
  checkers: readonly string[];
}

/** `true` on every `n`-th call. */
function everyNth(n: number): () => boolean {
  let calls = 0;
  return () => ++calls % n === 0;
}

/** A log that says "durable" when it has only been asked. */
const hastyLog: NonNullable<Bug['wal']> = (inner, member) => ({
  append: (entries, hardState, done) => {
    inner.append(entries, hardState, () => {});
    member.later(0, done);
  },
  release: (index) => inner.release(index),
  close: (done) => inner.close(done),
});

/** A log that writes the term and not the vote. */
const votelessLog: NonNullable<Bug['wal']> = (inner) => ({
  append: (entries, hardState, done) =>
    inner.append(entries, hardState === undefined ? undefined : { ...hardState, vote: 0n }, done),
  release: (index) => inner.release(index),
  close: (done) => inner.close(done),
});

/** A machine that takes every 50th entry of others for an empty one. */
function skippingMachine(): NonNullable<Bug['machine']> {
  const skips = everyNth(50);
  return (inner, { id }) => ({
    get appliedIndex() {
      return inner.appliedIndex;
    },
    get pendingWrites() {
      return inner.pendingWrites;
    },
    apply(index, term, request) {
      const skip = id === 2n && request !== undefined && skips();
      return inner.apply(index, term, skip ? undefined : request) ?? (skip ? {} : undefined);
    },
    setLeader: (leading) => inner.setLeader(leading),
    commit: (done) => inner.commit(done),
    expiredLeases: (limit) => inner.expiredLeases(limit),
    work: () => inner.work(),
  });
}

const CASES: readonly Case[] = [
  {
    name: 'replies that leave before what they promise is durable',
    bug: () => ({ wal: hastyLog }),
    checkers: ['raft'],
  },
  {
    name: 'the same by its consequences alone',
    bug: () => ({ wal: hastyLog, unwatchedDisk: true }),
    checkers: ['raft', 'replay', 'start', 'assert', 'state'],
  },
  {
    name: 'a disk that confirms what a loss of power takes back',
    bug: () => ({ lyingDiskMs: 300, unwatchedDisk: true }),
    checkers: ['raft', 'replay', 'start', 'assert', 'state'],
  },
  {
    name: 'a vote that is forgotten at a restart',
    bug: () => ({ wal: votelessLog, unwatchedDisk: true }),
    settings: { faults: ['kill', 'crashAll', 'crashInTurn'], strokeMs: 300, preVote: false, members: 5, jitterMs: 40 },
    checkers: ['raft'],
  },
  {
    name: 'a candidate that claims a longer log than it has (5.4.1)',
    bug: () => ({
      message: (message) => {
        const candidate = message.type === VOTE || message.type === PRE_VOTE;
        return [candidate ? { ...message, index: 1_000_000, log_term: message.term } : message];
      },
    }),
    checkers: ['raft', 'assert', 'state'],
  },
  {
    name: 'a leader that calls committed what it has only sent (5.3)',
    bug: () => ({
      message: (message) =>
        message.type === APPEND ? [{ ...message, commit: message.index + message.entries.length }] : [message],
    }),
    checkers: ['raft', 'assert', 'state'],
  },
  {
    name: 'a transport that counts one vote under two names',
    bug: () => ({
      message: (message) => {
        const granted = message.type === VOTE_RESPONSE && !message.reject;
        const other = [1n, 2n, 3n].find((id) => id !== message.from && id !== message.to)!;
        return granted ? [message, { ...message, from: other }] : [message];
      },
    }),
    // Two members are a majority of three anyway.
    settings: {
      members: 5,
      preVote: false,
      faults: ['split', 'isolateLeader', 'crashAll'],
      strokeMs: 400,
      jitterMs: 40,
    },
    checkers: ['raft', 'assert', 'state'],
  },
  { name: 'a machine that skips an entry', bug: () => ({ machine: skippingMachine() }), checkers: ['state'] },
  {
    name: 'a backend commit without some of its rows',
    bug: () => ({ commitLosesKeys: true }),
    checkers: ['state', 'start', 'assert'],
  },
  {
    name: 'reads that do not ask the majority',
    bug: () => ({ read: (done) => done() }),
    checkers: ['replay', 'linearizability'],
  },
  { name: 'a request that is proposed twice', bug: () => ({ proposals: 2 }), checkers: ['replay'] },
  { name: 'a clock that runs twice as fast', bug: () => ({ clock: (ms) => ms * 2 }), checkers: ['leases'] },
  { name: 'a watch that loses a response', bug: () => ({ watchResponse: everyNthEvents(40) }), checkers: ['watch'] },
  { name: 'a watch resumed one revision too late', bug: () => ({ resumeSkips: 1 }), checkers: ['watch'] },
];

function everyNthEvents(n: number): NonNullable<Bug['watchResponse']> {
  const loses = everyNth(n);
  return ({ events }) => events.length === 0 || !loses();
}

describe('the simulator finds', () => {
  it.each(CASES)(
    '$name',
    ({ bug, settings, checkers }) => {
      for (let seed = 1; seed <= SEEDS_MAX; seed++) {
        try {
          new Simulation(seed, { bug: bug(), ...(settings === undefined ? {} : { settings }) }).run();
        } catch (error) {
          if (!(error instanceof Violation)) throw error;
          console.log(`seed ${seed}: ${error.message}`);
          expect(checkers).toContain(error.checker);
          return;
        }
      }
      expect.fail(`not found in ${SEEDS_MAX} seeds`);
    },
    TIMEOUT_MS,
  );
});
