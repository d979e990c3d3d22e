/**
 * As much of ASN.1 DER (X.690) as certificates and revocation lists need: to read elements with definite lengths, and to
 * write a few kinds. Knows nothing of what they mean. Throws a plain Error at anything that is not DER.
 */

export const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OID: 0x06,
  UTF8_STRING: 0x0c,
  BMP_STRING: 0x1e,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

export interface Element {
  readonly tag: number;
  /** What is in it, and all of it with tag and length. */
  readonly body: Buffer;
  readonly whole: Buffer;
}

const LENGTH_BYTES_MAX = 4;

/** The elements that stand one after the other in `bytes`. */
export function elements(bytes: Buffer): Element[] {
  const found: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const element = readElement(bytes, at);
    found.push(element);
    at += element.whole.length;
  }
  return found;
}

/** The element at `start`. */
export function readElement(bytes: Buffer, start = 0): Element {
  const tag = bytes[start];
  const first = bytes[start + 1];
  if (tag === undefined || first === undefined) throw new Error('DER ends in the middle of an element');
  let at = start + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > LENGTH_BYTES_MAX || at + count > bytes.length) throw new Error('DER with a bad length');
    length = bytes.readUIntBE(at, count);
    at += count;
  }
  if (at + length > bytes.length) throw new Error('DER ends in the middle of an element');
  return { tag, body: bytes.subarray(at, at + length), whole: bytes.subarray(start, at + length) };
}

/** An element of these parts. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const length = body.length > 0xff ? [0x82, body.length >> 8, body.length & 0xff] : [0x81, body.length];
  if (body.length > 0xffff) throw new Error('too long to be written');
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

/** A whole number that is not negative, most significant byte first. */
export function derInteger(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const digits = bytes.subarray(start);
  // A leading bit that is set would be a sign.
  return der(Tag.INTEGER, (digits[0] ?? 0) >= 0x80 ? Buffer.from([0]) : Buffer.alloc(0), digits);
}

/** `1.2.840.10045.2.1` */
export function derOid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes: number[] = [];
  for (const part of [first * 40 + second, ...rest]) {
    const digits = [part % 128];
    for (let left = Math.floor(part / 128); left > 0; left = Math.floor(left / 128)) digits.unshift((left % 128) + 128);
    bytes.push(...digits);
  }
  return der(Tag.OID, Buffer.from(bytes));
}

/** RFC 5280, 4.1.2.5: two digits of the year through 2049, four from 2050 on. */
export function derTime(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
  const digits = text.replace(/[-:T]/g, '');
  const year = Number(digits.slice(0, 4));
  return year < 2050 ? der(Tag.UTC_TIME, Buffer.from(digits.slice(2))) : der(Tag.GENERALIZED_TIME, Buffer.from(digits));
}

/** Milliseconds since 1970, of either kind of time. */
export function readTime({ tag, body }: Element): number {
  const text = body.toString('latin1');
  const digits = tag === Tag.UTC_TIME ? `${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text}` : text;
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(digits);
  if (match === null) throw new Error('DER with a bad time');
  const [, year, month, day, hour, minute, second] = match.map(Number);
  return Date.UTC(year!, month! - 1, day!, hour!, minute!, second!);
}
