/**
 * Scopes: which keys a template resource asked for. A scope is a clean path ('' is everything) and holds the key of
 * that name and all below it, on segment boundaries: `/web` does not hold `/web-admin`. Owns the arithmetic from
 * prefixes and keys to scopes, and from scopes to the fewest store ranges. Pure.
 */
import { type ByteString, utf8ToByteString } from '../core/util/bytes.ts';
import { cleanPath } from './go-path.ts';

/** `replace`: a global prefix takes the place of the resource's own (confd since 0.12); `join`: it goes before it. */
export type PrefixMode = 'replace' | 'join';

/** A prefix or scope in its one form: `/a/b`, or '' for the root. */
export function normalPath(path: string): string {
  const clean = cleanPath(`/${path}`);
  return clean === '/' ? '' : clean;
}

export function effectivePrefix(globalPrefix: string, ownPrefix: string, mode: PrefixMode): string {
  if (mode === 'join') return normalPath(`${globalPrefix}/${ownPrefix}`);
  return normalPath(globalPrefix !== '' ? globalPrefix : ownPrefix);
}

export function inScope(scope: string, key: string): boolean {
  return scope === '' || key === scope || (key.startsWith(scope) && key[scope.length] === '/');
}

/** Half-open range of raw keys that holds all keys of its scopes (and maybe siblings such as `/web-admin`). */
export interface ScopeRange {
  readonly start: ByteString;
  readonly end: ByteString;
  readonly scopes: readonly string[];
}

/** '0' is the character after '/': `[/web, /web0)` holds `/web`, `/web/...`, and little else. */
function rangeOf(scope: string): { start: ByteString; end: ByteString } {
  if (scope === '') return { start: '/', end: '0' };
  const start = utf8ToByteString(scope);
  return { start, end: `${start}0` };
}

/** The fewest ranges that hold all scopes: scopes inside others dropped, overlapping ranges joined. In key order. */
export function mergeScopes(scopes: Iterable<string>): ScopeRange[] {
  const all = [...new Set(scopes)];
  const outer = all.filter((scope) => !all.some((other) => other !== scope && inScope(other, scope)));
  const ranges = outer
    .map((scope) => ({ ...rangeOf(scope), scopes: [scope] }))
    .sort((a, b) => (a.start < b.start ? -1 : 1));
  const merged: { start: ByteString; end: ByteString; scopes: string[] }[] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last !== undefined && range.start < last.end) {
      if (range.end > last.end) last.end = range.end;
      last.scopes.push(...range.scopes);
    } else merged.push(range);
  }
  return merged;
}
