/**
 * What the changes of one revision are to a v2 watcher. A v2 write is told as what it was, since its record lies in the
 * same revision; what v3 clients put and delete is `set` and `delete`, one event for each key. Reads only.
 */
import type { KvStore } from '../mvcc/kv-store.ts';
import type { ByteString } from '../util/bytes.ts';
import { type Event, EventType, type KeyValue } from '../wire/messages.ts';
import { V2Action, type V2Record } from '../wire/stored.ts';
import type { V2Answer, V2Node } from './node.ts';
import { below, isBelow, isHidden, isNodeKey, markedPath, markerKey, markersAt, ROOT, type Span } from './paths.ts';
import { dirNode, dirNodeOf, endedAt, fileNode, fileRecord, pairsAt, readRecord } from './record.ts';
import { isWithin } from './tree.ts';

const { NONE, SET, DELETE, UPDATE } = V2Action.values;

/** What is watched: a node, or all below it as well. */
export interface V2Watched {
  readonly path: ByteString;
  readonly recursive: boolean;
}

type At = Pick<KvStore, 'at'>;

/** The keys in which the events of `watched` show: nodes, and markers. `to` is '' for one key. */
export function watchedSpans({ path, recursive }: V2Watched): { nodes: Span; markers: Span } {
  if (!recursive) return { nodes: { from: path, to: '' }, markers: { from: markerKey(path), to: '' } };
  // From the path itself on: siblings in between, as `/a-b` for `/a`, are sorted out below.
  return { nodes: { from: path, to: below(path).to }, markers: markersAt(path) };
}

/** `events` are those of `revision` in {@link watchedSpans}, in their order; mostly none or one come of them. */
export function v2Events(store: At, revision: number, events: readonly Event[], watched: V2Watched): V2Answer[] {
  const answers: V2Answer[] = [];
  const deletes = events.some(({ type }) => type === EventType.values.DELETE);
  const ended = deletes ? endedAt(store, revision) : undefined;
  if (ended !== undefined && concernsEnd(ended, events, watched)) answers.push(endAnswer(store, revision, ended));
  for (const event of events) {
    const key = event.kv!.key;
    const marked = markedPath(key);
    if (!concerns(marked ?? key, watched)) continue;
    const answer = marked === undefined ? ofFile(store, revision, event, ended) : ofDir(store, revision, event, marked);
    if (answer !== undefined) answers.push(answer);
  }
  return answers;
}

function concerns(path: ByteString, watched: V2Watched): boolean {
  if (path === watched.path) return path !== ROOT;
  return watched.recursive && isBelow(path, watched.path) && !isHidden(path, watched.path) && isNodeKey(path);
}

/** Who watches what was in a directory hears of the end of the directory. */
function concernsEnd({ path, dir }: V2Record, events: readonly Event[], watched: V2Watched): boolean {
  if (concerns(path, watched)) return true;
  if (!dir || !isBelow(watched.path, path)) return false;
  return events.some(({ type, kv }) => {
    return type === EventType.values.DELETE && isWithin(markedPath(kv!.key) ?? kv!.key, watched.path);
  });
}

function ofFile(store: At, revision: number, event: Event, ended: V2Record | undefined): V2Answer | undefined {
  const kv = event.kv!;
  if (event.type === EventType.values.DELETE) {
    if (ended !== undefined && isWithin(kv.key, ended.path)) return undefined;
    // A directory in place of a file: its marker tells.
    if (madeAt(store, revision, kv.key)) return undefined;
    const prevNode = fileBefore(store, revision, kv.key);
    return answer(DELETE, goneNode(kv.key, false, revision, prevNode?.created ?? revision), prevNode);
  }
  const record = fileRecord(pairsAt(store, revision), kv);
  if (record?.refresh) return undefined;
  const prevNode = fileBefore(store, revision, kv.key);
  return answer(record?.action ?? SET, fileNode(kv, record), prevNode, record?.time_ms);
}

function ofDir(store: At, revision: number, { type, kv }: Event, path: ByteString): V2Answer | undefined {
  const record = type === EventType.values.DELETE ? undefined : readRecord(kv);
  if (record === undefined || record.action === NONE || record.refresh) return undefined;
  const prevNode =
    record.action === UPDATE
      ? dirNodeOf(path, store.at(markerKey(path), revision - 1), undefined)
      : fileBefore(store, revision, path);
  const node = { ...dirNode(path, record.created, record.expires_ms), modified: revision };
  return answer(record.action, node, prevNode, record.time_ms);
}

function endAnswer(store: At, revision: number, ended: V2Record): V2Answer {
  const { path, dir, created, modified, expires_ms, time_ms } = ended;
  const prevNode = dir ? { ...dirNode(path, created, expires_ms), modified } : fileBefore(store, revision, path);
  return answer(ended.action, goneNode(path, dir, revision, created), prevNode, time_ms);
}

/** Whether a directory was made at `path` in `revision` by a request for it. */
function madeAt(store: At, revision: number, path: ByteString): boolean {
  const marker = store.at(markerKey(path), revision);
  return marker?.mod_revision === revision && (readRecord(marker)?.action ?? NONE) !== NONE;
}

function fileBefore(store: At, revision: number, path: ByteString): V2Node | undefined {
  const pair: KeyValue | undefined = store.at(path, revision - 1);
  return pair === undefined ? undefined : fileNode(pair, fileRecord(pairsAt(store, revision - 1), pair));
}

function goneNode(path: ByteString, dir: boolean, modified: number, created: number): V2Node {
  return { path, value: undefined, dir, expiresMs: 0, lease: 0n, modified, created };
}

function answer(action: number, node: V2Node, prevNode: V2Node | undefined, timeMs = 0): V2Answer {
  return { action: action as V2Answer['action'], node, prevNode, refresh: false, index: node.modified, timeMs };
}
