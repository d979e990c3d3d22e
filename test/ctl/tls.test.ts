import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority, hasOpenssl, TlsFolder } from '../tls/authority.ts';
import { startTlsServer } from '../tls/server.ts';
import { rosterctl } from './run-ctl.ts';

describe.skipIf(!hasOpenssl)('rosterctl over TLS', { timeout: 120_000 }, () => {
  let ours: Authority;
  let files: TlsFolder;
  let server: Awaited<ReturnType<typeof startTlsServer>>;
  let paths: Record<'ca' | 'cert' | 'key', string>;
  const ctl = (line: string, scheme = 'https://') =>
    rosterctl(line.split(' '), {
      env: { ETCDCTL_ENDPOINTS: `${scheme}127.0.0.1:${server.port}`, ETCDCTL_DIAL_TIMEOUT: '1s' },
    });

  beforeAll(async () => {
    ours = new Authority('ours');
    files = new TlsFolder();
    const [own, user] = [ours.issue('server'), ours.issue('user')];
    paths = {
      ca: files.write('ca', ours.cert),
      cert: files.write('user-cert', user.cert),
      key: files.write('user-key', user.key),
    };
    server = await startTlsServer(join(files.path, 'data'), [
      ...['--cert-file', files.write('cert', own.cert), '--key-file', files.write('key', own.key)],
      ...['--trusted-ca-file', paths.ca, '--client-cert-auth'],
    ]);
  });
  afterAll(async () => {
    await server?.stop();
    ours?.remove();
    files?.remove();
  });

  it('shows its certificate and checks that of the server', async () => {
    const { ca, cert, key } = paths;
    for (const scheme of ['https://', '']) {
      const put = await ctl(`put a b --cacert ${ca} --cert ${cert} --key ${key}`, scheme);
      expect(put).toEqual({ code: 0, stdout: 'OK\n', stderr: '' });
    }
    const unchecked = await ctl(`get a --insecure-skip-tls-verify --cert ${cert} --key ${key}`);
    expect(unchecked.stdout).toBe('a\nb\n');
    // Over HTTP too.
    const top = await ctl(`top --count 1 --interval 100ms --cacert ${ca} --cert ${cert} --key ${key} -w json`);
    expect(JSON.parse(top.stdout)[0]).toMatchObject({ role: 'leader', 'requests/s': expect.stringMatching(/^\d+$/) });
  });

  it('says what is wrong with the certificates', async () => {
    const hint = 'hint: check --cacert, --cert and --key';
    const { cert, key } = paths;
    const unknown = await ctl(`get a --cert ${cert} --key ${key}`);
    expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining(hint)]);
    const without = await ctl(`get a --cacert ${paths.ca}`);
    expect([without.code, without.stderr]).toEqual([1, expect.stringContaining('hint: ')]);
    expect((await ctl(`get a --cert ${cert}`)).code).toBe(128);
    const doctor = await ctl(`doctor --cert ${cert} --key ${key}`);
    expect([doctor.code, doctor.stdout]).toEqual([
      1,
      expect.stringMatching(
        /^WRONG: https:\/\/127\.0\.0\.1:\d+ does not answer: .*\. Check --cacert, --cert and --key/,
      ),
    ]);
  });
});
