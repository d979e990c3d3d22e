import { describe, expect, it } from 'vitest';
import { segmentName } from '../../core/log/format.ts';
import { MemoryDisk } from '../../core/log/memory-disk.ts';
import { append, close, entries, entry, examine, fresh, hard, NONE, open, plain, recovered, SMALL } from './rig.ts';

describe('append', () => {
  it('returns what was appended, with the hard state, after a restart', () => {
    const { disk, wal } = fresh();
    append(disk, wal, entries(1, 3, 1), hard(1, 0));
    append(disk, wal, [entry(4, 2)], hard(2, 3, 7n));
    const found = recovered(disk);
    expect(plain(found.entries)).toEqual(plain([...entries(1, 3, 1), entry(4, 2)]));
    expect(found.hardState).toEqual(hard(2, 3, 7n));
    expect([found.firstIndex, found.prevTerm, found.lastIndex]).toEqual([1, 0, 4]);
    expect(found.torn).toBe(false);
  });

  it('keeps types, empty data and numbers beyond 32 bits', () => {
    const { disk, wal } = fresh();
    const big = 2 ** 40 + 3;
    wal.reset(big, 2 ** 33, hard(2 ** 33, big, 2n ** 64n - 1n), () => {});
    append(disk, wal, [{ index: big + 1, term: 2 ** 33 + 1, type: 1, data: new Uint8Array(0) }]);
    const found = recovered(disk);
    expect(found.entries).toEqual([{ index: big + 1, term: 2 ** 33 + 1, type: 1, data: new Uint8Array(0) }]);
    expect(found.hardState).toEqual(hard(2 ** 33, big, 2n ** 64n - 1n));
    expect([found.prevIndex, found.prevTerm]).toEqual([big, 2 ** 33]);
  });

  it('writes once for one call, and once for all calls that came during a write', () => {
    const { disk, wal } = fresh();
    const order: number[] = [];
    for (let i = 1; i <= 10; i++) wal.append([entry(i, 1)], undefined, () => order.push(i));
    expect(disk.pending.map((operation) => operation.kind)).toEqual(['write']);
    expect(order).toEqual([]);
    disk.step();
    expect(order).toEqual([1]);
    expect(disk.pending).toHaveLength(1);
    disk.step();
    expect(order).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(wal.counters).toMatchObject({ writes: 2, entries: 10 });
    expect(wal.queuedBytes).toBe(0);
    expect(recovered(disk).lastIndex).toBe(10);
  });

  it('merges up to the frame limit and not beyond', () => {
    const bytesOf = (count: number) => 72 + count * (24 + 20);
    for (const [limit, writes] of [
      [bytesOf(2), 2],
      [bytesOf(2) - 1, 3],
    ] as const) {
      const { disk, wal } = fresh({ ...SMALL, frameBytesMax: limit });
      for (let i = 1; i <= 3; i++) wal.append([entry(i, 1)], undefined, () => {});
      disk.settle();
      expect(wal.counters.writes).toBe(writes);
    }
  });

  it('tells the disk when a write is alone', () => {
    const hints: boolean[] = [];
    class Watched extends MemoryDisk {
      override write(...args: Parameters<MemoryDisk['write']>): void {
        hints.push(args[3].alone);
        super.write(...args);
      }
    }
    const disk = new Watched();
    const wal = open(disk);
    disk.settle();
    wal.append([entry(1, 1)], undefined, () => {});
    wal.append([entry(2, 1)], undefined, () => {});
    wal.append([entry(3, 1)], undefined, () => {});
    disk.settle();
    append(disk, wal, entries(4, 5, 1));
    append(disk, wal, [entry(6, 1)]);
    expect(hints).toEqual([true, false, false, true]);
  });

  it('does not need the entries after the call', () => {
    const { disk, wal } = fresh();
    const data = new Uint8Array([1, 2, 3]);
    wal.append([entry(1, 1, data)], undefined, () => {});
    wal.append([entry(2, 1, data)], undefined, () => {});
    data.fill(9);
    disk.settle();
    expect(recovered(disk).entries.map((item) => [...item.data])).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
  });

  it('refuses what only a bug can ask for', () => {
    const { disk, wal } = fresh();
    append(disk, wal, entries(1, 5, 3), hard(3, 4));
    expect(() => wal.append([entry(7, 3)], undefined, () => {})).toThrow('entry 7 after 5');
    expect(() => wal.append([entry(4, 3)], undefined, () => {})).toThrow('overwrites a committed');
    expect(() => wal.append([entry(6, 2)], undefined, () => {})).toThrow('lower term');
    expect(() => wal.append([], hard(2, 4), () => {})).toThrow('term 2 after 3');
    expect(() => wal.append([], hard(3, 6), () => {})).toThrow('commit 6 is beyond');
    expect(() => wal.release(6)).toThrow('beyond the last');
  });

  it('holds its limits: one byte more is a bug', () => {
    const cost = 24 + 20;
    const { wal } = fresh({ ...SMALL, appendBytesMax: 2 * cost, queuedBytesMax: 3 * cost });
    expect(() => wal.append(entries(1, 2, 1), undefined, () => {})).not.toThrow();
    expect(() => wal.append([entry(3, 1, 21)], undefined, () => {})).toThrow('wait for the disk');
    expect(() => wal.append([entry(3, 1)], undefined, () => {})).not.toThrow();
    const other = fresh({ ...SMALL, appendBytesMax: 2 * cost }).wal;
    expect(() => other.append([entry(1, 1, 20 + cost - 24), entry(2, 1, 21)], undefined, () => {})).toThrow(
      'an append of',
    );
  });
});

