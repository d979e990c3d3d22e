/** The v2 verbs backup and import: a cold copy of a data directory, and the keys of a snapshot of etcd 0.4. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { RosterError } from '../../core/errors.ts';
import { type Context, PlainError } from '../context.ts';
import { integer } from '../v3/numbers.ts';
import { badArguments, Exit2, failure } from './exit.ts';
import { keyError, keyPath } from './keys-api.ts';
import { type Entry04, entriesOf } from './snapshot-04.ts';

interface ImportFlags {
  snap: string;
  hidden: string[];
  c: number;
}

const CLIENTS_MAX = 100;
/** A key that is about to expire gets so long: the clients that keep it up to date have to move, too. */
const TTL_SECONDS_MIN = 300;

export function addBackupCommands(program: Command, context: Context): void {
  program
    .command('backup')
    .description('Backs up the data directory of a member that is not running')
    .option('--data-dir <dir>', 'the data directory', '')
    .option('--backup-dir <dir>', 'where the copy goes: made, or empty', '')
    .option('--with-v3', 'all keys are in it in any case')
    .addHelpText(
      'after',
      '\nThe copy is started as a new cluster of one: roster serve --data-dir DIR --force-new-cluster',
    )
    .action((flags: { dataDir: string; backupDir: string }) => backup(context, flags));
  program
    .command('import')
    .description('Imports a snapshot of etcd 0.4')
    .requiredOption('--snap <file>', 'path of the snapshot')
    .option('--hidden <key>', 'hidden directory to import as well', (text, all: string[]) => [...all, text], [])
    .option('-c <n>', 'number of concurrent clients', integer('c'), 10)
    .action((flags: ImportFlags) => importSnapshot(context, flags));
}

async function backup(context: Context, flags: { dataDir: string; backupDir: string }): Promise<void> {
  if (flags.dataDir === '' || flags.backupDir === '') throw badArguments('--data-dir and --backup-dir are needed');
  const { backupDataDir } = await import('../../server/snapshot/backup.ts');
  try {
    backupDataDir(flags.dataDir, flags.backupDir);
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    throw failure(error.message, Exit2.BAD_ARGUMENTS);
  }
  context.print(`backed up ${flags.dataDir} to ${flags.backupDir}`);
}

async function importSnapshot(context: Context, flags: ImportFlags): Promise<void> {
  if (flags.c < 1 || flags.c > CLIENTS_MAX) throw badArguments(`-c is 1 to ${CLIENTS_MAX}`);
  const text = await readFile(flags.snap, 'utf8').catch(() => {
    throw new PlainError(`cannot read snapshot file ${flags.snap}`, Exit2.BAD_ARGUMENTS);
  });
  const entries = entriesOf(text, flags.hidden, Date.now());
  if (entries === undefined) {
    throw new PlainError(
      `cannot recover the snapshot file: ${flags.snap} is no snapshot of etcd 0.4`,
      Exit2.BAD_ARGUMENTS,
    );
  }
  context.print(`starting to import snapshot ${flags.snap} with ${flags.c} clients`);
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < entries.length && !context.io.signal.aborted) await copy(context, entries[next++]!);
  };
  await Promise.all(Array.from({ length: flags.c }, client));
  context.print(`finished importing ${entries.length} keys`);
}

async function copy(context: Context, { key, value, ttlSeconds }: Entry04): Promise<void> {
  const ttl = ttlSeconds === undefined ? undefined : Math.max(ttlSeconds, TTL_SECONDS_MIN);
  const form = { value, ...(ttl !== undefined && { ttl: String(ttl) }) };
  const reply = await context.store2.call({ method: 'PUT', path: keyPath(key), form });
  if (reply.status !== 200 && reply.status !== 201) throw keyError(reply);
}
