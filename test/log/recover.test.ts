import { describe, expect, it } from 'vitest';
import {
  encodeSegmentHeader,
  FIRST_CHAIN,
  FORMAT_VERSION,
  FRAME_BYTES_MIN,
  FrameKind,
  frameSeed,
  SEGMENT_HEADER_BYTES,
  segmentName,
} from '../../core/log/format.ts';
import { Frame } from '../../core/log/frame.ts';
import { MemoryDisk } from '../../core/log/memory-disk.ts';
import { openWal } from '../../core/log/open.ts';
import { recover } from '../../core/log/recover.ts';
import { damageError } from '../../core/log/verdict.ts';
import type { Wal } from '../../core/log/wal.ts';
import { crc32 } from '../../core/util/crc32.ts';
import type { Entry, HardState } from '../../core/wire/stored.ts';
import {
  ALL,
  append,
  close,
  damaged,
  entries,
  entry,
  examine,
  finish,
  fresh,
  hard,
  IDENTITY,
  NONE,
  open,
  plain,
  recovered,
  SMALL,
} from './rig.ts';

const FIRST = segmentName(1);
const FRAME_BYTES = 120; // one entry of 20 bytes: 72 + 24 + 20, aligned

/** Frames 1 to `count` with one entry each; frame n begins at `at(n)` of the first segment. */
function written(count: number): { disk: MemoryDisk; wal: Wal } {
  const log = fresh();
  for (let i = 1; i <= count; i++) append(log.disk, log.wal, [entry(i, 1)], i === 1 ? hard(1, 0) : undefined);
  return log;
}
const at = (frame: number) => SEGMENT_HEADER_BYTES + (frame - 1) * FRAME_BYTES;

interface Crafted {
  items?: Entry[];
  hardState?: HardState;
  prev?: readonly [number, number];
  kind?: FrameKind;
  /** Of the frame before, if it is not the right one. */
  chain?: number;
}

/** A log whose frames are what the test says, checksums right. */
function crafted(frames: readonly Crafted[]): MemoryDisk {
  const disk = new MemoryDisk();
  const bytes = [
    encodeSegmentHeader({ version: FORMAT_VERSION, number: 1, sizeBytes: 4096, identity: IDENTITY }, crc32),
  ];
  let last = FIRST_CHAIN;
  for (const [i, { items = [], hardState = hard(1, 0), prev = [0, 0], kind, chain = last }] of frames.entries()) {
    const frame = new Frame(hardState);
    frame.begin(hardState, prev[0], prev[1]);
    if (kind !== undefined) frame.kind = kind;
    frame.reserve(1000);
    for (const item of items) frame.add(item);
    const done = frame.finish({ segment: 1, sequence: i + 1, chain }, frameSeed(IDENTITY, crc32), crc32);
    last = done.crc;
    bytes.push(done.bytes);
  }
  disk.create(FIRST, 4096, bytes, () => {});
  disk.settle();
  return disk;
}

