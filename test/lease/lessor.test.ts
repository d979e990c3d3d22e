import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { leaseKey } from '../../core/lease/lease-record.ts';
import {
  EXPIRED_RETRY_INTERVAL_MS,
  EXPIRY_SCAN_MAX,
  LEASE_TTL_SECONDS_MAX,
  Lessor,
  type LessorOptions,
} from '../../core/lease/lessor.ts';
import { EXPIRIES_PER_SECOND_MAX } from '../../core/lease/spread.ts';
import { MemoryBackend, MemoryDisk } from '../../core/mvcc/memory-backend.ts';

class Fixture {
  now = 5_000;
  readonly tasks: (() => void)[] = [];
  readonly backend: MemoryBackend;
  readonly lessor: Lessor;

  constructor(disk = new MemoryDisk(), more: Partial<LessorOptions> = {}) {
    this.backend = new MemoryBackend((task) => this.tasks.push(task), disk);
    this.lessor = new Lessor({
      backend: this.backend,
      clock: { nowMs: () => this.now },
      minTtlSeconds: 2,
      ...more,
    });
  }

  reopened(): Fixture {
    this.backend.commit(() => {});
    for (const task of this.tasks.splice(0)) task();
    const next = new Fixture(this.backend.disk);
    for (const _ of next.lessor.restore());
    return next;
  }
}

function leader(more: Partial<LessorOptions> = {}): Fixture {
  const f = new Fixture(new MemoryDisk(), more);
  f.lessor.setPrimary(true);
  return f;
}

function code(result: object): string {
  return result instanceof RosterError ? result.code : 'ok';
}

describe('grant', () => {
  it.each([
    [60n, 60],
    [2n, 2],
    [1n, 2],
    [0n, 2],
    [-5n, 2],
    [LEASE_TTL_SECONDS_MAX, 9_000_000_000],
  ])('a TTL of %s becomes %s', (asked, granted) => {
    const { lessor } = leader();
    expect(lessor.grant(1n, asked)).toEqual({ id: 1n, ttlSeconds: granted });
    expect(lessor.timeToLive(1n)).toMatchObject({ ttlSeconds: granted, remainingSeconds: granted });
  });

  it('refuses in etcd order: no id, too long, exists', () => {
    const { lessor } = leader();
    lessor.grant(1n, 5n);
    expect(code(lessor.grant(0n, 5n))).toBe('LeaseNotFound');
    expect(code(lessor.grant(1n, LEASE_TTL_SECONDS_MAX + 1n))).toBe('LeaseTTLTooLarge');
    expect(code(lessor.grant(1n, 5n))).toBe('LeaseExist');
    expect(code(lessor.grant(-1n, 5n))).toBe('ok');
  });
});

describe('keys', () => {
  it('move, come off, and come out sorted by byte', () => {
    const { lessor } = leader();
    lessor.grant(1n, 5n);
    lessor.grant(2n, 5n);
    for (const key of ['b', 'a\xff', 'a', '\0', 'moved', 'gone']) lessor.attach(1n, key);
    lessor.attach(1n, 'a');
    lessor.attach(2n, 'moved');
    lessor.detach('gone');
    lessor.detach('never there');
    expect([lessor.leaseOf('moved'), lessor.leaseOf('a'), lessor.leaseOf('gone')]).toEqual([2n, 1n, 0n]);
    expect(lessor.timeToLive(2n)?.keys()).toEqual(['moved']);
    expect(lessor.revoke(1n)).toEqual(['\0', 'a', 'a\xff', 'b']);
    expect(lessor.leaseOf('a')).toBe(0n);
    expect(code(lessor.revoke(1n))).toBe('LeaseNotFound');
    expect(lessor.revoke(2n)).toEqual(['moved']);
  });

  it('attaching to a lease that is not there is a bug', () => {
    expect(() => leader().lessor.attach(1n, 'a')).toThrow('exists');
  });
});

