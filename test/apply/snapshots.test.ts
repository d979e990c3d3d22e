import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createStateMachine } from '../../core/apply/create.ts';
import { encodeRows, placeOf, type StateRow } from '../../core/apply/state-rows.ts';
import { GrpcStatus, RosterError } from '../../core/errors.ts';
import { BACKEND_KEY_BYTES_MAX, type Backend, BUCKETS, type Bucket } from '../../core/mvcc/backend.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import { ConfChangeType, ConfTransition } from '../../core/raft/conf-change.ts';
import { ConfState } from '../../core/raft/messages.ts';
import { AssertionError } from '../../core/util/assert.ts';
import { toByteString } from '../../core/util/bytes.ts';
import { defaults, encode } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { MemberChange } from '../../core/wire/stored.ts';
import { bytes, Harness, ManualClock, success } from './harness.ts';

/** Every row, but for the mark of a snapshot. */
function rowsOf(backend: Pick<Backend, 'scan'>): [Bucket, string, string][] {
  const rows: [Bucket, string, string][] = [];
  for (const bucket of BUCKETS) {
    backend.scan(bucket, '', undefined, (key, value) => {
      if (key !== 'snapshotPending') rows.push([bucket, key, toByteString(value)]);
      return true;
    });
  }
  return rows;
}

/** All that a client or another member can see of a state. */
function seen({ machine }: Harness): object {
  const { store, lessor, membership } = machine;
  const ranges = [];
  for (let revision = Math.max(1, store.compactRevision); revision <= store.revision; revision++) {
    ranges.push(store.range('\0', '\0', { revision }));
  }
  const leases = lessor
    .list()
    .sort()
    .map((id) => {
      const life = lessor.timeToLive(id)!;
      return [id, life.ttlSeconds, life.remainingSeconds, life.keys().sort()];
    });
  const from = Math.max(1, store.compactRevision);
  return {
    applied: [machine.appliedIndex, machine.appliedTerm, machine.confState],
    revisions: [store.revision, store.compactRevision, store.keyCount],
    ranges,
    events: store.events(from, Number.POSITIVE_INFINITY, () => true),
    leases,
    members: membership.members,
    removed: [5n, 6n, 7n].map((id) => membership.isRemoved(id)),
    version: membership.clusterVersion,
  };
}

function addMember(h: Harness, id: bigint): void {
  const { machine } = h;
  const member = { ...defaults(m.Member), ID: id, name: `m${id}`, peerURLs: [`http://${id}:1`] };
  const context = encode(MemberChange, { id: 1n, add: member });
  const { AUTO } = ConfTransition.values;
  const change = { transition: AUTO, changes: [{ type: ConfChangeType.values.ADD_VOTER, node: id }], context };
  const voters = [...machine.confState.voters, id];
  machine.applyConfChange(machine.appliedIndex + 1, 1, change, { ...defaults(ConfState), voters });
}

function removeMember(h: Harness, id: bigint): void {
  const { machine } = h;
  const voters = machine.confState.voters.filter((voter) => voter !== id);
  if (voters.length === 0 || voters.length === machine.confState.voters.length) return;
  const context = encode(MemberChange, { id: 1n, remove: id });
  const { AUTO } = ConfTransition.values;
  const change = { transition: AUTO, changes: [{ type: ConfChangeType.values.REMOVE, node: id }], context };
  machine.applyConfChange(machine.appliedIndex + 1, 1, change, { ...defaults(ConfState), voters });
}