describe('overwriting', () => {
  it('replays to the later entries, across writes and within one', () => {
    const { disk, wal } = fresh();
    append(disk, wal, entries(1, 5, 1), hard(1, 1));
    append(disk, wal, entries(3, 4, 2), hard(2, 1));
    expect(plain(recovered(disk).entries)).toEqual(plain([...entries(1, 2, 1), ...entries(3, 4, 2)]));
    wal.append([], hard(3, 1), () => {});
    wal.append(entries(5, 8, 3), undefined, () => {});
    wal.append(entries(6, 6, 4), hard(4, 1), () => {});
    disk.settle();
    const expected = [...entries(1, 2, 1), ...entries(3, 4, 2), entry(5, 3), entry(6, 4)];
    expect(plain(recovered(disk).entries)).toEqual(plain(expected));
    expect(wal.lastIndex).toBe(6);
  });

  it('drops what a waiting frame no longer needs', () => {
    const { disk, wal } = fresh();
    append(disk, wal, entries(1, 4, 1));
    const calls: string[] = [];
    wal.append([], hard(1, 1), () => calls.push('first'));
    wal.append(entries(5, 9, 2, 100), undefined, () => calls.push('superseded'));
    wal.append(entries(3, 3, 3), hard(3, 1), () => calls.push('last'));
    expect(wal.queuedBytes).toBe(44);
    disk.settle();
    expect(calls).toEqual(['first', 'superseded', 'last']);
    expect(plain(recovered(disk).entries)).toEqual(plain([...entries(1, 2, 1), entry(3, 3)]));
  });
});

describe('noteCommit', () => {
  it('costs no write and travels with the next append or the close', () => {
    const { disk, wal } = fresh();
    append(disk, wal, entries(1, 3, 1), hard(1, 0));
    wal.noteCommit(2);
    expect(disk.pending).toEqual([]);
    expect(recovered(disk).hardState.commit).toBe(0);
    append(disk, wal, [entry(4, 1)]);
    expect(recovered(disk).hardState).toEqual(hard(1, 2));
    wal.noteCommit(4);
    wal.noteCommit(3);
    expect(() => wal.noteCommit(5)).toThrow('beyond');
    close(disk, wal);
    expect(recovered(disk).hardState).toEqual(hard(1, 4));
  });

  it('does not reach into a write under way', () => {
    const { disk, wal } = fresh();
    wal.append(entries(1, 2, 1), hard(1, 0), () => {});
    wal.append(entries(3, 4, 1), undefined, () => {});
    wal.noteCommit(4);
    disk.step();
    expect(recovered(disk.afterPowerLoss(NONE)).hardState.commit).toBe(0);
    disk.step();
    expect(recovered(disk).hardState.commit).toBe(4);
  });
});

describe('reset', () => {
  it('replaces the log by a snapshot and frees the files', () => {
    const { disk, wal } = fresh();
    for (let i = 1; i <= 300; i++) append(disk, wal, [entry(i, 1)]);
    expect(wal.segmentCount).toBeGreaterThan(4);
    wal.reset(200, 5, hard(6, 200), () => {});
    wal.append(entries(201, 202, 6), undefined, () => {});
    disk.settle();
    const found = recovered(disk);
    expect([found.firstIndex, found.prevTerm, found.lastIndex]).toEqual([201, 5, 202]);
    wal.release(200);
    disk.settle();
    expect(wal.segmentCount).toBeLessThanOrEqual(2);
    expect(plain(recovered(disk).entries)).toEqual(plain(entries(201, 202, 6)));
  });
});

