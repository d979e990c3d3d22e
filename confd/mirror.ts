/**
 * One copy of the watched keys per process: a list at one revision, then the watch from the next. Owns the key tree,
 * the ranges, and the guarantee that a snapshot shows the store at one revision. Reconnecting is the client's job;
 * rendering is nobody's here.
 */
import type { EtcdClient } from '../client/api.ts';
import { GrpcStatus, RosterError } from '../core/errors.ts';
import { asBuffer, type ByteString, byteStringToUtf8, fromByteString, utf8ToByteString } from '../core/util/bytes.ts';
import { type Event, EventType, type KeyValue } from '../core/wire/messages.ts';
import { pause } from './duration.ts';
import { type Change, isCleanKey, KeyTree, type KeyValueText } from './key-tree.ts';
import { type Logger, messageOf } from './logger.ts';
import { inScope, mergeScopes, type ScopeRange } from './scope.ts';

/** Keys asked for per page of a list; halved while a page is too large for one message. */
export const LIST_PAGE_KEYS = 1_000;
/** Pause before a failed list or watch is tried again: doubles between these. */
export const RETRY_MIN_MS = 100;
export const RETRY_MAX_MS = 5_000;
/** Questions to the store whether quiet ranges are up to date, before they are listed anew. */
export const FENCES_MAX = 8;
/** How long a range known to be behind may take to get its events, before it is asked about again. */
export const FENCE_PAUSE_MS = 50;

interface MirrorRange extends ScopeRange {
  /** Everything up to this revision is in the tree. */
  frontier: number;
  /** The newest revision that wrote to the range; the tree is the range's content at any revision from here to `frontier`. */
  lastWrite: number;
  /** Raw keys in the range, also those outside the scopes. */
  count: number;
  loaded: boolean;
  readonly stop: AbortController;
}

export type ChangeListener = (changes: readonly Change[], revision: number) => void;

function valueText(bytes: Uint8Array): KeyValueText {
  const text = asBuffer(bytes).toString('utf8');
  // Only malformed input (or a genuine U+FFFD) shows the replacement character.
  if (!text.includes('\ufffd') || Buffer.from(text).equals(asBuffer(bytes))) return text;
  return Uint8Array.prototype.slice.call(bytes);
}

/** The key as text; undefined when it is not UTF-8. */
function keyText(key: ByteString): string | undefined {
  const text = byteStringToUtf8(key);
  return !text.includes('\ufffd') || utf8ToByteString(text) === key ? text : undefined;
}

export class Mirror {
  readonly tree = new KeyTree();
  readonly #client: EtcdClient;
  readonly #log: Logger;
  readonly watching: boolean;
  readonly #listeners = new Set<ChangeListener>();
  readonly #waiting = new Set<() => void>();
  readonly #stopped = new AbortController();
  readonly #work = new Set<Promise<void>>();
  #ranges: MirrorRange[] = [];

  /** With `watch`, ranges are loaded and followed by themselves; without, {@link refresh} lists them. */
  constructor(client: EtcdClient, log: Logger, options: { watch: boolean }) {
    this.#client = client;
    this.#log = log;
    this.watching = options.watch;
  }

  /** Called synchronously after each revision that changed something, with everything it changed. */
  onChange(listener: ChangeListener): void {
    this.#listeners.add(listener);
  }

