import { describe, expect, it } from 'vitest';
import {
  AWAITED_REMOVALS_PER_COMMIT,
  COMPACTION_REMOVALS_PER_COMMIT,
  COMPACTION_SLICE_REVISIONS,
} from '../../core/apply/compaction-pace.ts';
import { RosterError } from '../../core/errors.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { codeOf, del, get, Harness, put, success, text } from './harness.ts';

describe('put', () => {
  it('answers with the revision and nothing else in the header', () => {
    const h = new Harness();
    expect(h.put('a', '1')).toEqual({
      header: { cluster_id: 0n, member_id: 0n, revision: 2, raft_term: 0 },
      prev_kv: undefined,
    });
    expect(success(h.put('a', '1')).header?.revision).toBe(3);
  });

  it('returns the pair it replaced when asked', () => {
    const h = new Harness();
    expect(success(h.put('a', '1', { prev_kv: true })).prev_kv).toBeUndefined();
    const { prev_kv } = success(h.put('a', '2', { prev_kv: true }));
    expect(prev_kv).toMatchObject({ key: 'a', create_revision: 2, mod_revision: 2, version: 1 });
    expect(text(prev_kv!.value)).toBe('1');
  });

  it('keeps value or lease with ignore_value and ignore_lease, and refuses them without a key', () => {
    const h = new Harness();
    h.grant(7n);
    expect(codeOf(h.put('a', '', { ignore_value: true }))).toBe('KeyNotFound');
    expect(codeOf(h.put('a', 'x', { ignore_lease: true }))).toBe('KeyNotFound');
    expect(h.machine.store.revision).toBe(1);
    h.put('a', 'v', { lease: 7n });
    h.put('a', 'w', { ignore_lease: true });
    expect(success(h.get('a')).kvs[0]).toMatchObject({ lease: 7n, version: 2, mod_revision: 3 });
    h.put('a', '', { ignore_value: true });
    const [kv] = success(h.get('a')).kvs;
    expect([text(kv!.value), kv!.lease]).toEqual(['w', 0n]);
  });

  it('names the missing lease before the missing key', () => {
    const h = new Harness();
    expect(codeOf(h.put('a', '', { lease: 9n, ignore_value: true }))).toBe('LeaseNotFound');
  });

  it('moves a key from lease to lease, and a put without one takes it off', () => {
    const h = new Harness();
    h.grant(1n);
    h.grant(2n);
    h.put('a', '', { lease: 1n });
    h.put('a', '', { lease: 2n });
    h.put('b', '', { lease: 1n });
    h.put('b', '');
    h.revoke(1n);
    expect(Object.keys(h.dump())).toEqual(['a', 'b']);
    h.revoke(2n);
    expect(Object.keys(h.dump())).toEqual(['b']);
  });
});

describe('delete', () => {
  it('counts, returns what was there in key order, and does not bump for nothing', () => {
    const h = new Harness();
    for (const key of ['b', 'a', 'c']) h.put(key, key);
    const some = h.del('a', 'c', { prev_kv: true });
    expect([some.deleted, some.header?.revision, some.prev_kvs.map((kv) => kv.key)]).toEqual([2, 5, ['a', 'b']]);
    const none = h.del('a', 'c', { prev_kv: true });
    expect([none.deleted, none.header?.revision, none.prev_kvs]).toEqual([0, 5, []]);
  });
});

describe('leases', () => {
  it('grants with the id it is given, raises the TTL, and refuses a second one', () => {
    const h = new Harness();
    expect(h.grant(5n, 1n)).toMatchObject({ ID: 5n, TTL: 2, error: '', header: { revision: 1 } });
    expect(codeOf(h.grant(5n, 100n))).toBe('LeaseExist');
    expect(codeOf(h.grant(6n, 9_000_000_001n))).toBe('LeaseTTLTooLarge');
    expect(codeOf(h.grant(6n, 9_000_000_000n))).toBe('ok');
  });

  it('revokes with the keys, in order, in one revision', () => {
    const h = new Harness();
    const batches: m.Event[][] = [];
    const stream = h.machine.hub.stream({ send: (r) => batches.push(r.events) > 0 });
    stream.create({ ...defaults(m.WatchCreateRequest), key: '\0', range_end: '\0' });
    batches.length = 0;
    h.grant(5n);
    for (const key of ['z', 'a', 'm\xff', 'm']) h.put(key, '', { lease: 5n });
    batches.length = 0;
    expect(h.revoke(5n)).toMatchObject({ header: { revision: 6 } });
    expect(batches).toHaveLength(1);
    expect(batches[0]!.map((event) => [event.type, event.kv!.key, event.kv!.mod_revision])).toEqual(
      ['a', 'm', 'm\xff', 'z'].map((key) => [1, key, 6]),
    );
    expect(codeOf(h.revoke(5n))).toBe('LeaseNotFound');
    expect(codeOf(h.put('q', '', { lease: 5n }))).toBe('LeaseNotFound');
  });

  it('does not bump the revision for a lease without keys', () => {
    const h = new Harness();
    h.grant(5n);
    h.put('a', '', { lease: 5n });
    h.del('a');
    expect(h.revoke(5n)).toMatchObject({ header: { revision: 3 } });
  });
});

