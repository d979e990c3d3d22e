import { describe, expect, it } from 'vitest';
import { HASHES_PENDING_MAX } from '../../core/apply/hashes.ts';
import type { ClusterView } from '../../core/node/machine.ts';
import { LEAVE_JOINT } from '../../core/raft/conf-change.ts';
import { ConfState } from '../../core/raft/messages.ts';
import { decode, defaults, encode } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { MemberChange } from '../../core/wire/stored.ts';
import { codeOf, Harness } from './harness.ts';

const HEADER = { cluster_id: 0n, member_id: 0n, revision: 0, raft_term: 0 };
const ALL_WELL: ClusterView = { lastIndex: 10, isActive: () => true, match: () => 10 };

function conf(voters: bigint[], learners: bigint[] = []): ConfState {
  return { ...defaults(ConfState), voters, learners };
}

function member(id: bigint, more: Partial<m.Member> = {}): m.Member {
  return { ...defaults(m.Member), ID: id, peerURLs: [`http://m${id}:1`], ...more };
}

function change(h: Harness, what: Omit<MemberChange, 'id'>, after: ConfState, term = 1): object | undefined {
  const context = encode(MemberChange, { id: 77n, ...what });
  const index = h.machine.appliedIndex + 1;
  return h.machine.applyConfChange(index, term, { ...LEAVE_JOINT, context }, after);
}

function founded(...ids: bigint[]): Harness {
  const h = new Harness();
  h.machine.bootstrap(
    ids.map((id) => member(id, { name: `m${id}` })),
    conf(ids),
  );
  h.commit();
  return h;
}

describe('the first state of a member', () => {
  it('is durable before anything is applied', () => {
    const h = new Harness();
    h.machine.bootstrap([member(1n), member(2n)], conf([1n, 2n]));
    expect(h.machine.confState).toEqual(conf([1n, 2n]));
    expect(h.machine.pendingWrites).toBeGreaterThan(0);
    h.commit();
    expect(h.machine.pendingWrites).toBe(0);
    expect(decode(ConfState, h.backend.get('meta', 'confState')!)).toEqual(conf([1n, 2n]));
    const { machine } = h.reopened();
    expect([machine.appliedIndex, machine.appliedTerm]).toEqual([0, 0]);
    expect(machine.confState).toEqual(conf([1n, 2n]));
    expect(machine.membership.members).toEqual([member(1n), member(2n)]);
  });

  it('may know members and nobody who votes: a snapshot will tell', () => {
    const h = new Harness();
    h.machine.bootstrap([member(1n), member(2n)], conf([]));
    h.commit();
    const { machine } = h.reopened();
    expect(machine.confState).toEqual(conf([]));
    expect(machine.membership.members).toHaveLength(2);
  });

  it('is given once', () => {
    expect(() => founded(1n).machine.bootstrap([], conf([1n]))).toThrow('once');
  });

  it('can be given to a state from before members were kept in it', () => {
    const h = new Harness();
    h.put('a', '1');
    h.commit();
    const again = h.reopened();
    again.machine.bootstrap([member(1n)], conf([1n]));
    again.commit();
    const { machine } = again.reopened();
    expect([machine.appliedIndex, machine.confState, machine.store.revision]).toEqual([1, conf([1n]), 2]);
  });
});

