/**
 * Paths of the v2 API and the keys they stand for. The node `/a/b` is the key `/a/b`; what a key cannot say lies in the
 * reserved range, outside of everybody's prefixes. Owns these forms, reads and writes nothing.
 */
import { type ByteString, byteStringToUtf8, utf8ToByteString } from '../util/bytes.ts';

/** Every key of the reserved range begins so. */
export const RESERVED: ByteString = '\0roster/v2/';
const DIR: ByteString = `${RESERVED}dir`;
const FILE: ByteString = `${RESERVED}file`;
/** What was deleted last, where the pairs do not tell how: see record.ts. */
export const ENDED_KEY: ByteString = `${RESERVED}ended`;

export const ROOT: ByteString = '/';

/** Components of a path. Deeper keys are no nodes: whoever walks the tree need not fear for its stack. */
export const DEPTH_MAX = 500;

/** The marker of directory `path`. Its subtree's markers lie right behind it, as the subtree's keys lie behind `path/`. */
export function markerKey(path: ByteString): ByteString {
  return path === ROOT ? `${DIR}/` : `${DIR}${path}/`;
}

/** The directory that `key` marks; `undefined`: it is no marker. */
export function markedPath(key: ByteString): ByteString | undefined {
  if (!key.startsWith(`${DIR}/`)) return undefined;
  return key.length === DIR.length + 1 ? ROOT : key.slice(DIR.length, -1);
}

/** The record of file `path`. */
export function fileKey(path: ByteString): ByteString {
  return FILE + path;
}

/** Half open. */
export interface Span {
  readonly from: ByteString;
  readonly to: ByteString;
}

/** All keys below directory `path`, itself not included. */
export function below(path: ByteString): Span {
  return path === ROOT ? { from: ROOT, to: '0' } : { from: `${path}/`, to: `${path}0` };
}

/** The markers of directory `path` and of all directories below it. */
export function markersAt(path: ByteString): Span {
  const { from, to } = below(path);
  return { from: DIR + from, to: DIR + to };
}

/** The records of all files below directory `path`. */
export function recordsBelow(path: ByteString): Span {
  const { from, to } = below(path);
  return { from: FILE + from, to: FILE + to };
}

/** `path` without empty, `.` and `..` components, as Go's path.Clean has it; it begins with a slash, whatever it was. */
export function cleanPath(path: ByteString): ByteString {
  if (isClean(path)) return path;
  const names: string[] = [];
  for (const name of path.split('/')) {
    if (name === '..') names.pop();
    else if (name !== '' && name !== '.') names.push(name);
  }
  return `/${names.join('/')}`;
}

/** Whether `key` is a node's. */
export function isNodeKey(key: ByteString): boolean {
  return key !== ROOT && isClean(key) && isUtf8(key) && !isTooDeep(key);
}

export function isTooDeep(path: ByteString): boolean {
  if (path.length <= 2 * DEPTH_MAX) return false;
  let depth = 0;
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) depth++;
  return depth > DEPTH_MAX;
}

function isClean(path: ByteString): boolean {
  if (path.charCodeAt(0) !== 0x2f) return false;
  if (path === ROOT) return true;
  return !/\/(?:\/|\.{1,2}(?:\/|$)|$)/.test(path);
}

const ASCII = /^[\0-\x7f]*$/;

/** Whether the bytes are UTF-8. */
export function isUtf8(bytes: ByteString): boolean {
  return ASCII.test(bytes) || utf8ToByteString(byteStringToUtf8(bytes)) === bytes;
}

/** The directory that `path`, which is not the root, lies in. */
export function parentOf(path: ByteString): ByteString {
  const at = path.lastIndexOf('/');
  return at === 0 ? ROOT : path.slice(0, at);
}

/** Whether `path` lies somewhere below directory `ancestor`. */
export function isBelow(path: ByteString, ancestor: ByteString): boolean {
  return ancestor === ROOT ? path !== ROOT : path.startsWith(`${ancestor}/`);
}

/** Whether `path`, below `from` or the same, is hidden from there: a component in between begins with `_`. */
export function isHidden(path: ByteString, from: ByteString): boolean {
  return path.includes('/_', from === ROOT ? 0 : from.length);
}

/** Calls `visit` for each directory above `path` but the root, outermost first, until it returns false. */
export function visitAncestors(path: ByteString, visit: (ancestor: ByteString) => boolean): void {
  for (let at = path.indexOf('/', 1); at > 0; at = path.indexOf('/', at + 1)) {
    if (!visit(path.slice(0, at))) return;
  }
}