const key = fc.constantFrom('a', 'b', 'b\0', 'c', '\xff', 'key/'.repeat(30));
const lease = fc.constantFrom(0n, 0n, 1n, 2n, -3n);
const operation = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('put' as const), key, lease, bytes: fc.nat(60) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('deleteAll' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('grant' as const), lease }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('revoke' as const), lease }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('checkpoint' as const), lease, left: fc.integer({ min: 1, max: 50 }) }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('compact' as const), back: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('work' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('member' as const), id: fc.bigInt(5n, 7n), add: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('version' as const) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

function apply(h: Harness, step: Operation): void {
  switch (step.op) {
    case 'put':
      h.put(step.key, 'v'.repeat(step.bytes), { lease: h.machine.lessor.has(step.lease) ? step.lease : 0n });
      break;
    case 'delete':
      h.del(step.key);
      break;
    case 'deleteAll':
      h.del('\0', '\0');
      break;
    case 'grant':
      h.grant(step.lease);
      break;
    case 'revoke':
      h.revoke(step.lease);
      break;
    case 'checkpoint':
      h.apply({ lease_checkpoint: { checkpoints: [{ ID: step.lease, remaining_TTL: step.left }] } });
      break;
    case 'compact':
      h.compact(h.machine.store.revision - step.back);
      break;
    case 'work':
      h.machine.work();
      break;
    case 'member':
      if (!step.add) removeMember(h, step.id);
      else if (h.machine.membership.member(step.id) === undefined && !h.machine.membership.isRemoved(step.id)) {
        addMember(h, step.id);
      }
      break;
    default:
      h.apply({ cluster_version: { version: '3.7.0' } });
  }
}

/** A state with something of everything. */
function full(): Harness {
  const h = new Harness();
  addMember(h, 5n);
  addMember(h, 6n);
  removeMember(h, 6n);
  h.grant(1n);
  h.put('a', '1', { lease: 1n });
  h.put('a', '2', { lease: 1n });
  h.put('b', '1');
  h.put('c', '1');
  h.del('c');
  h.compact(4);
  h.commit();
  return h;
}

describe('a state', () => {
  it('is the same after it was read, written and installed, in pieces of any size, and goes on the same way', () => {
    const pieces = fc.record({ bytes: fc.integer({ min: 1, max: 400 }), commit: fc.integer({ min: 1, max: 300 }) });
    fc.assert(
      fc.property(
        fc.array(operation, { minLength: 1, maxLength: 40 }),
        fc.array(operation, { maxLength: 10 }),
        pieces,
        (before, after, size) => {
          const source = new Harness();
          for (const step of before) apply(source, step);
          if (source.machine.appliedIndex === 0) return;
          source.commit();
          const target = new Harness({ stagedCommitBytes: size.commit });
          target.installFrom(source, size.bytes);
          expect(seen(target)).toEqual(seen(source));
          expect(rowsOf(target.backend)).toEqual(rowsOf(source.backend));
          const marked = target.reopened();
          expect(seen(marked)).toEqual(seen(source));
          const { appliedIndex: index, appliedTerm: term } = source.machine;
          for (const h of [target, marked]) {
            expect(h.machine.snapshotMark).toEqual({ index, term });
            h.machine.installed();
            expect(h.machine.pendingWrites).toBeGreaterThan(0);
            h.commit();
          }
          expect(target.reopened().machine.snapshotMark).toBeUndefined();
          for (const step of after) for (const h of [source, target]) apply(h, step);
          expect(seen(target)).toEqual(seen(source));
          for (const h of [source, target]) h.settle();
          for (const h of [source, target]) h.commit();
          expect(rowsOf(target.backend)).toEqual(rowsOf(source.backend));
        },
      ),
      { numRuns: 150 },
    );
  });

  it('takes the place of another one, of which nothing is left', () => {
    const source = full();
    const target = new Harness();
    target.grant(9n);
    target.put('old', '1', { lease: 9n });
    target.commit();
    target.installFrom(source);
    expect(seen(target)).toEqual(seen(source));
    expect(rowsOf(target.reopened().backend)).toEqual(rowsOf(source.backend));
    target.put('new', '1');
    expect(Object.keys(target.dump())).toEqual(['a', 'b', 'new']);
  });

  it('is read as of the last commit, whatever is applied and committed meanwhile', () => {
    const source = full();
    const { appliedIndex: index, appliedTerm: term, confState: conf } = source.machine;
    const expected = rowsOf(source.backend);
    source.put('later', '1');
    const reader = source.machine.read();
    expect(reader.point).toEqual({ index, term, conf });
    const rows: [Bucket, string, string][] = [];
    const target = new MemoryBackend((task) => source.tasks.push(task));
    const staged = createStateMachine({
      backend: target,
      staging: { begin: () => target, adopt: () => {}, discard: () => {}, retire: () => {} },
      clock: new ManualClock(),
    });
    const writer = staged.receive();
    for (let from: string | undefined = ''; from !== undefined; ) {
      const piece = reader.read(from, 1);
      expect(writer.write(piece.rows)).toBeUndefined();
      from = piece.next;
      source.put('a', String(rows.length), { lease: 1n });
      source.commit();
    }
    expect(rowsOf(target)).toEqual(expected);
    expect(reader.read('', 1)).toEqual(reader.read('', 1));
    reader.close();
    reader.close();
    expect(() => reader.read('', 1)).toThrow(AssertionError);
    expect(source.backend.disk.views.size).toBe(0);
  });

  it('can be asked for at any place, even one that nobody was told of', () => {
    const reader = full().machine.read();
    const all = reader.read('', Number.POSITIVE_INFINITY);
    expect(all.next).toBeUndefined();
    expect(reader.read(placeOf(BUCKETS.length, ''), 10).rows.length).toBe(0);
    expect(reader.read(placeOf(0, '\xff'.repeat(5000)), 1).next).toBeDefined();
    expect(reader.read(placeOf(0, ''), Number.POSITIVE_INFINITY)).toEqual(all);
    reader.close();
  });
});

describe('a writer', () => {
  const row = (bucket: number, rowKey: string, value = 'v'): StateRow => ({ bucket, key: rowKey, value: bytes(value) });

  it.each<[string, Uint8Array]>([
    ['garbage', bytes('\xff\xff\xff')],
    ['a row of an unknown bucket', encodeRows([row(BUCKETS.length, 'k')])],
    ['a row without a key', encodeRows([row(0, '')])],
    ['a key that is too long', encodeRows([row(0, 'x'.repeat(BACKEND_KEY_BYTES_MAX + 1))])],
    ['the same row twice', encodeRows([row(0, 'k'), row(0, 'k')])],
    ['rows out of order', encodeRows([row(1, 'a'), row(0, 'b')])],
    ["another member's mark", encodeRows([row(1, 'snapshotPending')])],
  ])('refuses %s, and everything after it', (_what, piece) => {
    const h = new Harness();
    const writer = h.machine.receive();
    expect(writer.write(encodeRows([row(0, 'first', ''), row(0, 'g', 'x')]))).toBeUndefined();
    for (const each of [piece, encodeRows([row(9, 'z')])]) {
      const refusal = writer.write(each);
      expect(refusal).toBeInstanceOf(RosterError);
      expect(refusal!.status).toBe(GrpcStatus.DATA_LOSS);
    }
    writer.discard();
    expect(() => writer.discard()).toThrow(AssertionError);
    const again = h.machine.receive();
    expect(again.write(encodeRows([row(0, 'x'.repeat(BACKEND_KEY_BYTES_MAX))]))).toBeUndefined();
    expect(() => h.machine.receive()).toThrow('one state is received at a time');
  });

  it('refuses rows out of order across pieces', () => {
    const writer = new Harness().machine.receive();
    expect(writer.write(encodeRows([row(0, 'b')]))).toBeUndefined();
    expect(writer.write(encodeRows([row(0, 'a')]))?.message).toContain('out of order');
  });

  it('is congested from four commits on that wait for the disk', () => {
    const h = new Harness({ stagedCommitBytes: 100 });
    const writer = h.machine.receive();
    for (let i = 0; i < 4; i++) {
      expect(writer.congested).toBe(false);
      expect(writer.write(encodeRows([row(0, `k${i}`, 'v'.repeat(100))]))).toBeUndefined();
    }
    expect(writer.congested).toBe(true);
    h.tasks.shift()!();
    expect(writer.congested).toBe(false);
  });

  it('tells that the disk failed, and that there is no room for a state', () => {
    const clock = new ManualClock();
    const disk = new MemoryBackend(() => {});
    const staged = new MemoryBackend(() => {});
    staged.commit = (done) => done(new Error('no space'));
    let discarded = 0;
    const staging = { begin: () => staged, adopt: () => {}, discard: () => discarded++, retire: () => {} };
    const machine = createStateMachine({ backend: disk, staging, clock, limits: { stagedCommitBytes: 1 } });
    const writer = machine.receive();
    expect(writer.write(encodeRows([row(0, 'a')]))?.message).toBe('a snapshot cannot be stored: no space');
    expect(writer.congested).toBe(false);
    writer.discard();
    expect(discarded).toBe(1);
    staging.begin = () => {
      throw new RosterError('NoSpace', GrpcStatus.RESOURCE_EXHAUSTED, 'full');
    };
    const refusing = machine.receive();
    expect(refusing.write(encodeRows([row(0, 'a')]))?.message).toBe('full');
    refusing.discard();
  });

  it('is for machines that were told where to put a state', () => {
    const machine = createStateMachine({ backend: new MemoryBackend(() => {}), clock: new ManualClock() });
    expect(() => machine.receive()).toThrow(AssertionError);
  });
});

describe('an installation', () => {
  function install(
    h: Harness,
    from: Harness,
    change: (point: { index: number; term: number; conf: ConfState }) => object,
  ) {
    const { writer, point } = from.sendTo(h);
    const results: (Error | undefined)[] = [];
    h.machine.install(writer, { ...point, ...change(point) }, (error) => results.push(error));
    return results;
  }

  it.each<[string, (point: { index: number; term: number; conf: ConfState }) => object]>([
    ['index', ({ index }) => ({ index: index + 1 })],
    ['term', ({ term }) => ({ term: term + 1 })],
    ['configuration', ({ conf }) => ({ conf: { ...conf, voters: [5n, 99n] } })],
  ])('refuses a state of another %s, and the one in force goes on', (_what, change) => {
    const target = new Harness();
    target.put('old');
    const results = install(target, full(), change);
    target.settle();
    expect(results.length).toBe(1);
    expect((results[0] as RosterError).status).toBe(GrpcStatus.DATA_LOSS);
    expect(Object.keys(target.dump())).toEqual(['old']);
    target.installFrom(full());
    expect(Object.keys(target.dump())).toEqual(['a', 'b']);
  });

  it('refuses half a state', () => {
    const source = full();
    const target = new Harness();
    const reader = source.machine.read();
    const writer = target.machine.receive();
    expect(writer.write(reader.read('', 60).rows)).toBeUndefined();
    let result: Error | undefined;
    target.machine.install(writer, reader.point, (error) => {
      result = error;
    });
    target.settle();
    expect((result as RosterError).status).toBe(GrpcStatus.DATA_LOSS);
  });

  it('takes the announced configuration for a state from before it was kept', () => {
    const source = new Harness();
    source.put('a');
    source.commit();
    const target = new Harness();
    const results = install(target, source, () => ({ conf: { ...defaults(ConfState), voters: [1n, 2n] } }));
    target.settle();
    expect(results).toEqual([undefined]);
    expect(target.machine.confState.voters).toEqual([1n, 2n]);
    expect(target.reopened().machine.confState.voters).toEqual([1n, 2n]);
  });

  it('happens whole or not at all, wherever it is cut off; the state in force can be read all the while', () => {
    const source = full();
    for (let i = 0; i < 1100; i++) source.put(`k${i}`, 'v');
    source.commit();
    let steps = 0;
    for (let cut = 0; cut <= steps; cut++) {
      const target = new Harness();
      target.put('old', '1');
      target.commit();
      const results = install(target, source, () => ({}));
      let taken = 0;
      for (; taken < cut && results.length === 0; taken++) {
        const task = target.tasks.shift();
        if (task === undefined) target.machine.work();
        else task();
        expect(target.machine.store.keyCount).toBe(results.length === 0 ? 1 : 1102);
        expect(success(target.get(results.length === 0 ? 'old' : 'k7')).count).toBe(1);
      }
      const revived = target.reopened();
      const done = results.length > 0;
      if (done) {
        expect(results).toEqual([undefined]);
        expect(revived.machine.snapshotMark).toEqual({ index: source.machine.appliedIndex, term: 1 });
        expect(rowsOf(revived.backend)).toEqual(rowsOf(source.backend));
      } else {
        steps++;
        expect(revived.machine.snapshotMark).toBeUndefined();
        expect(revived.dump()).toEqual({ old: '1' });
      }
    }
    expect(steps).toBeGreaterThan(5);
  });

  it('leaves the old state to those who still read it out', () => {
    const target = new Harness();
    target.put('old', '1');
    target.commit();
    const old = target.backend;
    const readers = [target.machine.read(), target.machine.read()];
    const rows = rowsOf(old);
    target.installFrom(full());
    for (const reader of readers) {
      expect(reader.point.index).toBe(1);
      expect(reader.read('', 1000).rows.length).toBeGreaterThan(0);
      expect(rowsOf(old)).toEqual(rows);
      reader.close();
    }
    expect(() => old.get('meta', 'term')).toThrow('the backend is closed');
    const later = target.machine.read();
    expect(later.point.index).toBe(target.machine.appliedIndex);
    later.close();
    target.put('still open');
  });

  it('may come again and again', () => {
    const source = full();
    const target = new Harness();
    for (let round = 0; round < 3; round++) {
      source.put('round', String(round));
      source.commit();
      target.installFrom(source);
      target.machine.installed();
      expect(seen(target)).toEqual(seen(source));
    }
    expect(() => target.machine.installed()).toThrow(AssertionError);
    target.commit();
    expect(target.reopened().machine.snapshotMark).toBeUndefined();
  });

  it('goes on with a compaction that the sender had not finished, and answers who waits for one', () => {
    const source = full();
    for (let i = 0; i < 600; i++) source.put('many', String(i));
    source.compact(source.machine.store.revision);
    source.commit();
    const target = new Harness();
    target.put('a');
    target.put('a');
    target.compact(2);
    let answered = 0;
    target.machine.whenCompacted(2, () => answered++);
    target.installFrom(source);
    target.settle();
    source.settle();
    source.commit();
    target.commit();
    expect(answered).toBe(1);
    expect(rowsOf(target.backend)).toEqual(rowsOf(source.backend));
  });

  it('refuses what was damaged on the way, or takes it; never anything else', () => {
    const outcomes = { refused: 0, failed: 0, installed: 0 };
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (place, flip) => {
        const source = full();
        const reader = source.machine.read();
        const { rows } = reader.read('', Number.POSITIVE_INFINITY);
        const damaged = Uint8Array.from(rows);
        damaged[place % rows.length]! ^= flip;
        const target = new Harness();
        const writer = target.machine.receive();
        const refusal = writer.write(damaged);
        if (refusal !== undefined) {
          expect(refusal.status).toBe(GrpcStatus.DATA_LOSS);
          outcomes.refused++;
          return;
        }
        const results: (Error | undefined)[] = [];
        target.machine.install(writer, reader.point, (error) => results.push(error));
        target.settle();
        expect(results.length).toBe(1);
        if (results[0] === undefined) outcomes.installed++;
        else {
          expect((results[0] as RosterError).status).toBe(GrpcStatus.DATA_LOSS);
          outcomes.failed++;
        }
      }),
      { numRuns: 3000 },
    );
    expect(Math.min(outcomes.refused, outcomes.failed, outcomes.installed)).toBeGreaterThan(100);
  });

  it('makes nothing of leases that are counted elsewhere', () => {
    const source = new Harness();
    source.grant(1n, 60n);
    source.put('a', '', { lease: 1n });
    source.machine.setLeader(true);
    source.commit();
    const target = new Harness();
    target.installFrom(source);
    target.clock.ms += 1_000_000;
    expect(target.machine.expiredLeases(10)).toEqual([]);
    expect(success(target.get('a')).kvs[0]!.lease).toBe(1n);
    target.machine.setLeader(true);
    target.clock.ms += 62_000;
    expect(target.machine.expiredLeases(10)).toEqual([1n]);
  });
});
