/** Bugs of Raft itself, by changes of core/raft. */
import { type Canary, STALLED } from './canary.ts';

const LOG = ['raft', 'assert', 'state', 'replay', 'start', 'error'];
/** Leaders come and go. */
const RESTLESS = {
  faults: ['isolateLeader', 'crashLeader', 'split', 'cutOneWay'],
  strokeMs: 400,
  lastingMs: 2_500,
  memberChangeMs: 0,
} as const;
/** Members come and go. */
const MOVING = { memberChangeMs: 500, votersMin: 2, leases: 0, compactions: 0, applyEntriesMax: 1_000 } as const;

export const RAFT_CANARIES: readonly Canary[] = [
  {
    name: 'a leader that counts what its own disk does not have yet (#14370)',
    patches: [
      {
        file: 'core/raft/leadership',
        find: 'this.#replication.broadcast(this.#term);\n        return undefined;',
        replace:
          'this.#tracker.self.acknowledged(this.#log.lastIndex);\n this.#replication.broadcast(this.#term);\n return undefined;',
      },
    ],
    settings: { faults: ['crashAll'], strokeMs: 1_500, diskMs: 150, members: 3, memberChangeMs: 0, watchers: 0 },
    checkers: LOG,
    schedulesMax: 100,
  },
  {
    name: 'entries of earlier terms committed by counting (paper figure 8)',
    patches: [
      {
        file: 'core/raft/leadership',
        find: 'if (index <= this.#log.committed || this.#log.term(index) !== this.#term)',
        replace: 'if (index <= this.#log.committed)',
      },
      // Otherwise the entry that begins the term nearly always comes along.
      { file: 'core/node/raft-config', find: 'appendBytesMax: APPEND_BYTES_MAX,', replace: 'appendBytesMax: 1,' },
    ],
    // Between a majority for the old entry and the first of the new term lies the time of one message, so that is long; and few
    // enough are cut off at a time that somebody is elected.
    settings: {
      ...RESTLESS,
      faults: ['isolateLeader'],
      members: 3,
      clients: 2,
      thinkMs: 100,
      strokeMs: 700,
      lastingMs: 900,
      faultMs: 30_000,
      delayMs: 140,
      jitterMs: 0,
      spike: 0,
      loss: 0,
      diskMs: 20,
      preVote: false,
      watchers: 0,
      keepers: 0,
    },
    checkers: LOG,
    schedulesMax: 300,
  },
  {
    name: 'votes for candidates whose log is behind (paper 5.4.1)',
    patches: [
      { file: 'core/raft/election', find: ' && this.#log.isUpToDate(message.index, message.log_term)', replace: '' },
    ],
    settings: RESTLESS,
    checkers: LOG,
    schedulesMax: 50,
  },
  {
    name: 'two votes in one term',
    patches: [
      {
        file: 'core/raft/election',
        find: 'const free = this.#vote === message.from ||',
        replace: 'const free = message.term === this.#term ||',
      },
    ],
    settings: { ...RESTLESS, members: 5, preVote: false, jitterMs: 40 },
    checkers: ['raft', 'assert'],
    schedulesMax: 100,
  },
  {
    name: 'a vote that leaves before it is durable',
    patches: [
      {
        file: 'core/raft/outbox',
        find: 'case MessageType.values.TIMEOUT_NOW:',
        replace: 'case MessageType.values.TIMEOUT_NOW:\n        case MessageType.values.VOTE_RESPONSE:',
      },
    ],
    checkers: ['raft'],
    schedulesMax: 5,
  },
  {
    name: 'an old APPEND that cuts the log (paper figure 2, AppendEntries 3)',
    patches: [
      {
        file: 'core/raft/log',
        find: 'if (conflict >= 0) {\n            this.#truncate(entries[conflict].index);\n            for (let i = conflict;',
        replace:
          'if (entries.length > 0 && entries[0].index > this.#committed) {\n            this.#truncate(entries[0].index);\n            for (let i = 0;',
      },
    ],
    settings: { jitterMs: 40, spike: 0.05, duplication: 0.2, faults: ['crashLeader', 'isolateLeader'], strokeMs: 500 },
    checkers: LOG,
    schedulesMax: 200,
  },
  {
    name: 'entries taken without looking at the one before (paper figure 2, AppendEntries 2)',
    patches: [
      {
        file: 'core/raft/log',
        find: 'if (this.term(prevIndex) !== prevTerm)\n            return undefined;',
        replace: 'if (this.term(prevIndex) === undefined)\n            return undefined;',
      },
    ],
    settings: RESTLESS,
    checkers: LOG,
    schedulesMax: 50,
  },
  {
    name: 'a heartbeat that commits what its receiver may not have',
    patches: [
      {
        file: 'core/raft/replication',
        find: 'message.commit = Math.min(peer.match, this.#log.committed);',
        replace: 'message.commit = this.#log.committed;',
      },
      {
        file: 'core/raft/follower',
        find: 'this.#log.commitTo(message.commit);',
        replace: 'this.#log.commitTo(Math.min(message.commit, this.#log.lastIndex));',
      },
    ],
    settings: RESTLESS,
    checkers: LOG,
    schedulesMax: 100,
  },
  {
    name: 'a ReadIndex round that is used twice (#20418)',
    patches: [
      {
        file: 'core/raft/read-only',
        find: 'this.#pending.push({ context, index, round: ++this.#round });',
        replace: 'this.#pending.push({ context, index, round: (this.#round = 1) });',
      },
      {
        file: 'core/raft/leadership',
        find: 'this.#reads.add(context, this.#log.committed);',
        replace: 'this.#reads.add(context, this.#log.committed); this.#confirmReads();',
      },
    ],
    settings: STALLED,
    checkers: ['replay', 'linearizability'],
    schedulesMax: 50,
  },
  {
    name: 'a ReadIndex before the first commit of the term (PR 12762)',
    patches: [
      {
        file: 'core/raft/leadership',
        find: 'if (this.termCommitted)\n            this.#beginRead(context);',
        replace: 'if (this.#term > 0)\n            this.#beginRead(context);',
      },
    ],
    settings: { ...RESTLESS, diskMs: 100, thinkMs: 10 },
    checkers: ['replay', 'linearizability'],
    schedulesMax: 200,
  },
  {
    name: 'a change of members before the first commit of the term (Ongaro 2015)',
    patches: [
      {
        file: 'core/raft/leadership',
        find: 'this.#pendingConfIndex = this.#termStart;',
        replace: 'this.#pendingConfIndex = 0;',
      },
      // In force as soon as it is in the log, as in the dissertation: what is safe only with the rule above.
      {
        file: 'core/raft/leadership',
        find: 'this.#appendConfChange(data);',
        replace: 'this.#appendConfChange(data);\n        this.#tracker.lookAhead(conf, this.#log.lastIndex);',
      },
    ],
    settings: {
      ...MOVING,
      faults: ['split'],
      strokeMs: 300,
      lastingMs: 900,
      memberChangeMs: 40,
      members: 4,
      loss: 0.2,
      preVote: false,
      watchers: 0,
      keepers: 0,
    },
    checkers: [...LOG, 'liveness', 'linearizability'],
    schedulesMax: 1_000,
  },
  {
    name: 'several changes of members at a time',
    patches: [
      {
        file: 'core/raft/leadership',
        find: 'return this.#log.applied >= this.#pendingConfIndex &&',
        replace: 'return ',
      },
      {
        file: 'core/raft/leadership',
        find: 'if (this.#log.applied < this.#pendingConfIndex)\n            return refused',
        replace: 'if (this.#term < 0)\n            return refused',
      },
    ],
    settings: { ...MOVING, memberChangeMs: 150, diskMs: 100 },
    checkers: [...LOG, 'liveness', 'linearizability'],
    schedulesMax: 300,
  },
  {
    name: 'learners whose logs count for commits',
    patches: [
      {
        file: 'core/raft/tracker',
        find: 'reached = Math.min(reached, reachedByMajority(values));',
        replace: `for (const id of this.#conf.learners) {
                const learner = this.peer(id);
                const low = values.indexOf(Math.min(...values));
                if (learner !== undefined && value(learner) > values[low]) values[low] = value(learner);
            }
            reached = Math.min(reached, reachedByMajority(values));`,
      },
    ],
    // Learners that stay long enough, on the leader's side of a partition.
    settings: {
      ...MOVING,
      faults: ['split'],
      strokeMs: 1_500,
      lastingMs: 4_000,
      memberChangeMs: 1_500,
      members: 3,
      votersMin: 3,
      watchers: 0,
      keepers: 0,
    },
    checkers: [...LOG, 'linearizability', 'liveness'],
    schedulesMax: 300,
  },
  {
    name: 'a removed member that still counts (raft#300)',
    patches: [
      {
        file: 'core/raft/conf-change',
        find: 'voters.delete(node);',
        replace: 'if (type !== ConfChangeType.values.REMOVE) voters.delete(node);',
      },
    ],
    settings: MOVING,
    checkers: ['liveness', 'state', 'assert'],
    schedulesMax: 50,
  },
  {
    name: 'a snapshot whose configuration is not taken over (raft@e515a67)',
    patches: [{ file: 'core/raft/follower', find: 'this.#tracker.switchTo(conf, index);', replace: '' }],
    settings: MOVING,
    checkers: ['liveness', 'assert', 'state', 'start'],
    schedulesMax: 50,
  },
  {
    name: 'a follower whose term is ahead and whom nobody hears (#8501)',
    patches: [
      {
        file: 'core/raft/election',
        find: 'if (isFromLeader(message.type) && (this.#config.checkQuorum || this.#config.preVote))',
        replace: 'if (isFromLeader(message.type) && message.term < 0)',
      },
    ],
    settings: {
      preVote: false,
      memberChangeMs: 0,
      faults: ['isolateLeader', 'split', 'cutOneWay', 'pause'],
      strokeMs: 600,
      staysDead: 1,
    },
    checkers: ['liveness'],
    schedulesMax: 200,
  },
  {
    name: 'a candidate of an old term whom nobody answers (#9586)',
    patches: [
      {
        file: 'core/raft/election',
        find: 'else if (message.type === T.PRE_VOTE) {',
        replace: 'else if (message.term < 0) {',
      },
    ],
    // The one has the newer log, the other the later term, and the third is gone.
    settings: {
      preVote: true,
      members: 3,
      memberChangeMs: 0,
      faults: ['transfer', 'isolateLeader', 'split'],
      strokeMs: 400,
      lastingMs: 2_500,
      loss: 0.2,
      watchers: 0,
      keepers: 0,
      faultMs: 12_000,
      staysDead: 1,
    },
    checkers: ['liveness'],
    schedulesMax: 300,
  },
  {
    name: 'acknowledgements that free nothing in flight (raft#54)',
    patches: [{ file: 'core/raft/replication', find: 'peer.inflights.freeUpTo(message.index);', replace: ';' }],
    settings: { faultMs: 25_000, faults: [], loss: 0, thinkMs: 10, clients: 5, jitterMs: 0, spike: 0 },
    checkers: ['liveness'],
    schedulesMax: 50,
  },
];
