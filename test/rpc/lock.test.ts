import { describe, expect, it } from 'vitest';
import type { RosterError } from '../../core/errors.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { allMethods } from '../../server/rpc/methods.ts';
import type { UnaryMethod } from '../../server/rpc/service.ts';
import { Pending, Rig } from './rig.ts';

const LOCK = '/v3lockpb.Lock/Lock';
const UNLOCK = '/v3lockpb.Lock/Unlock';
const KV = '/etcdserverpb.KV';

function rig(...leases: bigint[]): Rig {
  const r = new Rig();
  for (const ID of leases) r.ok('/etcdserverpb.Lease/LeaseGrant', { ID, TTL: 60n });
  return r;
}

async function lock(r: Rig, lease: bigint, name = 'l'): Promise<Pending> {
  const pending = r.begin(LOCK, { name, lease });
  await r.rest();
  return pending;
}

const keys = (r: Rig) => r.ok<m.RangeResponse>(`${KV}/Range`, { key: '\0', range_end: '\0' }).kvs.map(({ key }) => key);
const revoke = (r: Rig, ID: bigint) => r.ok('/etcdserverpb.Lease/LeaseRevoke', { ID });
const watchers = (r: Rig) => r.context.machine.hub.counts;

async function unlock(r: Rig, key: string): Promise<Pending> {
  const pending = r.begin(UNLOCK, { key });
  await r.rest();
  return pending;
}

