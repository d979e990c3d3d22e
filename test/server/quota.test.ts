import pino from 'pino';
import { describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { DEFAULT_QUOTA_BYTES, Quota } from '../../server/quota.ts';
import { kvMethods } from '../../server/rpc/kv.ts';
import { withinQuota } from '../../server/rpc/quota.ts';
import type { CallContext } from '../../server/rpc/service.ts';
import { Rig } from '../rpc/rig.ts';

const { NOSPACE } = m.AlarmType.values;
const KV = '/etcdserverpb.KV';

function limited(r: Rig, bytesMax: number, manualDisarm = false) {
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  const { machine, node } = r.context;
  const quota = new Quota({ bytesMax, manualDisarm, memberId: 1n, machine, node, log });
  const look = () => {
    quota.look();
    r.settle();
  };
  return { quota, look, lines, alarms: () => machine.alarms.list() };
}

const fill = (r: Rig, pairs: number) => {
  for (let i = 0; i < pairs; i++) r.ok(`${KV}/Put`, { key: `k${i}`, value: Buffer.alloc(1000) });
};
const empty = (r: Rig) => {
  r.ok(`${KV}/DeleteRange`, { key: 'k', range_end: 'l' });
  r.ok(`${KV}/Compact`, { revision: r.context.machine.store.revision });
};

describe('the quota', () => {
  it('raises NOSPACE when it is reached, and ends it when there is room again', () => {
    const r = new Rig();
    const { look, alarms, lines } = limited(r, 20_000);
    look();
    fill(r, 15);
    look();
    expect(alarms()).toEqual([]);
    fill(r, 25);
    look();
    expect(alarms()).toEqual([{ memberID: 1n, alarm: NOSPACE }]);
    expect(r.code(`${KV}/Put`, { key: 'x' })).toBe('NoSpace');
    look();
    expect(r.ok<m.StatusResponse>('/etcdserverpb.Maintenance/Status').errors).toEqual(['memberID:1 alarm:NOSPACE']);
    empty(r);
    look();
    expect(alarms()).toEqual([]);
    expect(r.code(`${KV}/Put`, { key: 'x' })).toBe('ok');
    const text = lines.join('');
    for (const said of ['NOSPACE: the quota is used up', 'alarm is cleared']) expect(text).toContain(said);
  });

  it('does not let the alarm come and go at the border', () => {
    const r = new Rig();
    const { look, alarms } = limited(r, 20_000);
    fill(r, 20);
    look();
    expect(alarms()).toHaveLength(1);
    r.ok(`${KV}/DeleteRange`, { key: 'k0' });
    r.ok(`${KV}/Compact`, { revision: r.context.machine.store.revision });
    expect(r.context.machine.usedBytes).toBeLessThan(20_000);
    look();
    expect(alarms()).toHaveLength(1);
  });

  it('leaves the alarm to the operator when asked, as etcd does', () => {
    const r = new Rig();
    const { look, alarms } = limited(r, 20_000, true);
    fill(r, 25);
    look();
    empty(r);
    look();
    expect(alarms()).toHaveLength(1);
    const disarm = { action: m.AlarmAction.values.DEACTIVATE, memberID: 1n, alarm: NOSPACE };
    expect(r.ok<m.AlarmResponse>('/etcdserverpb.Maintenance/Alarm', disarm).alarms).toHaveLength(1);
    look();
    expect(alarms()).toEqual([]);
  });

  it('never clears what somebody else has raised', () => {
    const r = new Rig();
    const { look, alarms } = limited(r, 20_000);
    const activate = { action: m.AlarmAction.values.ACTIVATE, memberID: 1n, alarm: NOSPACE };
    r.ok('/etcdserverpb.Maintenance/Alarm', activate);
    look();
    expect(alarms()).toHaveLength(1);
    const list = { action: m.AlarmAction.values.GET };
    expect(r.ok<m.AlarmResponse>('/etcdserverpb.Maintenance/Alarm', list)).toEqual({
      header: { cluster_id: 77n, member_id: 1n, revision: 1, raft_term: r.node.term },
      alarms: [{ memberID: 1n, alarm: NOSPACE }],
    });
    expect(r.ok<m.AlarmResponse>('/etcdserverpb.Maintenance/Alarm', { ...list, alarm: 2 }).alarms).toEqual([]);
  });

  it('is 2 GiB by default, and none below 0', () => {
    const r = new Rig();
    expect(limited(r, 0).quota.bytesMax).toBe(DEFAULT_QUOTA_BYTES);
    const none = limited(r, -1);
    expect(none.quota.fits(Number.MAX_SAFE_INTEGER)).toBe(true);
    expect(none.quota.usedPart).toBe(0);
  });

  it('warns once at 80 % and once at 90 %', () => {
    const r = new Rig();
    const { look, lines } = limited(r, 20_000);
    for (let i = 0; i < 18; i++) {
      r.ok(`${KV}/Put`, { key: `k${i}`, value: Buffer.alloc(1000) });
      look();
    }
    const said = lines.map((line) => JSON.parse(line).msg as string).filter((msg) => msg.includes('quota is in use'));
    expect(said).toHaveLength(2);
  });
});

describe('at the door', () => {
  const call: CallContext = { metadata: () => undefined, remote: '', cancelled: false, onCancel: () => {} };

  it('what does not fit is refused, and the alarm is raised by then; what adds nothing goes through', () => {
    const r = new Rig();
    const { quota, alarms } = limited(r, 20_000);
    const context = { ...r.context, quota };
    const methods = new Map(withinQuota(context, kvMethods(context)).map((method) => [method.path, method]));
    const run = (name: string, request: object): string => {
      const method = methods.get(`${KV}/${name}`)!;
      if (method.kind !== 'unary') throw new Error('a stream');
      let result: object | undefined;
      method.handle(call, { ...defaults(method.request), ...request }, (answer: object) => {
        result = answer;
      });
      r.settle();
      return result instanceof RosterError ? result.code : result === undefined ? 'waits' : 'ok';
    };
    fill(r, 18);
    const { usedBytes } = r.context.machine;
    const room = 20_000 - usedBytes - 256 - 1;
    expect(run('Put', { key: 'x', value: Buffer.alloc(room) })).toBe('NoSpace');
    expect(alarms()).toEqual([{ memberID: 1n, alarm: NOSPACE }]);
    const puts = { success: [{ request_put: { ...defaults(m.PutRequest), key: 'x', value: Buffer.alloc(3000) } }] };
    expect(run('Txn', puts)).toBe('NoSpace');
    expect(run('Txn', { success: [{ request_delete_range: { ...defaults(m.DeleteRangeRequest), key: 'k1' } }] })).toBe(
      'ok',
    );
    expect(run('DeleteRange', { key: 'k2' })).toBe('ok');
    expect(run('Range', { key: 'k2' })).toBe('ok');
    empty(r);
    quota.look();
    r.settle();
    expect(run('Put', { key: 'x', value: Buffer.alloc(room) })).toBe('ok');
  });
});
