/**
 * Looks at a store's directory before LMDB does, and says what to do about what is wrong: the library does not survive
 * a file it cannot open. Writes nothing but the directory itself.
 */
import { accessSync, closeSync, constants, mkdirSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { GrpcStatus, otherError, type RosterError } from '../../core/errors.ts';

/** LMDB's two headers are the first two pages; each begins with a page header of this size, then magic and version. */
const PAGE_HEADER_BYTES = 24;
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
/** Where the header notes the page size. */
const PAGE_SIZE_AT = PAGE_HEADER_BYTES + 24;

class Unusable extends Error {
  override name = 'Unusable';
}

/** Makes `directory` if need be. Throws a RosterError when LMDB could not open a store there. */
export function checkStoreDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    for (const name of ['data.mdb', 'lock.mdb']) {
      const file = join(directory, name);
      const stats = statSync(file, { throwIfNoEntry: false });
      if (stats === undefined) continue;
      if (!stats.isFile()) throw new Unusable(`${file} is not a regular file`);
      accessSync(file, constants.R_OK | constants.W_OK);
      if (name === 'data.mdb') checkHeader(file, stats.size);
    }
  } catch (error) {
    throw openError(directory, error as Error);
  }
}

/** The error for the operator: which directory, what is wrong with it, what can be done. `cause` is kept. */
export function openError(directory: string, cause: Error): RosterError {
  return otherError(GrpcStatus.FAILED_PRECONDITION, `cannot open the store in ${directory}: ${explain(cause)}`, {
    cause,
  });
}

/** A file of size 0 is one whose making was interrupted: LMDB begins it anew. */
function checkHeader(file: string, size: number): void {
  if (size === 0) return;
  const advice = 'restore it from a backup, or move it away to start empty';
  const header = Buffer.alloc(PAGE_SIZE_AT + 4);
  const descriptor = openSync(file, 'r');
  try {
    readSync(descriptor, header, 0, header.length, 0);
  } finally {
    closeSync(descriptor);
  }
  if (header.readUInt32LE(PAGE_HEADER_BYTES) !== MAGIC)
    throw new Unusable(`${file} is damaged or not a store; ${advice}`);
  const version = header.readUInt32LE(PAGE_HEADER_BYTES + 4) & 0xffff;
  if (version !== DATA_VERSION)
    throw new Unusable(`${file} has format ${version} and this program reads ${DATA_VERSION}; ${advice}`);
  if (size < 2 * header.readUInt32LE(PAGE_SIZE_AT)) throw new Unusable(`${file} is cut off; ${advice}`);
}

function explain(cause: Error): string {
  switch ((cause as NodeJS.ErrnoException).code) {
    case 'ENOTDIR':
    case 'EEXIST':
      return 'it is not a directory';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied; the user this program runs as must be able to read and write it';
    case 'EROFS':
      return 'the file system is read-only';
    case 'ENOSPC':
      return 'no space left on the device';
    default:
      return cause.message;
  }
}
