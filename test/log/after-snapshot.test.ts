import { describe, expect, it } from 'vitest';
import { type OpenLog, openForState, recoverForState, type SnapshotPlace } from '../../core/log/after-snapshot.ts';
import type { MemoryDisk } from '../../core/log/memory-disk.ts';
import type { DamageReason } from '../../core/log/verdict.ts';
import { checkRestored } from '../../core/raft/config.ts';
import { ALL, append, close, entries, finish, fresh, hard, IDENTITY, NONE, plain, recovered, SMALL } from './rig.ts';

/** A log of entries 1 to 9 of term 2, committed up to 4. */
function shortLog(): MemoryDisk {
  const { disk, wal } = fresh();
  append(disk, wal, entries(1, 9, 2), hard(2, 4));
  close(disk, wal);
  return disk;
}

function recover(disk: MemoryDisk, mark: SnapshotPlace | undefined, appliedIndex = mark?.index ?? 0) {
  return finish(recoverForState(disk, { appliedIndex }, mark));
}

/** Starts on `disk` beside a state that carries `mark`; nothing is done on the disk beyond what that takes. */
function start(disk: MemoryDisk, mark: SnapshotPlace | undefined, appliedIndex?: number): OpenLog {
  const found = recover(disk, mark, appliedIndex);
  if (found.kind !== 'recovered') throw new Error(JSON.stringify(found));
  let open: OpenLog | undefined;
  openForState(disk, found, SMALL, (error, result) => {
    if (error !== undefined) throw error;
    open = result;
  });
  while (open === undefined) expect(disk.step()).toBe(true);
  const { hardState, prevIndex, prevTerm, entries: items } = open.start;
  const restored = { hardState, entries: items, firstIndex: prevIndex + 1, prevTerm };
  expect(checkRestored({ ...restored, appliedIndex: appliedIndex ?? mark?.index ?? 0 })).toBeUndefined();
  return open;
}

describe('a start beside a state that came as a snapshot', () => {
  it.each<[string, SnapshotPlace]>([
    ['ends before it', { index: 20, term: 3 }],
    ['has another entry in its place', { index: 9, term: 3 }],
    ['has other entries in its place and after it', { index: 6, term: 3 }],
  ])('drops a log that %s, and the log goes on after it', (_how, mark) => {
    const disk = shortLog();
    const { wal, start: log } = start(disk, mark);
    const expected = { hardState: { term: 3, vote: 0n, commit: mark.index }, prevIndex: mark.index, prevTerm: 3 };
    expect(log).toEqual({ ...expected, entries: [] });
    append(disk, wal, entries(mark.index + 1, mark.index + 2, 3), hard(3, mark.index + 1));
    const again = start(disk.afterPowerLoss(NONE), mark).start;
    expect(plain(again.entries)).toEqual(plain(entries(mark.index + 1, mark.index + 2, 3)));
    expect([again.prevIndex, again.prevTerm, again.hardState.commit]).toEqual([mark.index, 3, mark.index + 1]);
    // And without the mark, once the next commit has taken it away.
    expect(start(disk.afterPowerLoss(NONE), undefined, mark.index + 2).start).toEqual(again);
  });

  it('keeps term and vote of the member', () => {
    const { disk, wal } = fresh();
    append(disk, wal, entries(1, 9, 2), hard(7, 4, 5n));
    expect(start(disk.afterKill(ALL), { index: 20, term: 3 }).start.hardState).toEqual({
      term: 7,
      vote: 5n,
      commit: 20,
    });
    expect(start(disk.afterKill(ALL), { index: 20, term: 7 }).start.hardState).toEqual({
      term: 7,
      vote: 5n,
      commit: 20,
    });
    expect(start(disk.afterKill(ALL), { index: 20, term: 8 }).start.hardState).toEqual({
      term: 8,
      vote: 0n,
      commit: 20,
    });
  });

  it.each([9, 6, 5])('leaves a log alone that holds entry %i, the last one of the state', (index) => {
    const disk = shortLog();
    const { start: log } = start(disk, { index, term: 2 });
    expect([log.prevIndex, log.hardState.commit, plain(log.entries)]).toEqual([0, 4, plain(entries(1, 9, 2))]);
  });

  it('leaves a log alone that begins after the state', () => {
    const { disk, wal } = fresh();
    wal.reset(20, 3, hard(3, 20), () => {});
    disk.settle();
    const { start: log } = start(disk.afterPowerLoss(NONE), { index: 20, term: 3 });
    expect([log.prevIndex, log.prevTerm, log.entries]).toEqual([20, 3, []]);
  });

  it('comes to the same log however often it is cut off on the way', () => {
    const mark = { index: 20, term: 3 };
    let cuts = 0;
    for (let steps = 0; ; steps++) {
      const disk = shortLog();
      const found = recover(disk, mark);
      if (found.kind !== 'recovered') throw new Error(found.kind);
      let done = false;
      openForState(disk, found, SMALL, () => {
        done = true;
      });
      for (let i = 0; i < steps && !done; i++) disk.step();
      for (const survives of [ALL, NONE]) {
        for (const crashed of [disk.afterPowerLoss(survives), disk.afterKill(survives)]) {
          const { start: log } = start(crashed, mark);
          expect([log.prevIndex, log.prevTerm, log.entries.length, log.hardState.commit]).toEqual([20, 3, 0, 20]);
          cuts++;
        }
      }
      if (done) break;
    }
    expect(cuts).toBeGreaterThan(8);
  });

  it('is the plain one without the mark', () => {
    const disk = shortLog();
    expect(recover(disk, undefined, 9)).toEqual({ ...recovered(disk), resetTo: undefined });
    expect(recover(disk, undefined, 10)).toMatchObject({ kind: 'damaged', reason: 'behind-database' });
    expect(recover(fresh().disk, undefined, 0)).toMatchObject({ kind: 'recovered' });
  });

  it('does not excuse a log that has lost something', () => {
    const damage = (disk: MemoryDisk, mark: SnapshotPlace): DamageReason | undefined => {
      const found = recover(disk, mark);
      return found.kind === 'damaged' ? found.reason : undefined;
    };
    // Committed with another term than the state says.
    expect(damage(shortLog(), { index: 4, term: 1 })).toBe('inconsistent');
    expect(damage(shortLog(), { index: 3, term: 3 })).toBe('inconsistent');
    // The log was cut beyond the state.
    const { disk, wal } = fresh();
    wal.reset(30, 3, hard(3, 30), () => {});
    disk.settle();
    expect(damage(disk, { index: 20, term: 3 })).toBe('gap-after-database');
    // All files are gone.
    const empty = shortLog();
    for (const name of empty.list()) empty.remove(name, () => {});
    empty.settle();
    expect(damage(empty, { index: 20, term: 3 })).toBe('missing-segment');
    // Another member's.
    const foreign = finish(recoverForState(shortLog(), { memberId: IDENTITY.memberId + 1n }, { index: 20, term: 3 }));
    expect(foreign).toMatchObject({ kind: 'damaged', reason: 'foreign' });
  });
});