describe('the end of the log', () => {
  it('is where a write was torn, in every way 512-byte and 4 KiB sectors allow', () => {
    for (const sectorBytes of [512, 4096]) {
      const { disk, wal } = fresh({ segmentBytes: 16384 }, { sectorBytes });
      append(disk, wal, entries(1, 10, 1, 130), hard(1, 0));
      wal.append(entries(11, 30, 1, 130), hard(1, 9), () => {});
      const [write] = disk.pending;
      if (write?.kind !== 'write') throw new Error('expected a write');
      const sectorOf = (byte: number) => Math.floor(byte / sectorBytes);
      const sectors = sectorOf(write.offset + write.bytes.length - 1) - sectorOf(write.offset) + 1;
      expect(sectors).toBe(sectorBytes === 512 ? 7 : 2);
      const whole = (1 << sectors) - 1;
      for (let mask = 0; mask <= whole; mask++) {
        const found = recovered(disk.afterPowerLoss((_, sector) => (mask & (1 << sector)) !== 0));
        expect(found.lastIndex).toBe(mask === whole ? 30 : 10);
        expect(found.hardState.commit).toBe(mask === whole ? 9 : 0);
      }
    }
  });

  it('is found among the stale bytes of a recycled segment', () => {
    const { disk, wal } = fresh({ segmentBytes: 4096 });
    let last = 0;
    while (wal.counters.writes < 200) {
      append(disk, wal, [entry(++last, 1, 300)]);
      wal.release(last);
      disk.settle();
    }
    for (let i = 0; i < 30; i++) {
      wal.append([entry(++last, 1, 1500)], undefined, () => {});
      for (let mask = 0; mask < 16; mask++) {
        const survives = (operation: { kind: string }, sector: number) =>
          operation.kind !== 'write' || (mask & (1 << sector)) !== 0;
        const found = recovered(disk.afterPowerLoss(survives));
        expect([last - 1, last]).toContain(found.lastIndex);
      }
      disk.settle();
      wal.release(last);
      disk.settle();
    }
    expect(recovered(disk).lastIndex).toBe(last);
  });

  it('is not where a readable record follows an unreadable one', () => {
    for (const [offset, mask] of [
      [at(3), 1],
      [at(3) + 4, 0x80],
      [at(3) + 12, 1],
      [at(3) + 15, 0x80],
      [at(3) + 40, 4],
      [at(3) + 100, 0x10],
    ] as const) {
      const { disk } = written(5);
      disk.corrupt(FIRST, offset, mask);
      const verdict = damaged(disk);
      expect(verdict).toMatchObject({ reason: 'damaged-record', file: FIRST, offset: at(3) });
      expect(verdict.message).toBe(
        `record 3 at byte ${at(3)} of ${FIRST} is damaged: record 4 at byte ${at(4)} of ${FIRST}, written later, is readable`,
      );
      expect(damageError(verdict)).toMatchObject({ code: 'Corrupt', message: `write-ahead log: ${verdict.message}` });
    }
  });

  it('is not where a record is zeroed and another follows', () => {
    const { disk } = written(5);
    const bytes = new Uint8Array(FRAME_BYTES);
    disk.write(FIRST, at(3), bytes, { alone: false }, () => {});
    disk.settle();
    expect(damaged(disk)).toMatchObject({ reason: 'damaged-record', offset: at(3) });
  });

  it('is not where the readable record is in a later segment', () => {
    const { disk, wal } = fresh();
    while (wal.segmentCount < 3) append(disk, wal, [entry(wal.lastIndex + 1, 1)]);
    const inSecond = disk.afterKill(ALL);
    inSecond.corrupt(segmentName(2), 3000, 1);
    expect(damaged(inSecond)).toMatchObject({ reason: 'damaged-record', file: segmentName(2) });
    const lastOfFirst = disk.afterKill(ALL);
    lastOfFirst.corrupt(FIRST, at(32), 1);
    expect(damaged(lastOfFirst)).toMatchObject({ reason: 'damaged-record', file: FIRST, offset: at(32) });
  });

  it('loses nothing to a seal: after an orderly stop even the last record cannot be cut off', () => {
    const { disk, wal } = written(3);
    close(disk, wal);
    for (let offset = at(3); offset < at(3) + 116; offset++) {
      disk.corrupt(FIRST, offset, 0x10);
      expect(damaged(disk)).toMatchObject({ reason: 'damaged-record', offset: at(3) });
      disk.corrupt(FIRST, offset, 0x10);
    }
    expect(recovered(disk).lastIndex).toBe(3);
  });

  it('is not moved by a value that holds a copy of other records', () => {
    const { disk, wal } = written(3);
    const copy = new Uint8Array(4096);
    disk.read(FIRST, 0, copy);
    // A log with another nonce, as somebody could make it who knows everything but the nonce.
    const forged = new Frame(hard(1, 0));
    forged.begin(hard(1, 0), 9, 1);
    const { bytes } = forged.finish(
      { segment: 1, sequence: 9, chain: 0 },
      frameSeed({ ...IDENTITY, nonce: 1n }, crc32),
      crc32,
    );
    wal.append([entry(4, 1, copy.slice(at(1), at(3))), entry(5, 1, bytes.slice())], undefined, () => {});
    const lostHeader = disk.afterPowerLoss((_, sector) => sector > 0);
    expect(recovered(lostHeader).lastIndex).toBe(3);
  });

  it('may be an unfinished first record in the next segment', () => {
    const { disk, wal } = fresh();
    append(disk, wal, [entry(1, 1, 3000)]);
    wal.append([entry(2, 1, 2000)], undefined, () => {});
    for (let mask = 0; mask < 32; mask++) {
      const image = disk.afterPowerLoss((_, sector) => (mask & (1 << sector)) !== 0);
      const found = recovered(image);
      expect(found.lastIndex).toBe(mask === 31 ? 2 : 1);
      const again = open(image);
      append(image, again, [entry(found.lastIndex + 1, 1, 2500)]);
      expect(recovered(image).lastIndex).toBe(found.lastIndex + 1);
    }
  });
});

