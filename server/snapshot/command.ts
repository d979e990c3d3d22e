/**
 * `roster snapshot status FILE` and `roster snapshot restore FILE`, with the flags and the output of etcdutl's. Owns
 * arguments and words; the work is file.ts and restore.ts. Touches the process nowhere: what is said is returned.
 */
import { describeFlags, type FlagTable, parseFlags, UsageError } from '../config/flag-table.ts';
import { parseInitialCluster } from '../config/initial-cluster.ts';
import { DEFAULT_PEER_URL } from '../config/serve-flags.ts';
import { choice, flag, text, urls, whole } from '../config/values.ts';
import { type SnapshotStatus, snapshotStatus } from './file.ts';
import { restoreSnapshot } from './restore.ts';

const statusFlags = {
  'write-out': choice('simple', ['simple', 'json'], 'output format'),
} as const satisfies FlagTable;

const restoreFlags = {
  'data-dir': text('', "where the new member's data goes: made, or empty; default: the member's name + .etcd"),
  'wal-dir': text('', "where the new member's log goes: made, or empty; default: in the data directory"),
  name: text('default', 'human-readable name of the member, as in --initial-cluster'),
  'initial-cluster': text('', 'members of the new cluster: name=peerURL,...; default: this one alone'),
  'initial-cluster-token': text('etcd-cluster', 'sets apart clusters that were founded with the same configuration'),
  'initial-advertise-peer-urls': urls([DEFAULT_PEER_URL], 'peer URLs told to the rest of the cluster'),
  'skip-hash-check': flag(false, 'restore a file without its hash: one that was not made by snapshot save'),
  'bump-revision': whole(
    0,
    0,
    Number.MAX_SAFE_INTEGER / 2,
    'how much to raise the revision, so that no client meets one again that it has seen (needs --mark-compacted)',
  ),
  'mark-compacted': flag(false, 'count all revisions before the raised one as compacted (needs --bump-revision)'),
  'initial-memory-map-size': whole(0, 0, Number.MAX_SAFE_INTEGER, 'of no effect: the database grows as it must'),
} as const satisfies FlagTable;

const help = `usage: roster snapshot status FILE [flags]
       roster snapshot restore FILE [flags]

status:
${describeFlags(statusFlags)}

restore: makes the data directory of one member of a new cluster. Every member is restored from the same file with the
same --initial-cluster, then all are started.
${describeFlags(restoreFlags)}
`;

/** Runs one command line; what it returns is for standard output. Throws UsageError or RosterError. */
export async function runSnapshotCommand(
  args: readonly string[],
  onRead?: (bytes: number, total: number) => void,
): Promise<string> {
  const [command, ...rest] = args;
  if (command === undefined || rest.concat(command).some((arg) => /^--?(?:help|h)$/.test(arg))) return help;
  if (command === 'status') return status(rest);
  if (command === 'restore') return restore(rest, onRead);
  throw new UsageError(`roster snapshot ${JSON.stringify(command)}: there are status and restore`);
}

async function status(args: readonly string[]): Promise<string> {
  const { file, flags } = split(statusFlags, args, 'status');
  const { values } = parseFlags(statusFlags, flags, {});
  const found = await snapshotStatus(file);
  return values['write-out'] === 'json' ? statusJson(found) : statusLine(found);
}

function statusLine({ hash, revision, totalKeys, totalBytes, version }: SnapshotStatus): string {
  return `${[hash.toString(16), revision, totalKeys, humanBytes(totalBytes), version].join(', ')}\n`;
}

function statusJson({ hash, revision, totalKeys, totalBytes, version }: SnapshotStatus): string {
  return `${JSON.stringify({ hash, revision, totalKey: totalKeys, totalSize: totalBytes, version })}\n`;
}

async function restore(
  args: readonly string[],
  onRead: ((bytes: number, total: number) => void) | undefined,
): Promise<string> {
  const { file, flags } = split(restoreFlags, args, 'restore');
  const { values } = parseFlags(restoreFlags, flags, {});
  if (values['bump-revision'] > 0 !== values['mark-compacted']) {
    throw new UsageError('--bump-revision and --mark-compacted go together: one of them is missing');
  }
  const advertised = values['initial-advertise-peer-urls'];
  const initialCluster = values['initial-cluster'] || advertised.map((url) => `${values.name}=${url}`).join(',');
  parseInitialCluster(initialCluster);
  const dataDir = values['data-dir'] || `${values.name}.etcd`;
  const { identity, revision, facts } = await restoreSnapshot({
    file,
    dataDir,
    walDir: values['wal-dir'] || undefined,
    name: values.name,
    'initial-cluster': initialCluster,
    'initial-cluster-token': values['initial-cluster-token'],
    'initial-advertise-peer-urls': advertised,
    skipHashCheck: values['skip-hash-check'],
    bumpRevision: values['bump-revision'],
    onRead,
  });
  const hex = (id: bigint) => id.toString(16);
  return (
    `restored ${file} (cluster ${hex(facts.cluster_id)}, entry ${facts.index}) into ${dataDir}: ` +
    `member ${hex(identity.memberId)} of cluster ${hex(identity.clusterId)}, revision ${revision}\n`
  );
}

/** The one argument that is no flag, and the flags around it. */
function split(table: FlagTable, args: readonly string[], command: string): { file: string; flags: string[] } {
  const flags: string[] = [];
  const files: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    const name = /^--?([a-zA-Z0-9][\w-]*)$/.exec(arg)?.[1];
    if (name !== undefined && table[name]?.boolean !== true && i + 1 < args.length) flags.push(arg, args[++i]!);
    else if (arg.startsWith('-')) flags.push(arg);
    else files.push(arg);
  }
  if (files.length !== 1) throw new UsageError(`roster snapshot ${command} requires one argument, the snapshot file`);
  return { file: files[0]!, flags };
}

/** As etcdutl prints sizes: decimal units, two digits. */
function humanBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  if (bytes < 10) return `${bytes} B`;
  const exponent = Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = Math.floor((bytes / 1000 ** exponent) * 10 + 0.5) / 10;
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${units[exponent]}`;
}
