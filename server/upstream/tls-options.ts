/** TLS towards another store, from files that flags name. Read once, when the connection is set up. */
import { readFileSync } from 'node:fs';
import type { TlsOptions } from '../../client/tls.ts';
import { GrpcStatus, otherError } from '../../core/errors.ts';

export interface UpstreamTlsFiles {
  /** Paths; '' where there is none. */
  readonly cert: string;
  readonly key: string;
  readonly caCert: string;
  readonly insecureSkipVerify: boolean;
  /** Whether an endpoint without http:// or https:// is to be reached without TLS. */
  readonly insecureTransport: boolean;
}

/** Undefined: endpoints without a scheme are reached without TLS. Throws a RosterError that names the file. */
export function upstreamTls(files: UpstreamTlsFiles): TlsOptions | undefined {
  const { cert, key, caCert, insecureSkipVerify, insecureTransport } = files;
  if (insecureTransport && cert === '' && caCert === '' && !insecureSkipVerify) return undefined;
  return {
    ...(caCert === '' ? {} : { ca: read(caCert) }),
    ...(cert === '' ? {} : { cert: read(cert), key: read(key) }),
    insecureSkipVerify,
  };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const text = `cannot use the TLS file ${path}: ${(error as Error).message}`;
    throw otherError(GrpcStatus.FAILED_PRECONDITION, text, { cause: error });
  }
}