describe('changes of the configuration', () => {
  it('answer with the members, change them, and become durable with their index', () => {
    const h = founded(1n);
    const added = member(2n, { isLearner: true });
    expect(change(h, { add: added }, conf([1n], [2n]))).toEqual({
      header: HEADER,
      member: added,
      members: [member(1n, { name: 'm1' }), added],
    });
    expect(h.machine.confState).toEqual(conf([1n], [2n]));
    h.commit();
    expect(change(h, { promote: 2n }, conf([1n, 2n]), 3)).toEqual({
      header: HEADER,
      members: [member(1n, { name: 'm1' }), member(2n)],
    });
    expect([h.machine.appliedIndex, h.machine.appliedTerm]).toEqual([2, 3]);
    const before = h.reopened().machine;
    expect([before.appliedIndex, before.confState]).toEqual([1, conf([1n], [2n])]);
    expect(before.membership.member(2n)?.isLearner).toBe(true);
    h.commit();
    const after = h.reopened().machine;
    expect([after.appliedIndex, after.appliedTerm, after.confState]).toEqual([2, 3, conf([1n, 2n])]);
    expect(after.membership.member(2n)?.isLearner).toBe(false);
    expect(change(h, { remove: 1n }, conf([2n]), 3)).toEqual({ header: HEADER, members: [member(2n)] });
    expect(h.machine.membership.isRemoved(1n)).toBe(true);
  });

  it('without a context only leave a joint configuration', () => {
    const h = founded(1n);
    expect(h.machine.applyConfChange(1, 1, LEAVE_JOINT, conf([1n, 2n]))).toBeUndefined();
    expect(h.machine.membership.members).toHaveLength(1);
    expect([h.machine.appliedIndex, h.machine.confState]).toEqual([1, conf([1n, 2n])]);
  });

  it('come in order like everything else', () => {
    const h = founded(1n);
    expect(() => h.machine.applyConfChange(2, 1, LEAVE_JOINT, conf([1n]))).toThrow('in order');
  });

  it('are checked by the limits the machine was made with', () => {
    const add = { id: 1n, add: member(9n, { isLearner: true }) };
    const check = (h: Harness) => {
      h.machine.bootstrap([member(1n), member(2n, { isLearner: true })], conf([1n], [2n]));
      return [
        codeOf(h.machine.checkMemberChange(add, ALL_WELL)),
        codeOf(h.machine.checkMemberChange({ id: 1n, promote: 2n }, ALL_WELL)),
      ];
    };
    expect(check(new Harness())).toEqual(['TooManyLearners', 'MemberNotEnoughStarted']);
    expect(check(new Harness({ maxLearners: 2, strictReconfigCheck: false }))).toEqual(['ok', 'ok']);
  });
});

describe('entries about members', () => {
  it('change peer URLs or say why not', () => {
    const h = founded(1n, 2n);
    const update = (ID: bigint, peerURLs: string[]) => h.apply({ member_update: { ID, peerURLs } });
    expect(update(2n, ['http://z:1'])).toEqual({
      header: HEADER,
      members: [member(1n, { name: 'm1' }), member(2n, { name: 'm2', peerURLs: ['http://z:1'] })],
    });
    expect(codeOf(update(9n, ['http://z:2']))).toBe('MemberNotFound');
    expect(codeOf(update(2n, ['http://m1:1']))).toBe('PeerURLExist');
    expect(h.machine.store.revision).toBe(1);
  });

  it('name members; those removed are told that they are', () => {
    const h = founded(1n, 2n);
    const name = (ID: bigint) => h.apply({ member_attributes: { ID, name: 'new', clientURLs: ['http://c:1'] } });
    expect(name(1n)).toEqual({ header: HEADER });
    expect(h.machine.membership.member(1n)).toMatchObject({ name: 'new', clientURLs: ['http://c:1'] });
    change(h, { remove: 2n }, conf([1n]));
    expect(codeOf(name(2n))).toBe('MemberNotFound');
    expect(h.machine.membership.members).toHaveLength(1);
  });

  it('set the version of the cluster', () => {
    const h = founded(1n);
    expect(h.apply({ cluster_version: { version: '3.7.0' } })).toEqual({ header: HEADER });
    h.commit();
    expect(h.reopened().machine.membership.clusterVersion).toBe('3.7.0');
  });
});

