/**
 * TLS of one member, from its flags: to clients and to the other members, each kept at what its files say. Makes the
 * certificates of --auto-tls; nothing else is written.
 */
import { join } from 'node:path';
import type { SecureVersion } from 'node:tls';
import type { Logger } from '../config/log.ts';
import type { TlsFlags } from '../config/tls-flags.ts';
import { openSslCiphers } from './cipher-suites.ts';
import type { TlsPaths } from './credentials.ts';
import { openTlsFiles, type TlsFiles } from './files.ts';
import { selfSignedFiles } from './self-signed.ts';
import type { Tls, TlsPolicy } from './tls.ts';

export type MemberTlsFlags = TlsFlags & {
  readonly 'data-dir': string;
  readonly 'listen-client-urls': readonly string[];
  readonly 'listen-peer-urls': readonly string[];
};

export interface MemberTls {
  /** Undefined when no flag asks for it. */
  readonly client: Tls | undefined;
  readonly peer: Tls | undefined;
  /** Looks at the files no more. */
  close(): void;
}

/** Rejects with a RosterError that names the file that cannot be used. */
export async function openMemberTls(flags: MemberTlsFlags, log: Logger): Promise<MemberTls> {
  warnOfWhatIsIgnored(flags, log);
  const client = await openSide(flags, '', log);
  try {
    const peer = await openSide(flags, 'peer-', log);
    return {
      client: client?.tls,
      peer: peer?.tls,
      close() {
        client?.close();
        peer?.close();
      },
    };
  } catch (error) {
    client?.close();
    throw error;
  }
}

async function openSide(flags: MemberTlsFlags, prefix: '' | 'peer-', log: Logger): Promise<TlsFiles | undefined> {
  const paths = pathsOf(flags, prefix);
  const urls = flags[prefix === '' ? 'listen-client-urls' : 'listen-peer-urls'];
  const secure = urls.some((url) => url.startsWith('https:'));
  const automatic = flags[`${prefix}auto-tls`] && paths.certFile === '' && secure;
  if (automatic) {
    const made = selfSigned(flags, prefix, urls, log);
    return openTlsFiles({ ...paths, ...made }, { ...policyOf(flags, prefix), selfSigned: true }, log);
  }
  if (Object.values(paths).every((path) => path === '')) return undefined;
  // Nobody connects by it, and members are not dialed by the flags of clients.
  if (prefix === '' && !secure) return undefined;
  return openTlsFiles(paths, policyOf(flags, prefix), log);
}

function pathsOf(flags: MemberTlsFlags, prefix: '' | 'peer-'): TlsPaths {
  return {
    certFile: flags[`${prefix}cert-file`],
    keyFile: flags[`${prefix}key-file`],
    dialCertFile: prefix === '' ? '' : flags['peer-client-cert-file'],
    dialKeyFile: prefix === '' ? '' : flags['peer-client-key-file'],
    caFile: flags[`${prefix}trusted-ca-file`],
    crlFile: flags[prefix === '' ? 'client-crl-file' : 'peer-crl-file'],
  };
}

function policyOf(flags: MemberTlsFlags, prefix: '' | 'peer-'): Partial<TlsPolicy> {
  const version = (value: string, otherwise: SecureVersion): SecureVersion =>
    value === '' ? otherwise : value === 'TLS1.2' ? 'TLSv1.2' : 'TLSv1.3';
  const peer = prefix === 'peer-';
  return {
    // As etcd's: a file of authorities is demand enough.
    demandCertificate: flags[`${prefix}client-cert-auth`] || flags[`${prefix}trusted-ca-file`] !== '',
    nameIsUser: !peer && flags['client-cert-auth'],
    allowedCn: peer ? flags['peer-cert-allowed-cn'] : [],
    allowedHostname: flags[peer ? 'peer-cert-allowed-hostname' : 'client-cert-allowed-hostname'],
    checkAddress: peer && !flags['peer-skip-client-san-verification'],
    minVersion: version(flags['tls-min-version'], 'TLSv1.2'),
    maxVersion: version(flags['tls-max-version'], 'TLSv1.3'),
    ciphers: openSslCiphers(flags['cipher-suites']),
  };
}

function selfSigned(
  flags: MemberTlsFlags,
  prefix: '' | 'peer-',
  urls: readonly string[],
  log: Logger,
): Pick<TlsPaths, 'certFile' | 'keyFile'> {
  const folder = join(flags['data-dir'], 'fixtures', prefix === '' ? 'client' : 'peer');
  const hosts = [...new Set(urls.map((url) => new URL(url).hostname.replace(/^\[|\]$/g, '')))];
  const { certFile, keyFile, madeUntil } = selfSignedFiles(
    folder,
    hosts,
    flags['self-signed-cert-validity'],
    Date.now(),
  );
  if (madeUntil !== undefined) log.warn({ file: certFile, 'valid-to': madeUntil }, 'made a self-signed certificate');
  return { certFile, keyFile };
}

/** A flag that promises safety and does nothing must not go by in silence. */
function warnOfWhatIsIgnored(flags: MemberTlsFlags, log: Logger): void {
  if (flags['client-cert-file'] !== '') {
    log.info('--client-cert-file and --client-key-file have no effect: the JSON gateway is part of the server');
  }
  for (const prefix of ['', 'peer-'] as const) {
    const side = prefix === '' ? 'client' : 'peer';
    if (flags[`${prefix}auto-tls`] && flags[`${prefix}cert-file`] !== '') {
      log.warn(`ignoring --${prefix}auto-tls, since --${prefix}cert-file is given`);
    }
    for (const url of flags[`listen-${side}-urls`].filter((one) => one.startsWith('http:'))) {
      const ignored = [`${prefix}cert-file`, `${prefix}client-cert-auth`, `${prefix}auto-tls`] as const;
      const given = ignored.filter((name) => flags[name] !== '' && flags[name] !== false);
      if (given.length > 0) log.warn({ url }, `the URL begins with http://: ignoring --${given.join(', --')} for it`);
    }
  }
}