describe('reset, then a restart', () => {
  it('frees the files of the old log, though its entries had higher indexes', () => {
    const { disk, wal } = fresh();
    for (let i = 1; i <= 300; i++) append(disk, wal, [entry(i, 1)]);
    wal.reset(200, 5, hard(6, 200), () => {});
    disk.step();
    const image = disk.afterPowerLoss(NONE);
    expect(recovered(image)).toMatchObject({ prevIndex: 200, lastIndex: 200 });
    expect(recovered(image).segments.length).toBeGreaterThan(4);
    const again = open(image);
    append(image, again, [entry(201, 6)]);
    expect(again.segmentCount).toBeLessThanOrEqual(3);
    expect(recovered(image)).toMatchObject({ prevIndex: 200, lastIndex: 201 });
  });
});

describe('segments', () => {
  it('follow one another, and the next one is ready before it is needed', () => {
    const { disk, wal } = fresh();
    expect(disk.list()).toEqual([segmentName(1), segmentName(2)]);
    for (let i = 1; i <= 200; i++) append(disk, wal, [entry(i, 1)]);
    expect(wal.segmentCount).toBeGreaterThan(3);
    expect(disk.list()).toHaveLength(wal.segmentCount + 1);
    expect(plain(recovered(disk).entries)).toEqual(plain(entries(1, 200, 1)));
  });

  it('are used again once released', () => {
    const { disk, wal } = fresh();
    for (let i = 1; i <= 1000; i++) {
      append(disk, wal, [entry(i, 1)]);
      if (i % 10 === 0) wal.release(i - 5);
    }
    disk.settle();
    expect(disk.list().length).toBeLessThanOrEqual(4);
    const found = recovered(disk);
    expect(found.firstIndex).toBeLessThanOrEqual(996);
    expect(found.prevTerm).toBe(1);
    expect(plain(found.entries)).toEqual(plain(entries(found.firstIndex, 1000, 1)));
  });

  it('keep the hard state when the one that held it is released', () => {
    const { disk, wal } = fresh();
    append(disk, wal, entries(1, 1, 4), hard(4, 1, 9n));
    for (let i = 2; i <= 200; i++) append(disk, wal, [entry(i, 4)]);
    wal.release(199);
    disk.settle();
    expect(recovered(disk).hardState).toEqual(hard(4, 1, 9n));
  });

  it('are made larger for an append that is', () => {
    const { disk, wal } = fresh();
    append(disk, wal, [entry(1, 1)]);
    append(disk, wal, [entry(2, 1, 20_000), entry(3, 1, 5000)]);
    append(disk, wal, [entry(4, 1)]);
    expect(plain(recovered(disk).entries)).toEqual(
      plain([entry(1, 1), entry(2, 1, 20_000), entry(3, 1, 5000), entry(4, 1)]),
    );
    wal.release(3);
    append(disk, wal, entries(5, 90, 1));
    wal.release(90);
    disk.settle();
    expect(Math.max(...disk.list().map((name) => disk.size(name)))).toBe(4096);
  });

  it('always have room for the seal', () => {
    for (let size = 3700; size <= 3900; size++) {
      const { disk, wal } = fresh();
      append(disk, wal, [entry(1, 1, size)]);
      close(disk, wal);
      expect(plain(recovered(disk).entries)).toEqual(plain([entry(1, 1, size)]));
    }
  });
});

describe('a full disk', () => {
  it('is reported before the log is full, acknowledges nothing, and heals', () => {
    const space: (string | undefined)[] = [];
    const { disk, wal } = fresh({ ...SMALL, onSpace: (error) => space.push(error?.code) }, { capacityBytes: 3 * 4096 });
    let acknowledged = 0;
    for (let i = 1; i <= 300; i++) wal.append([entry(i, 1)], undefined, () => acknowledged++);
    disk.settle();
    const waiting: number[] = [];
    for (let i = 301; i <= 500; i++) {
      wal.append([entry(i, 1)], undefined, () => waiting.push(i));
      disk.settle();
    }
    expect(space).toEqual(['NoSpace']);
    expect(acknowledged + waiting.length).toBeLessThan(500);
    expect(disk.list()).toHaveLength(3);
    expect(recovered(disk).lastIndex).toBe(acknowledged + waiting.length);
    wal.retrySpace();
    disk.settle();
    expect(space).toEqual(['NoSpace']);
    disk.capacityBytes = 20 * 4096;
    wal.retrySpace();
    disk.settle();
    expect(space).toEqual(['NoSpace', undefined]);
    expect(acknowledged + waiting.length).toBe(500);
    expect(recovered(disk).lastIndex).toBe(500);
  });

  it('heals when entries are released', () => {
    const space: (string | undefined)[] = [];
    const { disk, wal } = fresh({ ...SMALL, onSpace: (error) => space.push(error?.code) }, { capacityBytes: 3 * 4096 });
    let last = 0;
    for (let i = 1; i <= 300; i++) {
      wal.append([entry(i, 1)], undefined, () => {
        last = i;
      });
      disk.settle();
    }
    expect(last).toBeLessThan(300);
    for (let i = 0; i < 5 && last < 300; i++) {
      wal.release(last);
      disk.settle();
    }
    expect(space.slice(0, 2)).toEqual(['NoSpace', undefined]);
    expect(last).toBe(300);
    expect(recovered(disk).lastIndex).toBe(300);
  });

  it('does not keep a close waiting', () => {
    const { disk, wal } = fresh(SMALL, { capacityBytes: 2 * 4096 });
    const errors: (string | undefined)[] = [];
    for (let i = 1; i <= 300; i++) {
      wal.append([entry(i, 1)], undefined, (error) => errors.push(error?.message));
      disk.settle();
    }
    let closed: Error | undefined;
    wal.close((error) => {
      closed = error;
    });
    disk.settle();
    expect(closed?.message).toContain('no space');
    expect(errors).toHaveLength(300);
    const kept = errors.filter((message) => message === undefined).length;
    expect(errors[kept]).toContain('no space');
    expect(recovered(disk).lastIndex).toBe(kept);
  });
});

