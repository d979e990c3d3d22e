/** TLS of the proxy towards its clients, from its flags. */
import { join } from 'node:path';
import type { SecureVersion } from 'node:tls';
import type { Logger } from '../config/log.ts';
import { openSslCiphers } from '../tls/cipher-suites.ts';
import { openTlsFiles, type TlsFiles } from '../tls/files.ts';
import { selfSignedFiles } from '../tls/self-signed.ts';
import type { ProxyFlags } from './flags.ts';

/** Undefined: clients connect without TLS. Rejects with a RosterError that names the file that cannot be used. */
export async function openListenerTls(flags: ProxyFlags, host: string, log: Logger): Promise<TlsFiles | undefined> {
  let own = { certFile: flags['cert-file'], keyFile: flags['key-file'] };
  if (own.certFile === '') {
    if (!flags['auto-tls']) return undefined;
    const folder = join(flags['data-dir'], 'fixtures', 'proxy');
    const made = selfSignedFiles(
      folder,
      [host === '' ? 'localhost' : host],
      flags['self-signed-cert-validity'],
      Date.now(),
    );
    if (made.madeUntil !== undefined) {
      log.warn({ file: made.certFile, 'valid-to': made.madeUntil }, 'made a self-signed certificate');
    }
    own = { certFile: made.certFile, keyFile: made.keyFile };
  }
  const version = (value: string): SecureVersion => (value === 'TLS1.2' ? 'TLSv1.2' : 'TLSv1.3');
  const paths = {
    ...own,
    dialCertFile: '',
    dialKeyFile: '',
    caFile: flags['trusted-ca-file'],
    crlFile: flags['client-crl-file'],
  };
  const policy = {
    demandCertificate: flags['trusted-ca-file'] !== '',
    minVersion: version(flags['tls-min-version']),
    maxVersion: version(flags['tls-max-version']),
    ciphers: openSslCiphers(flags['listen-cipher-suites']),
  };
  return openTlsFiles(paths, policy, log);
}
