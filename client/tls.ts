/**
 * How an endpoint is reached over TLS: the credentials of a channel, and whose certificate the server must show. Trusts
 * what the system or the given authorities have not signed only where it is told to.
 */
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import * as grpc from '@grpc/grpc-js';

export interface TlsOptions {
  /** PEM of the authorities that may have signed the server's certificate; the system's when absent. */
  ca?: string | Uint8Array;
  /** PEM of the client's own certificate and key, both or none. */
  cert?: string | Uint8Array;
  key?: string | Uint8Array;
  /** Takes any certificate: for tests only, since it protects from nobody who can answer in the server's place. */
  insecureSkipVerify?: boolean;
}

/**
 * The server name (SNI) sent to an IP address. RFC 6066 allows no address there and Node refuses one from version 26
 * on; grpc-js always sends something. Under `invalid` (RFC 6761) no server has a certificate of its own for it.
 */
export const NAME_FOR_ADDRESSES = 'ip-address.invalid';

/** What a channel to `host` over TLS is made with. An IPv6 address comes with its brackets. */
export function secureChannel(
  host: string,
  tls: TlsOptions,
): { credentials: grpc.ChannelCredentials; options: grpc.ChannelOptions } {
  // A zone means something on this machine only: no certificate names it.
  const address = host.replace(/^\[([^%]*)(?:%.*)?\]$/, '$1');
  if (isIP(address) === 0) return { credentials: credentials(tls, {}), options: {} };
  // The certificate must be valid for the address itself. That it is valid for the name sent is worth nothing.
  const verify: grpc.VerifyOptions = { checkServerIdentity: (_name, cert) => checkServerIdentity(address, cert) };
  return { credentials: credentials(tls, verify), options: { 'grpc.ssl_target_name_override': NAME_FOR_ADDRESSES } };
}

function credentials(tls: TlsOptions, verify: grpc.VerifyOptions): grpc.ChannelCredentials {
  const pem = (text: string | Uint8Array | undefined) => (text === undefined ? null : Buffer.from(text as string));
  const checks = tls.insecureSkipVerify ? { rejectUnauthorized: false, checkServerIdentity: () => undefined } : verify;
  return grpc.credentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert), checks);
}
