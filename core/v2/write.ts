/**
 * The writes of the v2 API, each one revision at most: what etcd's v2store decides, decided on the newest state of the
 * keys. Called where an entry is applied; looks at no clock, since the request brings the time of the member that took it.
 */

import { RosterError } from '../errors.ts';
import type { Lessor } from '../lease/lessor.ts';
import type { KvStore, KvWriter } from '../mvcc/kv-store.ts';
import { assert } from '../util/assert.ts';
import { type ByteString, bytesEqual, EMPTY_BYTES, toByteString } from '../util/bytes.ts';
import type { KeyValue } from '../wire/messages.ts';
import { V2Action, V2Op, type V2Record, type V2Request } from '../wire/stored.ts';
import { V2Code, V2Refusal } from './errors.ts';
import type { V2Answer, V2Node } from './node.ts';
import { below, ENDED_KEY, fileKey, markedPath, markerKey, markersAt, ROOT, recordsBelow } from './paths.ts';
import { dirNode, emptyRecord, fileNode, fileRecord, readRecord, recordValue } from './record.ts';
import { dirAt, hasBelow, isDir, missing, newest, unmarkedAncestors } from './tree.ts';

const { SET, CREATE, UPDATE, COMPARE_AND_SWAP, DELETE, COMPARE_AND_DELETE, NONE, EXPIRE } = V2Action.values;
const LEASE_ID_MAX = 2n ** 63n - 1n;
const IN_ORDER_DIGITS = 20;

export interface V2State {
  readonly store: KvStore;
  readonly lessor: Lessor;
}

/** `entryId` is the request's own, by which its lease is called. LeaseTTLTooLarge besides what v2 refuses. */
export function applyV2(state: V2State, request: V2Request, entryId: bigint): V2Answer | V2Refusal | RosterError {
  return new Write(state, request, entryId).run();
}

/** A node as it is found, and whatever hangs on it. */
interface Found {
  readonly node: V2Node;
  /** The lease that v2 gave it. */
  readonly lease: bigint;
}

class Write {
  readonly #store: KvStore;
  readonly #lessor: Lessor;
  readonly #request: V2Request;
  readonly #entryId: bigint;
  /** The store's revision before. */
  readonly #index: number;

  constructor({ store, lessor }: V2State, request: V2Request, entryId: bigint) {
    this.#store = store;
    this.#lessor = lessor;
    this.#request = request;
    this.#entryId = entryId;
    this.#index = store.revision;
  }

  run(): V2Answer | V2Refusal | RosterError {
    const { op, path } = this.#request;
    const { values } = V2Op;
    if (op === values.POST) {
      const number = String(this.#index + 1).padStart(IN_ORDER_DIGITS, '0');
      return this.#create(path === ROOT ? `/${number}` : `${path}/${number}`);
    }
    if (path === ROOT) return this.#ofRoot();
    if (op === values.SET) return this.#set();
    if (op === values.CREATE) return this.#create(path);
    if (op === values.UPDATE) return this.#update();
    if (op === values.COMPARE_AND_SWAP) return this.#compareAndSwap();
    if (op === values.DELETE) return this.#delete();
    assert(op === values.COMPARE_AND_DELETE, 'a v2 write is one of seven');
    return this.#compareAndDelete();
  }

  #ofRoot(): V2Refusal {
    // etcd looks at the directory before it looks at the root here.
    if (this.#request.op === V2Op.values.COMPARE_AND_DELETE) return this.#refuse(V2Code.NOT_FILE, ROOT);
    return this.#refuse(V2Code.ROOT_READ_ONLY, ROOT);
  }

  // ---- the writes

  #set(): V2Answer | V2Refusal | RosterError {
    const { path, refresh, dir, value } = this.#request;
    const found = this.#find(path);
    if (found === undefined && refresh) return missing(this.#store, path, this.#index);
    if (found?.node.dir === true) return this.#refuse(V2Code.NOT_FILE, path);
    return this.#put(path, SET, dir, refresh ? (found!.node.value ?? EMPTY_BYTES) : value, found);
  }

  #create(path: ByteString): V2Answer | V2Refusal | RosterError {
    const found = this.#find(path);
    if (found !== undefined) return this.#refuse(V2Code.NODE_EXIST, path);
    return this.#put(path, CREATE, this.#request.dir, this.#request.value, undefined);
  }

  #update(): V2Answer | V2Refusal | RosterError {
    const { path, value, refresh } = this.#request;
    const found = this.#find(path);
    if (found === undefined) return missing(this.#store, path, this.#index);
    if (found.node.dir && value.length > 0) return this.#refuse(V2Code.NOT_FILE, path);
    const kept = refresh && !found.node.dir ? found.node.value! : value;
    return this.#put(path, UPDATE, found.node.dir, kept, found);
  }

