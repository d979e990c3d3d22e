/**
 * HashKV of a snapshot file: what the member would have answered for a revision, from the file alone. Owns reading the file
 * twice: once for what is the newest revision of each key at the compaction, once for the hash. Writes nothing.
 */
import type { StateRow } from '../../core/apply/state-rows.ts';
import { GrpcStatus, otherError, rosterError } from '../../core/errors.ts';
import { BUCKETS } from '../../core/mvcc/backend.ts';
import { keyOfPair } from '../../core/mvcc/pairs.ts';
import { isTombstoneKey, parseRevision, revisionIn } from '../../core/mvcc/revision.ts';
import { type ByteString, fromByteString } from '../../core/util/bytes.ts';
import { crc32c } from '../../core/util/crc32.ts';
import { SnapshotFile } from './file.ts';

export interface SnapshotKvHash {
  readonly hash: number;
  /** The revision hashed. */
  readonly hashRevision: number;
  readonly compactRevision: number;
}

/** Of the file at `path` up to `revision`; 0: its last. Throws a RosterError: a damaged file, Compacted, FutureRev. */
export async function snapshotKvHash(path: string, revision: number): Promise<SnapshotKvHash> {
  const { newest, compactRevision, last } = await survey(path);
  const hashRevision = revision === 0 ? last : revision;
  if (hashRevision < compactRevision) throw rosterError('Compacted');
  if (hashRevision > last) throw rosterError('FutureRev');
  let hash = crc32c(fromByteString('key'));
  await eachRow(path, (name, { key, value }) => {
    if (name !== 'key') return;
    const { main, sub } = parseRevision(key);
    if (main > hashRevision) return;
    if (main <= compactRevision) {
      if (isTombstoneKey(key)) return;
      const at = newest.get(keyOfPair(value));
      if (at?.main !== main || at.sub !== sub) return;
    }
    hash = crc32c(value, crc32c(fromByteString(key), hash));
  });
  return { hash, hashRevision, compactRevision };
}

interface Survey {
  /** Of each key the newest revision at the compaction. */
  newest: Map<ByteString, { main: number; sub: number }>;
  compactRevision: number;
  last: number;
}

async function survey(path: string): Promise<Survey> {
  const newest: Survey['newest'] = new Map();
  let compactRevision = 0;
  let last = 1;
  const older: { key: ByteString; main: number; sub: number }[] = [];
  await eachRow(path, (name, { key, value }) => {
    if (name === 'key') {
      const { main, sub } = parseRevision(key);
      last = Math.max(last, main);
      older.push({ key: keyOfPair(value), main, sub });
    } else if (name === 'meta' && /^(?:scheduled|finished)CompactRev$/.test(key)) {
      compactRevision = Math.max(compactRevision, revisionIn(value)?.main ?? 0);
    }
  });
  for (const { key, main, sub } of older) if (main <= compactRevision) newest.set(key, { main, sub });
  return { newest, compactRevision, last: Math.max(last, compactRevision) };
}

async function eachRow(path: string, take: (bucket: string, row: StateRow) => void): Promise<void> {
  const file = await SnapshotFile.open(path);
  try {
    for (let rows = await file.rows(); rows !== undefined; rows = await file.rows()) {
      for (const row of rows) {
        const name = BUCKETS[row.bucket];
        if (name === undefined)
          throw otherError(GrpcStatus.DATA_LOSS, `the snapshot has an unknown bucket ${row.bucket}`);
        take(name, row);
      }
    }
  } finally {
    await file.close();
  }
}
