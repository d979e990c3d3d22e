/**
 * A file or directory as a GET of v2 shows it, all of it at one revision, read a little at a time: most are done in one
 * step; of a large directory a step takes some hundred keys. One level costs what is in it, not what is below. While it is
 * under way, compaction removes nothing from under it.
 */
import type { RosterError } from '../errors.ts';
import { HeldStore, type StoreSource } from '../mvcc/held-store.ts';
import type { KvStore } from '../mvcc/kv-store.ts';
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import type { KeyValue } from '../wire/messages.ts';
import type { V2Refusal } from './errors.ts';
import type { V2Node } from './node.ts';
import {
  below,
  DEPTH_MAX,
  isNodeKey,
  isUtf8,
  markedPath,
  markerKey,
  markersAt,
  parentOf,
  ROOT,
  type Span,
} from './paths.ts';
import { dirNode, dirNodeOf, fileNode, fileRecord, type PairAt } from './record.ts';
import { dirAt, isDir, missing, newest } from './tree.ts';

export interface V2Query {
  /** Clean. */
  readonly path: ByteString;
  readonly recursive: boolean;
  readonly sorted: boolean;
}

/** Keys looked at in one step: well under a millisecond. */
export const V2_STEP_LOOKS_MAX = 500;
const SLICE_PAIRS_MAX = 128;
const SLICE_BYTES_MAX = 256 * 1024;

export class V2Reader {
  /** The store's revision, which all is read at. */
  readonly revision: number;
  readonly #held: HeldStore;
  readonly #store: KvStore;
  readonly #query: V2Query;
  readonly #at: PairAt;
  readonly #work: Iterator<void, void>;
  /** By path; undefined: a file of that name stands in the way. */
  readonly #dirs = new Map<ByteString, V2Node | undefined>();
  #node: V2Node | V2Refusal | undefined;
  #looks = 0;
  #done = false;

  constructor(source: StoreSource, query: V2Query) {
    this.#held = HeldStore.now(source);
    this.#store = this.#held.store;
    this.#query = query;
    this.revision = this.#held.revision;
    this.#at = (key) => this.#pair(key);
    this.#work = this.#read();
  }

  get done(): boolean {
    return this.#done;
  }

