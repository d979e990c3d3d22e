/**
 * From a data directory to a state machine and a log that can go on: opens, locks, restores and recovers, in slices so
 * that a large start does not hold the event loop. Owns the order: state first, then the log that must reach beyond it,
 * or be made to follow a state that came as a snapshot.
 */
import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createStateMachine, type StateMachineLimits } from '../core/apply/create.ts';
import type { StateMachine } from '../core/apply/state-machine.ts';
import { type OpenLog, openForState, recoverForState } from '../core/log/after-snapshot.ts';
import { segmentNumber } from '../core/log/format.ts';
import { createWal } from '../core/log/open.ts';
import { damageError } from '../core/log/verdict.ts';
import type { Wal } from '../core/log/wal.ts';
import type { RecoveredLog } from '../core/node/world.ts';
import type { Bootstrap } from './bootstrap.ts';
import type { Logger } from './config/log.ts';
import { replaceDamagedLog } from './disk/damaged-log.ts';
import { openDataDir } from './disk/data-dir.ts';
import { LmdbStaging } from './disk/lmdb-staging.ts';
import { LogFiles } from './disk/log-files.ts';
import { forceNewCluster, forgetForced } from './force-new-cluster.ts';
import { forgetUnfinishedStart, writeBootstrap } from './founding.ts';
import type { Measurements } from './measurements.ts';
import type { Identity } from './rpc/context.ts';

/** A turn of start-up work ends after this long, so that signals and timers get theirs. */
const SLICE_MS = 10;
/** Long work tells how far it has come, this often. */
const PROGRESS_INTERVAL_MS = 2000;
const SPACE_RETRY_MS = 1000;

export interface Storage {
  machine: StateMachine;
  wal: Wal;
  recovered: RecoveredLog;
  /** Who this member is: what the log says, once there is one. */
  identity: Identity;
  /** The directory was empty. */
  isNew: boolean;
  /** After the node has stopped: closes the backend and gives up the lock. */
  close(): Promise<void>;
}

export interface StorageOptions {
  dataDir: string;
  /** See --wal-dir; '' or absent: in the data directory. */
  walDir?: string;
  /** Who this member becomes. Asked only if the directory is new; later starts go by the directory, as with etcd. */
  bootstrap: () => Promise<Bootstrap>;
  /** The same for a directory from before members were kept in it: a cluster of one. */
  soleMember: (identity: Identity) => Bootstrap;
  /** See force-new-cluster.ts. */
  forceNewCluster: boolean;
  limits: Partial<StateMachineLimits>;
  clock: { nowMs(): number };
  log: Logger;
  /** How long the disk takes. */
  measurements?: Measurements;
}

/** Throws a RosterError when the directory cannot be used: locked, foreign, damaged. */
export async function openStorage(options: StorageOptions): Promise<Storage> {
  const { log, measurements } = options;
  const dataDir = openDataDir(options.dataDir, {
    warn: (message) => log.warn(message),
    ...(options.walDir === undefined || options.walDir === '' ? {} : { walDir: options.walDir }),
  });
  let staging: LmdbStaging | undefined;
  try {
    const backends = new LmdbStaging({
      folder: dataDir.db,
      onCommit: (ms) => measurements?.backendCommit.observe(ms),
      warn: (error) => log.warn({ error }, 'an old database was left behind; the next start removes it'),
    });
    staging = backends;
    const { clock, limits } = options;
    const machine = createStateMachine({ backend: backends.first, staging: backends, clock, limits });
    const disk = new LogFiles(dataDir.walPath, { onWrite: (ms, bytes) => measurements?.walWritten(ms, bytes) });
    if (!disk.list().some((name) => segmentNumber(name) !== undefined)) forgetUnfinishedStart(backends.first);
    await inSlices(machine.restore(), (rows) => log.info({ rows }, 'reading the store'));
    const space = new SpaceWatch(log);
    const opened = await openLog(disk, machine, space, options);
    return {
      machine,
      ...opened,
      recovered: await forced(opened, machine, dataDir.path, options),
      async close() {
        space.close();
        await calledBack((done) => disk.close(done));
        await backends.close();
        dataDir.close();
      },
    };
  } catch (error) {
    await staging?.close();
    dataDir.close();
    throw error;
  }
}

