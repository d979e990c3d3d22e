import type { AddressInfo } from 'node:net';
import { connect, type Socket } from 'node:net';
import type { PeerCertificate } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { UsageError } from '../../server/config/flag-table.ts';
import { readServeFlags } from '../../server/config/serve-flags.ts';
import { LOOKUP_TIMEOUT_MS, NAMES_LOOKED_UP_MAX, refusedAddress } from '../../server/tls/address-check.ts';
import { openSslCiphers } from '../../server/tls/cipher-suites.ts';
import { der, derTime, elements, readElement, readTime, Tag } from '../../server/tls/der.ts';
import { createDoor, type DoorLimits } from '../../server/tls/door.ts';
import { addressBytes } from '../../server/tls/ip-address.ts';
import { LINES_MAX, PAIRS_MAX, REPEAT_INTERVAL_MS, type Refusal, RefusalLog } from '../../server/tls/refusals.ts';
import { Tls } from '../../server/tls/tls.ts';
import { CERTIFICATE, PRIVATE_KEY } from '../http2/certificate.ts';
import { get, recordingLog, until } from './server.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function openDoor(policy: object, limits: Partial<DoorLimits> = {}) {
  const refused: Refusal[] = [];
  const door = createDoor({
    tls: new Tls(policy, { own: { cert: CERTIFICATE, key: PRIVATE_KEY } }),
    limits: { handshakeTimeoutMs: 60_000, handshakesMax: 100, handshakePatienceMs: 0, ...limits },
    onSecure: (socket) => {
      socket.resume();
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
    },
    onRefused: (refusal) => refused.push(refusal),
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  const { port } = door.address() as AddressInfo;
  const raw: Socket[] = [];
  closing.push(() => {
    for (const socket of raw) socket.destroy();
    return new Promise((resolve) => door.close(resolve));
  });
  const idle = async () => {
    const socket = connect(port, '127.0.0.1');
    raw.push(socket);
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('connect', resolve));
    return socket;
  };
  return { port, refused, idle };
}

