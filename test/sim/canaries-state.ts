/** Bugs of what is replicated: store, watches, leases, membership, snapshots of it all. */
import type { Canary } from './canary.ts';

const ANY = ['raft', 'assert', 'state', 'replay', 'start', 'linearizability', 'liveness', 'watch', 'error'];
const SNAPSHOTS = {
  keepEntries: 0,
  faults: ['cutPair', 'split', 'pause', 'crashInInstall'],
  strokeMs: 600,
  lastingMs: 4_000,
  thinkMs: 20,
} as const;
const COMPACTING = { compactions: 0.1, keys: 2, watchers: 3 } as const;

export const STATE_CANARIES: readonly Canary[] = [
  {
    name: 'an applied index stored ahead of its entry (#13766)',
    patches: [
      {
        file: 'core/apply/state-machine',
        find: 'writeApplied(this.backend, this.#applied);',
        replace: 'writeApplied(this.backend, { ...this.#applied, index: this.#applied.index + 1 });',
      },
    ],
    checkers: ANY,
    schedulesMax: 10,
  },
  {
    name: 'an applied index that is stored without its effects',
    patches: [
      {
        file: 'core/mvcc/memory-backend',
        find: 'for (const bucket of BUCKETS) {\n            const tree',
        replace:
          "for (const bucket of BUCKETS) {\n            if (bucket === 'lease') continue;\n            const tree",
      },
    ],
    settings: { leases: 0.4, faults: ['kill', 'crashAll'], strokeMs: 1_500 },
    checkers: ANY,
    schedulesMax: 10,
  },
  {
    name: 'a configuration that is not stored when it changes (#19557)',
    patches: [
      {
        file: 'core/apply/applied',
        find: 'if (conf.voters.length > 0)',
        replace: "if (backend.get('meta', CONF) === undefined)",
      },
    ],
    settings: { memberChangeMs: 500, faults: ['kill', 'crashAll', 'powerLoss'], strokeMs: 700 },
    checkers: ANY,
    schedulesMax: 50,
  },
  {
    name: 'members that a snapshot does not bring (#14571)',
    patches: [
      {
        file: 'core/apply/state-machine',
        find: 'this.membership.restore(this.backend);',
        replace: 'if (this.membership.members.length === 0) this.membership.restore(this.backend);',
      },
    ],
    settings: { ...SNAPSHOTS, memberChangeMs: 500 },
    checkers: ANY,
    schedulesMax: 50,
  },
  {
    name: 'a snapshot adopted before it is durable',
    patches: [
      {
        file: 'core/apply/state-writer',
        find: 'this.backend.commit((error) => done(wrong ?? error));',
        replace: 'done(wrong);',
      },
    ],
    settings: SNAPSHOTS,
    checkers: ANY,
    schedulesMax: 50,
  },
  {
    name: 'a snapshot that leaves a bucket out',
    patches: [
      {
        file: 'core/apply/state-reader',
        find: 'if (isOwnRow(bucket, key))',
        replace: "if (isOwnRow(bucket, key) || bucket === 'lease')",
      },
    ],
    settings: { ...SNAPSHOTS, leases: 0.4 },
    checkers: ANY,
    schedulesMax: 50,
  },
  {
    name: 'watchers that a snapshot leaves where they were (#15271)',
    patches: [{ file: 'core/watch/watch-hub', find: 'if (from <= store.revision)', replace: 'if (from < 0)' }],
    settings: { ...SNAPSHOTS, watchers: 3 },
    checkers: ['watch'],
    schedulesMax: 100,
  },
  {
    name: 'watchers that a snapshot sends back in time (#15271)',
    patches: [
      {
        file: 'core/watch/watch-hub',
        find: 'const from = Math.max(told + 1, watcher.startRevision);',
        replace: 'const from = watcher.startRevision;',
      },
    ],
    settings: { ...SNAPSHOTS, watchers: 3 },
    checkers: ['watch'],
    schedulesMax: 100,
  },
  {
    name: 'progress that overtakes events (#15220)',
    patches: [{ file: 'core/watch/watch-stream', find: 'this.unsynced.size > 0 ||', replace: '' }],
    settings: { watchers: 3, slowReader: 0.2, thinkMs: 10 },
    checkers: ['watch'],
    schedulesMax: 50,
  },
  {
    name: 'events that a slow watcher gets twice (#17247)',
    patches: [
      {
        file: 'core/watch/catch-up',
        find: 'if (nextRevision < from || nextRevision > revision)',
        replace: 'if (nextRevision < from)',
      },
    ],
    settings: { watchers: 3, slowReader: 0.2, thinkMs: 10 },
    checkers: ['watch', 'assert'],
    schedulesMax: 100,
  },
  {
    name: 'a compaction at a delete that drops it (#18089)',
    patches: [
      {
        file: 'core/mvcc/key-index',
        find: 'if (this.ended && this.lastMain < main)',
        replace: 'if (this.ended && this.lastMain <= main)',
      },
    ],
    settings: COMPACTING,
    checkers: ['watch', 'state', 'replay', 'assert'],
    schedulesMax: 200,
  },
  {
    name: 'a compaction that takes what can still be read',
    patches: [
      {
        file: 'core/mvcc/key-index',
        find: 'return this.newestAt(main) > before ? before + 1 : Math.max(0, before);',
        replace: 'return this.newestAt(main) > before ? before + 1 : Math.max(0, before + 1);',
      },
    ],
    settings: COMPACTING,
    checkers: ANY,
    schedulesMax: 20,
  },
  {
    name: 'a transaction whose answer depends on how far a compaction has come (#18667)',
    patches: [
      { file: 'core/apply/txn', find: 'revision < this.#store.compactRevision', replace: 'revision < 0' },
      { file: 'core/mvcc/reader', find: 'if (revision < view.compacted)', replace: 'if (revision < 0)' },
    ],
    settings: COMPACTING,
    checkers: ANY,
    schedulesMax: 50,
  },
  {
    name: 'a renewal that leaves its checkpoint in the log (PR 13508)',
    patches: [
      {
        file: 'core/lease/checkpoints',
        find: 'const seconds = this.guaranteedSeconds(lease);',
        replace: 'const seconds = lease.ttlSeconds;',
      },
    ],
    // Leases that grow old before they are renewed, and are left alone then.
    settings: {
      leases: 0.12,
      thinkMs: 100,
      clients: 5,
      checkpointMs: 500,
      faults: ['crashLeader', 'transfer'],
      strokeMs: 2_500,
      faultMs: 25_000,
      memberChangeMs: 0,
    },
    checkers: ['leases'],
    schedulesMax: 300,
  },
  {
    name: 'a lease that can be renewed after its time (PR 20615)',
    patches: [
      { file: 'core/lease/lessor', find: 'if (lease.expiresAtMs <= now)', replace: 'if (lease.expiresAtMs < 0)' },
    ],
    settings: { leases: 0.7, clients: 5, thinkMs: 30 },
    checkers: ['leases'],
    schedulesMax: 200,
  },
  {
    name: 'keys that a restart takes off their lease',
    patches: [{ file: 'core/mvcc/restore', find: 'leases.attach(lease, key);', replace: ';' }],
    settings: { leases: 0.5, faults: ['kill', 'crashAll'], strokeMs: 1_000 },
    checkers: ANY,
    schedulesMax: 20,
  },
  {
    name: 'an update of a member that makes a learner a voter (#21694)',
    patches: [
      {
        file: 'core/membership/membership',
        find: 'this.#put({ ...member, name, clientURLs: [...clientURLs] });',
        replace: 'this.#put({ ...member, name, clientURLs: [...clientURLs], isLearner: false });',
      },
    ],
    settings: { memberChangeMs: 500 },
    checkers: ['state', 'liveness', 'assert'],
    schedulesMax: 20,
  },
];