describe('a failed disk', () => {
  it('fails every append that waits, and every later one, and writes no more', () => {
    const { disk, wal } = fresh();
    append(disk, wal, [entry(1, 1)]);
    disk.failNext('write', new Error('input/output error'));
    const outcomes: string[] = [];
    wal.append([entry(2, 1)], undefined, (error) => outcomes.push(`2 ${error?.message}`));
    wal.append([entry(3, 1)], undefined, (error) => outcomes.push(`3 ${error?.message}`));
    disk.settle();
    wal.append([entry(4, 1)], undefined, (error) => outcomes.push(`4 ${error?.message}`));
    wal.release(1);
    expect(disk.pending).toEqual([]);
    let closed: Error | undefined;
    wal.close((error) => {
      closed = error;
    });
    disk.settle();
    expect(outcomes).toEqual(['2 input/output error', '3 input/output error', '4 input/output error']);
    expect(closed?.message).toBe('input/output error');
    expect(disk.pending).toEqual([]);
  });

  it('is final when a segment cannot be made, renamed or removed', () => {
    for (const kind of ['create', 'rename', 'remove'] as const) {
      const { disk, wal } = fresh();
      const errors = new Set<string>();
      disk.failNext(kind, new Error(`${kind} failed`));
      for (let i = 1; i <= 400; i++) {
        wal.append([entry(i, 1)], undefined, (error) => errors.add(error?.message ?? 'ok'));
        disk.settle();
        if (i === 300) wal.release(Math.min(290, wal.lastIndex));
      }
      expect([...errors]).toEqual(['ok', `${kind} failed`]);
    }
  });
});

describe('close', () => {
  it('finishes what was appended', () => {
    const { disk, wal } = fresh();
    let acknowledged = 0;
    for (let i = 1; i <= 200; i++) wal.append([entry(i, 1)], undefined, () => acknowledged++);
    close(disk, wal);
    expect(acknowledged).toBe(200);
    expect(() => wal.append([], undefined, () => {})).toThrow('after close');
    expect(recovered(disk).tail.trusted).toBe(true);
    expect(disk.pending).toEqual([]);
  });

  it('lets the next start go on in the same file without copying', () => {
    const { disk, wal } = fresh();
    append(disk, wal, entries(1, 3, 1), hard(1, 2));
    close(disk, wal);
    const again = open(disk);
    expect(disk.pending).toEqual([]);
    append(disk, again, [entry(4, 1)]);
    close(disk, again);
    expect(disk.list()).toHaveLength(2);
    expect(plain(recovered(disk).entries)).toEqual(plain(entries(1, 4, 1)));
  });

  it('is not needed: an abandoned log is copied up to its end, and goes on in the next file', () => {
    const { disk, wal } = fresh();
    append(disk, wal, entries(1, 3, 1));
    const again = open(disk);
    disk.settle();
    // A page with what was there, and a copy of the seal in the next one.
    expect(disk.size(segmentName(1))).toBe(4096 + 72);
    append(disk, again, [entry(4, 1)]);
    expect(plain(recovered(disk).entries)).toEqual(plain(entries(1, 4, 1)));
    for (let i = 5; i < 10; i++) append(disk, open(disk), [entry(i, 1)]);
    expect(plain(recovered(disk).entries)).toEqual(plain(entries(1, 9, 1)));
  });

  it('of an empty log leaves an empty log', () => {
    const { disk, wal } = fresh();
    close(disk, wal);
    expect(recovered(disk)).toMatchObject({ firstIndex: 1, lastIndex: 0, prevTerm: 0 });
    append(disk, open(disk), [entry(1, 1)]);
    expect(examine(disk)).toMatchObject({ lastIndex: 1 });
  });
});