describe('after a failed sync', () => {
  it('makes durable again what it found in the cache, before anything is built on it', () => {
    const { disk, wal } = fresh();
    append(disk, wal, entries(1, 3, 1), hard(1, 0));
    disk.failNext('write', new Error('input/output error'));
    wal.append([entry(4, 1)], undefined, () => {});
    disk.settle();
    expect(recovered(disk.afterPowerLoss(ALL)).lastIndex).toBe(3);
    const restarted = disk.afterKill(ALL);
    expect(recovered(restarted).lastIndex).toBe(4);
    expect(recovered(restarted.afterPowerLoss(ALL)).lastIndex).toBe(3);
    const again = open(restarted);
    expect(again.lastIndex).toBe(4);
    expect(recovered(restarted.afterPowerLoss(NONE)).lastIndex).toBe(4);
    append(restarted, again, [entry(5, 1)]);
    expect(plain(recovered(restarted.afterPowerLoss(NONE)).entries)).toEqual(
      plain([...entries(1, 3, 1), ...entries(4, 5, 1)]),
    );
  });

  it('does so in place when there is no space for a copy', () => {
    const { disk, wal } = fresh();
    append(disk, wal, entries(1, 3, 1), hard(1, 0));
    disk.failNext('write', new Error('input/output error'));
    wal.append([entry(4, 1)], undefined, () => {});
    disk.settle();
    const restarted = disk.afterKill(ALL);
    restarted.capacityBytes = 2 * 4096;
    const again = open(restarted);
    expect(recovered(restarted.afterPowerLoss(NONE)).lastIndex).toBe(4);
    append(restarted, again, [entry(5, 1)]);
    const full = restarted.afterPowerLoss(NONE);
    expect(recovered(full).lastIndex).toBe(5);
    expect(full.size(FIRST)).toBe(4096);
  });

  it('stops when the cache changes between reading and copying', () => {
    const { disk } = written(3);
    const errors: (string | undefined)[] = [];
    const found = recovered(disk);
    disk.corrupt(FIRST, at(2) + 50, 1);
    for (const capacityBytes of [Number.POSITIVE_INFINITY, 2 * 4096]) {
      disk.capacityBytes = capacityBytes;
      openWal(disk, found, SMALL, (failure) => {
        errors.push(failure?.message);
      });
      disk.settle();
      expect(errors.at(-1)).toContain('has changed since it was read');
      expect(disk.size(FIRST)).toBe(4096);
    }
  });

  it('holds for a seal that never reached the medium', () => {
    const { disk, wal } = written(3);
    disk.failNext('write', new Error('input/output error'));
    wal.close(() => {});
    disk.settle();
    const restarted = disk.afterKill(ALL);
    expect(recovered(restarted).tail.trusted).toBe(true);
    const again = open(restarted);
    append(restarted, again, [entry(4, 1, 3500)]);
    append(restarted, again, [entry(5, 1)]);
    expect(recovered(restarted.afterPowerLoss(NONE)).lastIndex).toBe(5);
  });
});

