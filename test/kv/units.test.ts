import { describe, expect, it } from 'vitest';
import { type ErrorCode, rosterError } from '../../core/errors.ts';
import { BasicLogins } from '../../server/kv/basic-logins.ts';
import type { KvCall } from '../../server/kv/kv-call.ts';
import type { Rpcs } from '../../server/kv/rpcs.ts';
import { keyTarget, parseTarget, pathOf } from '../../server/kv/target.ts';
import { isTtlLease, TtlLeases } from '../../server/kv/ttl-leases.ts';

describe('BasicLogins', () => {
  it('logs in once, also while a login is under way, and again when it is told to forget', async () => {
    const logins = new BasicLogins();
    let calls = 0;
    const login = async () => `token ${++calls}`;
    expect(await Promise.all([logins.token('u', 'p', login), logins.token('u', 'p', login)])).toEqual([
      'token 1',
      'token 1',
    ]);
    expect(await logins.token('u', 'other', login)).toBe('token 2');
    // Not the same: where the name ends is part of what is remembered.
    expect(await logins.token('up', '', login)).toBe('token 3');
    logins.forget('u', 'p');
    expect(await logins.token('u', 'p', login)).toBe('token 4');
  });

  it('remembers no failure', async () => {
    const logins = new BasicLogins();
    await expect(logins.token('u', 'p', async () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(logins.size).toBe(0);
    expect(await logins.token('u', 'p', async () => 'now')).toBe('now');
  });

  it('remembers no more than its limit, those used last', async () => {
    const logins = new BasicLogins(2);
    const login = async () => 'first';
    await logins.token('a', '', login);
    await logins.token('b', '', login);
    await logins.token('a', '', login);
    await logins.token('c', '', login);
    expect(logins.size).toBe(2);
    expect(await logins.token('a', '', async () => 'again')).toBe('first');
    expect(await logins.token('b', '', async () => 'again')).toBe('again');
  });
});

describe('targets', () => {
  it('come from the wire, and from the URL where there is none', () => {
    const request = new Request('http://host/kv/a/../b?x');
    expect(keyTarget(request, { incoming: { url: '/kv/a/../b?x' } })).toBe('/kv/a/../b?x');
    expect(keyTarget(request, { target: '/kv/c' })).toBe('/kv/c');
    expect(keyTarget(request, {})).toBe('/kv/b?x');
    expect(keyTarget(request, { incoming: { url: 'http://host/kv/a' } })).toBe('/kv/b?x');
    expect(keyTarget(request, { incoming: { url: '/v3/../kv/b?x' } })).toBe('/kv/b?x');
    expect(keyTarget(new Request('http://host/kvx'), { incoming: { url: '/kvx' } })).toBeUndefined();
  });

  it('are parsed and written byte for byte', () => {
    for (const key of ['a', '/a', 'a b', '..', './.', '\0\xff', 'a%2F', '/', 'a/b..c/d', '\xc3\xa4']) {
      expect(parseTarget(pathOf(key)).key, key).toBe(key);
      // Of all keys only these have no path that a client which knows URLs leaves alone.
      if (key !== '..') expect(new URL(pathOf(key), 'http://host').pathname, key).toBe(pathOf(key));
    }
    expect(parseTarget('/kv/a?b=c+d&&e&f=%26=').query).toEqual([
      ['b', 'c d'],
      ['e', ''],
      ['f', '&='],
    ]);
  });
});

describe('TtlLeases', () => {
  function leases(taken = 0) {
    const told: string[] = [];
    let grants = 0;
    const rpcs = {
      grant: async (_call: KvCall, { ID, TTL }: { ID: bigint; TTL: bigint }) => {
        if (grants++ < taken) throw rosterError('LeaseExist');
        told.push('grant');
        return { ID, TTL };
      },
      revoke: async () => {
        told.push('revoke');
        throw rosterError('LeaseNotFound');
      },
    } as unknown as Rpcs;
    return { told, ttl: new TtlLeases(rpcs, () => ({ leaseOf: () => 0n, keysOf: () => [] })) };
  }
  const call = {} as KvCall;
  const failing = (code: ErrorCode) => async () => Promise.reject(rosterError(code));

  it('revokes the lease of a put that was refused, and says why it was', async () => {
    const { told, ttl } = leases();
    await expect(ttl.granted(call, 5, failing('PermissionDenied'))).rejects.toMatchObject({ code: 'PermissionDenied' });
    expect(told).toEqual(['grant', 'revoke']);
  });

  it.each(['Timeout', 'TimeoutDueToLeaderFail', 'Stopped', 'LeaderChanged'] as const)(
    'leaves the lease of a put that may have happened: %s',
    async (code) => {
      const { told, ttl } = leases();
      await expect(ttl.granted(call, 5, failing(code))).rejects.toMatchObject({ code });
      expect(told).toEqual(['grant']);
    },
  );

  it('tries another ID when one is taken, and not without end', async () => {
    expect(await leases(7).ttl.granted(call, 5, async (id, seconds) => [isTtlLease(id), seconds])).toEqual([true, 5]);
    await expect(leases(8).ttl.granted(call, 5, async () => 0)).rejects.toMatchObject({ code: 'LeaseExist' });
  });
});

it('the door knows its own leases', () => {
  expect([0x4b56_0000_0000_0000n, 0x4b56_ffff_ffff_ffffn].every(isTtlLease)).toBe(true);
  expect([0n, 7n, 0x4b55_ffff_ffff_ffffn, 0x4b57_0000_0000_0000n, -1n].some(isTtlLease)).toBe(false);
});
