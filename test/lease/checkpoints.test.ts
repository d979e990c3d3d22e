import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CHECKPOINT_INTERVAL_MS,
  CHECKPOINT_SCAN_MAX,
  RESET_RETRY_MS,
  UNSETTLED_MAX,
} from '../../core/lease/checkpoints.ts';
import { Lessor } from '../../core/lease/lessor.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import type { LeaseCheckpoint } from '../../core/wire/stored.ts';

class Clock {
  now = 50_000;
  nowMs(): number {
    return this.now;
  }
}

function lessor(clock: Clock, checkpointIntervalMs?: number): Lessor {
  return new Lessor({
    backend: new MemoryBackend(() => {}),
    clock,
    minTtlSeconds: 1,
    ...(checkpointIntervalMs === undefined ? {} : { checkpointIntervalMs }),
  });
}

/** A leader whose checkpoints can be applied at once. */
class Fixture {
  readonly clock = new Clock();
  readonly lessor: Lessor;

  constructor(intervalMs?: number) {
    this.lessor = lessor(this.clock, intervalMs);
    this.lessor.setPrimary(true);
  }

  wait(seconds: number): this {
    this.clock.now += seconds * 1000;
    return this;
  }

  /** What is proposed, applied. */
  checkpoint(limit = 100): [bigint, number][] {
    const taken = this.lessor.checkpoints(limit);
    for (const each of taken) this.lessor.checkpoint(each);
    return taken.map(({ ID, remaining_TTL }) => [ID, remaining_TTL]);
  }

  /** Another member begins to lead, having applied the same. */
  changeLeader(extraMs = 0): this {
    this.lessor.setPrimary(false);
    this.lessor.setPrimary(true, extraMs);
    return this;
  }
}

describe('checkpoints', () => {
  it('tell of leases longer than the interval, once per interval, while there is an interval left', () => {
    const f = new Fixture();
    f.lessor.grant(1n, BigInt(CHECKPOINT_INTERVAL_MS / 1000));
    f.lessor.grant(2n, 301n);
    f.lessor.grant(3n, 1000n);
    expect(f.wait(299).checkpoint()).toEqual([]);
    expect(f.wait(1).checkpoint()).toEqual([
      [2n, 1],
      [3n, 700],
    ]);
    expect(f.checkpoint()).toEqual([]);
    expect(f.wait(300).checkpoint()).toEqual([[3n, 400]]);
    expect(f.wait(300).checkpoint()).toEqual([[3n, 100]]);
    expect(f.wait(99).checkpoint()).toEqual([]);
    expect(f.lessor.expired(9)).toEqual([1n, 2n]);
  });

  it('keep a lease from living for ever under changing leaders, and never end it early', () => {
    const f = new Fixture();
    f.lessor.grant(1n, 600n);
    f.wait(300).checkpoint();
    f.wait(200).changeLeader(1_000);
    expect(f.lessor.timeToLive(1n)).toMatchObject({ remainingSeconds: 300, ttlSeconds: 600 });
    f.wait(300.999);
    expect(f.lessor.expired(9)).toEqual([]);
    f.wait(0.001);
    expect(f.lessor.expired(9)).toEqual([1n]);
  });

  it('round up, and say nothing that would not be less', () => {
    const f = new Fixture();
    f.lessor.grant(1n, 600n);
    expect(f.wait(300.5).checkpoint()).toEqual([[1n, 300]]);
    f.changeLeader(400_000);
    // With the extension there is more left than the log grants anyway.
    expect(f.wait(301).checkpoint()).toEqual([]);
  });

  it('survive a restart, in the row of the lease', () => {
    const clock = new Clock();
    const backend = new MemoryBackend((task) => task());
    const before = new Lessor({ backend, clock, minTtlSeconds: 1 });
    before.grant(1n, 600n);
    before.checkpoint({ ID: 1n, remaining_TTL: 250 });
    before.checkpoint({ ID: 99n, remaining_TTL: 5 });
    backend.commit(() => {});
    const after = new Lessor({ backend: new MemoryBackend((task) => task(), backend.disk), clock, minTtlSeconds: 1 });
    for (const _ of after.restore());
    expect(after.size).toBe(1);
    expect(after.timeToLive(1n)).toMatchObject({ remainingSeconds: 250, ttlSeconds: 600 });
  });

  it('are not above the TTL, whatever the log says', () => {
    const f = new Fixture();
    f.lessor.grant(1n, 600n);
    f.lessor.checkpoint({ ID: 1n, remaining_TTL: 5_000 });
    f.lessor.setPrimary(false);
    expect(f.lessor.timeToLive(1n)?.remainingSeconds).toBe(600);
    f.lessor.checkpoint({ ID: 1n, remaining_TTL: -5 });
    expect(f.lessor.timeToLive(1n)?.remainingSeconds).toBe(600);
  });

  it('come from the leader only', () => {
    const f = new Fixture();
    f.lessor.grant(1n, 600n);
    f.lessor.setPrimary(false);
    expect(f.wait(400).checkpoint()).toEqual([]);
  });

  it('no more than asked for, the rest at the next call', () => {
    const f = new Fixture();
    for (let id = 1n; id <= 5n; id++) f.lessor.grant(id, 900n);
    f.wait(300);
    expect([f.checkpoint(2).length, f.checkpoint(2).length, f.checkpoint(0).length]).toEqual([2, 2, 0]);
    expect(f.checkpoint(2)).toEqual([[5n, 600]]);
  });

  it('look at no more leases per call than the scan limit', () => {
    const f = new Fixture();
    for (let id = 1; id <= CHECKPOINT_SCAN_MAX; id++) f.lessor.grant(BigInt(id), 301n);
    f.lessor.grant(0x7fffn, 900n);
    // All but the last have run out and have nothing to tell.
    f.wait(400);
    expect(f.checkpoint()).toEqual([]);
    expect(f.checkpoint()).toEqual([[0x7fffn, 500]]);
  });

  it('end with the lease', () => {
    const f = new Fixture();
    f.lessor.grant(1n, 600n);
    f.wait(300);
    f.lessor.revoke(1n);
    expect(f.checkpoint()).toEqual([]);
  });
});

