import http2 from 'node:http2';
import { connect as connectRaw } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { commonNameOf } from '../../server/http2/common-name.ts';
import { createListener } from '../../server/http2/listener.ts';
import { Tls } from '../../server/tls/tls.ts';
import { answerOk } from '../http2/support.ts';
import { Authority, hasOpenssl, TlsFolder } from './authority.ts';
import { get, handshake, startTlsServer, until } from './server.ts';

/** Client connections of a whole member: who is refused and why, and new certificates while it is in use. */
describe.skipIf(!hasOpenssl)('TLS for clients', { timeout: 120_000 }, () => {
  let ours: Authority;
  let theirs: Authority;
  const folders: TlsFolder[] = [];
  const folder = () => folders[folders.push(new TlsFolder()) - 1]!;
  beforeAll(() => {
    ours = new Authority('ours');
    theirs = new Authority('theirs');
  });
  afterAll(() => {
    ours.remove();
    theirs.remove();
    for (const one of folders) one.remove();
  });

  it('refuses who may not come in, and says why in the log', async () => {
    const files = folder();
    const revoked = ours.issue('revoked');
    const own = ours.issue('server');
    const server = await startTlsServer(join(files.path, 'data'), [
      ...['--cert-file', files.write('cert', own.cert), '--key-file', files.write('key', own.key)],
      ...[
        '--trusted-ca-file',
        files.write('ca', ours.cert),
        '--client-crl-file',
        files.write('crl', ours.revoke(revoked)),
      ],
      ...['--client-cert-allowed-hostname', 'localhost,other.example'],
    ]);
    const { lines, port } = server;
    const refused = async (who: object, reason: RegExp) => {
      const before = lines.length;
      expect((await handshake(port, { ca: ours.cert, ...who })).bytes).toBe(0);
      const found = () => lines.slice(before).find(({ msg }) => msg === 'rejected connection on client endpoint');
      await until(() => found() !== undefined);
      expect(found()).toMatchObject({ level: 40, remote: '127.0.0.1', reason: expect.stringMatching(reason) });
      return found()!;
    };
    try {
      expect(await get(port, { ca: ours.cert, ...ours.issue('alice') })).toBe(200);
      await refused({}, /^it has shown no certificate$/);
      const wrong = await refused(theirs.issue('mallory'), /not signed by an authority in the trusted CA file/);
      expect(wrong).toMatchObject({ subject: 'CN=mallory', issuer: 'CN=theirs' });
      const past = { start: '20200101000000Z', end: '20210101000000Z' };
      await refused(ours.issue('old', past), /^its certificate has expired \(Jan {2}1 00:00:00 2021 GMT\)/);
      await refused(ours.issue('early', { start: '20900101000000Z', end: '20910101000000Z' }), /is not valid yet/);
      await refused(revoked, /^its certificate with serial number [0-9A-F]+ is revoked$/);
      await refused(ours.issue('x', { names: 'DNS:strange.example' }), /none of the allowed names/);
      await refused(ours.issue('server only', { usage: 'serverAuth' }), /not meant for clients/);
      await refused({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }, /no version of TLS/);
      const plain = connectRaw(port, '127.0.0.1', () => plain.write('GET / HTTP/1.1\r\n\r\n'));
      plain.on('error', () => {});
      await new Promise((resolve) => plain.once('close', resolve));
      await until(() => lines.some(({ reason }) => String(reason).startsWith('it does not speak TLS')));
      // Whom the client means decides the client: the certificate is not for that host.
      const strange = { ca: ours.cert, servername: 'strange.example', ...ours.issue('alice') };
      expect((await handshake(port, strange)).error).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
      expect(await get(port, { ca: ours.cert, ...ours.issue('bob') })).toBe(200);
    } finally {
      await server.stop();
    }
  });

  it('resumes no session, so that nobody comes in unverified', async () => {
    const files = folder();
    const [own, alice] = [ours.issue('server'), ours.issue('alice')];
    const args = ['--cert-file', files.write('cert', own.cert), '--key-file', files.write('key', own.key)];
    const server = await startTlsServer(join(files.path, 'data'), [
      ...args,
      '--trusted-ca-file',
      files.write('ca', ours.cert),
    ]);
    try {
      for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
        let session: Buffer | undefined;
        const { connect } = await import('node:tls');
        const first = connect({ host: '127.0.0.1', port: server.port, ca: ours.cert, maxVersion, ...alice });
        first.on('session', (given) => {
          session = given;
        });
        first.on('secureConnect', () => first.write('GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'));
        first.resume();
        await new Promise((resolve) => first.once('close', resolve));
        const again = await handshake(server.port, {
          ca: ours.cert,
          maxVersion,
          ...alice,
          ...(session && { session }),
        });
        expect(again).toMatchObject({ reused: false, error: '' });
        expect(again.bytes).toBeGreaterThan(0);
      }
    } finally {
      await server.stop();
    }
  });

  it('takes new certificates and authorities under load, without one failed request', async () => {
    const files = folder();
    const first = ours.issue('server 1');
    const server = await startTlsServer(join(files.path, 'data'), [
      ...['--cert-file', files.write('cert', first.cert), '--key-file', files.write('key', first.key)],
      ...['--trusted-ca-file', files.write('ca', ours.cert)],
    ]);
    const { lines, port } = server;
    const oldClient = ours.issue('alice');
    const ca = [ours.cert, theirs.cert];
    let who = oldClient;
    const old = new Client({
      endpoints: [`https://127.0.0.1:${port}`],
      tls: { ca: Buffer.from(ca.join('\n')), cert: Buffer.from(who.cert), key: Buffer.from(who.key) },
    });
    const failures: unknown[] = [];
    let [done, puts, gets] = [false, 0, 0];
    const repeat = async (request: () => Promise<unknown>) => {
      while (!done) await request().catch((error: unknown) => failures.push(error));
    };
    const load = [
      repeat(async () => {
        await old.put(`k${puts % 10}`, 'v');
        puts++;
      }),
      repeat(async () => {
        expect(await get(port, { ca, ...who })).toBe(200);
        gets++;
      }),
    ];
    const reloads = () => lines.filter(({ msg }) => msg === 'TLS files reloaded').length;
    const rotate = async (change: () => void) => {
      const [before, putsBefore, getsBefore] = [reloads(), puts, gets];
      change();
      await until(() => reloads() > before);
      await until(() => puts > putsBefore + 20 && gets > getsBefore + 10);
    };
    try {
      const second = ours.issue('server 2');
      await rotate(() => {
        files.write('cert', second.cert);
        files.write('key', second.key);
      });
      await rotate(() => files.write('ca', `${ours.cert}${theirs.cert}`));
      who = theirs.issue('alice');
      const third = theirs.issue('server 3');
      await rotate(() => {
        files.write('key', third.key);
        files.write('cert', third.cert);
      });
      await rotate(() => files.write('ca', theirs.cert));
    } finally {
      done = true;
      await Promise.all(load);
      old.close();
    }
    expect(failures).toEqual([]);
    // All of it is in force: the old authority is trusted by neither side.
    expect((await handshake(port, { ca, ...oldClient })).bytes).toBe(0);
    expect((await handshake(port, { ca: ours.cert, ...who })).error).not.toBe('');
    expect(await get(port, { ca: theirs.cert, ...who })).toBe(200);
    await server.stop();
  });

  it('knows a user by a certificate only where it is asked to', async () => {
    const [own, alice] = [ours.issue('server'), ours.issue('alice')];
    for (const nameIsUser of [true, false]) {
      const names: (string | undefined)[] = [];
      const listener = createListener({
        tls: new Tls({ demandCertificate: true, nameIsUser }, { own, ca: [ours.cert] }),
        http2: {
          onStream: (stream) => {
            names.push(stream.commonName);
            answerOk(stream);
          },
        },
        onHttp1: (socket) => names.push(commonNameOf(socket)),
      });
      const { port } = await listener.listen(0, '127.0.0.1');
      const session = http2.connect(`https://127.0.0.1:${port}`, { ca: ours.cert, ...alice });
      session.on('error', () => {});
      session.request({ ':path': '/' }).resume();
      get(port, { ca: ours.cert, ...alice }).catch(() => {});
      await until(() => names.length === 2);
      expect(names).toEqual(nameIsUser ? ['alice', 'alice'] : [undefined, undefined]);
      session.destroy();
      listener.destroy();
    }
  });
});