describe('files', () => {
  it('empty folder: no log, unless the database says otherwise', () => {
    expect(examine(new MemoryDisk())).toEqual({ kind: 'empty', leftovers: [] });
    expect(examine(new MemoryDisk(), { appliedIndex: 0 })).toMatchObject({ kind: 'empty' });
    expect(damaged(new MemoryDisk(), { appliedIndex: 1 })).toMatchObject({ reason: 'missing-segment' });
  });

  it('removes leftovers of interrupted creations and ignores strangers', () => {
    const { disk } = written(2);
    for (const name of [`${segmentName(7)}.tmp`, 'README', '1.wal']) disk.create(name, 8, [], () => {});
    disk.settle();
    open(disk);
    disk.settle();
    expect(disk.list()).toEqual([FIRST, segmentName(2), '1.wal', 'README']);
  });

  it('a missing segment is damage', () => {
    const { disk, wal } = fresh();
    while (wal.segmentCount < 4) append(disk, wal, [entry(wal.lastIndex + 1, 1)]);
    disk.remove(segmentName(2), () => {});
    disk.settle();
    expect(damaged(disk)).toMatchObject({ reason: 'missing-segment', file: segmentName(2) });
    disk.remove(FIRST, () => {});
    disk.settle();
    expect(recovered(disk).firstIndex).toBeGreaterThan(1);
    expect(damaged(disk, { appliedIndex: 5 })).toMatchObject({ reason: 'gap-after-database', file: segmentName(3) });
  });

  it('a segment cut short or lengthened is damage', () => {
    for (const size of [4000, 4104, 64, 63, 0]) {
      const { disk } = written(3);
      disk.resize(FIRST, size);
      expect(damaged(disk).reason).toBe(size < 64 ? 'damaged-header' : 'wrong-size');
    }
  });

  it('the last one cut short within its header is damage: it was in use', () => {
    for (const size of [0, 1, 63]) {
      const { disk, wal } = fresh();
      while (wal.segmentCount < 2) append(disk, wal, [entry(wal.lastIndex + 1, 1)]);
      disk.resize(segmentName(2), size);
      expect(damaged(disk)).toMatchObject({ reason: 'wrong-size', file: segmentName(2), offset: size });
    }
  });

  it('the last one whose first page is lost, with all that it held, is damage', () => {
    for (const content of [0, 0xff]) {
      const { disk, wal } = fresh();
      while (wal.segmentCount < 2) append(disk, wal, [entry(wal.lastIndex + 1, 1)]);
      append(disk, wal, [entry(wal.lastIndex + 1, 1)]);
      disk.write(segmentName(2), 0, new Uint8Array(512).fill(content), { alone: false }, () => {});
      disk.settle();
      expect(damaged(disk)).toMatchObject({ reason: 'damaged-header', file: segmentName(2), offset: 0 });
      // Or is another's, which is still there itself.
      const first = new Uint8Array(512);
      disk.read(FIRST, 0, first);
      disk.write(segmentName(2), 0, first, { alone: false }, () => {});
      disk.settle();
      expect(damaged(disk)).toMatchObject({ reason: 'damaged-header', file: segmentName(2), offset: 0 });
    }
  });

  it('a lost page that held the last record and the seal is damage: there is another seal', () => {
    for (const restart of [false, true]) {
      const { disk, wal } = written(20);
      // A start that finds no seal copies the file, with what it holds and no more.
      close(disk, restart ? open(disk) : wal);
      const { tail, segments } = recovered(disk);
      const name = segmentName(segments.at(-1)!.number);
      const page = tail.offset - (tail.offset % 512);
      expect(tail.offset - FRAME_BYTES).toBeGreaterThanOrEqual(page);
      disk.write(name, page, new Uint8Array(512), { alone: false }, () => {});
      disk.settle();
      expect(damaged(disk)).toMatchObject({ reason: 'damaged-record', file: name });
    }
  });

  it('a segment that cannot be read is damage', () => {
    const { disk } = written(3);
    disk.makeUnreadable(FIRST);
    expect(damaged(disk)).toMatchObject({ reason: 'unreadable', file: FIRST });
    expect(damaged(disk).message).toContain('input/output error');
  });

  it('a damaged header is damage when the segment is in use', () => {
    const { disk, wal } = fresh();
    while (wal.segmentCount < 2) append(disk, wal, [entry(wal.lastIndex + 1, 1)]);
    for (const [name, reason] of [
      [FIRST, 'damaged-header'],
      [segmentName(2), 'damaged-header'],
    ] as const) {
      for (let offset = 0; offset < 64; offset++) {
        disk.corrupt(name, offset, 2);
        expect(damaged(disk)).toMatchObject({ reason, file: name });
        disk.corrupt(name, offset, 2);
      }
    }
    disk.corrupt(segmentName(3), 20, 1);
    const last = recovered(disk);
    expect(last.leftovers).toEqual([segmentName(3)]);
    open(disk);
    disk.settle();
    expect(recovered(disk).spare?.number).toBe(3);
  });

  it('the first record of the oldest file counts once older files are gone', () => {
    const { disk, wal } = fresh();
    while (wal.segmentCount < 4) append(disk, wal, [entry(wal.lastIndex + 1, 1)]);
    wal.release(wal.lastIndex);
    disk.settle();
    const oldest = disk.list()[0]!;
    expect(oldest).not.toBe(FIRST);
    disk.corrupt(oldest, 64 + 80, 1);
    expect(damaged(disk)).toMatchObject({ reason: 'damaged-record', file: oldest, offset: 64 });
    disk.corrupt(oldest, 64 + 80, 1);
    // Even when it is the only one.
    for (const name of disk.list().slice(0, -1)) {
      if (recovered(disk).segments.length === 1) break;
      disk.remove(name, () => {});
      disk.settle();
    }
    const only = disk.list()[0]!;
    disk.corrupt(only, 64 + 80, 1);
    expect(damaged(disk)).toMatchObject({ reason: 'damaged-record', file: only, offset: 64 });
  });

  it('a record left over from an earlier life of the oldest file is none', () => {
    const stale = crafted([{ items: entries(1, 3, 1) }]);
    const header = { version: FORMAT_VERSION, number: 9, sizeBytes: 4096, identity: IDENTITY };
    stale.rename(FIRST, segmentName(9), () => {});
    stale.settle();
    stale.write(segmentName(9), 0, encodeSegmentHeader(header, crc32), { alone: false }, () => {});
    stale.settle();
    expect(damaged(stale)).toMatchObject({ reason: 'damaged-record', file: segmentName(9), offset: 64 });
  });

  it('are given up only when the record that replaces them is durable', () => {
    const { disk, wal } = fresh();
    append(disk, wal, [entry(1, 1, 3000)], hard(1, 1));
    wal.append([entry(2, 1, 3000)], undefined, () => {});
    wal.release(1);
    while (disk.pending.length > 0) {
      for (let mask = 0; mask < 1 << disk.pending.length; mask++) {
        const survives = (operation: unknown) => (mask & (1 << disk.pending.indexOf(operation as never))) !== 0;
        expect(recovered(disk.afterPowerLoss(survives), { appliedIndex: 1 }).lastIndex).toBeGreaterThanOrEqual(1);
      }
      disk.step(disk.pending.length - 1);
    }
    expect(recovered(disk).lastIndex).toBe(2);
  });

  it('of no use are removed so that a crash leaves no gap', () => {
    const { disk } = written(2);
    const blank = [new Uint8Array(64).fill(1)];
    for (const number of [2, 3, 4]) disk.create(segmentName(number), 4096, blank, () => {});
    disk.settle();
    const { leftovers } = recovered(disk);
    expect(leftovers).toEqual([segmentName(4), segmentName(3), segmentName(2)]);
  });

  it('made ready by a process that was killed are there for good before they are used', () => {
    const { disk, wal } = fresh();
    append(disk, wal, [entry(1, 1, 3000)]);
    wal.append([entry(2, 1, 3000)], undefined, () => {});
    disk.step();
    wal.close(() => {});
    expect(disk.pending.map((operation) => operation.kind)).toEqual(['create', 'write']);
    disk.step(1);
    const killed = disk.afterKill(ALL);
    expect(recovered(killed)).toMatchObject({ spare: { number: 3 }, tail: { trusted: true } });
    let acknowledged = false;
    open(killed).append([entry(3, 1, 3000)], undefined, () => {
      acknowledged = true;
    });
    killed.step();
    expect(acknowledged).toBe(true);
    expect(recovered(killed.afterPowerLoss(NONE)).lastIndex).toBe(3);
  });

  it('a recycled file whose header was not yet written is blank', () => {
    const { disk, wal } = fresh();
    while (wal.segmentCount < 4) append(disk, wal, [entry(wal.lastIndex + 1, 1)]);
    wal.release(wal.lastIndex - 1);
    const seen = new Set<string>();
    for (let i = 0; i < 200; i++) {
      wal.append([entry(wal.lastIndex + 1, 1)], undefined, () => {});
      while (disk.pending.length > 0) {
        for (const operation of disk.pending) seen.add(operation.kind);
        expect(recovered(disk.afterPowerLoss(NONE)).lastIndex).toBeGreaterThanOrEqual(wal.lastIndex - 1);
        const image = disk.afterPowerLoss(ALL);
        const found = recovered(image);
        expect(found.lastIndex).toBe(wal.lastIndex);
        append(image, open(image), [entry(found.lastIndex + 1, 1)]);
        expect(recovered(image).lastIndex).toBe(wal.lastIndex + 1);
        disk.step();
      }
      wal.release(wal.lastIndex - 1);
    }
    expect([...seen].sort()).toEqual(['remove', 'rename', 'write']);
  });

  it('belong to one member of one cluster', () => {
    const { disk } = written(1);
    expect(recovered(disk, { clusterId: 0xc1n, memberId: 0x3en }).identity).toEqual(IDENTITY);
    for (const options of [{ clusterId: 2n }, { memberId: 3n }]) {
      expect(damaged(disk, options)).toMatchObject({ reason: 'foreign', file: FIRST });
    }
    expect(damaged(disk, { clusterId: 2n }).message).toBe(
      `${FIRST} belongs to member 3e of cluster c1, not to member 3e of cluster 2`,
    );
    const other = encodeSegmentHeader(
      { version: FORMAT_VERSION, number: 2, sizeBytes: 4096, identity: { ...IDENTITY, nonce: 5n } },
      crc32,
    );
    disk.write(segmentName(2), 0, other, { alone: false }, () => {});
    disk.settle();
    expect(damaged(disk)).toMatchObject({ reason: 'foreign', file: segmentName(2) });
  });

  it('of a newer format are left alone', () => {
    const { disk } = written(1);
    const header = { version: FORMAT_VERSION + 1, number: 1, sizeBytes: 4096, identity: IDENTITY };
    disk.write(FIRST, 0, encodeSegmentHeader(header, crc32), { alone: false }, () => {});
    disk.settle();
    expect(damaged(disk)).toMatchObject({ reason: 'newer-version' });
    expect(damaged(disk).message).toContain('format version 2');
  });
});

