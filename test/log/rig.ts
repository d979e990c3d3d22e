/** Ways to drive a log on a memory disk in tests: everything finishes when the test says so. */
import { expect } from 'vitest';
import type { WalIdentity } from '../../core/log/format.ts';
import { MemoryDisk, type MemoryDiskOptions } from '../../core/log/memory-disk.ts';
import { createWal, openWal } from '../../core/log/open.ts';
import { type EmptyLog, type Recovered, type RecoverOptions, recover } from '../../core/log/recover.ts';
import type { LogDamage } from '../../core/log/verdict.ts';
import type { Wal, WalOptions } from '../../core/log/wal.ts';
import type { Entry, HardState } from '../../core/wire/stored.ts';

export const IDENTITY: WalIdentity = { clusterId: 0xc1n, memberId: 0x3en, nonce: 0x0123_4567_89ab_cdefn };
export const SMALL: WalOptions = { segmentBytes: 4096 };

export function entry(index: number, term: number, data: Uint8Array | number = 20): Entry {
  const bytes =
    typeof data === 'number' ? new Uint8Array(data).map((_, i) => (index * 31 + term * 7 + i) & 0xff) : data;
  return { index, term, type: 0, data: bytes };
}

export function entries(from: number, to: number, term: number, dataBytes = 20): Entry[] {
  return Array.from({ length: to - from + 1 }, (_, i) => entry(from + i, term, dataBytes));
}

export function hard(term: number, commit: number, vote = 0x3en): HardState {
  return { term, vote, commit };
}

export function finish<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

export function examine(disk: MemoryDisk, options?: RecoverOptions): EmptyLog | Recovered | LogDamage {
  return finish(recover(disk, options));
}

export function recovered(disk: MemoryDisk, options?: RecoverOptions): Recovered {
  const found = examine(disk, options);
  if (found.kind !== 'recovered') throw new Error(`expected a log, found ${JSON.stringify(found)}`);
  return found;
}

export function damaged(disk: MemoryDisk, options?: RecoverOptions): LogDamage {
  const found = examine(disk, options);
  if (found.kind !== 'damaged') throw new Error(`expected damage, found ${found.kind}`);
  return found;
}

/** Makes or recovers the log on `disk`; only as many operations finish as that takes. */
export function open(disk: MemoryDisk, options: WalOptions = SMALL): Wal {
  const found = examine(disk);
  if (found.kind === 'damaged') throw new Error(found.message);
  let wal: Wal | undefined;
  const opened = (error: Error | undefined, result: Wal | undefined) => {
    if (error !== undefined) throw error;
    wal = result;
  };
  if (found.kind === 'empty') createWal(disk, found, IDENTITY, options, opened);
  else openWal(disk, found, options, opened);
  while (wal === undefined) expect(disk.step()).toBe(true);
  return wal;
}

export function fresh(
  options: WalOptions = SMALL,
  diskOptions: MemoryDiskOptions = {},
): { disk: MemoryDisk; wal: Wal } {
  const disk = new MemoryDisk(diskOptions);
  const wal = open(disk, options);
  disk.settle();
  return { disk, wal };
}

/** Appends and waits; throws the log's error. */
export function append(disk: MemoryDisk, wal: Wal, items: readonly Entry[], hardState?: HardState): void {
  let outcome: { error: Error | undefined } | undefined;
  wal.append(items, hardState, (error) => {
    outcome = { error };
  });
  disk.settle();
  expect(outcome).toBeDefined();
  if (outcome?.error !== undefined) throw outcome.error;
}

export function close(disk: MemoryDisk, wal: Wal): void {
  let closed = false;
  wal.close((error) => {
    if (error !== undefined) throw error;
    closed = true;
  });
  disk.settle();
  expect(closed).toBe(true);
}

/** Entries in a form that compares readably. */
export function plain(items: readonly Entry[]): string[] {
  return items.map(({ index, term, type, data }) => `${index}/${term}/${type}/${Buffer.from(data).toString('hex')}`);
}

export const ALL = () => true;
export const NONE = () => false;
