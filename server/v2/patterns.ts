/**
 * The permissions of v2 roles and of v3 roles: `/a` is the key, `/a*` all keys that begin so. Owns the translation. What
 * has no v2 form - ranges that are no prefix - is not shown.
 */
import { byteStringToUtf8, prefixEnd, utf8ToByteString } from '../../core/util/bytes.ts';
import { type Permission, PermissionType } from '../../core/wire/messages.ts';

const { READ, WRITE, READWRITE } = PermissionType.values;

/** Sorted. */
export interface Patterns {
  readonly read: readonly string[];
  readonly write: readonly string[];
}

export const NO_PATTERNS: Patterns = { read: [], write: [] };
/** What the root role shows. */
export const ROOT_PATTERNS: Patterns = { read: ['/*'], write: ['/*'] };

export function patternsOf(permissions: readonly Permission[]): Patterns {
  const read: string[] = [];
  const write: string[] = [];
  for (const { permType, key, range_end } of permissions) {
    const pattern = range_end === '' ? key : range_end === prefixEnd(key) ? `${key}*` : undefined;
    if (pattern === undefined) continue;
    const text = byteStringToUtf8(pattern);
    if (permType === READ || permType === READWRITE) read.push(text);
    if (permType === WRITE || permType === READWRITE) write.push(text);
  }
  return { read: read.sort(), write: write.sort() };
}

/** `undefined`: it is no pattern. `*` alone means every node. */
export function rangeOf(pattern: string): Pick<Permission, 'key' | 'range_end'> | undefined {
  const whole = pattern === '*' ? '/*' : pattern;
  if (!whole.startsWith('/')) return undefined;
  const key = utf8ToByteString(whole.endsWith('*') ? whole.slice(0, -1) : whole);
  return { key, range_end: whole.endsWith('*') ? prefixEnd(key) : '' };
}

/** The type of the one permission that a v3 role has for a range; undefined: none. */
export function typeOf(pattern: string, { read, write }: Patterns): number | undefined {
  const reads = read.includes(pattern);
  const writes = write.includes(pattern);
  if (reads) return writes ? READWRITE : READ;
  return writes ? WRITE : undefined;
}