describe('contradictions', () => {
  it('commit beyond the log is a verdict, not a crash', () => {
    const disk = crafted([{ items: entries(1, 3, 1), hardState: hard(1, 4) }]);
    expect(damaged(disk)).toMatchObject({ reason: 'commit-beyond-log' });
    expect(damaged(disk).message).toBe('entries up to 4 were committed, but the log ends with entry 3');
    expect(recovered(crafted([{ items: entries(1, 3, 1), hardState: hard(1, 3) }])).lastIndex).toBe(3);
  });

  it('a database ahead of the log is one', () => {
    const { disk } = written(3);
    expect(recovered(disk, { appliedIndex: 3 }).lastIndex).toBe(3);
    expect(damaged(disk, { appliedIndex: 4 })).toMatchObject({ reason: 'behind-database' });
  });

  it('a record that was not written after the one before it is one', () => {
    const frames = [
      { items: entries(1, 3, 2), hardState: hard(2, 0) },
      { prev: [3, 2] as const, chain: 12345 },
    ];
    expect(damaged(crafted(frames))).toMatchObject({ reason: 'inconsistent' });
    expect(damaged(crafted(frames)).message).toContain('does not continue the one before');
  });

  it('records that do not fit together are one', () => {
    const first = { items: entries(1, 3, 2), hardState: hard(2, 0) };
    for (const second of [
      { items: [entry(5, 2)], prev: [4, 2] },
      { items: [entry(4, 2)], prev: [3, 1] },
      { items: [entry(5, 2)], prev: [3, 2] },
      { items: [entry(4, 1)], prev: [3, 2] },
      { items: [entry(4, 2), entry(3, 2), entry(5, 2)], prev: [3, 2] },
    ] satisfies { items: Entry[]; prev: [number, number] }[]) {
      const disk = crafted([first, second]);
      expect(damaged(disk), JSON.stringify(second)).toMatchObject({ reason: 'inconsistent', file: FIRST });
    }
    const fine = crafted([first, { items: [entry(4, 2), entry(3, 2), entry(4, 3)], prev: [3, 2] }]);
    expect(plain(recovered(fine).entries)).toEqual(plain([...entries(1, 3, 2), entry(4, 3)]));
  });
});

