/** Whom a connection's certificate names: the subject's common name, of a certificate that the listener has verified. */
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

const ignored = new WeakSet<Duplex>();

/** The certificate of this connection opens the door and says nothing about users. */
export function ignoreCommonName(socket: Duplex): void {
  ignored.add(socket);
}

/**
 * Undefined in cleartext, without a certificate, when nobody has verified it, and when it does not name exactly one: which
 * of two would be meant is a matter of opinion.
 */
export function commonNameOf(socket: Duplex): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized || ignored.has(socket)) return undefined;
  const name: unknown = socket.getPeerCertificate().subject?.CN;
  return typeof name === 'string' && name !== '' ? name : undefined;
}
