import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pem } from '../peer-transport/certificates.ts';
import { startCluster } from '../support/roster.ts';
import { Authority, hasOpenssl } from '../tls/authority.ts';

/** Members that speak TLS with each other, by the flags of a real start. */
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'roster-peer-tls-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

async function tlsFlags(identity: 'member' | 'guest'): Promise<string[]> {
  const { cert, key } = pem[identity];
  return [
    ...['--peer-cert-file', await file(`${identity}.pem`, cert), '--peer-key-file', await file(`${identity}.key`, key)],
    ...['--peer-trusted-ca-file', await file('ca.pem', pem.ca), '--peer-client-cert-auth'],
    ...['--peer-cert-allowed-cn', 'member'],
  ];
}

it('three members over TLS; one with a certificate of another name is kept out', { timeout: 120_000 }, async () => {
  const cluster = await startCluster(3, await tlsFlags('member'), 'https');
  try {
    const [first, second, third] = cluster.members;
    const put = { method: 'POST', body: JSON.stringify({ key: Buffer.from('k').toString('base64') }) };
    expect((await fetch(`http://${second!.endpoint}/v3/kv/put`, put)).status).toBe(200);
    await third!.kill();
    third!.launch(await tlsFlags('guest'));
    await expect.poll(() => first!.log, { timeout: 20_000 }).toContain('rejected connection on peer endpoint');
    await expect.poll(() => third!.log, { timeout: 20_000 }).toContain('cannot reach a member');
    // Nor do the others talk to it: who answers must have an allowed name too.
    await expect.poll(() => first!.log, { timeout: 20_000 }).toContain('its certificate has none of the allowed names');
    expect((await fetch(`http://${second!.endpoint}/v3/kv/put`, put)).status).toBe(200);
    expect(third!.log).not.toContain('a leader is known');
  } finally {
    await cluster.stop();
  }
});

it.skipIf(!hasOpenssl)(
  'new certificates and authorities under load cost no request',
  { timeout: 180_000 },
  async () => {
    const [ours, theirs] = [new Authority('ours'), new Authority('theirs')];
    const write = async (cert: string, key: string, ca: string) => {
      await file('rotating.key', key);
      await file('rotating.pem', cert);
      await file('rotating-ca.pem', ca);
    };
    const first = ours.issue('member');
    await write(first.cert, first.key, ours.cert);
    const cluster = await startCluster(
      3,
      [
        ...['--peer-cert-file', join(folder, 'rotating.pem'), '--peer-key-file', join(folder, 'rotating.key')],
        ...['--peer-trusted-ca-file', join(folder, 'rotating-ca.pem'), '--peer-client-cert-auth'],
      ],
      'https',
    );
    const [one, two, three] = cluster.members;
    let [done, puts] = [false, 0];
    const failures: unknown[] = [];
    const put = { method: 'POST', body: JSON.stringify({ key: Buffer.from('k').toString('base64') }) };
    const load = [one!, two!].map(async ({ endpoint }) => {
      while (!done) {
        const status = await fetch(`http://${endpoint}/v3/kv/put`, put).then((response) => response.status, String);
        if (status === 200) puts++;
        else failures.push(status);
      }
    });
    const reloads = () => cluster.members.map(({ log }) => log.split('TLS files reloaded').length);
    const rotate = async (cert: string, key: string, ca: string) => {
      const [before, putsBefore] = [reloads(), puts];
      await write(cert, key, ca);
      await expect.poll(() => reloads().every((count, i) => count > before[i]!), { timeout: 30_000 }).toBe(true);
      await expect.poll(() => puts > putsBefore + 20, { timeout: 30_000 }).toBe(true);
    };
    try {
      const second = theirs.issue('member');
      await rotate(first.cert, first.key, ours.cert + theirs.cert);
      await rotate(second.cert, second.key, ours.cert + theirs.cert);
      await rotate(second.cert, second.key, theirs.cert);
      // New connections, both ways, by the new authority only. A leader hands over first.
      await three!.terminate();
      await three!.start();
      await expect.poll(() => three!.log, { timeout: 30_000 }).toContain('connected to a member');
    } finally {
      done = true;
      await Promise.all(load);
      await cluster.stop();
      ours.remove();
      theirs.remove();
    }
    expect(failures).toEqual([]);
  },
);
