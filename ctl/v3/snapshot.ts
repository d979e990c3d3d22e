/**
 * snapshot save, status and restore, hashkv and migrate: of a running member over the wire, of files with the code that
 * `roster snapshot` has. What is saved is whole or not there at all.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import type { Command } from 'commander';
import { methods } from '../../client/methods.ts';
import { RosterError } from '../../core/errors.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { fieldLine, quotedLine } from '../output/fields.ts';
import { printListing } from '../output/print.ts';
import { ProgressBar } from '../output/progress-bar.ts';
import { humanBytes } from '../output/text.ts';
import { expectArguments, integer } from './numbers.ts';

const HASH_BYTES = 32;
const BLOCK_BYTES = 512;

interface RestoreFlags {
  [flag: string]: string | boolean | undefined;
}

export function addSnapshotCommands(program: Command, context: Context): void {
  const snapshot = program.command('snapshot').description('Saves, checks and restores snapshots of a member');
  snapshot
    .command('save [args...]')
    .usage('<filename>')
    .description('Stores a snapshot of one member in a file')
    .action((args: string[]) => save(context, args));
  snapshot
    .command('status [args...]')
    .usage('<filename>')
    .description('Checks a snapshot file and tells what is in it')
    .action((args: string[]) => status(context, args));
  snapshot
    .command('restore [args...]')
    .usage('<filename> --data-dir <dir> [options]')
    .description('Makes the data directory of a member of a new cluster')
    .option('--data-dir <dir>', 'made, or empty; default: the name + .etcd')
    .option('--wal-dir <dir>', 'where the log goes: made, or empty; default: in the data directory')
    .option('--name <name>', 'of the member, as in --initial-cluster')
    .option('--initial-cluster <list>', 'members of the new cluster: name=peerURL,...')
    .option('--initial-cluster-token <token>', 'sets apart clusters founded with the same configuration')
    .option('--initial-advertise-peer-urls <urls>', 'peer URLs of this member')
    .option('--skip-hash-check', 'restore a file without its hash')
    .option('--bump-revision <n>', 'how much to raise the revision (needs --mark-compacted)')
    .option('--mark-compacted', 'count all revisions before the raised one as compacted (needs --bump-revision)')
    .option('--initial-memory-map-size <bytes>', 'of no effect: the database grows as it must')
    .addHelpText('after', '\nExample:\n  $ rosterctl snapshot restore backup.db --data-dir /var/lib/roster --name a')
    .action((args: string[], flags: RestoreFlags) => restore(context, args, flags));
  program
    .command('hashkv [args...]')
    .usage('<filename> [options]')
    .description('Prints the KV history hash of a snapshot file')
    .option('--rev <n>', 'maximum revision to hash (default: latest revision)', integer('rev'), 0)
    .action((args: string[], flags: { rev: number }) => hashKv(context, args, flags.rev));
  program
    .command('migrate')
    .description('Says that there is nothing to migrate')
    .allowUnknownOption()
    .allowExcessArguments()
    .action(() => {
      context.print(
        'Nothing to migrate: a data directory of Roster has one format, and keys of etcd v2 and v3 are the same.',
      );
      context.print('To move from an etcd cluster: rosterctl make-mirror, or rosterctl get and put.');
    });
}

async function save(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 1, 'snapshot save expects one argument');
  const { endpoints } = context.globals;
  if (endpoints.length !== 1) {
    const text = `snapshot must be requested to one selected node, not multiple [${endpoints.join(' ')}]`;
    throw new CommandError(text, Exit.BAD_ARGUMENTS);
  }
  const path = args[0]!;
  const part = `${path}.part`;
  const file = await open(part, 'w', 0o600).catch((error: Error) => {
    throw new CommandError(`could not open ${part} (${error.message})`);
  });
  let version: string;
  try {
    version = await receive(context, file);
    await file.sync();
    await file.close();
    await rename(part, path);
  } catch (error) {
    await file.close().catch(() => {});
    await rm(part, { force: true });
    if (!(error instanceof RosterError) && (error as NodeJS.ErrnoException).code === undefined) throw error;
    if (error instanceof RosterError) throw error;
    throw new CommandError(`could not write ${part} (${(error as Error).message})`);
  }
  context.print(`Snapshot saved at ${path}`);
  if (version !== '') context.print(`Server version ${version}`);
}

/** Writes what comes, and checks the hash that comes last. Returns the storage version it tells. */
async function receive(context: Context, file: FileHandle): Promise<string> {
  const bar = new ProgressBar(context.io.stderr, 'saving');
  const hash = createHash('sha256');
  let held: Buffer = Buffer.alloc(0);
  let bytes = 0;
  let version = '';
  for await (const piece of context.client.answers(methods.snapshot, {}, context.call)) {
    await file.write(piece.blob);
    bytes += piece.blob.length;
    version = piece.version || version;
    // The last octets there are will be the hash: it is held back from what is hashed.
    held = Buffer.concat([held, piece.blob]);
    const settled = Math.max(held.length - HASH_BYTES, 0);
    hash.update(held.subarray(0, settled));
    held = Buffer.from(held.subarray(settled));
    bar.show(bytes, bytes + Number(piece.remaining_bytes));
  }
  bar.end();
  if (bytes % BLOCK_BYTES !== HASH_BYTES) throw new CommandError(`sha256 checksum not found [bytes: ${bytes}]`);
  if (!hash.digest().equals(held)) throw new CommandError('the snapshot arrived damaged: its SHA-256 is wrong');
  return version;
}