describe('Lock', () => {
  it('is held by one at a time, in the order of the calls', async () => {
    const r = rig(1n, 2n, 0xabcn);
    const first = await lock(r, 1n);
    expect(first.result).toMatchObject({ key: 'l/1', header: { revision: 2, member_id: 1n } });
    const second = await lock(r, 2n);
    const third = await lock(r, 0xabcn);
    expect([second.outcome, third.outcome]).toEqual(['waits', 'waits']);
    expect(keys(r)).toEqual(['l/1', 'l/2', 'l/abc']);
    expect((await unlock(r, 'l/1')).result).toMatchObject({ header: { revision: 5 } });
    expect([second.outcome, third.outcome]).toEqual(['ok', 'waits']);
    expect(second.result).toMatchObject({ key: 'l/2', header: { revision: 5 } });
    await unlock(r, 'l/2');
    expect(third.result).toMatchObject({ key: 'l/abc', header: { revision: 6 } });
    expect(watchers(r)).toMatchObject({ streams: 0, watchers: 0 });
  });

  it('is taken twice by the same lease without waiting, and names are apart', async () => {
    const r = rig(1n, 2n, -255n);
    await lock(r, 1n);
    expect((await lock(r, 1n)).result).toMatchObject({ key: 'l/1' });
    expect((await lock(r, 2n, 'another')).outcome).toBe('ok');
    expect((await lock(r, 2n, '')).result).toMatchObject({ key: '/2' });
    expect((await lock(r, -255n, 'm')).result).toMatchObject({ key: 'm/-ff' });
  });

  it('makes a lease for who brings none, and takes it back from who leaves', async () => {
    const r = rig();
    const first = await lock(r, 0n);
    const { key } = first.result as m.LockResponse;
    expect(key).toMatch(/^l\/[0-9a-f]+$/);
    const [lease] = r.context.machine.lessor.list();
    expect(r.context.machine.lessor.timeToLive(lease!)).toMatchObject({ ttlSeconds: 60 });
    const second = await lock(r, 0n);
    expect(r.context.machine.lessor.size).toBe(2);
    second.cancel();
    await r.rest();
    expect(r.context.machine.lessor.size).toBe(1);
    expect(keys(r)).toEqual([key]);
  });

  it('leaves the queue with its caller, whenever that goes', async () => {
    const r = rig(1n, 2n, 3n);
    await lock(r, 1n);
    const second = await lock(r, 2n);
    const third = await lock(r, 3n);
    second.cancel();
    await r.rest();
    expect(keys(r)).toEqual(['l/1', 'l/3']);
    expect(third.outcome).toBe('waits');
    const hasty = r.begin(LOCK, { name: 'l', lease: 2n });
    hasty.cancel();
    await r.rest();
    expect(keys(r)).toEqual(['l/1', 'l/3']);
    await unlock(r, 'l/1');
    expect(third.outcome).toBe('ok');
    expect(watchers(r)).toMatchObject({ streams: 0, watchers: 0 });
  });

  it('is never given to who has lost the lease while waiting', async () => {
    const r = rig(1n, 2n, 3n);
    await lock(r, 1n);
    const second = await lock(r, 2n);
    const third = await lock(r, 3n);
    // At once, and not only when the turn comes.
    revoke(r, 2n);
    await r.rest();
    expect(second.outcome).toBe('mutex: session is expired');
    expect((second.result as RosterError).status).toBe(2);
    expect(third.outcome).toBe('waits');
    // The holder and a waiter in the same instant.
    revoke(r, 3n);
    revoke(r, 1n);
    await r.rest();
    expect(third.outcome).toBe('mutex: session is expired');
    expect(keys(r)).toEqual([]);
  });

  it('is not given to a key that was made anew under the same lease', async () => {
    const r = rig(1n, 2n);
    await lock(r, 1n);
    const second = await lock(r, 2n);
    r.ok(`${KV}/DeleteRange`, { key: 'l/2' });
    r.ok(`${KV}/Put`, { key: 'l/2', lease: 2n });
    r.ok(`${KV}/DeleteRange`, { key: 'l/1' });
    await r.rest();
    expect(second.outcome).toBe('mutex: session is expired');
    // It is somebody else's.
    expect(keys(r)).toEqual(['l/2']);
  });

  it('waits on when history is compacted', async () => {
    const r = rig(1n, 2n);
    await lock(r, 1n);
    const second = await lock(r, 2n);
    for (let i = 0; i < 10; i++) r.ok(`${KV}/Put`, { key: 'x' });
    r.ok(`${KV}/Compact`, { revision: r.context.machine.store.revision });
    await r.rest();
    expect(second.outcome).toBe('waits');
    await unlock(r, 'l/1');
    expect(second.outcome).toBe('ok');
  });

  it('hands on what it meets as a plain error, as etcd does', async () => {
    const r = rig(1n);
    const unknownLease = await lock(r, 99n);
    expect([unknownLease.outcome, (unknownLease.result as RosterError).status]).toEqual([
      'etcdserver: requested lease not found',
      2,
    ]);
    expect((await unlock(r, '')).outcome).toBe('etcdserver: key is not provided');
    expect((await unlock(r, 'none')).outcome).toBe('ok');
    r.ok('/etcdserverpb.Maintenance/Alarm', { action: 1, memberID: 1n, alarm: m.AlarmType.values.NOSPACE });
    expect((await lock(r, 1n)).outcome).toBe('etcdserver: mvcc: database space exceeded');
  });

  it('is waited for by many', async () => {
    const leases = Array.from({ length: 40 }, (_, i) => BigInt(i + 1));
    const r = rig(...leases);
    const all: Pending[] = [];
    for (const lease of leases) all.push(r.begin(LOCK, { name: 'l', lease }));
    await r.rest();
    for (const [i, pending] of all.entries()) {
      expect(all.filter(({ outcome }) => outcome === 'ok')).toHaveLength(i + 1);
      await unlock(r, (pending.result as m.LockResponse).key);
    }
    expect(watchers(r)).toMatchObject({ streams: 0, watchers: 0 });
  });

  it('ends its waits when the server stops, and leaves nothing in the queue', async () => {
    const r = rig(1n, 2n);
    await lock(r, 1n);
    const stopping = new AbortController();
    const context = { ...r.context, stopping: stopping.signal };
    const method = allMethods(context).find(({ path }) => path === LOCK) as UnaryMethod;
    const waiting = Array.from({ length: 12 }, () => new Pending({}));
    for (const pending of waiting) {
      method.handle(pending, { name: 'l', lease: 2n }, (result) => pending.answered(result));
    }
    await r.rest();
    expect(new Set(waiting.map(({ outcome }) => outcome))).toEqual(new Set(['waits']));
    stopping.abort();
    await r.rest();
    expect(new Set(waiting.map(({ outcome }) => outcome))).toEqual(new Set(['etcdserver: server stopped']));
    expect(keys(r)).toEqual(['l/1']);
    expect(watchers(r)).toMatchObject({ streams: 0, watchers: 0 });
  });
});