describe('reading', () => {
  it('gives the loop its turns and says how far it is', () => {
    const { disk, wal } = fresh({ segmentBytes: 4 * 1024 * 1024 });
    for (let i = 1; i <= 8; i++) append(disk, wal, [entry(i, 1, 700_000)]);
    const steps = recover(disk);
    let turns = 0;
    let progress = { bytesRead: 0, bytesTotal: 1 };
    for (;;) {
      const step = steps.next();
      if (step.done === true) break;
      turns++;
      expect(step.value.bytesRead).toBeGreaterThanOrEqual(progress.bytesRead);
      progress = step.value;
    }
    expect(progress.bytesRead).toBe(progress.bytesTotal);
    expect(turns).toBeGreaterThan(12);
    expect(finish(recover(disk))).toMatchObject({ kind: 'recovered', lastIndex: 8 });
  });

  it('does not mistake a frame shorter than its state for one', () => {
    const disk = crafted([{ items: entries(1, 1, 1) }]);
    expect(FRAME_BYTES_MIN).toBe(72);
    expect(recovered(disk).lastIndex).toBe(1);
  });

  it('a reset in the log hides what was before', () => {
    const disk = crafted([
      { items: entries(1, 3, 2), hardState: hard(2, 0) },
      { kind: FrameKind.RESET, prev: [100, 7], items: [entry(101, 7)], hardState: hard(7, 100) },
    ]);
    const found = recovered(disk);
    expect([found.prevIndex, found.prevTerm, found.lastIndex]).toEqual([100, 7, 101]);
  });
});
