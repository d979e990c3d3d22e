import { describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { codeOf, compare, del, get, Harness, put, txnRequest } from './harness.ts';

const { GET, ACTIVATE, DEACTIVATE } = m.AlarmAction.values;
const { NONE, NOSPACE, CORRUPT } = m.AlarmType.values;

function alarm(h: Harness, action: number, memberID: bigint, type: number, automatic = false): m.AlarmMember[] {
  const response = h.apply({ alarm: { action, memberID, alarm: type, automatic } });
  if (response instanceof RosterError) throw response;
  return (response as m.AlarmResponse).alarms;
}

describe('alarms', () => {
  it('are raised and cleared once, and listed by member', () => {
    const h = new Harness();
    expect(alarm(h, ACTIVATE, 9n, NOSPACE)).toEqual([{ memberID: 9n, alarm: NOSPACE }]);
    expect(alarm(h, ACTIVATE, 9n, NOSPACE)).toEqual([{ memberID: 9n, alarm: NOSPACE }]);
    expect(alarm(h, ACTIVATE, 2n ** 64n - 1n, CORRUPT)).toHaveLength(1);
    expect(alarm(h, ACTIVATE, 1n, CORRUPT)).toHaveLength(1);
    expect(alarm(h, ACTIVATE, 1n, NONE)).toEqual([]);
    expect(alarm(h, GET, 0n, NONE)).toEqual([]);
    const { alarms } = h.machine;
    expect(alarms.list().map(({ memberID, alarm: type }) => [memberID, type])).toEqual([
      [1n, CORRUPT],
      [9n, NOSPACE],
      [2n ** 64n - 1n, CORRUPT],
    ]);
    expect(alarms.list(NOSPACE)).toEqual([{ memberID: 9n, alarm: NOSPACE }]);
    expect(alarm(h, DEACTIVATE, 9n, CORRUPT)).toEqual([]);
    expect(alarm(h, DEACTIVATE, 9n, NOSPACE)).toEqual([{ memberID: 9n, alarm: NOSPACE }]);
    expect(alarm(h, DEACTIVATE, 9n, NOSPACE)).toEqual([]);
    expect(alarms.list(NOSPACE)).toEqual([]);
  });

  it('survive a restart and travel with a snapshot', () => {
    const h = new Harness();
    alarm(h, ACTIVATE, 9n, NOSPACE, true);
    alarm(h, ACTIVATE, 7n, NOSPACE);
    h.commit();
    const expected = h.machine.alarms.list();
    const next = h.reopened();
    expect(next.machine.alarms.list()).toEqual(expected);
    expect([next.machine.alarms.of(9n, NOSPACE), next.machine.alarms.of(7n, NOSPACE)]).toMatchObject([
      { automatic: true },
      { automatic: false },
    ]);
    expect(codeOf(next.put('k', 'v'))).toBe('NoSpace');
    const other = new Harness();
    other.installFrom(h);
    expect(other.machine.alarms.list()).toEqual(expected);
    expect(codeOf(other.put('k', 'v'))).toBe('NoSpace');
  });

  it('that a member raises itself it may clear itself, but none that somebody else has raised', () => {
    const h = new Harness();
    alarm(h, ACTIVATE, 9n, NOSPACE, true);
    expect(alarm(h, DEACTIVATE, 9n, NOSPACE, true)).toHaveLength(1);
    alarm(h, ACTIVATE, 9n, NOSPACE);
    alarm(h, ACTIVATE, 9n, NOSPACE, true);
    expect(alarm(h, DEACTIVATE, 9n, NOSPACE, true)).toEqual([]);
    expect(alarm(h, DEACTIVATE, 9n, NOSPACE)).toHaveLength(1);
    alarm(h, ACTIVATE, 9n, NOSPACE, true);
    alarm(h, ACTIVATE, 9n, NOSPACE);
    expect(alarm(h, DEACTIVATE, 9n, NOSPACE, true)).toEqual([]);
  });

  it('NOSPACE refuses what makes the store larger, and nothing that makes it smaller', () => {
    const h = new Harness();
    h.grant(5n);
    h.put('k', 'v', { lease: 5n });
    h.put('l', 'v');
    alarm(h, ACTIVATE, 1n, NOSPACE);
    expect(codeOf(h.put('k', 'w'))).toBe('NoSpace');
    expect(codeOf(h.grant(6n))).toBe('NoSpace');
    expect(codeOf(h.txn({ success: [del('l')], failure: [put('x')] }))).toBe('NoSpace');
    expect(codeOf(h.txn({ success: [{ request_txn: txnRequest({ failure: [put('x')] }) }] }))).toBe('NoSpace');
    expect(codeOf(h.txn({ success: [get('k')], failure: [del('k')], compare: [compare({ key: 'k' })] }))).toBe('ok');
    expect(codeOf(h.get('l'))).toBe('ok');
    expect(h.del('l').deleted).toBe(1);
    expect(codeOf(h.compact(2))).toBe('ok');
    expect(codeOf(h.revoke(5n))).toBe('ok');
    alarm(h, DEACTIVATE, 1n, NOSPACE);
    expect(codeOf(h.put('k', 'w'))).toBe('ok');
  });

  it('CORRUPT refuses whatever changes keys or leases', () => {
    const h = new Harness();
    h.grant(5n);
    h.put('k', 'v', { lease: 5n });
    alarm(h, ACTIVATE, 1n, CORRUPT);
    alarm(h, ACTIVATE, 1n, NOSPACE);
    const refused = [
      h.put('k', 'w'),
      h.del('k'),
      h.txn({ success: [del('k')] }),
      h.compact(2),
      h.grant(6n),
      h.revoke(5n),
    ];
    expect(refused.map(codeOf)).toEqual(Array(6).fill('Corrupt'));
    expect(codeOf(h.get('k'))).toBe('ok');
    expect(h.dump()).toEqual({ k: 'v' });
    alarm(h, DEACTIVATE, 1n, CORRUPT);
    expect(codeOf(h.put('k', 'w'))).toBe('NoSpace');
  });

  it('of a damaged row refuse the start', () => {
    const h = new Harness();
    h.backend.put('alarm', 'too short', Buffer.from([8, 1, 16, 1]));
    h.commit();
    expect(() => h.reopened()).toThrow('an alarm is not one');
  });
});
