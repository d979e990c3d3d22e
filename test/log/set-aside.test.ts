/** A damaged log gives way to one that is to be refilled; the mark of that lasts until it is taken away. */
import { describe, expect, it } from 'vitest';
import { FrameKind, SEGMENT_HEADER_BYTES, segmentName } from '../../core/log/format.ts';
import type { MemoryDisk } from '../../core/log/memory-disk.ts';
import { DAMAGED_LOGS_MAX, type NewLog, readIdentity, setAside } from '../../core/log/set-aside.ts';
import { isRefillable } from '../../core/log/verdict.ts';
import { MessageType, newMessage } from '../../core/raft/messages.ts';
import { Raft } from '../../core/raft/raft.ts';
import type { Entry } from '../../core/wire/stored.ts';
import { raftConfig } from '../raft/cluster.ts';
import { crashStates } from './crash-states.ts';
import {
  append,
  close,
  damaged,
  entry,
  examine,
  fresh,
  hard,
  IDENTITY,
  NONE,
  open,
  plain,
  recovered,
  SMALL,
} from './rig.ts';

const LIFE = 0x1234n;
const NEW: NewLog = { identity: { ...IDENTITY, nonce: LIFE }, index: 7, term: 3 };

/** A log of three segments, the first record of which is damaged. */
function broken(): MemoryDisk {
  const { disk, wal } = fresh();
  while (wal.segmentCount < 3) append(disk, wal, [entry(wal.lastIndex + 1, 1)]);
  disk.corrupt(segmentName(1), SEGMENT_HEADER_BYTES + 50, 1);
  expect(damaged(disk).reason).toBe('damaged-record');
  return disk;
}

/** Sets the log on `disk` aside; returns what the old names end with. */
function aside(disk: MemoryDisk, log: NewLog = NEW): string {
  let suffix: string | undefined;
  setAside(disk, log, SMALL, (error, result) => {
    if (error !== undefined) throw error;
    suffix = result;
  });
  disk.settle();
  return suffix!;
}

function damagedNames(disk: MemoryDisk): string[] {
  return disk.list().filter((name) => name.includes('damaged'));
}

describe('a damaged log', () => {
  it('is set aside under other names, and a new one begins after the state', () => {
    const disk = broken();
    const bytes = new Uint8Array(4096);
    disk.read(segmentName(2), 0, bytes);
    expect(readIdentity(disk)).toEqual(IDENTITY);
    expect(aside(disk)).toBe('.damaged-1');
    expect(disk.list()).toEqual([...[1, 2, 3, 4].map((n) => `${segmentName(n)}.damaged-1`), segmentName(6)]);
    const kept = new Uint8Array(4096);
    disk.read(`${segmentName(2)}.damaged-1`, 0, kept);
    expect(kept).toEqual(bytes);
    const found = recovered(disk.afterPowerLoss(NONE), { appliedIndex: 7 });
    expect(found).toMatchObject({ prevIndex: 7, prevTerm: 3, lastIndex: 7, entries: [], torn: false });
    expect(found.hardState).toEqual({ term: 3, vote: 0n, commit: 7, refilling: LIFE });
    expect(found.identity).toEqual(NEW.identity);
    expect(readIdentity(disk)).toEqual(NEW.identity);
  });

  it('may have no files left', () => {
    const { disk } = fresh();
    for (const name of disk.list()) disk.remove(name, () => {});
    disk.settle();
    expect(readIdentity(disk)).toBeUndefined();
    expect(damaged(disk, { appliedIndex: 7 }).reason).toBe('missing-segment');
    aside(disk);
    expect(disk.list()).toEqual([segmentName(1)]);
    expect(recovered(disk, { appliedIndex: 7 }).hardState.refilling).toBe(LIFE);
  });

  it('is kept, but not more than a few of them', () => {
    const disk = broken();
    for (let life = 1n; life <= 4n; life++) {
      expect(aside(disk, { ...NEW, identity: { ...IDENTITY, nonce: life } })).toBe(`.damaged-${life}`);
      const sets = new Set(damagedNames(disk).map((name) => name.split('-')[1]));
      expect(sets.size).toBe(Math.min(Number(life), DAMAGED_LOGS_MAX));
      expect(recovered(disk).hardState.refilling).toBe(life);
    }
  });

  it('stays as it is when there is no space', () => {
    const disk = broken();
    const names = disk.list();
    disk.capacityBytes = names.length * 4096;
    let failure: Error | undefined;
    setAside(disk, NEW, SMALL, (error) => {
      failure = error;
    });
    disk.settle();
    expect(failure).toMatchObject({ code: 'NoSpace' });
    expect(disk.list()).toEqual(names);
  });

  it('is never taken for a log, whenever a crash interrupts that; the next start does it again', () => {
    const disk = broken();
    let states = 0;
    let done = false;
    setAside(disk, NEW, SMALL, (error) => {
      expect(error).toBeUndefined();
      done = true;
    });
    while (!done) {
      for (const image of crashStates(disk, 512, () => undefined)) {
        states++;
        const found = examine(image, { appliedIndex: 7 });
        if (found.kind === 'recovered') expect(found.hardState.refilling).toBe(LIFE);
        else {
          expect(found.kind).toBe('damaged');
          aside(image, { ...NEW, identity: { ...IDENTITY, nonce: 9n } });
        }
        const again = recovered(image, { appliedIndex: 7 });
        expect([again.prevIndex, again.hardState.refilling === undefined]).toEqual([7, false]);
        append(image, open(image), [entry(8, 4)]);
      }
      disk.step();
    }
    expect(states).toBeGreaterThan(10);
  });

  it('is not given up for a reason that may pass, or that is none of its own', () => {
    const verdict = (reason: Parameters<typeof isRefillable>[0]['reason']) =>
      isRefillable({ kind: 'damaged', reason, file: '', offset: 0, message: '' });
    for (const reason of ['foreign', 'newer-version', 'unreadable'] as const) expect(verdict(reason)).toBe(false);
    for (const reason of ['damaged-record', 'missing-segment', 'behind-database'] as const)
      expect(verdict(reason)).toBe(true);
  });
});

