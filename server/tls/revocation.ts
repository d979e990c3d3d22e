/**
 * Certificate revocation lists (RFC 5280, 5): which certificates of which issuer are revoked. As with etcd the file is
 * trusted, its signature is not looked at; and an old list goes on to hold, since without it more would be let in.
 */
import { type Element, elements, readElement, readTime, Tag } from './der.ts';
import { pemBlocks } from './pem.ts';

export interface Revocations {
  /** Whether the certificate (DER) is on a list of its issuer. */
  has(certificate: Buffer): boolean;
  /** When the next list should have been there, in milliseconds since 1970; Infinity when no list says. */
  readonly nextUpdateMs: number;
}

/** Of the version, which stands before the rest. */
const VERSION_TAG = 0xa0;

/** `bytes`: one list as DER, or any number as PEM. Throws a plain Error that completes "the file: ...". */
export function readRevocations(bytes: Buffer): Revocations {
  const text = bytes.toString('latin1');
  const lists = text.includes('-----BEGIN ') ? pemBlocks(text, 'X509 CRL') : [bytes];
  if (lists.length === 0) throw new Error('there is no X509 CRL in it');
  const revoked = new Set<string>();
  let nextUpdateMs = Number.POSITIVE_INFINITY;
  for (const list of lists) nextUpdateMs = Math.min(nextUpdateMs, addList(list, revoked));
  return { nextUpdateMs, has: (certificate) => revoked.has(identityOf(certificate)) };
}

/** TBSCertList: version?, signature, issuer, thisUpdate, nextUpdate?, revokedCertificates?, extensions?. */
function addList(list: Buffer, revoked: Set<string>): number {
  const [version, ...rest] = elements(readElement(readElement(list).body).body);
  const fields = version?.tag === Tag.INTEGER ? rest : [version, ...rest];
  const [, issuer, thisUpdate, ...optional] = fields;
  if (issuer?.tag !== Tag.SEQUENCE || thisUpdate === undefined || !isTime(thisUpdate)) {
    throw new Error('it is not a certificate revocation list');
  }
  const name = nameKey(issuer);
  const next = optional[0] !== undefined && isTime(optional[0]) ? optional.shift() : undefined;
  if (optional[0]?.tag === Tag.SEQUENCE) {
    for (const entry of elements(optional[0].body)) revoked.add(key(name, readElement(entry.body)));
  }
  return next === undefined ? Number.POSITIVE_INFINITY : readTime(next);
}

/** TBSCertificate: [0] version?, serialNumber, signature, issuer, ... */
function identityOf(certificate: Buffer): string {
  const fields = elements(readElement(readElement(certificate).body).body);
  const [serial, , issuer] = fields[0]?.tag === VERSION_TAG ? fields.slice(1) : fields;
  if (serial === undefined || issuer === undefined) throw new Error('it is not a certificate');
  return key(nameKey(issuer), serial);
}

function key(issuer: string, serial: Element): string {
  return `${serial.body.toString('hex')} ${issuer}`;
}

/**
 * Serial numbers are unique for an issuer only. Its name need not be encoded the same way in both places, so what
 * counts is what it says, without regard to case and space (RFC 5280, 7.1).
 */
function nameKey(name: Element): string {
  const parts: string[] = [];
  for (const set of elements(name.body)) {
    for (const pair of elements(set.body)) {
      const [type, value] = elements(pair.body);
      if (type === undefined || value === undefined) throw new Error('a name without a value');
      const text =
        value.tag === Tag.BMP_STRING ? Buffer.from(value.body).swap16().toString('utf16le') : value.body.toString();
      parts.push(`${type.body.toString('hex')}=${text.trim().replace(/\s+/g, ' ').toLowerCase()}`);
    }
  }
  return JSON.stringify(parts);
}

function isTime({ tag }: Element): boolean {
  return tag === Tag.UTC_TIME || tag === Tag.GENERALIZED_TIME;
}
