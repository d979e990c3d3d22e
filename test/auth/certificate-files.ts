/** Flags of a listener that demands client certificates, and the files they name. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pem } from '../peer-transport/certificates.ts';

export async function certificateFiles(): Promise<{ flags: readonly string[]; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'roster-certificates-'));
  const file = async (name: string, text: string) => {
    const path = join(folder, name);
    await writeFile(path, text);
    return path;
  };
  const flags = ['--client-cert-auth', '--cert-file', await file('member.pem', pem.member.cert)];
  flags.push(
    '--key-file',
    await file('member-key.pem', pem.member.key),
    '--trusted-ca-file',
    await file('ca.pem', pem.ca),
  );
  return { flags, remove: () => rm(folder, { recursive: true, force: true }) };
}
