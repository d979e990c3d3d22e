/**
 * Who is let in, and who is talked to: the checks of a certificate after the handshake, with the reason of a refusal in plain
 * words. Decides from what OpenSSL has found about the chain; never verifies signatures itself.
 */
import { checkServerIdentity, type DetailedPeerCertificate, type PeerCertificate, type TLSSocket } from 'node:tls';
import type { Tls } from './tls.ts';

/** Certificates of a chain that are looked at: no real one is longer. */
const CHAIN_LENGTH_MAX = 16;

/** Why the client of this finished handshake must not come in; undefined when it may. */
export function refusedClient(socket: TLSSocket, tls: Tls): string | undefined {
  if (!tls.policy.demandCertificate) return undefined;
  const certificate = socket.getPeerCertificate(true);
  // Without one it is an object with nothing in it.
  if (certificate?.raw === undefined) return 'it has shown no certificate';
  if (!socket.authorized) return chainReason(String(socket.authorizationError), certificate);
  return revokedReason(certificate, tls) ?? nameReason(certificate, tls);
}

/** Why the server of this certificate is not who was dialed; undefined when it is. */
export function refusedServer(host: string, certificate: PeerCertificate, tls: Tls): Error | undefined {
  const wrong = checkServerIdentity(host, certificate);
  if (wrong !== undefined) return wrong;
  const reason = revokedReason(certificate as DetailedPeerCertificate, tls) ?? nameReason(certificate, tls);
  return reason === undefined ? undefined : new Error(reason);
}

/** OpenSSL's codes (X509_V_ERR_*) for a chain that does not hold. */
function chainReason(code: string, certificate: PeerCertificate): string {
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return `its certificate has expired (${certificate.valid_to}), or that of an authority in its chain`;
    case 'CERT_NOT_YET_VALID':
      return `its certificate is not valid yet (${certificate.valid_from}), or the clock of this machine is wrong`;
    case 'INVALID_PURPOSE':
      return 'its certificate is not meant for clients (its extended key usage lacks clientAuth)';
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'CERT_SIGNATURE_FAILURE':
    case 'CERT_UNTRUSTED':
      return 'its certificate was not signed by an authority in the trusted CA file';
    default:
      return `its certificate does not hold: ${code}`;
  }
}

function revokedReason(certificate: DetailedPeerCertificate, tls: Tls): string | undefined {
  const { revoked } = tls.credentials;
  if (revoked === undefined) return undefined;
  let current: DetailedPeerCertificate | undefined = certificate;
  for (let depth = 0; depth < CHAIN_LENGTH_MAX && current?.raw !== undefined; depth++) {
    if (revoked.has(current.raw)) return `its certificate with serial number ${current.serialNumber} is revoked`;
    // The authority at the end has issued itself.
    if (current.issuerCertificate === current) return undefined;
    current = current.issuerCertificate;
  }
  return undefined;
}

/** etcd: --peer-cert-allowed-*, --client-cert-allowed-hostname. Of either side: who answers must have the name as well. */
function nameReason(certificate: PeerCertificate, { policy }: Tls): string | undefined {
  const { allowedCn, allowedHostname } = policy;
  if (allowedCn.length === 0 && allowedHostname.length === 0) return undefined;
  const { CN } = (certificate.subject ?? {}) as { CN?: string | string[] };
  if (typeof CN === 'string' && allowedCn.includes(CN)) return undefined;
  if (allowedHostname.some((host) => checkServerIdentity(host, certificate) === undefined)) return undefined;
  return 'its certificate has none of the allowed names';
}
