/**
 * One client's stream of watches: its ids, its answers, and whether its peer keeps up. Sends in order and never holds
 * events back in memory: while the sink is blocked its watchers fall behind in history instead (watch-hub.ts). The one
 * exception are the remaining fragments of a response that has begun.
 */

import { GrpcStatus, otherError, type RosterError, rosterError } from '../errors.ts';
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import type { Event, WatchCreateRequest, WatchResponse } from '../wire/messages.ts';
import type { Unsent } from './delivery.ts';
import type { EventList } from './event-list.ts';
import { OPEN_END } from './interval-tree.ts';
import {
  copiesThatFit,
  eventsResponse,
  eventsThatFit,
  NO_WATCH,
  revisionOf,
  revisionsThatFit,
  watchResponse,
} from './responses.ts';
import type { WatchHub } from './watch-hub.ts';
import { type KeyRange, Watcher } from './watcher.ts';

/** The way out. The header of a response holds its revision only; the receiver owns the response. */
export interface WatchSink {
  /** False: taken, but the peer is slow; no events come until {@link WatchStream.drained} is called. */
  send(response: WatchResponse): boolean;
  /**
   * The same once for each of `ids`, as the watch id of `response`: which others share, so that what is done to it is
   * done alike by all. Absent where that costs as much as sending each by itself.
   */
  sendCopies?(response: WatchResponse, ids: readonly bigint[]): boolean;
}

/** The smallest key there is: what an empty key of a watch means. */
const FIRST_KEY: ByteString = '\0';

export class WatchStream {
  readonly #hub: WatchHub;
  readonly #sink: WatchSink;
  readonly #watchers = new Map<bigint, Watcher>();
  /** Ids whose watch was ended by compaction. As in etcd they stay taken until the client cancels them. */
  readonly #ended = new Set<bigint>();
  /** Watchers whose client named a start in the future, unless it is known to have come. */
  readonly #future = new Set<Watcher>();
  /** Remaining fragments of the response that was being sent when the sink blocked. */
  #rest: WatchResponse[] = [];
  #nextId = 0n;
  #blocked = false;
  #closed = false;
  #unreadAnswers = 0;

  /** For a delivery: watchers that have something pending. */
  readonly due: Watcher[] = [];
  /** For the hub: watchers behind in history. */
  readonly unsynced = new Set<Watcher>();
  /** For the hub: watchers that asked for progress notifications. */
  readonly progress = new Set<Watcher>();
  /** For the hub: when they are due next, on its clock. */
  progressAtMs = 0;

  /** For the hub only: {@link WatchHub.stream}. */
  constructor(hub: WatchHub, sink: WatchSink) {
    this.#hub = hub;
    this.#sink = sink;
  }

