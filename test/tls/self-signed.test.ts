import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { readServeFlags } from '../../server/config/serve-flags.ts';
import { openMemberTls } from '../../server/tls/member-tls.ts';
import { makeSelfSigned, selfSignedFiles } from '../../server/tls/self-signed.ts';
import { closeAll, connected, startMember } from '../peer-transport/rig.ts';
import { hasOpenssl, TlsFolder } from './authority.ts';
import { get, handshake, recordingLog, startTlsServer } from './server.ts';

const DAY_MS = 86_400_000;
const NOW_MS = Math.floor(Date.now() / 1000) * 1000;
const folders: TlsFolder[] = [];
const folder = () => folders[folders.push(new TlsFolder()) - 1]!;
afterEach(async () => {
  await closeAll();
  for (const one of folders.splice(0)) one.remove();
});

describe('a self-signed certificate', () => {
  it('is for the hosts and years it was made for', () => {
    const { cert } = makeSelfSigned(['10.0.0.1', '::1', 'm.example'], 30, NOW_MS);
    const certificate = new X509Certificate(cert);
    expect(certificate.subjectAltName).toBe('IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:m.example');
    expect(certificate.checkIP('::1')).toBe('::1');
    expect(certificate.checkHost('m.example')).toBe('m.example');
    expect(certificate.checkHost('n.example')).toBeUndefined();
    expect(Date.parse(certificate.validTo)).toBe(NOW_MS + 30 * 365 * DAY_MS);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(new X509Certificate(makeSelfSigned([], 1, NOW_MS).cert).serialNumber).not.toBe(certificate.serialNumber);
  });

  it.skipIf(!hasOpenssl)('holds before openssl, strictly, for servers and clients', () => {
    const path = folder().write('cert', makeSelfSigned(['127.0.0.1'], 1, NOW_MS).cert);
    for (const purpose of ['sslserver', 'sslclient']) {
      const args = ['verify', '-x509_strict', '-purpose', purpose, '-verify_ip', '127.0.0.1', '-CAfile', path, path];
      expect(execFileSync('openssl', args).toString()).toContain(': OK');
    }
  });

  it('stays while it can be used', () => {
    const path = join(folder().path, 'fixtures', 'client');
    const made = selfSignedFiles(path, ['127.0.0.1'], 1, NOW_MS);
    const text = () => readFileSync(made.certFile, 'utf8');
    const first = text();
    expect(statSync(made.keyFile).mode & 0o777).toBe(0o600);
    expect(made.madeUntil?.getTime()).toBe(NOW_MS + 365 * DAY_MS);
    const again = (hosts: string[], nowMs: number) => selfSignedFiles(path, hosts, 1, nowMs).madeUntil !== undefined;
    expect(again(['127.0.0.1'], NOW_MS + 363 * DAY_MS)).toBe(false);
    expect(text()).toBe(first);
    expect(again(['127.0.0.1', 'm.example'], NOW_MS)).toBe(true);
    expect(text()).not.toBe(first);
    expect(again(['127.0.0.1'], NOW_MS + 364 * DAY_MS + 1)).toBe(true);
  });
});

describe('auto-tls', { timeout: 60_000 }, () => {
  it('serves clients with a certificate that outlives a restart', async () => {
    const dataDir = join(folder().path, 'data');
    const seen: string[] = [];
    for (let i = 0; i < 2; i++) {
      const server = await startTlsServer(dataDir, ['--auto-tls']);
      try {
        const ca = readFileSync(join(dataDir, 'fixtures', 'client', 'cert.pem'), 'utf8');
        seen.push(ca);
        expect(await get(server.port, { ca })).toBe(200);
        expect((await handshake(server.port, {})).error).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
      } finally {
        await server.stop();
      }
    }
    expect(seen[0]).toBe(seen[1]);
  });

  it('lets members talk whose certificates nobody has signed', async () => {
    const { log } = recordingLog();
    const open = (dataDir: string) => {
      const urls = ['--listen-peer-urls', 'https://127.0.0.1:0', '--data-dir', dataDir];
      return openMemberTls(readServeFlags([...urls, '--peer-auto-tls'], {}), log);
    };
    const [first, second] = [await open(join(folder().path, 'a')), await open(join(folder().path, 'b'))];
    try {
      const url = 'https://127.0.0.1:0';
      const one = await startMember(1n, { tls: first.peer!, url });
      const two = await startMember(2n, { tls: second.peer!, url });
      one.transport.setMembers([two.address()]);
      await connected(one, two);
      expect([first.client, second.client]).toEqual([undefined, undefined]);
    } finally {
      first.close();
      second.close();
    }
  });

  it('gives way to a certificate, and http:// to nothing, with a word in the log', async () => {
    const { lines, log } = recordingLog();
    const tls = await openMemberTls(
      readServeFlags(['--auto-tls', '--client-cert-auth', '--trusted-ca-file', 'x'], {}),
      log,
    );
    tls.close();
    expect(tls.client).toBeUndefined();
    expect(lines.map(({ msg }) => msg)).toEqual([
      'the URL begins with http://: ignoring --client-cert-auth, --auto-tls for it',
    ]);
  });
});
