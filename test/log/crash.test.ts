import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DiskOperation, MemoryDisk, type Survives } from '../../core/log/memory-disk.ts';
import { Prng } from '../../core/util/prng.ts';
import { Driver } from './model.ts';

/** Power and process fail at every point of random histories, in many ways at each. */

/** Some ten thousand recoveries each, on whatever machine. */
const TIMEOUT = { timeout: 300_000 };
/** Above this many independent pieces, subsets are drawn instead of enumerated. */
const PIECES_MAX = 6;
const DRAWS = 24;

/** All (or many) ways in which the pending operations may have happened in part. */
function* outcomes(disk: MemoryDisk, random: Prng): Generator<Survives> {
  const first = new Map<DiskOperation, number>();
  let pieces = 0;
  for (const operation of disk.pending) {
    first.set(operation, pieces);
    pieces += sectorsOf(operation, disk.sectorBytes);
  }
  const total = pieces <= PIECES_MAX ? 1 << pieces : DRAWS;
  for (let i = 0; i < total; i++) {
    const bits = Array.from({ length: pieces }, (_, piece) =>
      pieces <= PIECES_MAX ? (i >> piece) & 1 : random.int(8) < 1 + (i % 7) ? 1 : 0,
    );
    yield (operation, sector) => bits[first.get(operation)! + sector] === 1;
  }
}

function sectorsOf(operation: DiskOperation, sectorBytes: number): number {
  if (operation.kind !== 'write') return 1;
  const sector = (byte: number) => Math.floor(byte / sectorBytes);
  return sector(operation.offset + operation.bytes.length - 1) - sector(operation.offset) + 1;
}

describe('crashes', () => {
  it(
    'at every operation, with every subset of the pages under way: all that was acknowledged, and nothing else',
    TIMEOUT,
    () => {
      let images = 0;
      for (const sectorBytes of [512, 4096]) {
        for (let seed = 1; seed <= 20; seed++) {
          const random = new Prng(seed);
          const driver = new Driver(new MemoryDisk({ sectorBytes, crc32 }), 4096, random);
          for (let step = 0; step < 100; step++) {
            driver.act();
            while (random.int(3) !== 0 && driver.disk.pending.length > 0) {
              for (const survives of outcomes(driver.disk, random)) {
                driver.check(driver.disk.afterPowerLoss(survives));
                images++;
              }
              driver.disk.step(random.int(driver.disk.pending.length));
            }
          }
          driver.disk.settle();
          driver.check(driver.disk.afterPowerLoss(() => false));
        }
      }
      expect(images).toBeGreaterThan(10_000);
    },
  );

  it('again and again: kills, power losses, failed syncs and orderly stops in one life', TIMEOUT, () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 40 }), fc.constantFrom(512, 4096), (seed, sectorBytes) => {
        const random = new Prng(seed);
        const driver = new Driver(new MemoryDisk({ sectorBytes, crc32 }), 4096, random);
        const chance: Survives = () => random.int(2) === 0;
        for (let life = 0; life < 12; life++) {
          for (let step = random.int(40); step > 0; step--) {
            driver.act();
            for (let i = random.int(4); i > 0; i--) driver.disk.step(random.int(driver.disk.pending.length + 1));
          }
          const end = random.int(5);
          if (end === 0) {
            driver.wal.close((error) => expect(error).toBeUndefined());
            driver.disk.settle();
            driver.restart(driver.disk);
          } else if (end === 1) driver.restart(driver.disk.afterPowerLoss(chance));
          else {
            if (end === 2) {
              driver.failing = true;
              driver.disk.failNext('write', new Error('input/output error'), random.int(4));
              for (let i = 0; i < 5; i++) driver.act();
              driver.disk.settle();
            }
            if (end === 3) {
              driver.wal.close(() => {});
              for (let i = random.int(5); i > 0; i--) driver.disk.step();
            }
            driver.restart(driver.disk.afterKill(chance));
          }
          // What was recovered must survive the next crash even if nothing more is written.
          driver.check(driver.disk.afterPowerLoss(chance));
        }
      }),
      { numRuns: 100 },
    );
  });
});
