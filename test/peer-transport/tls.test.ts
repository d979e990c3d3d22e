import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { fetchMembers } from '../../server/peer/peer-client.ts';
import { Tls, type TlsPolicy } from '../../server/tls/tls.ts';
import { pem } from './certificates.ts';
import { append, chunk, closeAll, connected, heartbeat, startMember, until } from './rig.ts';

afterEach(closeAll);

const url = 'https://127.0.0.1:0';
const tls = (own: { cert: string; key: string } | undefined, policy: Partial<TlsPolicy> = {}) =>
  new Tls(policy, { ca: [pem.ca], ...(own && { own }) });
const demand = { demandCertificate: true };
const open = tls(undefined);
const member = tls(pem.member, demand);
const guest = tls(pem.guest);
const stranger = tls(pem.other);

/** Why member 1, with `dialing`, cannot reach member 2, with `listening`; '' when it can. */
async function reasonAgainst(dialing: Tls | undefined, listening: Tls): Promise<string> {
  const one = await startMember(1n, dialing === undefined ? {} : { tls: dialing });
  const two = await startMember(2n, { tls: listening, url });
  one.transport.setMembers([two.address()]);
  await until(() => one.transport.activeSince(2n) !== undefined || one.transport.counters().get(2n)!.dialsFailed > 1);
  if (one.transport.activeSince(2n) !== undefined) {
    one.transport.send([heartbeat(1n, 2n)]);
    await until(() => two.received.length === 1);
    return '';
  }
  expect(two.received).toEqual([]);
  return String(one.log.find(({ reason }) => reason !== undefined)!.reason);
}

describe('TLS between members', () => {
  it('carries everything, both sides with a certificate', async () => {
    const limits = { pingIntervalMs: 20, pingsUnansweredMax: 500, silentIntervalsMax: 500 };
    const one = await startMember(1n, { tls: member, url, limits });
    const two = await startMember(2n, { tls: member, url, limits });
    one.transport.setMembers([two.address()]);
    two.transport.setMembers([one.address()]);
    await connected(one, two);
    await connected(two, one);
    one.transport.send([append(1n, 2n, 1, 1_000_000), chunk(1n, 2n, 1n, 2_000_000), heartbeat(1n, 2n)]);
    two.transport.send([heartbeat(2n, 1n)]);
    await until(() => two.received.length === 3 && one.received.length === 1);
    // Pings count as bytes there, too.
    await until(() => one.transport.counters().get(2n)!.roundTripMs > 0);
    expect([one.unreachable, two.unreachable]).toEqual([[], []]);
  });

  it('needs no certificate of who dials unless it is demanded', async () => {
    expect(await reasonAgainst(open, tls(pem.member))).toBe('');
    expect(await reasonAgainst(open, member)).toMatch(/certificate required|ECONNRESET|socket hang up/);
  });

  it('demands one that the authority has signed', async () => {
    expect(await reasonAgainst(guest, member)).toBe('');
    expect(await reasonAgainst(stranger, member)).toMatch(/unknown ca|ECONNRESET|socket hang up/);
  });

  it('demands one with an allowed name, if there are any', async () => {
    const cut = /ECONNRESET|socket hang up|disconnected/;
    expect(await reasonAgainst(member, tls(pem.member, { ...demand, allowedCn: ['x', 'member'] }))).toBe('');
    expect(await reasonAgainst(guest, tls(pem.member, { ...demand, allowedCn: ['x', 'member'] }))).toMatch(cut);
    expect(await reasonAgainst(guest, tls(pem.member, { ...demand, allowedHostname: ['x', 'guest.example'] }))).toBe(
      '',
    );
    expect(
      await reasonAgainst(member, tls(pem.member, { ...demand, allowedHostname: ['x', 'guest.example'] })),
    ).toMatch(cut);
  });

  it('reaches nobody whose certificate is not signed by the authority, or is for another host', async () => {
    expect(await reasonAgainst(open, stranger)).toMatch(/self-signed certificate/);
    expect(await reasonAgainst(undefined, member)).toMatch(/certificate/);
    const one = await startMember(1n, { tls: open });
    const two = await startMember(2n, { tls: guest, url: 'https://localhost:0' });
    one.transport.setMembers([two.address()]);
    await until(() => one.log.some(({ reason }) => /does not match certificate's altnames/.test(String(reason))));
  });

  it('lets a cluster be asked who is in it', async () => {
    const two = await startMember(2n, { tls: member, url });
    expect((await fetchMembers([two.url], { tls: guest, timeoutMs: 10_000 })).members).toEqual([]);
    await expect(fetchMembers([two.url], { tls: open, timeoutMs: 10_000 })).rejects.toThrow(/^no member answers: /);
    await expect(fetchMembers([two.url], { timeoutMs: 10_000 })).rejects.toThrow(/certificate/);
  });

  it('does not wait for a handshake that does not come', async () => {
    const two = await startMember(2n, { tls: member, url, limits: { tlsHandshakeTimeoutMs: 50 } });
    const socket = connect(Number(new URL(two.url).port), '127.0.0.1');
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('close', resolve));
  });
});

describe('credentials that are none', () => {
  it('are refused at start, and while dialing', async () => {
    const broken = tls({ cert: pem.member.cert, key: 'no key' });
    await expect(startMember(1n, { tls: broken, url })).rejects.toThrow(/^cannot listen for members on https:/);
    const one = await startMember(1n, { tls: broken });
    one.transport.setMembers([{ id: 2n, peerUrls: ['https://127.0.0.1:1'] }]);
    await until(() => one.transport.counters().get(2n)!.dialsFailed > 2);
  });
});