describe('the applied index', () => {
  it('comes back with exactly the effects of the entries it names', () => {
    const h = new Harness();
    h.grant(8n, 30n);
    h.put('a', '1', { lease: 8n });
    h.machine.commit(() => {});
    h.put('b', 'lost');
    h.machine.apply(4, 2, undefined);
    h.flush();
    const again = h.reopened();
    expect([again.machine.appliedIndex, again.machine.appliedTerm]).toEqual([2, 1]);
    expect(again.dump()).toEqual({ a: '1' });
    expect(again.machine.lessor.timeToLive(8n)).toMatchObject({ ttlSeconds: 30, remainingSeconds: 30 });
    expect(again.revoke(8n)).toMatchObject({ header: { revision: 3 } });
    expect(again.dump()).toEqual({});
  });

  it('is a pending write of its own when an entry changed nothing', () => {
    const h = new Harness();
    expect(h.machine.pendingWrites).toBe(0);
    h.machine.apply(1, 3, undefined);
    expect(h.machine.pendingWrites).toBe(1);
    h.machine.commit(() => {});
    expect(h.machine.pendingWrites).toBe(0);
    h.flush();
    expect(h.reopened().machine.appliedIndex).toBe(1);
  });

  it('holds indexes beyond 32 bits', () => {
    const h = new Harness();
    const index = 2 ** 40 + 5;
    h.backend.put('meta', 'consistent_index', Buffer.from('0000010000000005', 'hex'));
    h.backend.put('meta', 'term', Buffer.from('0000000000000009', 'hex'));
    h.backend.commit(() => {});
    h.flush();
    const again = h.reopened();
    expect([again.machine.appliedIndex, again.machine.appliedTerm]).toEqual([index, 9]);
    again.machine.apply(index + 1, 10, undefined);
    again.machine.commit(() => {});
    again.flush();
    expect(again.reopened().machine.appliedIndex).toBe(index + 1);
  });

  it('refuses an entry twice, out of order, or of an older term', () => {
    const h = new Harness();
    h.put('a');
    expect(() => h.machine.apply(1, 1, undefined)).toThrow('in order');
    expect(() => h.machine.apply(3, 1, undefined)).toThrow('in order');
    expect(() => h.machine.apply(2, 0, undefined)).toThrow('terms');
  });

  it('refuses a state without its index, and an index that is none', () => {
    const h = new Harness();
    h.put('a');
    h.backend.commit(() => {});
    h.flush();
    expect(() => h.reopened()).toThrow(/holds revisions/);
    const other = new Harness();
    other.backend.put('meta', 'consistent_index', Buffer.from('no'));
    other.backend.commit(() => {});
    other.flush();
    expect(() => other.reopened()).toThrow(RosterError);
  });
});

