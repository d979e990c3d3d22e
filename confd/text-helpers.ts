/**
 * confd's template functions over text, lists and numbers, with Go's results. Owns no state and reads nothing but its
 * arguments (and the environment, for getenv). Errors name the function, never a value.
 */
import { basePath, compareText, dirPath, servicePath } from './go-path.ts';

/** A template function was called wrongly, or with text it cannot use. */
export class HelperError extends Error {
  override name = 'HelperError';
}

/** The longest list `seq` makes. */
export const SEQ_MAX = 100_000;

export type HelperFunction = (...args: unknown[]) => unknown;

export function textArgument(name: string, value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new HelperError(`${name}: a text was expected, not ${value === null ? 'null' : typeof value}`);
}

function integer(name: string, value: unknown): number {
  const number = typeof value === 'string' && /^[+-]?\d+$/.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isSafeInteger(number)) return number;
  throw new HelperError(`${name}: a whole number was expected`);
}

function list(name: string, value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new HelperError(`${name}: a list was expected`);
}

/** An object of the template's own: `toString` keeps Handlebars' error messages possible, nothing else is inherited. */
const BARE: object = Object.freeze(Object.create(null, { toString: { value: () => 'an object' } }));

/** A record without inherited properties, so that no key (`__proto__`, `constructor`) means anything but itself. */
export function bareRecord(entries: Iterable<readonly [string, unknown]>): object {
  const record: object = Object.create(BARE);
  for (const [key, value] of entries) {
    Object.defineProperty(record, key, { value, enumerable: true, writable: false, configurable: false });
  }
  return record;
}

function bare(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(bare);
  if (typeof value !== 'object' || value === null) return value;
  return bareRecord(Object.entries(value).map(([key, item]) => [key, bare(item)] as const));
}

function parseJson(name: string, value: unknown, kind: 'object' | 'array'): unknown {
  let parsed: unknown;
  try {
    parsed = JSON.parse(textArgument(name, value));
  } catch {
    // The engine's own message quotes the text, which may be a secret.
    throw new HelperError(`${name}: the text is not JSON`);
  }
  const found = Array.isArray(parsed) ? 'array' : typeof parsed;
  if (parsed === null || found !== kind) throw new HelperError(`${name}: the JSON is not an ${kind}`);
  return bare(parsed);
}

/** Go strings.Replace: at most `count` times, all when negative; an empty `old` is found before every character and at the end. */
function goReplace(text: string, old: string, by: string, count: number): string {
  const parts = old === '' ? ['', ...text] : text.split(old);
  if (old === '') parts.push('');
  const times = count < 0 ? parts.length - 1 : Math.min(count, parts.length - 1);
  return (
    parts.slice(0, times + 1).join(by) +
    parts
      .slice(times + 1)
      .map((part) => old + part)
      .join('')
  );
}

const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);

function parseBool(value: unknown): boolean {
  const text = textArgument('parseBool', value);
  if (TRUE.has(text)) return true;
  if (FALSE.has(text)) return false;
  throw new HelperError('parseBool: the text is neither true nor false');
}

function base64Decode(value: unknown): string {
  const text = textArgument('base64Decode', value).replace(/[\r\n]/g, '');
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw new HelperError('base64Decode: the text is not base64');
  return bytes.toString('utf8');
}

function divide(name: 'div' | 'mod', a: unknown, b: unknown): number {
  const divisor = integer(name, b);
  if (divisor === 0) throw new HelperError(`${name}: division by zero`);
  const dividend = integer(name, a);
  return (name === 'div' ? Math.trunc(dividend / divisor) : dividend % divisor) + 0;
}

function sequence(first: unknown, last: unknown): number[] {
  const from = integer('seq', first);
  const length = integer('seq', last) - from + 1;
  if (length > SEQ_MAX) throw new HelperError(`seq: more than ${SEQ_MAX} numbers`);
  return length <= 0 ? [] : Array.from({ length }, (_, i) => from + i);
}

function record(args: unknown[]): object {
  if (args.length % 2 !== 0) throw new HelperError('map: names and values must come in pairs');
  const entries: [string, unknown][] = [];
  for (let i = 0; i < args.length; i += 2) entries.push([textArgument('map', args[i]), args[i + 1]]);
  // A name given twice keeps its last value.
  return bareRecord(new Map(entries));
}

function byteLength(value: unknown): number {
  return Buffer.byteLength(textArgument('sortByLength', value));
}

function environment(name: unknown, fallback: unknown): string {
  const value = process.env[textArgument('getenv', name)];
  if (value !== undefined && value !== '') return value;
  return fallback === undefined ? '' : textArgument('getenv', fallback);
}

function size(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length;
  throw new HelperError('len: a text, list or object was expected');
}

