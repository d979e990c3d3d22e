/**
 * From a snapshot to the data directory of a member of a new cluster: the keys, leases, users and roles of the old one, with
 * members, ids and a log of its own. Owns the order in which the directory comes to be, so that what an interruption leaves
 * is never taken for a data directory. Needs no running server.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { join, resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { writeApplied } from '../../core/apply/applied.ts';
import { createStateMachine } from '../../core/apply/create.ts';
import { GrpcStatus, otherError, type RosterError } from '../../core/errors.ts';
import { createWal } from '../../core/log/open.ts';
import { type EmptyLog, recover } from '../../core/log/recover.ts';
import type { Wal } from '../../core/log/wal.ts';
import { Membership } from '../../core/membership/membership.ts';
import { type Backend, BUCKETS, type Bucket } from '../../core/mvcc/backend.ts';
import { scheduleCompaction } from '../../core/mvcc/compaction.ts';
import { confStateOf } from '../../core/raft/conf-change.ts';
import { assert } from '../../core/util/assert.ts';
import type { ByteString } from '../../core/util/bytes.ts';
import { clusterId } from '../config/identity.ts';
import { type InitialFlags, initialMembers } from '../config/initial-cluster.ts';
import { openDataDir } from '../disk/data-dir.ts';
import { LmdbBackend } from '../disk/lmdb-backend.ts';
import { LogFiles } from '../disk/log-files.ts';
import type { Identity } from '../rpc/context.ts';
import { SnapshotFile } from './file.ts';
import type { SnapshotFacts } from './format.ts';

export interface RestoreOptions extends InitialFlags {
  readonly file: string;
  /** Made; if it exists, it must be empty. */
  readonly dataDir: string;
  /** Where the log is to be, under the same rule; default: in the data directory. */
  readonly walDir?: string | undefined;
  readonly skipHashCheck: boolean;
  /**
   * Added to the revision, and everything before is compacted: clients that have seen later revisions of the old cluster
   * than the snapshot has (their watches, their caches) must not meet them again. 0: the revision goes on.
   */
  readonly bumpRevision: number;
  /** As of {@link SnapshotFile}. */
  readonly onRead?: ((bytes: number, total: number) => void) | undefined;
}

export interface Restored {
  readonly identity: Identity;
  readonly revision: number;
  /** Of the snapshot. */
  readonly facts: SnapshotFacts;
}

/** Where the restored state stands in its log: one entry in, which nobody will ask for, since all begin with it. */
const START = { index: 1, term: 1 } as const;
/** Of rows that make one commit. */
const COMMIT_BYTES = 8 * 1024 * 1024;
const TEMPORARY = 'restore.tmp';
/** What belongs to the old cluster and not to its data. */
const DROPPED: readonly Bucket[] = ['members', 'members_removed', 'cluster', 'alarm'];
/** Of `meta`, what belongs to the data: how far it is compacted. */
const KEPT_META: readonly ByteString[] = ['scheduledCompactRev', 'finishedCompactRev'];

/** Throws a RosterError (the snapshot, or the directory, cannot be used) or a UsageError (the flags contradict each other). */
export async function restoreSnapshot(options: RestoreOptions): Promise<Restored> {
  const { members, own } = initialMembers(options);
  const identity = { memberId: own.id, clusterId: clusterId(members.map(({ id }) => id)) };
  const target = resolve(options.dataDir);
  const file = await SnapshotFile.open(options.file, options);
  try {
    const giveBack = [claim(target, 'data-dir')];
    try {
      if (options.walDir !== undefined) giveBack.push(claim(resolve(options.walDir), 'wal-dir'));
      const temporary = join(target, TEMPORARY);
      const revision = await build(temporary, file, options, identity);
      moveUp(temporary, target);
      return { identity, revision, facts: file.facts };
    } catch (error) {
      for (const each of giveBack) each();
      throw error;
    }
  } finally {
    await file.close();
  }
}

