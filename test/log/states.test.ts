/**
 * Power and process fail after every prefix of the disk operations of real runs of the log, in every way that
 * crash-states.ts knows; then again while the log is being opened. `LOG_STATES=full` tries far more, and prints how many
 * states there were: LOG_STATES=full npx vitest run test/log/states.test.ts
 */
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { type DiskOperation, MemoryDisk } from '../../core/log/memory-disk.ts';
import { openWal } from '../../core/log/open.ts';
import type { Wal } from '../../core/log/wal.ts';
import { Prng } from '../../core/util/prng.ts';
import { crashStates, DRAWS, type Stale } from './crash-states.ts';
import { Driver } from './model.ts';
import { append, close, entry, NONE, recovered } from './rig.ts';

const FULL = process.env.LOG_STATES === 'full';
const SEEDS = Number(process.env.LOG_SEEDS ?? (FULL ? 12 : 1));
/** Of the states after a crash, one in so many is opened again, with more crashes meanwhile. */
const OPENED_ONE_IN = FULL ? 3 : 12;
const AGAIN_DRAWS = FULL ? 8 : 0;

class Run {
  readonly driver: Driver;
  readonly #pageBytes: number;
  readonly #segmentBytes: number;
  readonly #random: Prng;
  readonly seen = new Set<DiskOperation['kind']>();
  states = 0;
  opened = 0;
  /** A segment as it was when it was given up. */
  #givenUp: Uint8Array | undefined;

  constructor(seed: number, pageBytes: number) {
    this.#pageBytes = pageBytes;
    this.#segmentBytes = Math.max(4096, 4 * pageBytes);
    this.#random = new Prng(seed);
    const disk = new MemoryDisk({ crc32 });
    this.driver = new Driver(disk, this.#segmentBytes, this.#random, pageBytes === 512 ? 300 : 3000);
  }

  get #stale(): Stale {
    return (offset, length) => this.#givenUp?.slice(offset, offset + length);
  }

  /** The crashes that are possible now. */
  #crash(): void {
    const { disk } = this.driver;
    for (const operation of disk.pending) {
      this.seen.add(operation.kind);
      if (operation.kind !== 'rename' && operation.kind !== 'remove') continue;
      this.#givenUp = new Uint8Array(disk.size(operation.name));
      disk.read(operation.name, 0, this.#givenUp);
    }
    for (const image of crashStates(disk, this.#pageBytes, this.#stale, DRAWS)) {
      this.states++;
      const position = this.driver.check(image);
      if (this.states % OPENED_ONE_IN === 0) this.#open(image, position);
    }
  }

  /** A restarted process goes on with `image`, or dies as well while it tries. */
  #open(image: MemoryDisk, position: number): void {
    this.opened++;
    let wal: Wal | undefined;
    openWal(image, recovered(image), { segmentBytes: this.#segmentBytes }, (error, result) => {
      if (error !== undefined) throw error;
      wal = result;
    });
    while (wal === undefined) {
      for (const again of crashStates(image, this.#pageBytes, this.#stale, AGAIN_DRAWS)) {
        this.states++;
        this.driver.check(again);
      }
      expect(image.step()).toBe(true);
    }
    // What it found is there for good, and it can be added to.
    const found = recovered(image.afterPowerLoss(NONE));
    expect(this.driver.matches(found, position)).toBe(true);
    const next = entry(
      found.lastIndex + 1,
      Math.max(found.hardState.term, found.entries.at(-1)?.term ?? found.prevTerm),
    );
    append(image, wal, [next]);
    expect(recovered(image.afterPowerLoss(NONE)).entries.at(-1)).toEqual(next);
    close(image, wal);
    expect(recovered(image).tail.trusted).toBe(true);
  }

  #step(): void {
    this.#crash();
    this.driver.disk.step(this.#random.int(this.driver.disk.pending.length));
  }

  run(): void {
    const { driver } = this;
    const acts = FULL ? 150 : this.#pageBytes === 512 ? 60 : 20;
    for (let act = 1; act <= acts; act++) {
      driver.act();
      while (this.#random.int(3) !== 0 && driver.disk.pending.length > 0) this.#step();
      if (act % 20 > 0) continue;
      driver.wal.close((error) => expect(error).toBeUndefined());
      while (driver.disk.pending.length > 0) this.#step();
      driver.restart(driver.disk);
    }
  }
}

describe('after every prefix of the disk operations of a run', () => {
  for (const pageBytes of [512, 4096]) {
    it(`with pages of ${pageBytes} bytes: all that was acknowledged is there, and the log goes on`, {
      timeout: 3_600_000,
    }, () => {
      const seen = new Set<DiskOperation['kind']>();
      let states = 0;
      let opened = 0;
      for (let seed = 1; seed <= SEEDS; seed++) {
        const run = new Run(seed, pageBytes);
        run.run();
        for (const kind of run.seen) seen.add(kind);
        states += run.states;
        opened += run.opened;
      }
      if (FULL) console.log(`${states} states with pages of ${pageBytes} bytes; ${opened} of them opened again`);
      expect(states).toBeGreaterThan(500 * SEEDS);
      // A short run may not come to the rest.
      for (const kind of ['create', 'write', ...(FULL ? (['rename', 'remove'] as const) : [])] as const)
        expect([...seen]).toContain(kind);
    });
  }
});
