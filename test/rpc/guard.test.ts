import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { LEADERLESS_ELECTIONS_MAX } from '../../server/rpc/guard.ts';
import { Rig } from './rig.ts';

const RANGE = '/etcdserverpb.KV/Range';
const STATUS = '/etcdserverpb.Maintenance/Status';
const WATCH = '/etcdserverpb.Watch/Watch';
const ELECTION_MS = 1000;
const LED = { hasleader: 'true' };

describe('a learner', () => {
  const rig = () => new Rig({ id: 2n, voters: [1n], learners: [2n] });

  it('answers status and serializable reads', () => {
    const r = rig();
    expect(r.ok<m.StatusResponse>(STATUS)).toMatchObject({
      isLearner: true,
      leader: 0n,
      errors: ['etcdserver: no leader'],
    });
    expect(r.ok<m.RangeResponse>(RANGE, { key: 'a', serializable: true }).count).toBe(0);
  });

  it('and nothing else', () => {
    const r = rig();
    for (const { path, kind } of r.paths) {
      if (path === STATUS || path === '/etcdserverpb.Maintenance/Snapshot') continue;
      if (kind === 'unary') expect(r.code(path, { key: 'a' }), path).toBe('NotSupportedForLearner');
      else expect(r.open(path).ended, path).toBe('NotSupportedForLearner');
    }
    expect(r.paths.length).toBeGreaterThan(20);
  });

  it('hears nothing more of a stream it has refused', () => {
    const stream = rig().open(WATCH);
    stream.handler.message({ create_request: { ...defaults(m.WatchCreateRequest), key: 'a' } });
    stream.handler.halfClose();
    stream.handler.cancel();
    expect([stream.sent, stream.ended]).toEqual([[], 'NotSupportedForLearner']);
  });

  it('that is promoted answers like everyone', () => {
    const r = rig();
    const { machine } = r.context;
    expect(r.context.isLearner()).toBe(true);
    machine.membership.promote(2n);
    expect(r.context.isLearner()).toBe(false);
    expect(r.code('/etcdserverpb.Cluster/MemberList')).toBe('ok');
  });

  it('is not one who is no member yet', () => {
    expect(new Rig({ id: 9n, voters: [1n] }).context.isLearner()).toBe(false);
  });
});

describe('client-api-version', () => {
  const call = (version: string) => new Rig().code(RANGE, { key: 'a' }, { 'client-api-version': version });

  it('may be anything, and need not be there', () => {
    expect([call('3.7'), call('99.0'), call(''), call(Buffer.from('drei Ä').toString('latin1'))]).toEqual(
      Array(4).fill('ok'),
    );
  });

  it('but UTF-8 it must be', () => {
    expect(call('\xff')).toBe('InvalidClientAPIVersion');
    expect(new Rig().open(WATCH, { 'client-api-version': '3.7\xc3' }).ended).toBe('InvalidClientAPIVersion');
  });

  it('is looked at after the learner, before the leader', () => {
    const bad = { ...LED, 'client-api-version': '\xff' };
    expect(new Rig({ id: 2n, voters: [1n], learners: [2n] }).code(RANGE, { key: 'a' }, bad)).toBe(
      'NotSupportedForLearner',
    );
    expect(new Rig({ id: 1n, voters: [1n, 2n] }).code(RANGE, { key: 'a' }, bad)).toBe('InvalidClientAPIVersion');
  });
});

describe('hasleader', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const follower = () => {
    const r = new Rig({ id: 1n, voters: [1n, 2n] });
    r.heartbeatFrom(2n);
    return r;
  };
  const create = { create_request: { ...defaults(m.WatchCreateRequest), key: 'a' } };

  it('is refused without a leader, unary and stream, and only if it is demanded', () => {
    const r = new Rig({ id: 1n, voters: [1n, 2n] });
    const read = { key: 'a', serializable: true };
    expect(r.code(RANGE, read, LED)).toBe('NoLeader');
    expect(r.code(RANGE, read)).toBe('ok');
    expect(r.code(RANGE, read, { hasleader: 'false' })).toBe('ok');
    expect(r.open(WATCH, LED).ended).toBe('NoLeader');
    expect(r.open(WATCH).ended).toBeUndefined();
    r.heartbeatFrom(2n);
    expect(r.code(RANGE, read, LED)).toBe('ok');
    expect(r.open(WATCH, LED).ended).toBeUndefined();
    expect(vi.getTimerCount()).toBe(1);
  });

  it('ends open streams when there has been no leader for three election timeouts', () => {
    const r = follower();
    const led = r.open(WATCH, LED);
    const plain = r.open(WATCH);
    led.handler.message(create);
    plain.handler.message(create);
    vi.advanceTimersByTime(10 * ELECTION_MS);
    expect(led.ended).toBeUndefined();
    r.tick(30);
    expect(r.node.status().leader).toBe(0n);
    vi.advanceTimersByTime((LEADERLESS_ELECTIONS_MAX - 1) * ELECTION_MS);
    expect(led.ended).toBeUndefined();
    expect(r.context.machine.hub.counts).toMatchObject({ streams: 2, watchers: 2 });
    vi.advanceTimersByTime(ELECTION_MS);
    expect([led.ended, plain.ended]).toEqual(['NoLeader', undefined]);
    expect(r.context.machine.hub.counts).toMatchObject({ streams: 1, watchers: 1 });
    expect(vi.getTimerCount()).toBe(0);
    // What the transport may still have for it is ignored.
    led.handler.message(create);
    led.handler.halfClose();
    led.handler.cancel();
    expect(led.sent).toHaveLength(1);
  });

  it('starts counting anew when there is a leader again', () => {
    const r = follower();
    const led = r.open(WATCH, LED);
    r.tick(30);
    vi.advanceTimersByTime((LEADERLESS_ELECTIONS_MAX - 1) * ELECTION_MS);
    r.heartbeatFrom(2n, r.node.term);
    vi.advanceTimersByTime(ELECTION_MS);
    r.tick(30);
    vi.advanceTimersByTime((LEADERLESS_ELECTIONS_MAX - 1) * ELECTION_MS);
    expect(led.ended).toBeUndefined();
    vi.advanceTimersByTime(ELECTION_MS);
    expect(led.ended).toBe('NoLeader');
  });

  it('leaves the stream as it is otherwise: messages, drains, either end', () => {
    const r = follower();
    const one = r.open(WATCH, LED);
    one.handler.message(create);
    expect(one.sent).toMatchObject([{ created: true }]);
    expect(one.onDrain).toBeTypeOf('function');
    one.handler.cancel();
    expect(r.context.machine.hub.counts.streams).toBe(0);
    expect(one.ended).toBeUndefined();
    const two = r.open('/etcdserverpb.Lease/LeaseKeepAlive', LED);
    two.handler.halfClose();
    expect(two.ended).toBe('ok');
    expect(vi.getTimerCount()).toBe(0);
  });
});