/** Makes the folder, or finds it empty but for what a new file system has. Returns what leaves it so again. */
function claim(path: string, flag: string): () => void {
  if (!fs.existsSync(path)) {
    fs.mkdirSync(path, { recursive: true, mode: 0o700 });
    return () => fs.rmSync(path, { recursive: true, force: true });
  }
  const content = () => fs.readdirSync(path).filter((name) => name !== 'lost+found');
  if (!fs.statSync(path).isDirectory() || content().length > 0) {
    throw refusal(`${flag} "${path}" not empty or could not be read: a snapshot is restored into a new directory`);
  }
  return () => {
    for (const name of content()) fs.rmSync(join(path, name), { recursive: true, force: true });
  };
}

async function build(path: string, file: SnapshotFile, options: RestoreOptions, identity: Identity): Promise<number> {
  const { walDir } = options;
  const dataDir = openDataDir(path, walDir === undefined ? {} : { walDir });
  try {
    const backend = new LmdbBackend({ directory: dataDir.dbPath });
    try {
      await copyRows(file, backend);
      writeCluster(backend, options);
      await committed(backend);
      const revision = await check(backend);
      if (options.bumpRevision > 0) {
        scheduleCompaction(backend, revision + options.bumpRevision);
        await committed(backend);
      }
      await writeLog(dataDir.walPath, identity);
      return revision + options.bumpRevision;
    } finally {
      await calledBack((done) => backend.close(done));
    }
  } finally {
    dataDir.close();
  }
}

async function copyRows(file: SnapshotFile, backend: Backend): Promise<void> {
  let bytes = 0;
  for (let rows = await file.rows(); rows !== undefined; rows = await file.rows()) {
    for (const { bucket, key, value } of rows) {
      const name = BUCKETS[bucket]!;
      if (DROPPED.includes(name) || (name === 'meta' && !KEPT_META.includes(key))) continue;
      backend.put(name, key, value);
      bytes += key.length + value.length;
    }
    if (bytes < COMMIT_BYTES) continue;
    bytes = 0;
    await committed(backend);
  }
}

/** The same on every member of the new cluster: they begin with the same state at the same place. */
function writeCluster(backend: Backend, flags: InitialFlags): void {
  const { members } = initialMembers(flags);
  const sorted = members
    .map(({ id, name, peerUrls }) => ({
      ID: id,
      name,
      peerURLs: [...peerUrls],
      clientURLs: [],
      isLearner: false,
    }))
    .sort((a, b) => (a.ID < b.ID ? -1 : 1));
  new Membership(backend).bootstrap(sorted);
  writeApplied(backend, { ...START, conf: confStateOf(sorted.map(({ ID }) => ID)) });
}

/** Reads everything as a start does. Throws a RosterError when it contradicts itself; returns the revision. */
async function check(backend: Backend): Promise<number> {
  const machine = createStateMachine({ backend, clock: { nowMs: () => 0 } });
  for (const _ of machine.restore()) await nextTurn();
  return machine.store.revision;
}

/** A log that goes on after START. */
async function writeLog(walPath: string, identity: Identity): Promise<void> {
  const disk = new LogFiles(walPath);
  try {
    const owner = { ...identity, nonce: randomBytes(8).readBigUInt64BE() };
    const wal = await calledBack<Wal>((done) => createWal(disk, emptyLog(disk), owner, {}, done));
    const hardState = { term: START.term, vote: 0n, commit: START.index };
    await calledBack((done) => wal.reset(START.index, START.term, hardState, done));
    await calledBack((done) => wal.close(done));
  } finally {
    await calledBack((done) => disk.close(done));
  }
}

function emptyLog(disk: LogFiles): EmptyLog {
  const steps = recover(disk, {});
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  assert(step.value.kind === 'empty', 'a new folder holds no log');
  return step.value;
}

/** The marker of a data directory comes last: without it nothing takes the folder for one. */
function moveUp(temporary: string, target: string): void {
  const names = fs.readdirSync(temporary).sort((a, b) => Number(a.endsWith('.json')) - Number(b.endsWith('.json')));
  for (const name of names) fs.renameSync(join(temporary, name), join(target, name));
  fs.rmdirSync(temporary);
  const descriptor = fs.openSync(target, 'r');
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

function committed(backend: Backend): Promise<void> {
  return calledBack((done) => backend.commit(done));
}

function calledBack<T = void>(begin: (done: (error?: Error, result?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    begin((error, result) => (error === undefined ? resolve(result as T) : reject(error)));
  });
}

function refusal(message: string): RosterError {
  return otherError(GrpcStatus.FAILED_PRECONDITION, message);
}
