/**
 * Where a JSON value ends, and what is wrong with one that does not, in the words of Go's encoding/json: that is what
 * etcd's gateway cuts requests out of a body with. Only looks at the text; makes no values of it.
 */
import { GrpcStatus, otherError, type RosterError } from '../errors.ts';
import { utf8ToByteString } from '../util/bytes.ts';

/** Deeper ones Go refuses, too. */
export const JSON_DEPTH_MAX = 10_000;

const SPACE = /[ \t\r\n]*/y;
/** Everything but control characters, `"` and `\`. */
const STRING_BODY = /[ !#-[\]-\uffff]*/y;
const DIGITS = /[0-9]*/y;

/** The first position at or after `at` that holds no white space. */
export function skipSpace(text: string, at: number): number {
  return matchEnd(SPACE, text, at);
}

/** Where the value that begins at `at` (no white space there) ends. Throws INVALID_ARGUMENT when it is none, or not whole. */
export function endOfValue(text: string, at: number): number {
  /** Of every object and list that is open: whether it is an object. */
  const open: boolean[] = [];
  for (let wanted: 'value' | 'key' | 'first value' | 'first key' = 'value'; ; ) {
    at = skipSpace(text, at);
    const c = text[at];
    const closes = (wanted === 'first value' && c === ']') || (wanted === 'first key' && c === '}');
    if (closes) {
      open.pop();
      at++;
    } else if (wanted === 'key' || wanted === 'first key') {
      if (c !== '"') throw unexpected(text, at, 'looking for beginning of object key string');
      at = skipSpace(text, endOfString(text, at));
      if (text[at] !== ':') throw unexpected(text, at, 'after object key');
      at++;
      wanted = 'value';
      continue;
    } else if (c === '{' || c === '[') {
      if (open.push(c === '{') > JSON_DEPTH_MAX) throw refusal('exceeded max depth');
      at++;
      wanted = c === '{' ? 'first key' : 'first value';
      continue;
    } else at = endOfScalar(text, at);
    // A value is over: so may be those it is in.
    let inObject = open.at(-1);
    for (; inObject !== undefined; inObject = open.at(-1)) {
      at = skipSpace(text, at);
      if (text[at] === ',') break;
      if (text[at] !== (inObject ? '}' : ']')) {
        throw unexpected(text, at, inObject ? 'after object key:value pair' : 'after array element');
      }
      open.pop();
      at++;
    }
    if (inObject === undefined) return at;
    at++;
    wanted = inObject ? 'key' : 'value';
  }
}

/** Where the scalar that begins at `at` ends. */
export function endOfScalar(text: string, at: number): number {
  const c = text[at];
  if (c === '"') return endOfString(text, at);
  if (c === '-' || (c !== undefined && c >= '0' && c <= '9')) return endOfNumber(text, at);
  for (const literal of ['true', 'false', 'null']) if (c === literal[0]) return endOfLiteral(text, at, literal);
  throw unexpected(text, at, 'looking for beginning of value');
}

function endOfString(text: string, at: number): number {
  for (at++; ; ) {
    at = matchEnd(STRING_BODY, text, at);
    if (text[at] === '"') return at + 1;
    if (text[at] !== '\\') throw unexpected(text, at, 'in string literal');
    const escaped = text[at + 1];
    if (escaped === undefined || !'"\\/bfnrtu'.includes(escaped)) {
      throw unexpected(text, at + 1, 'in string escape code');
    }
    at += 2;
    if (escaped !== 'u') continue;
    for (const end = at + 4; at < end; at++) {
      if (!/[0-9A-Fa-f]/.test(text[at] ?? '')) throw unexpected(text, at, 'in \\u hexadecimal character escape');
    }
  }
}

function endOfNumber(text: string, at: number): number {
  if (text[at] === '-') at++;
  if (text[at] === '0') at++;
  else at = someDigits(text, at, 'in numeric literal');
  if (text[at] === '.') at = someDigits(text, at + 1, 'after decimal point in numeric literal');
  if (text[at] === 'e' || text[at] === 'E') {
    at++;
    if (text[at] === '+' || text[at] === '-') at++;
    at = someDigits(text, at, 'in exponent of numeric literal');
  }
  return at;
}

function someDigits(text: string, at: number, where: string): number {
  const end = matchEnd(DIGITS, text, at);
  if (end === at) throw unexpected(text, at, where);
  return end;
}

function endOfLiteral(text: string, at: number, literal: string): number {
  for (let i = 1; i < literal.length; i++) {
    if (text[at + i] !== literal[i]) {
      throw unexpected(text, at + i, `in literal ${literal} (expecting '${literal[i]}')`);
    }
  }
  return at + literal.length;
}

function matchEnd(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  pattern.test(text);
  return pattern.lastIndex;
}

function unexpected(text: string, at: number, where: string): RosterError {
  const code = text.codePointAt(at);
  if (code === undefined) return refusal('unexpected EOF');
  // Go reads bytes, and shows the first of a character.
  return refusal(`invalid character ${quoted(utf8ToByteString(String.fromCodePoint(code)).charCodeAt(0))} ${where}`);
}

const ESCAPES: Readonly<Record<number, string>> = {
  7: '\\a',
  8: '\\b',
  9: '\\t',
  10: '\\n',
  11: '\\v',
  12: '\\f',
  13: '\\r',
  39: "\\'",
  92: '\\\\',
};

function quoted(byte: number): string {
  const isControl = byte < 0x20 || byte === 0x7f;
  const hex = () => byte.toString(16).padStart(2, '0');
  const c1 = byte >= 0x80 && (byte <= 0xa0 || byte === 0xad);
  return `'${ESCAPES[byte] ?? (isControl ? `\\x${hex()}` : c1 ? `\\u00${hex()}` : String.fromCharCode(byte))}'`;
}

function refusal(what: string): RosterError {
  return otherError(GrpcStatus.INVALID_ARGUMENT, what);
}
