import { describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { Membership } from '../../core/membership/membership.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import type { Member } from '../../core/wire/messages.ts';

class Fixture {
  readonly backend = new MemoryBackend((task) => task());
  readonly membership = new Membership(this.backend);
  changes = 0;

  constructor() {
    this.membership.onChange = () => this.changes++;
  }

  /** What another process reads from the same disk. */
  reopened(): Membership {
    this.backend.commit(() => {});
    const again = new Membership(new MemoryBackend((task) => task(), this.backend.disk));
    again.restore();
    return again;
  }

  /** Memory and disk say the same. */
  get members(): Member[] {
    const again = this.reopened();
    expect(again.members).toEqual(this.membership.members);
    expect([...again.removed].sort()).toEqual([...this.membership.removed].sort());
    expect(again.clusterVersion).toBe(this.membership.clusterVersion);
    return again.members;
  }
}

function member(id: bigint, more: Partial<Member> = {}): Member {
  return { ID: id, name: '', peerURLs: [`http://m${id & 0xffn}:1`], clientURLs: [], isLearner: false, ...more };
}

const code = (error: RosterError | undefined) => error?.code ?? 'ok';

describe('membership', () => {
  it('is empty at first', () => {
    const f = new Fixture();
    expect(f.members).toEqual([]);
    expect([f.membership.clusterVersion, f.membership.removed.size, f.changes]).toEqual(['', 0, 0]);
  });

  it('begins once, sorted by id without regard to the sign', () => {
    const f = new Fixture();
    const big = 0xffff_ffff_ffff_ff03n;
    f.membership.bootstrap([member(big), member(2n, { name: 'ü' }), member(0x100n)]);
    expect(f.members.map(({ ID }) => ID)).toEqual([2n, 0x100n, big]);
    expect(f.members[0]?.name).toBe('ü');
    expect(f.changes).toBe(1);
    expect(() => f.membership.bootstrap([member(1n)])).toThrow('once');
  });

  it('adds, promotes, and remembers whom it removed', () => {
    const f = new Fixture();
    f.membership.bootstrap([member(1n)]);
    f.membership.add(member(2n, { isLearner: true }));
    expect(f.members.map(({ isLearner }) => isLearner)).toEqual([false, true]);
    const before = f.membership.members;
    f.membership.promote(2n);
    expect(f.members.map(({ isLearner }) => isLearner)).toEqual([false, false]);
    expect(before[1]?.isLearner, 'what was given out stays as it was').toBe(true);
    f.membership.remove(2n);
    expect(f.members.map(({ ID }) => ID)).toEqual([1n]);
    expect([f.membership.isRemoved(2n), f.membership.isRemoved(1n), f.membership.member(2n)]).toEqual([
      true,
      false,
      undefined,
    ]);
    expect(f.changes).toBe(4);
    f.membership.promote(2n);
    expect(f.membership.member(2n)).toBeUndefined();
  });

  it('changes peer URLs and nothing else: a learner stays one (etcd #21694)', () => {
    const f = new Fixture();
    const learner = member(2n, { isLearner: true, name: 'two', clientURLs: ['http://c:1'] });
    f.membership.bootstrap([member(1n), learner]);
    expect(code(f.membership.updatePeerUrls(2n, ['http://z:1', ' http://y:1']))).toBe('ok');
    expect(f.members[1]).toEqual({ ...learner, peerURLs: ['http://y:1', 'http://z:1'] });
    expect(code(f.membership.updatePeerUrls(2n, ['http://z:1'])), 'its own').toBe('ok');
    const before = f.members;
    const { changes } = f;
    expect(code(f.membership.updatePeerUrls(3n, ['http://q:1']))).toBe('MemberNotFound');
    expect(code(f.membership.updatePeerUrls(2n, []))).toBe('MemberBadURLs');
    expect(code(f.membership.updatePeerUrls(2n, ['http://m1:1']))).toBe('PeerURLExist');
    expect(f.members).toEqual(before);
    expect(f.changes).toBe(changes);
  });

  it('takes what a member says of itself, but not of one that was removed', () => {
    const f = new Fixture();
    f.membership.bootstrap([member(1n), member(2n, { isLearner: true })]);
    const attributes = { ID: 2n, name: 'two', clientURLs: ['http://c:1'] };
    expect(f.membership.setAttributes(attributes)).toBe(true);
    expect(f.members[1]).toEqual(member(2n, { isLearner: true, name: 'two', clientURLs: ['http://c:1'] }));
    f.membership.remove(2n);
    expect(f.membership.setAttributes(attributes)).toBe(false);
    expect(f.membership.setAttributes({ ...attributes, ID: 9n })).toBe(false);
    expect(f.members.map(({ ID }) => ID)).toEqual([1n]);
  });

  it('keeps the cluster version', () => {
    const f = new Fixture();
    f.membership.setClusterVersion('3.6.0');
    f.membership.setClusterVersion('3.7.0');
    expect(f.reopened().clusterVersion).toBe('3.7.0');
    expect(f.changes).toBe(2);
  });

  it('follows another backend, as after a snapshot', () => {
    const f = new Fixture();
    f.membership.bootstrap([member(1n)]);
    f.membership.remove(1n);
    f.membership.setClusterVersion('3.6.0');
    const other = new Fixture();
    other.membership.bootstrap([member(5n), member(6n)]);
    other.membership.remove(6n);
    f.membership.restore(other.backend);
    expect(f.membership.members.map(({ ID }) => ID)).toEqual([5n]);
    expect([...f.membership.removed]).toEqual([6n]);
    expect(f.membership.clusterVersion).toBe('');
    f.membership.add(member(7n));
    expect(
      other.reopened().members.map(({ ID }) => ID),
      'and writes there',
    ).toEqual([5n, 7n]);
  });

  it.each([
    ['members', 'x', 'a member'],
    ['members', '\0\0\0\0\0\0\0\x01', 'a member'],
    ['members_removed', 'x', 'the id of a removed member'],
  ] as const)('refuses a damaged row in %s', (bucket, key, what) => {
    const f = new Fixture();
    f.backend.put(bucket, key, Buffer.from([0xff]));
    const restore = () => f.membership.restore();
    expect(restore).toThrow(RosterError);
    expect(restore).toThrow(`the store is damaged: ${what} is not one`);
  });
});
