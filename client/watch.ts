/**
 * One watch as its consumer sees it: an iterator over whole revisions, each once, across reconnects. Owns the place in
 * the history and the bounded queue; the stream and the ids on it are the hub's.
 */
import { errorFromText, GrpcStatus, otherError, type RosterError } from '../core/errors.ts';
import { defaults } from '../core/wire/binary.ts';
import { type Event, type ResponseHeader, WatchCreateRequest, type WatchResponse } from '../core/wire/messages.ts';
import type { WatchItem } from './api.ts';

/**
 * What may wait for the consumer of one watch. Beyond it the watch is given back to the server and taken up again,
 * where it stands, when half has been consumed: a slow consumer holds up neither the others on the stream nor memory.
 * One response may overshoot (etcd puts at most 1,000 revisions into one).
 */
export const WATCH_QUEUE_ITEMS_MAX = 4_096;
export const WATCH_QUEUE_BYTES_MAX = 16 * 1024 * 1024;

/** What a watch asks of the stream it lives on. */
export interface WatchHost {
  /** Create this watch on the server, now or when there is a stream. */
  create(watch: Watch): void;
  /** Take it off the server; nothing more reaches it until `create`. */
  release(watch: Watch): void;
  /** It is over. */
  remove(watch: Watch): void;
}

interface Waiting {
  resolve(result: IteratorResult<WatchItem>): void;
  reject(error: RosterError): void;
}

interface Queued {
  item: WatchItem;
  bytes: number;
}

export class Watch implements AsyncIterableIterator<WatchItem> {
  readonly #host: WatchHost;
  readonly #request: WatchCreateRequest;
  readonly #whole: boolean;
  readonly #onCreated: ((revision: number) => void) | undefined;
  /** The first revision not yet queued; 0 until the server has said where "now" is. */
  #next: number;
  #parts: Event[] = [];
  #queue: Queued[] = [];
  #queuedBytes = 0;
  #released = false;
  #over = false;
  #failure: RosterError | undefined;
  #waiting: Waiting[] = [];
  /** Called once, when the watch is over. */
  onEnd: (() => void) | undefined;

  constructor(
    host: WatchHost,
    request: Partial<WatchCreateRequest>,
    onCreated?: (revision: number) => void,
    whole = false,
  ) {
    this.#host = host;
    this.#request = { ...defaults(WatchCreateRequest), ...request };
    this.#next = this.#request.start_revision;
    this.#onCreated = onCreated;
    this.#whole = whole;
  }

  // ---- the consumer's side

