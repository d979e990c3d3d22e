/** How etcdctl spells things: ids, pairs, sizes, durations, and the numbers people type. Prints nothing itself. */
import { fromByteString } from '../client/index.ts';
import { CommandError, type Context, Exit } from './context.ts';

/** A lease or member id as 16 hexadecimal digits. */
export function hexId(id: bigint): string {
  return BigInt.asUintN(64, id).toString(16).padStart(16, '0');
}

/** An id without leading zeros (Go's %x). */
export function shortHexId(id: bigint): string {
  return BigInt.asUintN(64, id).toString(16);
}

/** A key line and a value line, as octets or, with --hex, as `\x..` escapes. */
export function printPair(context: Context, pair: { key: string; value: Uint8Array }, valueOnly = false): void {
  if (!valueOnly) printOctets(context, fromByteString(pair.key));
  printOctets(context, pair.value);
}

export function printOctets(context: Context, octets: Uint8Array): void {
  context.print(context.globals.hex ? escaped(octets) : octets);
}

function escaped(octets: Uint8Array): string {
  return Array.from(octets, (octet) => `\\x${octet.toString(16).padStart(2, '0')}`).join('');
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

/** Decimal units, one digit after the point below ten: `20 kB`, `1.5 MB`. */
export function humanBytes(bytes: number): string {
  if (bytes < 10) return `${bytes} B`;
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), UNITS.length - 1);
  const value = Math.floor((bytes / 1_000 ** power) * 10 + 0.5) / 10;
  return `${value < 10 ? value.toFixed(1) : halfToEven(value)} ${UNITS[power]}`;
}

/** Go rounds 20.5 to 20 and 21.5 to 22. */
function halfToEven(value: number): number {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

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
  const pattern = base === 10 ? /^[+-]?\d+$/ : /^[+-]?[0-9A-Fa-f]+$/;
  if (!pattern.test(text)) return { complaint: `strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax` };
  const digits = text.replace(/^[+-]/, '');
  const magnitude = BigInt(base === 10 ? digits : `0x${digits}`);
  const value = text.startsWith('-') ? -magnitude : magnitude;
  if (BigInt.asIntN(64, value) !== value) {
    return { complaint: `strconv.ParseInt: parsing ${JSON.stringify(text)}: value out of range` };
  }
  return value;
}

/** The lease id in `text`, hexadecimal; `what` is how etcdctl calls it in its complaint. */
export function parseLeaseId(text: string, what: string): bigint {
  const id = parseInteger(text, 16);
  if (typeof id === 'bigint') return id;
  throw new CommandError(`bad ${what} (${id.complaint}), expecting ID in Hex`, Exit.BAD_ARGUMENTS);
}
