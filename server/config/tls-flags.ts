/**
 * The flags of TLS, for clients and between members: etcd's names and defaults, and what they need of each other. Reads no
 * file.
 */
import { openSslCiphers } from '../tls/cipher-suites.ts';
import { type FlagTable, type FlagValues, UsageError } from './flag-table.ts';
import { choice, flag, list, text, whole } from './values.ts';

const VALIDITY_YEARS_MAX = 100;

export const tlsFlags = {
  'cert-file': text('', 'PEM certificate of the client listener (with https:// listen URLs)'),
  'key-file': text('', 'PEM key of the client listener'),
  'client-cert-file': text('', 'accepted, of no effect: the JSON gateway needs no connection of its own to the server'),
  'client-key-file': text('', 'accepted, of no effect, as client-cert-file'),
  'trusted-ca-file': text(
    '',
    'PEM certificates of the authorities that sign client certificates; demands one of every client',
  ),
  'client-cert-auth': flag(
    false,
    'demand a client certificate signed by trusted-ca-file; its common name is the user when auth is on',
  ),
  'client-crl-file': text('', 'revoked client certificates: X509 CRL, PEM or DER'),
  'client-cert-allowed-hostname': list('host names of which one must be in the certificate of a client'),
  'auto-tls': flag(false, 'make a self-signed certificate for the client listener, if cert-file is not given'),
  'peer-cert-file': text('', 'PEM certificate between members: of the peer listener, and shown to other members'),
  'peer-key-file': text('', 'PEM key of peer-cert-file'),
  'peer-client-cert-file': text('', 'PEM certificate shown to other members, in place of peer-cert-file'),
  'peer-client-key-file': text('', 'PEM key of peer-client-cert-file'),
  'peer-trusted-ca-file': text(
    '',
    'PEM certificates of the authorities that sign those of the members; demands one of every member',
  ),
  'peer-client-cert-auth': flag(false, 'demand of other members a certificate signed by peer-trusted-ca-file'),
  'peer-crl-file': text('', 'revoked certificates of members: X509 CRL, PEM or DER'),
  'peer-cert-allowed-cn': list('common names of which one must be in the certificate of another member'),
  'peer-cert-allowed-hostname': list('host names of which one must be in the certificate of another member'),
  'peer-skip-client-san-verification': flag(
    false,
    'do not demand that a member connects from an address that its certificate names',
  ),
  'peer-auto-tls': flag(false, 'make a self-signed certificate between members, if peer-cert-file is not given'),
  'self-signed-cert-validity': whole(1, 1, VALIDITY_YEARS_MAX, 'years that the certificates of auto-tls are valid'),
  'cipher-suites': list(
    "cipher suites of TLS 1.2 by Go's names, e.g. TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; those of 1.3 are always on",
  ),
  'tls-min-version': choice('TLS1.2', ['TLS1.2', 'TLS1.3'], 'lowest version of TLS'),
  'tls-max-version': choice('', ['', 'TLS1.2', 'TLS1.3'], 'highest version of TLS; default: the highest there is'),
} as const satisfies FlagTable;

export type TlsFlags = FlagValues<typeof tlsFlags>;

interface ListenUrls {
  readonly 'listen-client-urls': readonly string[];
  readonly 'listen-peer-urls': readonly string[];
}

/** Throws UsageError. */
export function checkTlsFlags(values: TlsFlags & ListenUrls): void {
  for (const prefix of ['', 'peer-'] as const) {
    checkPairs(values, prefix);
    const [listen, cert, ca, auth, crl] = [
      prefix === '' ? 'listen-client-urls' : 'listen-peer-urls',
      `${prefix}cert-file`,
      `${prefix}trusted-ca-file`,
      `${prefix}client-cert-auth`,
      prefix === '' ? 'client-crl-file' : 'peer-crl-file',
    ] as const;
    const secure = values[listen].some((url) => url.startsWith('https:'));
    if (secure && values[cert] === '' && !values[`${prefix}auto-tls`]) {
      throw new UsageError(
        `an https:// URL in --${listen} needs --${cert} and --${prefix}key-file, or --${prefix}auto-tls`,
      );
    }
    if (values[auth] && values[ca] === '') throw new UsageError(`--${auth} needs --${ca}`);
    if (values[crl] !== '' && values[ca] === '')
      throw new UsageError(`--${crl} needs --${ca}: otherwise it revokes nothing`);
  }
  checkNames(values);
  checkVersions(values);
}

function checkPairs(values: TlsFlags, prefix: '' | 'peer-'): void {
  for (const [cert, key] of [
    [`${prefix}cert-file`, `${prefix}key-file`],
    [`${prefix}client-cert-file`, `${prefix}client-key-file`],
  ] as const) {
    if ((values[cert] === '') !== (values[key] === '')) {
      throw new UsageError(`--${cert} and --${key} must be given together`);
    }
  }
}

function checkNames(values: TlsFlags): void {
  for (const [name, ca] of [
    ['client-cert-allowed-hostname', 'trusted-ca-file'],
    ['peer-cert-allowed-cn', 'peer-trusted-ca-file'],
    ['peer-cert-allowed-hostname', 'peer-trusted-ca-file'],
  ] as const) {
    if (values[name].length > 0 && values[ca] === '') {
      throw new UsageError(`--${name} needs --${ca}: otherwise nobody has to show a certificate`);
    }
  }
  if (values['peer-cert-allowed-cn'].length > 0 && values['peer-cert-allowed-hostname'].length > 0) {
    throw new UsageError('--peer-cert-allowed-cn and --peer-cert-allowed-hostname cannot be given together');
  }
}

function checkVersions(values: TlsFlags): void {
  const { 'tls-min-version': min, 'tls-max-version': max, 'cipher-suites': suites } = values;
  if (max !== '' && min > max) throw new UsageError(`--tls-min-version ${min} is above --tls-max-version ${max}`);
  if (min === 'TLS1.3' && suites.length > 0) {
    throw new UsageError('--cipher-suites is for TLS 1.2, which --tls-min-version TLS1.3 excludes');
  }
  openSslCiphers(suites);
}
