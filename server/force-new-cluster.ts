/**
 * --force-new-cluster: what a member must append to its log to be a cluster of its own, after the majority is lost for
 * good. Nothing in the log is dropped, since some of it may have been acknowledged; entries that remove all others come
 * after it, and count as committed. One durable write, so a crash leaves either the old cluster or the new one.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import { GrpcStatus, otherError, RosterError } from '../core/errors.ts';
import type { NodeWal, RecoveredLog } from '../core/node/world.ts';
import {
  ConfChange,
  ConfChangeType,
  ConfTransition,
  confAfter,
  isJoint,
  LEAVE_JOINT,
} from '../core/raft/conf-change.ts';
import type { ConfState } from '../core/raft/messages.ts';
import { encode } from '../core/wire/binary.ts';
import { type Entry, EntryType, type HardState, MemberChange } from '../core/wire/stored.ts';
import type { Logger } from './config/log.ts';

/** In the data directory while the flag stays given, so that members added since are not dropped at the next start. */
const MARKER = 'forced-new-cluster';

export interface ForceOptions {
  readonly wal: Pick<NodeWal, 'append'>;
  readonly recovered: RecoveredLog;
  readonly applied: AppliedConf;
  readonly self: bigint;
  /** The data directory. */
  readonly directory: string;
  readonly log: Logger;
}

/**
 * Does it, unless it has been done since the last start without the flag. Returns the log to go on with. Throws a
 * RosterError when it is not possible.
 */
export async function forceNewCluster(options: ForceOptions): Promise<RecoveredLog> {
  const { wal, recovered, applied, self, directory, log } = options;
  const marker = join(directory, MARKER);
  if (fs.existsSync(marker)) {
    log.warn('--force-new-cluster is ignored: it has been done at an earlier start. Take the flag away');
    return recovered;
  }
  const forced = forcedEntries(recovered, applied, self);
  if (forced instanceof RosterError) throw forced;
  const { entries, hardState } = forced ?? { entries: [], hardState: recovered.hardState };
  if (forced === undefined) log.warn('--force-new-cluster: this member is a cluster of its own already');
  else {
    const removed = forced.removed.map((id) => id.toString(16));
    log.warn({ removed }, 'FORCING A NEW CLUSTER: all other members are removed for good. They must not run any more');
    await new Promise<void>((resolve, reject) => {
      wal.append(entries, hardState, (error) => (error === undefined ? resolve() : reject(error)));
    });
  }
  // A crash before this: the next start finds a sole voter, and nothing to do.
  writeMarker(marker);
  return { ...recovered, hardState, entries: [...recovered.entries, ...entries] };
}

function writeMarker(path: string): void {
  const descriptor = fs.openSync(path, 'w', 0o600);
  try {
    fs.writeSync(descriptor, `${new Date().toISOString()}\n`);
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** A start without the flag: the next one with it counts again. */
export function forgetForced(directory: string): void {
  fs.rmSync(join(directory, MARKER), { force: true });
}

/** What the backend holds: the configuration after entry `index`. */
export interface AppliedConf {
  readonly index: number;
  readonly conf: ConfState;
}

export interface ForcedEntries {
  readonly entries: Entry[];
  readonly hardState: HardState;
  /** Who is dropped. */
  readonly removed: readonly bigint[];
}

/**
 * The entries that make `self` the sole voter; `undefined` when it is that already. FAILED_PRECONDITION when it is no
 * member, so that there is nothing of its own to go on with.
 */
export function forcedEntries(
  log: RecoveredLog,
  applied: AppliedConf,
  self: bigint,
): ForcedEntries | undefined | RosterError {
  let conf = applied.conf;
  for (const entry of log.entries) {
    if (entry.index > applied.index && entry.type === EntryType.values.CONF_CHANGE) conf = confAfter(conf, entry);
  }
  const { vote } = log.hardState ?? { vote: 0n };
  // A founder that has never heard of the others: no entry is of term 0.
  const term = Math.max(1, log.hardState?.term ?? 0);
  const entries: Entry[] = [];
  const append = (change: ConfChange) => {
    const index = log.prevIndex + log.entries.length + entries.length + 1;
    const entry = { type: EntryType.values.CONF_CHANGE, term, index, data: encode(ConfChange, change) };
    entries.push(entry);
    conf = confAfter(conf, entry);
  };
  if (isJoint(conf)) append(LEAVE_JOINT);
  if (conf.learners.includes(self)) append(single(ConfChangeType.values.ADD_VOTER, self, { id: 0n, promote: self }));
  if (!conf.voters.includes(self)) {
    return otherError(
      GrpcStatus.FAILED_PRECONDITION,
      '--force-new-cluster: by its data directory this member belongs to no cluster (never caught up, or removed): there is nothing to go on with',
    );
  }
  const removed = [...conf.voters, ...conf.learners].filter((id) => id !== self);
  for (const id of removed) append(single(ConfChangeType.values.REMOVE, id, { id: 0n, remove: id }));
  const last = entries.at(-1);
  if (last === undefined) return undefined;
  return { entries, hardState: { term, vote, commit: last.index }, removed };
}

function single(type: number, node: bigint, change: MemberChange): ConfChange {
  return {
    transition: ConfTransition.values.AUTO,
    changes: [{ type: type as ConfChange['changes'][number]['type'], node }],
    context: encode(MemberChange, change),
  };
}
