import { describe, expect, it } from 'vitest';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { Rig } from './rig.ts';

const path = (method: string) => `/etcdserverpb.Maintenance/${method}`;
const put = (r: Rig, key: string) => r.ok('/etcdserverpb.KV/Put', { key, value: Buffer.from('v') });

describe('MoveLeader', () => {
  it('can only be asked of the leader', () => {
    const r = new Rig({ voters: [1n, 2n] });
    expect(r.code(path('MoveLeader'), { targetID: 2n })).toBe('NotLeader');
    r.heartbeatFrom(2n);
    expect(r.code(path('MoveLeader'), { targetID: 1n })).toBe('NotLeader');
  });

  it('needs a voter; the leader itself leads already', () => {
    const r = new Rig({ learners: [3n] });
    expect(r.code(path('MoveLeader'), { targetID: 9n })).toBe('BadLeaderTransferee');
    expect(r.code(path('MoveLeader'), { targetID: 3n })).toBe('BadLeaderTransferee');
    expect(r.ok(path('MoveLeader'), { targetID: 1n })).toEqual({});
  });
});

describe('Hash and HashKV', () => {
  it('tell of this member, in the background', () => {
    const r = new Rig();
    const empty = r.ok<m.HashResponse>(path('Hash')).hash;
    for (let i = 0; i < 300; i++) put(r, `k${i % 7}`);
    const hash = r.ok<m.HashResponse>(path('Hash'));
    expect(hash.hash).not.toBe(empty);
    expect(hash.header).toMatchObject({ cluster_id: 77n, member_id: 1n, revision: 301 });
    const now = r.ok<m.HashKVResponse>(path('HashKV'));
    expect(now).toMatchObject({ compact_revision: -1, hash_revision: 301, header: { revision: 301 } });
    expect(r.ok(path('HashKV'), { revision: 301 })).toEqual(now);
    r.ok('/etcdserverpb.KV/Compact', { revision: 200 });
    expect(r.ok(path('HashKV'), { revision: 300 })).toMatchObject({ compact_revision: 200, hash_revision: 300 });
    expect(r.code(path('HashKV'), { revision: 199 })).toBe('Compacted');
    expect(r.code(path('HashKV'), { revision: 302 })).toBe('FutureRev');
  });
});

describe('Status', () => {
  it('tells whether there is a leader, and that this is no learner', () => {
    const r = new Rig();
    expect(r.ok<m.StatusResponse>(path('Status'))).toMatchObject({ leader: 1n, errors: [], isLearner: false });
  });
});

describe('Lease', () => {
  const lease = (method: string) => `/etcdserverpb.Lease/${method}`;

  it('keeps alive in order, with 0 for what is gone', () => {
    const r = new Rig();
    r.ok(lease('LeaseGrant'), { ID: 5n, TTL: 10n });
    const stream = r.open(lease('LeaseKeepAlive'));
    for (const ID of [5n, 6n, 5n]) stream.handler.message({ ...defaults(m.LeaseKeepAliveRequest), ID });
    stream.handler.halfClose();
    r.settle();
    const seen = (stream.sent as m.LeaseKeepAliveResponse[]).map(({ ID, TTL, header }) => [ID, TTL, header?.revision]);
    expect(seen).toEqual([
      [5n, 10, 1],
      [6n, 0, 1],
      [5n, 10, 1],
    ]);
    expect(stream.ended).toBe('ok');
  });

  it('tells the time that is left, and -1 of what is gone', () => {
    const r = new Rig();
    r.ok(lease('LeaseGrant'), { ID: 5n, TTL: 10n });
    r.ok('/etcdserverpb.KV/Put', { key: 'k', lease: 5n });
    r.ms += 3_500;
    expect(r.ok(lease('LeaseTimeToLive'), { ID: 5n, keys: true })).toEqual({
      header: { cluster_id: 77n, member_id: 1n, revision: 2, raft_term: r.node.term },
      ID: 5n,
      TTL: 6,
      grantedTTL: 10,
      keys: ['k'],
    });
    expect(r.ok(lease('LeaseTimeToLive'), { ID: 6n })).toMatchObject({ ID: 6n, TTL: -1, grantedTTL: 0, keys: [] });
  });
});

describe('Defragment', () => {
  it('answers at once, without a header, as etcd does', () => {
    const r = new Rig();
    put(r, 'k');
    expect(r.ok(path('Defragment'))).toEqual({});
  });
});

describe('Downgrade', () => {
  const { VALIDATE, ENABLE, CANCEL } = m.DowngradeAction.values;
  const downgrade = (r: Rig, action: number, version = '') => r.code(path('Downgrade'), { action, version });
  const decided = () => {
    const r = new Rig();
    r.node.propose({ cluster_version: { version: '3.7.0' } }, () => {});
    r.settle();
    return r;
  };

  it('is possible by one minor version', () => {
    const r = decided();
    for (const version of ['3.6', '3.6.0', '3.6.17']) expect(downgrade(r, VALIDATE, version)).toBe('ok');
    for (const version of ['3.5', '3.7', '3.8', '2.6']) {
      expect(downgrade(r, VALIDATE, version)).toBe('InvalidDowngradeTargetVersion');
      expect(downgrade(r, ENABLE, version)).toBe('InvalidDowngradeTargetVersion');
    }
    for (const version of ['', '3', 'v3.6', '3.6.x', '3.6.0.0']) {
      expect(downgrade(r, VALIDATE, version)).toBe('WrongDowngradeVersionFormat');
    }
    expect(r.ok(path('Downgrade'), { action: VALIDATE, version: '3.6' })).toMatchObject({
      version: '3.7',
      header: { cluster_id: 77n, revision: 1 },
    });
    expect(downgrade(new Rig(), VALIDATE, '3.6')).toBe('ClusterVersionUnavailable');
    expect(downgrade(r, 9, '3.6')).toBe('Other');
  });

  it('is under way until it is cancelled, and Status says so', () => {
    const r = decided();
    const info = () => r.ok<m.StatusResponse>(path('Status')).downgradeInfo;
    expect(info()).toEqual({ enabled: false, targetVersion: '' });
    expect(r.ok(path('Downgrade'), { action: ENABLE, version: '3.6' })).toMatchObject({ version: '3.7' });
    expect(info()).toEqual({ enabled: true, targetVersion: '3.6.0' });
    expect(downgrade(r, VALIDATE, '3.6')).toBe('DowngradeInProcess');
    expect(downgrade(r, ENABLE, '3.6')).toBe('DowngradeInProcess');
    expect(downgrade(r, CANCEL)).toBe('ok');
    expect(info()).toEqual({ enabled: false, targetVersion: '' });
    expect(r.ok(path('Downgrade'), { action: CANCEL })).toMatchObject({ version: '3.7' });
  });
});