describe('handshakes', () => {
  it('that take too long are cut off', async () => {
    const { refused, idle } = await openDoor({}, { handshakeTimeoutMs: 50 });
    const socket = await idle();
    await new Promise((resolve) => socket.once('close', resolve));
    expect(refused).toEqual([{ remote: '127.0.0.1', reason: 'no handshake within 50 ms' }]);
  });

  it('of the limit go on; one more cuts off the oldest, which has had its time', async () => {
    const { port, refused, idle } = await openDoor({}, { handshakesMax: 3 });
    const sockets = [await idle(), await idle(), await idle()];
    const fourth = await idle();
    await new Promise((resolve) => sockets[0]!.once('close', resolve));
    expect([sockets[1]!, sockets[2]!, fourth].map(({ destroyed }) => destroyed)).toEqual([false, false, false]);
    expect(await get(port, { ca: CERTIFICATE })).toBe(200);
    expect(refused.every(({ harmless }) => harmless === true)).toBe(true);
  });

  it('of the limit go on; one more is cut off itself while the oldest still has time', async () => {
    const { refused, idle } = await openDoor({}, { handshakesMax: 3, handshakePatienceMs: 60_000 });
    const sockets = [await idle(), await idle(), await idle()];
    const fourth = await idle();
    await new Promise((resolve) => (fourth.destroyed ? resolve(0) : fourth.once('close', resolve)));
    expect(refused[0]).toEqual({ remote: '127.0.0.1', reason: 'too many handshakes are under way' });
    expect(sockets.map(({ destroyed }) => destroyed)).toEqual([false, false, false]);
  });

  it('that are over do not count', async () => {
    const { port } = await openDoor({}, { handshakesMax: 1, handshakePatienceMs: 60_000 });
    for (let i = 0; i < 5; i++) expect(await get(port, { ca: CERTIFICATE })).toBe(200);
  });

  it('are of the versions and suites that are allowed', async () => {
    const suites = openSslCiphers(['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384']);
    const { port, refused } = await openDoor({ maxVersion: 'TLSv1.2', ciphers: suites });
    const ca = CERTIFICATE;
    expect(await get(port, { ca, ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' })).toBe(200);
    await expect(get(port, { ca, ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' })).rejects.toThrow();
    await until(() => refused.some(({ reason }) => reason.includes('--cipher-suites')));
    await expect(get(port, { ca, minVersion: 'TLSv1.3' })).rejects.toThrow();
    await until(() => refused.some(({ reason }) => reason.includes('--tls-min-version')));
  });
});

describe('the log of refusals', () => {
  const start = () => {
    const { lines, log } = recordingLog();
    let now = 0;
    const refusals = new RefusalLog(log, 'client', () => now);
    return { lines, refusals, pass: (ms: number) => (now += ms) };
  };

  it('says each once, then once an interval with how often', () => {
    const { lines, refusals, pass } = start();
    for (let i = 0; i < 5; i++) refusals.add({ remote: 'a', reason: 'x' });
    refusals.add({ remote: 'b', reason: 'x' });
    refusals.add({ remote: 'a', reason: 'y' });
    expect(lines.map(({ remote, reason }) => [remote, reason])).toEqual([
      ['a', 'x'],
      ['b', 'x'],
      ['a', 'y'],
    ]);
    pass(REPEAT_INTERVAL_MS);
    refusals.add({ remote: 'a', reason: 'x' });
    expect(lines.at(-1)).toMatchObject({ remote: 'a', 'times-before': 4 });
  });

  it('has a limit of lines, and says how many it has left out', () => {
    const { lines, refusals, pass } = start();
    for (let i = 0; i <= LINES_MAX; i++) refusals.add({ remote: `a${i}`, reason: 'x' });
    expect(lines).toHaveLength(LINES_MAX);
    pass(REPEAT_INTERVAL_MS);
    refusals.add({ remote: 'c', reason: 'x' });
    expect(lines.at(-1)).toMatchObject({ remote: 'c', 'others-not-logged': 1 });
  });

  it('remembers so many, and forgets the oldest', () => {
    const { lines, refusals, pass } = start();
    const logged = (remote: string) => {
      const before = lines.length;
      refusals.add({ remote, reason: 'x' });
      return lines.length > before;
    };
    // Pairs are forgotten by number only, so that their time may pass.
    for (let i = 0; i < PAIRS_MAX; i++) {
      if (i % LINES_MAX === 0) pass(REPEAT_INTERVAL_MS);
      expect(logged(`a${i}`)).toBe(true);
      if (i === 0) refusals.add({ remote: 'a0', reason: 'x' });
    }
    pass(REPEAT_INTERVAL_MS);
    expect(logged('one more')).toBe(true);
    expect(logged('a0')).toBe(true);
    // Its count went with it.
    expect(lines.at(-1)).not.toHaveProperty('times-before');
  });
});

describe('where a member comes from', () => {
  const certificate = (subjectaltname: string | undefined) =>
    ({ subject: { CN: 'x' }, ...(subjectaltname && { subjectaltname }) }) as unknown as PeerCertificate;
  const nowhere = {
    addressesOf: () => Promise.reject(new Error('none')),
    namesOf: () => Promise.reject(new Error('none')),
  };
  const check = (remote: string, names: string | undefined, resolver = nowhere as never) =>
    refusedAddress(remote, certificate(names), resolver);

  it('is one of the addresses of its certificate', async () => {
    expect(await check('10.0.0.1', 'IP Address:10.0.0.2, IP Address:10.0.0.1')).toBeUndefined();
    expect(await check('::ffff:10.0.0.1', 'IP Address:10.0.0.1')).toBeUndefined();
    expect(await check('10.0.0.3', 'IP Address:10.0.0.1')).toMatch(/for 10\.0\.0\.1, which is not where it comes from/);
    expect(await check('10.0.0.3', undefined)).toBeUndefined();
  });

  it('or what one of its names stands for, with a wildcard by the way back', async () => {
    const resolver = {
      addressesOf: async (name: string) => (name === 'm.example' ? ['fe80::1', '10.0.0.3'] : []),
      namesOf: async (address: string) => (address === '10.0.0.4' ? ['a.wild.example.', 'b.a.other.example'] : []),
    } as never;
    expect(await check('10.0.0.3', 'DNS:x.example, DNS:m.example', resolver)).toBeUndefined();
    expect(await check('10.0.0.5', 'DNS:x.example, DNS:m.example', resolver)).toBeDefined();
    expect(await check('10.0.0.4', 'DNS:*.wild.example', resolver)).toBeUndefined();
    expect(await check('10.0.0.4', 'DNS:*.other.example', resolver)).toBeDefined();
  });

  it('asks for no more names than the limit, and not for ever', { timeout: LOOKUP_TIMEOUT_MS + 60_000 }, async () => {
    let asked = 0;
    const slow = { addressesOf: () => new Promise(() => asked++), namesOf: () => new Promise(() => {}) } as never;
    const names = Array.from({ length: NAMES_LOOKED_UP_MAX + 1 }, (_, i) => `DNS:n${i}.example`);
    expect(await check('10.0.0.3', names.join(', '), slow)).toBeDefined();
    expect(asked).toBe(NAMES_LOOKED_UP_MAX);
  });

  it('knows addresses by their bytes', () => {
    expect(addressBytes('1.2.3.4').toString('hex')).toBe('01020304');
    expect(addressBytes('::1').toString('hex')).toBe(`${'00'.repeat(15)}01`);
    expect(addressBytes('2001:DB8::ff00:42:8329').toString('hex')).toBe('20010db8000000000000ff0000428329');
    expect(addressBytes('1:2:3:4:5:6:7:8').toString('hex')).toBe('00010002000300040005000600070008');
  });
});

describe('flags of TLS', () => {
  it.each([
    [['--cipher-suites', 'TLS_NONE'], 'unexpected TLS cipher suite "TLS_NONE"'],
    [['--cipher-suites', 'TLS_RSA_WITH_RC4_128_SHA'], 'not supported any more'],
    [['--tls-min-version', 'TLS1.3', '--cipher-suites', 'TLS_RSA_WITH_AES_128_CBC_SHA'], 'is for TLS 1.2'],
    [['--tls-min-version', 'TLS1.3', '--tls-max-version', 'TLS1.2'], 'is above'],
    [['--tls-min-version', 'TLS1.1'], 'must be one of TLS1.2, TLS1.3'],
    [['--client-crl-file', 'a'], '--client-crl-file needs --trusted-ca-file'],
    [['--peer-crl-file', 'a'], '--peer-crl-file needs --peer-trusted-ca-file'],
    [['--client-cert-allowed-hostname', 'a'], '--client-cert-allowed-hostname needs --trusted-ca-file'],
    [['--client-cert-file', 'a'], '--client-cert-file and --client-key-file must be given together'],
    [['--peer-client-key-file', 'a'], '--peer-client-cert-file and --peer-client-key-file must be given together'],
    [['--self-signed-cert-validity', '0'], 'must be a whole number from 1'],
    [['--listen-peer-urls', 'https://a:1'], '--peer-auto-tls'],
  ])('%j is refused with the reason', (args, message) => {
    expect(() => readServeFlags(args, {})).toThrow(UsageError);
    expect(() => readServeFlags(args, {})).toThrow(message);
  });

  it("map all of Go's suites to what OpenSSL has, and leave those of TLS 1.3 on", () => {
    expect(openSslCiphers([])).toBeUndefined();
    const all = openSslCiphers(['TLS_AES_128_GCM_SHA256', 'TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256'])!;
    expect(all.split(':')).toEqual([
      ...['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256'],
      'ECDHE-RSA-CHACHA20-POLY1305',
    ]);
    expect(readServeFlags(['--auto-tls', '--listen-peer-urls', 'https://a:1', '--peer-auto-tls'], {})['auto-tls']).toBe(
      true,
    );
  });
});

describe('DER', () => {
  it('reads what it writes, at every width of a length', () => {
    for (const length of [0, 1, 127, 128, 255, 256, 65_535]) {
      const body = Buffer.alloc(length, 7);
      expect(readElement(der(Tag.OCTET_STRING, body)).body.equals(body)).toBe(true);
    }
  });

  it('refuses what is cut off', () => {
    const whole = der(Tag.SEQUENCE, der(Tag.INTEGER, Buffer.alloc(300, 1)));
    for (let cut = 1; cut < whole.length; cut++) expect(() => elements(whole.subarray(0, cut))).toThrow(/^DER/);
    expect(() => readElement(Buffer.from([0x30, 0x80, 0, 0]))).toThrow('DER with a bad length');
    expect(() => readElement(Buffer.from([0x30, 0x85, 0, 0, 0, 0, 0]))).toThrow('DER with a bad length');
  });

  it('keeps times to the second, in both kinds', () => {
    for (const text of ['1999-12-31T23:59:59Z', '2049-12-31T23:59:59Z', '2050-01-01T00:00:00Z']) {
      expect(readTime(readElement(derTime(Date.parse(text))))).toBe(Date.parse(text));
    }
  });
});