  /** Which scopes to hold from now on. Ranges that stay the same go on undisturbed; keys in no scope are dropped. */
  setScopes(scopes: Iterable<string>): void {
    const wanted = mergeScopes(scopes);
    const same = (a: ScopeRange, b: ScopeRange) =>
      a.start === b.start && a.end === b.end && a.scopes.join('\0') === b.scopes.join('\0');
    const kept = this.#ranges.filter((range) => wanted.some((other) => same(range, other)));
    const added = wanted
      .filter((range) => !kept.some((other) => same(range, other)))
      .map((range) => ({
        ...range,
        frontier: 0,
        lastWrite: 0,
        count: 0,
        loaded: false,
        stop: new AbortController(),
      }));
    const gone = this.#ranges.filter((range) => !kept.includes(range));
    for (const range of gone) range.stop.abort();
    this.#ranges = [...kept, ...added];
    const dropped: Change[] = [];
    for (const scope of gone.flatMap((range) => range.scopes)) {
      for (const key of [...this.tree.keysUnder(scope)]) {
        if (this.#rangeOf(key) !== undefined) continue;
        const change = this.tree.delete(key);
        if (change !== undefined) dropped.push(change);
      }
    }
    this.#publish(dropped, 0);
    if (this.watching && added.length > 0) this.#spawn(this.#load(added));
  }

  /** Lists every range anew, all at one revision. Rejects when the store does not answer. */
  async refresh(signal: AbortSignal): Promise<void> {
    await this.#list(this.#ranges, signal);
  }

  /**
   * Runs `use` on the tree at a moment when all keys of `scopes` are as they were at one revision of the store. Waits
   * until they are loaded. Rejects when `signal` fires, or the store does not answer while ranges are out of step.
   */
  async snapshot<T>(
    scopes: readonly string[],
    signal: AbortSignal,
    use: (tree: KeyTree, revision: number) => T,
  ): Promise<T> {
    for (let fences = 0; ; ) {
      signal.throwIfAborted();
      const ranges = this.#rangesOf(scopes);
      if (ranges.some((range) => !range.loaded)) {
        await this.#activity(signal);
        continue;
      }
      const newest = Math.max(0, ...ranges.map((range) => range.lastWrite));
      const behind = ranges.filter((range) => range.frontier < newest);
      if (behind.length === 0) {
        return use(this.tree, ranges.length === 0 ? 0 : Math.min(...ranges.map((range) => range.frontier)));
      }
      if (fences++ < FENCES_MAX) await this.#fence(behind, signal);
      else await this.#list(ranges, signal);
    }
  }

  /** Stops all watches; resolves when nothing of it runs any more. */
  async close(): Promise<void> {
    this.#stopped.abort();
    for (const range of this.#ranges) range.stop.abort();
    await Promise.all(this.#work);
  }

  #spawn(work: Promise<void>): void {
    const tracked = work.finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
  }

  #rangeOf(key: string): MirrorRange | undefined {
    return this.#ranges.find((range) => range.scopes.some((scope) => inScope(scope, key)));
  }

  #rangesOf(scopes: readonly string[]): MirrorRange[] {
    return this.#ranges.filter((range) =>
      range.scopes.some((held) => scopes.some((scope) => inScope(held, scope) || inScope(scope, held))),
    );
  }

  /** The first list of new ranges, together at one revision, for as long as it takes; then each is followed. */
  async #load(ranges: MirrorRange[]): Promise<void> {
    const signal = this.#stopped.signal;
    for (let retryMs = RETRY_MIN_MS; !signal.aborted; retryMs = Math.min(retryMs * 2, RETRY_MAX_MS)) {
      const live = ranges.filter((range) => !range.stop.signal.aborted);
      if (live.length === 0) return;
      try {
        await this.#list(live, signal);
        for (const range of live) this.#spawn(this.#follow(range));
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#log.warn({ error: messageOf(error), retryMs }, 'cannot list the keys; trying again');
        await pause(retryMs, signal);
      }
    }
  }

  async #follow(range: MirrorRange): Promise<void> {
    const signal = range.stop.signal;
    let retryMs = RETRY_MIN_MS;
    let listed = true;
    while (!signal.aborted) {
      try {
        if (!listed) await this.#list([range], signal);
        listed = false;
        const watch = this.#client.watch(fromByteString(range.start), {
          rangeEnd: fromByteString(range.end),
          start_revision: range.frontier + 1,
          progress_notify: true,
          signal,
        });
        for await (const item of watch) {
          if (signal.aborted) return;
          retryMs = RETRY_MIN_MS;
          if (item.kind === 'events') this.#applyEvents(range, item.events, item.revision);
          else if (item.kind === 'progress') this.#advance(range, item.revision);
          else
            this.#log.info({ compactRevision: item.compactRevision }, 'watch fell behind a compaction; listing again');
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#log.warn({ error: messageOf(error), retryMs }, 'watch failed; listing again');
      }
      await pause(retryMs, signal);
      retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
    }
  }

  #applyEvents(range: MirrorRange, events: readonly Event[], revision: number): void {
    // A list made meanwhile already holds it.
    if (revision <= range.frontier) return;
    const changes: Change[] = [];
    for (const { type, kv } of events) {
      if (kv === undefined) continue;
      const deleted = type === EventType.values.DELETE;
      if (deleted) range.count--;
      else if (kv.create_revision === kv.mod_revision) range.count++;
      const key = this.#keyIn(range, kv.key);
      if (key === undefined) continue;
      const change = deleted ? this.tree.delete(key) : this.tree.set(key, valueText(kv.value));
      if (change !== undefined) changes.push(change);
    }
    range.lastWrite = revision;
    this.#advance(range, revision);
    this.#publish(changes, revision);
  }

  #advance(range: MirrorRange, revision: number): void {
    range.frontier = Math.max(range.frontier, revision);
    this.#wake();
  }

  /** The key as text when it belongs in the tree. */
  #keyIn(range: MirrorRange, raw: ByteString): string | undefined {
    const key = keyText(raw);
    if (key === undefined || !isCleanKey(key)) {
      this.#log.debug({ key: key ?? raw }, 'key is not a clean path of UTF-8 text; ignored');
      return undefined;
    }
    return range.scopes.some((scope) => inScope(scope, key)) ? key : undefined;
  }

  #publish(changes: readonly Change[], revision: number): void {
    if (changes.length > 0) for (const listener of this.#listeners) listener(changes, revision);
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resume of waiting) resume();
  }

  /** The next thing that happens to any range. */
  #activity(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener('abort', done);
    });
  }

  /** Lists `ranges` at one revision and brings the tree to it; only real differences are published. */
  async #list(ranges: readonly MirrorRange[], signal: AbortSignal): Promise<void> {
    let revision = 0;
    const lists: KeyValue[][] = [];
    for (const range of ranges) {
      const list = await this.#pages(range, revision, signal);
      revision = list.revision;
      lists.push(list.kvs);
    }
    const changes: Change[] = [];
    ranges.forEach((range, index) => {
      // The watch may have overtaken the list, or the range may have been dropped.
      if (range.stop.signal.aborted || (range.loaded && range.frontier > revision)) return;
      this.#replace(range, lists[index]!, revision, changes);
    });
    this.#publish(changes, revision);
    this.#wake();
  }

  #replace(range: MirrorRange, kvs: readonly KeyValue[], revision: number, changes: Change[]): void {
    const seen = new Set<string>();
    for (const kv of kvs) {
      const key = this.#keyIn(range, kv.key);
      if (key === undefined) continue;
      seen.add(key);
      const change = this.tree.set(key, valueText(kv.value));
      if (change !== undefined) changes.push(change);
    }
    for (const scope of range.scopes) {
      for (const key of [...this.tree.keysUnder(scope)]) {
        const change = seen.has(key) ? undefined : this.tree.delete(key);
        if (change !== undefined) changes.push(change);
      }
    }
    range.count = kvs.length;
    range.frontier = revision;
    // Deletions leave no trace in a list: the last write may have been at any revision up to this one.
    range.lastWrite = revision;
    range.loaded = true;
  }

  async #pages(
    range: ScopeRange,
    atRevision: number,
    signal: AbortSignal,
  ): Promise<{ kvs: KeyValue[]; revision: number }> {
    const kvs: KeyValue[] = [];
    let limit = LIST_PAGE_KEYS;
    let revision = atRevision;
    let key = range.start;
    for (;;) {
      try {
        const page = await this.#client.range({ key, range_end: range.end, limit, revision }, { signal });
        if (revision === 0) revision = page.header?.revision ?? 0;
        for (const kv of page.kvs) kvs.push(kv);
        const last = page.kvs.at(-1);
        if (!page.more || last === undefined) return { kvs, revision };
        key = `${last.key}\0`;
      } catch (error) {
        const tooLarge = error instanceof RosterError && error.status === GrpcStatus.RESOURCE_EXHAUSTED;
        if (!tooLarge || limit === 1) throw error;
        limit = Math.ceil(limit / 4);
      }
    }
  }

  /** Asks the store whether quiet ranges are quiet because nothing happened; those that are move their frontier. */
  async #fence(ranges: readonly MirrorRange[], signal: AbortSignal): Promise<void> {
    let revision = 0;
    for (const range of ranges) {
      const { frontier, count } = range;
      const answer = await this.#client.range(
        { key: range.start, range_end: range.end, revision, min_mod_revision: frontier + 1, keys_only: true, limit: 1 },
        { signal },
      );
      revision ||= answer.header?.revision ?? 0;
      // Every write since is either a key with a newer mod_revision or one key fewer.
      const unchanged = answer.kvs.length === 0 && answer.count === count;
      if (unchanged && range.frontier === frontier) this.#advance(range, revision);
      else if (!unchanged && range.frontier < revision) {
        await Promise.race([this.#activity(signal), pause(FENCE_PAUSE_MS, signal)]);
      }
    }
  }
}
