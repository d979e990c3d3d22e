import { rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openTlsFiles, type TlsFiles } from '../../server/tls/files.ts';
import { closeAll, until as settled, startMember } from '../peer-transport/rig.ts';
import { Authority, hasOpenssl, type Leaf, TlsFolder } from './authority.ts';
import { recordingLog, until } from './server.ts';

/** The files of TLS while they change: what is taken, what is not, and what is said. */
describe.skipIf(!hasOpenssl)('TLS files', { timeout: 120_000 }, () => {
  let ours: Authority;
  let theirs: Authority;
  const folders: TlsFolder[] = [];
  const open: TlsFiles[] = [];
  beforeAll(() => {
    ours = new Authority('ours');
    theirs = new Authority('theirs');
  });
  afterEach(async () => {
    for (const files of open.splice(0)) files.close();
    await closeAll();
  });
  afterAll(() => {
    ours.remove();
    theirs.remove();
    for (const folder of folders) folder.remove();
  });

  async function start(leaf: Leaf, ca: string, policy = {}) {
    const folder = new TlsFolder();
    folders.push(folder);
    const paths = {
      certFile: folder.write('cert', leaf.cert),
      keyFile: folder.write('key', leaf.key),
      dialCertFile: '',
      dialKeyFile: '',
      caFile: folder.write('ca', ca),
      crlFile: folder.write('crl', ours.revoke()),
    };
    const { lines, log } = recordingLog();
    const files = await openTlsFiles(paths, policy, log, 20);
    open.push(files);
    const said = (text: string) => lines.filter(({ msg, reason }) => `${msg}: ${String(reason)}`.includes(text));
    return { folder, files, tls: files.tls, said, lines, paths };
  }

  it('that cannot be used leave the last good ones in force, and the log says why, once', async () => {
    const { folder, tls, said, paths } = await start(ours.issue('a'), ours.cert);
    const before = tls.credentials;
    const next = ours.issue('b');
    const bad = async (change: () => void, text: string) => {
      const known = said(text).length;
      change();
      await until(() => said(text).length > known);
      // Looked at again and again, and nothing new to say.
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(said(text)).toHaveLength(known + 1);
      expect(said(text)[known]).toMatchObject({ level: 40 });
      expect(tls.credentials).toBe(before);
    };
    await bad(
      () => folder.write('cert', next.cert),
      `${paths.keyFile}: it is not the key of the certificate in ${paths.certFile}`,
    );
    await bad(
      () => folder.write('cert', next.cert.slice(0, 200)),
      `${paths.certFile}: block 1 (CERTIFICATE) is incomplete`,
    );
    await bad(() => folder.write('cert', ''), `${paths.certFile}: there is no certificate in it`);
    folder.write('cert', next.cert);
    await bad(() => folder.write('key', ''), `cannot use the TLS file ${paths.keyFile}`);
    folder.write('key', next.key);
    // Half a bundle would lock out whom the other half has signed; and with none, OpenSSL would trust the whole world.
    const bundle = ours.cert + theirs.cert;
    await bad(
      () => folder.write('ca', bundle.slice(0, bundle.length - 100)),
      `${paths.caFile}: block 2 (CERTIFICATE) is`,
    );
    await bad(() => folder.write('ca', ''), `${paths.caFile}: there is no certificate in it`);
    folder.write('ca', bundle);
    await bad(() => folder.write('crl', 'x'), `cannot use the TLS file ${paths.crlFile}`);
    await bad(() => rmSync(paths.crlFile), `${paths.crlFile}: ENOENT`);
    folder.write('crl', ours.revoke());
    await until(() => said('TLS files reloaded').length > 0);
    expect(tls.credentials.own).toEqual(next);
    expect(tls.credentials.ca).toHaveLength(2);
  });

  it('that cannot be used at the start are named', async () => {
    const { paths, folder } = await start(ours.issue('a'), ours.cert);
    const { log } = recordingLog();
    const opened = (change: object) => openTlsFiles({ ...paths, ...change }, {}, log);
    await expect(opened({ certFile: '/none' })).rejects.toThrow(/^cannot use the TLS file \/none: ENOENT/);
    const other = folder.write('other', ours.issue('x').key);
    await expect(opened({ keyFile: other })).rejects.toThrow(/other: it is not the key of the certificate/);
    await expect(opened({ crlFile: paths.caFile })).rejects.toThrow(/there is no X509 CRL in it/);
  });

  it('warn of certificates that have run out and lists that are old', async () => {
    const past = ours.issue('past', { start: '20200101000000Z', end: '20210101000000Z' });
    expect((await start(past, ours.cert)).said('a TLS certificate has expired')).toHaveLength(1);
    const early = ours.issue('early', { start: '20900101000000Z', end: '20910101000000Z' });
    expect((await start(early, ours.cert)).said('a TLS certificate is not valid yet')).toHaveLength(1);
  });

  it('take effect between members: the next connection of either side uses them', async () => {
    const demand = { demandCertificate: true, checkAddress: true };
    const [one, two] = [
      await start(ours.issue('one'), ours.cert, demand),
      await start(ours.issue('two'), ours.cert, demand),
    ];
    const url = 'https://127.0.0.1:0';
    const members = [
      await startMember(1n, { tls: one.tls, url }),
      await startMember(2n, { tls: two.tls, url }),
    ] as const;
    const [first, second] = members;
    const reach = async () => {
      first.transport.setMembers([]);
      first.transport.setMembers([second.address()]);
      const counters = () => first.transport.counters().get(2n)!;
      await settled(() => counters().connections === 2 || counters().dialsFailed > 1);
      return counters().connections === 2;
    };
    expect(await reach()).toBe(true);
    // The dialed one changes hands: the other must know the new authority first, then shows a certificate of it too.
    const replace = async (side: typeof one, change: () => void) => {
      const before = side.said('TLS files reloaded').length;
      change();
      await until(() => side.said('TLS files reloaded').length > before);
    };
    const [newOne, newTwo] = [theirs.issue('one'), theirs.issue('two')];
    await replace(two, () => {
      for (const [name, text] of [
        ['cert', newTwo.cert],
        ['key', newTwo.key],
        ['ca', theirs.cert],
      ] as const) {
        two.folder.write(name, text);
      }
    });
    expect(await reach()).toBe(false);
    await replace(one, () => {
      for (const [name, text] of [
        ['cert', newOne.cert],
        ['key', newOne.key],
        ['ca', theirs.cert],
      ] as const) {
        one.folder.write(name, text);
      }
    });
    expect(await reach()).toBe(true);
    // Revoked: it is neither let in nor dialed.
    await replace(two, () => two.folder.write('crl', theirs.revoke(newOne)));
    expect(await reach()).toBe(false);
    expect(second.log.some(({ reason }) => /is revoked$/.test(String(reason)))).toBe(true);
    await replace(two, () => two.folder.write('crl', ours.revoke()));
    await replace(one, () => one.folder.write('crl', theirs.revoke(newTwo)));
    expect(await reach()).toBe(false);
    expect(first.log.some(({ reason }) => /is revoked$/.test(String(reason)))).toBe(true);
  });
});
