/**
 * What is in the files of TLS: certificate and key, authorities, revocation lists - read together and believed only when
 * all of it can be used. Errors name the file.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import { pemBlocks } from './pem.ts';
import { type Revocations, readRevocations } from './revocation.ts';

/** Paths; '' where there is none. */
export interface TlsPaths {
  readonly certFile: string;
  readonly keyFile: string;
  /** Shown when dialing, in place of the above. */
  readonly dialCertFile: string;
  readonly dialKeyFile: string;
  readonly caFile: string;
  readonly crlFile: string;
}

export interface Pair {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface Credentials {
  readonly own?: Pair;
  readonly dial?: Pair;
  /** PEM of each authority; at least one. Absent: those of the system, for dialing. */
  readonly ca?: readonly string[];
  readonly revoked?: Revocations;
}

/** Larger is no file of certificates. */
export const TLS_FILE_BYTES_MAX = 16 * 1024 * 1024;

/** Throws a RosterError with file and reason. */
export async function readCredentials(paths: TlsPaths): Promise<Credentials> {
  const own = await readPair(paths.certFile, paths.keyFile);
  const dial = await readPair(paths.dialCertFile, paths.dialKeyFile);
  const ca = await readAuthorities(paths.caFile);
  const revoked = await readRevoked(paths.crlFile);
  return { ...(own && { own }), ...(dial && { dial }), ...(ca && { ca }), ...(revoked && { revoked }) };
}

async function readPair(certFile: string, keyFile: string): Promise<Pair | undefined> {
  if (certFile === '') return undefined;
  const cert = await read(certFile);
  const key = await read(keyFile);
  const certificate = about(certFile, () => {
    const blocks = pemBlocks(cert, 'CERTIFICATE').map((block) => new X509Certificate(block));
    if (blocks[0] === undefined) throw new Error('there is no certificate in it');
    return blocks[0];
  });
  const privateKey = about(keyFile, () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw unusable(keyFile, `it is not the key of the certificate in ${certFile}`);
  }
  return { cert, key };
}

async function readAuthorities(file: string): Promise<string[] | undefined> {
  if (file === '') return undefined;
  const text = await read(file);
  return about(file, () => {
    const blocks = pemBlocks(text, 'CERTIFICATE').map((block) => new X509Certificate(block).toString());
    // With none OpenSSL would take the system's authorities, who have signed half the world's certificates.
    if (blocks.length === 0) throw new Error('there is no certificate in it');
    return blocks;
  });
}

async function readRevoked(file: string): Promise<Revocations | undefined> {
  if (file === '') return undefined;
  const text = await read(file, 'latin1');
  return about(file, () => readRevocations(Buffer.from(text, 'latin1')));
}

async function read(file: string, encoding: 'utf8' | 'latin1' = 'utf8'): Promise<string> {
  try {
    const bytes = await readFile(file);
    if (bytes.length > TLS_FILE_BYTES_MAX) throw new Error(`it has more than ${TLS_FILE_BYTES_MAX} bytes`);
    return bytes.toString(encoding);
  } catch (error) {
    throw unusable(file, (error as Error).message);
  }
}

function about<T>(file: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw unusable(file, (error as Error).message);
  }
}

function unusable(file: string, reason: string): Error {
  return otherError(GrpcStatus.FAILED_PRECONDITION, `cannot use the TLS file ${file}: ${reason}`);
}