describe('time', () => {
  it('runs out when the whole TTL has passed and not a millisecond earlier', () => {
    const f = leader();
    f.lessor.grant(1n, 3n);
    f.now += 2_999;
    expect(f.lessor.expired(10)).toEqual([]);
    expect(f.lessor.timeToLive(1n)?.remainingSeconds).toBe(0);
    f.now += 1;
    expect(f.lessor.expired(10)).toEqual([1n]);
  });

  it('starts again at a renewal, unless it had run out', () => {
    const f = leader();
    f.lessor.grant(1n, 3n);
    f.now += 2_500;
    expect(f.lessor.renew(1n)).toBe(3);
    f.now += 2_999;
    expect(f.lessor.expired(10)).toEqual([]);
    f.now += 1;
    expect(f.lessor.renew(1n)).toBeUndefined();
    expect(f.lessor.expired(10)).toEqual([1n]);
    expect(f.lessor.renew(2n)).toBeUndefined();
    expect(f.lessor.timeToLive(2n)).toBeUndefined();
  });

  it('counts the remaining seconds as etcd does', () => {
    const f = leader();
    f.lessor.grant(1n, 3n);
    const remaining = [500, 600, 1_899, 1, 999, 1].map((ms) => {
      f.now += ms;
      return f.lessor.timeToLive(1n)?.remainingSeconds;
    });
    expect(remaining).toEqual([2, 1, 0, 0, 0, -1]);
  });

  it('names an expired lease once per retry interval, until it is revoked', () => {
    const f = leader();
    f.lessor.grant(1n, 2n);
    f.now += 2_000;
    expect(f.lessor.expired(10)).toEqual([1n]);
    f.now += EXPIRED_RETRY_INTERVAL_MS - 1;
    expect(f.lessor.expired(10)).toEqual([]);
    f.now += 1;
    expect(f.lessor.expired(10)).toEqual([1n]);
    f.lessor.revoke(1n);
    f.now += EXPIRED_RETRY_INTERVAL_MS;
    expect(f.lessor.expired(10)).toEqual([]);
  });

  it('names no more than the limit, the longest overdue first', () => {
    const f = leader();
    for (let i = 5; i >= 1; i--) f.lessor.grant(BigInt(i), BigInt(i + 1));
    f.now += 10_000;
    expect(f.lessor.expired(2)).toEqual([1n, 2n]);
    expect(f.lessor.expired(0)).toEqual([]);
    expect(f.lessor.expired(9)).toEqual([3n, 4n, 5n]);
  });

  it('looks at no more leases per call than the scan limit', () => {
    const f = leader();
    for (let i = 1; i <= EXPIRY_SCAN_MAX; i++) f.lessor.grant(BigInt(i), 10n);
    f.now += 5_000;
    for (let i = 1; i <= EXPIRY_SCAN_MAX; i++) f.lessor.renew(BigInt(i));
    f.lessor.grant(0x7fffn, 6n);
    f.now += 6_000;
    // The renewed ones are in front of the one that has run out, and use up the whole budget.
    expect(f.lessor.expired(10)).toEqual([]);
    expect(f.lessor.expired(10)).toEqual([0x7fffn]);
  });

  it('lists by what is left, then by id', () => {
    const f = leader();
    f.lessor.grant(3n, 20n);
    f.lessor.grant(-2n, 30n);
    f.lessor.grant(1n, 20n);
    expect(f.lessor.list()).toEqual([1n, 3n, -2n]);
    f.now += 15_000;
    f.lessor.renew(1n);
    expect(f.lessor.list()).toEqual([3n, -2n, 1n]);
  });
});

describe('leadership', () => {
  it('followers let nothing expire', () => {
    const f = new Fixture();
    f.lessor.grant(1n, 2n);
    f.now += 1e9;
    expect(f.lessor.expired(10)).toEqual([]);
    expect(f.lessor.timeToLive(1n)).toMatchObject({ remainingSeconds: 2, ttlSeconds: 2 });
    expect(() => f.lessor.renew(1n)).toThrow('leader');
  });

  it('a new leader gives everyone the full time and more', () => {
    const f = new Fixture();
    f.lessor.grant(1n, 2n);
    f.now += 1e9;
    f.lessor.setPrimary(true, 1_000);
    f.now += 2_999;
    expect(f.lessor.expired(10)).toEqual([]);
    f.now += 1;
    expect(f.lessor.expired(10)).toEqual([1n]);
  });

  it('a leader that steps down stops counting, and starts anew when it leads again', () => {
    const f = leader();
    f.lessor.grant(1n, 2n);
    f.now += 2_000;
    expect(f.lessor.expired(10)).toEqual([1n]);
    f.lessor.setPrimary(false);
    f.now += 1e6;
    expect(f.lessor.expired(10)).toEqual([]);
    f.lessor.setPrimary(true, 0);
    f.now += 1_999;
    expect(f.lessor.expired(10)).toEqual([]);
    f.now += 1;
    expect(f.lessor.expired(10)).toEqual([1n]);
  });

  it('spreads many leases, putting off and never bringing forward', () => {
    const f = new Fixture();
    const count = 3 * EXPIRIES_PER_SECOND_MAX + 1;
    for (let i = 1; i <= count; i++) f.lessor.grant(BigInt(i), 5n);
    f.lessor.setPrimary(true, 0);
    const start = f.now;
    f.now = start + 4_999;
    expect(f.lessor.expired(count)).toHaveLength(0);
    for (const second of [5, 6, 7]) {
      f.now = start + second * 1000;
      expect(f.lessor.expired(count)).toHaveLength(EXPIRIES_PER_SECOND_MAX);
      f.now += 999;
      expect(f.lessor.expired(count)).toHaveLength(0);
    }
    f.now = start + 8_000;
    expect(f.lessor.expired(count)).toHaveLength(1);
  });
});

