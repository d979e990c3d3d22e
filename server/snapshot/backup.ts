/**
 * A cold copy of a data directory: `rosterctl backup`. Owns that nobody writes meanwhile, and that nothing is written over.
 * The copy is of a member of the old cluster: it is started with --force-new-cluster.
 */
import fs from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import { openDataDir } from '../disk/data-dir.ts';
import { isLockName } from '../disk/process-lock.ts';

/** Copies `from` to `to`, which is made, or empty. Throws a RosterError that says what is in the way. */
export function backupDataDir(from: string, to: string): void {
  const [source, target] = [resolve(from), resolve(to)];
  if (!fs.existsSync(join(source, 'roster.json'))) {
    throw refusal(`${from} is no data directory of Roster; one of etcd is for etcdctl backup`);
  }
  if (fs.existsSync(target) && fs.readdirSync(target).length > 0)
    throw refusal(`the backup directory ${to} is not empty`);
  const dataDir = openDataDir(source);
  try {
    fs.mkdirSync(target, { recursive: true, mode: 0o700 });
    // A log that lies elsewhere is copied into its place: the backup is whole by itself.
    fs.cpSync(source, target, { recursive: true, dereference: true, filter: (path) => !isLockName(basename(path)) });
  } finally {
    dataDir.close();
  }
}

const refusal = (message: string) => otherError(GrpcStatus.FAILED_PRECONDITION, message);