function compare(name: string, a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return compareText(textArgument(name, a), textArgument(name, b));
}

/** Go fmt.Sprintf, as far as paths and lines need it: %s, %v, %d and %%. */
function printf(format: unknown, ...args: unknown[]): string {
  let used = 0;
  const text = textArgument('printf', format).replace(/%(.?)/gs, (_whole, verb: string) => {
    if (verb === '%') return '%';
    if (used >= args.length) throw new HelperError('printf: fewer arguments than verbs');
    const value = args[used++];
    if (verb === 's' || verb === 'v') return textArgument('printf', value);
    if (verb === 'd') return String(integer('printf', value));
    throw new HelperError(`printf: there is no verb %${verb} here`);
  });
  if (used < args.length) throw new HelperError('printf: more arguments than verbs');
  return text;
}

function truthy(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : Boolean(value);
}

/** Name -> function: confd's arguments in confd's order, then the comparisons Go's templates have built in. */
export const textHelpers: Readonly<Record<string, HelperFunction>> = {
  base: (path) => basePath(textArgument('base', path)),
  dir: (path) => dirPath(textArgument('dir', path)),
  name: (path) => servicePath(textArgument('name', path)),
  split: (text, separator) => {
    const by = textArgument('split', separator);
    return by === '' ? [...textArgument('split', text)] : textArgument('split', text).split(by);
  },
  join: (items, separator) =>
    list('join', items)
      .map((item) => textArgument('join', item))
      .join(textArgument('join', separator)),
  toUpper: (text) => textArgument('toUpper', text).toUpperCase(),
  toLower: (text) => textArgument('toLower', text).toLowerCase(),
  contains: (text, part) => textArgument('contains', text).includes(textArgument('contains', part)),
  replace: (text, old, by, count) =>
    goReplace(
      textArgument('replace', text),
      textArgument('replace', old),
      textArgument('replace', by),
      integer('replace', count),
    ),
  trimSuffix: (value, suffix) => {
    const text = textArgument('trimSuffix', value);
    const end = textArgument('trimSuffix', suffix);
    return end !== '' && text.endsWith(end) ? text.slice(0, -end.length) : text;
  },
  json: (text) => parseJson('json', text, 'object'),
  jsonArray: (text) => parseJson('jsonArray', text, 'array'),
  map: (...args) => record(args),
  base64Encode: (text) => Buffer.from(textArgument('base64Encode', text)).toString('base64'),
  base64Decode,
  parseBool,
  atoi: (text) => integer('atoi', text),
  reverse: (items) => [...list('reverse', items)].reverse(),
  sortByLength: (items) => [...list('sortByLength', items)].sort((a, b) => byteLength(a) - byteLength(b)),
  sortKVByLength: (items) =>
    [...list('sortKVByLength', items)].sort(
      (a, b) => byteLength((a as { key?: unknown }).key) - byteLength((b as { key?: unknown }).key),
    ),
  seq: sequence,
  add: (a, b) => integer('add', a) + integer('add', b),
  sub: (a, b) => integer('sub', a) - integer('sub', b),
  div: (a, b) => divide('div', a, b),
  mod: (a, b) => divide('mod', a, b),
  mul: (a, b) => integer('mul', a) * integer('mul', b),
  getenv: environment,
  eq: (a, ...others) => others.some((b) => a === b),
  ne: (a, b) => a !== b,
  lt: (a, b) => compare('lt', a, b) < 0,
  le: (a, b) => compare('le', a, b) <= 0,
  gt: (a, b) => compare('gt', a, b) > 0,
  ge: (a, b) => compare('ge', a, b) >= 0,
  and: (...args) => args.find((value) => !truthy(value)) ?? args.at(-1),
  or: (...args) => args.find(truthy) ?? args.at(-1),
  not: (value) => !truthy(value),
  len: size,
  printf,
};

/** How many arguments each function takes: [least, most]. */
export const textArity: Readonly<Record<string, readonly [number, number]>> = {
  split: [2, 2],
  join: [2, 2],
  contains: [2, 2],
  replace: [4, 4],
  trimSuffix: [2, 2],
  map: [0, Number.POSITIVE_INFINITY],
  seq: [2, 2],
  add: [2, 2],
  sub: [2, 2],
  div: [2, 2],
  mod: [2, 2],
  mul: [2, 2],
  getenv: [1, 2],
  eq: [2, Number.POSITIVE_INFINITY],
  ne: [2, 2],
  lt: [2, 2],
  le: [2, 2],
  gt: [2, 2],
  ge: [2, 2],
  and: [1, Number.POSITIVE_INFINITY],
  or: [1, Number.POSITIVE_INFINITY],
  printf: [1, Number.POSITIVE_INFINITY],
};
