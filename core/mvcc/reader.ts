/**
 * Range reads, at the latest state of the index or at an earlier revision. Owns no state. Whether a revision may be
 * read at all is decided here, what is there by the index.
 */
import type { ByteString } from '../util/bytes.ts';
import type { KeyValue } from '../wire/messages.ts';
import type { KeyIndex } from './key-index.ts';
import type { KeySpace } from './key-space.ts';
import type {
  EncodedSlice,
  KeyMeta,
  MeasuredSlice,
  RangeOptions,
  RangeResult,
  RangeSlice,
  ReadRefusal,
  SliceLimits,
} from './kv-store.ts';
import { type Pairs, rowBytes } from './pairs.ts';
import { REVISION_BYTES, type Revision } from './revision.ts';

/** What a read sees: the store between transactions, or a writer with its own changes. */
export interface View {
  space: KeySpace;
  pairs: Pairs;
  /** The revision of the newest change in the index. */
  current: number;
  compacted: number;
}

/** KvReader.range. */
export function readRange(
  view: View,
  key: ByteString,
  rangeEnd: ByteString,
  options: RangeOptions,
): RangeResult | ReadRefusal {
  const { current } = view;
  const asked = options.revision ?? 0;
  const revision = asked <= 0 ? current : asked;
  if (revision > current) return 'FutureRev';
  if (revision < view.compacted) return 'Compacted';
  const limit = limitOf(options);
  if (rangeEnd === '') return readOne(view, key, revision, limit);
  const to = rangeEnd === '\0' ? undefined : rangeEnd;
  if (to !== undefined && to <= key) return { kvs: [], count: 0, revision: current };
  return revision === current ? readLatest(view, key, to, limit) : readPast(view, key, to, revision, limit);
}

/** KvReader.meta. */
export function readMeta(space: KeySpace, key: ByteString): KeyMeta | undefined {
  const generation = space.live(key)?.last;
  if (generation === undefined) return undefined;
  return {
    create_revision: generation.created,
    mod_revision: generation.lastMain,
    version: generation.version,
  };
}

/** KvStore.slice. */
export function readSlice(
  view: View,
  from: ByteString,
  to: ByteString | undefined,
  revision: number,
  limits: SliceLimits,
): RangeSlice {
  const { pairs } = view;
  const kvs: KeyValue[] = [];
  const { seen, next } = walkSlice(view, from, to, revision, limits, (entry, { main, sub }) => {
    const pair = pairs.at(entry, main, sub);
    kvs.push(pair);
    return rowBytes(pair);
  });
  return { kvs, seen, next };
}

/** KvStore.encodedSlice. */
export function readEncodedSlice(
  view: View,
  from: ByteString,
  to: ByteString | undefined,
  revision: number,
  limits: SliceLimits,
  take: (pair: Uint8Array) => void,
): EncodedSlice {
  const { pairs } = view;
  return walkSlice(view, from, to, revision, limits, (entry, { main, sub }) => {
    const bytes = pairs.encodedAt(entry, main, sub);
    take(bytes);
    return REVISION_BYTES + bytes.length;
  });
}

/** `take` gets the pairs and says how many bytes their rows have. */
function walkSlice(
  { space }: View,
  from: ByteString,
  to: ByteString | undefined,
  revision: number,
  limits: SliceLimits,
  take: (entry: KeyIndex, at: Revision) => number,
): EncodedSlice {
  let given = 0;
  let seen = 0;
  let bytesLeft = limits.bytes;
  const next = space.scanSlice(from, to, limits.looks, (entry) => {
    const at = entry.find(revision);
    if (at === undefined) return true;
    seen++;
    if (limits.pairs === 0) return true;
    bytesLeft -= take(entry, at);
    given++;
    return given < limits.pairs && bytesLeft > 0;
  });
  return { given, seen, next };
}

/** KvStore.measure. */
export function measureSlice(
  { space, pairs }: View,
  from: ByteString,
  to: ByteString | undefined,
  revision: number,
  limits: SliceLimits,
): MeasuredSlice {
  const sizes: number[] = [];
  let seen = 0;
  const next = space.scanSlice(from, to, limits.looks, (entry) => {
    const at = entry.find(revision);
    if (at === undefined) return true;
    seen++;
    if (sizes.length === limits.pairs) return true;
    const { lastMain, lastSub, lastBytes } = entry.last;
    // Of what was overwritten since the index does not know the size.
    const isNewest = at.main === lastMain && at.sub === lastSub;
    sizes.push((isNewest ? lastBytes : rowBytes(pairs.at(entry, at.main, at.sub))) - REVISION_BYTES);
    return true;
  });
  return { sizes, seen, next };
}

function limitOf(options: RangeOptions): number {
  if (options.countOnly === true) return 0;
  const limit = options.limit ?? 0;
  return limit > 0 ? limit : Number.POSITIVE_INFINITY;
}

function readOne(view: View, key: ByteString, revision: number, limit: number): RangeResult {
  const { current, pairs } = view;
  const entry = view.space.any(key);
  const at = entry?.find(revision);
  if (entry === undefined || at === undefined) return { kvs: [], count: 0, revision: current };
  if (limit === 0) return { kvs: [], count: 1, revision: current };
  const newest = entry.live && at.main === entry.last.lastMain;
  return { kvs: [newest ? pairs.newest(entry) : pairs.at(entry, at.main, at.sub)], count: 1, revision: current };
}

/** The count comes from the tree, so only what is returned costs anything. */
function readLatest(view: View, from: ByteString, to: ByteString | undefined, limit: number): RangeResult {
  const { space, pairs } = view;
  const kvs: KeyValue[] = [];
  if (limit > 0) {
    space.scanLive(from, to, (_key, entry) => {
      const { lastMain, lastSub } = entry.last;
      kvs.push(pairs.at(entry, lastMain, lastSub));
      return kvs.length < limit;
    });
  }
  const count = kvs.length < limit ? kvs.length : space.countLive(from, to);
  return { kvs, count, revision: view.current };
}

/** At an earlier revision keys come from both the living and the dead, and each is asked what it was. */
function readPast(
  view: View,
  from: ByteString,
  to: ByteString | undefined,
  revision: number,
  limit: number,
): RangeResult {
  const { space, pairs } = view;
  const kvs: KeyValue[] = [];
  if (limit > 0) {
    space.scanAt(from, to, revision, (entry, at) => {
      kvs.push(pairs.at(entry, at.main, at.sub));
      return kvs.length < limit;
    });
  }
  const count = kvs.length < limit ? kvs.length : space.countAt(from, to, revision);
  return { kvs, count, revision: view.current };
}
