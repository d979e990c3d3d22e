/**
 * Text as Go reads and writes it, since that is what etcdctl's input and output is made of: integers, durations, quoted
 * strings, command lines. Prints nothing, and knows no command.
 */
import { type ByteString, utf8ToByteString, utf8ToText } from '../core/util/bytes.ts';

/** A duration as Go prints it: `1.234567ms`, `2.5s`. */
export function goDuration(ms: number): string {
  if (ms >= 60_000) {
    const minutes = Math.floor(ms / 60_000);
    const hours = Math.floor(minutes / 60);
    return `${hours > 0 ? `${hours}h` : ''}${minutes % 60}m${trimmed((ms % 60_000) / 1_000, 9)}s`;
  }
  if (ms >= 1_000) return `${trimmed(ms / 1_000, 9)}s`;
  if (ms >= 1) return `${trimmed(ms, 6)}ms`;
  return `${trimmed(ms * 1_000, 3)}µs`;
}

function trimmed(value: number, digits: number): string {
  return value.toFixed(digits).replace(/\.?0+$/, '');
}

const MS_PER: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 };

/** Milliseconds of a duration as Go writes it (`5s`, `1m30s`, `500ms`); undefined when it is none. */
export function parseGoDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^(?:\d+(?:\.\d*)?(?:h|ms|m|s|us|µs|ns))+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d*)?)(h|ms|m|s|us|µs|ns)/g))
    ms += Number(number) * MS_PER[unit!]!;
  return ms;
}

/** What Go's strconv.ParseInt says about `text`; the integer when it has nothing to say. */
export function parseInteger(text: string, base: 10 | 16 = 10): bigint | { complaint: string } {
  return parse(text, base, 'ParseInt', (value) => BigInt.asIntN(64, value) === value);
}

/** The same for strconv.ParseUint. */
export function parseUnsigned(text: string, base: 10 | 16 = 10): bigint | { complaint: string } {
  if (/^[+-]/.test(text)) return { complaint: complaint('ParseUint', text, 'invalid syntax') };
  return parse(text, base, 'ParseUint', (value) => BigInt.asUintN(64, value) === value);
}

function parse(text: string, base: 10 | 16, name: string, fits: (value: bigint) => boolean) {
  const pattern = base === 10 ? /^[+-]?\d+$/ : /^[+-]?[0-9A-Fa-f]+$/;
  if (!pattern.test(text)) return { complaint: complaint(name, text, 'invalid syntax') };
  const digits = text.replace(/^[+-]/, '');
  const magnitude = BigInt(base === 10 ? digits : `0x${digits}`);
  const value = text.startsWith('-') ? -magnitude : magnitude;
  return fits(value) ? value : { complaint: complaint(name, text, 'value out of range') };
}

const complaint = (name: string, text: string, what: string) => `strconv.${name}: parsing ${goQuote(text)}: ${what}`;

/** What Go's strconv.ParseBool makes of `text`; undefined when it makes nothing of it. */
export function parseBoolean(text: string): boolean | undefined {
  if (/^(?:1|t|T|true|TRUE|True)$/.test(text)) return true;
  return /^(?:0|f|F|false|FALSE|False)$/.test(text) ? false : undefined;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '"': '\\"',
  '\\': '\\\\',
};

/** Go's %q: text as a quoted string, octets that are no UTF-8 as `\x..`. */
export function goQuote(value: string | Uint8Array): string {
  const text = typeof value === 'string' ? value : utf8ToText(value);
  if (text === undefined) return `"${Array.from(value as Uint8Array, quotedOctet).join('')}"`;
  return `"${Array.from(text, quotedCharacter).join('')}"`;
}

function quotedOctet(octet: number): string {
  return octet < 0x80 ? quotedCharacter(String.fromCharCode(octet)) : `\\x${octet.toString(16).padStart(2, '0')}`;
}

function quotedCharacter(character: string): string {
  const short = ESCAPES[character];
  if (short !== undefined) return short;
  if (character === ' ' || /[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(character)) return character;
  const point = character.codePointAt(0)!;
  if (point < 0x80) return `\\x${point.toString(16).padStart(2, '0')}`;
  return point < 0x10000 ? `\\u${point.toString(16).padStart(4, '0')}` : `\\U${point.toString(16).padStart(8, '0')}`;
}

/** A Go string literal at the start of `text`: its octets, and what follows it. Undefined when there is none. */
export function goUnquote(text: string): { value: ByteString; rest: string } | undefined {
  const raw = /^`([^`]*)`/.exec(text);
  if (raw !== null) return { value: utf8ToByteString(raw[1]!), rest: text.slice(raw[0].length) };
  const quoted = /^"((?:[^"\\\n]|\\.)*)"/u.exec(text);
  if (quoted === null) return undefined;
  const pattern =
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|([abfnrtv\\"]))|(\\)|([^\\]+)/gu;
  let value = '';
  for (const [, x, u, long, octal, letter, wrong, plain] of quoted[1]!.matchAll(pattern)) {
    if (wrong !== undefined) return undefined;
    if (plain !== undefined) value += utf8ToByteString(plain);
    else if (x !== undefined) value += String.fromCharCode(Number.parseInt(x, 16));
    else if (octal !== undefined) value += String.fromCharCode(Number.parseInt(octal, 8));
    else if (letter !== undefined) value += Object.entries(ESCAPES).find(([, text]) => text === `\\${letter}`)![0];
    else value += utf8ToByteString(String.fromCodePoint(Number.parseInt((u ?? long)!, 16)));
  }
  return { value, rest: text.slice(quoted[0].length) };
}

/** A line split as etcdctl splits those it reads: at spaces, with '...' and "..." kept together. */
export function argify(line: string): string[] {
  const words = line.match(/"(?:[^"\\]|\\.)*"|'[^']*'|[^'"\s]\S*[^'"\s]?/g) ?? [];
  return words.map((word) => {
    if (word.startsWith("'")) return word.slice(1, -1);
    if (!word.startsWith('"')) return word;
    const text = goUnquote(word);
    return text === undefined ? word.slice(1, -1) : Buffer.from(text.value, 'latin1').toString();
  });
}