describe('leases, as the node asks of them', () => {
  it('renews, tells the time, and makes checkpoints that every replica applies', () => {
    const h = new Harness({ leaseCheckpointIntervalMs: 1_000 });
    h.grant(5n, 10n);
    h.put('k', '', { lease: 5n });
    h.machine.setLeader(true);
    expect(h.machine.renewLease(5n)).toBe(10);
    expect(h.machine.renewLease(6n)).toBeUndefined();
    h.clock.ms += 4_000;
    expect(h.machine.leaseTimeToLive(5n, true)).toEqual({
      header: { ...HEADER, revision: 2 },
      ID: 5n,
      TTL: 6,
      grantedTTL: 10,
      keys: ['k'],
    });
    expect(h.machine.leaseTimeToLive(5n, false).keys).toEqual([]);
    expect(h.machine.leaseTimeToLive(6n, true)).toMatchObject({ ID: 6n, TTL: -1, grantedTTL: 0, keys: [] });
    const checkpoints = h.machine.leaseCheckpoints(10);
    expect(checkpoints).toEqual([{ ID: 5n, remaining_TTL: 6 }]);
    expect(h.apply({ lease_checkpoint: { checkpoints } })).toEqual({ header: { ...HEADER, revision: 2 } });
    h.commit();
    const { machine } = h.reopened();
    machine.setLeader(true);
    // 1 s on top, since a renewal under the last leader may be unknown: but no more than the checkpoint may be promised.
    expect(machine.leaseTimeToLive(5n, false).TTL).toBe(6);
    expect(machine.expiredLeases(9)).toEqual([]);
  });
});

describe('hashes', () => {
  it('are computed in the background, by turns with a compaction, and equal on a copy', () => {
    const h = new Harness();
    for (let i = 0; i < 1_000; i++) h.put(`k${i % 10}`, `${i}`);
    h.compact(900);
    let woken = 0;
    h.machine.onWork = () => woken++;
    const results: object[] = [];
    h.machine.hashKeys(0, (result) => results.push(result));
    h.machine.hashKeys(899, (result) => results.push({ code: codeOf(result) }));
    h.machine.hashKeys(2_000, (result) => results.push({ code: codeOf(result) }));
    expect(woken).toBeGreaterThan(0);
    expect(results).toEqual([]);
    h.settle();
    expect(results).toHaveLength(3);
    expect(results[0]).toMatchObject({ revision: 1_001, compactRevision: 900 });
    expect(results.slice(1)).toEqual([{ code: 'Compacted' }, { code: 'FutureRev' }]);
    h.commit();
    const again = h.reopened();
    again.machine.hashKeys(1_001, (result) => results.push(result));
    again.settle();
    expect(results[3]).toEqual(results[0]);
  });

  it('wait up to a limit', () => {
    const h = new Harness();
    const codes: string[] = [];
    for (let i = 0; i <= HASHES_PENDING_MAX; i++) h.machine.hashKeys(0, (result) => codes.push(codeOf(result)));
    expect(codes).toEqual(['RequestTooManyRequests']);
    h.machine.hashBackend((result) => codes.push(codeOf(result as object)));
    h.flush();
    expect(codes).toEqual(['RequestTooManyRequests', 'RequestTooManyRequests']);
    h.settle();
    expect(codes.slice(2)).toEqual(Array.from({ length: HASHES_PENDING_MAX }, () => 'ok'));
  });

  it('of the backend cover all that was applied', () => {
    const h = new Harness();
    const hashes: unknown[] = [];
    const hash = () => {
      h.machine.hashBackend((result) => hashes.push(result));
      h.settle();
    };
    hash();
    h.put('a', '1');
    hash();
    h.apply({ cluster_version: { version: '3.7.0' } });
    hash();
    expect(new Set(hashes).size).toBe(3);
  });

  it.each(['keys', 'backend'])('of %s begin anew on the state that a snapshot brings', (kind) => {
    const source = new Harness();
    source.machine.bootstrap([member(1n)], conf([1n]));
    for (let i = 0; i < 7_000; i++) source.put(`k${i}`, 'theirs');
    source.commit();
    const h = new Harness();
    for (let i = 0; i < 6_000; i++) h.put(`k${i}`, 'ours');
    h.commit();
    const ask = ({ machine }: Harness) => {
      const results: unknown[] = [];
      if (kind === 'keys') machine.hashKeys(0, (result) => results.push(result));
      else machine.hashBackend((result) => results.push(result));
      return results;
    };
    const results = ask(h);
    h.flush();
    h.machine.work();
    h.installFrom(source);
    expect(results, 'still under way').toEqual([]);
    h.settle();
    const expected = ask(source);
    source.settle();
    expect(results).toEqual(expected);
    expect(h.machine.membership.members).toEqual([member(1n)]);
    expect(h.machine.confState).toEqual(conf([1n]));
  });
});
