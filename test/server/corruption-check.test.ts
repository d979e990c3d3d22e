import pino from 'pino';
import { describe, expect, it } from 'vitest';
import * as m from '../../core/wire/messages.ts';
import {
  type CorruptionWorld,
  checkBeforeStart,
  compareMembers,
  judge,
  type MemberHash,
} from '../../server/corruption-check.ts';
import { Rig } from '../rpc/rig.ts';

const hash = (value: number, more: Partial<MemberHash> = {}): MemberHash => ({
  hash: value,
  revision: 9,
  compactRevision: -1,
  currentRevision: 9,
  ...more,
});
const judged = (...hashes: MemberHash[]) => judge(new Map(hashes.map((one, i) => [BigInt(i + 1), one])), 10);

describe('who differs', () => {
  it('is who disagrees with the majority', () => {
    expect(judged(hash(1), hash(1), hash(1))).toEqual([]);
    expect(judged(hash(1), hash(2), hash(1))).toEqual([2n]);
    expect(judged(hash(2), hash(1), hash(1))).toEqual([1n]);
    expect(judged(hash(1), hash(1), hash(1), hash(2), hash(3)).sort()).toEqual([4n, 5n]);
  });

  it('is nobody in particular without a majority', () => {
    expect(judged(hash(1), hash(2))).toEqual([0n]);
    expect(judged(hash(1), hash(2), hash(3))).toEqual([0n]);
    expect(judged(hash(1), hash(1), hash(2), hash(2))).toEqual([0n]);
  });

  it('is compared only by the same revision and the same compaction', () => {
    expect(judged(hash(1), hash(2, { compactRevision: 3 }))).toEqual([]);
    expect(judged(hash(1), hash(2, { revision: 8 }))).toEqual([]);
    expect(judged(hash(1), hash(1), hash(1, { currentRevision: 11 }))).toEqual([3n]);
  });
});

/** A member with some keys, among others that answer with these hashes. */
function world(others: (own: number) => number[]) {
  const ids = [1n];
  const r = new Rig({ voters: [1n], learners: [2n, 3n, 4n] });
  for (let i = 0; i < 20; i++) r.ok('/etcdserverpb.KV/Put', { key: `k${i}` });
  const { hash: own } = r.ok<m.HashKVResponse>('/etcdserverpb.Maintenance/HashKV');
  const answers = others(own);
  const asked: number[] = [];
  const corruption: CorruptionWorld = {
    selfId: ids[0]!,
    node: r.node,
    machine: r.context.machine,
    askHash: (url, revision) => {
      asked.push(revision);
      const answer = answers[Number(/m(\d)/.exec(url)![1]) - 2];
      return answer === undefined
        ? Promise.reject(new Error('silent'))
        : Promise.resolve(hash(answer, { revision, currentRevision: revision }));
    },
    log: pino({ level: 'silent' }),
  };
  /** Runs to its end while the member works. */
  const run = async <T>(work: Promise<T>): Promise<T> => {
    let over = false;
    const watched = work.finally(() => {
      over = true;
    });
    watched.catch(() => {});
    while (!over) await r.rest();
    return watched;
  };
  return { r, corruption, asked, run };
}

describe('the leader', () => {
  it('raises CORRUPT for who differs, once', async () => {
    const { r, corruption, asked, run } = world((own) => [own, own ^ 1, own]);
    expect(await run(compareMembers(corruption))).toEqual([3n]);
    expect(asked).toEqual([21, 21, 21]);
    expect(r.context.machine.alarms.list()).toEqual([{ memberID: 3n, alarm: m.AlarmType.values.CORRUPT }]);
    expect(r.code('/etcdserverpb.KV/Put', { key: 'x' })).toBe('Corrupt');
    await run(compareMembers(corruption));
    expect(r.context.machine.alarms.list()).toHaveLength(1);
  });

  it('says nothing of members that do not answer', async () => {
    const { r, corruption, run } = world(() => []);
    expect(await run(compareMembers(corruption))).toEqual([]);
    expect(r.context.machine.alarms.list()).toEqual([]);
  });
});

describe('before a start', () => {
  it('who differs from most of the others is refused', async () => {
    const start = (others: (own: number) => number[]) => {
      const { corruption, run } = world(others);
      return run(checkBeforeStart(corruption));
    };
    await expect(start((own) => [own, own])).resolves.toBeUndefined();
    await expect(start(() => [])).resolves.toBeUndefined();
    await expect(start((own) => [own, own, own ^ 1])).resolves.toBeUndefined();
    await expect(start((own) => [own ^ 1, own ^ 1, own])).rejects.toThrow('found data inconsistency with peers');
  });
});