  /** The node, or why there is none; only when {@link done}. */
  get node(): V2Node | V2Refusal {
    assert(this.#done, 'the node is there when it has been read');
    return this.#node!;
  }

  /** Reads on. Refused when a snapshot has taken the place of what was being read. */
  step(): RosterError | undefined {
    if (this.#done) return undefined;
    const replaced = this.#held.replaced();
    if (replaced !== undefined) return replaced;
    this.#looks = 0;
    if (this.#work.next().done === true) this.close();
    else this.#held.hold();
    return undefined;
  }

  /** To be called when it is not wanted to its end. */
  close(): void {
    this.#done = true;
    this.#held.letGo();
  }

  *#read(): Generator<void, void> {
    const { path, sorted } = this.#query;
    const pair = path === ROOT ? undefined : newest(this.#store, path);
    if (pair !== undefined) this.#node = this.#file(pair);
    else if (!isDir(this.#store, path)) this.#node = missing(this.#store, path, this.revision);
    else {
      const node = dirAt(this.#store, path);
      node.nodes = [];
      this.#node = node;
      this.#dirs.set(path, node);
      yield* this.#readMarkers();
      yield* this.#readKeys();
      if (sorted) for (const dir of this.#dirs.values()) dir?.nodes?.sort(byPath);
    }
  }

  // ---- what is in a directory

  *#readMarkers(): Generator<void, void> {
    const { path, recursive } = this.#query;
    const { to } = markersAt(path);
    let from: ByteString | undefined = `${markersAt(path).from}\0`;
    while (from !== undefined) {
      const slice: ReturnType<KvStore['slice']> = this.#slice({ from, to }, recursive ? SLICE_PAIRS_MAX : 1);
      from = slice.next;
      for (const pair of slice.kvs) {
        const marked = markedPath(pair.key);
        if (marked === undefined || !isNodeKey(marked)) continue;
        const hidden = hiddenOn(path, marked);
        if (recursive && hidden === undefined) {
          this.#dir(marked);
          continue;
        }
        const passed = recursive ? hidden! : childOn(path, marked);
        if (passed !== hidden) this.#dir(passed);
        // What has been read beyond the place is read again there.
        const next = `${markerKey(passed).slice(0, -1)}0`;
        from = next < to ? next : undefined;
        break;
      }
      if (this.#looks >= V2_STEP_LOOKS_MAX) yield;
    }
  }

  *#readKeys(): Generator<void, void> {
    const { path, recursive } = this.#query;
    const { from: first, to } = below(path);
    let from: ByteString | undefined = first;
    let pairs = recursive ? SLICE_PAIRS_MAX : 1;
    while (from !== undefined) {
      const slice: ReturnType<KvStore['slice']> = this.#slice({ from, to }, pairs);
      from = slice.next;
      pairs = Math.min(2 * pairs, SLICE_PAIRS_MAX);
      for (const pair of slice.kvs) {
        const jump = this.#key(pair);
        if (jump === undefined) continue;
        // What has been read beyond the place is read again there: a directory is passed over with a look or two.
        from = jump < to ? jump : undefined;
        if (!recursive) pairs = 1;
        break;
      }
      if (this.#looks >= V2_STEP_LOOKS_MAX) yield;
    }
  }

  /** Takes in one key; returns where to go on, if that is not right behind it. */
  #key(pair: KeyValue): ByteString | undefined {
    const { path, recursive } = this.#query;
    const { key } = pair;
    // The part that is a path: keys with empty components show the directories in front of them.
    const shown = shownPart(key, below(path).from.length);
    if (shown === undefined) return undefined;
    const hidden = hiddenOn(path, shown);
    if (!recursive) {
      const child = childOn(path, shown);
      if (child !== hidden && child !== key) this.#dir(child);
      else if (child !== hidden) this.#add(this.#file(pair));
      return child === key ? undefined : `${child}0`;
    }
    const dir = hidden !== undefined ? parentOf(hidden) : shown === key ? parentOf(key) : shown;
    const parent = this.#dir(dir);
    if (hidden !== undefined) return hidden === key ? undefined : `${hidden}0`;
    if (shown === key && parent !== undefined) this.#add(this.#file(pair));
    return undefined;
  }

  /** Directory `path`, somewhere below the one asked for, with the directories on the way; undefined: a file is there. */
  #dir(path: ByteString): V2Node | undefined {
    if (this.#dirs.has(path)) return this.#dirs.get(path);
    const parent = this.#dir(parentOf(path));
    const isFree = parent !== undefined && this.#at(path) === undefined;
    const node = isFree ? this.#dirNode(path) : undefined;
    this.#dirs.set(path, node);
    if (node === undefined) return undefined;
    if (this.#query.recursive) node.nodes = [];
    parent!.nodes!.push(node);
    return node;
  }

  #dirNode(path: ByteString): V2Node {
    const marker = this.#at(markerKey(path));
    if (marker !== undefined) return dirNodeOf(path, marker, undefined);
    const { kvs } = this.#slice(below(path), 1);
    return kvs.length === 0 ? dirNode(path, 0) : dirNodeOf(path, undefined, kvs[0]);
  }

  #add(node: V2Node): void {
    this.#dirs.get(parentOf(node.path))!.nodes!.push(node);
  }

  #file(pair: KeyValue): V2Node {
    return fileNode(pair, fileRecord(this.#at, pair));
  }

  /** A store says nothing of what is compacted; but nothing has been removed while this is being read. */
  #pair(key: ByteString): KeyValue | undefined {
    const { revision } = this;
    if (revision >= this.#store.compactRevision) return this.#store.at(key, revision);
    return this.#store.slice(key, `${key}\0`, revision, { pairs: 1, bytes: 1, looks: 1 }).kvs[0];
  }

  #slice({ from, to }: Span, pairs: number): ReturnType<KvStore['slice']> {
    const looks = V2_STEP_LOOKS_MAX;
    const slice = this.#store.slice(from, to, this.revision, { pairs, bytes: SLICE_BYTES_MAX, looks });
    // What did not exist at the revision is not counted by the store, but has been looked at.
    this.#looks += slice.kvs.length < pairs && slice.next !== undefined ? looks : slice.kvs.length + 1;
    return slice;
  }
}

/** The child of directory `path` that `descendant` is or lies below. */
function childOn(path: ByteString, descendant: ByteString): ByteString {
  const at = descendant.indexOf('/', path === ROOT ? 1 : path.length + 1);
  return at < 0 ? descendant : descendant.slice(0, at);
}

/** The first node on the way from `path` down to `descendant` that is hidden. */
function hiddenOn(path: ByteString, descendant: ByteString): ByteString | undefined {
  const at = descendant.indexOf('/_', path === ROOT ? 0 : path.length);
  if (at < 0) return undefined;
  const end = descendant.indexOf('/', at + 1);
  return end < 0 ? descendant : descendant.slice(0, end);
}

/** The longest beginning of `key` that is a node's path; undefined: it ends before `start`. */
function shownPart(key: ByteString, start: number): ByteString | undefined {
  if (isNodeKey(key)) return key;
  let end = start;
  for (let depth = 0; depth < DEPTH_MAX; depth++) {
    const from = end === start ? start : end + 1;
    const slash = key.indexOf('/', from);
    // What has no slash behind it would be a file.
    if (slash < 0 || !isName(key.slice(from, slash))) break;
    end = slash;
  }
  return end === start || !isNodeKey(key.slice(0, end)) ? undefined : key.slice(0, end);
}

function isName(name: ByteString): boolean {
  return name !== '' && name !== '.' && name !== '..' && isUtf8(name);
}

function byPath(a: V2Node, b: V2Node): number {
  return a.path < b.path ? -1 : 1;
}