describe('Election', () => {
  const E = (name: string) => `/v3electionpb.Election/${name}`;
  const campaign = async (r: Rig, lease: bigint, value: string, name = 'e') => {
    const pending = r.begin(E('Campaign'), { name, lease, value: Buffer.from(value) });
    await r.rest();
    return pending;
  };
  const call = async (r: Rig, name: string, request: object) => {
    const pending = r.begin(E(name), request);
    await r.rest();
    return pending;
  };
  const leaderOf = async (r: Rig) => {
    const { result } = await call(r, 'Leader', { name: 'e' });
    const kv = (result as m.LeaderResponse).kv;
    return kv === undefined ? (result as RosterError).message : `${kv.key}=${Buffer.from(kv.value).toString()}`;
  };

  it('has one leader, who proclaims, resigns and is followed by the next', async () => {
    const r = rig(1n, 2n);
    expect(await leaderOf(r)).toBe('election: no leader');
    const first = await campaign(r, 1n, 'one');
    expect(first.result).toMatchObject({
      header: { revision: 2 },
      leader: { name: 'e', key: 'e/1', rev: 2, lease: 1n },
    });
    const second = await campaign(r, 2n, 'two');
    expect(second.outcome).toBe('waits');
    expect(await leaderOf(r)).toBe('e/1=one');
    const { leader } = first.result as m.CampaignResponse;
    expect((await call(r, 'Proclaim', { leader, value: Buffer.from('uno') })).result).toMatchObject({
      header: { revision: 4 },
    });
    expect(await leaderOf(r)).toBe('e/1=uno');
    expect((await call(r, 'Resign', { leader })).outcome).toBe('ok');
    expect(second.outcome).toBe('ok');
    expect(await leaderOf(r)).toBe('e/2=two');
    expect((await call(r, 'Proclaim', { leader, value: Buffer.from('x') })).outcome).toBe('election: not leader');
    expect((await call(r, 'Resign', { leader })).outcome).toBe('ok');
    for (const name of ['Proclaim', 'Resign']) {
      const { result } = await call(r, name, {});
      expect(result).toMatchObject({ message: '"leader" field must be provided', status: 2 });
    }
  });

  it('a second campaign of the same lease proclaims another value', async () => {
    const r = rig(1n);
    await campaign(r, 1n, 'one');
    const again = await campaign(r, 1n, 'uno');
    expect(again.result).toMatchObject({ header: { revision: 2 }, leader: { rev: 2 } });
    expect(await leaderOf(r)).toBe('e/1=uno');
    const unknown = await campaign(r, 99n, 'x');
    expect(unknown.outcome).toBe('etcdserver: requested lease not found');
  });

  it('does not elect who has lost the lease, nor keep who has gone', async () => {
    const r = rig(1n, 2n, 3n);
    await campaign(r, 1n, 'one');
    const second = await campaign(r, 2n, 'two');
    const third = await campaign(r, 3n, 'three');
    revoke(r, 2n);
    await r.rest();
    expect(second.outcome).toBe('election: not leader');
    third.cancel();
    await r.rest();
    expect(keys(r)).toEqual(['e/1']);
  });

  it('is observed: who leads, what they proclaim, who comes next', async () => {
    const r = rig(1n, 2n);
    const stream = r.open(E('Observe'));
    stream.handler.message({ ...defaults(m.LeaderRequest), name: 'e' });
    await r.rest();
    expect(stream.sent).toEqual([]);
    const first = await campaign(r, 1n, 'one');
    await campaign(r, 2n, 'two');
    const { leader } = first.result as m.CampaignResponse;
    await call(r, 'Proclaim', { leader, value: Buffer.from('uno') });
    await call(r, 'Proclaim', { leader, value: Buffer.from('eins') });
    await call(r, 'Resign', { leader });
    const seen = (stream.sent as m.LeaderResponse[]).map(({ kv, header }) => [
      kv!.key,
      Buffer.from(kv!.value).toString(),
      header!.revision,
    ]);
    expect(seen).toEqual([
      ['e/1', 'one', 2],
      ['e/1', 'uno', 4],
      ['e/1', 'eins', 5],
      ['e/2', 'two', 6],
    ]);
    stream.handler.cancel();
    await r.rest();
    expect(watchers(r)).toMatchObject({ streams: 0, watchers: 0 });
  });

  it('waits for an observer that is slow', async () => {
    const r = rig(1n);
    const stream = r.open(E('Observe'));
    stream.send = (response) => {
      stream.sent.push(response);
      return false;
    };
    stream.handler.message({ ...defaults(m.LeaderRequest), name: 'e' });
    const { result } = await campaign(r, 1n, '0');
    const { leader } = result as m.CampaignResponse;
    for (let i = 1; i <= 20; i++) await call(r, 'Proclaim', { leader, value: Buffer.from(String(i)) });
    expect(stream.sent).toHaveLength(1);
    for (let i = 0; i < 20; i++) {
      stream.onDrain?.();
      await r.rest();
    }
    expect((stream.sent as m.LeaderResponse[]).map(({ kv }) => Buffer.from(kv!.value).toString())).toEqual(
      Array.from({ length: 21 }, (_, i) => String(i)),
    );
    stream.handler.cancel();
    await r.rest();
    expect(watchers(r)).toMatchObject({ streams: 0, watchers: 0 });
  });
});
