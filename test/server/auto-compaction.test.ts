import pino from 'pino';
import { describe, expect, it } from 'vitest';
import type * as m from '../../core/wire/messages.ts';
import { AutoCompaction, PeriodicSchedule, type Retention, RevisionSchedule } from '../../server/auto-compaction.ts';
import { UsageError } from '../../server/config/flag-table.ts';
import { parseRetention } from '../../server/config/retention.ts';
import { Quota } from '../../server/quota.ts';
import { Rig } from '../rpc/rig.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** The revisions that a schedule wants compacted, by minute; the store makes one revision a minute. */
function run(schedule: PeriodicSchedule | RevisionSchedule, minutes: number, leads = (_minute: number) => true) {
  const seen: [number, number][] = [];
  for (let minute = 0; minute <= minutes; minute++) {
    const due = schedule.due(minute * MINUTE, minute + 1, leads(minute));
    if (due === undefined) continue;
    seen.push([minute, due]);
    schedule.done(minute * MINUTE, due);
  }
  return seen;
}

describe('retention by time', () => {
  it('begins after a period and goes on every period, or every hour, to what was a period ago', () => {
    // As with etcd, the oldest sample is one interval older than the period, but for the first.
    expect(run(new PeriodicSchedule(10 * MINUTE, 0), 40)).toEqual([
      [10, 1],
      [20, 10],
      [30, 20],
      [40, 30],
    ]);
    // Samples come every six minutes.
    expect(run(new PeriodicSchedule(5 * HOUR, 0), 8 * 60)).toEqual([
      [300, 1],
      [360, 55],
      [420, 115],
      [480, 175],
    ]);
  });

  it('waits while somebody else leads, but samples on', () => {
    expect(run(new PeriodicSchedule(10 * MINUTE, 0), 27, (minute) => minute >= 25)).toEqual([[25, 15]]);
  });

  it('does nothing while nothing is written', () => {
    const schedule = new PeriodicSchedule(10 * MINUTE, 0);
    const due = Array.from({ length: 100 }, (_, minute) => schedule.due(minute * MINUTE, 7, true));
    expect(due.filter((revision) => revision !== undefined).length).toBeGreaterThan(0);
    schedule.done(100 * MINUTE, 7);
    for (let minute = 101; minute < 200; minute++) expect(schedule.due(minute * MINUTE, 7, true)).toBeUndefined();
  });
});

describe('retention by revisions', () => {
  it('is looked after every five minutes', () => {
    expect(run(new RevisionSchedule(4, 0), 21)).toEqual([
      [5, 2],
      [10, 7],
      [15, 12],
      [20, 17],
    ]);
    expect(run(new RevisionSchedule(100, 0), 50)).toEqual([]);
    expect(run(new RevisionSchedule(4, 0), 12, (minute) => minute > 6)).toEqual([[10, 7]]);
  });
});

describe('flags', () => {
  it('are read as etcd reads them', () => {
    const cases: [Parameters<typeof parseRetention>, Retention | undefined][] = [
      [['periodic', '0'], undefined],
      [['periodic', '2'], { mode: 'periodic', periodMs: 2 * HOUR }],
      [['periodic', '90m'], { mode: 'periodic', periodMs: 90 * MINUTE }],
      [['revision', '0'], undefined],
      [['revision', '1000'], { mode: 'revision', revisions: 1000 }],
    ];
    for (const [input, expected] of cases) expect(parseRetention(...input)).toEqual(expected);
    for (const text of ['', '-1', 'soon', '1.5']) {
      expect(() => parseRetention('periodic', text)).toThrow(UsageError);
      expect(() => parseRetention('revision', text)).toThrow(UsageError);
    }
    expect(() => parseRetention('revision', '10m')).toThrow('number of revisions');
  });
});

describe('a leader whose quota fills', () => {
  const log = pino({ level: 'silent' });
  const put = (r: Rig, i: number) => r.call('/etcdserverpb.KV/Put', { key: `k${i % 3}`, value: Buffer.alloc(1000) });

  function compacting(r: Rig, retention: Retention, bytesMax: number, floorRevisions = 10): AutoCompaction {
    const { machine, node } = r.context;
    const quota = new Quota({ bytesMax, manualDisarm: false, memberId: 1n, machine, node, log });
    return new AutoCompaction({ retention, floorRevisions, machine, node, quota, clock: { nowMs: () => r.ms }, log });
  }

  it('compacts before the time, so that overwriting never fills it', () => {
    const r = new Rig();
    const auto = compacting(r, { mode: 'periodic', periodMs: HOUR }, 200_000);
    let most = 0;
    for (let i = 0; i < 2000; i++) {
      put(r, i);
      most = Math.max(most, r.context.machine.usedBytes);
      if (i % 10 === 0) auto.look();
      r.settle();
    }
    expect(most).toBeLessThan(150_000);
    expect(most).toBeGreaterThan(100_000);
    const { compactRevision, revision } = r.context.machine.store;
    expect(compactRevision).toBeLessThanOrEqual(revision - 10);
    expect(r.ok<m.RangeResponse>('/etcdserverpb.KV/Range', { key: 'k', range_end: 'l' }).count).toBe(3);
  });

  it('keeps the floor, and with retention by revisions what that says', () => {
    const r = new Rig();
    const auto = compacting(r, { mode: 'periodic', periodMs: HOUR }, 50_000, 40);
    for (let i = 0; i < 100; i++) put(r, i);
    for (let i = 0; i < 20; i++) {
      auto.look();
      r.settle();
    }
    expect(r.context.machine.store.compactRevision).toBe(101 - 40);
    const byRevision = compacting(r, { mode: 'revision', revisions: 7 }, 30_000);
    byRevision.look();
    r.settle();
    expect(r.context.machine.store.compactRevision).toBe(101 - 7);
  });

  it('leaves history alone when told so, or when it is live keys that fill the quota', () => {
    const r = new Rig();
    for (let i = 0; i < 100; i++) put(r, i);
    compacting(r, { mode: 'periodic', periodMs: HOUR }, 50_000, -1).look();
    r.settle();
    expect(r.context.machine.store.compactRevision).toBe(-1);
    const live = new Rig();
    for (let i = 0; i < 50; i++) live.ok('/etcdserverpb.KV/Put', { key: `live${i}`, value: Buffer.alloc(1000) });
    compacting(live, { mode: 'periodic', periodMs: HOUR }, 60_000).look();
    live.settle();
    expect(live.context.machine.store.compactRevision).toBe(-1);
  });
});