describe('a renewal after a checkpoint', () => {
  it('promises what the log grants, until the log grants all again', () => {
    const f = new Fixture();
    f.lessor.grant(1n, 600n);
    f.wait(300).checkpoint();
    expect(f.lessor.renew(1n)).toBe(300);
    expect(f.lessor.timeToLive(1n)?.remainingSeconds).toBe(300);
    expect(f.checkpoint()).toEqual([[1n, 0]]);
    expect(f.lessor.renew(1n)).toBe(600);
    expect(f.checkpoint()).toEqual([]);
    expect(f.lessor.timeToLive(1n)?.remainingSeconds).toBe(600);
    f.wait(599.999);
    expect(f.lessor.expired(9)).toEqual([]);
    expect(f.wait(0.001).lessor.expired(9)).toEqual([1n]);
  });

  it('counts for the leader at once', () => {
    const f = new Fixture();
    f.lessor.grant(1n, 600n);
    f.wait(300).checkpoint();
    f.lessor.renew(1n);
    f.wait(599.999);
    expect(f.lessor.expired(9)).toEqual([]);
  });

  it('promises the least of what may be on its way into the log', () => {
    const f = new Fixture();
    f.lessor.grant(1n, 1000n);
    f.wait(300).checkpoint();
    const [underWay] = f.wait(300).lessor.checkpoints(9);
    expect(underWay).toEqual({ ID: 1n, remaining_TTL: 400 });
    expect(f.lessor.renew(1n)).toBe(400);
    const [reset] = f.lessor.checkpoints(9);
    expect(reset).toEqual({ ID: 1n, remaining_TTL: 0 });
    f.lessor.checkpoint(underWay!);
    expect(f.lessor.renew(1n)).toBe(400);
    f.lessor.checkpoint(reset!);
    expect(f.lessor.renew(1n)).toBe(1000);
  });

  it('is proposed again by a later renewal, if the first proposal was lost', () => {
    const f = new Fixture();
    f.lessor.grant(1n, 600n);
    f.wait(300).checkpoint();
    f.lessor.renew(1n);
    f.lessor.checkpoints(9);
    f.wait(RESET_RETRY_MS / 1000 - 1).lessor.renew(1n);
    expect(f.checkpoint()).toEqual([]);
    expect(f.wait(1).lessor.renew(1n)).toBe(300);
    expect(f.checkpoint()).toEqual([[1n, 0]]);
    expect(f.lessor.renew(1n)).toBe(600);
  });

  it('puts off the next checkpoint, and nothing is proposed for leases that are kept alive in time', () => {
    const f = new Fixture();
    f.lessor.grant(1n, 600n);
    for (let i = 0; i < 20; i++) {
      expect(f.wait(200).lessor.renew(1n)).toBe(600);
      expect(f.checkpoint()).toEqual([]);
    }
  });

  it('remembers the least of many lost proposals', () => {
    const f = new Fixture(1_000);
    f.lessor.grant(1n, 100n);
    for (let i = 1; i <= UNSETTLED_MAX + 1; i++) expect(f.wait(1).lessor.checkpoints(9)).toHaveLength(1);
    expect(f.lessor.renew(1n)).toBe(100 - UNSETTLED_MAX - 1);
    expect(f.checkpoint()).toEqual([[1n, 0]]);
    expect(f.lessor.renew(1n)).toBe(100);
  });
});