describe('persistence', () => {
  it('brings back every id, TTL and what a checkpoint left, in steps', () => {
    const f = leader();
    const ids = [1n, -1n, 0x7fff_ffff_ffff_ffffn, -0x8000_0000_0000_0000n, 256n];
    for (const id of ids) f.lessor.grant(id, 40n);
    for (let i = 0; i < 2_500; i++) f.lessor.grant(BigInt(1_000 + i), 50n);
    f.lessor.revoke(256n);
    // As an etcd with checkpoints leaves it: field 3 holds what was left.
    f.backend.put('lease', leaseKey(7n), Buffer.from([0x08, 7, 0x10, 100, 0x18, 30]));
    const again = f.reopened();
    expect(again.lessor.size).toBe(2_505);
    expect(again.lessor.has(256n)).toBe(false);
    for (const id of ids.slice(0, 4)) expect(again.lessor.timeToLive(id)?.ttlSeconds).toBe(40);
    expect(again.lessor.timeToLive(7n)).toMatchObject({ ttlSeconds: 100, remainingSeconds: 30 });
    again.lessor.setPrimary(true, 0);
    again.now += 30_000;
    expect(again.lessor.expired(10)).toEqual([7n]);
    let steps = 0;
    const third = new Fixture(f.backend.disk);
    for (const _ of third.lessor.restore()) steps++;
    expect(steps).toBe(2);
  });

  it('orders ids in the backend by their bits', () => {
    expect(Buffer.from(leaseKey(0x0102n), 'latin1').toString('hex')).toBe('0000000000000102');
    expect(Buffer.from(leaseKey(-1n), 'latin1').toString('hex')).toBe('ffffffffffffffff');
  });
});

it('never lets a lease out early and never forgets one, whatever happens', () => {
  type Op = { do: 'grant' | 'renew' | 'revoke' | 'lead' | 'follow'; id: number; ttl: number; wait: number };
  const op: fc.Arbitrary<Op> = fc.record({
    do: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom<Op['do'][]>('grant', 'renew', 'renew', 'revoke') },
      { weight: 1, arbitrary: fc.constantFrom<Op['do'][]>('lead', 'follow') },
    ),
    id: fc.integer({ min: 1, max: 6 }),
    ttl: fc.integer({ min: 0, max: 6 }),
    wait: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 3_000 })),
  });
  let expiries = 0;
  fc.assert(
    fc.property(fc.array(op, { minLength: 10, maxLength: 120 }), (ops) => {
      const f = leader({ expiredRetryIntervalMs: 500 });
      const deadline = new Map<bigint, { at: number; ttl: number; named: number }>();
      let leading = true;
      for (const { do: what, id: number, ttl, wait } of ops) {
        f.now += wait;
        const id = BigInt(number);
        const known = deadline.get(id);
        if (what === 'grant' && known === undefined) {
          const seconds = Math.max(ttl, 2);
          f.lessor.grant(id, BigInt(ttl));
          deadline.set(id, { at: f.now + seconds * 1000, ttl: seconds, named: Number.NEGATIVE_INFINITY });
        } else if (what === 'renew' && leading) {
          const alive = known !== undefined && known.at > f.now;
          expect(f.lessor.renew(id)).toBe(alive ? known.ttl : undefined);
          if (alive) known.at = f.now + known.ttl * 1000;
        } else if (what === 'revoke') {
          expect(code(f.lessor.revoke(id))).toBe(known ? 'ok' : 'LeaseNotFound');
          deadline.delete(id);
        } else if (what === 'lead' || what === 'follow') {
          leading = what === 'lead';
          f.lessor.setPrimary(leading, 700);
          for (const lease of deadline.values()) {
            lease.at = f.now + lease.ttl * 1000 + 700;
            lease.named = Number.NEGATIVE_INFINITY;
          }
        }
        const due = [...deadline].filter(([, l]) => leading && l.at <= f.now && l.named + 500 <= f.now);
        const named = f.lessor.expired(100);
        expect([...named].sort()).toEqual(due.map(([dueId]) => dueId).sort());
        for (const [, lease] of due) lease.named = f.now;
        expiries += named.length;
      }
    }),
    { numRuns: 300, seed: 3 },
  );
  expect(expiries).toBeGreaterThan(300);
});
