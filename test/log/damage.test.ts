import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { MemoryDisk } from '../../core/log/memory-disk.ts';
import type { Entry } from '../../core/wire/stored.ts';
import { append, close, entry, examine, open } from './rig.ts';

/** Every bit, and every sector, of a small log, one at a time. */

/** Some thousand recoveries each, on whatever machine. */
const TIMEOUT = { timeout: 300_000 };
const SEGMENT_BYTES = 2048;
const ENTRIES_PER_FRAME = 2;
/** Header and state, two entries with 200 and 125 bytes of data. */
const FRAME_BYTES = 72 + 2 * 24 + 325;

interface Sample {
  readonly disk: MemoryDisk;
  readonly log: readonly Entry[];
  readonly files: string[];
}

function sample(sealed: boolean): Sample {
  const disk = new MemoryDisk({ crc32 });
  const wal = open(disk, { segmentBytes: SEGMENT_BYTES });
  disk.settle();
  const log: Entry[] = [];
  while (wal.segmentCount < 3) {
    const added = [entry(log.length + 1, 1, 200), entry(log.length + 2, 1, 125)];
    log.push(...added);
    append(disk, wal, added, { term: 1, vote: 1n, commit: log.length - 2 });
  }
  if (sealed) close(disk, wal);
  return { disk, log, files: disk.list() };
}

/** How many frames are missing at the end of what is recovered, or 'damaged'. Fails when anything was invented. */
function missing({ disk, log }: Sample): number | 'damaged' {
  const found = examine(disk);
  if (found.kind === 'damaged') return 'damaged';
  if (found.kind === 'empty' || found.firstIndex !== 1) return expect.fail('the log has lost its beginning');
  for (const [i, item] of found.entries.entries()) {
    const right = log[i]!;
    if (item.term !== right.term || item.type !== right.type || Buffer.compare(item.data, right.data) !== 0) {
      expect.fail(`entry ${item.index} is not what was written`);
    }
  }
  return (log.length - found.entries.length) / ENTRIES_PER_FRAME;
}

/** Flips each bit of `files` alone and counts what is found. */
function flipEach(log: Sample, files: readonly string[]): Map<number | 'damaged', number> {
  const counts = new Map<number | 'damaged', number>();
  for (const name of files) {
    for (let bit = 0; bit < SEGMENT_BYTES * 8; bit++) {
      log.disk.corrupt(name, bit >> 3, 1 << (bit & 7));
      const seen = missing(log);
      log.disk.corrupt(name, bit >> 3, 1 << (bit & 7));
      counts.set(seen, (counts.get(seen) ?? 0) + 1);
    }
  }
  return counts;
}

describe('one flipped bit', () => {
  it('in a log that was closed: noticed, or without effect; nothing is ever lost or invented', TIMEOUT, () => {
    const log = sample(true);
    expect(log.files).toHaveLength(4);
    const counts = flipEach(log, log.files);
    expect([...counts.keys()].sort()).toEqual([0, 'damaged']);
    expect(counts.get('damaged')).toBeGreaterThan(25_000);
  });

  it('in a log that was not: only the very last record may be taken for an unfinished one', TIMEOUT, () => {
    const log = sample(false);
    const counts = flipEach(log, log.files.slice(-2));
    expect([...counts.keys()].sort()).toEqual([0, 1, 'damaged']);
    expect(counts.get(1)).toBe(FRAME_BYTES * 8);
  });
});

describe('a sector that reads as zeros', () => {
  it('is noticed, also where it held the only record of a file', () => {
    for (const sealed of [true, false]) {
      const log = sample(sealed);
      const counts = new Map<number | 'damaged', number>();
      for (const name of log.files) {
        for (let sector = 0; sector < SEGMENT_BYTES; sector += 512) {
          const before = new Uint8Array(512);
          log.disk.read(name, sector, before);
          for (const [i, byte] of before.entries()) log.disk.corrupt(name, sector + i, byte);
          const seen = missing(log);
          for (const [i, byte] of before.entries()) log.disk.corrupt(name, sector + i, byte);
          counts.set(seen, (counts.get(seen) ?? 0) + 1);
        }
      }
      expect([...counts.keys()].sort()).toEqual([0, 'damaged']);
      // Of the next file, which is blank, only the header is missed: without it nobody can know that it is.
      expect(counts.get('damaged')).toBe(10);
    }
  });
});