async function status(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 1, 'snapshot status requires exactly one argument');
  const { snapshotStatus } = await import('../../server/snapshot/file.ts');
  const { hash, revision, totalKeys, totalBytes, version } = await snapshotStatus(args[0]!);
  printListing(context, {
    head: ['hash', 'revision', 'total keys', 'total size', 'version'],
    rows: [[hash.toString(16), String(revision), String(totalKeys), humanBytes(totalBytes), version]],
    fields: () => [
      fieldLine('Hash', hash),
      fieldLine('Revision', revision),
      fieldLine('Keys', totalKeys),
      fieldLine('Size', totalBytes),
      quotedLine('Version', version),
    ],
    json: () => JSON.stringify({ hash, revision, totalKey: totalKeys, totalSize: totalBytes, version }),
  });
}

async function restore(context: Context, args: readonly string[], flags: RestoreFlags): Promise<void> {
  expectArguments(args, 1, 'snapshot restore requires exactly one argument');
  const { runSnapshotCommand } = await import('../../server/snapshot/command.ts');
  const given = Object.entries(flags).flatMap(([name, value]) => {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    return value === true ? [flag] : [`${flag}=${value}`];
  });
  const bar = new ProgressBar(context.io.stderr, 'restoring');
  try {
    const text = await runSnapshotCommand(['restore', args[0]!, ...given], (done, total) => bar.show(done, total));
    bar.end();
    context.io.stdout.write(text);
  } catch (error) {
    bar.end();
    // What the flags of this command have wrong is told as of this command.
    if ((error as Error).name === 'UsageError') throw new CommandError((error as Error).message, Exit.BAD_ARGUMENTS);
    throw error;
  }
}

async function hashKv(context: Context, args: readonly string[], revision: number): Promise<void> {
  expectArguments(args, 1, 'hashkv requires exactly one argument, a snapshot file');
  const { snapshotKvHash } = await import('../../server/snapshot/kv-hash.ts');
  const { hash, hashRevision, compactRevision } = await snapshotKvHash(args[0]!, revision);
  printListing(context, {
    head: ['hash', 'hash revision', 'compact revision'],
    rows: [[String(hash), String(hashRevision), String(compactRevision)]],
    fields: () => [
      fieldLine('Hash', hash),
      fieldLine('HashRevision', hashRevision),
      fieldLine('CompactRevision', compactRevision),
    ],
    json: () => JSON.stringify({ hash, hashRevision, compactRevision }),
  });
}