async function openLog(
  disk: LogFiles,
  machine: StateMachine,
  space: SpaceWatch,
  { bootstrap, soleMember, log }: StorageOptions,
): Promise<Pick<Storage, 'wal' | 'recovered' | 'identity' | 'isNew'>> {
  const options = { onSpace: (error: Error | undefined) => space.changed(error) };
  const { appliedIndex, snapshotMark } = machine;
  const read = (mark: typeof snapshotMark) =>
    inSlices(recoverForState(disk, { appliedIndex }, mark), (progress) => log.info(progress, 'reading the log'));
  let found = await read(snapshotMark);
  if (found.kind === 'damaged') {
    await replaceDamagedLog(disk, found, machine, log);
    // The new log begins after the state, wherever that came from.
    found = await read(undefined);
  }
  if (found.kind === 'damaged') throw damageError(found);
  if (found.kind === 'empty') {
    const begin = await bootstrap();
    await writeBootstrap(machine, begin);
    const { identity } = begin;
    const owner = { ...identity, nonce: randomBytes(8).readBigUInt64BE() };
    const wal = await calledBack<Wal>((done) => createWal(disk, found, owner, options, done));
    space.wal = wal;
    const recovered = { hardState: undefined, prevIndex: 0, prevTerm: 0, entries: [] };
    return { wal, recovered, identity, isNew: true };
  }
  if (found.torn) log.info('the last write before the stop was not finished; it had not been acknowledged');
  const { identity } = found;
  if (machine.membership.members.length === 0) await writeBootstrap(machine, soleMember(identity));
  const { wal, start } = await calledBack<OpenLog>((done) => openForState(disk, found, options, done));
  space.wal = wal;
  if (found.resetTo !== undefined) log.info({ ...found.resetTo }, 'the log goes on after the snapshot installed last');
  if (snapshotMark !== undefined) machine.installed();
  return { wal, recovered: start, identity, isNew: false };
}

/** The log to go on with, after --force-new-cluster has done what it does. */
async function forced(
  { wal, recovered, identity, isNew }: Pick<Storage, 'wal' | 'recovered' | 'identity' | 'isNew'>,
  machine: StateMachine,
  directory: string,
  { forceNewCluster: wanted, log }: StorageOptions,
): Promise<RecoveredLog> {
  if (!wanted || isNew) {
    forgetForced(directory);
    return recovered;
  }
  const applied = { index: machine.appliedIndex, conf: machine.confState };
  return forceNewCluster({ wal, recovered, applied, self: identity.memberId, directory, log });
}

function calledBack<T = undefined>(begin: (done: (error?: Error, result?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    begin((error, result) => (error === undefined ? resolve(result as T) : reject(error)));
  });
}

/** While the disk has no room for the log: says so, and lets the log look for room now and then. */
class SpaceWatch {
  wal: Wal | undefined;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  changed(error: Error | undefined): void {
    if (error === undefined) {
      this.close();
      this.#log.info('the disk has room again for the log');
    } else if (this.#timer === undefined) {
      this.#log.error({ error }, 'no room for the next log segment: free some space on the disk');
      this.#timer = setInterval(() => this.wal?.retrySpace(), SPACE_RETRY_MS);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/** Runs a generator to its end without holding the event loop. */
async function inSlices<Progress, Result>(
  steps: Generator<Progress, Result>,
  report: (progress: Progress) => void,
): Promise<Result> {
  let sliceBeganMs = performance.now();
  let reportedMs = sliceBeganMs;
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    const nowMs = performance.now();
    if (nowMs - reportedMs > PROGRESS_INTERVAL_MS) {
      reportedMs = nowMs;
      report(step.value);
    }
    if (nowMs - sliceBeganMs > SLICE_MS) {
      await nextTurn();
      sliceBeganMs = performance.now();
    }
  }
}
