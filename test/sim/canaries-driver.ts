/** Bugs of the driver: order on disk, snapshots, forwarded requests, reads; by changes of core/node and core/log. */
import { type Canary, STALLED } from './canary.ts';

const ANY = ['raft', 'assert', 'state', 'replay', 'start', 'linearizability', 'liveness', 'watch', 'error'];
/** Members fall behind and die while they catch up. */
const SNAPSHOTS = {
  keepEntries: 0,
  faults: ['crashInInstall', 'cutPair', 'split', 'powerLoss', 'kill'],
  strokeMs: 600,
  lastingMs: 3_000,
  thinkMs: 20,
  chunkBytes: 300,
} as const;
/** Messages arrive late and twice, leaders change. */
const FORWARDS = {
  faults: ['isolateLeader', 'crashLeader', 'transfer', 'split'],
  strokeMs: 700,
  lastingMs: 2_000,
  loss: 0.15,
  duplication: 0.2,
  jitterMs: 40,
  spike: 0.05,
  thinkMs: 20,
} as const;

export const DRIVER_CANARIES: readonly Canary[] = [
  {
    name: 'a forwarded batch that is taken every time it arrives',
    patches: [
      {
        file: 'core/node/forward-inbox',
        find: 'const verdict = sender.known.get(forward.batch);',
        replace: 'const verdict = undefined;',
      },
    ],
    settings: FORWARDS,
    checkers: ['state', 'replay'],
    schedulesMax: 10,
  },
  {
    name: 'a forwarded batch that is sent again to another leader',
    patches: [
      {
        file: 'core/node/forwards',
        find: 'if (batch.accepted || batch.term !== term ||',
        replace: 'batch.term = term; if (batch.accepted ||',
      },
    ],
    settings: FORWARDS,
    checkers: ['state', 'replay'],
    schedulesMax: 50,
  },
  {
    name: 'a forwarded batch given up while its term may go on',
    patches: [{ file: 'core/node/forwards', find: 'if (batch.term < term)', replace: 'if (batch.term <= term)' }],
    settings: FORWARDS,
    checkers: ['state', 'replay', 'assert'],
    schedulesMax: 20,
  },
  {
    name: 'a snapshot after which unknown requests are asked for again',
    patches: [
      {
        file: 'core/node/forwards',
        find: "this.#proposals.refuse(this.#end(batch), rosterError('Timeout'));",
        replace: 'this.#proposals.reopen(this.#end(batch));',
      },
    ],
    settings: { ...FORWARDS, keepEntries: 0, faults: ['cutPair', 'split', 'pause'], lastingMs: 4_000 },
    checkers: ['state', 'replay'],
    schedulesMax: 100,
  },
  {
    name: 'a lease renewed by a leader that has been replaced (#12528)',
    patches: [
      {
        file: 'core/node/lease-calls',
        find: 'this.#world.linearizableRead((error) => {',
        replace: '((run) => run())((error) => {',
      },
    ],
    settings: {
      ...STALLED,
      strokeMs: 7_000,
      keepers: 8,
      leases: 0,
      members: 3,
      clients: 1,
      watchers: 0,
      faultMs: 25_000,
    },
    checkers: ['leases'],
    schedulesMax: 100,
  },
  {
    name: 'reads that wait for the index and not for its entries',
    patches: [
      { file: 'core/node/reads', find: 'this.#confirmed[done].index <= appliedIndex', replace: 'appliedIndex >= 0' },
    ],
    settings: { jitterMs: 40, thinkMs: 10 },
    checkers: ['replay', 'linearizability'],
    schedulesMax: 20,
  },
  {
    name: 'a log that is cut before the state is durable (reliability rule 6)',
    patches: [
      {
        file: 'core/node/backend-commits',
        find: 'const index = this.#world.machine.appliedIndex;\n        this.#world.machine.commit(',
        replace:
          'const index = this.#world.machine.appliedIndex;\n        this.#durableIndex = index; this.#trim();\n        this.#world.machine.commit(',
      },
    ],
    settings: {
      keepEntries: 0,
      commitMs: 2_000,
      faults: ['kill', 'powerLoss', 'crashInTurn'],
      strokeMs: 500,
      segmentBytes: 2048,
    },
    checkers: ['start'],
    schedulesMax: 20,
  },
  {
    name: 'a log that is reset before the snapshot is installed',
    patches: [
      {
        file: 'core/node/log-writer',
        find: 'this.#world.machine.install(content, point, (error) => {',
        replace:
          'this.#world.wal.reset(point.index, point.term, { ...(ready.hardState ?? this.#hardState), commit: point.index }, () => {});\n            this.#world.machine.install(content, point, (error) => {',
      },
    ],
    settings: SNAPSHOTS,
    checkers: ['start'],
    schedulesMax: 50,
  },
  {
    name: 'a vote that a snapshot makes a member forget',
    patches: [
      {
        file: 'core/node/log-writer',
        find: 'this.#hardState = { ...hardState, commit: point.index };',
        replace: 'this.#hardState = { ...hardState, vote: 0n, commit: point.index };',
      },
    ],
    settings: SNAPSHOTS,
    checkers: ['raft'],
    schedulesMax: 20,
  },
  {
    name: 'a start after a snapshot whose log has not followed (#13766)',
    patches: [
      {
        file: 'core/log/after-snapshot',
        find: 'else if (resetTo === undefined)',
        replace: 'else if (resetTo !== null)',
      },
    ],
    settings: { ...SNAPSHOTS, faults: ['crashInInstall'] },
    checkers: ['start', 'assert', 'raft'],
    schedulesMax: 100,
  },
  {
    name: 'a chunk of a snapshot that is taken twice',
    patches: [
      {
        file: 'core/node/snapshot-receiver',
        find: 'if (chunk.from !== incoming.from)\n            return;',
        replace: '',
      },
      {
        file: 'core/node/snapshot-receiver',
        find: 'crc32(chunk.rows, incoming.crc) !== chunk.crc',
        replace: 'chunk.crc < 0',
      },
    ],
    settings: { ...SNAPSHOTS, duplication: 0.3, loss: 0.1, jitterMs: 40 },
    checkers: ANY,
    schedulesMax: 100,
  },
  {
    name: 'ids of requests that begin anew with every start',
    patches: [{ file: 'core/node/id-generator', find: 'BigInt(Math.floor(nowMs)) << COUNT_BITS', replace: '1n' }],
    settings: { faults: ['kill', 'crashAll'], strokeMs: 1_000 },
    checkers: ['state', 'replay', 'assert'],
    schedulesMax: 10,
  },
  {
    name: 'a new leader that lets leases run out before it has applied what came before',
    patches: [
      {
        file: 'core/lease/lessor',
        find: 'now + lease.startSeconds * 1000 + extraMs',
        replace: 'now + lease.startSeconds * 400',
      },
    ],
    settings: { leases: 0.5, faults: ['crashLeader', 'transfer', 'isolateLeader'], strokeMs: 1_500 },
    checkers: ['leases'],
    schedulesMax: 50,
  },
];