type Entry = { kind: 'grant'; id: bigint; ttl: bigint } | { kind: 'checkpoint'; checkpoint: LeaseCheckpoint };

/** Members with one clock and one log; whoever leads proposes, and a change of leader may lose what is not committed. */
class Cluster {
  readonly clock = new Clock();
  readonly members = [0, 1, 2].map(() => ({ lessor: lessor(this.clock, 1_000), applied: 0 }));
  log: Entry[] = [];
  committed = 0;
  leader = this.members[0]!;

  constructor() {
    this.leader.lessor.setPrimary(true);
  }

  apply(member: { lessor: Lessor; applied: number }): void {
    while (member.applied < this.committed) {
      const entry = this.log[member.applied++]!;
      if (entry.kind === 'grant') member.lessor.grant(entry.id, entry.ttl);
      else member.lessor.checkpoint(entry.checkpoint);
    }
  }

  commit(count: number): void {
    this.committed = Math.min(this.log.length, this.committed + count);
    this.apply(this.leader);
  }

  elect(index: number, kept: number): void {
    this.leader.lessor.setPrimary(false);
    this.log.length = Math.min(this.log.length, this.committed + kept);
    this.committed = this.log.length;
    this.leader = this.members[index]!;
    this.apply(this.leader);
    this.leader.lessor.setPrimary(true, 700);
  }
}

it('no promise is broken by a change of leader, whatever the log loses', () => {
  const op = fc.record({
    wait: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 1_500 })),
    id: fc.bigInt(1n, 3n),
    do: fc.oneof(
      { weight: 6, arbitrary: fc.constant('renew' as const) },
      { weight: 4, arbitrary: fc.constant('commit' as const) },
      { weight: 6, arbitrary: fc.constantFrom('checkpoint' as const, 'lost' as const, 'checkpoint' as const) },
      { weight: 2, arbitrary: fc.constantFrom('elect' as const, 'ask' as const) },
    ),
    number: fc.nat(4),
  });
  let expiries = 0;
  let reduced = 0;
  fc.assert(
    fc.property(fc.array(op, { minLength: 20, maxLength: 150 }), (ops) => {
      const cluster = new Cluster();
      /** Until when a lease has to live, by what its holder was told. */
      const promised = new Map<bigint, number>();
      for (const id of [1n, 2n, 3n]) cluster.log.push({ kind: 'grant', id, ttl: 4n + id });
      cluster.commit(3);
      for (const { wait, id, do: what, number } of ops) {
        cluster.clock.now += wait;
        const { lessor: leading } = cluster.leader;
        const now = cluster.clock.now;
        const promise = (seconds: number | undefined) => {
          if (seconds === undefined) return;
          if (seconds < 4 + Number(id)) reduced++;
          promised.set(id, Math.max(promised.get(id) ?? 0, now + seconds * 1000));
        };
        if (what === 'renew') promise(leading.renew(id));
        else if (what === 'ask') promise(leading.timeToLive(id)?.remainingSeconds);
        else if (what === 'commit') cluster.commit(number + 1);
        else if (what === 'elect') cluster.elect(number % 3, Math.floor(number / 2));
        else if (what === 'lost') leading.checkpoints(number);
        else for (const checkpoint of leading.checkpoints(number)) cluster.log.push({ kind: 'checkpoint', checkpoint });
        for (const ended of cluster.leader.lessor.expired(9)) {
          expiries++;
          expect(promised.get(ended) ?? 0, `lease ${ended}`).toBeLessThanOrEqual(now);
        }
      }
    }),
    { numRuns: 500, seed: 11 },
  );
  // The test sees what it is about.
  expect(expiries).toBeGreaterThan(100);
  expect(reduced).toBeGreaterThan(100);
});
