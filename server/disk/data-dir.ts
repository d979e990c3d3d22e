/**
 * The data directory: made, checked, locked. Owns its layout (`roster.json`, `member/wal`, `member/db` or what has taken
 * its place: db-folder.ts); never touches what is inside `wal` and `db`.
 */
import fs from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { GrpcStatus, RosterError } from '../../core/errors.ts';
import { DbFolder } from './db-folder.ts';
import { diskError, systemCode } from './disk-error.ts';
import { isLockName, lockFolder } from './process-lock.ts';

/** Of the layout. A directory with a higher one was made by a newer Roster and is left alone. */
export const DATA_FORMAT = 1;
const MARKER = 'roster.json';
const DIRECTORY_MODE = 0o700;

export interface DataDir {
  readonly path: string;
  /** Folder of the write-ahead log. */
  readonly walPath: string;
  /** Where the database is. */
  readonly db: DbFolder;
  /** Folder of the database in force. */
  readonly dbPath: string;
  /** Lets another process have it. */
  close(): void;
}

export interface DataDirOptions {
  /** Something the operator should change, but that does not prevent a start. */
  readonly warn?: (message: string) => void;
  /** Where the log is to be; default: in the data directory. A link there says so from then on. */
  readonly walDir?: string;
}

/**
 * Opens the data directory at `path`, making it if it does not exist. Throws a RosterError: another process has it, it
 * is not Roster's, it is from a newer version, or the system refuses.
 */
export function openDataDir(path: string, options: DataDirOptions = {}): DataDir {
  const root = resolve(path);
  try {
    return open(root, options.warn ?? (() => {}), options.walDir);
  } catch (error) {
    throw error instanceof RosterError || systemCode(error) === '' ? error : diskError('open', root, error);
  }
}

function open(root: string, warn: (message: string) => void, walDir: string | undefined): DataDir {
  makeFolder(root);
  checkMode(root, warn);
  const marked = readMarker(root);
  if (!marked) refuseForeign(root);
  const lock = lockFolder(root);
  try {
    const walPath = join(root, 'member', 'wal');
    if (isPresent(walPath) && !fs.existsSync(walPath)) {
      throw refusal(`the log of ${root} is in ${fs.readlinkSync(walPath)}, which is not there: is its disk mounted?`);
    }
    if (walDir === undefined) makeFolder(walPath);
    else placeLog(walPath, resolve(walDir));
    const db = new DbFolder(join(root, 'member'));
    makeFolder(db.path);
    if (!marked) writeMarker(root);
    return {
      path: root,
      walPath,
      db,
      get dbPath() {
        return db.path;
      },
      close: () => lock.release(),
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * The log lies in `walDir`, and `walPath` is a link to it: so the data directory alone says where its log is, whatever
 * flags a later start, or a tool, is given.
 */
function placeLog(walPath: string, walDir: string): void {
  if (isPresent(walPath)) {
    const actual = fs.realpathSync(walPath);
    if (fs.existsSync(walDir) && fs.realpathSync(walDir) === actual) return;
    throw refusal(
      `--wal-dir is ${walDir}, but the log is in ${actual}. To move it, stop the member, copy the folder, and put a link to the copy in the place of ${walPath}`,
    );
  }
  makeFolder(walDir);
  // Two members writing to one log would destroy each other.
  if (fs.readdirSync(walDir).some((name) => name !== 'lost+found')) {
    throw refusal(`--wal-dir ${walDir} is not empty: a new log needs a folder of its own`);
  }
  makeFolder(dirname(walPath));
  fs.symlinkSync(walDir, walPath);
  syncFolder(dirname(walPath));
}

/** Also a link to nothing. */
function isPresent(path: string): boolean {
  return fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Makes `path` and what is missing above it, durably. */
function makeFolder(path: string): void {
  const parent = dirname(path);
  if (fs.existsSync(path) || parent === path) return;
  makeFolder(parent);
  try {
    fs.mkdirSync(path, DIRECTORY_MODE);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
  syncFolder(parent);
}

/** Values in the store may be secrets (etcd: CVE-2020-15113). */
function checkMode(root: string, warn: (message: string) => void): void {
  const stat = fs.statSync(root);
  if (!stat.isDirectory()) throw refusal(`${root} is not a directory`);
  const mode = stat.mode & 0o777;
  if ((mode & 0o077) === 0) return;
  warn(`others may read the data directory ${root} (mode ${mode.toString(8)}); run chmod 700 ${root}`);
}

/** Whether the directory is marked as one of Roster's, in a format this Roster knows. */
function readMarker(root: string): boolean {
  const path = join(root, MARKER);
  let text: string;
  try {
    text = fs.readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
  const format = formatOf(text);
  if (format === undefined) throw refusal(`${path} is damaged: it should hold {"format":${DATA_FORMAT}}`);
  if (format > DATA_FORMAT) {
    throw refusal(`${root} has data format ${format}, made by a newer Roster; this one knows ${DATA_FORMAT} and older`);
  }
  return true;
}

function formatOf(text: string): number | undefined {
  try {
    const marker: unknown = JSON.parse(text);
    const format = typeof marker === 'object' && marker !== null && 'format' in marker ? marker.format : undefined;
    return typeof format === 'number' && Number.isInteger(format) && format > 0 ? format : undefined;
  } catch {
    return undefined;
  }
}

/** A directory without the marker must be empty, but for what an interrupted first start leaves. */
function refuseForeign(root: string): void {
  const member = join(root, 'member');
  const inMember = fs.existsSync(member) ? fs.readdirSync(member) : [];
  if (inMember.includes('snap')) {
    throw refusal(`${root} is a data directory of etcd; Roster needs one of its own`);
  }
  // fixtures: what --auto-tls has made.
  const expected = ['member', 'fixtures', `${MARKER}.tmp`, 'lost+found'];
  const known = (name: string) => expected.includes(name) || isLockName(name);
  const used = ['wal', 'db'].some((name) => inMember.includes(name) && fs.readdirSync(join(member, name)).length > 0);
  const strange = fs.readdirSync(root).find((name) => !known(name)) ?? (used ? 'member' : undefined);
  if (strange === undefined) return;
  throw refusal(`${root} is not empty (${strange}) and not a data directory of Roster: ${MARKER} is missing`);
}

function writeMarker(root: string): void {
  const path = join(root, MARKER);
  const descriptor = fs.openSync(`${path}.tmp`, 'w', 0o600);
  try {
    fs.writeSync(descriptor, `{"format":${DATA_FORMAT}}\n`);
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
  fs.renameSync(`${path}.tmp`, path);
  syncFolder(root);
}

function syncFolder(path: string): void {
  const descriptor = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

function refusal(message: string): RosterError {
  return new RosterError('Other', GrpcStatus.FAILED_PRECONDITION, message);
}