  #compareAndSwap(): V2Answer | V2Refusal | RosterError {
    const { path, value, refresh } = this.#request;
    const found = this.#compared();
    if (found instanceof V2Refusal) return found;
    return this.#put(path, COMPARE_AND_SWAP, false, refresh ? found.node.value! : value, found);
  }

  #compareAndDelete(): V2Answer | V2Refusal {
    const found = this.#compared();
    return found instanceof V2Refusal ? found : this.#end(COMPARE_AND_DELETE, found);
  }

  #delete(): V2Answer | V2Refusal {
    const { path, dir, recursive } = this.#request;
    const found = this.#find(path);
    if (found === undefined) return missing(this.#store, path, this.#index);
    if (found.node.dir) {
      if (!dir && !recursive) return this.#refuse(V2Code.NOT_FILE, path);
      if (!recursive && hasBelow(this.#store, path)) return this.#refuse(V2Code.DIR_NOT_EMPTY, path);
    }
    return this.#end(DELETE, found);
  }

  // ---- finding

  #find(path: ByteString): Found | undefined {
    const pair = newest(this.#store, path);
    if (pair !== undefined) {
      const record = fileRecord((key) => newest(this.#store, key), pair);
      return { node: fileNode(pair, record), lease: record?.lease === pair.lease ? pair.lease : 0n };
    }
    if (!isDir(this.#store, path)) return undefined;
    const marker = newest(this.#store, markerKey(path));
    const lease = readRecord(marker)?.lease ?? 0n;
    return { node: dirAt(this.#store, path), lease: lease === marker?.lease ? lease : 0n };
  }

  #compared(): Found | V2Refusal {
    const { path, prev_value: value, prev_index: index } = this.#request;
    const found = this.#find(path);
    if (found === undefined) return missing(this.#store, path, this.#index);
    if (found.node.dir) return this.#refuse(V2Code.NOT_FILE, path);
    const actual = found.node.value!;
    const sameValue = value.length === 0 || bytesEqual(value, actual);
    const sameIndex = index === 0n || index === BigInt(found.node.modified);
    if (sameValue && sameIndex) return found;
    const ofValue = `[${toByteString(value)} != ${toByteString(actual)}]`;
    const ofIndex = `[${index} != ${found.node.modified}]`;
    const cause = sameValue ? ofIndex : sameIndex ? ofValue : `${ofValue} ${ofIndex}`;
    return this.#refuse(V2Code.TEST_FAILED, cause);
  }

  #refuse(code: V2Code, cause: ByteString): V2Refusal {
    return new V2Refusal(code, cause, this.#index);
  }

  // ---- writing

  /** Writes file or directory `path`; `found` is what is there. */
  #put(
    path: ByteString,
    action: typeof SET | typeof CREATE | typeof UPDATE | typeof COMPARE_AND_SWAP,
    dir: boolean,
    value: Uint8Array,
    found: Found | undefined,
  ): V2Answer | V2Refusal | RosterError {
    // What is there has its directories, with or without markers: a set puts right what v3 clients left out.
    const unmarked = found === undefined || action === SET ? unmarkedAncestors(this.#store, path, this.#index) : [];
    if (unmarked instanceof V2Refusal) return unmarked;
    const lease = this.#grant();
    if (lease instanceof RosterError) return lease;
    const { time_ms, ttl, has_ttl } = this.#request;
    // What is new is told of in any case.
    const refresh = this.#request.refresh && action !== CREATE;
    const expires_ms = has_ttl ? time_ms + ttl * 1000 : 0;
    const keepsCreated = action === UPDATE || action === COMPARE_AND_SWAP;
    const revision = this.#index + 1;
    const created = keepsCreated ? found!.node.created : revision;
    const record = () => recordValue({ ...emptyRecord(action), created, expires_ms, lease, time_ms, refresh });
    const writer = this.#store.write();
    for (const ancestor of unmarked) writer.put(markerKey(ancestor), MARKER, 0n);
    if (dir) {
      if (found?.node.dir === false) this.#deleteFile(writer, path);
      writer.put(markerKey(path), record(), lease);
    } else {
      writer.put(path, value, lease);
      const plain = action === SET && !has_ttl && (found?.node.expiresMs ?? 0) === 0;
      if (!plain) writer.put(fileKey(path), record(), 0n);
      else if (writer.meta(fileKey(path)) !== undefined) writer.deleteRange(fileKey(path), '');
    }
    writer.end();
    dropLease(this.#lessor, found?.lease ?? 0n);
    const node = dir
      ? { ...dirNode(path, created, expires_ms), modified: revision }
      : { path, value, dir, expiresMs: expires_ms, lease: 0n, modified: revision, created };
    return this.#answer(action, node, found?.node);
  }

  /** Deletes what was found, a directory with all that is in it. */
  #end(action: typeof DELETE | typeof COMPARE_AND_DELETE, { node, lease }: Found): V2Answer {
    const { time_ms } = this.#request;
    const record = { ...endRecord(action, node), time_ms };
    const plain = action === DELETE && !node.dir && node.expiresMs === 0;
    const leases = removeNode(this.#store, node, plain ? undefined : record);
    for (const each of [lease, ...leases]) dropLease(this.#lessor, each);
    return this.#answer(
      action,
      { ...node, value: undefined, expiresMs: 0, lease: 0n, modified: this.#index + 1 },
      node,
    );
  }

  #deleteFile(writer: KvWriter, path: ByteString): void {
    writer.deleteRange(path, '');
    writer.deleteRange(fileKey(path), '');
  }

  /** A lease of its own for the node; 0n: it is to stay. */
  #grant(): bigint | RosterError {
    const { has_ttl, ttl } = this.#request;
    if (!has_ttl) return 0n;
    let id = this.#entryId & LEASE_ID_MAX;
    while (id === 0n || this.#lessor.has(id)) id = (id + 1n) & LEASE_ID_MAX;
    const granted = this.#lessor.grant(id, BigInt(ttl), 0);
    return granted instanceof RosterError ? granted : id;
  }

  #answer(action: V2Answer['action'], node: V2Node, prevNode: V2Node | undefined): V2Answer {
    const { refresh, time_ms: timeMs } = this.#request;
    return { action, node, prevNode, refresh: refresh && prevNode !== undefined, index: this.#index + 1, timeMs };
  }
}

/** Of a directory that came into being with what is in it. */
const MARKER: Uint8Array = recordValue(emptyRecord(NONE));

function endRecord(action: number, { path, dir, created, modified, expiresMs }: V2Node): V2Record {
  return { ...emptyRecord(action), path, dir, created, modified, expires_ms: expiresMs };
}

/**
 * Deletes a node with everything below it and all records of that, and `keys` besides, in one revision, and records `how`.
 * Returns the leases that v2 gave to what was below.
 */
function removeNode(
  store: KvStore,
  { path, dir }: V2Node,
  how: V2Record | undefined,
  keys: readonly ByteString[] = [],
): bigint[] {
  const spans = dir ? [below(path), markersAt(path), recordsBelow(path)] : [];
  const leases: bigint[] = [];
  for (const { from, to } of spans.slice(1)) {
    for (const pair of pairsIn(store, from, to)) {
      const lease = readRecord(pair)?.lease ?? 0n;
      if (lease !== 0n) leases.push(lease);
    }
  }
  const writer = store.write();
  if (!dir) {
    writer.deleteRange(path, '');
    writer.deleteRange(fileKey(path), '');
  }
  for (const { from, to } of spans) writer.deleteRange(from, to);
  for (const key of keys) writer.deleteRange(key, '');
  if (how !== undefined) writer.put(ENDED_KEY, recordValue(how), 0n);
  writer.end();
  return leases;
}

function pairsIn(store: KvStore, from: ByteString, to: ByteString): KeyValue[] {
  const result = store.range(from, to);
  assert(typeof result !== 'string', 'the latest revision can always be read');
  return result.kvs;
}

// ---- the end of a time to live

/**
 * The node that v2 gave lease `id` to, and that still has it. It goes with the lease as a v2 client expects it: a directory
 * with its subtree. Anybody else's lease takes its keys and no more: `undefined`.
 */
export function leasedNode(store: KvStore, id: bigint, keys: Iterable<ByteString>): V2Node | undefined {
  for (const key of keys) {
    const dir = markedPath(key);
    if (dir !== undefined) {
      if (readRecord(newest(store, key))?.lease === id) return dirAt(store, dir);
    } else if (store.meta(fileKey(key)) !== undefined) {
      const pair = newest(store, key);
      const record = pair === undefined ? undefined : fileRecord((at) => newest(store, at), pair);
      if (pair !== undefined && record?.lease === id) return fileNode(pair, record);
    }
  }
  return undefined;
}

/** The time of `node` is up: it goes, with the other `keys` of its lease, which is gone already, in one revision. */
export function expireNode({ store, lessor }: V2State, node: V2Node, keys: readonly ByteString[]): void {
  const record = { ...endRecord(EXPIRE, node), time_ms: node.expiresMs };
  for (const lease of removeNode(store, node, record, keys)) dropLease(lessor, lease);
}

/** The node it was for is gone, or has another. It lives on if a v3 client has hung something on it. */
function dropLease(lessor: Lessor, lease: bigint): void {
  if (lease === 0n || !lessor.has(lease)) return;
  for (const _key of lessor.keysOf(lease)) return;
  lessor.revoke(lease);
}