describe('the mark of a log that is to be refilled', () => {
  /** Appends, with what the log then says of itself after a loss of power. */
  function life(disk: MemoryDisk): bigint | undefined {
    return recovered(disk.afterPowerLoss(NONE)).hardState.refilling;
  }

  it('is in every record until somebody says that it is over', () => {
    const disk = broken();
    aside(disk);
    let wal = open(disk, SMALL);
    const items: Entry[] = [];
    // Enough to give up the segment that it began with; with and without hard states that do not mention it.
    for (let index = 8; index < 100; index++) {
      items.push(entry(index, 4));
      append(disk, wal, [entry(index, 4)], index % 3 === 0 ? hard(4, index - 1) : undefined);
      if (index === 50) {
        close(disk, wal);
        expect(life(disk)).toBe(LIFE);
        wal = open(disk, SMALL);
      }
      wal.release(index - 1);
      expect(life(disk)).toBe(LIFE);
    }
    wal.reset(120, 4, hard(5, 120), () => {});
    disk.settle();
    expect(life(disk)).toBe(LIFE);
    append(disk, wal, [], { ...hard(5, 120, 2n), refilling: 0n });
    expect(recovered(disk.afterPowerLoss(NONE)).hardState).toEqual(hard(5, 120, 2n));
    append(disk, wal, [entry(121, 5)], hard(5, 120, 2n));
    close(disk, wal);
    expect(life(disk)).toBeUndefined();
    expect(plain(recovered(disk).entries)).toEqual(plain([entry(121, 5)]));
  });

  it('is what Raft begins with, and what it takes away', () => {
    const disk = broken();
    aside(disk);
    const { hardState, prevIndex, prevTerm, entries } = recovered(disk);
    const log = { hardState, entries, firstIndex: prevIndex + 1, prevTerm, appliedIndex: NEW.index };
    const raft = new Raft(raftConfig(3n, [1n, 2n, 3n]), log);
    expect([raft.refilling, raft.term, raft.committed]).toEqual([true, 3, 7]);
    const wal = open(disk, SMALL);
    // Entry 8 is the fence: it comes, and then the word that it is committed.
    const message = { ...newMessage(MessageType.values.APPEND, 3n, 5), from: 1n, index: 7, log_term: 3 };
    raft.step({ ...message, entries: [entry(8, 5)] });
    raft.step({ ...message, index: 8, log_term: 5, refill: LIFE });
    const ready = raft.ready();
    expect(ready.hardState).toEqual({ term: 5, vote: 1n, commit: 7, refilling: 0n });
    append(disk, wal, ready.entries, ready.hardState);
    expect(recovered(disk.afterPowerLoss(NONE)).hardState).toEqual({ term: 5, vote: 1n, commit: 7 });
  });

  it('is given by nothing else', () => {
    const { disk, wal } = fresh();
    expect(() => wal.append([], { ...hard(1, 0), refilling: 5n }, () => {})).toThrow('new log');
    const { wal: other } = fresh();
    other.append([], { ...hard(1, 0), refilling: 0n }, () => {});
    expect(life(disk)).toBeUndefined();
    expect(() => aside(broken(), { ...NEW, identity: { ...IDENTITY, nonce: 0n } })).toThrow('number');
  });

  it('makes its records unreadable to a version that does not know it', () => {
    const disk = broken();
    aside(disk);
    const bytes = new Uint8Array(SEGMENT_HEADER_BYTES + 72);
    disk.read(segmentName(6), 0, bytes);
    const kind = bytes[SEGMENT_HEADER_BYTES + 23]!;
    expect(Object.values(FrameKind) as number[]).not.toContain(kind);
  });
});