describe('compaction', () => {
  it('refuses what etcd refuses and answers with the current revision', () => {
    const h = new Harness();
    for (let i = 0; i < 5; i++) h.put('a', String(i));
    expect(codeOf(h.compact(7))).toBe('FutureRev');
    expect(h.compact(4)).toMatchObject({ header: { revision: 6 } });
    expect(codeOf(h.compact(4))).toBe('Compacted');
    expect(codeOf(h.get('a', { revision: 3 }))).toBe('Compacted');
    expect(success(h.get('a', { revision: 4 })).kvs[0]!.mod_revision).toBe(4);
  });

  it('removes no more before a commit than it may: more when more is written', () => {
    const h = new Harness();
    const limit = COMPACTION_REMOVALS_PER_COMMIT;
    const revisions = 5 * limit;
    for (let i = 0; i < revisions; i++) h.put('a', String(i));
    h.compact(revisions);
    let wakes = 0;
    h.machine.onWork = () => wakes++;
    const commit = () => {
      h.machine.commit(() => {});
      h.flush();
    };
    const work = () => {
      while (h.machine.work()) {}
      return h.machine.pendingRemovals;
    };
    commit();
    const first = work();
    expect(first).toBeGreaterThanOrEqual(limit);
    expect(first).toBeLessThan(limit + COMPACTION_SLICE_REVISIONS);
    expect([h.machine.commitWish, h.machine.compacting, h.machine.pendingWrites]).toEqual(['due', true, first]);
    wakes = 0;
    commit();
    expect([h.machine.commitWish, h.machine.pendingRemovals, wakes]).toEqual(['none', 0, 1]);
    for (let i = 0; i < limit; i++) h.put('b', String(i));
    expect(work()).toBeGreaterThanOrEqual(2 * limit);
    while (h.machine.compacting) {
      commit();
      work();
    }
    expect(h.machine.commitWish).toBe('none');
  });

  it('is quicker when somebody waits for it', () => {
    const h = new Harness();
    const revisions = 2 * AWAITED_REMOVALS_PER_COMMIT;
    for (let i = 0; i < revisions; i++) h.put('a', String(i));
    const underWay: boolean[] = [];
    h.machine.onCompaction = (is) => underWay.push(is);
    h.compact(revisions);
    h.machine.commit(() => {});
    h.flush();
    while (h.machine.work()) {}
    expect(h.machine.commitWish).toBe('due');
    let wakes = 0;
    h.machine.onWork = () => wakes++;
    let done = 0;
    h.machine.whenCompacted(revisions, () => done++);
    expect(wakes).toBe(1);
    while (h.machine.work()) {}
    expect([h.machine.commitWish, underWay]).toEqual(['now', [true]]);
    expect(h.machine.pendingRemovals).toBeGreaterThanOrEqual(AWAITED_REMOVALS_PER_COMMIT);
    h.machine.commit(() => {});
    h.flush();
    while (h.machine.work()) {}
    h.flush();
    // The first put is revision 2, and the last stays.
    expect([done, underWay, h.machine.store.compactedRows]).toEqual([1, [true, false], revisions - 2]);
  });

  it('is physical only when the rows are gone and a commit has reached the disk', () => {
    const h = new Harness();
    const revisions = 3 * COMPACTION_SLICE_REVISIONS;
    for (let i = 0; i < revisions; i++) h.put('a', String(i));
    let wakes = 0;
    h.machine.onWork = () => wakes++;
    h.compact(revisions);
    expect(wakes).toBe(1);
    let done = 0;
    h.machine.whenCompacted(revisions, () => done++);
    let slices = 1;
    while (h.machine.work()) slices++;
    expect(slices).toBeGreaterThan(2);
    expect(done).toBe(0);
    h.flush();
    expect(done).toBe(1);
    let rows = 0;
    h.backend.scan('key', '', undefined, () => ++rows > 0);
    expect(rows).toBe(2);
    h.machine.whenCompacted(revisions, () => done++);
    h.flush();
    expect(done).toBe(2);
  });

  it('goes on after a restart', () => {
    const h = new Harness();
    for (let i = 0; i < 50; i++) h.put('a', String(i));
    h.compact(50);
    h.machine.commit(() => {});
    h.flush();
    const again = h.reopened();
    expect(codeOf(again.get('a', { revision: 49 }))).toBe('Compacted');
    again.settle();
    let rows = 0;
    again.backend.scan('key', '', undefined, () => ++rows > 0);
    expect(rows).toBe(2);
  });
});

describe('one key changed twice in a revision', () => {
  // etcd lets an open-ended delete stand beside a put; so the store has to live with it.
  it('put, then deleted', () => {
    const h = new Harness();
    h.put('b', 'old');
    const result = success(h.txn({ success: [put('b', 'x'), del('a', '\0'), get('b')] }));
    expect(result.responses[1]!.response_delete_range).toMatchObject({ deleted: 1, header: { revision: 3 } });
    expect(result.responses[2]!.response_range).toMatchObject({ kvs: [], count: 0 });
    expect(h.dump()).toEqual({});
    expect(success(h.put('b', 'new')).header?.revision).toBe(4);
    expect(success(h.get('b')).kvs[0]).toMatchObject({ create_revision: 4, version: 1 });
    expect(success(h.get('b', { revision: 3 })).kvs).toEqual([]);
    expect(text(success(h.get('b', { revision: 2 })).kvs[0]!.value)).toBe('old');
  });

  it('deleted, then put', () => {
    const h = new Harness();
    h.put('b', 'old');
    h.txn({ success: [del('a', '\0'), put('b', 'x')] });
    expect(success(h.get('b')).kvs[0]).toMatchObject({ create_revision: 3, mod_revision: 3, version: 1 });
    h.compact(3);
    h.machine.commit(() => {});
    h.settle();
    expect(h.reopened().dump()).toEqual({ b: 'x' });
  });

  it('deleted, then put with the old value: refused before anything happens, where etcd panics', () => {
    const h = new Harness();
    h.put('b', 'old');
    expect(codeOf(h.txn({ success: [del('a', '\0'), put('b', '', { ignore_value: true })] }))).toBe('KeyNotFound');
    expect(h.dump()).toEqual({ b: 'old' });
    expect(codeOf(h.txn({ success: [del('c', '\0'), put('b', '', { ignore_value: true })] }))).toBe('ok');
  });
});