  next(): Promise<IteratorResult<WatchItem>> {
    const queued = this.#queue.shift();
    if (queued !== undefined) {
      this.#queuedBytes -= queued.bytes;
      this.#takeUpAgain();
      return Promise.resolve({ value: queued.item, done: false });
    }
    if (this.#failure !== undefined) {
      const failure = this.#failure;
      this.#failure = undefined;
      return Promise.reject(failure);
    }
    if (this.#over) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  return(): Promise<IteratorResult<WatchItem>> {
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#failure = undefined;
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #takeUpAgain(): void {
    if (!this.#released || this.#over) return;
    if (this.#queue.length > WATCH_QUEUE_ITEMS_MAX / 2 || this.#queuedBytes > WATCH_QUEUE_BYTES_MAX / 2) return;
    this.#released = false;
    this.#host.create(this);
  }

  // ---- the stream's side

  /** Given back to the server until the consumer has caught up. */
  get released(): boolean {
    return this.#released;
  }

  /** What to ask of the server so that nothing is missed and nothing comes twice. */
  createRequest(): WatchCreateRequest {
    this.#parts = [];
    return { ...this.#request, start_revision: this.#next };
  }

  /** A response for this watch. */
  receive(response: WatchResponse): void {
    if (this.#over || this.#released) return;
    if (response.canceled) this.#cancelledByServer(response);
    else if (response.created) this.#created(response.header?.revision ?? 0);
    else if (response.fragment) this.#parts.push(...response.events);
    else {
      const events = this.#parts.length === 0 ? response.events : this.#parts.concat(response.events);
      this.#parts = [];
      if (events.length > 0 && this.#whole) this.#receiveWhole(events, response.header);
      else if (events.length > 0) this.#receiveEvents(events);
      else this.#receiveProgress(response.header?.revision ?? 0);
      this.#releaseWhenFull();
    }
  }

  /**
   * The answer to a progress request. Where the watch stands is not moved by it: etcd before 3.5 answers so before it
   * has sent what a watch has yet to catch up with.
   */
  receiveAnswer(revision: number): void {
    if (this.#over || this.#released || revision === 0) return;
    this.#pushProgress(revision);
  }

  /** Ends the watch; what is queued is still delivered, then `error`, if any. */
  end(error?: RosterError): void {
    if (this.#over) return;
    this.#over = true;
    this.#parts = [];
    this.#host.remove(this);
    this.onEnd?.();
    for (const waiting of this.#waiting.splice(0)) {
      if (error === undefined) waiting.resolve({ value: undefined, done: true });
      else {
        waiting.reject(error);
        error = undefined;
      }
    }
    this.#failure = error;
  }

  #created(revision: number): void {
    // A watch of "now" begins after the revision at which the server created it: remembered, so that a reconnect
    // before the first event does not begin at a later "now".
    if (this.#next === 0) this.#next = revision + 1;
    this.#onCreated?.(revision);
  }

  #cancelledByServer(response: WatchResponse): void {
    if (response.compact_revision > 0) {
      this.#push({ kind: 'compacted', compactRevision: response.compact_revision }, 0);
      this.end();
      return;
    }
    const reason = response.cancel_reason.replace(/^rpc error: code = \w+ desc = /, '');
    this.end(
      reason === ''
        ? otherError(GrpcStatus.CANCELLED, 'the server cancelled the watch and gave no reason')
        : errorFromText(GrpcStatus.INVALID_ARGUMENT, reason),
    );
  }

  /** Catch-up responses hold many revisions: one item each. */
  #receiveEvents(events: readonly Event[]): void {
    let from = 0;
    while (from < events.length) {
      const revision = events[from]!.kv?.mod_revision ?? 0;
      let to = from;
      let bytes = 0;
      while (to < events.length && (events[to]!.kv?.mod_revision ?? 0) === revision) bytes += sizeOf(events[to++]!);
      if (revision >= this.#next) {
        this.#next = revision + 1;
        this.#push({ kind: 'events', revision, events: events.slice(from, to) }, bytes);
      }
      from = to;
    }
  }

  #receiveWhole(all: readonly Event[], header: ResponseHeader | undefined): void {
    const events = all.filter((event) => (event.kv?.mod_revision ?? 0) >= this.#next);
    const revision = events.at(-1)?.kv?.mod_revision;
    if (revision === undefined) return;
    this.#next = revision + 1;
    const bytes = events.reduce((sum, event) => sum + sizeOf(event), 0);
    this.#push({ kind: 'events', revision, events, ...(header && { header }) }, bytes);
  }

  #receiveProgress(revision: number): void {
    if (revision === 0) return;
    if (revision >= this.#next) this.#next = revision + 1;
    this.#pushProgress(revision);
  }

  #pushProgress(revision: number): void {
    const last = this.#queue.at(-1)?.item;
    if (last?.kind === 'progress') last.revision = revision;
    else this.#push({ kind: 'progress', revision }, 0);
  }

  #push(item: WatchItem, bytes: number): void {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) {
      waiting.resolve({ value: item, done: false });
      return;
    }
    this.#queue.push({ item, bytes });
    this.#queuedBytes += bytes;
  }

  #releaseWhenFull(): void {
    if (this.#queue.length <= WATCH_QUEUE_ITEMS_MAX && this.#queuedBytes <= WATCH_QUEUE_BYTES_MAX) return;
    this.#released = true;
    this.#host.release(this);
  }
}

/** Roughly what an event holds in memory. */
function sizeOf(event: Event): number {
  const { kv, prev_kv: before } = event;
  const pair = kv === undefined ? 0 : kv.key.length + kv.value.length;
  return 128 + pair + (before === undefined ? 0 : before.key.length + before.value.length);
}
