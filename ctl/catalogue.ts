/**
 * Every command's name, what it is for, and where it is: so that a command line loads the one file it needs, and help
 * needs none. A group's `load` gives the function that puts its commands, with flags and all, into the program.
 */
import type { Command } from 'commander';
import type { Context } from './context.ts';

export interface Group {
  commands: Readonly<Record<string, string>>;
  load: () => Promise<(program: Command, context: Context) => void>;
  /** Talks to no server over gRPC. */
  offline?: boolean;
}

/** Those of etcdctl (API 3) and etcdutl. */
export const version3: readonly Group[] = [
  {
    commands: {
      put: 'Puts the given key into the store',
      get: 'Gets the key or a range of keys',
      del: 'Removes the specified key or range of keys [key, range_end)',
    },
    load: async () => (await import('./v3/kv.ts')).addKvCommands,
  },
  {
    commands: { txn: 'Txn processes all the requests in one transaction' },
    load: async () => (await import('./v3/txn.ts')).addTxnCommand,
  },
  {
    commands: { watch: 'Watches events stream on keys or prefixes' },
    load: async () => (await import('./v3/watch.ts')).addWatchCommand,
  },
  {
    commands: { lease: 'Lease related commands' },
    load: async () => (await import('./v3/lease.ts')).addLeaseCommands,
  },
  {
    commands: { member: 'Membership related commands' },
    load: async () => (await import('./v3/member.ts')).addMemberCommands,
  },
  {
    commands: { endpoint: 'Endpoint related commands' },
    load: async () => (await import('./v3/endpoint.ts')).addEndpointCommands,
  },
  {
    commands: {
      compaction: 'Compacts the event history',
      alarm: 'Alarm related commands',
      defrag: 'Defragments the storage of the members at the given endpoints',
      'move-leader': 'Transfers leadership to another member',
      downgrade: 'Downgrade related commands',
    },
    load: async () => (await import('./v3/maintenance.ts')).addMaintenanceCommands,
  },
  {
    commands: {
      snapshot: 'Saves, checks and restores snapshots of a member',
      hashkv: 'Prints the KV history hash of a snapshot file',
      migrate: 'Says that there is nothing to migrate',
    },
    load: async () => (await import('./v3/snapshot.ts')).addSnapshotCommands,
  },
  {
    commands: { lock: 'Acquires a named lock', elect: 'Observes and participates in leader election' },
    load: async () => (await import('./v3/lock.ts')).addLockCommands,
  },
  {
    commands: { auth: 'Enable or disable authentication', user: 'User related commands' },
    load: async () => (await import('./v3/user.ts')).addUserCommands,
  },
  {
    commands: { role: 'Role related commands' },
    load: async () => (await import('./v3/role.ts')).addRoleCommands,
  },
  {
    commands: { check: 'Checks properties of the cluster: performance, memory' },
    load: async () => (await import('./v3/check.ts')).addCheckCommands,
  },
  {
    commands: { 'make-mirror': 'Makes a mirror at the destination cluster' },
    load: async () => (await import('./v3/make-mirror.ts')).addMakeMirrorCommand,
  },
  {
    commands: {
      version: 'Prints the version of rosterctl',
      options: 'Lists the flags that every command has',
      completion: 'Generates completion scripts for bash, zsh and fish',
    },
    load: async () => (await import('./more/about.ts')).addAboutCommands,
    offline: true,
  },
];

/** Those that etcdctl never had. */
export const beyond: readonly Group[] = [
  {
    commands: {
      du: 'Sums up keys and octets under a prefix, by child',
      history: 'Shows every change of a key that the store remembers',
      diff: 'Shows what differs between two revisions of a prefix',
    },
    load: async () => (await import('./more/explore.ts')).addExploreCommands,
  },
  {
    commands: { top: 'Shows what the members do, again and again' },
    load: async () => (await import('./more/top.ts')).addTopCommand,
  },
  {
    commands: { doctor: 'Says what is wrong with a cluster, and what to do about it' },
    load: async () => (await import('./more/doctor.ts')).addDoctorCommand,
  },
];

/** Those of etcdctl with ETCDCTL_API=2. */
export const version2: readonly Group[] = [
  {
    commands: {
      set: 'Sets the value of a key',
      mk: 'Makes a new key with a given value',
      mkdir: 'Makes a new directory',
      setdir: 'Creates a new directory, or updates the TTL of an existing one',
      update: 'Updates an existing key with a given value',
      updatedir: 'Updates an existing directory',
      get: 'Retrieves the value of a key',
      ls: 'Retrieves a directory',
      rm: 'Removes a key or a directory',
      rmdir: 'Removes the key if it is an empty directory or a key-value pair',
    },
    load: async () => (await import('./v2/keys.ts')).addKeyCommands,
    offline: true,
  },
  {
    commands: { watch: 'Watches a key for changes', 'exec-watch': 'Watches a key and runs a command for each change' },
    load: async () => (await import('./v2/watch.ts')).addWatchCommands,
    offline: true,
  },
  {
    commands: { 'cluster-health': 'Checks the health of the cluster', member: 'Lists, adds, removes members' },
    load: async () => (await import('./v2/members.ts')).addMemberCommands,
    offline: true,
  },
  {
    commands: {
      user: 'Adds users, grants and revokes their roles',
      role: 'Adds roles, grants and revokes paths',
      auth: 'Turns authentication on and off',
    },
    load: async () => (await import('./v2/auth.ts')).addAuthCommands,
    offline: true,
  },
  {
    commands: { backup: 'Backs up a data directory', import: 'Imports a snapshot of etcd 0.4' },
    load: async () => (await import('./v2/backup.ts')).addBackupCommands,
    offline: true,
  },
];

export const namesOf = (groups: readonly Group[]): string[] => groups.flatMap(({ commands }) => Object.keys(commands));
