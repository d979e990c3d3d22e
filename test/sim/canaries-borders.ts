/** Bugs of disks, networks, clocks and clients: at the borders between members and their world (bugs.ts). */
import type { Canary } from './canary.ts';

/** What comes of entries that are lost or overwritten. */
const LOSS = ['raft', 'replay', 'start', 'assert', 'state'];

export const BORDER_CANARIES: readonly Canary[] = [
  {
    name: 'replies that leave before what they promise is durable (#14370)',
    bug: 'hastyLog',
    checkers: ['raft'],
    schedulesMax: 5,
  },
  { name: 'the same by its consequences alone', bug: 'hastyLogUnwatched', checkers: LOSS, schedulesMax: 50 },
  {
    name: 'a disk that confirms what a loss of power takes back',
    bug: 'lyingDisk',
    checkers: LOSS,
    schedulesMax: 50,
  },
  {
    name: 'a vote that is forgotten at a restart',
    bug: 'votelessLog',
    settings: { faults: ['kill', 'crashAll', 'crashInTurn'], strokeMs: 300, preVote: false, members: 5, jitterMs: 40 },
    checkers: ['raft'],
    schedulesMax: 100,
  },
  {
    name: 'a candidate that claims a longer log than it has (paper 5.4.1)',
    bug: 'boastfulCandidate',
    checkers: ['raft', 'assert', 'state'],
    schedulesMax: 50,
  },
  {
    name: 'a leader that calls committed what it has only sent (paper 5.3)',
    bug: 'hastyCommit',
    checkers: LOSS,
    schedulesMax: 50,
  },
  {
    name: 'one vote counted under two names',
    bug: 'twoNames',
    // Two members are a majority of three anyway.
    settings: {
      members: 5,
      memberChangeMs: 0,
      preVote: false,
      faults: ['split', 'isolateLeader', 'crashAll'],
      strokeMs: 400,
      jitterMs: 40,
    },
    checkers: ['raft', 'assert', 'state'],
    schedulesMax: 50,
  },
  { name: 'a machine that skips an entry', bug: 'skippingMachine', checkers: ['state'], schedulesMax: 10 },
  {
    name: 'a backend commit without some of its rows (#14685)',
    bug: 'commitLosesKeys',
    checkers: ['state', 'start', 'assert'],
    schedulesMax: 20,
  },
  {
    name: 'reads that do not ask the majority',
    bug: 'localReads',
    checkers: ['replay', 'linearizability'],
    schedulesMax: 20,
  },
  { name: 'a request that its client proposes twice', bug: 'proposedTwice', checkers: ['replay'], schedulesMax: 5 },
  { name: 'a clock that runs twice as fast', bug: 'fastClock', checkers: ['leases'], schedulesMax: 20 },
  { name: 'a watch that loses a response', bug: 'lossyWatch', checkers: ['watch'], schedulesMax: 10 },
  { name: 'a watch resumed one revision too late (#19179)', bug: 'resumedLate', checkers: ['watch'], schedulesMax: 10 },
];
