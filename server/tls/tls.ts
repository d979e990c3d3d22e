/**
 * TLS of one kind of connection, to clients or to members: what is demanded of the other side, and the credentials in
 * force. Makes the options for listening and dialing; files.ts puts newer credentials in place while it is in use.
 */
import { constants } from 'node:crypto';
import type { ConnectionOptions, PeerCertificate, SecureVersion, TlsOptions } from 'node:tls';
import type { Credentials } from './credentials.ts';
import { refusedServer } from './verdict.ts';

export interface TlsPolicy {
  /** Who connects must show a certificate that an authority of the bundle has signed. */
  readonly demandCertificate: boolean;
  /** The common name of that certificate says who the user is. */
  readonly nameIsUser: boolean;
  /** If not empty, the other side's certificate must have one of these common names, or be valid for one of these hosts. */
  readonly allowedCn: readonly string[];
  readonly allowedHostname: readonly string[];
  /** If the certificate of who connects names hosts, it must come from one of them. */
  readonly checkAddress: boolean;
  /** Certificates on both sides have signed themselves: what is dialed cannot be verified. */
  readonly selfSigned: boolean;
  readonly minVersion: SecureVersion;
  readonly maxVersion: SecureVersion;
  /** OpenSSL's names; undefined: its choice. */
  readonly ciphers: string | undefined;
}

export const DEFAULT_POLICY: TlsPolicy = Object.freeze({
  demandCertificate: false,
  nameIsUser: false,
  allowedCn: [],
  allowedHostname: [],
  checkAddress: false,
  selfSigned: false,
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  ciphers: undefined,
});

export class Tls {
  readonly policy: TlsPolicy;
  #credentials: Credentials;
  readonly #listeners = new Set<() => void>();

  constructor(policy: Partial<TlsPolicy>, credentials: Credentials) {
    this.policy = { ...DEFAULT_POLICY, ...policy };
    this.#credentials = credentials;
  }

  get credentials(): Credentials {
    return this.#credentials;
  }

  /** From now on. Connections there are stay; handshakes under way end with what they began with. */
  replace(credentials: Credentials): void {
    this.#credentials = credentials;
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` after each replacement, until the returned function is called. */
  onReplace(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** For a tls.Server. Who is let in is decided by door.ts after the handshake, not by Node. */
  serverOptions(): TlsOptions {
    const { own } = this.#credentials;
    return {
      ...(own === undefined ? {} : { cert: own.cert, key: own.key }),
      ...this.#common(),
      requestCert: this.policy.demandCertificate,
      // Node would cut it off without saying whom and why; door.ts lets nobody pass who is not authorized.
      rejectUnauthorized: false,
      // A resumed session would not be verified again: not against new authorities, nor a certificate's end. And nobody
      // who speaks HTTP/2 renegotiates.
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    };
  }

  /** For dialing, with the credentials in force at this moment. */
  dialOptions(): ConnectionOptions {
    const { own, dial = own } = this.#credentials;
    return {
      ...(dial === undefined ? {} : { cert: dial.cert, key: dial.key }),
      ...this.#common(),
      rejectUnauthorized: !this.policy.selfSigned,
      checkServerIdentity: (host: string, certificate: PeerCertificate) =>
        this.policy.selfSigned ? undefined : refusedServer(host, certificate, this),
    };
  }

  #common(): Pick<ConnectionOptions, 'ca' | 'minVersion' | 'maxVersion' | 'ciphers'> {
    const { minVersion, maxVersion, ciphers } = this.policy;
    const { ca } = this.#credentials;
    return {
      minVersion,
      maxVersion,
      ...(ca === undefined ? {} : { ca: [...ca] }),
      ...(ciphers === undefined ? {} : { ciphers }),
    };
  }
}

/** For dialing https:// without, or with, flags that say how. */
export function dialOptions(tls: Tls | undefined): ConnectionOptions {
  return (tls ?? new Tls({}, {})).dialOptions();
}