  /** The sink has not been written off yet: nothing may be sent but answers. */
  get blocked(): boolean {
    return this.#blocked;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Watches there are. */
  get size(): number {
    return this.#watchers.size;
  }

  /**
   * Begins a watch; the answer goes to the sink, a refusal too (`created` and `canceled`). Returns an error when the
   * peer has left too many answers unread: the stream is closed then, and the call must be ended with it. `also`: keys
   * apart from those of the request, whose events come along; all of a revision come together.
   */
  create(request: WatchCreateRequest, also?: KeyRange): RosterError | undefined {
    if (this.#closed) return undefined;
    const revision = this.#hub.revision;
    const key = request.key === '' ? FIRST_KEY : request.key;
    const reason = this.#refusal(request, key);
    if (reason !== undefined) return this.refuse(reason);
    const future = request.start_revision > revision;
    const startRevision = future ? request.start_revision : request.start_revision || revision + 1;
    const watcher = new Watcher(this, this.#takeId(request.watch_id), key, request, startRevision, also);
    this.#watchers.set(watcher.id, watcher);
    if (future) this.#future.add(watcher);
    const created = watchResponse(revision, watcher.id);
    created.created = true;
    const error = this.#answer(created);
    // The sink may have closed the stream, or cancelled the watch, on being told.
    if (!watcher.gone) this.#hub.begin(watcher);
    return error;
  }

  /** Answers a request for a watch with why there is none. For the result see {@link create}. */
  refuse(reason: string): RosterError | undefined {
    if (this.#closed) return undefined;
    const refused = watchResponse(this.#hub.revision, NO_WATCH);
    refused.created = true;
    refused.canceled = true;
    refused.cancel_reason = reason;
    return this.#answer(refused);
  }

  /** The watches there are, and what each watches. */
  watches(): Iterable<Pick<Watcher, 'id' | 'key' | 'rangeEnd'>> {
    return this.#watchers.values();
  }

  /** Ends a watch against its client's will. For the result see {@link create}. */
  revoke(id: bigint, reason: string): RosterError | undefined {
    const watcher = this.#watchers.get(id);
    if (watcher === undefined) return undefined;
    this.#remove(watcher);
    const canceled = watchResponse(this.#hub.revision, id);
    canceled.canceled = true;
    canceled.cancel_reason = reason;
    return this.#answer(canceled);
  }

  /** Ends a watch; an id that is unknown is met with silence. For the result see {@link create}. */
  cancel(id: bigint): RosterError | undefined {
    const watcher = this.#watchers.get(id);
    if (watcher !== undefined) this.#remove(watcher);
    else if (!this.#ended.delete(id)) return undefined;
    const canceled = watchResponse(this.#hub.revision, id);
    canceled.canceled = true;
    return this.#answer(canceled);
  }

  /**
   * Answers, for the stream as a whole, with the revision up to which everything has been sent; with nothing while any
   * watcher is behind or has not begun (as etcd: the client asks again). For the result see {@link create}.
   */
  requestProgress(): RosterError | undefined {
    const revision = this.#hub.revision;
    if (this.#watchers.size === 0 || this.unsynced.size > 0 || this.#rest.length > 0) return undefined;
    for (const watcher of this.#future) if (this.#isFuture(watcher, revision)) return undefined;
    return this.#answer(watchResponse(revision, NO_WATCH));
  }

  /** The sink that had refused can be written again. */
  drained(): void {
    if (this.#closed || !this.#blocked) return;
    this.#blocked = false;
    this.#unreadAnswers = 0;
    this.#sendRest();
    this.#hub.streamChanged(this);
  }

  /** Ends every watch without a word. Further calls do nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const watcher of this.#watchers.values()) this.#remove(watcher);
    this.#ended.clear();
    this.#rest = [];
    this.#hub.streamClosed(this);
  }

  // ---- for the hub

  /** Sends its watchers what is due, of whole revisions each, as far as the sink takes it. */
  deliver(revision: number, unsent: Unsent): void {
    const { due } = this;
    const { responseBytesMax } = this.#hub.limits;
    const copies = this.#sink.sendCopies !== undefined;
    for (let i = 0; i < due.length; ) {
      const watcher = due[i]!;
      const list = watcher.pending;
      if (list === undefined) i++;
      else if (copies && !this.#blocked && list.holders > 1 && list.responseBytes <= responseBytesMax) {
        i = this.#deliverCopies(list, i, revision);
      } else {
        watcher.pending = undefined;
        this.#deliverTo(watcher, list.toArray(), revision, unsent);
        i++;
      }
    }
    due.length = 0;
  }

  /** Sends a response without events to a watcher of this stream that is synced: everything up to `revision` is out. */
  notifyProgress(revision: number): void {
    for (const watcher of this.progress) {
      const due = watcher.quiet;
      watcher.quiet = true;
      if (!due || this.#blocked || !watcher.synced || this.#isFuture(watcher, revision)) continue;
      this.#send(watchResponse(revision, watcher.id));
      if (this.#closed) return;
    }
  }

  /** Ends a watch whose history is gone. */
  cancelCompacted(watcher: Watcher, compactRevision: number): void {
    this.#remove(watcher);
    this.#ended.add(watcher.id);
    // etcd's header holds no revision here, and there is no reason text: clients look at compact_revision.
    const canceled = watchResponse(0, watcher.id);
    canceled.canceled = true;
    canceled.compact_revision = compactRevision;
    this.#send(canceled);
  }

  // ---- inner

  #refusal(request: WatchCreateRequest, key: ByteString): string | undefined {
    if (request.start_revision < 0) return rosterError('Compacted').message;
    const { range_end: end, watch_id: id } = request;
    if (end !== '' && end !== OPEN_END && key >= end) return 'mvcc: watcher range is empty';
    if (id !== 0n && this.#isTaken(id)) return 'mvcc: duplicate watch ID provided on the WatchStream';
    const most = this.#hub.limits.watchersPerStreamMax;
    if (this.#watchers.size + this.#ended.size >= most)
      return `etcdserver: too many watches on one stream (limit ${most})`;
    return undefined;
  }

  /** Whether the start that the client named is still to come: such a watch has no progress to tell of. */
  #isFuture(watcher: Watcher, revision: number): boolean {
    if (!this.#future.has(watcher)) return false;
    if (watcher.startRevision > revision) return true;
    this.#future.delete(watcher);
    return false;
  }

  #takeId(wanted: bigint): bigint {
    if (wanted !== 0n) return wanted;
    while (this.#isTaken(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }

  #isTaken(id: bigint): boolean {
    return this.#watchers.has(id) || this.#ended.has(id);
  }

  #remove(watcher: Watcher): void {
    watcher.gone = true;
    watcher.pending = undefined;
    this.#watchers.delete(watcher.id);
    this.#future.delete(watcher);
    if (this.#rest.length > 0) this.#rest = this.#rest.filter((response) => response.watch_id !== watcher.id);
    if (watcher.begun) this.#hub.end(watcher);
  }

  /** Sends `list` to all who are due from `start` on and get the same, up to a limit. Returns who is next. */
  #deliverCopies(list: EventList, start: number, revision: number): number {
    const { due } = this;
    const end = Math.min(due.length, start + copiesThatFit(list.responseBytes, this.#hub.limits.copiesBytesMax));
    const ids: bigint[] = [];
    let next = start;
    for (; next < end; next++) {
      const watcher = due[next]!;
      if (watcher.pending !== list) break;
      watcher.pending = undefined;
      watcher.quiet = false;
      ids.push(watcher.id);
    }
    if (!this.#sink.sendCopies!(list.response(revision), ids)) this.#block();
    return next;
  }

  /** Sends events to one watcher; as several responses if they are too large for one. */
  #deliverTo(watcher: Watcher, events: Event[], revision: number, unsent: Unsent): void {
    const bytesMax = this.#hub.limits.responseBytesMax;
    for (let start = 0; start < events.length; ) {
      if (this.#blocked) {
        unsent(watcher, revisionOf(events[start]!));
        return;
      }
      const end = revisionsThatFit(events, start, bytesMax);
      this.#deliverRun(watcher, events, start, end, revision);
      if (watcher.gone) return;
      start = end;
    }
  }

  /** Sends events `start..end` as one response, or as fragments if it is too large and the client can join them. */
  #deliverRun(watcher: Watcher, events: Event[], start: number, end: number, revision: number): void {
    watcher.quiet = false;
    const bytesMax = this.#hub.limits.responseBytesMax;
    let cut = watcher.fragment ? eventsThatFit(events, start, end, bytesMax) : end;
    if (cut === end) {
      const all = start === 0 && end === events.length ? events : events.slice(start, end);
      this.#send(eventsResponse(revision, watcher.id, all));
      return;
    }
    assert(this.#rest.length === 0, 'a response begins after the last one ended');
    for (let from = start; from < end; from = cut) {
      cut = eventsThatFit(events, from, end, bytesMax);
      const part = eventsResponse(revision, watcher.id, events.slice(from, cut));
      part.fragment = cut < end;
      this.#rest.push(part);
    }
    this.#sendRest();
  }

  #sendRest(): void {
    while (this.#rest.length > 0 && !this.#blocked) this.#send(this.#rest.shift()!);
  }

  #send(response: WatchResponse): void {
    if (this.#closed) return;
    if (!this.#sink.send(response)) this.#block();
  }

  #block(): void {
    if (this.#blocked || this.#closed) return;
    this.#blocked = true;
    this.#hub.streamChanged(this);
  }

  /** Sends an answer even while blocked, but not without end. */
  #answer(response: WatchResponse): RosterError | undefined {
    if (this.#closed) return undefined;
    if (this.#blocked && ++this.#unreadAnswers > this.#hub.limits.unreadAnswersMax) {
      this.close();
      return otherError(GrpcStatus.RESOURCE_EXHAUSTED, 'etcdserver: the watch client does not read its responses');
    }
    this.#send(response);
    return undefined;
  }
}
