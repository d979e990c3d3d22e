/** Files: snapshots, and the segments of the log. Whatever is in them, what was written or the reason why not. */
import { createHash } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeRows, encodeRows, StateRow } from '../../core/apply/state-rows.ts';
import { RosterError } from '../../core/errors.ts';
import type { LogDisk } from '../../core/log/disk.ts';
import { recover } from '../../core/log/recover.ts';
import { crc32 } from '../../core/util/crc32.ts';
import { snapshotStatus } from '../../server/snapshot/file.ts';
import { SnapshotDecoder, SnapshotEncoder, SnapshotFacts } from '../../server/snapshot/format.ts';
import { append, entries, finish, fresh, hard } from '../log/rig.ts';
import type { Chance } from './chance.ts';
import type { Target } from './runner.ts';
import { mustBe } from './wire-targets.ts';

/** A file without its hash. Pieces may be wrong before they are sealed: then only what reads the rows can find it. */
function file(chance: Chance): { bytes: Buffer; pieces: Uint8Array[]; isWhole: boolean } {
  const encoder = new SnapshotEncoder();
  const isWhole = chance.one(2);
  const pieces = Array.from({ length: chance.int(4) }, () => {
    const rows = Array.from({ length: 1 + chance.int(4) }, () => chance.message(StateRow));
    const piece = encodeRows(rows);
    return isWhole ? piece : chance.mutated(piece);
  }).filter((piece) => piece.length > 0);
  const parts: Uint8Array[] = [encoder.head(chance.message(SnapshotFacts))];
  for (const piece of pieces) parts.push(encoder.prefix(piece), piece);
  return { bytes: Buffer.concat([...parts, encoder.tail()]), pieces, isWhole };
}

const snapshots: Target = {
  name: 'snapshots',
  executions: 2000,
  share: 1,
  async run(chance) {
    const { bytes: valid, pieces } = file(chance);
    const isSealed = chance.one(2);
    const bytes = isSealed ? valid : chance.mutated(valid, file(chance).bytes);
    if (chance.one(100)) return status(bytes);
    let at = 0;
    const read = async (length: number): Promise<Buffer> => {
      mustBe(at + length <= bytes.length, 'more is read than there is');
      at += length;
      return bytes.subarray(at - length, at);
    };
    const decoder = new SnapshotDecoder(read, bytes.length);
    try {
      await decoder.head();
      let count = 0;
      for (let piece = await decoder.piece(); piece !== undefined; piece = await decoder.piece()) {
        if (isSealed) mustBe(piece.equals(pieces[count]!), 'another piece than was written');
        decodeRows(piece);
        count++;
      }
      mustBe(!isSealed || count === pieces.length, 'pieces are missing');
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
      mustBe(!isSealed, `what was written is refused: ${error.message}`);
    }
  },
};

/** The same as a file on disk, with its hash or another. */
async function status(bytes: Buffer): Promise<void> {
  const path = join(tmpdir(), `roster-fuzz-${process.pid}.db`);
  writeFileSync(path, Buffer.concat([bytes, createHash('sha256').update(bytes).digest()]));
  try {
    await snapshotStatus(path);
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
  } finally {
    rmSync(path, { force: true });
  }
}

/** A log of several segments as it is after a loss of power. */
function someLog(): Map<string, Uint8Array> {
  const { disk, wal } = fresh({ segmentBytes: 2048 });
  for (let i = 0; i < 30; i++)
    append(disk, wal, entries(i * 3 + 1, i * 3 + 3, 1 + Math.floor(i / 10), 40), hard(1 + Math.floor(i / 10), i * 3));
  return new Map(
    disk.list().map((name) => {
      const bytes = new Uint8Array(disk.size(name));
      disk.read(name, 0, bytes);
      return [name, bytes];
    }),
  );
}

let log: Map<string, Uint8Array> | undefined;

const wal: Target = {
  name: 'wal',
  executions: 1000,
  share: 0.3,
  run(chance) {
    log ??= someLog();
    const files = new Map(log);
    const names = [...files.keys()];
    for (let n = 1 + chance.int(2); n > 0; n--) {
      const name = chance.pick(names);
      if (chance.one(20)) files.delete(name);
      else files.set(name, chance.mutated(log.get(name)!, log.get(chance.pick(names))!));
    }
    const disk: Pick<LogDisk, 'crc32' | 'list' | 'size' | 'read'> = {
      crc32,
      list: () => [...files.keys()],
      size: (name) => files.get(name)!.length,
      read: (name, offset, into) => {
        const bytes = files.get(name)!.subarray(offset, offset + into.length);
        into.set(bytes);
        return bytes.length;
      },
    };
    const found = finish(recover(disk as LogDisk));
    mustBe(['empty', 'recovered', 'damaged'].includes(found.kind), `it is ${found.kind}`);
  },
};

export const fileTargets: readonly Target[] = [snapshots, wal];
