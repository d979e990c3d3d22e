/**
 * Certificates that sign themselves, for --auto-tls and --peer-auto-tls: made once, kept in the data directory where etcd
 * has them (fixtures/client, fixtures/peer), made anew when they have run out or do not fit.
 */
import { createHash, generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import { der, derInteger, derOid, derTime, Tag } from './der.ts';
import { addressBytes } from './ip-address.ts';

const DAY_MS = 86_400_000;
/** Clocks of others may be behind. */
const BACKDATED_MS = 3_600_000;
/** Less than this left at a start, and a new one is made. */
const RENEW_BEFORE_MS = DAY_MS;

export interface SelfSigned {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface SelfSignedFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** When it ends, if it was made just now; undefined when there was one. */
  readonly madeUntil?: Date;
}

/** A certificate of version 3 with a P-256 key, for these DNS names and IP addresses, for servers and clients. */
export function makeSelfSigned(hosts: readonly string[], validityYears: number, nowMs: number): SelfSigned {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const publicKeyInfo = publicKey.export({ type: 'spki', format: 'der' });
  const ecdsaWithSha256 = der(Tag.SEQUENCE, derOid('1.2.840.10045.4.3.2'));
  const organization = der(Tag.SEQUENCE, derOid('2.5.4.10'), der(Tag.UTF8_STRING, Buffer.from('roster')));
  const name = der(Tag.SEQUENCE, der(Tag.SET, organization));
  const serial = randomBytes(16);
  // Neither negative nor shorter.
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  const until = nowMs + validityYears * 365 * DAY_MS;
  const tbs = der(
    Tag.SEQUENCE,
    der(0xa0, derInteger(Buffer.from([2]))),
    derInteger(serial),
    ecdsaWithSha256,
    name,
    der(Tag.SEQUENCE, derTime(nowMs - BACKDATED_MS), derTime(until)),
    name,
    publicKeyInfo,
    der(0xa3, der(Tag.SEQUENCE, ...extensions(hosts, publicKeyInfo))),
  );
  const signature = der(Tag.BIT_STRING, Buffer.from([0]), sign('sha256', tbs, privateKey));
  const bytes = der(Tag.SEQUENCE, tbs, ecdsaWithSha256, signature);
  const lines = bytes.toString('base64').match(/.{1,64}/g)!;
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/** RFC 5280, 4.2. It signs itself and nothing else, so it may not call itself an authority over others. */
function extensions(hosts: readonly string[], publicKeyInfo: Buffer): Buffer[] {
  const extension = (oid: string, critical: boolean, value: Buffer): Buffer => {
    const flag = critical ? [der(Tag.BOOLEAN, Buffer.from([0xff]))] : [];
    return der(Tag.SEQUENCE, derOid(oid), ...flag, der(Tag.OCTET_STRING, value));
  };
  const names = hosts.map((host) =>
    isIP(host) === 0 ? der(0x82, Buffer.from(host, 'latin1')) : der(0x87, addressBytes(host)),
  );
  const serverAuth = derOid('1.3.6.1.5.5.7.3.1');
  const clientAuth = derOid('1.3.6.1.5.5.7.3.2');
  const keyId = createHash('sha1').update(publicKeyInfo).digest();
  return [
    // digitalSignature.
    extension('2.5.29.15', true, der(Tag.BIT_STRING, Buffer.from([7, 0x80]))),
    extension('2.5.29.37', false, der(Tag.SEQUENCE, serverAuth, clientAuth)),
    extension('2.5.29.19', true, der(Tag.SEQUENCE)),
    extension('2.5.29.14', false, der(Tag.OCTET_STRING, keyId)),
    ...(names.length === 0 ? [] : [extension('2.5.29.17', false, der(Tag.SEQUENCE, ...names))]),
  ];
}

/** The pair in `folder`, made if there is none that can be used. Throws a RosterError when it cannot be written. */
export function selfSignedFiles(
  folder: string,
  hosts: readonly string[],
  validityYears: number,
  nowMs: number,
): SelfSignedFiles {
  const certFile = resolve(join(folder, 'cert.pem'));
  const keyFile = resolve(join(folder, 'key.pem'));
  if (isUsable(certFile, keyFile, hosts, nowMs)) return { certFile, keyFile };
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { cert, key } = makeSelfSigned(hosts, validityYears, nowMs);
    for (const [path, text] of [[keyFile, key] as const, [certFile, cert] as const]) {
      writeFileSync(`${path}.tmp`, text, { mode: 0o600 });
      renameSync(`${path}.tmp`, path);
    }
    return { certFile, keyFile, madeUntil: new Date(new X509Certificate(cert).validTo) };
  } catch (error) {
    const text = `cannot make a self-signed certificate in ${folder}: ${(error as Error).message}`;
    throw otherError(GrpcStatus.FAILED_PRECONDITION, text, { cause: error });
  }
}

function isUsable(certFile: string, keyFile: string, hosts: readonly string[], nowMs: number): boolean {
  if (!existsSync(certFile) || !existsSync(keyFile)) return false;
  try {
    const certificate = new X509Certificate(readFileSync(certFile));
    const fits = hosts.every((host) =>
      isIP(host) === 0 ? certificate.checkHost(host) !== undefined : certificate.checkIP(host) !== undefined,
    );
    return fits && Date.parse(certificate.validTo) - nowMs > RENEW_BEFORE_MS;
  } catch {
    return false;
  }
}
