/**
 * TLS between members, from etcd's --peer-* flags: one certificate for both ends of a connection, and whose certificates
 * are let in. Reads the files once, at start.
 */
import { readFileSync } from 'node:fs';
import {
  type ConnectionOptions,
  checkServerIdentity,
  type PeerCertificate,
  type SecureContextOptions,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import { GrpcStatus, otherError } from '../../core/errors.ts';

export interface PeerTls {
  /** PEM of this member's certificate and key; both or none. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  /** PEM of the authorities that sign the members' certificates; the system's when absent. */
  readonly ca?: string | Buffer;
  /** Who dials must show a certificate that `ca` has signed. */
  readonly clientCertAuth: boolean;
  /** If not empty, its certificate must have one of these common names, or be valid for one of these host names. */
  readonly allowedCn: readonly string[];
  readonly allowedHostname: readonly string[];
}

export interface PeerTlsFlags {
  readonly 'peer-cert-file': string;
  readonly 'peer-key-file': string;
  readonly 'peer-trusted-ca-file': string;
  readonly 'peer-client-cert-auth': boolean;
  readonly 'peer-cert-allowed-cn': readonly string[];
  readonly 'peer-cert-allowed-hostname': readonly string[];
}

/** Throws a RosterError that names the flag whose file cannot be read. */
export function readPeerTls(flags: PeerTlsFlags): PeerTls {
  const read = (name: 'peer-cert-file' | 'peer-key-file' | 'peer-trusted-ca-file') => {
    try {
      return readFileSync(flags[name]);
    } catch (error) {
      throw otherError(GrpcStatus.FAILED_PRECONDITION, `--${name}: ${(error as Error).message}`, { cause: error });
    }
  };
  return {
    ...(flags['peer-cert-file'] === '' ? {} : { cert: read('peer-cert-file'), key: read('peer-key-file') }),
    ...(flags['peer-trusted-ca-file'] === '' ? {} : { ca: read('peer-trusted-ca-file') }),
    clientCertAuth: flags['peer-client-cert-auth'],
    allowedCn: flags['peer-cert-allowed-cn'],
    allowedHostname: flags['peer-cert-allowed-hostname'],
  };
}

/** For dialing: who is dialed must always show a certificate that is valid for the host of its URL. */
export function dialTls(
  tls: PeerTls | undefined,
): Pick<ConnectionOptions, 'checkServerIdentity'> & SecureContextOptions {
  const check = (host: string, certificate: PeerCertificate): Error | undefined => {
    const wrong = checkServerIdentity(host, certificate);
    if (wrong !== undefined || tls === undefined || hasAllowedName(certificate, tls)) return wrong;
    return new Error('its certificate has none of the allowed names');
  };
  return { ...pems(tls), minVersion: 'TLSv1.2', checkServerIdentity: check };
}

/** For listening. Whom {@link isAllowed} refuses must be cut off besides. */
export function listenTls(tls: PeerTls | undefined): TlsOptions {
  const demand = tls?.clientCertAuth ?? false;
  return { ...pems(tls), requestCert: demand, rejectUnauthorized: demand, minVersion: 'TLSv1.2' };
}

function pems(tls: PeerTls | undefined): Pick<PeerTls, 'cert' | 'key' | 'ca'> {
  const { cert, key, ca } = tls ?? {};
  return { ...(cert && { cert }), ...(key && { key }), ...(ca && { ca }) };
}

/** Whether the certificate of a dialing member has one of the names it must have (etcd: --peer-cert-allowed-*). */
export function isAllowed(socket: TLSSocket, tls: PeerTls): boolean {
  return hasAllowedName(socket.getPeerCertificate(), tls);
}

/** Of either side: as with etcd, who answers must have an allowed name as well. */
function hasAllowedName(certificate: PeerCertificate | undefined, { allowedCn, allowedHostname }: PeerTls): boolean {
  if (allowedCn.length === 0 && allowedHostname.length === 0) return true;
  // Without a certificate it is an object with nothing in it.
  if (certificate?.subject === undefined) return false;
  const { CN } = certificate.subject as { CN?: string | string[] };
  if (typeof CN === 'string' && allowedCn.includes(CN)) return true;
  return allowedHostname.some((host) => checkServerIdentity(host, certificate) === undefined);
}
