/**
 * Go's `path` package and text order, as confd's templates see them: Clean, Base, Dir, and comparison by code point
 * (which is byte order in UTF-8). Pure functions over text; touches no file.
 */
import { posix } from 'node:path';

/** Go path.Clean: the shortest equal path, no trailing slash; `.` for the empty path. */
export function cleanPath(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

/** Go path.Base: the last element, trailing slashes ignored; `.` for '' and `/` for slashes only. */
export function basePath(path: string): string {
  if (path === '') return '.';
  let end = path.length;
  while (end > 0 && path[end - 1] === '/') end--;
  if (end === 0) return '/';
  return path.slice(path.lastIndexOf('/', end - 1) + 1, end);
}

/** Go path.Dir: everything before the last slash, cleaned (`/a/b/` gives `/a/b`). */
export function dirPath(path: string): string {
  return cleanPath(path.slice(0, path.lastIndexOf('/') + 1));
}

/**
 * The service name in a path `<prefix>/<name>/<id>`: its last but one element (`/services/web/host:1` gives `web`);
 * '' when there is none.
 */
export function servicePath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '');
  return parts.length < 2 ? '' : parts[parts.length - 2]!;
}

/** Surrogates (code points above U+FFFF) sort after the rest of the basic plane, as they do in UTF-8. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** Order of two texts by code point: what Go's `sort.Strings` gives for UTF-8. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

/** Sorts texts in place by code point. Code units give the same order, and much faster, unless one is a surrogate or above. */
export function sortText(texts: string[]): string[] {
  return texts.some((text) => /[\ud800-\uffff]/.test(text)) ? texts.sort(compareText) : texts.sort();
}
