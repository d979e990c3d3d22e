/** How etcdctl spells ids, pairs and sizes in its plain output. */
import { fromByteString } from '../../core/util/bytes.ts';
import type { Context } from '../context.ts';

/** A lease id as 16 hexadecimal digits (Go's %016x of an int64: a negative one has its sign). */
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
