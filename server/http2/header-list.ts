/**
 * A decoded header section and what makes it a well-formed request (RFC 9113 section 8). Lists are immutable and shared:
 * equal header blocks of a connection decode to the same object, so the checks here run once for all of them.
 */

export type HeaderField = readonly [name: string, value: string];

/** Fields in the order received; names and values are latin1. */
export class HeaderList {
  /** name, value, name, value ... */
  readonly fields: readonly string[];
  /** A name or value holds octets that RFC 9113 section 8.2.1 forbids. */
  readonly malformed: boolean;
  /** The list was longer than the decoder's limit and `fields` stops there. */
  readonly tooLarge: boolean;
  #request: RequestHeaders | null | undefined;

  constructor(fields: readonly string[], malformed: boolean, tooLarge: boolean) {
    this.fields = fields;
    this.malformed = malformed;
    this.tooLarge = tooLarge;
  }

  /** The first value under a lower-case name. A scan: lists are short, and no name can collide with an object's own. */
  get(name: string): string | undefined {
    return firstValue(this.fields, name);
  }

  /** The request these headers spell, or undefined when they are malformed. */
  get request(): RequestHeaders | undefined {
    if (this.#request === undefined) this.#request = this.malformed ? null : (readRequest(this.fields) ?? null);
    return this.#request ?? undefined;
  }

  /** True when this may end a request: no pseudo-header fields (RFC 9113 section 8.1). */
  get isTrailerSection(): boolean {
    if (this.malformed) return false;
    for (let i = 0; i < this.fields.length; i += 2) if (this.fields[i]!.startsWith(':')) return false;
    return true;
  }
}

/** The head of a well-formed request. */
export class RequestHeaders {
  readonly method: string;
  /** `:path`; empty for CONNECT only. */
  readonly path: string;
  /** Empty for CONNECT only. */
  readonly scheme: string;
  /** `:authority`, else the Host field; may be undefined. */
  readonly authority: string | undefined;
  /** -1 when the request does not say. */
  readonly contentLength: number;
  /** Every field but the pseudo-headers: name, value, name, value ... */
  readonly fields: readonly string[];

  constructor(
    method: string,
    path: string,
    scheme: string,
    authority: string | undefined,
    contentLength: number,
    fields: readonly string[],
  ) {
    this.method = method;
    this.path = path;
    this.scheme = scheme;
    this.authority = authority;
    this.contentLength = contentLength;
    this.fields = fields;
  }

  /** The first value under a lower-case name. */
  get(name: string): string | undefined {
    return firstValue(this.fields, name);
  }
}

interface Pseudo {
  method: string | undefined;
  path: string | undefined;
  scheme: string | undefined;
  authority: string | undefined;
}

function readRequest(all: readonly string[]): RequestHeaders | undefined {
  const pseudo: Pseudo = { method: undefined, path: undefined, scheme: undefined, authority: undefined };
  let at = 0;
  for (; at < all.length && all[at]!.startsWith(':'); at += 2) {
    if (!setPseudo(pseudo, all[at]!, all[at + 1]!)) return undefined;
  }
  const fields = all.slice(at);
  let contentLength = -1;
  for (let i = 0; i < fields.length; i += 2) {
    const value = fields[i + 1]!;
    if (fields[i] === 'content-length') {
      const length = parseContentLength(value);
      if (length < 0 || (contentLength >= 0 && contentLength !== length)) return undefined;
      contentLength = length;
    } else if (!isAllowedField(fields[i]!, value)) return undefined;
  }
  const { method, path, scheme } = pseudo;
  const authority = pseudo.authority ?? firstValue(fields, 'host');
  if (method === undefined || method === '') return undefined;
  if (method === 'CONNECT') {
    if (path !== undefined || scheme !== undefined || authority === undefined) return undefined;
    return new RequestHeaders(method, '', '', authority, contentLength, fields);
  }
  if (path === undefined || path === '' || scheme === undefined) return undefined;
  return new RequestHeaders(method, path, scheme, authority, contentLength, fields);
}

/** False when the pseudo-header is unknown, a response's, or there already (RFC 9113 section 8.3). */
function setPseudo(pseudo: Pseudo, name: string, value: string): boolean {
  switch (name) {
    case ':method':
      if (pseudo.method !== undefined) return false;
      pseudo.method = value;
      return true;
    case ':path':
      if (pseudo.path !== undefined) return false;
      pseudo.path = value;
      return true;
    case ':scheme':
      if (pseudo.scheme !== undefined) return false;
      pseudo.scheme = value;
      return true;
    case ':authority':
      if (pseudo.authority !== undefined) return false;
      pseudo.authority = value;
      return true;
    default:
      return false;
  }
}

/** Refuses a pseudo-header after the others and the fields of HTTP/1.1 connections (RFC 9113 section 8.2.2). */
function isAllowedField(name: string, value: string): boolean {
  switch (name) {
    case 'connection':
    case 'proxy-connection':
    case 'keep-alive':
    case 'transfer-encoding':
    case 'upgrade':
      return false;
    case 'te':
      return value === 'trailers';
    default:
      return name.charCodeAt(0) !== 0x3a;
  }
}

function parseContentLength(value: string): number {
  return /^[0-9]{1,15}$/.test(value) ? Number(value) : -1;
}

function firstValue(fields: readonly string[], name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
  return undefined;
}

// ---- octets (RFC 9113 section 8.2.1, RFC 9110 section 5.6.2)

const NAME_OCTET = new Uint8Array(256);
for (const char of "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~") NAME_OCTET[char.charCodeAt(0)] = 1;

/** True when the octets are a lower-case field name, or a pseudo-header's: a token after one colon. */
export function isFieldName(octets: Uint8Array, start: number, end: number): boolean {
  let at = start;
  if (at < end && octets[at] === 0x3a) at++;
  if (at === end) return false;
  for (; at < end; at++) if (NAME_OCTET[octets[at]!] === 0) return false;
  return true;
}

/** True when the octets may be a field's value: no NUL, CR or LF, no blank at either end. */
export function isFieldValue(octets: Uint8Array, start: number, end: number): boolean {
  if (start === end) return true;
  if (isBlank(octets[start]!) || isBlank(octets[end - 1]!)) return false;
  for (let at = start; at < end; at++) {
    const octet = octets[at]!;
    if (octet <= 0x0d && (octet === 0 || octet === 0x0a || octet === 0x0d)) return false;
  }
  return true;
}

function isBlank(octet: number): boolean {
  return octet === 0x20 || octet === 0x09;
}
