/**
 * v2 answers as JSON text, field by field in etcd's order. Owns the form, Go's escapes included; a large tree is written in
 * pieces, so that nobody else waits for it.
 */
import { asBuffer, byteStringToUtf8 } from '../../core/util/bytes.ts';
import type { V2Answer, V2Node } from '../../core/v2/node.ts';
import { ROOT } from '../../core/v2/paths.ts';
import { V2Action } from '../../core/wire/stored.ts';
import type { V2Error } from './errors.ts';

const { SET, CREATE, UPDATE, COMPARE_AND_SWAP, DELETE, COMPARE_AND_DELETE, EXPIRE, NONE } = V2Action.values;

const ACTIONS: Readonly<Record<number, string>> = {
  [NONE]: 'get',
  [SET]: 'set',
  [CREATE]: 'create',
  [UPDATE]: 'update',
  [COMPARE_AND_SWAP]: 'compareAndSwap',
  [DELETE]: 'delete',
  [COMPARE_AND_DELETE]: 'compareAndDelete',
  [EXPIRE]: 'expire',
};

/** Characters of a tree that are written at a time. */
export const JSON_PIECE_CHARS = 64 * 1024;

/** What else must be known of time. */
export interface Clock {
  /** Wall clock. */
  readonly nowMs: number;
  /** Seconds that a lease of a v3 client has left, as far as this member knows; undefined: it is gone. */
  leaseSeconds(lease: bigint): number | undefined;
}

/** Whether etcd answers 201 to it. */
export function isCreated({ action, prevNode }: V2Answer): boolean {
  return action === CREATE || (action === SET && prevNode === undefined);
}

/** With a new line at the end, as all answers have it. */
export function answerText(answer: V2Answer, clock: Clock, withNodes = true): string {
  const { action, node, prevNode, timeMs } = answer;
  let text = `{"action":"${ACTIONS[action]}"`;
  if (withNodes) {
    const at = timeMs === 0 ? clock : { ...clock, nowMs: timeMs };
    text += `,"node":${nodeText(node, at)}`;
    if (prevNode !== undefined) text += `,"prevNode":${nodeText(prevNode, at)}`;
  }
  return `${text}}\n`;
}

/** The answer to a read, in pieces of about {@link JSON_PIECE_CHARS}. */
export function* readTexts(node: V2Node, clock: Clock): Generator<string, void> {
  let text = '{"action":"get","node":';
  for (const piece of nodeTexts(node, clock)) {
    text += piece;
    if (text.length < JSON_PIECE_CHARS) continue;
    yield text;
    text = '';
  }
  yield `${text}}\n`;
}

/** Whether what is below `node` is a matter of one piece. */
export function isSmall({ nodes }: V2Node): boolean {
  return nodes === undefined || nodes.length === 0;
}

function* nodeTexts(node: V2Node, clock: Clock): Generator<string, void> {
  const { nodes } = node;
  if (nodes === undefined || nodes.length === 0) {
    yield nodeText(node, clock);
    return;
  }
  yield `${headText(node, clock)}"nodes":[`;
  let first = true;
  for (const inner of nodes) {
    if (!first) yield ',';
    first = false;
    yield* nodeTexts(inner, clock);
  }
  yield `]${tailText(node, ',')}`;
}

function nodeText(node: V2Node, clock: Clock): string {
  const head = headText(node, clock);
  // Nothing but the root lacks an index.
  return node.modified === 0 ? `${head.slice(0, -1)}}` : head + tailText(node, '');
}

/** Up to where "nodes" belongs, with a comma. */
function headText(node: V2Node, clock: Clock): string {
  const { path, value, dir } = node;
  let text = path === ROOT ? '{' : `{"key":${quoted(byteStringToUtf8(path))},`;
  if (value !== undefined) text += `"value":${quoted(asBuffer(value).toString('utf8'))},`;
  if (dir) text += '"dir":true,';
  return node.expiresMs === 0 && node.lease === 0n ? text : text + timeText(node, clock);
}

function tailText({ modified, created }: V2Node, comma: string): string {
  if (modified === 0) return '}';
  return created === 0
    ? `${comma}"modifiedIndex":${modified}}`
    : `${comma}"modifiedIndex":${modified},"createdIndex":${created}}`;
}

function timeText({ expiresMs, lease }: V2Node, clock: Clock): string {
  let atMs = expiresMs;
  if (atMs === 0) {
    const seconds = clock.leaseSeconds(lease);
    if (seconds === undefined) return '';
    atMs = clock.nowMs + seconds * 1000;
  }
  const ttl = Math.max(0, Math.ceil((atMs - clock.nowMs) / 1000));
  const expiration = `"expiration":"${new Date(atMs).toISOString()}",`;
  return ttl === 0 ? expiration : `${expiration}"ttl":${ttl},`;
}

export function errorText({ code, message, cause, index }: V2Error): string {
  return `{"errorCode":${code},"message":"${message}","cause":${quoted(cause)},"index":${index}}\n`;
}

const ESCAPED = /[<>&\u2028\u2029]/;

/** As Go's encoder quotes it, whose text goes into HTML unharmed. */
export function quoted(text: string): string {
  const json = JSON.stringify(text);
  if (!ESCAPED.test(json)) return json;
  return json.replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
