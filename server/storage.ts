/**
 * From a data directory to a state machine and a log that can go on: opens, locks, restores and recovers, in slices so
 * that a large start does not hold the event loop. Owns the order: state first, then the log that must reach beyond it.
 */
import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createStateMachine, type StateMachineLimits } from '../core/apply/create.ts';
import type { StateMachine } from '../core/apply/state-machine.ts';
import { createWal, type Opened, openWal } from '../core/log/open.ts';
import { recover } from '../core/log/recover.ts';
import { damageError } from '../core/log/verdict.ts';
import type { Wal } from '../core/log/wal.ts';
import type { RecoveredLog } from '../core/node/world.ts';
import type { Logger } from './config/log.ts';
import { openDataDir } from './disk/data-dir.ts';
import { LmdbBackend } from './disk/lmdb-backend.ts';
import { LogFiles } from './disk/log-files.ts';
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
  /** After the node has stopped: closes the backend and gives up the lock. */
  close(): Promise<void>;
}

export interface StorageOptions {
  dataDir: string;
  /** Who this member becomes if the directory is new; later starts go by the directory, as with etcd. */
  identity: Identity;
  limits: Partial<StateMachineLimits>;
  clock: { nowMs(): number };
  log: Logger;
}

/** Throws a RosterError when the directory cannot be used: locked, foreign, damaged. */
export async function openStorage(options: StorageOptions): Promise<Storage> {
  const { log } = options;
  const dataDir = openDataDir(options.dataDir, { warn: (message) => log.warn(message) });
  let backend: LmdbBackend | undefined;
  try {
    backend = new LmdbBackend({ directory: dataDir.dbPath });
    const machine = createStateMachine({ backend, clock: options.clock, limits: options.limits });
    await inSlices(machine.restore(), (rows) => log.info({ rows }, 'reading the store'));
    const disk = new LogFiles(dataDir.walPath);
    const space = new SpaceWatch(log);
    const { wal, recovered, identity } = await openLog(disk, machine.appliedIndex, space, options);
    return {
      machine,
      wal,
      recovered,
      identity,
      async close() {
        space.close();
        await calledBack((done) => disk.close(done));
        await calledBack((done) => backend!.close(done));
        dataDir.close();
      },
    };
  } catch (error) {
    if (backend !== undefined) await calledBack((done) => backend!.close(done));
    dataDir.close();
    throw error;
  }
}

async function openLog(
  disk: LogFiles,
  appliedIndex: number,
  space: SpaceWatch,
  { identity, log }: StorageOptions,
): Promise<Pick<Storage, 'wal' | 'recovered' | 'identity'>> {
  const options = { onSpace: (error: Error | undefined) => space.changed(error) };
  const found = await inSlices(recover(disk, { appliedIndex }), (progress) => log.info(progress, 'reading the log'));
  if (found.kind === 'damaged') throw damageError(found);
  if (found.kind === 'empty') {
    const owner = { ...identity, nonce: randomBytes(8).readBigUInt64BE() };
    const wal = await opened((done) => createWal(disk, found, owner, options, done));
    space.wal = wal;
    return { wal, recovered: { hardState: undefined, prevIndex: 0, prevTerm: 0, entries: [] }, identity };
  }
  if (found.torn) log.info('the last write before the stop was not finished; it had not been acknowledged');
  if (found.identity.memberId !== identity.memberId || found.identity.clusterId !== identity.clusterId) {
    log.warn(
      { 'member-id': found.identity.memberId.toString(16), 'cluster-id': found.identity.clusterId.toString(16) },
      'the data directory was made with other --initial-* flags; what it says goes on to hold',
    );
  }
  const { hardState, prevIndex, prevTerm, entries } = found;
  const wal = await opened((done) => openWal(disk, found, options, done));
  space.wal = wal;
  return { wal, recovered: { hardState, prevIndex, prevTerm, entries }, identity: found.identity };
}

function opened(open: (done: Opened) => void): Promise<Wal> {
  return new Promise((resolve, reject) => {
    open((error, wal) => (wal === undefined ? reject(error) : resolve(wal)));
  });
}

function calledBack(begin: (done: (error?: Error) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    begin((error) => (error === undefined ? resolve() : reject(error)));
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
