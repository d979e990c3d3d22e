import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pem } from '../peer-transport/certificates.ts';
import { startCluster } from '../support/roster.ts';

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
    await expect.poll(() => first!.log, { timeout: 20_000 }).toContain('it has none of the allowed names');
    await expect.poll(() => third!.log, { timeout: 20_000 }).toContain('cannot reach a member');
    // Nor do the others talk to it: who answers must have an allowed name too.
    await expect.poll(() => first!.log, { timeout: 20_000 }).toContain('its certificate has none of the allowed names');
    expect((await fetch(`http://${second!.endpoint}/v3/kv/put`, put)).status).toBe(200);
    expect(third!.log).not.toContain('a leader is known');
  } finally {
    await cluster.stop();
  }
});
